//! Boots and updates of a Secure DFU bootloader: what each power loss does, and each mode step by step.

mod nordic_support;

use brickproof_flash_model::boot::nordic::options::{DFU_START, SKIP_CRC};
use brickproof_flash_model::boot::nordic::settings::{AdvName, PeerData};
use brickproof_flash_model::boot::nordic::{
    BankCode, Boot, Decision, DfuReason, Entry, Nordic, Options, Outcome, Profile, SettingsSource, SoftdeviceInfo,
    Unbootable,
};
use brickproof_flash_model::flash::{
    Controller, Damage, Flash, Hook, Interruption, Operation, Tear, TearModel, Uncut, Verdict,
};
use brickproof_flash_model::image::nordic::FwType;
use brickproof_flash_model::layout::Layout;
use nordic_support::{Device, PAGE, Sent, app, app_update, package, softdevice};

/// Cuts one operation of several controllers, counted from 0, and remembers how it was torn.
struct CutAt {
    left: u64,
    tear: TearModel,
    count: u64,
}

impl Hook for CutAt {
    fn before(&mut self, operation: &Operation<'_>, _: &Flash) -> Verdict {
        if self.left > 0 {
            (self.left, self.count) = (self.left - 1, self.count + 1);
            return Verdict::Proceed;
        }
        match self.tear.tear(operation) {
            None => Verdict::Interrupt(Interruption::PowerLoss),
            Some(tear) => Verdict::Tear(tear, Interruption::PowerLoss),
        }
    }
}

/// What the device is at when power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The settings with the init packet are written: operations of it that are done.
    Init(u64),
    /// The image is on its way.
    Data,
    /// The settings that say what to activate are written.
    Commit(u64),
    /// The bootloader activates, up to the reset behind it.
    Activation,
}

/// A whole update over all resets; where it was cut.
fn session(device: &Device, flash: &mut Flash, sent: &Sent, hook: &mut CutAt) -> Result<(), Phase> {
    let nordic = &device.nordic;
    let mut dfu = nordic.start(flash).unwrap();
    nordic.init_command_create(&mut dfu, sent.init.len() as u32).unwrap();
    nordic.init_command_append(&mut dfu, &sent.init).unwrap();
    nordic.init_command_execute(&mut dfu, flash).unwrap();
    let steps = nordic.settings_write_and_backup(&mut dfu.settings, flash);
    let begun = hook.count;
    device.run(flash, &steps, hook).map_err(|_| Phase::Init(hook.count - begun))?;
    loop {
        let offset = dfu.settings.progress.image_offset_last as usize;
        let object = &sent.image[offset..sent.image.len().min(offset + PAGE as usize)];
        let erase = nordic.data_create(&mut dfu, object.len() as u32).unwrap();
        let store = nordic.data_write(&dfu, object).unwrap();
        device.run(flash, &[erase, store], hook).map_err(|_| Phase::Data)?;
        nordic.data_written(&mut dfu, object);
        if nordic.data_execute(&mut dfu).unwrap() {
            break;
        }
    }
    nordic.activation_prepare(&mut dfu, flash).unwrap();
    let steps = nordic.settings_write_and_backup(&mut dfu.settings, flash);
    let begun = hook.count;
    device.run(flash, &steps, hook).map_err(|_| Phase::Commit(hook.count - begun))?;
    let boot = device.boot_with(flash, &mut Entry::default(), hook).map_err(|_| Phase::Activation)?;
    assert_eq!(boot.outcome, Outcome::Reset);
    Ok(())
}

/// Boots until something starts.
fn settle(device: &Device, flash: &mut Flash) -> Boot {
    for _ in 0..4 {
        let boot = device.boot(flash);
        if boot.outcome != Outcome::Reset {
            return boot;
        }
    }
    panic!("resets for ever")
}

/// Whether the settings hold an init packet, and how much of an image.
fn stored(device: &Device, flash: &Flash) -> (bool, u32) {
    let progress = device.nordic.load(flash).unwrap().0.progress;
    (progress.command_size > 0, progress.image_offset)
}

/// Whether this write of settings and backup, cut at this operation, leaves the new settings: the backup decides, unless
/// it is not valid. Of a page that is erased in part, the second half holds no settings.
fn is_new(done: u64, tear: TearModel) -> bool {
    done == 3 || done == 2 && tear == TearModel::FirstHalf
}

const TEARS: [TearModel; 3] = [TearModel::Nothing, TearModel::FirstHalf, TearModel::AllButLast];

