//! Flash dumps: raw, or Intel HEX by extension.

use std::path::{Path, PathBuf};

use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::layout::Layout;

use super::{Failure, read_file};

/// `[DEVICE=]FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceFile {
    device: Option<String>,
    /// The file.
    pub(super) path: PathBuf,
}

pub(super) fn device_file(text: &str) -> Result<DeviceFile, String> {
    let (device, path) = match text.split_once('=') {
        Some((device, path)) if !device.is_empty() && !device.contains(['/', '.']) => (Some(device.to_owned()), path),
        _ => (None, text),
    };
    if path.is_empty() { Err("expected [DEVICE=]FILE".into()) } else { Ok(DeviceFile { device, path: path.into() }) }
}

impl DeviceFile {
    /// Index of the device in the layout; without a name, the first.
    pub(super) fn device(&self, layout: &Layout) -> Result<u8, Failure> {
        let Some(name) = &self.device else { return Ok(0) };
        let index = layout.devices.iter().position(|device| device.name == *name);
        index.and_then(|index| u8::try_from(index).ok()).ok_or_else(|| {
            let names: Vec<_> = layout.devices.iter().map(|device| device.name.as_str()).collect();
            Failure::Usage(format!("no flash device is called `{name}`\n  remedy: one of: {}", names.join(", ")))
        })
    }

    /// Loads the file into its device.
    pub(super) fn load(&self, layout: &Layout, flash: &mut Flash) -> Result<(), Failure> {
        let index = self.device(layout)?;
        let spec = &layout.devices[usize::from(index)];
        let name = self.path.display();
        let bytes = read_file(&self.path)?;
        let len = spec.geometry.len();
        let mut pieces = if is_hex(&self.path) {
            read_hex(&self.path, &bytes, spec.base)?
        } else {
            check_raw(&name.to_string(), &bytes, len)?;
            vec![(0, bytes)]
        };
        if is_hex(&self.path) {
            // A readback of a whole chip also holds registers, which are not flash.
            let held = |pieces: &[(u32, Vec<u8>)]| pieces.iter().map(|(_, data)| data.len()).sum::<usize>();
            let all = held(&pieces);
            for (offset, data) in &mut pieces {
                data.truncate(len.saturating_sub(*offset) as usize);
            }
            pieces.retain(|(_, data)| !data.is_empty());
            let left_out = all - held(&pieces);
            if pieces.is_empty() && left_out > 0 {
                return Err(Failure::Usage(format!(
                    "{name}: nothing in it is inside `{}`, {:#x} bytes at {:#x}\n  remedy: set `base` of the device in the layout",
                    spec.name, len, spec.base
                )));
            }
            if left_out > 0 {
                eprintln!("brickproof: {name}: {left_out} bytes outside `{}` are left out", spec.name);
            }
        }
        let Some(device) = flash.device_mut(index) else {
            return Err(Failure::Usage(format!("{name}: the layout has no such device")));
        };
        for (offset, data) in pieces {
            if !device.load(offset, &data) {
                return Err(Failure::Usage(format!(
                    "{name}: {} bytes at {offset:#x} do not fit `{}`, which has {:#x} bytes\n  remedy: a raw dump begins at offset 0 of the device, a HEX file at the layout's base {:#x}",
                    data.len(),
                    spec.name,
                    spec.geometry.len(),
                    spec.base,
                )));
            }
        }
        Ok(())
    }

    /// Writes the device to the file.
    pub(super) fn save(&self, layout: &Layout, flash: &Flash) -> Result<(), Failure> {
        let index = usize::from(self.device(layout)?);
        let bytes = flash.devices()[index].dump();
        if !is_hex(&self.path) {
            return super::write_file(&self.path, &bytes);
        }
        let text = write_hex(&bytes, layout.devices[index].base, layout.devices[index].geometry.erased_value())
            .map_err(|error| Failure::Usage(format!("{}: {error}", self.path.display())))?;
        super::write_file(&self.path, text.as_bytes())
    }
}

