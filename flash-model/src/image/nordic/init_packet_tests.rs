use proptest::prelude::*;

use super::*;
use crate::image::nordic::sign::image_hash;

/// The init command that nrfutil makes for the 16 bytes 0 to 15 as an application.
fn worked() -> InitCommand {
    let image: Vec<u8> = (0..16).collect();
    InitCommand {
        fw_version: Some(2),
        hw_version: Some(52),
        sd_req: vec![0x100],
        fw_type: Some(FwType::Application),
        sd_size: Some(0),
        bl_size: Some(0),
        app_size: Some(16),
        hash: Some(Hash { kind: HashType::Sha256, bytes: image_hash(&image).to_vec() }),
        is_debug: Some(false),
        boot_validation: vec![BootValidation { kind: ValidationType::GeneratedCrc, bytes: Vec::new() }],
    }
}

const WORKED: [u8; 62] = [
    0x08, 0x02, 0x10, 0x34, 0x1a, 0x02, 0x80, 0x02, 0x20, 0x00, 0x28, 0x00, 0x30, 0x00, 0x38, 0x10, 0x42, 0x24, 0x08,
    0x03, 0x12, 0x20, 0x91, 0x89, 0x3a, 0xee, 0x28, 0x99, 0xa6, 0xdb, 0xfe, 0xe5, 0xdc, 0xa3, 0x50, 0x98, 0xc6, 0x43,
    0xfd, 0xf0, 0x28, 0x1a, 0x84, 0x84, 0xe6, 0xbd, 0xbe, 0x36, 0xbf, 0x05, 0x26, 0xcb, 0x45, 0xbe, 0x48, 0x00, 0x52,
    0x04, 0x08, 0x01, 0x12, 0x00,
];

