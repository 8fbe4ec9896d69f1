//! Each group of commands, as a device with it and one without it answers.

use std::collections::BTreeMap;

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_simulator::device::Retained;
use brickproof_simulator::smp::cbor::{MapEncoding, Writer};
use brickproof_simulator::smp::config::{
    CannedAnswer, CannedValue, Counters, Enumeration, Files, Settings, ShellCommand, TooLarge, VendorCommand,
};
use brickproof_simulator::smp::{
    BootloaderMode, Command, Environment, Field, Frame, Kept, Op, Server, ServerConfig, SmpMessage, Version,
    ZephyrRelease,
};

struct Bench {
    server: Server,
    layout: Layout,
    mcuboot: Mcuboot,
    flash: Flash,
    kept: Kept,
    retained: Retained,
    running_slot: u32,
    now_us: u64,
    reset: bool,
}

impl Bench {
    fn new(config: ServerConfig) -> Self {
        Self::on("nrf52840", config)
    }

    fn on(layout: &str, config: ServerConfig) -> Self {
        let layout = Layout::preset(layout).unwrap();
        let mcuboot = Mcuboot::new(&layout, Options::default(), Verifier::default()).unwrap();
        let kept = Kept::factory(&config);
        Self {
            server: Server::new(config, &kept),
            flash: layout.blank_flash(),
            layout,
            mcuboot,
            kept,
            retained: Retained::default(),
            running_slot: 0,
            now_us: 0,
            reset: false,
        }
    }

    fn install(&mut self, slot: Slot, version: &str) -> Vec<u8> {
        let key = SigningKey::from_seed(b"tests").unwrap();
        let image = ImageBuilder::new(version.parse().unwrap()).header_size(32).generated_payload(3000);
        let image = image.sign(&key).unwrap();
        self.flash.load(self.mcuboot.area(slot), 0, &image).unwrap();
        image
    }

    fn restart(&mut self) {
        self.server = Server::new(self.server.config().clone(), &self.kept);
    }

    fn packet(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let mut hook = Uncut;
        let mut flash = Controller::new(&mut self.flash, &mut hook);
        let mut environment = Environment {
            flash: &mut flash,
            mcuboot: &self.mcuboot,
            running_slot: self.running_slot,
            refuse_upload: None,
            refuse_confirm: None,
            storage: self.layout.area("storage"),
            kept: &mut self.kept,
            retained: &mut self.retained,
            now_us: self.now_us,
        };
        let answer = self.server.handle(packet, &mut environment).unwrap();
        self.reset |= answer.reset;
        answer.packets
    }

    fn ask_as(&mut self, version: Version, command: Command, op: Op, body: &[u8]) -> SmpMessage {
        let (group, number) = command.numbers();
        self.ask_numbers(version, group, number, op, body)
    }

    fn ask_numbers(&mut self, version: Version, group: u16, command: u8, op: Op, body: &[u8]) -> SmpMessage {
        let frame = Frame { version, op, reserved: (0, 0), group, sequence: 1, command };
        let answers = self.packet(&frame.emit(body));
        assert_eq!(answers.len(), 1);
        let message = SmpMessage::parse(&answers[0]);
        assert_eq!(message.malformed, None);
        message
    }

    fn ask(&mut self, command: Command, op: Op, body: impl FnOnce(&mut Writer)) -> SmpMessage {
        self.ask_as(Version::V1, command, op, &map(body))
    }

    fn read(&mut self, command: Command, body: impl FnOnce(&mut Writer)) -> SmpMessage {
        self.ask(command, Op::Read, body)
    }

    fn write(&mut self, command: Command, body: impl FnOnce(&mut Writer)) -> SmpMessage {
        self.ask(command, Op::Write, body)
    }

    /// The `rc` that a version 0 request gets.
    fn old_rc(&mut self, command: Command, op: Op, body: impl FnOnce(&mut Writer)) -> Option<i64> {
        let answer = self.ask_as(Version::V0, command, op, &map(body));
        assert!(!answer.body.contains_key("err"));
        answer.body.get("rc").and_then(Field::number)
    }
}

fn map(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut body = Writer::new();
    body.begin_map();
    fill(&mut body);
    body.end();
    body.into_bytes()
}

