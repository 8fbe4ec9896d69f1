//! The subtle parts of checks, with traces made by hand.

use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{Command, Frame, Op, SmpMessage, Version};
use brickproof_simulator::trace::{
    BootRecord, Cause, Direction, InitiatorEvent, Kind, LinkEvent, PowerEvent, Record, SerialPart, StepBy, hex,
};

use super::view::View;
use super::{CheckOutcome, checks};
use crate::scenario::{Image, ImageSet};

const LEN: usize = 4000;

/// A trace that grows; a millisecond passes between two records.
#[derive(Default)]
struct Trace {
    records: Vec<Record>,
    now_us: u64,
}

impl Trace {
    fn add(&mut self, cause: Option<u64>, kind: Kind) -> u64 {
        let n = self.records.len() as u64;
        self.now_us += 1000;
        self.records.push(Record { n, at_us: self.now_us, wall_us: None, cause, kind });
        n
    }

    fn wait(&mut self, us: u64) -> &mut Self {
        self.now_us += us;
        self
    }

    fn note(&mut self, event: InitiatorEvent) -> &mut Self {
        self.add(None, Kind::Initiator(event));
        self
    }

    fn process(&mut self, step: &str, by: StepBy) -> &mut Self {
        self.note(InitiatorEvent::Step { step: step.into(), by });
        self.note(InitiatorEvent::Started { what: "tool".into() })
    }

    fn datagram(&mut self, direction: Direction, packet: &[u8], lost: bool) -> u64 {
        let lost = lost.then(|| "the link is down".to_owned());
        self.add(None, Kind::Datagram { direction, len: packet.len() as u64, data: hex(packet), lost })
    }

    fn message(&mut self, direction: Direction, packet: &[u8]) -> &mut Self {
        let cause = self.datagram(direction, packet, false);
        let smp = SmpMessage::parse(packet);
        self.add(Some(cause), Kind::Message { protocol: "smp".into(), direction, smp });
        self
    }

    fn sends(&mut self, packet: &[u8]) -> &mut Self {
        self.message(Direction::ToTarget, packet)
    }

    fn sends_in_vain(&mut self, packet: &[u8]) -> &mut Self {
        self.datagram(Direction::ToTarget, packet, true);
        self
    }

    fn answers(&mut self, packet: &[u8]) -> &mut Self {
        self.message(Direction::FromTarget, packet)
    }

    fn line(&mut self, part: SerialPart, error: Option<&str>, abandoned: u64) -> &mut Self {
        let (direction, error) = (Direction::ToTarget, error.map(str::to_owned));
        self.add(
            None,
            Kind::SerialFrame { direction, len: 20, data: String::new(), part, error, abandoned, lost: None },
        );
        self
    }

    fn outcome(&self, id: &str) -> CheckOutcome {
        let image = |role| Image {
            role,
            bytes: vec![7; LEN],
            sha256: [1; 32],
            tlv_hash: Some([2; 32]),
            version: None,
            known: None,
        };
        let images = ImageSet { installed: image("installed"), update: image("update"), update_1: None, other: None };
        let (_, check) = checks().find(|(other, _)| *other == id).unwrap();
        check(&View::new(&self.records, &images))
    }

    #[track_caller]
    fn is_met(&self, id: &str) {
        let outcome = self.outcome(id);
        assert!(matches!(outcome, CheckOutcome::Met { .. }), "{id}: {outcome:?}");
    }

    #[track_caller]
    fn is_silent(&self, id: &str) {
        assert_eq!(self.outcome(id), CheckOutcome::NotExercised, "{id}");
    }

    #[track_caller]
    fn is_violated(&self, id: &str, word: &str) {
        match self.outcome(id) {
            CheckOutcome::Violated { findings } => {
                assert!(findings[0].happened.contains(word), "{id}: {}", findings[0].happened);
            }
            other => panic!("{id}: {other:?}"),
        }
    }
}

fn packet(command: Command, op: Op, sequence: u8, body: impl Fn(&mut Writer)) -> Vec<u8> {
    let (group, number) = command.numbers();
    let frame = Frame { version: Version::V1, op, reserved: (0, 0), group, sequence, command: number };
    let mut map = Writer::new();
    map.begin_map();
    body(&mut map);
    map.end();
    frame.emit(&map.into_bytes())
}

fn list(sequence: u8) -> Vec<u8> {
    packet(Command::ImageState, Op::Read, sequence, |_| {})
}

fn listed(sequence: u8) -> Vec<u8> {
    packet(Command::ImageState, Op::ReadResponse, sequence, |_| {})
}

fn echo(sequence: u8) -> Vec<u8> {
    packet(Command::Echo, Op::Write, sequence, |_| {})
}

