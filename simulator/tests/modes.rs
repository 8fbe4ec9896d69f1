//! A device in each mode of MCUboot: where its image runs, what the server says of that, and the ways out when the
//! active slot has no valid image.

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Mode, Options, Slot};
use brickproof_flash_model::flash::{Controller, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier, inspect};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::{Battery, Board, Device, Persistent, Started, power_on};
use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{
    BootloaderMode, Command, Field, Frame, Op, RecoveryConfig, ServerConfig, SmpMessage, Version,
};
use brickproof_simulator::trace::Cause;

const XIP: Mode = Mode::DirectXip { revert: false };
const XIP_REVERT: Mode = Mode::DirectXip { revert: true };
const MODES: [(Mode, BootloaderMode); 6] = [
    (Mode::SwapMove, BootloaderMode::SwapMove),
    (Mode::SwapScratch, BootloaderMode::SwapScratch),
    (Mode::SwapOffset, BootloaderMode::SwapOffset),
    (Mode::OverwriteOnly { fast: false }, BootloaderMode::OverwriteOnly),
    (XIP, BootloaderMode::DirectXip),
    (XIP_REVERT, BootloaderMode::DirectXipWithRevert),
];

struct Bench {
    board: Board,
    key: SigningKey,
}

impl Bench {
    fn new(mode: Mode, recovery: Option<RecoveryConfig>) -> Self {
        let key = SigningKey::from_seed(b"tests").unwrap();
        let layout = Layout::preset("small8-a4").unwrap();
        let options = Options { mode, max_sectors: 8, ..Options::default() };
        let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
        let bootloader = MODES.iter().find(|(known, _)| *known == mode).unwrap().1;
        let smp = ServerConfig { bootloader, ..ServerConfig::default() };
        Self { board: Board { smp, recovery, ..Board::new("small", layout, mcuboot) }, key }
    }

    fn image(&self, version: &str) -> Vec<u8> {
        let builder = ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(5000);
        builder.sign(&self.key).unwrap()
    }