fn nothing(_: &mut Writer) {}

fn named(name: &str) -> impl FnOnce(&mut Writer) {
    move |body| {
        body.text("name").text(name);
    }
}

fn group_error(message: &SmpMessage) -> (i64, i64) {
    let (group, rc) = message.failure().expect("a failure");
    (group.expect("of a group"), rc)
}

fn number(message: &SmpMessage, key: &str) -> i64 {
    message.body.get(key).and_then(Field::number).unwrap_or_else(|| panic!("{key} in {message:?}"))
}

fn bytes(message: &SmpMessage, key: &str) -> String {
    message.body.get(key).and_then(Field::hex).unwrap_or_else(|| panic!("{key} in {message:?}")).to_owned()
}

#[test]
fn without_a_group_its_commands_are_not_supported() {
    let mut bench = Bench::new(ServerConfig::default());
    let built = [Command::Echo, Command::Reset, Command::Params, Command::ImageState, Command::ImageUpload];
    for command in Command::ALL {
        if built.contains(&command) || command == Command::ImageErase {
            continue;
        }
        for op in [Op::Read, Op::Write] {
            assert_eq!(bench.ask(command, op, nothing).failure(), Some((None, 8)), "{}", command.name());
        }
    }
}

#[test]
fn settings_live_in_ram_and_are_saved_on_request() {
    let values = BTreeMap::from([("app/name".to_owned(), b"old".to_vec()), ("app/key".to_owned(), vec![7; 36])]);
    let mut bench = Bench::new(ServerConfig {
        settings: Some(Settings { values, ..Settings::default() }),
        ..ServerConfig::default()
    });
    let value = |bench: &mut Bench| bytes(&bench.read(Command::Setting, named("app/name")), "val");
    let set = |bench: &mut Bench, to: &'static [u8]| {
        let answer = bench.write(Command::Setting, |body| {
            body.text("name").text("app/name").text("val").bytes(to);
        });
        assert_eq!(answer.failure(), None);
    };
    set(&mut bench, b"new");
    assert_eq!(value(&mut bench), "6e6577");
    bench.restart();
    assert_eq!(value(&mut bench), "6f6c64", "it was not saved");
    set(&mut bench, b"new");
    assert_eq!(bench.write(Command::SettingsLoadSave, nothing).failure(), None);
    bench.restart();
    assert_eq!(value(&mut bench), "6e6577");
    set(&mut bench, b"x");
    assert_eq!(bench.read(Command::SettingsLoadSave, nothing).failure(), None);
    assert_eq!(value(&mut bench), "6e6577", "loaded again");
    assert_eq!(bench.write(Command::SettingsCommit, nothing).failure(), None);
    assert_eq!(bench.write(Command::SettingDelete, named("app/name")).failure(), None);
    assert_eq!(value(&mut bench), "6e6577", "the value in RAM stays");
    bench.restart();
    assert_eq!(value(&mut bench), "6f6c64", "the default is back");

    let cut = bench.read(Command::Setting, |body| {
        body.text("name").text("app/key").text("max_size").unsigned(2);
    });
    assert_eq!((bytes(&cut, "val"), cut.body.get("max_size")), ("0707".to_owned(), None));
    let limited = bench.read(Command::Setting, |body| {
        body.text("name").text("app/key").text("max_size").unsigned(1000);
    });
    assert_eq!(number(&limited, "max_size"), 36);
    for (name, code, old) in [("app/none", 3, 5), ("none/x", 5, 1), ("app/name-that-is-much-too-long-to-be", 2, 3)] {
        assert_eq!(group_error(&bench.read(Command::Setting, named(name))), (3, code), "{name}");
        assert_eq!(bench.old_rc(Command::Setting, Op::Read, named(name)), Some(old), "{name}");
    }
    assert_eq!(bench.read(Command::Setting, nothing).failure(), Some((None, 3)));
}