/// A chunk of 1000 bytes.
fn chunk(sequence: u8, off: usize) -> Vec<u8> {
    packet(Command::ImageUpload, Op::Write, sequence, |map| {
        map.text("off").unsigned(off as u64).text("data").bytes(&[7; 1000]);
        if off == 0 {
            map.text("len").unsigned(LEN as u64);
        }
    })
}

fn taken(sequence: u8, off: usize) -> Vec<u8> {
    packet(Command::ImageUpload, Op::WriteResponse, sequence, |map| {
        map.text("off").unsigned(off as u64);
    })
}

fn refused(sequence: u8, rc: u64) -> Vec<u8> {
    packet(Command::ImageUpload, Op::WriteResponse, sequence, |map| {
        map.text("rc").unsigned(rc);
    })
}

#[test]
fn a_repeated_request_may_keep_its_number() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&list(200)).wait(2_500_000).sends(&list(200)).answers(&listed(200));
    trace.sends(&echo(201));
    trace.is_met("SMP-06");
    // What was answered long ago is not repeated but asked anew.
    trace.wait(5_000_000).answers(&packet(Command::Echo, Op::WriteResponse, 201, |_| {})).wait(5_000_000);
    trace.sends(&echo(201)).is_violated("SMP-06", "201 follows 201");
}

#[test]
fn another_request_needs_another_number() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&list(7)).sends(&echo(7)).is_violated("SMP-05", "number 7");
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&list(7)).answers(&listed(7)).sends(&echo(7)).is_silent("SMP-05");
}

#[test]
fn each_process_counts_anew_and_lost_requests_count() {
    let mut trace = Trace::default();
    trace.process("test", StepBy::Recipe).sends(&list(17)).answers(&listed(17));
    trace.process("reset", StepBy::Recipe).sends(&list(17)).sends_in_vain(&echo(18)).sends(&list(19));
    trace.is_met("SMP-06");
    trace.is_met("SMP-05");
}

#[test]
fn numbers_come_round_after_255() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&list(255)).answers(&listed(255)).sends(&list(0)).is_met("SMP-06");
}

#[test]
fn datagrams_and_packets_are_told_apart() {
    let whole = list(1);
    let mut halves = Trace::default();
    halves.process("update", StepBy::Tool).sends(&whole[..5]).sends(&whole[5..]);
    halves.is_violated("UDP-01", "cut into several");
    for id in ["SMP-01", "SMP-02", "SMP-03", "SMP-04", "SMP-06"] {
        halves.is_silent(id);
    }
    let mut two = Trace::default();
    two.process("update", StepBy::Tool).sends(&[list(1), list(2)].concat()).is_violated("UDP-01", "more than one");
    two.is_met("SMP-04");
    // A length that is wrong is no matter of datagrams.
    let mut long = whole.clone();
    long[3] += 1;
    let mut wrong = Trace::default();
    wrong.process("update", StepBy::Tool).sends(&long).sends(&list(2)).is_violated("SMP-04", "announces");
    wrong.is_silent_or_met("UDP-01");
}

impl Trace {
    #[track_caller]
    fn is_silent_or_met(&self, id: &str) {
        let outcome = self.outcome(id);
        assert!(!matches!(outcome, CheckOutcome::Violated { .. }), "{id}: {outcome:?}");
    }
}

#[test]
fn a_window_under_way_is_no_mistake() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(0, 1000));
    trace.sends(&chunk(1, 1000)).sends(&chunk(2, 2000)).answers(&taken(1, 1000)).sends(&chunk(3, 3000));
    trace.answers(&taken(2, 1000)).answers(&taken(3, 1000)).sends(&chunk(4, 1000));
    trace.is_met("UPL-04");
    // With one chunk at a time the same is one.
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(0, 1000));
    trace.sends(&chunk(1, 1000)).answers(&taken(1, 1000)).sends(&chunk(2, 2000));
    trace.is_violated("UPL-04", "starts at 2000 after the device returned 1000");
}

#[test]
fn late_and_doubled_answers_are_no_foreign_ones() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(0, 1000)).answers(&taken(0, 1000));
    trace.sends(&chunk(1, 1000)).answers(&taken(1, 2000)).sends(&chunk(2, 2000)).is_silent("SMP-07");
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(99, 3000)).answers(&taken(0, 1000));
    trace.sends(&chunk(1, 3000)).is_violated("SMP-07", "starts at 3000");
}

#[test]
fn chunks_behind_a_slow_one_are_no_impatience() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).wait(1_000_000).sends(&chunk(1, 1000));
    trace.wait(20_000_000).answers(&taken(0, 1000)).is_met("UPL-07");
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).wait(5_000_000).sends(&chunk(1, 0));
    trace.wait(20_000_000).answers(&taken(0, 1000)).is_violated("UPL-07", "5 s of the 25 s");
}