    /// A device as a factory makes it, with an image in each slot.
    fn factory(&self, primary: &str, secondary: Option<&str>) -> Persistent {
        let mcuboot = self.board.mcuboot().unwrap();
        let mut flash = self.board.layout.blank_flash();
        flash.load(mcuboot.area(Slot::Primary), 0, &self.image(primary)).unwrap();
        mcuboot.set_confirmed(&mut Controller::new(&mut flash, &mut Uncut)).unwrap();
        if let Some(version) = secondary {
            let pair = mcuboot.pair(0).unwrap();
            let start = pair.upload_offset(Slot::Secondary);
            flash.load(pair.area(Slot::Secondary), start, &self.image(version)).unwrap();
            if mcuboot.options().mode == XIP_REVERT {
                mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), true).unwrap();
            }
        }
        Persistent::new(flash)
    }

    fn start(&self, persistent: Persistent) -> Started {
        power_on(&self.board, persistent, Cause::PowerOn, 0, &mut Uncut)
    }

    fn running(&self, persistent: Persistent) -> Device {
        match self.start(persistent) {
            Started::Running(device, _) => device,
            other => panic!("{other:?}"),
        }
    }

    /// Breaks the image in a slot behind its header.
    fn spoil(&self, persistent: &mut Persistent, slot: Slot) {
        let pair = self.board.mcuboot().unwrap().pair(0).unwrap();
        let start = pair.image_offset(&persistent.flash, slot);
        persistent.flash.load(pair.area(slot), start + 100, &[0; 16]).unwrap();
    }

    fn ask(&self, device: &mut Device, command: Command, op: Op, body: impl FnOnce(&mut Writer)) -> SmpMessage {
        let (group, number) = command.numbers();
        let mut map = Writer::new();
        body(map.begin_map());
        let frame = Frame { version: Version::V1, op, reserved: (0, 0), group, sequence: 1, command: number };
        let packet = frame.emit(&map.end().clone().into_bytes());
        let answer = device.handle(&self.board, Battery::default(), 0, &packet, &mut Uncut).unwrap();
        SmpMessage::parse(&answer.packets[0])
    }

    fn upload(&self, device: &mut Device, image: &[u8]) -> Result<(), (Option<i64>, i64)> {
        let mut off = 0;
        while off < image.len() {
            let end = (off + 800).min(image.len());
            let answer = self.ask(device, Command::ImageUpload, Op::Write, |body| {
                body.text("off").unsigned(off as u64).text("data").bytes(&image[off..end]);
                if off == 0 {
                    body.text("len").unsigned(image.len() as u64);
                }
            });
            match answer.failure() {
                Some(failure) => return Err(failure),
                None => off = answer.body["off"].number().unwrap() as usize,
            }
        }
        Ok(())
    }

    fn set_state(&self, device: &mut Device, image: Option<&[u8]>, confirm: bool) -> SmpMessage {
        self.ask(device, Command::ImageState, Op::Write, |body| {
            if let Some(image) = image {
                body.text("hash").bytes(&inspect(&image).unwrap().hash.unwrap());
            }
            body.text("confirm").boolean(confirm);
        })
    }

    /// Slot, version and flags of each image that the server lists.
    fn list(&self, device: &mut Device) -> Vec<String> {
        let answer = self.ask(device, Command::ImageState, Op::Read, |_| {});
        let line = |image: &Field| {
            let slot = image.get("slot").and_then(Field::number).unwrap();
            let Some(Field::Text(version)) = image.get("version") else { panic!("{image:?}") };
            let set = |flag: &&str| image.get(flag) == Some(&Field::Boolean(true));
            let flags: Vec<&str> =
                ["pending", "confirmed", "active", "permanent"].iter().copied().filter(|flag| set(flag)).collect();
            format!("{slot} {version} {}", flags.join(" "))
        };
        answer.body["images"].list().unwrap().iter().map(line).collect()
    }
}

fn version(device: &Device) -> String {
    device.image().expect("an image runs").version.to_string()
}

/// What a start came to, in a word.
fn outcome(started: &Started) -> &'static str {
    match started {
        Started::Running(device, _) if device.recovery().is_some() => "recovery",
        Started::Running(..) => "boot",
        Started::Dead(..) => "dead",
        Started::Resets(..) => "resets",
        Started::Interrupted(..) => "interrupted",
    }
}

#[test]
fn without_a_valid_active_slot_the_other_one_runs_where_the_mode_has_that_and_else_the_recovery() {
    for (mode, _) in MODES {
        for recovery in [None, Some(RecoveryConfig::default())] {
            let last = if recovery.is_some() { "recovery" } else { "dead" };
            let bench = Bench::new(mode, recovery);
            let mut persistent = bench.factory("2.0.0", Some("1.0.0"));
            bench.spoil(&mut persistent, Slot::Primary);
            let started = bench.start(persistent);
            let has_other = matches!(mode, Mode::DirectXip { .. });
            assert_eq!(outcome(&started), if has_other { "boot" } else { last }, "{mode:?}");
            let mut persistent = match started {
                Started::Running(device, _) => {
                    if has_other {
                        assert_eq!((version(&device).as_str(), device.running_slot()), ("1.0.0", Slot::Secondary));
                    }
                    device.power_off()
                }
                Started::Dead(persistent, _) => persistent,
                Started::Interrupted(..) | Started::Resets(..) => panic!("nothing interrupts"),
            };
            bench.spoil(&mut persistent, Slot::Secondary);
            assert_eq!(outcome(&bench.start(persistent)), last, "{mode:?}");
        }
    }
}