#[test]
fn files() {
    let content: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let files = BTreeMap::from([("/lfs1/a".to_owned(), content.clone()), ("/lfs1/dir/empty".to_owned(), Vec::new())]);
    let mut bench = Bench::new(ServerConfig {
        buffer_size: 384,
        files: Some(Files { files, ..Files::default() }),
        ..ServerConfig::default()
    });
    let ask_at = |bench: &mut Bench, name: &str, off: u64| {
        let name = name.to_owned();
        bench.read(Command::File, move |body| {
            body.text("off").unsigned(off).text("name").text(&name);
        })
    };
    // 384 bytes less 50 for everything else.
    let mut got = 0;
    while got < content.len() as u64 {
        let answer = ask_at(&mut bench, "/lfs1/a", got);
        assert_eq!(answer.body.contains_key("len"), got == 0);
        let (len, _) = answer.body["data"].bytes_sha256().unwrap();
        assert_eq!(len, 334.min(content.len() as u64 - got));
        got += len;
    }
    assert_eq!(number(&bench.read(Command::FileStatus, named("/lfs1/a")), "len"), 1000);
    for (name, code, old) in [("/lfs1/b", 3, 5), ("/lfs1/dir", 4, 1), ("/lfs1", 4, 1), ("a", 2, 3)] {
        assert_eq!(group_error(&bench.read(Command::FileStatus, named(name))), (8, code), "{name}");
        assert_eq!(bench.old_rc(Command::FileStatus, Op::Read, named(name)), Some(old), "{name}");
    }
    assert_eq!(ask_at(&mut bench, "", 0).failure(), Some((None, 3)));

    let upload = |bench: &mut Bench, name: &str, off: u64, len: Option<u64>, data: &[u8]| {
        let body = map(|body| {
            body.text("off").unsigned(off).text("name").text(name).text("data").bytes(data);
            if let Some(len) = len {
                body.text("len").unsigned(len);
            }
        });
        bench.ask_as(Version::V1, Command::File, Op::Write, &body)
    };
    assert_eq!(number(&upload(&mut bench, "/lfs1/new", 0, Some(6), b"abc"), "off"), 3);
    let wrong = upload(&mut bench, "/lfs1/new", 5, None, b"f");
    assert_eq!((group_error(&wrong), number(&wrong, "len")), ((8, 11), 3));
    // The file was closed; its length is where it goes on.
    assert_eq!(number(&upload(&mut bench, "/lfs1/new", 3, None, b"def"), "off"), 6);
    assert_eq!(bench.kept.files["/lfs1/new"], b"abcdef");
    assert_eq!(number(&upload(&mut bench, "/lfs1/new", 0, Some(1), b"z"), "off"), 1);
    assert_eq!(bench.kept.files["/lfs1/new"], b"z", "offset 0 begins anew");
    assert_eq!(group_error(&upload(&mut bench, "/sd/x", 0, Some(1), b"z")), (8, 14));
    assert_eq!(upload(&mut bench, "/lfs1/x", 0, None, b"z").failure(), Some((None, 3)), "no length");
    let big = vec![0; 300];
    let mut off = 0;
    let full = loop {
        let answer = upload(&mut bench, "/lfs1/big", off, Some(1 << 30), &big);
        match answer.body.get("off") {
            Some(next) => off = next.number().unwrap() as u64,
            None => break answer,
        }
    };
    assert_eq!((group_error(&full), off <= 256 * 1024), ((8, 10), true));
    assert_eq!(bench.write(Command::FileClose, nothing).failure(), None);

    let hash = |bench: &mut Bench, name: &str, kind: &str| {
        let body = map(|body| {
            body.text("name").text(name).text("type").text(kind);
        });
        bench.ask_as(Version::V1, Command::FileHash, Op::Read, &body)
    };
    let crc = hash(&mut bench, "/lfs1/new", "");
    assert_eq!((number(&crc, "output"), number(&crc, "len")), (0x62d2_77af, 1));
    let sha = hash(&mut bench, "/lfs1/new", "sha256");
    assert_eq!(bytes(&sha, "output"), "594e519ae499312b29433b7dd8a97ff068defcba9755b6d5d00e84c524d67b06");
    assert_eq!(group_error(&hash(&mut bench, "/lfs1/new", "md5")), (8, 13));
    assert_eq!(group_error(&hash(&mut bench, "/lfs1/dir/empty", "crc32")), (8, 16));
    assert!(bench.read(Command::FileHashTypes, nothing).body["types"].get("sha256").is_some());
}

