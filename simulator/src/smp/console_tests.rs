//! Golden bytes are written out by hand: codec and test must not share a mistake.

use proptest::prelude::*;

use super::*;

/// An echo request of one character: `{"d": "A"}`, version 1, sequence 7.
const ECHO: [u8; 13] = [0x0a, 0, 0, 5, 0, 0, 7, 0, 0xbf, 0x61, b'd', 0x61, b'A'];

fn lines(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Line> {
    bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
}

fn outcomes(bytes: &[u8]) -> Vec<Result<Option<Vec<u8>>, ConsoleError>> {
    lines(&mut Decoder::new(512), bytes).into_iter().map(|line| line.packet).collect()
}

#[test]
fn crc_is_xmodem() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
    assert_eq!(crc16(&[]), 0);
}

#[test]
fn golden_frames() {
    // "Hello, world!" as Python's smp 4.2.0 documents it: 000f, 13 bytes, dead.
    let hello = b"\x06\x09AA9IZWxsbywgd29ybGQhet4=\n";
    assert_eq!(encode(b"Hello, world!"), [hello.to_vec()]);
    assert_eq!(outcomes(hello), [Ok(Some(b"Hello, world!".to_vec()))]);
    // By hand: S = 00 03 41 58 e5; the CRC of "A" is 58e5.
    assert_eq!(crc16(b"A"), 0x58e5);
    assert_eq!(encode(b"A"), [b"\x06\x09AANBWOU=\n".to_vec()]);
    assert_eq!(outcomes(b"\x06\x09AANBWOU=\n"), [Ok(Some(b"A".to_vec()))]);
}

#[test]
fn the_crc_is_never_split() {
    // 91 bytes of packet fit the first frame with a CRC at 89; beyond that a group of 3 goes with the CRC.
    for (len, frames) in [(13, vec![24]), (89, vec![124]), (90, vec![120, 8]), (91, vec![120, 8]), (92, vec![124, 4])] {
        let packet: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let encoded = encode(&packet);
        let bodies: Vec<usize> = encoded.iter().map(|frame| frame.len() - 3).collect();
        assert_eq!(bodies, frames, "a packet of {len} bytes");
        let last = decode_base64(&encoded[encoded.len() - 1][2..]).unwrap();
        let crc = crc16(&packet).to_be_bytes();
        assert!(last.ends_with(&crc), "a packet of {len} bytes");
    }
}

#[test]
fn later_frames_are_shorter_than_the_first_as_zephyrs_are() {
    let encoded = encode(&[0; 400]);
    let lengths: Vec<usize> = encoded.iter().map(Vec::len).collect();
    assert_eq!(lengths, [127, 123, 123, 123, 59]);
    assert_eq!(encoded[0][..2], START);
    assert!(encoded[1..].iter().all(|frame| frame[..2] == CONTINUE));
}

#[test]
fn shell_and_log_between_frames_are_passed_over() {
    let encoded = encode(&[7; 150]);
    let mut bytes = b"*** Booting Zephyr OS ***\n".to_vec();
    bytes.extend_from_slice(&encoded[0]);
    bytes.extend_from_slice(b"[00:00:01] <inf> app: hello\r\n\n");
    bytes.extend_from_slice(&encoded[1]);
    let heard = outcomes(&bytes);
    assert_eq!(heard, [Ok(None), Ok(None), Ok(None), Ok(None), Ok(Some(vec![7; 150]))]);
}

