//! Agreement with the boot code and the DFU mode of the real nRF5 SDK 17.1, flash byte for byte, at each power loss
//! (`golden/nordic-boot`).

mod nordic_support;

use std::path::Path;

use brickproof_flash_model::boot::nordic::options::DFU_START;
use brickproof_flash_model::boot::nordic::settings::AdvName;
use brickproof_flash_model::boot::nordic::{Entry, Options, Outcome, Refusal};
use brickproof_flash_model::flash::{Flash, Hook, Interruption, Operation, TearModel, Uncut, Verdict};
use brickproof_flash_model::image::nordic::{FwType, crc32, sign};
use nordic_support::{Device, PAGE, Sent, app, app_update, package, softdevice};
use serde::Deserialize;

/// One session with a power loss, and one behind it without.
#[derive(Debug, Deserialize)]
struct Record {
    case: String,
    /// 0: nothing of the operation is done; 1: the first half; 2: of a program all but the last byte, of an erase the
    /// second half.
    tear: u8,
    cut: u64,
    /// How the boots end, up to the power loss.
    story: String,
    /// What the uploader is told.
    answers: String,
    /// CRC-32 of the flash behind the MBR that the power loss leaves.
    left: String,
    /// How the boots end behind it, without upload.
    after: String,
    /// Flash operations of these.
    operations: u64,
    /// CRC-32 of the flash then.
    end: String,
    /// The same when power is lost once more at operation `cut % operations`, in the next way, before it comes back for
    /// good; zeros when there are no operations.
    second: String,
}

const RECORDS: &str = include_str!("golden/nordic-boot/records.jsonl");

fn cases() -> Vec<(&'static str, Device, Sent)> {
    let options = Options::default();
    let single = Options { single_bank: true, ..options };
    let progress = Options { save_progress: true, ..options };
    let device = |options: Options, app_len: u32| Device::new(options, app_len);
    let sd = |pages, version| package(FwType::Softdevice, [&softdevice(pages, version), &[]], u32::MAX, |_| {});
    let both = |pages, version, len| {
        package(FwType::SoftdeviceBootloader, [&softdevice(pages, version), &app(101, len)], 2, |_| {})
    };
    let bootloader = |len: u32| package(FwType::Bootloader, [&app(101, len), &[]], 2, |_| {});
    let mut broken = app_update(0x2800);
    broken.image[0x1234] ^= 1;
    // Refused for its hardware, and its hash is that of no bytes.
    let empty = |kind| {
        let image: [&[u8]; 2] = [&app(2, 64), &[]];
        package(kind, image, 0x7000_0000, |init| {
            init.hw_version = Some(1);
            init.hash.as_mut().unwrap().bytes = sign::image_hash(&[]).to_vec();
        })
    };
    vec![
        ("empty-application", device(options, 0x1c00), empty(FwType::Application)),
        ("empty-bootloader", device(options, 0x1c00), empty(FwType::Bootloader)),
        ("empty-softdevice", device(options, 0x1c00), empty(FwType::Softdevice)),
        ("version-1", device(options, 0x1c00), app_update(0x2800)),
        ("name", device(options, 0x1c00), app_update(0x2800)),
        ("page-alone", device(options, 0x1c00), app_update(0x2800)),
        ("backup-alone", device(options, 0x1c00), app_update(0x2800)),
        ("nothing", device(options, 0x1c00), app_update(0x2800)),
        ("dual", device(options, 0x1c00), app_update(0x2800)),
        ("long", device(options, 0x0900), app_update(0xa804)),
        ("broken", device(options, 0x1c00), broken),
        ("refused", device(options, 0x1c00), package(FwType::Application, [&app(2, 64), &[]], 0, |_| {})),
        ("no-room", device(options, 0x8c00), app_update(0x7800)),
        ("softdevice", device(options, 0x1c00), sd(3, 7_002_000)),
        ("softdevice-larger", device(options, 0x1c00), sd(4, 7_002_000)),
        ("softdevice-long", device(options, 0x4c00), sd(9, 7_002_000)),
        ("bootloader", device(options, 0x1c00), bootloader(0x1e00)),
        ("both", device(options, 0x1c00), both(3, 7_002_000, 0x1e00)),
        ("both-major", device(options, 0x1c00), both(4, 8_000_000, 0x1e00)),
        ("both-over-source", device(options, 0x9c00), both(7, 8_000_000, 0x1e00)),
        ("single", device(single, 0x1c00), app_update(0x2800)),
        ("single-softdevice", device(single, 0x1c00), sd(6, 7_002_000)),
        ("progress", device(progress, 0x1c00), app_update(0x2800)),
    ]
}

const TEARS: [TearModel; 3] = [TearModel::Nothing, TearModel::FirstHalf, TearModel::AllButLast];