#[test]
fn statistics_and_shell() {
    let mut bench = Bench::new(ServerConfig {
        statistics: Some(vec![Counters { name: "smp".into(), fields: vec![("in".into(), 12), ("out".into(), 7)] }]),
        shell: Some(vec![ShellCommand { line: "kernel version".into(), output: "4.2".into(), ret: 3 }]),
        ..ServerConfig::default()
    });
    let list = bench.read(Command::StatisticsList, nothing);
    assert_eq!((number(&list, "rc"), list.body["stat_list"].list().unwrap().len()), (0, 1));
    let data = bench.read(Command::StatisticsData, named("smp"));
    assert_eq!(data.body["fields"].get("out").and_then(Field::number), Some(7));
    // The group of the failure is that of another group, as the source has it.
    assert_eq!(group_error(&bench.read(Command::StatisticsData, named("none"))), (63, 3));
    assert_eq!(bench.old_rc(Command::StatisticsData, Op::Read, named("none")), None);
    assert_eq!(bench.read(Command::StatisticsData, nothing).failure(), Some((None, 3)));

    let exec = |bench: &mut Bench, words: &[&str]| {
        let body = map(|body| {
            body.text("argv").begin_list();
            for word in words {
                body.text(word);
            }
            body.end();
        });
        bench.ask_as(Version::V1, Command::ShellExec, Op::Write, &body)
    };
    let known = exec(&mut bench, &["kernel", "version"]);
    assert_eq!((known.body.get("o"), number(&known, "ret")), (Some(&Field::Text("4.2".into())), 3));
    let unknown = exec(&mut bench, &["rm", "-rf"]);
    assert_eq!(unknown.body.get("o"), Some(&Field::Text("rm: command not found\n".into())));
    assert_eq!(number(&unknown, "ret"), -8);
    assert_eq!(group_error(&exec(&mut bench, &[])), (9, 3));
    assert_eq!(group_error(&exec(&mut bench, &["x".repeat(256).as_str()])), (9, 2));
    assert_eq!(bench.write(Command::ShellExec, nothing).failure(), Some((None, 3)));
}

#[test]
fn enumeration_names_what_is_there() {
    let vendor = VendorCommand { group: 77, command: 4, op: Op::Read, answer: CannedAnswer::Rc(1) };
    let mut bench = Bench::new(ServerConfig {
        enumeration: Some(Enumeration { details: true }),
        storage_erase: true,
        vendor: vec![vendor],
        ..ServerConfig::default()
    });
    assert_eq!(number(&bench.read(Command::EnumerationCount, nothing), "count"), 5);
    let list = bench.read(Command::EnumerationList, nothing);
    let groups: Vec<_> = list.body["groups"].list().unwrap().iter().filter_map(Field::number).collect();
    assert_eq!(groups, [10, 1, 0, 63, 77]);
    let single = |bench: &mut Bench, index: u64| {
        bench.read(Command::EnumerationSingle, move |body| {
            body.text("index").unsigned(index);
        })
    };
    assert_eq!(number(&single(&mut bench, 1), "group"), 1);
    assert_eq!(single(&mut bench, 4).body.get("end"), Some(&Field::Boolean(true)));
    assert_eq!(group_error(&single(&mut bench, 5)), (10, 4));
    assert_eq!(single(&mut bench, 65_536).failure(), Some((None, 3)));
    let details = bench.read(Command::EnumerationDetails, |body| {
        body.text("groups").begin_list().unsigned(1).unsigned(77).end();
    });
    let details = details.body["groups"].list().unwrap();
    assert_eq!(details[0].get("name"), Some(&Field::Text("img mgmt".into())));
    assert_eq!(details[0].get("handlers").and_then(Field::number), Some(6));
    assert_eq!((details.len(), details[1].get("handlers").and_then(Field::number)), (2, Some(5)));
}