fn field(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag << 3 | 2];
    let mut len = body.len();
    while len >= 0x80 {
        bytes.push(len as u8 & 0x7f | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(body);
    bytes
}

/// An unsigned packet around the body of an init command.
fn unsigned(init: &[u8]) -> Vec<u8> {
    field(1, &field(2, init))
}

/// A signed packet around the body of a command.
fn signed(command: &[u8]) -> Vec<u8> {
    field(2, &[field(1, command), vec![0x10, 0], field(3, &[7; 64])].concat())
}

fn parse_init(init: &[u8]) -> Result<InitCommand, InitPacketError> {
    InitPacket::parse(&unsigned(init)).map(|packet| packet.command)
}

#[test]
fn the_unsigned_form_byte_for_byte() {
    let packet = InitPacket::new(worked(), None);
    let bytes = [&[0x0a, 0x42, 0x08, 0x01, 0x12, 0x3e][..], &WORKED].concat();
    assert_eq!(packet.emit(), bytes);
    assert_eq!(crate::image::nordic::crc32(&bytes, 0), 0xf341_fde6);
    assert_eq!(packet.command.emit(), WORKED);
    assert_eq!(packet.signed, 6..68);
    assert_eq!(InitPacket::parse(&bytes).unwrap(), packet);
}

#[test]
fn the_signed_form_byte_for_byte() {
    let signature = Signature { kind: SignatureType::EcdsaP256Sha256, bytes: vec![0x5a; 64] };
    let packet = InitPacket::new(worked(), Some(signature));
    let bytes = packet.emit();
    assert_eq!(bytes.len(), 139);
    assert_eq!(&bytes[..9], &[0x12, 0x88, 0x01, 0x0a, 0x42, 0x08, 0x01, 0x12, 0x3e]);
    assert_eq!(packet.signed_bytes(&bytes), Some(&WORKED[..]));
    assert_eq!(InitPacket::parse(&bytes).unwrap(), packet);
}

#[test]
fn absent_is_not_zero() {
    let command = parse_init(&[]).unwrap();
    assert_eq!(command, InitCommand::default());
    assert_eq!(command.image_size(), None);
    assert_eq!(parse_init(&[0x08, 0]).unwrap().fw_version, Some(0));
}

#[test]
fn every_prefix_of_a_packet_is_refused() {
    let packet = InitPacket::new(worked(), Some(Signature { kind: SignatureType::Ed25519, bytes: vec![1; 64] }));
    let bytes = packet.emit();
    for len in 0..bytes.len() {
        assert!(InitPacket::parse(&bytes[..len]).is_err(), "{len}");
    }
}

#[test]
fn forms_that_no_device_takes() {
    let init = field(2, &WORKED);
    for (bytes, expected) in [
        (Vec::new(), InitPacketError::InitMissing),
        (field(1, &[0x08, 1]), InitPacketError::InitMissing),
        ([unsigned(&WORKED), signed(&[0x08, 1])].concat(), InitPacketError::BothForms),
        ([field(1, &[0x08, 1]), signed(&init)].concat(), InitPacketError::BothForms),
        ([unsigned(&WORKED), signed(&init)].concat(), InitPacketError::InitTwice),
        ([unsigned(&WORKED), unsigned(&WORKED)].concat(), InitPacketError::InitTwice),
        (signed(&[init.clone(), init.clone()].concat()), InitPacketError::InitTwice),
        (field(2, &field(1, &init)), InitPacketError::Missing { field: "signature_type" }),
        (field(2, &[field(1, &init), vec![0x10, 0]].concat()), InitPacketError::Missing { field: "signature" }),
        (
            field(2, &[vec![0x10, 0], field(3, &[])].concat()),
            InitPacketError::Missing { field: "signed_command.command" },
        ),
    ] {
        assert_eq!(InitPacket::parse(&bytes), Err(expected), "{bytes:02x?}");
    }
}

#[test]
fn limits_of_a_device() {
    let numbers = |count: usize| vec![1u8; count];
    assert_eq!(parse_init(&field(3, &numbers(16))).unwrap().sd_req, [1; 16]);
    let too_many = Err(InitPacketError::TooMany { field: "sd_req", max: 16 });
    assert_eq!(parse_init(&field(3, &numbers(17))), too_many);
    assert_eq!(parse_init(&[0x18, 1].repeat(16)).unwrap().sd_req, [1; 16]);
    assert_eq!(parse_init(&[0x18, 1].repeat(17)), too_many);
    assert_eq!(parse_init(&[field(3, &numbers(10)), field(3, &numbers(7))].concat()), too_many);
    assert_eq!(parse_init(&[vec![0x18, 5], field(3, &[6, 7]), vec![0x18, 8]].concat()).unwrap().sd_req, [5, 6, 7, 8]);

    let validation = |bytes: &[u8]| field(10, &[vec![0x08, 3], field(2, bytes)].concat());
    assert_eq!(parse_init(&validation(&[9; 64]).repeat(3)).unwrap().boot_validation.len(), 3);
    assert_eq!(
        parse_init(&validation(&[]).repeat(4)),
        Err(InitPacketError::TooMany { field: "boot_validation", max: 3 })
    );
    assert_eq!(
        parse_init(&validation(&[9; 65])),
        Err(InitPacketError::TooLong { field: "boot_validation.bytes", len: 65, max: 64 })
    );
    let hash = |len| field(8, &[vec![0x08, 3], field(2, &vec![9; len])].concat());
    assert!(parse_init(&hash(0)).unwrap().hash.unwrap().bytes.is_empty());
    assert_eq!(parse_init(&hash(33)), Err(InitPacketError::TooLong { field: "hash.hash", len: 33, max: 32 }));
    assert_eq!(parse_init(&field(8, &[0x08, 3])), Err(InitPacketError::Missing { field: "hash.hash" }));
    assert_eq!(parse_init(&field(8, &[0x12, 0])), Err(InitPacketError::Missing { field: "hash.hash_type" }));
}

#[test]
fn numbers_have_the_width_of_their_field() {
    let wide = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(parse_init(&[&[0x08], &wide[..]].concat()).unwrap().fw_version, Some(u32::MAX));
    let wider = [0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(
        parse_init(&[&[0x08], &wider[..]].concat()),
        Err(InitPacketError::TooLarge { field: "fw_version", value: 1 << 32 })
    );
    // Enumerations have one byte.
    assert_eq!(parse_init(&[0x20, 0xff, 0x01]).unwrap().fw_type, Some(FwType::Other(255)));
    assert_eq!(parse_init(&[0x20, 0x80, 0x02]), Err(InitPacketError::TooLarge { field: "type", value: 256 }));
    // A longer form of a small number is fine, up to ten bytes.
    let padded = [[0x85].as_slice(), &[0x80; 8], &[0]].concat();
    assert_eq!(parse_init(&[&[0x08], &padded[..]].concat()).unwrap().fw_version, Some(5));
    let endless = [[0x85].as_slice(), &[0x80; 9], &[0]].concat();
    assert_eq!(parse_init(&[&[0x08], &endless[..]].concat()), Err(InitPacketError::Varint { offset: 5 }));
    // A flag is a signed byte.
    for (bytes, expected) in [(&[0][..], false), (&[1], true), (&[2], true), (&[0x7f], true)] {
        assert_eq!(parse_init(&[&[0x48], bytes].concat()).unwrap().is_debug, Some(expected), "{bytes:x?}");
    }
    assert!(parse_init(&[0x48, 0x80, 0x01]).is_err());
}

#[test]
fn a_field_that_is_unknown_is_skipped() {
    let unknown = [
        &[0x98, 0x06, 0x80, 0x01][..], // 99, number
        &[0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x9a, 0x06, 2, 0xff, 0xff],
        &[0x9d, 0x06, 1, 2, 3, 4],
        &[0x02, 1, 0xff], // tag 0 with a wire type is a field as well
    ]
    .concat();
    let bytes = [unknown.clone(), unsigned(&[unknown, WORKED.to_vec()].concat())].concat();
    assert_eq!(InitPacket::parse(&bytes).unwrap().command, worked());
    for wire_type in [3, 4, 6, 7] {
        let bytes = [unsigned(&WORKED), vec![0x98 | wire_type, 0x06]].concat();
        assert_eq!(InitPacket::parse(&bytes), Err(InitPacketError::WireType { offset: bytes.len(), wire_type }));
    }
    assert_eq!(
        InitPacket::parse(&[unsigned(&WORKED), vec![0x9a, 0x06, 1]].concat()),
        Err(InitPacketError::Truncated { offset: 69 })
    );
}

#[test]
fn the_wire_type_of_a_known_field_is_not_looked_at() {
    // fw_version as bytes: the length is the number, what follows is the next field.
    assert_eq!(parse_init(&[0x0a, 0x10, 0x10, 0x34]).unwrap().fw_version, Some(16));
    assert_eq!(parse_init(&[0x0a, 0x10, 0x10, 0x34]).unwrap().hw_version, Some(0x34));
    // A message as a number.
    let mut bytes = unsigned(&WORKED);
    bytes[0] = 0x08;
    assert_eq!(InitPacket::parse(&bytes).unwrap().command, worked());
}

#[test]
fn a_zero_tag_and_a_tag_that_is_cut_off_end_a_message() {
    for behind in [&[0, 0xff, 0xff, 0xff][..], &[0x80], &[0xff, 0xff]] {
        let bytes = [unsigned(&WORKED), behind.to_vec()].concat();
        assert_eq!(InitPacket::parse(&bytes).unwrap().command, worked(), "{behind:x?}");
    }
    // The message around an ended one goes on right behind the zero, with what its own length leaves: nothing here.
    let hash = [&[0x08, 3, 0x12, 1, 0xaa, 0][..], &[0x10, 0x34]].concat();
    assert_eq!(parse_init(&field(8, &hash)).unwrap().hw_version, None);
    // Two bytes are left behind the hash, and what is read of them is what stood in the hash.
    let command = parse_init(&[field(8, &hash), vec![0x08, 9]].concat()).unwrap();
    assert_eq!((command.hw_version, command.fw_version), (Some(0x34), None));
}

#[test]
fn what_comes_again_replaces_what_was() {
    let command = parse_init(&[0x08, 1, 0x08, 2]).unwrap();
    assert_eq!(command.fw_version, Some(2));
    let hash = |byte| field(8, &[vec![0x08, 3], field(2, &[byte; 32])].concat());
    assert_eq!(parse_init(&[hash(1), hash(2)].concat()).unwrap().hash.unwrap().bytes, [2; 32]);
}

#[test]
fn in_a_signed_packet_what_follows_the_init_command_is_read_as_part_of_it() {
    let command = [field(2, &WORKED), vec![0x08, 0x09]].concat();
    let bytes = signed(&command);
    let packet = InitPacket::parse(&bytes).unwrap();
    assert_eq!(packet.signed_bytes(&bytes).unwrap(), [&WORKED[..], &[0x08, 0x09]].concat());
    assert_eq!((packet.op_code, packet.command.fw_version), (Some(9), Some(9)));
    // In an unsigned one it is not.
    let packet = InitPacket::parse(&field(1, &command)).unwrap();
    assert_eq!((packet.op_code, packet.command.fw_version), (Some(9), Some(2)));
}

#[test]
fn older_decoders_are_less_strict_in_forms_and_more_in_limits() {
    let old = [Decoder::Sdk12, Decoder::Sdk14, Decoder::Sdk15];
    let init = field(2, &WORKED);
    for decoder in old {
        let parse = |bytes: &[u8]| InitPacket::parse_as(bytes, decoder);
        // Boot validation is a field like any other that is not known.
        let command = parse(&unsigned(&WORKED)).unwrap().command;
        assert_eq!(command, InitCommand { boot_validation: Vec::new(), ..worked() });
        assert!(parse(&unsigned(&[0x52, 0].repeat(4))).is_ok());
        // The signed form counts, and the signed bytes are those of the init command that came last.
        let other = field(2, &[0x08, 7]);
        let bytes = [signed(&init), field(1, &other)].concat();
        let packet = parse(&bytes).unwrap();
        assert_eq!((packet.signature.is_some(), packet.command.fw_version), (true, Some(2)));
        assert_eq!(packet.signed_bytes(&bytes).unwrap(), [0x08, 7]);
        let twice = signed(&[init.clone(), other].concat());
        assert_eq!(parse(&twice).unwrap().command.fw_version, Some(7));
        // What follows the init command is signed, and is not read again.
        let bytes = signed(&[init.clone(), vec![0x08, 9]].concat());
        assert_eq!(parse(&bytes).unwrap().command.fw_version, Some(2));
        assert_eq!(parse(&bytes).unwrap().signed.len(), WORKED.len() + 2);
        assert_eq!(parse(&field(1, &[0x08, 1])), Err(InitPacketError::InitMissing));
        assert_eq!(parse(&[signed(&[]), unsigned(&WORKED)].concat()), Err(InitPacketError::InitMissing));
        // A long init command has a length of two bytes, of which the second one is taken for the first signed byte.
        let long = [WORKED.to_vec(), field(15, &[0; 70])].concat();
        let packet = parse(&signed(&field(2, &long))).unwrap();
        assert_eq!(packet.signed.len(), long.len() + 1);
    }
    let numbers = |count: usize| unsigned(&field(3, &vec![1; count]));
    let count_of =
        |count, decoder| InitPacket::parse_as(&numbers(count), decoder).map(|packet| packet.command.sd_req.len());
    assert_eq!(count_of(4, Decoder::Sdk12), Ok(4));
    assert_eq!(count_of(5, Decoder::Sdk12), Err(InitPacketError::TooMany { field: "sd_req", max: 4 }));
    assert_eq!(count_of(16, Decoder::Sdk14), Ok(16));
    // A reset command is looked at where it is known.
    let reset = field(1, &[init, field(3, &[])].concat());
    let missing = Err(InitPacketError::Missing { field: "reset.timeout" });
    assert_eq!(InitPacket::parse_as(&reset, Decoder::Sdk12), missing);
    assert_eq!(InitPacket::parse_as(&reset, Decoder::Sdk14), missing);
    assert!(InitPacket::parse_as(&reset, Decoder::Sdk15).is_ok());
    assert!(InitPacket::parse(&reset).is_ok());
}

fn commands() -> impl Strategy<Value = InitCommand> {
    let bytes = |max: usize| prop::collection::vec(any::<u8>(), 0..=max);
    let number = any::<Option<u32>>;
    let hash = (any::<u8>(), bytes(32)).prop_map(|(kind, bytes)| Hash { kind: HashType::from_code(kind), bytes });
    let validation = (any::<u8>(), bytes(64))
        .prop_map(|(kind, bytes)| BootValidation { kind: ValidationType::from_code(kind), bytes });
    let versions = (number(), number(), prop::collection::vec(any::<u32>(), 0..=16));
    let sizes = (any::<Option<u8>>(), number(), number(), number());
    let rest = (prop::option::of(hash), any::<Option<bool>>(), prop::collection::vec(validation, 0..=3));
    (versions, sizes, rest).prop_map(|(versions, sizes, rest)| InitCommand {
        fw_version: versions.0,
        hw_version: versions.1,
        sd_req: versions.2,
        fw_type: sizes.0.map(FwType::from_code),
        sd_size: sizes.1,
        bl_size: sizes.2,
        app_size: sizes.3,
        hash: rest.0,
        is_debug: rest.1,
        boot_validation: rest.2,
    })
}

fn packets() -> impl Strategy<Value = InitPacket> {
    let signature = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..=64))
        .prop_map(|(kind, bytes)| Signature { kind: SignatureType::from_code(kind), bytes });
    (commands(), prop::option::of(signature)).prop_map(|(command, signature)| InitPacket::new(command, signature))
}

