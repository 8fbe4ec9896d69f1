//! Mutants of the built-in initiator for Secure DFU, and its legal oddities.

use brickproof_simulator::gatt::WriteKind;
use brickproof_simulator::nordic::wire::{EXTENDED_ERROR, Request, Response, opcode};

use crate::initiator::nordic::policy::{DfuPolicy, GoodDfu};
use crate::initiator::policy::{Reporter, Truthful};
use crate::initiator::update::Report;

/// A changed initiator for Secure DFU.
pub struct DfuMutant {
    /// Its name.
    pub name: &'static str,
    /// The requirement it breaks.
    pub breaks: &'static str,
    /// Requirements that fall with it.
    pub also: &'static [&'static str],
    /// What it decides.
    pub policy: &'static dyn DfuPolicy,
    /// What it says.
    pub reporter: &'static dyn Reporter,
}

/// A mutant that decides wrongly.
const fn policy(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    policy: &'static dyn DfuPolicy,
) -> DfuMutant {
    DfuMutant { name, breaks, also, policy, reporter: &Truthful }
}

/// A mutant that lies about how it went.
const fn report(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    reporter: &'static dyn Reporter,
) -> DfuMutant {
    DfuMutant { name, breaks, also, policy: &GoodDfu, reporter }
}

/// A policy that answers some of the questions otherwise.
macro_rules! dfu_policy {
    ($($(#[$doc:meta])* $name:ident { $($method:item)* })*) => {
        $(
            $(#[$doc])*
            struct $name;

            impl DfuPolicy for $name {
                $($method)*
            }
        )*
    };
}

/// All mutants: at least one for each requirement.
#[must_use]
pub fn all() -> Vec<DfuMutant> {
    vec![
        policy("never switches notifications on", "NS-01", &[], &Deaf),
        policy("writes requests as commands", "NS-02", &[], &Commands),
        policy("writes packets as requests", "NS-03", &[], &AskingPackets),
        policy("has a byte more in a create", "NS-04", &[], &LongCreate),
        policy("asks for a CRC with a type", "NS-04", &[], &TypedCrc),
        policy("does not wait for the response to a create", "NS-05", &["NS-06"], &Hasty),
        policy("takes any response for its own", "NS-06", &[], &Credulous),
        policy("takes a refusal for a success", "NS-06", &[], &DeafToResults),
        policy("takes an extended error for a success", "NS-07", &["NS-31", "NS-38"], &DeafToExtended),
        policy("always has packets of 244 bytes", "NS-08", &[], &LongPackets),
        policy("has odd packets", "NS-09", &[], &OddPackets),
        policy("never asks for an MTU", "NS-10", &[], &SmallMtu),
        policy("has packets of 20 bytes, whatever the MTU", "NS-10", &[], &ShortPackets),
        policy("never asks about the init packet", "NS-11", &[], &Incurious),
        policy("offers any init packet", "NS-12", &[], &Bold),
        policy("announces a longer init packet", "NS-13", &["NS-14"], &Boastful),
        policy("changes the init packet", "NS-13", &[], &Editor),
        policy("executes the init packet unseen", "NS-14", &[], &Trusting),
        policy("skips an init packet that is there", "NS-15", &[], &Skipping),
        policy("takes any init packet for its own", "NS-16", &["NS-14"], &Undiscerning),
        policy("never asks about data", "NS-17", &["NS-33"], &Blind),
        policy("has objects of 4096 bytes", "NS-17", &[], &PageSized),
        policy("has half objects", "NS-18", &[], &HalfObjects),
        policy("sends more than there is", "NS-19", &["NS-42"], &Overflowing),
        policy("executes objects unseen", "NS-20", &[], &Unverified),
        policy("executes objects whose CRC is wrong", "NS-21", &["NS-20", "NS-27"], &Careless),
        policy("never gives an object up", "NS-22", &[], &Stubborn),
        policy("executes half objects", "NS-23", &[], &ShortSighted),
        policy("sets receipts once, and bears none later", "NS-24", &[], &Touchy),
        policy("does not wait for receipts", "NS-25", &["NS-27"], &Rushing),
        policy("counts packets on over objects", "NS-26", &["NS-25", "NS-27"], &CountsOn),
        policy("does not look at receipts", "NS-27", &[], &Glancing),
        policy("waits for a receipt for ever", "NS-28", &[], &Patient),
        policy("waits for a response for ever", "NS-28", &[], &VeryPatient),
        policy("floods the device while it erases", "NS-29", &[], &Flooding),
        policy("waits a second for an execute", "NS-30", &[], &Impatient),
        policy("does not look at the last response", "NS-31", &[], &Optimist),
        report("always says that it succeeded", "NS-31", &["NB-03"], &Boaster),
        policy("asks for a CRC behind the end", "NS-32", &["NS-37"], &Lingering),
        policy("takes the end of the link for a failure", "NS-32", &["NS-37"], &Pessimist),
        policy("goes on at its own offset", "NS-33", &["NS-34"], &Sure),
        policy("goes on behind other data", "NS-34", &[], &Appending),
        policy("gives up at an empty object", "NS-35", &[], &Strict),
        policy("takes its time", "NS-36", &[], &Slow),
        policy("sends all images on one connection", "NS-37", &["NS-32"], &OneSession),
        policy("rests between the images", "NS-37", &[], &Resting),
        policy("gives up at what is there already", "NS-38", &[], &GivesUpEarly),
        policy("needs to know the version of the protocol", "NS-39", &[], &Needy),
        policy("leaves the device alone when its user gives up", "NS-40", &[], &WalksAway),
        policy("waits for the response to an abort", "NS-40", &[], &WaitsForAbort),
        policy("knows the attributes from before", "NS-41", &[], &Remembering),
        policy("changes a byte of the image", "NS-42", &[], &Corrupting),
        policy("executes the init packet again", "NS-43", &[], &Twice),
        policy("asks for the bootloader without indications", "NB-01", &[], &DeafAtEntry),
        policy("never confirms", "NB-02", &[], &Unconfirming),
        policy("takes a refusal to enter for none", "NB-03", &[], &DeafToStatus),
        policy("looks at the old address only", "NB-04", &["NB-07"], &SameAddress),
        policy("never encrypts in the bootloader", "NB-05", &[], &Plain),
        policy("has a long name", "NB-06", &[], &LongName),
        policy("insists on its name", "NB-06", &[], &Vain),
        policy("wants a farewell", "NB-07", &[], &Ceremonious),
    ]
}

dfu_policy! {
    Deaf {
        fn subscribes_first(&self) -> bool {
            false
        }
    }
    Commands {
        fn control_kind(&self) -> WriteKind {
            WriteKind::Command
        }
    }
    AskingPackets {
        fn packet_kind(&self) -> WriteKind {
            WriteKind::Request
        }
    }
    LongCreate {
        fn request_bytes(&self, request: &Request) -> Vec<u8> {
            let mut bytes = request.emit();
            if let Request::Create { .. } = request {
                bytes.push(0);
            }
            bytes
        }
    }
    TypedCrc {
        fn request_bytes(&self, request: &Request) -> Vec<u8> {
            let mut bytes = request.emit();
            if *request == Request::Crc {
                bytes.push(2);
            }
            bytes
        }
    }
    Hasty {
        fn waits_for_response(&self, request: &Request) -> bool {
            !matches!(request, Request::Create { .. })
        }
    }
    Credulous {
        fn takes_response(&self, _: &Response, _: u8) -> bool {
            true
        }
    }
    DeafToResults {
        fn heeds_result(&self, response: &Response) -> bool {
            response.result == EXTENDED_ERROR
        }
    }
    DeafToExtended {
        fn heeds_result(&self, response: &Response) -> bool {
            response.result != EXTENDED_ERROR || response.request != opcode::EXECUTE
        }
    }
    LongPackets {
        fn packet_len(&self, _: usize) -> usize {
            244
        }
    }
    OddPackets {
        fn packet_len(&self, value_max: usize) -> usize {
            value_max - 1
        }
    }
    SmallMtu {
        fn mtu(&self) -> Option<u16> {
            None
        }
    }
    ShortPackets {
        fn packet_len(&self, _: usize) -> usize {
            20
        }
    }
    Incurious {
        fn selects_command(&self) -> bool {
            false
        }
    }
    Bold {
        fn heeds_command_max(&self) -> bool {
            false
        }
    }
    Boastful {
        fn command_size(&self, len: u32) -> u32 {
            len + 1
        }
    }
    Editor {
        fn init_packet(&self, init: &[u8]) -> Vec<u8> {
            let mut init = init.to_vec();
            if let Some(last) = init.last_mut() {
                *last ^= 1;
            }
            init
        }
    }
    Trusting {
        fn verifies_command(&self) -> bool {
            false
        }
    }
    Skipping {
        fn executes_stored_command(&self) -> bool {
            false
        }
    }
    Undiscerning {
        fn compares_stored_command(&self) -> bool {
            false
        }
    }
    Blind {
        fn selects_data(&self) -> bool {
            false
        }
    }
    PageSized {
        fn object_size(&self, _: u32) -> u32 {
            4096
        }
    }
    HalfObjects {
        fn object_size(&self, max: u32) -> u32 {
            max / 2
        }
    }
    Overflowing {
        fn overshoot(&self) -> usize {
            4
        }
    }
    Unverified {
        fn verifies_data(&self) -> bool {
            false
        }
    }
    Careless {
        fn heeds_wrong_crc(&self) -> bool {
            false
        }
    }
    Stubborn {
        fn object_tries(&self) -> u32 {
            50
        }
    }
    ShortSighted {
        fn heeds_short_offset(&self) -> bool {
            false
        }
        fn sends_what_is_missing(&self) -> bool {
            false
        }
    }
    Touchy {
        fn prn(&self) -> Option<u16> {
            Some(8)
        }
        fn sets_prn(&self, connection: u32) -> bool {
            connection == 1
        }
        fn bears_receipts(&self) -> bool {
            false
        }
    }
    Rushing {
        fn waits_for_receipts(&self) -> bool {
            false
        }
    }
    CountsOn {
        fn counts_again_at_create(&self) -> bool {
            false
        }
    }
    Glancing {
        fn checks_receipts(&self) -> bool {
            false
        }
    }
    Patient {
        fn receipt_us(&self) -> Option<u64> {
            None
        }
    }
    VeryPatient {
        fn response_us(&self) -> u64 {
            600_000_000
        }
    }
    Flooding {
        fn pause_after_create_us(&self, _: usize) -> u64 {
            0
        }
        fn prn(&self) -> Option<u16> {
            Some(0)
        }
    }
    Impatient {
        fn execute_us(&self, _: bool) -> u64 {
            1_000_000
        }
    }
    Optimist {
        fn heeds_last_execute(&self) -> bool {
            false
        }
    }
    Lingering {
        fn asks_after_the_end(&self) -> bool {
            true
        }
    }
    Pessimist {
        fn ends_with_the_link(&self) -> bool {
            false
        }
        fn reconnects(&self) -> u32 {
            1
        }
    }
    Sure {
        fn reads_state_again(&self) -> bool {
            false
        }
    }
    Appending {
        fn rewinds(&self) -> bool {
            false
        }
    }
    Strict {
        fn tolerates_empty_object(&self) -> bool {
            false
        }
    }
    Slow {
        fn packet_len(&self, value_max: usize) -> usize {
            value_max.min(100)
        }
        fn pause_us(&self) -> u64 {
            4_000_000
        }
    }
    OneSession {
        fn one_session_for_each_image(&self) -> bool {
            false
        }
    }
    Resting {
        fn image_pause_us(&self) -> u64 {
            15_000_000
        }
    }
    GivesUpEarly {
        fn goes_on_with_application(&self) -> bool {
            false
        }
    }
    Needy {
        fn curious(&self) -> &'static [Request] {
            &[Request::ProtocolVersion]
        }
        fn needs_curious(&self) -> bool {
            true
        }
    }
    WalksAway {
        fn gives_up_at_permille(&self) -> Option<usize> {
            Some(500)
        }
        fn aborts(&self) -> bool {
            false
        }
        fn leaves(&self) -> bool {
            false
        }
    }
    WaitsForAbort {
        fn gives_up_at_permille(&self) -> Option<usize> {
            Some(500)
        }
        fn waits_for_abort(&self) -> bool {
            true
        }
    }
    Remembering {
        fn discovers(&self) -> bool {
            false
        }
    }
    Corrupting {
        fn firmware(&self, firmware: &[u8], start: usize, end: usize) -> Vec<u8> {
            let mut bytes = firmware.get(start..end).unwrap_or_default().to_vec();
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
            bytes
        }
    }
    Twice {
        fn executes_command_again(&self) -> bool {
            true
        }
    }
    DeafAtEntry {
        fn subscribes_before_entering(&self) -> bool {
            false
        }
    }
    Unconfirming {
        fn confirms(&self) -> bool {
            false
        }
    }
    DeafToStatus {
        fn heeds_entry_status(&self) -> bool {
            false
        }
    }
    SameAddress {
        fn looks_at_next_address(&self) -> bool {
            false
        }
        fn name(&self) -> Option<&'static [u8]> {
            None
        }
    }
    Plain {
        fn encrypts_in_bootloader(&self) -> bool {
            false
        }
    }
    LongName {
        fn name(&self) -> Option<&'static [u8]> {
            Some(b"a name of twenty-one.")
        }
    }
    Vain {
        fn tolerates_refused_name(&self) -> bool {
            false
        }
    }
    Ceremonious {
        fn bears_silence(&self) -> bool {
            false
        }
        fn entry_patience_us(&self) -> u64 {
            3_000_000
        }
    }
}