/// | power is lost | next boot | settings |
/// |---|---|---|
/// | while the settings with the init packet are written | old application | no init packet; stored once the backup is gone |
/// | while the image is on its way | old application | init packet, offset 0 |
/// | while what to activate is written | old application; new one once the backup is gone | as before |
/// | while the update is activated | new application | |
#[test]
fn each_power_loss_of_a_dual_bank_update() {
    let device = Device::new(Options::default(), 0x1c00);
    let sent = app_update(0x2800);
    let mut seen = Vec::new();
    for tear in TEARS {
        for at in 0.. {
            let mut flash = device.flash();
            let mut hook = CutAt { left: at, tear, count: 0 };
            let Err(phase) = session(&device, &mut flash, &sent, &mut hook) else { break };
            let boot = settle(&device, &mut flash);
            let Outcome::Application { version, hash, .. } = boot.outcome else { panic!("{phase:?}: {boot:?}") };
            let (expected, progress) = match phase {
                Phase::Init(done) => (1, (is_new(done, tear), 0)),
                Phase::Data => (1, (true, 0)),
                Phase::Commit(done) if is_new(done, tear) => (2, (false, 0)),
                Phase::Commit(_) => (1, (true, 0)),
                Phase::Activation => (2, (false, 0)),
            };
            assert_eq!(version, expected, "{at} {tear:?} {phase:?}");
            let image = if version == 1 { &device.application } else { &sent.image };
            assert_eq!(hash, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(image)));
            if version == 1 {
                assert_eq!(stored(&device, &flash), progress, "{at} {tear:?} {phase:?}");
            }
            if !seen.contains(&std::mem::discriminant(&phase)) {
                seen.push(std::mem::discriminant(&phase));
            }
        }
    }
    assert_eq!(seen.len(), 4);
}

/// The same in a single bank: no application from the moment on that the init packet is stored.
#[test]
fn each_power_loss_of_a_single_bank_update() {
    for (options, app_len, len) in
        [(Options { single_bank: true, ..Options::default() }, 0x1c00, 0x2800), (Options::default(), 0x8c00, 0x7800)]
    {
        let device = Device::new(options, app_len);
        let sent = app_update(len);
        for tear in TEARS {
            for at in 0.. {
                let mut flash = device.flash();
                let mut hook = CutAt { left: at, tear, count: 0 };
                let Err(phase) = session(&device, &mut flash, &sent, &mut hook) else { break };
                let boot = settle(&device, &mut flash);
                let version = match boot.outcome {
                    Outcome::Application { version, .. } => version,
                    Outcome::DfuMode { reason: DfuReason::NoApplication(_), timeout_us: 120_000_000 } => 0,
                    _ => panic!("{phase:?}: {boot:?}"),
                };
                let expected = match phase {
                    Phase::Init(done) if !is_new(done, tear) => 1,
                    Phase::Commit(done) if is_new(done, tear) => 2,
                    Phase::Init(_) | Phase::Data | Phase::Commit(_) => 0,
                    Phase::Activation => 2,
                };
                assert_eq!(version, expected, "{at} {tear:?} {phase:?}");
                if version == 0 {
                    // The device waits with the init packet, and an upload brings it back.
                    assert_eq!(stored(&device, &flash), (true, 0));
                    let mut again = CutAt { left: u64::MAX, tear, count: 0 };
                    session(&device, &mut flash, &sent, &mut again).unwrap();
                    assert!(matches!(settle(&device, &mut flash).outcome, Outcome::Application { version: 2, .. }));
                }
            }
        }
    }
}

fn told(boot: &Boot) -> String {
    brickproof_flash_model::sweep::told(boot)
}

/// All boots of an update, in words.
fn story(device: &Device, sent: &Sent) -> String {
    let mut flash = device.flash();
    device.upload(&mut flash, sent).unwrap();
    let mut story = Vec::new();
    for _ in 0..6 {
        let boot = device.boot(&mut flash);
        story.push(told(&boot));
        if !matches!(boot.outcome, Outcome::Reset) {
            break;
        }
    }
    story.join("\n")
}