#[test]
fn what_the_recovery_is_given_runs_in_every_mode_that_asks_for_no_trailer() {
    for (mode, _) in MODES {
        let bench = Bench::new(mode, Some(RecoveryConfig::default()));
        let mut device = bench.running(Persistent::new(bench.board.layout.blank_flash()));
        assert!(device.recovery().is_some(), "{mode:?}");
        bench.upload(&mut device, &bench.image("3.0.0")).unwrap();
        let started = bench.start(device.power_off());
        // Direct-XIP with revert erases an image without a trailer, and the recovery writes none.
        assert_eq!(outcome(&started), if mode == XIP_REVERT { "recovery" } else { "boot" }, "{mode:?}");
    }
    // With a trailer, as imgtool pads an image that is confirmed, it stays; a whole slot is erased at once then.
    let bench =
        Bench::new(XIP_REVERT, Some(RecoveryConfig { erase_progressively: false, ..RecoveryConfig::default() }));
    let padded =
        bench.factory("3.0.0", None).flash.read_area(bench.board.mcuboot().unwrap().area(Slot::Primary)).unwrap();
    let mut device = bench.running(Persistent::new(bench.board.layout.blank_flash()));
    bench.upload(&mut device, &padded).unwrap();
    assert_eq!(version(&bench.running(device.power_off())), "3.0.0");
}

#[test]
fn an_image_that_is_tried_in_either_slot_is_confirmed_there_or_given_up() {
    let bench = Bench::new(XIP_REVERT, None);
    let [second, third] = ["2.0.0", "3.0.0"].map(|version| bench.image(version));
    let mut device = bench.running(bench.factory("1.0.0", None));
    assert_eq!(bench.list(&mut device), ["0 1.0.0 confirmed active"]);
    bench.upload(&mut device, &second).unwrap();
    assert_eq!(bench.list(&mut device), ["0 1.0.0 confirmed active", "1 2.0.0 "]);
    assert_eq!(bench.set_state(&mut device, Some(&second), false).failure(), None);
    assert_eq!(bench.list(&mut device), ["0 1.0.0 confirmed active", "1 2.0.0 pending"]);
    let mut device = bench.running(device.power_off());
    assert_eq!(device.running_slot(), Slot::Secondary);
    assert_eq!(bench.list(&mut device), ["0 1.0.0 confirmed", "1 2.0.0 active"]);
    // The way back is in use until the image is confirmed.
    assert_eq!(bench.upload(&mut device, &third), Err((Some(1), 9)));
    assert_eq!(bench.set_state(&mut device, None, true).failure(), None);
    let mut device = bench.running(device.power_off());
    assert_eq!(bench.list(&mut device), ["0 1.0.0 ", "1 2.0.0 confirmed active"]);
    // The next update goes to the primary slot; it is not confirmed, and the one in the secondary slot runs again.
    bench.upload(&mut device, &third).unwrap();
    assert_eq!(bench.set_state(&mut device, Some(&third), false).failure(), None);
    let device = bench.running(device.power_off());
    assert_eq!((version(&device).as_str(), device.running_slot()), ("3.0.0", Slot::Primary));
    let mut device = bench.running(device.power_off());
    assert_eq!((version(&device).as_str(), device.running_slot()), ("2.0.0", Slot::Secondary));
    assert_eq!(bench.list(&mut device), ["1 2.0.0 confirmed active"]);
    let erase = bench.ask(&mut device, Command::ImageErase, Op::Write, |body| {
        body.text("slot").unsigned(1);
    });
    assert_eq!(erase.failure(), Some((Some(1), 9)), "the slot that runs");
}

#[test]
fn an_application_confirms_the_slot_that_it_runs_from() {
    let bench = Bench::new(XIP_REVERT, None);
    let second = bench.image("2.0.0");
    let mut device = bench.running(bench.factory("1.0.0", None));
    bench.upload(&mut device, &second).unwrap();
    bench.set_state(&mut device, Some(&second), false);
    let mut device = bench.running(device.power_off());
    device.confirm_itself(&bench.board, &mut Uncut).unwrap();
    let device = bench.running(device.power_off());
    assert_eq!((version(&device).as_str(), device.running_slot()), ("2.0.0", Slot::Secondary));
}