#[test]
fn storage_erase_takes_the_partition_and_the_saved_settings() {
    let mut bench = Bench::new(ServerConfig {
        storage_erase: true,
        settings: Some(Settings { values: BTreeMap::from([("a/b".into(), vec![1])]), ..Settings::default() }),
        ..ServerConfig::default()
    });
    let area = bench.layout.area("storage").unwrap();
    bench.flash.load(area, 100, b"old data").unwrap();
    assert_eq!(bench.write(Command::StorageErase, nothing).failure(), None);
    assert!(bench.flash.read_area(area).unwrap().iter().all(|byte| *byte == 0xff));
    assert!(bench.kept.settings.is_empty());
}

#[test]
fn vendor_commands_go_first_and_answer_what_they_are_told_to() {
    let answers = [
        (64, Op::Read, CannedAnswer::Map(vec![("bytes".into(), CannedValue::Bytes(vec![1, 2]))])),
        (64, Op::Write, CannedAnswer::Error(9)),
        (0, Op::Read, CannedAnswer::Rc(300)),
    ];
    let vendor = answers.map(|(group, op, answer)| VendorCommand { group, command: 0, op, answer });
    let mut bench = Bench::new(ServerConfig { vendor: vendor.to_vec(), ..ServerConfig::default() });
    assert_eq!(bytes(&bench.ask_numbers(Version::V1, 64, 0, Op::Read, b""), "bytes"), "0102");
    assert_eq!(group_error(&bench.ask_numbers(Version::V1, 64, 0, Op::Write, b"")), (64, 9));
    assert_eq!(bench.ask_numbers(Version::V0, 64, 0, Op::Write, b"").failure(), Some((None, 1)));
    assert_eq!(bench.ask_numbers(Version::V1, 0, 0, Op::Read, b"").failure(), Some((None, 300)));
    assert_eq!(bench.write(Command::Echo, nothing).failure(), None, "the other operation is built in");
}

#[test]
fn reset_with_hook_and_boot_mode() {
    let mut bench = Bench::new(ServerConfig { reset_hook: Some(10), reset_boot_mode: true, ..ServerConfig::default() });
    let with_mode = |bench: &mut Bench, force: bool, mode: u64| {
        bench.write(Command::Reset, move |body| {
            body.text("force").boolean(force).text("boot_mode").unsigned(mode);
        })
    };
    assert_eq!(with_mode(&mut bench, false, 1).failure(), Some((None, 10)));
    assert_eq!((bench.reset, bench.retained.boot_mode), (false, 0), "a refused reset changes nothing");
    assert_eq!(with_mode(&mut bench, true, 256).failure(), Some((None, 3)));
    assert_eq!(with_mode(&mut bench, true, 1).failure(), None);
    assert_eq!((bench.reset, bench.retained.boot_mode), (true, 1));

    let mut plain = Bench::new(ServerConfig::default());
    assert_eq!(with_mode(&mut plain, false, 1).failure(), None);
    assert_eq!((plain.reset, plain.retained.boot_mode), (true, 0), "the option is not built in");
}

#[test]
fn the_clock_runs() {
    let mut bench = Bench::new(ServerConfig { datetime: true, ..ServerConfig::default() });
    assert_eq!(group_error(&bench.read(Command::DateTime, nothing)), (0, 4));
    assert_eq!(bench.old_rc(Command::DateTime, Op::Read, nothing), Some(5));
    let set = bench.write(Command::DateTime, |body| {
        body.text("datetime").text("2024-12-31T23:59:59");
    });
    assert_eq!(set.failure(), None);
    bench.now_us += 2_000_000;
    let answer = bench.read(Command::DateTime, nothing);
    assert_eq!(answer.body.get("datetime"), Some(&Field::Text("2025-01-01T00:00:01".into())));
    let wrong = bench.write(Command::DateTime, |body| {
        body.text("datetime").text("2024-12-32T23:59:59");
    });
    assert_eq!(wrong.failure(), Some((None, 3)));
}