#[test]
fn each_kind_of_update_in_words() {
    let device = Device::new(Options::default(), 0x1c00);
    let single = Device::new(Options { single_bank: true, ..Options::default() }, 0x1c00);
    let both = |pages, version| {
        package(FwType::SoftdeviceBootloader, [&softdevice(pages, version), &app(101, 0x1e00)], 2, |_| {})
    };
    let stories = [
        ("application, dual bank", story(&device, &app_update(0x2800))),
        ("application, single bank", story(&single, &app_update(0x2800))),
        (
            "SoftDevice",
            story(&device, &package(FwType::Softdevice, [&softdevice(3, 7_002_000), &[]], u32::MAX, |_| {})),
        ),
        ("bootloader", story(&device, &package(FwType::Bootloader, [&app(101, 0x1e00), &[]], 2, |_| {}))),
        ("SoftDevice and bootloader", story(&device, &both(3, 7_002_000))),
        ("SoftDevice and bootloader, another major version", story(&device, &both(4, 8_000_000))),
    ];
    let all: Vec<String> = stories.iter().map(|(name, story)| format!("{name}\n{story}")).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn dfu_mode_is_entered_for_each_reason_and_flags_are_cleared() {
    let every = Options { enter_by_pin_reset: true, enter_by_flag: true, ..Options::default() };
    let device = Device::new(every, 0x1c00);
    let boot = |entry: &mut Entry| {
        let mut flash = device.flash();
        match device.boot_with(&mut flash, entry, &mut Uncut).unwrap().outcome {
            Outcome::DfuMode { reason, timeout_us: 120_000_000 } => Some(reason),
            Outcome::Application { .. } => None,
            other => panic!("{other}"),
        }
    };
    assert_eq!(boot(&mut Entry::default()), None);
    assert_eq!(boot(&mut Entry { button: true, ..Entry::default() }), Some(DfuReason::Button));
    let mut pin = Entry { pin_reset: true, ..Entry::default() };
    assert_eq!((boot(&mut pin), pin), (Some(DfuReason::PinReset), Entry::default()));
    let mut asked = Entry { gpregret: DFU_START | 0x06, ..Entry::default() };
    assert_eq!(boot(&mut asked), Some(DfuReason::Gpregret(0xb7)));
    assert_eq!(asked.gpregret, 0x06);

    let mut flash = device.flash();
    let (mut settings, _) = device.nordic.load(&flash).unwrap();
    settings.enter_buttonless_dfu = 1;
    let steps = device.nordic.settings_write(&mut settings, &flash);
    device.run(&mut flash, &steps, &mut Uncut).unwrap();
    let first = device.boot(&mut flash);
    assert!(matches!(first.outcome, Outcome::DfuMode { reason: DfuReason::Flag, .. }), "{first:?}");
    assert!(matches!(device.boot(&mut flash).outcome, Outcome::Application { .. }));
}

#[test]
fn crc_checks_are_skipped_when_asked_and_hashes_never() {
    let device = Device::new(Options::default(), 0x1c00);
    let broken = |kind: u8| {
        let mut flash = device.flash();
        let (mut settings, _) = device.nordic.load(&flash).unwrap();
        settings.boot_validation_app.kind = kind;
        let steps = device.nordic.settings_write_and_backup(&mut settings, &flash);
        device.run(&mut flash, &steps, &mut Uncut).unwrap();
        let start = device.nordic.bank_0_start(&flash).unwrap();
        flash.load(device.nordic.map().whole(), start + 100, &[0x55; 4]).unwrap();
        flash
    };
    let started = |flash: &Flash, entry: &mut Entry| {
        let boot = device.boot_with(&mut flash.clone(), entry, &mut Uncut).unwrap();
        matches!(boot.outcome, Outcome::Application { .. })
    };
    let crc = broken(1);
    assert!(!started(&crc, &mut Entry::default()));
    let mut asleep = Entry { from_system_off: true, ..Entry::default() };
    assert!(started(&crc, &mut asleep) && !asleep.from_system_off);
    let mut asked = Entry { gpregret2: SKIP_CRC, ..Entry::default() };
    assert!(started(&crc, &mut asked));
    assert_eq!(asked.gpregret2, 0);
    assert!(!started(&broken(2), &mut Entry { from_system_off: true, ..Entry::default() }));
    assert!(!started(&broken(9), &mut Entry::default()), "an unknown kind is never valid");
    assert!(started(&broken(0), &mut Entry::default()), "no validation is always valid");
}

#[test]
fn a_bootloader_that_wants_signatures_starts_nothing_else() {
    let device = Device::new(Options { app_signature_check_required: true, ..Options::default() }, 0x1c00);
    let boot = device.boot(&mut device.flash());
    assert_eq!(
        boot.outcome,
        Outcome::DfuMode { reason: DfuReason::NoApplication(Unbootable::NotSigned), timeout_us: 120_000_000 }
    );
}

/// What the application writes into erased words of the settings page, and the bootloader removes.
#[test]
fn peer_data_and_name_are_removed_before_an_application_starts() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    let mut uncut = Uncut;
    let mut controller = Controller::new(&mut flash, &mut uncut);
    let page = device.nordic.map().settings();
    controller.program(page, 0x324, &PeerData::new([7; 60]).to_bytes()).unwrap();
    controller.program(page, 0x364, &AdvName::new(b"Board").to_bytes()).unwrap();
    let mut asked = Entry { gpregret: DFU_START, ..Entry::default() };
    device.boot_with(&mut flash, &mut asked, &mut Uncut).unwrap();
    let settings = device.nordic.start(&flash).unwrap().settings;
    assert_eq!((settings.adv_name.text(), settings.peer_data.is_valid()), (Some(&b"Board"[..]), true));
    let boot = device.boot(&mut flash);
    assert_eq!(boot.decisions, [Decision::AdditionalErased]);
    let (settings, source) = device.nordic.load(&flash).unwrap();
    assert_eq!((settings.adv_name.crc, settings.peer_data.crc, source), (u32::MAX, u32::MAX, SettingsSource::Both));
    assert_eq!(device.boot(&mut flash).operations, 0);
}