#[test]
fn a_lost_answer_is_no_impatience() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&chunk(0, 0)).wait(5_000_000).sends(&chunk(1, 0));
    trace.answers(&taken(1, 0)).is_silent("UPL-07");
}

#[test]
fn a_device_in_the_dark_may_be_called_for_long() {
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool);
    for number in 0..200 {
        trace.wait(500_000).sends_in_vain(&echo(number));
    }
    trace.is_silent("SMP-14");
    for number in 200..230 {
        trace.wait(500_000).sends(&echo(number));
    }
    trace.is_violated("SMP-14", "`echo`");
}

#[test]
fn giving_up_a_busy_device_at_once_differs_from_giving_up_later() {
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Recipe).sends(&chunk(0, 0)).answers(&refused(0, 10));
    trace.note(InitiatorEvent::Exited { code: Some(1) }).is_violated("SMP-13", "once");
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Recipe).sends(&chunk(0, 0)).answers(&refused(0, 10)).wait(100_000);
    trace.sends(&chunk(1, 0)).answers(&refused(1, 10)).note(InitiatorEvent::Exited { code: Some(1) }).is_met("SMP-13");
}

#[test]
fn a_refusal_ends_an_upload_but_not_one_after_an_erase() {
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Tool).sends(&chunk(0, 0)).answers(&refused(0, 6)).sends(&chunk(1, 0));
    trace.is_violated("UPL-09", "sends data at 0");
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Tool).sends(&chunk(0, 0)).answers(&refused(0, 6));
    trace.sends(&packet(Command::ImageErase, Op::Write, 1, |_| {})).sends(&chunk(2, 0)).is_silent("UPL-09");
}

#[test]
fn a_lost_upload_needs_an_end() {
    let lost = |trace: &mut Trace| {
        trace.process("upload", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(0, 1000));
        trace.add(None, Kind::Link(LinkEvent::Down { reason: "fault".into() }));
    };
    let mut trace = Trace::default();
    lost(&mut trace);
    trace.is_violated("RST-05", "nothing more is heard");
    trace.note(InitiatorEvent::Exited { code: Some(1) }).is_met("RST-05");
    let mut trace = Trace::default();
    lost(&mut trace);
    trace.note(InitiatorEvent::Exited { code: Some(0) }).is_violated("RST-05", "ends with 0");
}

#[test]
fn a_receiver_that_was_reset_misses_a_beginning() {
    let nothing = Some("a continuation frame, and no packet has begun");
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Tool).line(SerialPart::Start, None, 0);
    trace.line(SerialPart::Continuation, nothing, 0).is_violated("SER-01", "no packet has begun");
    let mut trace = Trace::default();
    trace.process("upload", StepBy::Tool).line(SerialPart::Start, None, 0);
    trace.add(None, Kind::Power(PowerEvent::Off { reason: "fault".into() }));
    trace.line(SerialPart::Text, None, 0).line(SerialPart::Continuation, nothing, 0).is_met("SER-01");
    trace.line(SerialPart::Start, None, 40).is_violated("SER-01", "40 bytes");
}

#[test]
fn a_recovery_takes_whole_write_units() {
    let boot = |outcome: &str| {
        Kind::Boot(BootRecord {
            number: 1,
            cause: Cause::PowerOn,
            outcome: outcome.into(),
            reason: None,
            decisions: Vec::new(),
            swapped: None,
            running: None,
            version: None,
            operations: 0,
            duration_us: 0,
        })
    };
    for (outcome, returned) in [("recovery", 1000), ("recovery", 996), ("boot", 996)] {
        let mut trace = Trace::default();
        trace.add(None, boot(outcome));
        trace.process("upload", StepBy::Tool).sends(&chunk(0, 0)).answers(&taken(0, returned));
        match (outcome, returned) {
            ("recovery", 1000) => trace.is_met("UPL-12"),
            ("recovery", _) => trace.is_violated("UPL-12", "cannot write 4"),
            _ => trace.is_silent("UPL-12"),
        }
    }
}

#[test]
fn a_device_that_does_not_tell_its_mode_may_be_tried() {
    let failure = |command, op, rc| packet(command, op, 1, |map| _ = map.text("rc").unsigned(rc));
    let mark = packet(Command::ImageState, Op::Write, 1, |map| _ = map.text("confirm").boolean(false));
    let not_built = failure(Command::ImageState, Op::WriteResponse, 8);
    let mut trace = Trace::default();
    trace
        .process("update", StepBy::Tool)
        .sends(&mark)
        .answers(&not_built)
        .is_violated("STA-12", "without having asked");
    let mut trace = Trace::default();
    trace.process("update", StepBy::Tool).sends(&packet(Command::BootloaderInfo, Op::Read, 1, |_| {}));
    trace.answers(&failure(Command::BootloaderInfo, Op::ReadResponse, 8)).sends(&mark).answers(&not_built);
    trace.is_silent("STA-12");
}
