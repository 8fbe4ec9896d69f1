//! Boots and updates of Legacy DFU bootloaders.

mod nordic_legacy_support;

use brickproof_flash_model::boot::nordic_legacy::options::gpregret;
use brickproof_flash_model::boot::nordic_legacy::{
    BankCode, Decision, Dfu, DfuReason, Entry, FlashStep, MBR_SIZE, NordicLegacy, Options, Outcome, Settings, State,
    Status, Transport, Unbootable,
};
use brickproof_flash_model::flash::{Cut, Flash, TearModel, Uncut};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::LegacyInitPacket;
use brickproof_flash_model::layout::Layout;
use nordic_legacy_support::{
    Device, PAGE, app, application_update, bootloader_update, init, sent, softdevice, softdevice_update, system_update,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn device(options: Options) -> Device {
    Device::new(options, 3, 0x1c00)
}

/// The hash of what runs.
fn runs(outcome: &Outcome) -> Option<[u8; 32]> {
    match outcome {
        Outcome::Application { hash, .. } => Some(*hash),
        _ => None,
    }
}

fn hash(image: &[u8]) -> Option<[u8; 32]> {
    Some(Sha256::digest(image).into())
}

#[test]
fn banks_are_where_the_code_puts_them() {
    let on = |name: &str, options: Options, info: &[u8]| {
        let layout = Layout::preset(name).unwrap();
        let legacy = NordicLegacy::new(&layout, options, None).unwrap();
        let mut flash = layout.blank_flash();
        flash.load(legacy.map().whole(), MBR_SIZE, info).unwrap();
        (legacy, flash)
    };
    // S132 v2: 27 pages behind the MBR. Half of what is left are 47 pages.
    let (sdk11, flash) = on("nrf52832-nordic-legacy-s132", Options::sdk11(), &softdevice(27, 2_000_000));
    assert_eq!(sdk11.bank_0_start(&flash), Ok(0x1c000));
    assert_eq!((sdk11.image_max_full(&flash), sdk11.image_max_banked(&flash)), (Ok(94 * PAGE), Ok(47 * PAGE)));
    assert_eq!((sdk11.bank_1_start(&flash), sdk11.bootloader_max()), (Ok(0x4b000), 0x5000));
    let erase = sdk11.start(&mut Dfu::default(), 4, [0, 0, 4], &flash);
    assert_eq!(erase, Ok(FlashStep::Erase { address: 0x4b000, pages: 47 }));
    let (adafruit, flash) = on("nrf52840-adafruit-s140", Options::adafruit(), &softdevice(37, 6_001_001));
    assert_eq!(adafruit.bank_0_start(&flash), Ok(0x26000));
    assert_eq!((adafruit.region_end(), adafruit.bootloader_max()), (0xea000, 0xa000));
    let erase = adafruit.start(&mut Dfu::default(), 4, [0, 0, 0x1004], &flash);
    assert_eq!(erase, Ok(FlashStep::Erase { address: 0x26000, pages: 2 }));
    // Without a SoftDevice, Adafruit's puts the application behind the MBR.
    let (adafruit, flash) = on("nrf52840-adafruit-s140", Options::adafruit(), &[]);
    assert_eq!(adafruit.bank_0_start(&flash), Ok(MBR_SIZE));
}

#[test]
fn an_application_is_updated() {
    for options in [Options::sdk11(), Options::sdk11_single_bank(), Options::adafruit()] {
        let device = device(options);
        let mut flash = device.flash();
        assert_eq!(runs(&device.boot(&mut flash).outcome), hash(&device.application));
        let sent = application_update(&options, 0x2800);
        device.update(&mut flash, &sent).unwrap();
        let boot = device.boot(&mut flash);
        assert_eq!(runs(&boot.outcome), hash(&sent.image));
        assert_eq!(boot.decisions, [Decision::NotChecked]);
        assert_eq!(device.settings(&flash), Settings::application(0x2800, 0));
    }
}

/// What is known of it, step by step: the old one was an update, too, so that its CRC is not stored.
#[test]
fn a_torn_application_is_started_unchecked() {
    let options = Options::sdk11();
    let torn = |device: &Device| {
        let mut flash = device.flash();
        let sent = application_update(&options, 0x2800);
        let dfu = device.upload(&mut flash, &sent).unwrap();
        let steps = device.legacy.activate(&dfu, &flash).unwrap();
        // Three pages are erased, the first one is programmed.
        let mut cut = Cut { at: 4, tear: TearModel::Nothing };
        assert!(device.run(&mut flash, &steps, &mut cut).is_err());
        device.boot(&mut flash).outcome
    };
    let outcome = torn(&device(options));
    assert!(matches!(outcome, Outcome::Application { checked: false, size: 0x1c00, .. }), "{outcome:?}");
    assert_ne!(runs(&outcome), hash(&device(options).application));
    // A CRC that a programmer has stored helps.
    let outcome = torn(&device(options).checked());
    let crc = |reason: &DfuReason| matches!(reason, DfuReason::NoApplication(Unbootable::Crc { .. }));
    assert!(matches!(&outcome, Outcome::DfuMode { reason, .. } if crc(reason)), "{outcome:?}");
}

#[test]
fn gpregret_and_the_button_lead_to_dfu_mode() {
    let entered = |options: Options, gpregret: u8, button: bool, blank: bool| {
        let device = device(options);
        let mut flash = device.flash();
        if blank {
            flash.load(device.legacy.map().settings(), 0, &[0xff; 28]).unwrap();
        }
        let mut entry = Entry { gpregret, button, ..Entry::default() };
        let boot = device.boot_with(&mut flash, &mut entry, &mut Uncut).unwrap();
        let text = match boot.outcome {
            Outcome::Application { .. } => "application".to_owned(),
            Outcome::DfuMode { transport, timeout_us, .. } => format!("DFU {transport:?} {}", timeout_us / 1_000_000),
            other => format!("{other:?}"),
        };
        (text, entry.gpregret)
    };
    let (sdk11, adafruit) = (Options::sdk11(), Options::adafruit());
    let text = |text: &str, left: u8| (text.to_owned(), left);
    assert_eq!(entered(sdk11, 0, false, false), text("application", 0));
    assert_eq!(entered(sdk11, gpregret::DFU_START, false, false), text("DFU Ble 120", 0));
    assert_eq!(entered(sdk11, gpregret::OTA, false, false), text("application", gpregret::OTA));
    assert_eq!(entered(sdk11, 0, true, false), text("DFU Ble 120", 0));
    assert_eq!(entered(sdk11, 0, false, true), text("DFU Ble 120", 0));
    assert_eq!(entered(adafruit, gpregret::DFU_START, false, false), text("DFU Ble 360", 0));
    assert_eq!(entered(adafruit, gpregret::OTA, false, true), text("DFU Ble 360", 0));
    assert_eq!(entered(adafruit, gpregret::SERIAL, false, false), text("DFU Serial 360", 0));
    assert_eq!(entered(adafruit, gpregret::UF2, false, false), text("DFU Serial 360", 0));
    assert_eq!(entered(adafruit, 0, true, false), text("DFU Serial 360", 0));
    assert_eq!(entered(adafruit, 0, false, true), text("DFU Serial 360", 0));
    assert_eq!(entered(adafruit, gpregret::SKIP, true, false), text("application", 0));
    assert_eq!(entered(adafruit, gpregret::SKIP, false, true), text("Reset", 0));
    let to_ota = Options { default_to_ota: true, ..adafruit };
    assert_eq!(entered(to_ota, 0, false, true), text("DFU Ble 360", 0));
    assert_eq!(entered(to_ota, gpregret::SERIAL, false, false), text("DFU Ble 360", 0));
}

#[test]
fn without_a_softdevice_only_a_serial_line_is_left() {
    let boot = |options: Options, gpregret: u8| {
        let mut device = device(options);
        device.softdevice = Vec::new();
        let mut flash = device.layout.blank_flash();
        flash.load(device.legacy.map().bootloader(), 0, &device.bootloader).unwrap();
        device.boot_with(&mut flash, &mut Entry { gpregret, ..Entry::default() }, &mut Uncut).unwrap().outcome
    };
    assert!(matches!(boot(Options::sdk11(), 0), Outcome::Fault { .. }));
    assert!(matches!(boot(Options::adafruit(), gpregret::OTA), Outcome::Fault { .. }));
    assert!(matches!(boot(Options::adafruit(), 0), Outcome::DfuMode { transport: Transport::Serial, .. }));
}

#[test]
fn softdevice_and_bootloader_come_into_their_places() {
    for options in [Options::sdk11(), Options::adafruit()] {
        for (sent, larger) in [(system_update(&options, 3), false), (system_update(&options, 5), true)] {
            let device = Device::new(options, if larger { 4 } else { 3 }, 0x1c00);
            let mut flash = device.flash();
            device.update(&mut flash, &sent).unwrap();
            let settings = device.settings(&flash);
            assert_eq!((settings.bank_0, settings.bank_1), (BankCode::Softdevice, BankCode::Invalid));
            assert_eq!(device.boot(&mut flash).outcome, Outcome::Reset);
            let boot = device.boot(&mut flash);
            assert!(matches!(boot.outcome, Outcome::DfuMode { .. }), "{boot:?}");
            assert!(boot.decisions.contains(&Decision::BootloaderReplaced { bytes: 0x1e00 }), "{boot:?}");
            let map = device.legacy.map();
            let [softdevice, bootloader, _] = sent.sizes;
            let at = |flash: &Flash, address: u32, len: u32| map.sha256(flash, address, len).ok();
            let (first, second) = sent.image.split_at(softdevice as usize);
            assert_eq!(at(&flash, MBR_SIZE, softdevice), hash(first));
            assert_eq!(at(&flash, map.bootloader().offset, bootloader), hash(second));
            assert_eq!(device.settings(&flash), Settings::none());
            // And then an application, which finds its place behind the new SoftDevice.
            let next = application_update(&options, 0x1400);
            device.update(&mut flash, &next).unwrap();
            assert_eq!(runs(&device.boot(&mut flash).outcome), hash(&next.image));
        }
    }
}

#[test]
fn a_bootloader_alone_leaves_the_application_of_two_banks() {
    let left = |options: Options| {
        let device = device(options);
        let mut flash = device.flash();
        device.update(&mut flash, &bootloader_update(&options)).unwrap();
        assert_eq!(device.settings(&flash).bank_1, BankCode::Bootloader);
        assert_eq!(device.boot(&mut flash).outcome, Outcome::Reset);
        runs(&device.boot(&mut flash).outcome) == hash(&device.application)
    };
    assert!(left(Options::sdk11()));
    assert!(!left(Options::adafruit()));
}

#[test]
fn what_is_announced_is_checked_in_the_order_of_the_code() {
    let options = Options::sdk11();
    let device = device(options);
    let flash = device.flash();
    let start = |mode: u8, sizes: [u32; 3]| device.legacy.start(&mut Dfu::default(), mode, sizes, &flash).err();
    assert_eq!(start(5, [4, 0, 4]), Some(Status::NotSupported));
    assert_eq!(start(6, [0, 4, 4]), Some(Status::NotSupported));
    assert_eq!(start(4, [0, 0, 5]), Some(Status::NotSupported));
    // The parameters page of the MBR is counted, too.
    assert_eq!(start(2, [0, 0x3000, 0]), None);
    assert_eq!(start(2, [0, 0x3004, 0]), Some(Status::DataSize));
    assert_eq!(start(4, [0, 0, 0x4000]), None);
    assert_eq!(start(4, [0, 0, 0x4004]), Some(Status::DataSize));
    assert_eq!(start(1, [0x8000, 0, 0]), None);
    assert_eq!(start(1, [0x8004, 0, 0]), Some(Status::DataSize));
    // The sum overflows as in the code.
    assert_eq!(start(4, [0xffff_fffc, 0, 8]), None);
}

#[test]
fn an_init_packet_must_be_for_the_device() {
    let answer = |options: Options, mode: u8, change: &dyn Fn(&mut LegacyInitPacket)| {
        let device = device(options);
        let mut flash = device.flash();
        let image = app(2, 0x400);
        let mut packet = LegacyInitPacket::parse(&init(&options, &image)).unwrap();
        change(&mut packet);
        let sizes = match mode {
            1 => [0x400, 0, 0],
            2 => [0, 0x400, 0],
            _ => [0, 0, 0x400],
        };
        let sent = nordic_legacy_support::Sent { mode, sizes, init: packet.emit(), image };
        device.upload(&mut flash, &sent).err()
    };
    let failed = Some(Status::OperationFailed);
    let (sdk11, adafruit) = (Options::sdk11(), Options::adafruit());
    let named = Options { device_type: 1, device_revision: 2, ..sdk11 };
    assert_eq!(answer(sdk11, 4, &|packet| packet.device_type = 7), None);
    assert_eq!(answer(named, 4, &|packet| (packet.device_type, packet.device_revision) = (1, 2)), None);
    assert_eq!(answer(named, 4, &|packet| packet.device_revision = 2), failed);
    assert_eq!(answer(named, 4, &|packet| packet.device_type = 1), failed);
    assert_eq!(answer(sdk11, 4, &|packet| packet.sd_req = vec![0x80, 0x81]), None);
    assert_eq!(answer(sdk11, 4, &|packet| packet.sd_req = vec![0x80]), failed);
    assert_eq!(answer(sdk11, 4, &|packet| packet.sd_req = Vec::new()), failed);
    assert_eq!(answer(adafruit, 4, &|packet| packet.device_type = 0xffff), failed);
    assert_eq!(answer(adafruit, 4, &|packet| packet.device_revision = 1), None);
    assert_eq!(answer(adafruit, 2, &|packet| packet.device_revision = 1), failed);
    assert_eq!(answer(adafruit, 2, &|_| {}), None);
}

#[test]
fn signed_firmware_is_checked_by_adafruits() {
    let key = SigningKey::from_seed(b"adafruit").unwrap();
    let mut device = device(Options::adafruit());
    device.legacy = NordicLegacy::new(&device.layout, Options::adafruit(), Some(key.public().clone())).unwrap();
    let image = app(2, 0x400);
    let packet = |sd_req: Vec<u16>| LegacyInitPacket {
        sd_req,
        ..LegacyInitPacket::parse(&init(&Options::adafruit(), &image)).unwrap()
    };
    let answer = |init: Vec<u8>, image: &[u8]| {
        let sent = nordic_legacy_support::Sent { mode: 4, sizes: [0, 0, 0x400], init, image: image.to_vec() };
        device.upload(&mut device.flash(), &sent).err()
    };
    // Two SoftDevices: the packet is filled up to whole words on its way.
    for sd_req in [vec![0xfffe], vec![1, 0xfffe]] {
        let signed = packet(sd_req).sign(&image, &key).unwrap().emit();
        assert_eq!(answer(signed.clone(), &image), None);
        let mut forged = signed.clone();
        forged[4] ^= 1;
        assert_eq!(answer(forged, &image), Some(Status::OperationFailed));
        assert_eq!(answer(signed, &app(3, 0x400)), Some(Status::CrcError));
    }
    assert_eq!(answer(packet(vec![0xfffe]).emit(), &image), Some(Status::OperationFailed));
}

#[test]
fn what_locks_the_receiver() {
    let options = Options::sdk11();
    let device = device(options);
    let flash = device.flash();
    let legacy = &device.legacy;
    let mut dfu = Dfu::default();
    legacy.start(&mut dfu, 4, [0, 0, 0x40], &flash).unwrap();
    assert_eq!(legacy.init_packet(&mut dfu, &[0; 4]), Err(Status::InvalidState));
    assert!(legacy.erased(&mut dfu, &flash).is_empty());
    assert_eq!(legacy.start(&mut dfu, 4, [0, 0, 0x40], &flash), Err(Status::InvalidState));
    let image = app(2, 0x40);
    legacy.init_packet(&mut dfu, &init(&options, &image)).unwrap();
    assert_eq!(legacy.init_packet(&mut dfu, &[0; 128]), Err(Status::OperationFailed));
    legacy.init_complete(&mut dfu, &flash).unwrap();
    assert_eq!(legacy.validate(&mut dfu, &flash), Err(Status::InvalidState));
    legacy.data(&mut dfu, &image[..0x30]).unwrap();
    assert_eq!(legacy.data(&mut dfu, &[0; 20]), Err(Status::DataSize));
    // The sum of the code overflows: then it is the flash driver that refuses.
    assert_eq!(legacy.data(&mut dfu, &[0; 16]), Err(Status::OperationFailed));
    assert_eq!(legacy.data(&mut dfu, &[0; 0x44]), Err(Status::DataSize));
    assert_eq!((legacy.validate(&mut dfu, &flash), dfu.state()), (Err(Status::InvalidState), State::ReceivingData));
    assert_eq!(legacy.activate(&dfu, &flash), Err(Status::InvalidState));
    assert!(dfu.is_incomplete());
}

#[test]
fn a_wrong_crc_is_for_ever() {
    let options = Options::adafruit();
    let device = device(options);
    let mut flash = device.flash();
    let mut sent = sent(&options, 4, [&[], &[], &app(2, 0x400)]);
    sent.image[7] ^= 1;
    assert_eq!(device.upload(&mut flash, &sent).err(), Some(Status::CrcError));
    // Nothing was activated, and bank 0 was given up.
    assert_eq!(device.settings(&flash).bank_0, BankCode::Invalid);
}

#[test]
fn boots_and_their_reasons_in_words() {
    let options = Options::sdk11();
    let device = Device::new(options, 4, 0x1c00);
    let mut flash = device.flash();
    let mut all = String::new();
    let mut told = |flash: &mut Flash| {
        all += &brickproof_flash_model::sweep::told(&device.boot(flash));
        all.push('\n');
    };
    told(&mut flash);
    device.update(&mut flash, &softdevice_update(&options, 5)).unwrap();
    told(&mut flash);
    device.update(&mut flash, &bootloader_update(&options)).unwrap();
    told(&mut flash);
    told(&mut flash);
    device.update(&mut flash, &application_update(&options, 0x1800)).unwrap();
    told(&mut flash);
    flash.load(device.legacy.map().settings(), 0, &Settings::application(0x1800, 0x1234).to_bytes()).unwrap();
    told(&mut flash);
    insta::assert_snapshot!(all);
}

proptest! {
    /// Whatever is in the settings and in bank 0, a boot ends, and with the same twice.
    #[test]
    fn a_boot_ends(settings in any::<[u8; 28]>(), adafruit in any::<bool>(), entry in any::<u8>(), word in any::<u32>()) {
        let device = device(if adafruit { Options::adafruit() } else { Options::sdk11() });
        let mut flash = device.flash();
        flash.load(device.legacy.map().settings(), 0, &settings).unwrap();
        flash.load(device.legacy.map().whole(), 0x4000, &word.to_le_bytes()).unwrap();
        let mut other = flash.clone();
        let entry = Entry { gpregret: entry, ..Entry::default() };
        let boot = device.boot_with(&mut flash, &mut entry.clone(), &mut Uncut).unwrap();
        prop_assert_eq!(boot, device.boot_with(&mut other, &mut entry.clone(), &mut Uncut).unwrap());
    }
}
