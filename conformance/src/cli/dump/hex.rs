//! Intel HEX.

use std::path::Path;

use brickproof_flash_model::layout::DeviceSpec;

use crate::cli::Failure;

/// A data record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Address of its first byte; below 2^32, and so is its last one.
    pub(super) address: u64,
    /// Its bytes.
    pub(super) data: Vec<u8>,
}

/// The data records of a file, by address; none gives other bytes than another for the same address.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    let mistake = |line: usize, message: String| Failure::Usage(format!("{}:{line}: {message}", path.display()));
    let text = std::str::from_utf8(bytes).map_err(|_| mistake(1, "no Intel HEX: not a text".into()))?;
    let mut records = Vec::new();
    let mut high = 0u64;
    let mut ended = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if ended {
            return Err(mistake(number, "there is more behind the end-of-file record: two files in one?".into()));
        }
        let record = ihex::Record::from_record_string(line)
            .map_err(|error| mistake(number, format!("no Intel HEX record: {error}")))?;
        match record {
            ihex::Record::Data { offset, value } => {
                let address = high + u64::from(offset);
                if address + value.len() as u64 > 1 << 32 {
                    return Err(mistake(number, format!("the record at {address:#x} reaches beyond 32 bits")));
                }
                if !value.is_empty() {
                    records.push(Record { line: number, address, data: value });
                }
            }
            ihex::Record::ExtendedLinearAddress(upper) => high = u64::from(upper) << 16,
            ihex::Record::ExtendedSegmentAddress(segment) => high = u64::from(segment) << 4,
            ihex::Record::EndOfFile => ended = true,
            ihex::Record::StartLinearAddress(_) | ihex::Record::StartSegmentAddress { .. } => {}
        }
    }
    if !ended {
        let lines = text.lines().count();
        return Err(mistake(lines, "the file ends without an end-of-file record: it is cut off".into()));
    }
    sorted(path, records)
}

/// By address; none gives other bytes than another for the same address.
pub(super) fn sorted(path: &Path, mut records: Vec<Record>) -> Result<Vec<Record>, Failure> {
    records.sort_by_key(|record| record.address);
    check_overlaps(&records).map_err(|(record, other, at)| {
        let (first, last) = (record.line.min(other.line), record.line.max(other.line));
        Failure::Usage(format!("{}:{last}: other bytes than line {first} has for the address {at:#x}", path.display()))
    })?;
    Ok(records)
}

/// The first two records that give one address different bytes.
fn check_overlaps(records: &[Record]) -> Result<(), (&Record, &Record, u64)> {
    /// Records that are looked at for each: more than that lie on top of each other in no dump.
    const NEAR: usize = 300;
    for (index, record) in records.iter().enumerate() {
        // A record has at most 255 bytes.
        let near = records[..index].iter().rev().take_while(|other| other.address + 255 > record.address);
        for other in near.take(NEAR) {
            let end = (other.address + other.data.len() as u64).min(record.address + record.data.len() as u64);
            for address in record.address..end {
                let byte = |record: &Record| record.data[(address - record.address) as usize];
                if byte(record) != byte(other) {
                    return Err((record, other, address));
                }
            }
        }
    }
    Ok(())
}

/// All bytes that are not erased, at the addresses of their devices.
pub(super) fn write(dumps: &[(&DeviceSpec, Vec<u8>)]) -> Result<String, ihex::WriterError> {
    const LINE: usize = 32;
    let mut records = Vec::new();
    let mut upper = None;
    for (spec, bytes) in dumps {
        let erased = spec.geometry.erased_value();
        let mut at = 0;
        while at < bytes.len() {
            let address = spec.base.wrapping_add(at as u32);
            // A record does not cross the 64 KiB that an address record opens.
            let room = 0x1_0000 - (address as usize & 0xffff);
            let line = &bytes[at..bytes.len().min(at + LINE.min(room))];
            at += line.len();
            if line.iter().all(|byte| *byte == erased) {
                continue;
            }
            if upper != Some(address >> 16) {
                upper = Some(address >> 16);
                records.push(ihex::Record::ExtendedLinearAddress((address >> 16) as u16));
            }
            records.push(ihex::Record::Data { offset: address as u16, value: line.to_vec() });
        }
    }
    records.push(ihex::Record::EndOfFile);
    ihex::create_object_file_representation(&records)
}

#[cfg(test)]
mod tests {
    use brickproof_flash_model::flash::{Geometry, SectorRun};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Record>, String> {
        super::read(Path::new("dump.hex"), text.as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, expected) in [
            (":00000001FF", Ok(0)),
            (":020000040800F2\n:0400000001020304F2\n:00000001FF", Ok(1)),
            ("", Err("dump.hex:0: the file ends without")),
            (":0400000001020304F2", Err("dump.hex:1: the file ends without")),
            (":0400000001020304F3\n:00000001FF", Err("dump.hex:1: no Intel HEX record")),
            ("hello", Err("dump.hex:1: no Intel HEX record")),
            (":00000001FF\n:00000001FF", Err("dump.hex:2: there is more behind")),
            (":0400000001020304F2\n:0400000001020304F2\n:00000001FF", Ok(2)),
            (
                ":0400000001020304F2\n\n:020002000303F6\n:00000001FF",
                Err("dump.hex:3: other bytes than line 1 has for the address 0x3"),
            ),
            (":02000004FFFFFC\n:02FFFF000102FD\n:00000001FF", Err("dump.hex:2: the record at 0xffffffff reaches")),
        ] {
            match (read(text), expected) {
                (Ok(records), Ok(count)) => assert_eq!(records.len(), count, "{text}"),
                (Err(said), Err(expected)) => assert!(said.starts_with(expected), "{text}: {said}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(read(":020000040800F2\n:0400000001020304F2\n:00000001FF").unwrap()[0].address, 0x0800_0000);
    }

    proptest! {
        #[test]
        fn hex_files_round_trip(data in proptest::collection::vec(any::<u8>(), 1..300), base in any::<u16>()) {
            let base = u32::from(base) << 8 | 0xf0;
            let geometry = Geometry::new(&[SectorRun { count: 1, size: 4096 }], 4, 0xff).unwrap();
            let spec = DeviceSpec { name: "internal".into(), base, geometry };
            let text = write(&[(&spec, data.clone())]).unwrap();
            let mut flash = vec![0xff; data.len()];
            for record in read(&text).unwrap() {
                let at = (record.address - u64::from(base)) as usize;
                flash[at..at + record.data.len()].copy_from_slice(&record.data);
            }
            prop_assert_eq!(flash, data);
        }

        #[test]
        fn hostile_hex_never_panics(text in "[:0-9A-F\n]{0,200}") {
            let _ = read(&text);
        }
    }
}