#[test]
fn lost_settings_leave_dfu_mode() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    for area in [device.nordic.map().settings(), device.nordic.map().params()] {
        flash.load(area, 0, &[0xff; 896]).unwrap();
    }
    let boot = device.boot(&mut flash);
    assert_eq!(boot.decisions, [Decision::Settings(SettingsSource::Nothing)]);
    let none = Unbootable::Bank(BankCode::Invalid);
    assert!(matches!(boot.outcome, Outcome::DfuMode { reason: DfuReason::NoApplication(why), .. } if why == none));
    device.upload(&mut flash, &app_update(0x2800)).unwrap();
    assert!(matches!(settle(&device, &mut flash).outcome, Outcome::Application { version: 2, .. }));
}

#[test]
fn nothing_runs_without_bootloader_or_softdevice() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    flash.load(device.nordic.map().bootloader(), 0, &[0xff; 8]).unwrap();
    assert!(matches!(device.boot(&mut flash).outcome, Outcome::Brick { .. }));
    let mut flash = device.flash();
    flash.load(device.nordic.map().whole(), 0x3004, &[0; 4]).unwrap();
    let boot = device.boot(&mut flash);
    let Outcome::Fault { reason } = boot.outcome else { panic!("{boot:?}") };
    assert_eq!(reason, "there is no SoftDevice, and DFU mode needs its radio");
}

/// A copy that fails is not tried again: bank 1 is given up, and the device resets as after a success.
#[test]
fn a_copy_that_fails_is_given_up() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    device.upload(&mut flash, &app_update(0x2800)).unwrap();
    let start = device.nordic.bank_0_start(&flash).unwrap();
    flash.device_mut(0).unwrap().damage(start..start + PAGE, Damage::Erase);
    let boot = device.boot(&mut flash);
    assert!(matches!(boot.decisions.last(), Some(Decision::GivenUp(_))), "{boot:?}");
    assert_eq!(boot.outcome, Outcome::Reset);
    assert!(matches!(settle(&device, &mut flash).outcome, Outcome::DfuMode { .. }));
    // The same when what was copied has another CRC.
    let mut flash = device.flash();
    device.upload(&mut flash, &app_update(0x2800)).unwrap();
    let source = device.nordic.load(&flash).unwrap().0.progress.update_start_address();
    flash.load(device.nordic.map().whole(), source + 8, &[0]).unwrap();
    let boot = device.boot(&mut flash);
    assert!(matches!(boot.decisions.last(), Some(Decision::CrcMismatch { .. })), "{boot:?}");
    assert!(matches!(settle(&device, &mut flash).outcome, Outcome::DfuMode { .. }));
}

/// Progress that is saved while only a part of an init packet is there, and that part can be decoded: DFU mode stops at
/// the error handler. (`nrf_dfu_req_handler_init` executes what is stored.)
#[test]
fn a_stored_part_of_an_init_packet_stops_dfu_mode() {
    let device = Device::new(Options { save_progress: true, ..Options::default() }, 0x1c00);
    let mut flash = device.flash();
    // The signature ends in 0xff, as erased memory does.
    let mut init = (0..2000)
        .map(|version| package(FwType::Application, [&app(2, 0x2800), &[]], version, |_| {}).init)
        .find(|init| init.last() == Some(&0xff))
        .unwrap();
    let len = init.len() as u32;
    init.pop();
    let mut dfu = device.nordic.start(&flash).unwrap();
    device.nordic.init_command_create(&mut dfu, len).unwrap();
    device.nordic.init_command_append(&mut dfu, &init).unwrap();
    let steps = device.nordic.settings_write_and_backup(&mut dfu.settings, &flash);
    device.run(&mut flash, &steps, &mut Uncut).unwrap();
    let mut asked = Entry { gpregret: DFU_START, ..Entry::default() };
    let boot = device.boot_with(&mut flash, &mut asked, &mut Uncut).unwrap();
    assert!(matches!(boot.outcome, Outcome::Fault { .. }), "{boot:?}");
}