/// The flash before the first session: as it left the factory, but for what the name of the case says of the settings.
fn begin(name: &str, device: &Device) -> Flash {
    let mut flash = device.flash();
    let (page, backup) = (device.nordic.map().settings(), device.nordic.map().params());
    let erased = [0xff; 896];
    match name {
        "version-1" => {
            let (mut old, _) = device.nordic.load(&flash).unwrap();
            (old.settings_version, old.init_command, old.adv_name) = (1, [0xff; 512], AdvName::new(b"old"));
            old.seal();
            for page in [page, backup] {
                flash.load(page, 0, &erased).unwrap();
                flash.load(page, 0, &old.to_bytes_v1()).unwrap();
            }
        }
        "name" => flash.load(page, 0x364, &AdvName::new(b"DfuBoard").to_bytes()).unwrap(),
        "page-alone" => flash.load(backup, 0, &erased).unwrap(),
        "backup-alone" => flash.load(page, 0x50, &erased[..4]).unwrap(),
        "nothing" => [page, backup].iter().for_each(|page| flash.load(*page, 0, &erased).unwrap()),
        _ => {}
    }
    flash
}

/// Cuts one operation, counted over all boots.
struct CutAt {
    left: Option<u64>,
    tear: TearModel,
    operations: u64,
}

impl Hook for CutAt {
    fn before(&mut self, operation: &Operation<'_>, _: &Flash) -> Verdict {
        self.operations += 1;
        match &mut self.left {
            Some(0) => match self.tear.tear(operation) {
                None => Verdict::Interrupt(Interruption::PowerLoss),
                Some(tear) => Verdict::Tear(tear, Interruption::PowerLoss),
            },
            Some(left) => {
                *left -= 1;
                Verdict::Proceed
            }
            None => Verdict::Proceed,
        }
    }
}

/// What was told, as the recorder writes it.
#[derive(Default)]
struct Answers(String);

impl Answers {
    fn add<T>(&mut self, answer: Result<T, Refusal>) -> Option<T> {
        let bytes = answer.as_ref().map_or_else(|refusal| refusal.bytes(), |_| vec![1]);
        bytes.iter().for_each(|byte| self.0.push_str(&format!("{byte:02x}")));
        self.0.push(' ');
        answer.ok()
    }
}

/// The upload of the recorder: everything is sent, whatever is answered.
fn upload(
    device: &Device,
    flash: &mut Flash,
    sent: &Sent,
    hook: &mut CutAt,
    answers: &mut Answers,
) -> Result<bool, ()> {
    let nordic = &device.nordic;
    let mut dfu = nordic.start(flash).unwrap();
    answers.add(nordic.init_command_create(&mut dfu, sent.init.len() as u32));
    answers.add(nordic.init_command_append(&mut dfu, &sent.init));
    let executed = nordic.init_command_execute(&mut dfu, flash);
    if executed.is_ok() {
        let steps = nordic.settings_write_and_backup(&mut dfu.settings, flash);
        device.run(flash, &steps, hook).map_err(|_| ())?;
    }
    answers.add(executed);
    for object in sent.image.chunks(PAGE as usize) {
        let created = nordic.data_create(&mut dfu, object.len() as u32);
        if let Ok(erase) = &created {
            device.run(flash, std::slice::from_ref(erase), hook).map_err(|_| ())?;
        }
        answers.add(created);
        let write = nordic.data_write(&dfu, object);
        if let Ok(store) = &write {
            device.run(flash, std::slice::from_ref(store), hook).map_err(|_| ())?;
            nordic.data_written(&mut dfu, object);
        }
        answers.add(write);
        match nordic.data_execute(&mut dfu) {
            Ok(true) => {
                answers.add(nordic.activation_prepare(&mut dfu, flash));
                let steps = nordic.settings_write_and_backup(&mut dfu.settings, flash);
                device.run(flash, &steps, hook).map_err(|_| ())?;
                return Ok(true);
            }
            Ok(false) => {
                answers.add(Ok(()));
                if nordic.options().saves_progress() {
                    let steps = nordic.settings_write_and_backup(&mut dfu.settings, flash);
                    device.run(flash, &steps, hook).map_err(|_| ())?;
                }
            }
            Err(refusal) => drop(answers.add::<()>(Err(refusal))),
        }
    }
    Ok(false)
}

