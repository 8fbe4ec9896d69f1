//! Motorola S-records: what `commander readmem` and the tools for EFR32 write beside Intel HEX.
//!
//! ```text
//! S3 15 08012000 00800020 ... 5A    kind, bytes behind the count, address, data, checksum
//! ```

use std::fmt::Write;
use std::path::Path;

use brickproof_flash_model::layout::DeviceSpec;

use super::hex::{Record, sorted};
use crate::cli::Failure;

/// The data records of a file, by address; none gives other bytes than another for the same address.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    let mistake = |line: usize, message: String| Failure::Usage(format!("{}:{line}: {message}", path.display()));
    let text = std::str::from_utf8(bytes).map_err(|_| mistake(1, "no S-records: not a text".into()))?;
    let mut records = Vec::new();
    let mut ended = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if ended {
            return Err(mistake(number, "there is more behind the termination record: two files in one?".into()));
        }
        let (kind, rest) = parse(line).map_err(|why| mistake(number, format!("no S-record: {why}")))?;
        let address_len = match kind {
            '1' => 2,
            '2' => 3,
            '3' => 4,
            '7'..='9' => {
                ended = true;
                continue;
            }
            // A header, or a count.
            _ => continue,
        };
        let Some((address, data)) = rest.split_at_checked(address_len) else {
            return Err(mistake(number, "no S-record: it is shorter than its address".into()));
        };
        let address = address.iter().fold(0, |address, byte| address << 8 | u64::from(*byte));
        if address + data.len() as u64 > 1 << 32 {
            return Err(mistake(number, format!("the record at {address:#x} reaches beyond 32 bits")));
        }
        if !data.is_empty() {
            records.push(Record { line: number, address, data: data.to_vec() });
        }
    }
    if !ended {
        let lines = text.lines().count();
        return Err(mistake(lines, "the file ends without a termination record: it is cut off".into()));
    }
    sorted(path, records)
}

/// Kind, and what is between count and checksum.
fn parse(line: &str) -> Result<(char, Vec<u8>), String> {
    let mut characters = line.chars();
    let (Some('S' | 's'), Some(kind @ '0'..='9')) = (characters.next(), characters.next()) else {
        return Err("it does not begin with S and a digit".into());
    };
    let digits: Option<Vec<u8>> =
        characters.map(|digit| digit.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.ok_or("something in it is no hexadecimal digit")?;
    let (pairs, odd) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    let Some((count, rest)) = bytes.split_first().filter(|_| odd.is_empty()) else {
        return Err("it is cut off".into());
    };
    if usize::from(*count) != rest.len() {
        return Err(format!("it says {count} bytes and has {}", rest.len()));
    }
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let Some((_, data)) = rest.split_last().filter(|_| sum == 0xff) else {
        return Err("its checksum is wrong".into());
    };
    Ok((kind, data.to_vec()))
}

/// All bytes that are not erased, at the addresses of their devices.
pub(super) fn write(dumps: &[(&DeviceSpec, Vec<u8>)]) -> String {
    const LINE: usize = 32;
    let mut text = String::new();
    for (spec, bytes) in dumps {
        let erased = spec.geometry.erased_value();
        for (line, address) in bytes.chunks(LINE).zip((spec.base..).step_by(LINE)) {
            if line.iter().any(|byte| *byte != erased) {
                record(&mut text, '3', address, line);
            }
        }
    }
    record(&mut text, '7', 0, &[]);
    text
}

fn record(text: &mut String, kind: char, address: u32, data: &[u8]) {
    let count = u8::try_from(data.len() + 5).unwrap_or(u8::MAX);
    let bytes = [&[count][..], &address.to_be_bytes(), data].concat();
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let _ = write!(text, "S{kind}");
    for byte in bytes.iter().chain([&!sum]) {
        let _ = write!(text, "{byte:02X}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use brickproof_flash_model::flash::{Geometry, SectorRun};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Record>, String> {
        super::read(Path::new("app.s37"), text.as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn records_of_each_kind_are_read() {
        // The example that everybody copies (Wikipedia, SREC).
        let text = "S00F000068656C6C6F202020202000003C\nS11F00007C0802A6900100049421FFF07C6C1B787C8C23783C6000003863000026\n\
                    S5030001FB\nS9030000FC\n";
        let records = read(text).unwrap();
        assert_eq!((records.len(), records[0].address, records[0].data.len()), (1, 0, 28));
        let high = read("S3090801200001020304C3\nS70500000000FA").unwrap();
        assert_eq!((high[0].address, high[0].data.as_slice()), (0x0801_2000, &[1, 2, 3, 4][..]));
        assert_eq!(read("S20801200001020304CC\nS804000000FB").unwrap()[0].address, 0x0001_2000);
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, expected) in [
            ("", "app.s37:0: the file ends without a termination record"),
            ("S3090801200001020304C3", "app.s37:1: the file ends without"),
            ("hello", "app.s37:1: no S-record: it does not begin"),
            ("S1X", "app.s37:1: no S-record: something in it"),
            ("S1", "app.s37:1: no S-record: it is cut off"),
            ("S10", "app.s37:1: no S-record: it is cut off"),
            ("S309080120000102030400", "app.s37:1: no S-record: its checksum is wrong"),
            ("S30A0801200001020304CA", "app.s37:1: no S-record: it says 10 bytes and has 9"),
            ("S9030000FC\nS9030000FC", "app.s37:2: there is more behind"),
            ("S30308F4\nS9030000FC", "app.s37:1: no S-record: it says 3 bytes and has 2"),
            ("S3030801F3\nS9030000FC", "app.s37:1: no S-record: it is shorter than its address"),
            ("S306FFFFFFFF0102F9\nS9030000FC", "app.s37:1: no S-record: it says 6"),
            ("S307FFFFFFFF0102F9\nS9030000FC", "app.s37:1: the record at 0xffffffff reaches"),
            (
                "S3090801200001020304C3\nS3060801200309C4\nS9030000FC",
                "app.s37:2: other bytes than line 1 has for the address 0x8012003",
            ),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn files_round_trip(data in proptest::collection::vec(any::<u8>(), 1..300), base in any::<u16>()) {
            let base = u32::from(base) << 8 | 0xf0;
            let geometry = Geometry::new(&[SectorRun { count: 1, size: 4096 }], 4, 0xff).unwrap();
            let spec = DeviceSpec { name: "internal".into(), base, geometry };
            let mut flash = vec![0xff; data.len()];
            for record in read(&write(&[(&spec, data.clone())])).unwrap() {
                let at = (record.address - u64::from(base)) as usize;
                flash[at..at + record.data.len()].copy_from_slice(&record.data);
            }
            prop_assert_eq!(flash, data);
        }

        #[test]
        fn hostile_files_never_panic(text in "[S0-9A-F\n]{0,200}") {
            let _ = read(&text);
        }
    }
}