/// Says what a raw dump lacks: a piece that is missing is taken as erased, and that may be the wrong answer.
fn check_raw(name: &str, bytes: &[u8], len: u32) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Err(Failure::Usage(format!("{name}: the file is empty")));
    }
    if bytes.first() == Some(&b':') && bytes.is_ascii() {
        return Err(Failure::Usage(format!("{name}: this is Intel HEX\n  remedy: give it a name that ends in .hex")));
    }
    if bytes.len() < len as usize {
        eprintln!("brickproof: {name}: {:#x} of {len:#x} bytes, what is missing is taken as erased", bytes.len());
    }
    Ok(())
}

fn is_hex(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("hex") || end.eq_ignore_ascii_case("ihex"))
}

/// Pieces of a HEX file by offset in the device.
fn read_hex(path: &Path, bytes: &[u8], base: u32) -> Result<Vec<(u32, Vec<u8>)>, Failure> {
    let mistake = |line: usize, message: String| Failure::Usage(format!("{}:{line}: {message}", path.display()));
    let text = std::str::from_utf8(bytes).map_err(|_| mistake(1, "no Intel HEX: not a text".into()))?;
    let mut pieces: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut high = 0u32;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let record = ihex::Record::from_record_string(line)
            .map_err(|error| mistake(index + 1, format!("no Intel HEX record: {error}")))?;
        match record {
            ihex::Record::Data { offset, value } => {
                let address = high.wrapping_add(offset.into());
                // What is below the base wraps to an offset beyond every device.
                let offset = address.wrapping_sub(base);
                match pieces.last_mut() {
                    Some((start, data)) if *start as usize + data.len() == offset as usize => data.extend(value),
                    _ => pieces.push((offset, value)),
                }
            }
            ihex::Record::ExtendedLinearAddress(upper) => high = u32::from(upper) << 16,
            ihex::Record::ExtendedSegmentAddress(segment) => high = u32::from(segment) << 4,
            ihex::Record::EndOfFile => return Ok(pieces),
            ihex::Record::StartLinearAddress(_) | ihex::Record::StartSegmentAddress { .. } => {}
        }
    }
    Err(mistake(text.lines().count(), "the file ends without an end-of-file record: it is cut off".into()))
}

/// All bytes that are not erased.
fn write_hex(bytes: &[u8], base: u32, erased: u8) -> Result<String, ihex::WriterError> {
    const LINE: usize = 32;
    let mut records = Vec::new();
    let mut upper = None;
    for (index, line) in bytes.chunks(LINE).enumerate() {
        if line.iter().all(|byte| *byte == erased) {
            continue;
        }
        let address = base.wrapping_add((index * LINE) as u32);
        if upper != Some(address >> 16) {
            upper = Some(address >> 16);
            records.push(ihex::Record::ExtendedLinearAddress((address >> 16) as u16));
        }
        records.push(ihex::Record::Data { offset: address as u16, value: line.to_vec() });
    }
    records.push(ihex::Record::EndOfFile);
    ihex::create_object_file_representation(&records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, base: u32) -> Result<Vec<(u32, Vec<u8>)>, String> {
        read_hex(Path::new("dump.hex"), text.as_bytes(), base).map_err(|failure| failure.to_string())
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
        ] {
            match (read(text, if text.contains("0800F2") { 0x0800_0000 } else { 0 }), expected) {
                (Ok(pieces), Ok(count)) => assert_eq!(pieces.len(), count, "{text}"),
                (Err(said), Err(expected)) => assert!(said.starts_with(expected), "{text}: {said}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
        let below = read(":0400000001020304F2\n:00000001FF", 0x1000).unwrap();
        assert_eq!(below[0].0, 0u32.wrapping_sub(0x1000), "outside of every device");
    }

    proptest! {
        #[test]
        fn hex_files_round_trip(data in proptest::collection::vec(any::<u8>(), 1..300), base in any::<u16>()) {
            let base = u32::from(base) << 8;
            let text = write_hex(&data, base, 0xff).unwrap();
            let mut flash = vec![0xff; data.len() + 32];
            for (offset, piece) in read(&text, base).unwrap() {
                flash[offset as usize..offset as usize + piece.len()].copy_from_slice(&piece);
            }
            prop_assert_eq!(&flash[..data.len()], &data[..]);
        }

        #[test]
        fn hostile_hex_never_panics(text in "[:0-9A-F\n]{0,200}") {
            let _ = read(&text, 0);
        }
    }
}
