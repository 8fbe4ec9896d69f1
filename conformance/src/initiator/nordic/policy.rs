//! The decisions of the built-in initiator for Secure DFU and the ways into it. The defaults are right; a mutant
//! overrides one.

use brickproof_simulator::gatt::WriteKind;
use brickproof_simulator::nordic::wire::{Request, Response};

/// What the built-in initiator decides.
pub trait DfuPolicy: Sync {
    /// Whether notifications of the control point are switched on before it is written to.
    fn subscribes_first(&self) -> bool {
        true
    }

    /// How the control point is written to.
    fn control_kind(&self) -> WriteKind {
        WriteKind::Request
    }

    /// How packets are written.
    fn packet_kind(&self) -> WriteKind {
        WriteKind::Command
    }

    /// The bytes of a request.
    fn request_bytes(&self, request: &Request) -> Vec<u8> {
        request.emit()
    }

    /// Whether the response to this request is waited for before anything else is sent.
    fn waits_for_response(&self, request: &Request) -> bool {
        let _ = request;
        true
    }

    /// Whether this is the response to a request with this opcode.
    fn takes_response(&self, response: &Response, opcode: u8) -> bool {
        response.request == opcode
    }

    /// Whether a response that is no success is a failure.
    fn heeds_result(&self, response: &Response) -> bool {
        let _ = response;
        true
    }

    /// ATT MTU that is asked for; `None` for none.
    fn mtu(&self) -> Option<u16> {
        Some(247)
    }

    /// Longest packet, where so many bytes fit a write.
    fn packet_len(&self, value_max: usize) -> usize {
        (value_max / 4 * 4).max(4)
    }

    /// How long it waits for the response to a request, in microseconds.
    fn response_us(&self) -> u64 {
        10_000_000
    }

    /// How long it waits for the response to an execute, in microseconds.
    fn execute_us(&self, last: bool) -> u64 {
        if last { 45_000_000 } else { 20_000_000 }
    }

    /// Packets between two receipts; `None` sets nothing.
    fn prn(&self) -> Option<u16> {
        Some(12)
    }

    /// Whether receipts are set, or switched off, on this connection to the bootloader; the first one is 1.
    fn sets_prn(&self, connection: u32) -> bool {
        let _ = connection;
        true
    }

    /// Whether receipts that nobody has asked for are passed over.
    fn bears_receipts(&self) -> bool {
        true
    }

    /// Whether it waits for each receipt before the next packet.
    fn waits_for_receipts(&self) -> bool {
        true
    }

    /// Whether the count of packets starts again with each object.
    fn counts_again_at_create(&self) -> bool {
        true
    }

    /// Whether offset and CRC of a receipt are compared.
    fn checks_receipts(&self) -> bool {
        true
    }

    /// How long it waits for a receipt, in microseconds; `None` for ever.
    fn receipt_us(&self) -> Option<u64> {
        Some(10_000_000)
    }

    /// Whether the init packet is asked about before it is sent or left out.
    fn selects_command(&self) -> bool {
        true
    }

    /// Whether an init packet that is longer than the device takes is not offered.
    fn heeds_command_max(&self) -> bool {
        true
    }

    /// The init packet that is sent.
    fn init_packet(&self, init: &[u8]) -> Vec<u8> {
        init.to_vec()
    }

    /// Size that is announced for the init packet.
    fn command_size(&self, len: u32) -> u32 {
        len
    }

    /// Whether offset and CRC of the init packet are compared before it is executed.
    fn verifies_command(&self) -> bool {
        true
    }

    /// Whether an init packet that is there already is executed.
    fn executes_stored_command(&self) -> bool {
        true
    }

    /// Whether what is stored of an init packet is compared with its own.
    fn compares_stored_command(&self) -> bool {
        true
    }

    /// Whether data is asked about before the first data object.
    fn selects_data(&self) -> bool {
        true
    }

    /// Size of a data object, where the device takes so many bytes.
    fn object_size(&self, max: u32) -> u32 {
        max
    }

    /// Bytes that are sent beyond the end of an object.
    fn overshoot(&self) -> usize {
        0
    }

    /// Whether offset and CRC of a data object are compared before it is executed.
    fn verifies_data(&self) -> bool {
        true
    }

    /// Whether an object whose CRC is wrong is sent again.
    fn heeds_wrong_crc(&self) -> bool {
        true
    }

    /// How often an object is tried.
    fn object_tries(&self) -> u32 {
        5
    }

    /// Whether what is missing behind a right beginning is sent.
    fn sends_what_is_missing(&self) -> bool {
        true
    }

    /// Whether an object of which the device has only a right beginning is not executed.
    fn heeds_short_offset(&self) -> bool {
        true
    }