#[test]
fn the_higher_version_runs_without_a_request_and_takes_none() {
    let bench = Bench::new(XIP, None);
    let [second, third] = ["2.0.0", "3.0.0"].map(|version| bench.image(version));
    let mut device = bench.running(bench.factory("1.0.0", None));
    bench.upload(&mut device, &second).unwrap();
    assert_eq!(bench.list(&mut device), ["0 1.0.0 confirmed active", "1 2.0.0 pending permanent"]);
    assert_eq!(bench.set_state(&mut device, Some(&second), false).failure(), Some((None, 8)));
    let mut device = bench.running(device.power_off());
    assert_eq!(bench.list(&mut device), ["0 1.0.0 ", "1 2.0.0 confirmed active"]);
    bench.upload(&mut device, &third).unwrap();
    let device = bench.running(device.power_off());
    assert_eq!((version(&device).as_str(), device.running_slot()), ("3.0.0", Slot::Primary));
    assert_eq!(version(&bench.running(device.power_off())), "3.0.0", "there is no way back");
}

#[test]
fn updates_for_swap_offset_follow_each_other() {
    let bench = Bench::new(Mode::SwapOffset, None);
    let mut device = bench.running(bench.factory("1.0.0", None));
    for (installed, update) in [("1.0.0", "2.0.0"), ("2.0.0", "3.0.0"), ("3.0.0", "4.0.0")] {
        let image = bench.image(update);
        bench.upload(&mut device, &image).unwrap();
        assert_eq!(
            bench.list(&mut device),
            [format!("0 {installed} confirmed active"), format!("1 {update} ")],
            "the image is found where it was put"
        );
        assert_eq!(bench.set_state(&mut device, Some(&image), false).failure(), None);
        device = bench.running(device.power_off());
        // The way back lies at the start of its slot.
        assert_eq!(bench.list(&mut device), [format!("0 {update} active"), format!("1 {installed} confirmed")]);
        assert_eq!(bench.set_state(&mut device, None, true).failure(), None);
        // Confirmed, it is not looked for there any more.
        assert_eq!(bench.list(&mut device), [format!("0 {update} confirmed active")]);
    }
}

#[test]
fn a_recovery_that_writes_both_slots_begins_an_update_for_swap_offset_a_sector_further_in() {
    for erase_progressively in [true, false] {
        let config = RecoveryConfig { direct_upload: true, erase_progressively, ..RecoveryConfig::default() };
        let bench = Bench::new(Mode::SwapOffset, Some(config));
        let mut device = bench.running(Persistent::new(bench.board.layout.blank_flash()));
        let image = bench.image("2.0.0");
        let mut off = 0;
        while off < image.len() {
            let end = (off + 800).min(image.len());
            let answer = bench.ask(&mut device, Command::ImageUpload, Op::Write, |body| {
                body.text("off").unsigned(off as u64).text("data").bytes(&image[off..end]).text("image").unsigned(2);
                if off == 0 {
                    body.text("len").unsigned(image.len() as u64);
                }
            });
            assert_eq!(answer.failure(), None);
            off = answer.body["off"].number().unwrap() as usize;
        }
        let slot = device.persistent().flash.read_area(bench.board.mcuboot().unwrap().area(Slot::Secondary)).unwrap();
        assert!(slot[..4096].iter().all(|byte| *byte == 0xff));
        assert_eq!(slot[4096..4096 + image.len()], image[..]);
        let answer = bench.ask(&mut device, Command::ImageState, Op::Read, |_| {});
        let images = answer.body["images"].list().unwrap();
        assert_eq!(images.iter().map(|image| image.get("slot").and_then(Field::number)).collect::<Vec<_>>(), [Some(1)]);
    }
}
