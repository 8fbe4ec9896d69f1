//! What a board's software was built with.

use std::fmt::Write;

use brickproof_flash_model::boot::gecko::Code;

use crate::gatt::AttError;
use crate::silabs::OtaConfig;
use crate::silabs::gatt::Control;

const CODES: [Code; 17] = [
    Code::Unexpected,
    Code::Buffer,
    Code::Crc,
    Code::Signature,
    Code::Eof,
    Code::UnknownTag,
    Code::Version,
    Code::FileType,
    Code::Rejected,
    Code::Overlap,
    Code::TagOrder,
    Code::CompressionState,
    Code::CompressionData,
    Code::CompressionLength,
    Code::CompressionMemory,
    Code::Bootload,
    Code::ImageError,
];

#[test]
fn every_code_has_a_result() {
    let config = OtaConfig::default();
    let mut table = String::new();
    for code in CODES {
        let [data, end] = [config.result(code), config.verdict(code)].map(AttError::code);
        let _ = writeln!(table, "{data:#04x} {end:#04x} {code}");
    }
    insta::assert_snapshot!(table, @r"
    0x84 0x84 0x1001 (something unexpected)
    0x84 0x84 0x1002 (more bytes than the parser can hold back)
    0x80 0x80 0x1005 (a wrong CRC)
    0x80 0x80 0x1006 (a missing or wrong signature)
    0x84 0x84 0x1007 (the file has ended)
    0x84 0x84 0x1008 (an unknown tag)
    0x84 0x84 0x1009 (a version that is not supported, or not met)
    0x84 0x84 0x100a (a file of the wrong type: signed or encrypted, or not)
    0x89 0x80 0x100c (rejected)
    0x83 0x83 0x100d (an overlap with the place for a new bootloader)
    0x84 0x84 0x100e (a tag in the wrong order)
    0x84 0x84 0x1302 (compressed data without its end)
    0x84 0x84 0x1303 (wrong compressed data)
    0x84 0x84 0x1304 (too much compressed data)
    0x84 0x84 0x1305 (too little memory to decompress)
    0x84 0x84 0x0405 (an image that cannot be installed)
    0x84 0x84 0x0705 (an image without its end)
    ");
}

#[test]
fn a_result_can_be_another_one() {
    let mut config = OtaConfig::default();
    config.results.extend([(Code::Crc.number(), 0x8a), (Code::Rejected.number(), 0x8b)]);
    assert_eq!(config.result(Code::Crc), AttError(0x8a));
    assert_eq!((config.result(Code::Rejected), config.verdict(Code::Rejected)), (AttError(0x8b), AttError(0x8b)));
    assert_eq!(config.result(Code::Signature), AttError(0x80));
}

#[test]
fn control_bytes_are_three() {
    for byte in 0..=u8::MAX {
        let (control, call) = match byte {
            0 => (Control::Start, "ota-start"),
            3 => (Control::Finish, "ota-finish"),
            4 => (Control::Close, "ota-close"),
            other => (Control::Reserved(other), "ota-reserved"),
        };
        assert_eq!((Control::of(byte), Control::of(byte).call()), (control, call));
    }
}

#[test]
fn a_name_is_cut_between_letters() {
    let shown = |name: &str| OtaConfig { name: name.into(), ..OtaConfig::default() }.advertised_name().to_owned();
    assert_eq!(shown(""), "");
    assert_eq!(shown("OTA"), "OTA");
    assert_eq!(shown("123456789012345678"), "123456789012345678");
    assert_eq!(shown("1234567890123456789"), "123456789012345678");
    assert_eq!(shown("12345678901234567ü"), "12345678901234567");
}