#[test]
fn what_the_receiver_drops() {
    let first = encode(&[7; 150]).remove(0);
    let second = encode(&[7; 150]).remove(1);
    assert_eq!(outcomes(&second), [Err(ConsoleError::NothingBegun)]);
    assert_eq!(outcomes(b"\x06\x09AANB!OU=\n"), [Err(ConsoleError::NoBase64)]);
    assert_eq!(outcomes(b"\x06\x09AA==\n"), [Err(ConsoleError::NoLength)]);
    assert_eq!(outcomes(b"\x06\x09\n"), [Err(ConsoleError::NoLength)]);
    assert_eq!(outcomes(b"\x06\x09AANBWOQ=\n"), [Err(ConsoleError::Crc)]);
    // Announced 2 and 3, and 3 and 4 bytes follow.
    assert_eq!(outcomes(b"\x06\x09AAJBWOU=\n"), [Err(ConsoleError::LengthTooSmall(2))]);
    assert_eq!(outcomes(b"\x06\x09AANBWOVB\n"), [Err(ConsoleError::Overrun { announced: 3, present: 4 })]);
    let long = [b"\x06\x09".as_slice(), &[b'A'; 126], b"\n"].concat();
    assert_eq!(outcomes(&long), [Err(ConsoleError::TooLong(129))]);
    let mut small = Decoder::new(64);
    assert_eq!(lines(&mut small, &first)[0].packet, Err(ConsoleError::TooLarge(64)));
    // After a drop nothing is collected.
    assert_eq!(lines(&mut small, &second)[0].packet, Err(ConsoleError::NothingBegun));
}

#[test]
fn a_first_frame_drops_the_unfinished_packet() {
    let mut decoder = Decoder::new(512);
    assert!(lines(&mut decoder, &encode(&[7; 150])[0])[0].packet == Ok(None));
    let line = lines(&mut decoder, &encode(&ECHO)[0]).remove(0);
    assert_eq!((line.abandoned, line.packet), (91, Ok(Some(ECHO.to_vec()))));
}

#[test]
fn carriage_returns_and_an_incomplete_group_are_put_up_with() {
    assert_eq!(outcomes(b"\x06\x09AANBWOU=\r\n"), [Ok(Some(b"A".to_vec()))]);
    assert_eq!(outcomes(b"\x06\x09AANBWOU= \n"), [Ok(Some(b"A".to_vec()))]);
    assert_eq!(outcomes(b"\x06\x09AAN BWOU=\n"), [Err(ConsoleError::NoBase64)]);
    assert_eq!(outcomes(b"\x06\x09AANBW\n\x04\x14WOU=\n"), [Ok(None), Ok(Some(b"A".to_vec()))]);
}

#[test]
fn the_buffer_holds_length_and_crc_too() {
    let fits = vec![1; 60];
    let too_long = vec![1; 61];
    for (packet, expected) in [(&fits, Ok(Some(fits.clone()))), (&too_long, Err(ConsoleError::TooLarge(64)))] {
        let mut decoder = Decoder::new(64);
        let bytes = encode(packet).concat();
        assert_eq!(lines(&mut decoder, &bytes).pop().unwrap().packet, expected);
    }
}

proptest! {
    #[test]
    fn frames_read_back(packet in proptest::collection::vec(any::<u8>(), 1..3000)) {
        let frames = encode(&packet);
        let crc = crc16(&packet).to_be_bytes();
        prop_assert!(frames.iter().all(|frame| frame.len() <= FRAME_MAX));
        prop_assert!(decode_base64(&frames[frames.len() - 1][2..]).unwrap().ends_with(&crc));
        let mut decoder = Decoder::new(packet.len() + OVERHEAD);
        let heard = lines(&mut decoder, &frames.concat());
        prop_assert!(heard[..heard.len() - 1].iter().all(|line| line.packet == Ok(None)));
        prop_assert_eq!(heard[heard.len() - 1].packet.clone(), Ok(Some(packet)));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000), packet_max in 0usize..300) {
        let mut decoder = Decoder::new(packet_max);
        for byte in bytes {
            if let Some(line) = decoder.push(byte) {
                prop_assert!(line.bytes.len() <= LINE_MAX);
                if let Ok(Some(packet)) = line.packet {
                    prop_assert!(packet.len() + OVERHEAD <= packet_max);
                }
            }
            prop_assert!(decoder.collected.len() <= packet_max);
        }
    }

    #[test]
    fn nearly_frames_are_survived(
        text in proptest::collection::vec(proptest::sample::select(b"\x06\x09\x04\x14AB9+/= \r\n".to_vec()), 0..400),
    ) {
        let mut decoder = Decoder::new(128);
        for byte in text {
            decoder.push(byte);
        }
    }
}