/// An application that reaches above the region makes the room for an update wrap.
#[test]
fn room_wraps_above_the_region() {
    let device = Device::new(Options::default(), 0x1c00);
    let mut flash = device.flash();
    let (mut settings, _) = device.nordic.load(&flash).unwrap();
    settings.bank_0.image_size = device.nordic.region_end() - 0x4000 + 1;
    let steps = device.nordic.settings_write_and_backup(&mut settings, &flash);
    device.run(&mut flash, &steps, &mut Uncut).unwrap();
    let dfu = device.send_init(&mut flash, &app_update(0x2800).init).unwrap();
    assert_eq!(dfu.firmware_start, device.nordic.region_end() + PAGE);
}

/// A build without SoftDevice gives it up for an application that does not want it.
#[test]
fn a_softdevice_is_given_up_by_builds_that_do_not_need_it() {
    let options = Options { ble: false, ..Options::default() };
    let mut device = Device::new(options, 0x1c00);
    device.softdevice = softdevice(3, 7_000_000);
    let sent = package(FwType::Application, [&app(2, 0x2800), &[]], 2, |init| init.sd_req = vec![0]);
    let mut flash = device.flash();
    device.upload(&mut flash, &sent).unwrap();
    assert_eq!(SoftdeviceInfo::installed(device.nordic.map(), &flash).unwrap(), None);
    let boot = settle(&device, &mut flash);
    assert!(matches!(boot.outcome, Outcome::Application { start: 0x1000, version: 2, .. }), "{boot:?}");
}

/// An application receives an update and leaves it to the bootloader (`NRF_BL_DFU_ALLOW_UPDATE_FROM_APP`).
#[test]
fn an_update_from_the_application_is_checked_by_the_bootloader() {
    let device = Device::new(Options { update_from_app: true, ..Options::default() }, 0x1c00);
    for good in [true, false] {
        let mut flash = device.flash();
        let mut sent = app_update(0x2800);
        sent.image[5] ^= u8::from(!good);
        let mut dfu = device.send_init(&mut flash, &sent.init).unwrap();
        device.send_data(&mut flash, &mut dfu, &sent.image).unwrap();
        dfu.settings.bank_current = 1;
        let steps = device.nordic.settings_write(&mut dfu.settings, &flash);
        device.run(&mut flash, &steps, &mut Uncut).unwrap();
        let boot = device.boot(&mut flash);
        let told = told(&boot);
        assert!(told.contains(if good { "is accepted" } else { "verification failed" }), "{told}");
        let version = if good { 2 } else { 1 };
        let boot = if boot.outcome == Outcome::Reset { settle(&device, &mut flash) } else { boot };
        assert!(matches!(boot.outcome, Outcome::Application { version: found, .. } if found == version), "{boot:?}");
    }
}

/// A torn write of the settings without backup loses all of them.
#[test]
fn without_backup_a_torn_write_loses_the_settings() {
    let device = Device::new(Options { profile: Profile::V15_0, ..Options::default() }, 0x1c00);
    let mut flash = device.flash();
    let mut hook = CutAt { left: 1, tear: TearModel::Nothing, count: 0 };
    assert_eq!(session(&device, &mut flash, &app_update(0x2800), &mut hook), Err(Phase::Init(1)));
    let boot = device.boot(&mut flash);
    assert_eq!(boot.decisions, [Decision::Settings(SettingsSource::Nothing)]);
    assert!(matches!(boot.outcome, Outcome::DfuMode { .. }));
}

#[test]
fn options_that_cannot_be_are_explained() {
    let layout = Layout::preset("nordic24").unwrap();
    let mistake = |options: Options| Nordic::new(&layout, options, None).unwrap_err().to_string();
    let options = Options::default();
    let all = [
        mistake(Options { copy_step: 0, ..options }),
        mistake(Options { app_data: Some(100), ..options }),
        mistake(Options { app_data: Some(0x1000_0000), ..options }),
        mistake(Options { inactivity_timeout_ms: 50, ..options }),
        mistake(Options { update_from_app: true, profile: Profile::V15_0, ..options }),
    ];
    insta::assert_snapshot!(all.join("\n"));
    assert!(matches!(
        TearModel::FirstHalf.tear(&Operation {
            n: 0,
            device: 0,
            offset: 0,
            kind: brickproof_flash_model::flash::OperationKind::Erase { len: 4096 },
        }),
        Some(Tear::Prefix(2048))
    ));
}
