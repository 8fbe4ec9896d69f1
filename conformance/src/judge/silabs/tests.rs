//! What no built-in initiator does, as traces made by hand.

use brickproof_flash_model::image::gbl::{FirmwareBuilder, GblBuilder};
use brickproof_simulator::gatt::{ConnectionParameters, Security, Uuid, opcode};
use brickproof_simulator::silabs::gatt::{CONTROL, DATA};
use brickproof_simulator::trace::{
    AttRecord, BootRecord, Cause, Direction, EndedBy, InitiatorEvent, Kind, LinkEvent, Record, SlotState, StateRecord,
};

use super::outcomes;
use crate::judge::CheckOutcome;
use crate::scenario::{Image, ImageSet};

/// A trace in the making.
#[derive(Default)]
struct Trace {
    records: Vec<Record>,
    now_us: u64,
}

impl Trace {
    fn push(mut self, cause: Option<u64>, kind: Kind) -> Self {
        let n = self.records.len() as u64;
        self.records.push(Record { n, at_us: self.now_us, wall_us: None, cause, kind });
        self.now_us += 1000;
        self
    }

    fn after(mut self, us: u64) -> Self {
        self.now_us += us;
        self
    }

    fn last(&self) -> Option<u64> {
        self.records.last().map(|record| record.n)
    }

    fn boot(self, outcome: &str) -> Self {
        let boot = BootRecord {
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
        };
        self.push(None, Kind::Boot(boot))
    }

    fn slot(self) -> Self {
        let slot = SlotState { slot: "slot-0".into(), hash: None, version: None, invalid: None, trailer: None };
        let state = StateRecord {
            when: "start".into(),
            slots: vec![slot],
            next_boot: "none".into(),
            running: None,
            state: None,
            flash_sha256: String::new(),
        };
        self.push(None, Kind::State(state))
    }

    fn connect(self, connection: u64) -> Self {
        let parameters = ConnectionParameters::PREFERRED;
        let link = LinkEvent::Connected { connection, central: 1, reassembly: None, parameters, address: None };
        self.push(None, Kind::Link(link))
    }

    fn end(self, connection: u64, by: EndedBy) -> Self {
        self.push(None, Kind::Link(LinkEvent::Disconnected { connection, by, reason: 0x13 }))
    }

    fn att(
        self,
        cause: Option<u64>,
        direction: Direction,
        opcode: u8,
        to: Uuid,
        value: &[u8],
        error: Option<u8>,
    ) -> Self {
        let att = AttRecord {
            connection: 1,
            direction,
            opcode,
            name: opcode::name(opcode).into(),
            handle: 7,
            uuid: Some(to.to_string()),
            characteristic: None,
            len: value.len() as u64,
            value: hex::encode(value),
            mtu: 247,
            security: Security::Plain,
            error,
            lost: None,
        };
        self.push(cause, Kind::Att(att))
    }

    fn write(self, opcode: u8, to: Uuid, value: &[u8]) -> Self {
        self.att(None, Direction::ToTarget, opcode, to, value, None)
    }

    /// A request without its answer.
    fn ask(self, to: Uuid, value: &[u8]) -> Self {
        self.write(opcode::WRITE_REQUEST, to, value)
    }

    /// The answer to what was just written.
    fn answer(self, error: Option<u8>) -> Self {
        let cause = self.last();
        let opcode = if error.is_some() { opcode::ERROR_RESPONSE } else { opcode::WRITE_RESPONSE };
        self.att(cause, Direction::FromTarget, opcode, DATA, &[], error)
    }

    fn asked(self, to: Uuid, value: &[u8]) -> Self {
        self.ask(to, value).answer(None)
    }

    fn report(self, success: bool) -> Self {
        self.push(None, Kind::Initiator(InitiatorEvent::Reported { success, message: String::new() }))
    }

    /// An AppLoader that has been connected to, and begun with.
    fn begun() -> Self {
        Self::default().boot("dfu-mode").connect(1).asked(CONTROL, &[0])
    }
}

fn images() -> ImageSet {
    let image = FirmwareBuilder::new(0x6000).size(1024).version(2).build();
    let file = GblBuilder::new().firmware(0x6000, &image).unsigned().unwrap();
    let image = |role, bytes| Image { role, bytes, sha256: [0; 32], tlv_hash: None, version: None, known: None };
    ImageSet { installed: image("installed", Vec::new()), update: image("update", file), update_1: None, other: None }
}

/// What a requirement is violated by; `None` when it is met, and `-` when it is not exercised.
fn violation(trace: &Trace, id: &str) -> Option<String> {
    let (_, outcome) = outcomes(&trace.records, &images()).into_iter().find(|(own, _)| *own == id).unwrap();
    match outcome {
        CheckOutcome::Met { .. } => None,
        CheckOutcome::NotExercised => Some("-".into()),
        CheckOutcome::NotObservable { missing } => Some(format!("{missing} is not there")),
        CheckOutcome::Violated { findings } => Some(findings[0].happened.clone()),
    }
}