proptest! {
    #[test]
    fn what_is_written_reads_back(packet in packets()) {
        let bytes = packet.emit();
        prop_assert_eq!(packet.signed_bytes(&bytes), Some(&packet.command.emit()[..]));
        prop_assert_eq!(InitPacket::parse(&bytes).unwrap(), packet);
    }

    /// A full protobuf library reads the same.
    #[test]
    fn what_is_written_reads_back_elsewhere(packet in packets()) {
        let read = proto::Packet::decode(&packet.emit()[..]).unwrap();
        let command = match (read.command, read.signed_command) {
            (Some(command), None) => command,
            (None, Some(signed)) => {
                prop_assert_eq!(Some(signed.signature), packet.signature.clone().map(|signature| signature.bytes));
                signed.command
            }
            _ => return Err(TestCaseError::fail("both forms or none")),
        };
        prop_assert_eq!(command, packet.command_message());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(packet) = InitPacket::parse(&bytes) {
            prop_assert!(packet.signed_bytes(&bytes).is_some());
            prop_assert!(packet.command.sd_req.len() <= 16);
        }
    }

    #[test]
    fn damaged_packets_are_read_without_a_panic(
        packet in packets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = packet.emit();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for decoder in [Decoder::Sdk12, Decoder::Sdk14, Decoder::Sdk15, Decoder::Sdk15_3] {
            if let Ok(packet) = InitPacket::parse_as(&bytes, decoder) {
                prop_assert!(packet.signed_bytes(&bytes).is_some());
            }
        }
    }
}