    /// Pause before an object is tried again, in microseconds: the flash of the device may still be busy.
    fn retry_pause_us(&self) -> u64 {
        500_000
    }

    /// Pause after the create of a data object where packets are so short, in microseconds: flash is slower than the
    /// link while a page is erased.
    fn pause_after_create_us(&self, packet_len: usize) -> u64 {
        if packet_len < 128 { 400_000 } else { 0 }
    }

    /// Pause between two packets, in microseconds.
    fn pause_us(&self) -> u64 {
        0
    }

    /// Whether the response to the last execute decides about success.
    fn heeds_last_execute(&self) -> bool {
        true
    }

    /// Whether the end of the link behind the last execute is the end of the update.
    fn ends_with_the_link(&self) -> bool {
        true
    }

    /// Whether something is asked behind the last execute.
    fn asks_after_the_end(&self) -> bool {
        false
    }

    /// Whether it comes back after a lost link, how often.
    fn reconnects(&self) -> u32 {
        5
    }

    /// Whether it goes on with what the device has, or begins from nothing.
    fn resumes(&self) -> bool {
        true
    }

    /// How often the CRC of an object is asked for.
    fn crcs(&self) -> u32 {
        1
    }

    /// Whether data is asked about before each object.
    fn selects_between(&self) -> bool {
        false
    }

    /// Whether the state of the device is read after a lost link.
    fn reads_state_again(&self) -> bool {
        true
    }

    /// Whether data that does not match is begun again at the start of its object, and not continued.
    fn rewinds(&self) -> bool {
        true
    }

    /// Whether "operation not permitted" for the execute of an object that begins where the last one ended is no failure.
    fn tolerates_empty_object(&self) -> bool {
        true
    }

    /// Whether each image of a package has a session of its own.
    fn one_session_for_each_image(&self) -> bool {
        true
    }

    /// Whether the application is tried when what comes before it is refused as not newer.
    fn goes_on_with_application(&self) -> bool {
        true
    }

    /// Pause between two images of a package, in microseconds.
    fn image_pause_us(&self) -> u64 {
        0
    }

    /// How long it waits before it looks for the device again, in microseconds.
    fn reconnect_pause_us(&self) -> u64 {
        500_000
    }

    /// Requests that are made at the start of a session though they are not needed.
    fn curious(&self) -> &'static [Request] {
        &[]
    }

    /// Whether an answer "not supported" to such a request ends the update.
    fn needs_curious(&self) -> bool {
        false
    }

    /// Part of the image in thousandths behind which its user gives up.
    fn gives_up_at_permille(&self) -> Option<usize> {
        None
    }

    /// Whether a user who gives up ends the update on the device, too.
    fn aborts(&self) -> bool {
        true
    }

    /// Whether the link is left when its user has given up.
    fn leaves(&self) -> bool {
        true
    }

    /// Whether the response to an abort is waited for.
    fn waits_for_abort(&self) -> bool {
        false
    }

    /// Whether attributes are looked for on every connection.
    fn discovers(&self) -> bool {
        true
    }

    /// The bytes of the image from here on.
    fn firmware(&self, firmware: &[u8], start: usize, end: usize) -> Vec<u8> {
        firmware.get(start..end).unwrap_or_default().to_vec()
    }

    /// Whether the init packet is executed again in the middle of the image.
    fn executes_command_again(&self) -> bool {
        false
    }

    /// Whether indications are switched on before the bootloader is asked for.
    fn subscribes_before_entering(&self) -> bool {
        true
    }

    /// Whether indications are confirmed.
    fn confirms(&self) -> bool {
        true
    }

    /// Whether the status of the answer decides.
    fn heeds_entry_status(&self) -> bool {
        true
    }

    /// Whether the bootloader is looked for at the next address, too.
    fn looks_at_next_address(&self) -> bool {
        true
    }

    /// Whether the link is encrypted in the bootloader, too, where that may have the bond of its application.
    fn encrypts_in_bootloader(&self) -> bool {
        self.encrypts()
    }

    /// Whether the link is encrypted where the device has a bond.
    fn encrypts(&self) -> bool {
        true
    }

    /// A name that the bootloader is to advertise, by which it is found again.
    fn name(&self) -> Option<&'static [u8]> {
        Some(b"Brickproof")
    }

    /// Whether it goes on when the name is refused.
    fn tolerates_refused_name(&self) -> bool {
        true
    }

    /// Whether a device that has agreed to enter its bootloader is looked for though it does not end the link.
    fn bears_silence(&self) -> bool {
        true
    }

    /// How long it waits for the device to be gone after it has entered the bootloader, in microseconds.
    fn entry_patience_us(&self) -> u64 {
        10_000_000
    }
}

/// A well-behaved initiator.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoodDfu;

impl DfuPolicy for GoodDfu {}