fn file() -> Vec<u8> {
    images().update.bytes
}

#[test]
fn a_trace_without_links_shows_nothing_but_a_file_that_was_looked_at() {
    let trace = Trace::default().boot("boot").report(false);
    assert_eq!(violation(&trace, "SIL-01").unwrap(), "the Attribute Protocol is not there");
    assert_eq!(violation(&trace, "SIL-22").unwrap(), "-");
}

#[test]
fn values_are_written_at_once_and_hold_something() {
    let long = Trace::begun().write(opcode::PREPARE_WRITE_REQUEST, DATA, &file()[..200]);
    assert_eq!(violation(&long, "SIL-08").unwrap(), "a value of OTA Data comes in pieces, by a long write");
    let empty = Trace::begun().asked(DATA, &[]);
    assert_eq!(violation(&empty, "SIL-08").unwrap(), "a value of OTA Data has 0 bytes, and not 1 to 244");
    assert_eq!(violation(&Trace::begun().asked(DATA, &file()[..244]), "SIL-08"), None);
}

#[test]
fn the_answer_to_the_start_comes_before_the_data() {
    let connected = || Trace::default().boot("dfu-mode").connect(1).ask(CONTROL, &[0]);
    let early = connected().write(opcode::WRITE_COMMAND, DATA, &file()[..200]);
    assert_eq!(violation(&early, "SIL-07").unwrap(), "data is written, and 0x00 was never answered");
    let refused = connected().answer(Some(0x80)).ask(DATA, &file()[..200]);
    assert_eq!(violation(&refused, "SIL-07").unwrap(), "data is written behind 0x00, which was refused with 0x80");
}

#[test]
fn a_second_start_is_an_error_for_a_slot_alone() {
    let twice = |trace: Trace, outcome| {
        trace.boot(outcome).connect(1).asked(CONTROL, &[0]).asked(CONTROL, &[0]).asked(DATA, &file()[..200])
    };
    assert_eq!(violation(&twice(Trace::default(), "dfu-mode"), "SIL-07"), None);
    let of_slot = violation(&twice(Trace::default().slot(), "boot"), "SIL-07").unwrap();
    assert_eq!(of_slot, "0x00 comes twice: the application takes the second one for an error");
}

#[test]
fn commands_may_be_on_their_way_when_a_value_is_refused() {
    let mut trace = Trace::begun().ask(DATA, &file()[..200]).answer(Some(0x85));
    for _ in 0..8 {
        trace = trace.write(opcode::WRITE_COMMAND, DATA, &[0; 4]);
    }
    assert_eq!(violation(&trace, "SIL-16"), None);
    let trace = trace.write(opcode::WRITE_COMMAND, DATA, &[0; 4]);
    assert_eq!(violation(&trace, "SIL-16").unwrap(), "data goes on behind a value that was refused with 0x85");
}

#[test]
fn a_link_that_stays_too_long_is_one_that_stays() {
    let taken = || Trace::begun().asked(DATA, &file()[..200]).asked(CONTROL, &[3]);
    assert_eq!(violation(&taken().after(29_000_000).end(1, EndedBy::Central), "SIL-18"), None);
    let late = taken().after(40_000_000).end(1, EndedBy::Central);
    assert_eq!(violation(&late, "SIL-18").unwrap(), "the link is still there 40 s after 0x03 was answered");
    assert_eq!(violation(&taken().end(1, EndedBy::Timeout), "SIL-18").unwrap(), "-");
}

#[test]
fn who_is_done_before_the_answer_leaves_before_it() {
    let asked = || Trace::begun().ask(DATA, &file()[..200]);
    let done = asked().after(1_000_000).report(false).end(1, EndedBy::Central);
    assert_eq!(violation(&done, "SIL-25").unwrap(), "it leaves when a value has not been answered for 1001 ms");
    assert_eq!(violation(&asked().after(30_000_000).end(1, EndedBy::Central), "SIL-25"), None);
    assert_eq!(violation(&asked().after(1_000_000).end(1, EndedBy::Timeout), "SIL-25").unwrap(), "-");
}

#[test]
fn an_upload_that_begins_behind_its_first_byte_is_no_upload_of_the_file() {
    let first = Trace::begun().asked(DATA, &file()[200..400]);
    assert!(violation(&first, "SIL-11").unwrap().starts_with("byte 0 is sent as"));
    assert_eq!(violation(&first, "SIL-19").unwrap(), "-");
}

#[test]
fn a_look_at_an_apploader_is_in_order_when_a_file_was_sent() {
    let looked = |trace: Trace| trace.end(1, EndedBy::Central).boot("dfu-mode").connect(2).end(2, EndedBy::Central);
    let behind_file = looked(Trace::begun().asked(DATA, &file()).asked(CONTROL, &[3]));
    assert_eq!(violation(&behind_file, "SIL-27"), None);
    let without = violation(&looked(Trace::begun().asked(DATA, &file()[..200])), "SIL-27").unwrap();
    assert_eq!(without, "a connection to the AppLoader ends without 0x00, which resets the device for nothing");
}