struct Boaster;

impl Reporter for Boaster {
    fn report(&self, _: Report) -> Report {
        Report { success: true, message: "all is well".into() }
    }
}

/// Unusual initiators that do nothing wrong.
#[must_use]
pub fn legal_oddities() -> Vec<(&'static str, &'static dyn DfuPolicy)> {
    vec![
        ("no receipts", &NoReceipts),
        ("a receipt for every packet", &EveryPacket),
        ("a receipt for every eighth packet", &EveryEighth),
        ("a receipt for every twentieth packet", &EveryTwentieth),
        ("receipts are left as they are, and borne", &UnsetReceipts),
        ("an MTU of 47", &Mtu47),
        ("an MTU of 185, as phones have it", &Mtu185),
        ("an MTU of 517", &Mtu517),
        ("packets of 100 bytes", &Packets100),
        ("packets of 64 bytes, and a pause behind each create", &Packets64),
        ("everything from the start after a lost link", &FromScratch),
        ("what is missing of an object is not sent, but all of it", &WholeObjects),
        ("CRCs are asked for twice", &AsksTwice),
        ("data is asked about between any two objects", &SelectsAgain),
        ("no name for the bootloader", &NoName),
        ("questions that a device need not answer", &Curious),
        ("its user gives up: it tells the device", &Aborting),
        ("its user gives up: it leaves", &Leaving),
    ]
}