/// Boots until something starts or power is lost, with one upload or none; how each boot ends.
fn session(device: &Device, flash: &mut Flash, sent: Option<&Sent>, hook: &mut CutAt, answers: &mut Answers) -> String {
    let mut entry = Entry { gpregret: if sent.is_some() { DFU_START } else { 0 }, ..Entry::default() };
    let mut sent = sent;
    let mut story = String::new();
    for _ in 0..6 {
        let Ok(boot) = device.boot_with(flash, &mut entry, hook) else { return story + "cut" };
        match boot.outcome {
            Outcome::Application { .. } => return story + "app",
            Outcome::Fault { .. } => return story + "fault",
            Outcome::Brick { .. } => return story + "brick",
            Outcome::Reset => {}
            Outcome::DfuMode { .. } => match sent.take().map(|sent| upload(device, flash, sent, hook, answers)) {
                None | Some(Ok(false)) => return story + "dfu",
                Some(Err(())) => return story + "cut",
                Some(Ok(true)) => {}
            },
        }
        story.push_str("reset,");
    }
    story
}

fn print(device: &Device, flash: &Flash) -> String {
    let mut all = flash.read_area(device.nordic.map().whole()).unwrap();
    format!("{:08x}", crc32(&all.split_off(0x1000), 0))
}

#[test]
fn each_power_loss_leaves_what_the_real_code_leaves() {
    let records: Vec<Record> = RECORDS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut checked = 0;
    for (name, device, sent) in cases() {
        for record in records.iter().filter(|record| record.case == name) {
            let tear = TEARS[usize::from(record.tear)];
            let at = format!("{name}: cut {} tear {}", record.cut, record.tear);
            let mut flash = begin(name, &device);
            let mut answers = Answers::default();
            let mut hook = CutAt { left: Some(record.cut), tear, operations: 0 };
            let story = session(&device, &mut flash, Some(&sent), &mut hook, &mut answers);
            assert_eq!((story.as_str(), answers.0.as_str()), (record.story.as_str(), record.answers.as_str()), "{at}");
            assert_eq!(print(&device, &flash), record.left, "{at}: what is left");
            let mut again = flash.clone();
            let mut hook = CutAt { left: None, tear, operations: 0 };
            let after = session(&device, &mut flash, None, &mut hook, &mut answers);
            assert_eq!((after.as_str(), hook.operations), (record.after.as_str(), record.operations), "{at}");
            assert_eq!(print(&device, &flash), record.end, "{at}: the end");
            if let Some(left) = record.cut.checked_rem(record.operations) {
                let mut hook = CutAt { left: Some(left), tear: TEARS[usize::from(record.tear + 1) % 3], operations: 0 };
                session(&device, &mut again, None, &mut hook, &mut answers);
                session(&device, &mut again, None, &mut CutAt { left: None, tear, operations: 0 }, &mut answers);
                assert_eq!(print(&device, &again), record.second, "{at}: with a second one");
            }
            checked += 1;
        }
        assert!(records.iter().any(|record| record.case == name && !record.story.ends_with("cut")), "{name}");
    }
    assert_eq!(checked, records.len());
}

/// Writes what the recorder reads, when a folder is named for it.
#[test]
fn inputs_of_the_recorder() {
    let folder = std::env::var("BRICKPROOF_WRITE_NORDIC_BOOT");
    for (name, device, sent) in cases() {
        let flash = begin(name, &device).read_area(device.nordic.map().whole()).unwrap();
        assert_eq!(flash.len(), 0x18000);
        if let Ok(folder) = &folder {
            let folder = Path::new(folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, bytes) in [("flash.bin", &flash), ("init.bin", &sent.init), ("image.bin", &sent.image)] {
                std::fs::write(folder.join(file), bytes).unwrap();
            }
        }
    }
}

/// A packet that was refused is not accepted for an image of no bytes, although its hash is that of no bytes.
#[test]
fn a_refused_packet_of_no_bytes_changes_nothing() {
    for name in ["empty-application", "empty-bootloader", "empty-softdevice"] {
        let (_, device, sent) = cases().into_iter().find(|(case, ..)| *case == name).unwrap();
        let mut flash = device.flash();
        let mut answers = Answers::default();
        let mut hook = CutAt { left: None, tear: TearModel::Nothing, operations: 0 };
        let story = session(&device, &mut flash, Some(&sent), &mut hook, &mut answers);
        assert!(story.ends_with("app") && answers.0.ends_with("0b06 08 08 0b0c "), "{story} {}", answers.0);
        let (settings, _) = device.nordic.load(&flash).unwrap();
        assert_eq!((settings.app_version, settings.bootloader_version), (1, 1));
        device.send_init(&mut flash, &app_update(0x2800).init).unwrap();
    }
}

/// What the recordings cover.
#[test]
fn recordings_come_to_every_end() {
    let mut hook = Uncut;
    let device = Device::new(Options::default(), 0x1c00);
    assert!(device.boot_with(&mut device.flash(), &mut Entry::default(), &mut hook).is_ok());
    for end in ["\"after\":\"app\"", "\"after\":\"dfu\"", "\"after\":\"reset,app\"", "\"after\":\"reset,reset,"] {
        assert!(RECORDS.contains(end), "{end}");
    }
}