#[test]
fn slot_info_as_later_releases_have_it() {
    let config = ServerConfig { slot_info: true, ..ServerConfig::default() };
    let (group, command) = Command::SlotInfo.numbers();
    let frame = Frame { version: Version::V1, op: Op::Read, reserved: (0, 0), group, sequence: 0, command };
    let mut bench = Bench::new(config.clone());
    let packet = bench.packet(&frame.emit(b"\xa0")).remove(0);
    // Two slots of 0x60000 bytes; the form is that of the table of later releases.
    let expected = b"\xbf\x66images\x9f\xbf\x65image\x00\x65slots\x9f\
        \xbf\x64slot\x00\x64size\x1a\x00\x06\x00\x00\xff\
        \xbf\x64slot\x01\x64size\x1a\x00\x06\x00\x00\x6fupload_image_id\x00\xff\xff\xff\xff\xff";
    assert_eq!(&packet[8..], expected);
    let old = ServerConfig { zephyr: ZephyrRelease { major: 3, minor: 5 }, ..config.clone() };
    assert_eq!(Bench::new(old).read(Command::SlotInfo, nothing).failure(), Some((None, 8)));
    let limited = ServerConfig { too_large: TooLarge::Sysbuild { footer: 0x1000 }, direct_upload: true, ..config };
    let answer = Bench::new(limited).read(Command::SlotInfo, nothing);
    let image = &answer.body["images"].list().unwrap()[0];
    assert_eq!(image.get("max_image_size").and_then(Field::number), Some(0x5f000));
    assert_eq!(image.get("slots").unwrap().list().unwrap()[1].get("upload_image_id").and_then(Field::number), Some(2));
}

#[test]
fn erase_of_an_erased_slot_by_release() {
    for (minor, code) in [(4, Some((Some(1), 1))), (5, None)] {
        let zephyr = ZephyrRelease { major: 3, minor };
        let mut bench = Bench::new(ServerConfig { zephyr, ..ServerConfig::default() });
        assert_eq!(bench.write(Command::ImageErase, nothing).failure(), code);
    }
}

fn first_chunk(bench: &mut Bench, image: &[u8], number: Option<u64>, len: u64) -> SmpMessage {
    let body = map(|body| {
        body.text("off").unsigned(0).text("len").unsigned(len).text("data").bytes(&image[..image.len().min(1000)]);
        if let Some(number) = number {
            body.text("image").unsigned(number);
        }
    });
    bench.ask_as(Version::V1, Command::ImageUpload, Op::Write, &body)
}

#[test]
fn uploads_have_a_size_and_a_slot() {
    let footer = TooLarge::Sysbuild { footer: 0x2000 };
    let mut bench = Bench::new(ServerConfig { too_large: footer, ..ServerConfig::default() });
    let image = bench.install(Slot::Primary, "1.0.0");
    assert_eq!(group_error(&first_chunk(&mut bench, &image, None, 0x60000 - 0x1fff)), (1, 30));
    assert_eq!(first_chunk(&mut bench, &image, None, 0x60000 - 0x2000).failure(), None);
    let mut bench = Bench::new(ServerConfig { direct_upload: true, ..ServerConfig::default() });
    bench.install(Slot::Primary, "1.0.0");
    // With direct upload, 1 is the running slot, 2 the other, 3 none.
    assert_eq!(group_error(&first_chunk(&mut bench, &image, Some(1), 4000)), (1, 9));
    assert_eq!(group_error(&first_chunk(&mut bench, &image, Some(3), 4000)), (1, 10));
    assert_eq!(first_chunk(&mut bench, &image, Some(2), 4000).failure(), None);
    let max = TooLarge::BootloaderInfo { max: 5000 };
    let mut bench = Bench::new(ServerConfig { too_large: max, ..ServerConfig::default() });
    assert_eq!(group_error(&first_chunk(&mut bench, &image, None, 5001)), (1, 30));
}

#[test]
fn progressive_erase_takes_sectors_as_it_comes_to_them() {
    let mut bench = Bench::new(ServerConfig { progressive_erase: true, ..ServerConfig::default() });
    let image = bench.install(Slot::Primary, "1.0.0");
    let area = bench.mcuboot.area(Slot::Secondary);
    bench.flash.load(area, 0, &vec![0; area.len as usize]).unwrap();
    assert_eq!(first_chunk(&mut bench, &image, None, 9000).failure(), None);
    let slot = bench.flash.read_area(area).unwrap();
    assert_eq!(slot[..512], image[..512]);
    assert!(slot[512..4096].iter().all(|byte| *byte == 0xff), "the sector that is written to");
    assert!(slot[4096..area.len as usize - 4096].iter().all(|byte| *byte == 0), "what is not reached yet");
    assert!(slot[area.len as usize - 4096..].iter().all(|byte| *byte == 0xff), "the old trailer");
}