dfu_policy! {
    NoReceipts {
        fn prn(&self) -> Option<u16> {
            Some(0)
        }
    }
    EveryPacket {
        fn prn(&self) -> Option<u16> {
            Some(1)
        }
    }
    EveryEighth {
        fn prn(&self) -> Option<u16> {
            Some(8)
        }
    }
    EveryTwentieth {
        fn prn(&self) -> Option<u16> {
            Some(20)
        }
    }
    UnsetReceipts {
        fn prn(&self) -> Option<u16> {
            None
        }
    }
    Mtu47 {
        fn mtu(&self) -> Option<u16> {
            Some(47)
        }
    }
    Mtu185 {
        fn mtu(&self) -> Option<u16> {
            Some(185)
        }
    }
    Mtu517 {
        fn mtu(&self) -> Option<u16> {
            Some(517)
        }
    }
    Packets100 {
        fn packet_len(&self, value_max: usize) -> usize {
            (value_max / 4 * 4).min(100)
        }
    }
    Packets64 {
        fn packet_len(&self, value_max: usize) -> usize {
            (value_max / 4 * 4).min(64)
        }
        fn pause_after_create_us(&self, _: usize) -> u64 {
            400_000
        }
    }
    FromScratch {
        fn resumes(&self) -> bool {
            false
        }
    }
    WholeObjects {
        fn sends_what_is_missing(&self) -> bool {
            false
        }
    }
    AsksTwice {
        fn crcs(&self) -> u32 {
            2
        }
    }
    SelectsAgain {
        fn selects_between(&self) -> bool {
            true
        }
    }
    NoName {
        fn name(&self) -> Option<&'static [u8]> {
            None
        }
    }
    Curious {
        fn curious(&self) -> &'static [Request] {
            &[
                Request::ProtocolVersion,
                Request::Mtu,
                Request::Ping(7),
                Request::HardwareVersion,
                Request::FirmwareVersion(0),
            ]
        }
    }
    Aborting {
        fn gives_up_at_permille(&self) -> Option<usize> {
            Some(500)
        }
    }
    Leaving {
        fn gives_up_at_permille(&self) -> Option<usize> {
            Some(500)
        }
        fn aborts(&self) -> bool {
            false
        }
    }
}
