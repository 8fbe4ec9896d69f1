use brickproof_flash_model::boot::mcuboot::{Options, Outcome};
use brickproof_flash_model::flash::{Flash, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageBuilder, ImageVersion, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;

use super::*;
use crate::smp::{Field, SmpMessage, Version};

struct Bench {
    flash: Flash,
    mcuboot: Mcuboot,
    server: Recovery,
    image: Vec<u8>,
}

impl Bench {
    fn new(config: RecoveryConfig) -> Self {
        let layout = Layout::preset("nrf52840").unwrap();
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let options = Options::default();
        let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
        let version = ImageVersion { major: 1, minor: 2, revision: 3, build: 4 };
        let image = ImageBuilder::new(version).generated_payload(5000).sign(&key).unwrap();
        Self { flash: layout.blank_flash(), mcuboot, server: Recovery::new(config), image }
    }

    fn send(&mut self, op: Op, group: u16, command: u8, body: &[u8]) -> Answer {
        let frame = Frame { version: Version::V1, op, reserved: (0, 0), group, sequence: 9, command };
        self.packet(&frame.emit(body))
    }

    fn packet(&mut self, packet: &[u8]) -> Answer {
        let mut hook = Uncut;
        let mut controller = Controller::new(&mut self.flash, &mut hook);
        self.server.handle(packet, &mut controller, &self.mcuboot).unwrap()
    }

    /// `rc` and `off` of the answer to a chunk.
    fn chunk(&mut self, off: usize, data: &[u8], len: Option<usize>) -> (i64, Option<i64>) {
        let mut map = Writer::new();
        map.begin_map().text("off").unsigned(off as u64).text("data").bytes(data);
        if let Some(len) = len {
            map.text("len").unsigned(len as u64);
        }
        let answer = self.send(Op::Write, 1, 1, &map.end().clone().into_bytes());
        let message = SmpMessage::parse(&answer.packets[0]);
        let number = |key: &str| message.body.get(key).and_then(Field::number);
        (number("rc").unwrap(), number("off"))
    }

    fn upload(&mut self, chunk: usize) {
        let image = self.image.clone();
        let mut at = 0;
        while at < image.len() {
            let end = (at + chunk).min(image.len());
            let (rc, off) = self.chunk(at, &image[at..end], (at == 0).then_some(image.len()));
            assert_eq!(rc, 0);
            at = off.unwrap() as usize;
        }
    }

    fn rc(&mut self, op: Op, group: u16, command: u8) -> Option<i64> {
        let answer = self.send(op, group, command, &[0xa0]);
        SmpMessage::parse(&answer.packets[0]).body.get("rc").and_then(Field::number)
    }
}

#[test]
fn an_uploaded_image_boots() {
    for (erase_progressively, chunk) in [(true, 333), (false, 400)] {
        let mut bench = Bench::new(RecoveryConfig { erase_progressively, ..RecoveryConfig::default() });
        bench.upload(chunk);
        assert_eq!(bench.server.upload(), None);
        let mut hook = Uncut;
        let boot = bench.mcuboot.boot(&mut Controller::new(&mut bench.flash, &mut hook)).unwrap();
        assert!(matches!(boot.outcome, Outcome::Boot { .. }), "{:?}", boot.outcome);
    }
}

#[test]
fn bytes_beyond_the_last_whole_unit_are_asked_for_again() {
    let mut bench = Bench::new(RecoveryConfig::default());
    let image = bench.image.clone();
    assert_eq!(bench.chunk(0, &image[..103], Some(image.len())), (0, Some(100)));
    assert_eq!(bench.chunk(103, &image[103..200], None), (0, Some(100)), "a wrong offset is no failure");
    assert_eq!(bench.chunk(100, &image[100..200], None), (0, Some(200)));
    assert_eq!(bench.server.upload(), Some((200, image.len() as u32)));
    // Offset 0 begins anew, whatever was uploaded.
    assert_eq!(bench.chunk(0, &image[..40], Some(image.len())), (0, Some(40)));
    let beyond = vec![0; image.len()];
    assert_eq!(bench.chunk(40, &beyond, None), (3, None), "more than was announced");
}

#[test]
fn bad_uploads_are_refused_with_rc_3() {
    let mut bench = Bench::new(RecoveryConfig::default());
    assert_eq!(bench.chunk(0, &[0; 32], None), (3, None), "no length");
    assert_eq!(bench.chunk(0, &[0; 32], Some(0x60001)), (3, None), "larger than the slot");
    assert_eq!(bench.chunk(0, &[], Some(100)), (3, None), "nothing");
    let answer = bench.send(Op::Write, 1, 1, &[0xff, 0xff]);
    assert_eq!(SmpMessage::parse(&answer.packets[0]).body.get("rc").and_then(Field::number), Some(3));
    for (image, rc) in [(1, 3), (2, 5)] {
        let mut map = Writer::new();
        map.begin_map().text("image").unsigned(image).text("off").unsigned(0).text("len").unsigned(64);
        let body = map.text("data").bytes(&[0; 32]).end().clone().into_bytes();
        let answer = bench.send(Op::Write, 1, 1, &body);
        assert_eq!(SmpMessage::parse(&answer.packets[0]).body.get("rc").and_then(Field::number), Some(rc));
    }
}

#[test]
fn what_is_built_in_decides_what_is_answered() {
    let mut bench = Bench::new(RecoveryConfig::default());
    assert_eq!(bench.rc(Op::Write, 0, 1), Some(0), "console echo");
    for (op, group, command) in
        [(Op::Write, 0, 0), (Op::Read, 0, 6), (Op::Write, 1, 0), (Op::Read, 1, 6), (Op::Write, 1, 5), (Op::Read, 64, 0)]
    {
        assert_eq!(bench.rc(op, group, command), Some(8), "{group} {command}");
    }
    let all =
        RecoveryConfig { echo: true, params: true, image_state: true, slot_info: true, ..RecoveryConfig::default() };
    bench.server = Recovery::new(all);
    let body = |answer: &Answer| SmpMessage::parse(&answer.packets[0]).body.clone();
    let params = body(&bench.send(Op::Read, 0, 6, &[0xa0]));
    assert_eq!(params.get("buf_size").and_then(Field::number), Some(1024));
    assert_eq!(params.get("buf_count").and_then(Field::number), Some(1));
    // {"d": "hi"} and {"r": "hi"}
    let echo = bench.send(Op::Write, 0, 0, &[0xa1, 0x61, b'd', 0x62, b'h', b'i']);
    assert_eq!(echo.packets[0][8..], [0xbf, 0x61, b'r', 0x62, b'h', b'i', 0xff]);
    let mut long = vec![0xa1, 0x61, b'd', 0x78, 250];
    long.resize(5 + 250, b'x');
    assert_eq!(body(&bench.send(Op::Write, 0, 0, &long)).get("rc").and_then(Field::number), Some(2));
    assert!(body(&bench.send(Op::Read, 1, 6, &[0xa0])).contains_key("images"));
    let reset = bench.send(Op::Write, 0, 5, &[0xa0]);
    assert!(reset.reset);
}

#[test]
fn the_header_comes_back_as_it_was_and_odd_packets_are_ignored() {
    let mut bench = Bench::new(RecoveryConfig::default());
    // Version bits 3, a reserved bit, flags 0x55, and a length longer than the packet: list, sequence 0x21.
    let answer = bench.packet(&[0x38, 0x55, 0, 9, 0, 1, 0x21, 0, 0xa0]);
    // {"images": []} of indefinite length: bf 66 "images" 9f ff ff.
    let expected = [0x39, 0, 0, 11, 0, 1, 0x21, 0, 0xbf, 0x66, b'i', b'm', b'a', b'g', b'e', b's', 0x9f, 0xff, 0xff];
    assert_eq!(answer.packets, [expected.to_vec()]);
    for packet in
        [&[0x09, 0, 0, 0, 0, 1, 0, 0][..], &[0x0c, 0, 0, 0, 0, 1, 0, 0], &[8; 7], &[8, 0, 0, 0, 0, 1, 0, 0, 0]]
    {
        assert_eq!(bench.packet(packet), Answer::default(), "{packet:?}");
    }
}

#[test]
fn lists_hold_valid_images_only() {
    let mut bench = Bench::new(RecoveryConfig { image_state: true, ..RecoveryConfig::default() });
    bench.upload(512);
    let answer = bench.send(Op::Read, 1, 0, &[0xa0]);
    let message = SmpMessage::parse(&answer.packets[0]);
    let images = message.body.get("images").and_then(Field::list).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].get("confirmed").and_then(Field::boolean), Some(true));
    assert_eq!(images[0].get("slot").and_then(Field::number), Some(0));
    assert!(images[0].get("active").is_none(), "the bootloader runs, no image does");
    let image = bench.image.clone();
    bench.chunk(0, &image[..64], Some(image.len()));
    let answer = bench.send(Op::Read, 1, 0, &[0xa0]);
    let message = SmpMessage::parse(&answer.packets[0]);
    assert_eq!(message.body.get("images").and_then(Field::list).map(<[Field]>::len), Some(0));
}