#[test]
fn swap_with_offset_begins_a_sector_further_in() {
    let mut bench = Bench::new(ServerConfig { bootloader: BootloaderMode::SwapOffset, ..ServerConfig::default() });
    let image = bench.install(Slot::Primary, "1.0.0");
    let mut off = 0;
    while off < image.len() {
        let end = (off + 700).min(image.len());
        let answer = bench.write(Command::ImageUpload, |body| {
            body.text("off").unsigned(off as u64).text("data").bytes(&image[off..end]);
            if off == 0 {
                body.text("len").unsigned(image.len() as u64);
            }
        });
        off = number(&answer, "off") as usize;
    }
    let slot = bench.flash.read_area(bench.mcuboot.area(Slot::Secondary)).unwrap();
    assert!(slot[..4096].iter().all(|byte| *byte == 0xff));
    assert_eq!(slot[4096..4096 + image.len()], image[..]);
    assert_eq!(bench.read(Command::ImageState, nothing).body["images"].list().unwrap().len(), 2);
}

#[test]
fn direct_xip_runs_from_either_slot() {
    let mut bench = Bench::new(ServerConfig { bootloader: BootloaderMode::DirectXip, ..ServerConfig::default() });
    bench.install(Slot::Primary, "1.0.0");
    let image = bench.install(Slot::Secondary, "1.0.0");
    bench.running_slot = 1;
    let list = bench.read(Command::ImageState, nothing);
    let images = list.body["images"].list().unwrap();
    assert_eq!(images[1].get("active"), Some(&Field::Boolean(true)));
    // Of the same version, the lower slot boots.
    assert_eq!(images[0].get("pending"), Some(&Field::Boolean(true)));
    assert_eq!(bench.write(Command::ImageState, nothing).failure(), Some((None, 8)));
    assert_eq!(first_chunk(&mut bench, &image, None, 4000).failure(), None);
    let slot = bench.flash.read_area(bench.mcuboot.area(Slot::Primary)).unwrap();
    assert!(slot[512..].iter().all(|byte| *byte == 0xff), "the update goes to the slot that does not run");
}

#[test]
fn answers_in_definite_maps_and_without_the_original_protocol() {
    let mut bench = Bench::new(ServerConfig {
        map_encoding: MapEncoding::Definite,
        original_protocol: false,
        ..ServerConfig::default()
    });
    bench.install(Slot::Primary, "1.0.0");
    let packet = bench.packet(b"\x08\0\0\x01\0\0\x05\x06\xa0").remove(0);
    assert_eq!(&packet[8..], b"\xa2\x68buf_size\x19\x09\xab\x69buf_count\x04");
    let list = bench.read(Command::ImageState, nothing);
    assert_eq!(list.body["images"].list().unwrap().len(), 1);
    let old = bench.ask_as(Version::V0, Command::Echo, Op::Write, b"\xa0");
    assert_eq!(old.failure(), Some((None, 12)));
}

#[test]
fn the_reason_of_a_failure_stays_until_the_next_handler() {
    let mut bench = Bench::new(ServerConfig { verbose_errors: true, ..ServerConfig::default() });
    let upload = Frame::parse(b"\x0a\0\0\x01\0\x01\x01\x01\xa0").unwrap().0.emit(b"\xa0");
    let unknown = b"\x0a\0\0\x01\0\x4d\x02\x00\xa0".to_vec();
    let echo = b"\x0a\0\0\x01\0\0\x03\0\xa0".to_vec();
    let reason = |packets: &[Vec<u8>]| SmpMessage::parse(packets.last().unwrap()).body.get("rsn").cloned();
    let malformed = Some(Field::Text("header malformed".into()));
    assert_eq!(reason(&bench.packet(&[upload.clone(), unknown.clone()].concat())), malformed);
    assert_eq!(reason(&bench.packet(&[upload, echo, unknown.clone()].concat())), None);
    assert_eq!(reason(&bench.packet(&unknown)), None);
}
