//! Flash dumps: raw, or by extension Intel HEX or Motorola S-records.
//!
//! | file | goes to |
//! |---|---|
//! | `DEVICE=dump.bin` | that device, from its offset 0 |
//! | `dump.bin` | the only device; with several, the only one of exactly this size |
//! | `DEVICE=dump.hex` | that device; records elsewhere are left out |
//! | `dump.hex` | every device whose addresses it has |
//! | `.s37`, `.srec`, `.mot` | the same as `.hex` |
//!
//! Addresses in HEX files are those of the layout (`base` of the device). What no file gives is erased, and
//! that is said, because it may be the wrong answer.

mod hex;
mod srec;

use std::path::{Path, PathBuf};

use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::layout::{DeviceSpec, Layout};

use super::silabs_files::is_gbl;
use super::{Failure, read_file};
use hex::Record;

/// Largest file that is read, in bytes: 256 MiB of flash as HEX.
const FILE_MAX: u64 = 1 << 30;

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
    /// Index of the device that is named.
    fn named(&self, layout: &Layout) -> Result<Option<usize>, Failure> {
        let Some(name) = &self.device else { return Ok(None) };
        match layout.devices.iter().position(|device| device.name == *name) {
            Some(index) => Ok(Some(index)),
            None => Err(Failure::Usage(format!(
                "no flash device is called `{name}`\n  remedy: one of: {}",
                device_names(layout)
            ))),
        }
    }

    /// The device of a raw file; `len`: its size, where it is known.
    fn raw_device(&self, layout: &Layout, len: Option<usize>) -> Result<usize, Failure> {
        if let Some(index) = self.named(layout)? {
            return Ok(index);
        }
        if layout.devices.len() == 1 {
            return Ok(0);
        }
        let of_size = |device: &&DeviceSpec| Some(device.geometry.len() as usize) == len;
        let mut matching = layout.devices.iter().enumerate().filter(|(_, device)| of_size(device));
        if let (Some((index, _)), None) = (matching.next(), matching.next()) {
            return Ok(index);
        }
        let name = self.path.display();
        Err(Failure::Usage(format!(
            "{name}: `{}` has several flash devices, and it is not clear which this is\n  remedy: DEVICE={name}, with one of: {}",
            layout.name,
            device_names(layout)
        )))
    }
}

/// What a file gave.
struct Loaded<'a> {
    path: &'a Path,
    /// Of each device the offsets `from..to`, ascending, with a gap between two.
    pieces: Vec<Vec<(u32, u32)>>,
}

/// What has been loaded so far.
struct Loader<'a> {
    layout: &'a Layout,
    flash: &'a mut Flash,
    /// The files before this one.
    before: Vec<Loaded<'a>>,
    /// This file.
    now: Loaded<'a>,
    notes: Vec<String>,
}

/// The number of records of a file with addresses.
pub(super) fn count_records(path: &Path, bytes: &[u8]) -> Result<usize, Failure> {
    records(path, bytes).map(|records| records.len())
}

/// The data records of a file with addresses, by address.
fn records(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    if is_srec(path) { srec::read(path, bytes) } else { hex::read(path, bytes) }
}

/// Largest gap between records that is filled, in bytes: within a page of any EFR32.
const GAP: u64 = 8192;

/// The bytes of a file with addresses, in pieces of whole words: ascending, with gaps between them that no page reaches over.
/// Smaller gaps are erased bytes, so that nothing begins in the middle of a page that is not erased.
pub(super) fn pieces(path: &Path, bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, Failure> {
    const MOST: u64 = 16 << 20;
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut all = 0;
    for record in records(path, bytes)? {
        let start = record.address / 4 * 4;
        let end = (record.address + record.data.len() as u64).next_multiple_of(4);
        if pieces.last().is_none_or(|(from, piece)| start > from + piece.len() as u64 + GAP) {
            pieces.push((start, Vec::new()));
        }
        let Some((from, piece)) = pieces.last_mut() else { break };
        let len = usize::try_from(end - *from).unwrap_or(usize::MAX).max(piece.len());
        all += (len - piece.len()) as u64;
        if all > MOST {
            let name = path.display();
            return Err(Failure::Usage(format!("{name}: more than {MOST} bytes are no firmware of one chip")));
        }
        piece.resize(len, 0xff);
        let at = (record.address - *from) as usize;
        piece[at..at + record.data.len()].copy_from_slice(&record.data);
    }
    Ok(pieces.into_iter().map(|(from, piece)| (u32::try_from(from).unwrap_or(u32::MAX), piece)).collect())
}

/// The firmware of an Intel HEX file: what lies behind the MBR and before the UICR of a chip of Nordic's, with gaps erased,
/// up to a whole word.
pub(super) fn firmware_of_hex(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    const MBR_END: u64 = 0x1000;
    const UICR: u64 = 0x1000_0000;
    const MOST: u64 = 16 << 20;
    let records = records(path, bytes)?;
    let all = records.iter().filter_map(|record| {
        let skipped = usize::try_from(MBR_END.saturating_sub(record.address)).unwrap_or(usize::MAX);
        let data = record.data.get(skipped..).filter(|data| !data.is_empty() && record.address < UICR)?;
        Some((record.address.max(MBR_END), data))
    });
    let all: Vec<(u64, &[u8])> = all.collect();
    let Some((start, _)) = all.first().copied() else { return Ok(Vec::new()) };
    let end = all.iter().map(|(address, data)| address + data.len() as u64).max().unwrap_or(start);
    if end - start > MOST {
        return Err(Failure::Usage(format!(
            "{}: it reaches from {start:#x} to {end:#x}, and no firmware is that large\n  remedy: one file for each part",
            path.display()
        )));
    }
    let mut firmware = vec![0xff; ((end - start) as usize).next_multiple_of(4)];
    for (address, data) in all {
        let at = (address - start) as usize;
        firmware[at..at + data.len()].copy_from_slice(data);
    }
    Ok(firmware)
}

/// Loads the files into a flash; what should be said about them.
pub(super) fn load(files: &[DeviceFile], layout: &Layout, flash: &mut Flash) -> Result<Vec<String>, Failure> {
    let nothing = |path| Loaded { path, pieces: vec![Vec::new(); layout.devices.len()] };
    let mut loader = Loader { layout, flash, before: Vec::new(), now: nothing(Path::new("")), notes: Vec::new() };
    for file in files {
        let last = std::mem::replace(&mut loader.now, nothing(&file.path));
        loader.before.push(last);
        let len = std::fs::metadata(&file.path).map_or(0, |file| file.len());
        if len > FILE_MAX {
            return Err(Failure::Usage(format!("{}: {len} bytes are no dump of a flash", file.path.display())));
        }
        let bytes = read_file(&file.path)?;
        if has_addresses(&file.path) {
            loader.hex(file, &bytes)?;
        } else if is_gbl(&file.path, &bytes) {
            return Err(Failure::Usage(format!(
                "{}: a GBL file, and a dump of the flash is wanted\n  remedy: a dump with the file in its slot; `brickproof simulate --slot slot-0=FILE.gbl` and `brickproof sweep --slot package=FILE.gbl` take the file itself",
                file.path.display()
            )));
        } else {
            loader.raw(file, &bytes)?;
        }
    }
    for (index, device) in layout.devices.iter().enumerate() {
        if loader.before.iter().chain([&loader.now]).all(|loaded| loaded.pieces[index].is_empty()) {
            loader.notes.push(format!("there is no dump of `{}`: it is taken as erased", device.name));
        }
    }
    Ok(loader.notes)
}

impl<'a> Loader<'a> {
    fn raw(&mut self, file: &'a DeviceFile, bytes: &[u8]) -> Result<(), Failure> {
        let name = file.path.display();
        let fail = |text: String| Err(Failure::Usage(format!("{name}: {text}")));
        if bytes.is_empty() {
            return fail("the file is empty".into());
        }
        if bytes.first() == Some(&b':') && bytes.is_ascii() {
            return fail("this is Intel HEX\n  remedy: give it a name that ends in .hex".into());
        }
        if bytes.starts_with(b"S0") && bytes.is_ascii() {
            return fail("these are S-records\n  remedy: give it a name that ends in .s37".into());
        }
        let index = file.raw_device(self.layout, Some(bytes.len()))?;
        let spec = &self.layout.devices[index];
        let len = spec.geometry.len();
        if bytes.len() > len as usize {
            return fail(format!(
                "{:#x} bytes do not fit `{}`, which has {len:#x}\n  remedy: a raw dump begins at offset 0 of the device and ends with it; `head -c {len}` cuts one, a HEX file keeps addresses",
                bytes.len(),
                spec.name
            ));
        }
        if bytes.len() < len as usize {
            self.notes.push(format!(
                "{name}: {:#x} of {len:#x} bytes of `{}`, what is missing is taken as erased",
                bytes.len(),
                spec.name
            ));
        }
        self.put(index, 0, bytes, None)
    }

    fn hex(&mut self, file: &'a DeviceFile, bytes: &[u8]) -> Result<(), Failure> {
        let name = file.path.display();
        let records = records(&file.path, bytes)?;
        let named = file.named(self.layout)?;
        let mut outside: Option<(usize, u64, usize)> = None;
        for record in &records {
            let inside = self.put_record(record, named, file)?;
            if inside < record.data.len() {
                let (_, _, count) = outside.get_or_insert((record.line, record.address, 0));
                *count += record.data.len() - inside;
            }
        }
        let places = |layout: &Layout| -> String {
            let devices =
                layout.devices.iter().enumerate().filter(|(index, _)| named.is_none_or(|named| named == *index));
            let places: Vec<String> = devices.map(|(_, spec)| format!("`{}` {}", spec.name, addresses(spec))).collect();
            places.join(", ")
        };
        if self.now.pieces.iter().all(Vec::is_empty) {
            return Err(Failure::Usage(format!(
                "{name}: nothing in it is inside {}\n  remedy: set `base` of the device in the layout",
                places(self.layout)
            )));
        }
        // A readback of a whole chip also holds registers, which are not flash.
        if let Some((line, address, count)) = outside {
            self.notes.push(format!(
                "{name}:{line}: {count} bytes, the first at {address:#x}, are outside {} and left out",
                places(self.layout)
            ));
        }
        self.gaps(file, &records);
        Ok(())
    }

    /// Loads what of a record is inside devices; how many bytes that were.
    fn put_record(&mut self, record: &Record, named: Option<usize>, file: &'a DeviceFile) -> Result<usize, Failure> {
        let layout = self.layout;
        let end = record.address + record.data.len() as u64;
        let mut taken: Option<&DeviceSpec> = None;
        let mut inside = 0;
        for (index, spec) in layout.devices.iter().enumerate() {
            if named.is_some_and(|named| named != index) {
                continue;
            }
            let base = u64::from(spec.base);
            let (from, to) = (record.address.max(base), end.min(base + u64::from(spec.geometry.len())));
            if from >= to {
                continue;
            }
            if let Some(other) = taken.filter(|other| overlap(other, spec)) {
                return Err(Failure::Usage(format!(
                    "{}:{}: the layout gives `{}` and `{}` the address {from:#x}\n  remedy: say which: {}={}, or set `base` of one",
                    file.path.display(),
                    record.line,
                    other.name,
                    spec.name,
                    other.name,
                    file.path.display()
                )));
            }
            taken = Some(spec);
            let piece = &record.data[(from - record.address) as usize..(to - record.address) as usize];
            inside += piece.len();
            self.put(index, (from - base) as u32, piece, Some(record.line))?;
        }
        Ok(inside)
    }

    /// Loads bytes, of one file in ascending order; two files may give the same bytes, not different ones.
    fn put(&mut self, index: usize, offset: u32, bytes: &[u8], line: Option<usize>) -> Result<(), Failure> {
        let end = offset.saturating_add(bytes.len() as u32);
        let number = u8::try_from(index).unwrap_or(u8::MAX);
        let spec = &self.layout.devices[index];
        let path = self.now.path.display();
        let place = line.map_or(path.to_string(), |line| format!("{path}:{line}"));
        let Some(device) = self.flash.device_mut(number) else {
            return Err(Failure::Usage(format!("{place}: the layout has no such device")));
        };
        for other in &self.before {
            let pieces = &other.pieces[index];
            let first = pieces.partition_point(|(_, to)| *to <= offset);
            for (from, to) in pieces[first..].iter().take_while(|(from, _)| *from < end) {
                let (from, to) = ((*from).max(offset), (*to).min(end));
                let mut there = vec![0; (to - from) as usize];
                if device.read(from, &mut there) && there == bytes[(from - offset) as usize..(to - offset) as usize] {
                    continue;
                }
                return Err(Failure::Usage(format!(
                    "{place}: other bytes than {} has for {:#x}..{:#x} of `{}`\n  remedy: one dump for each place",
                    other.path.display(),
                    u64::from(spec.base) + u64::from(from),
                    u64::from(spec.base) + u64::from(to),
                    spec.name
                )));
            }
        }
        if !device.load(offset, bytes) {
            let len = bytes.len();
            return Err(Failure::Usage(format!("{place}: {len:#x} bytes at {offset:#x} do not fit `{}`", spec.name)));
        }
        match self.now.pieces[index].last_mut() {
            Some((_, to)) if offset <= *to => *to = end.max(*to),
            _ => self.now.pieces[index].push((offset, end)),
        }
        Ok(())
    }

    /// Says what a HEX file does not give of the devices it covers.
    fn gaps(&mut self, file: &DeviceFile, records: &[Record]) {
        for (index, spec) in self.layout.devices.iter().enumerate() {
            let mut pieces = self.now.pieces[index].clone();
            if pieces.is_empty() {
                continue;
            }
            pieces.push((spec.geometry.len(), spec.geometry.len()));
            let (mut at, mut gaps, mut missing, mut first) = (0, 0, 0, None);
            for (from, to) in pieces {
                if from > at {
                    gaps += 1;
                    missing += from - at;
                    first.get_or_insert((at, from));
                }
                at = at.max(to);
            }
            let Some((from, to)) = first else { continue };
            let (from, to) = (u64::from(spec.base) + u64::from(from), u64::from(spec.base) + u64::from(to));
            let before = records.iter().find(|record| record.address + record.data.len() as u64 == from);
            let line = before.map_or(String::new(), |record| format!(" after line {}", record.line));
            let gaps = if gaps == 1 { "one gap".into() } else { format!("{gaps} gaps") };
            self.notes.push(format!(
                "{}: {missing:#x} of {:#x} bytes of `{}` are not in it and taken as erased: {gaps}, the first {from:#x}..{to:#x}{line}",
                file.path.display(),
                spec.geometry.len(),
                spec.name
            ));
        }
    }
}

/// Writes the flash to files, by the rules of [`load`].
pub(super) fn save(files: &[DeviceFile], layout: &Layout, flash: &Flash) -> Result<(), Failure> {
    for file in files {
        let text;
        let dumps: Vec<(&DeviceSpec, Vec<u8>)>;
        let bytes = if has_addresses(&file.path) {
            let named = file.named(layout)?;
            let chosen = layout.devices.iter().zip(flash.devices()).enumerate();
            dumps = chosen
                .filter(|(index, _)| named.is_none_or(|named| named == *index))
                .map(|(_, (spec, device))| (spec, device.dump()))
                .collect();
            if let Some((one, other)) = overlapping(&dumps) {
                return Err(Failure::Usage(format!(
                    "{}: the layout gives `{one}` and `{other}` the same addresses\n  remedy: one file for each: {one}=..., {other}=...",
                    file.path.display()
                )));
            }
            let failed = |error| Failure::Usage(format!("{}: {error}", file.path.display()));
            text = if is_srec(&file.path) { srec::write(&dumps) } else { hex::write(&dumps).map_err(failed)? };
            text.into_bytes()
        } else {
            let index = file.raw_device(layout, None)?;
            flash.devices().get(index).map(brickproof_flash_model::flash::Device::dump).unwrap_or_default()
        };
        super::write_file(&file.path, &bytes)?;
    }
    Ok(())
}

fn overlapping<'a>(dumps: &[(&'a DeviceSpec, Vec<u8>)]) -> Option<(&'a str, &'a str)> {
    dumps.iter().enumerate().find_map(|(index, (one, _))| {
        let other = dumps[index + 1..].iter().find(|(other, _)| overlap(one, other));
        other.map(|(other, _)| (one.name.as_str(), other.name.as_str()))
    })
}

fn overlap(one: &DeviceSpec, other: &DeviceSpec) -> bool {
    let range = |spec: &DeviceSpec| (u64::from(spec.base), u64::from(spec.base) + u64::from(spec.geometry.len()));
    let ((a, b), (c, d)) = (range(one), range(other));
    a < d && c < b
}

fn addresses(spec: &DeviceSpec) -> String {
    format!("{:#x}..{:#x}", spec.base, u64::from(spec.base) + u64::from(spec.geometry.len()))
}

fn device_names(layout: &Layout) -> String {
    layout.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a file has addresses, by its name: Intel HEX, or S-records.
pub(super) fn has_addresses(path: &Path) -> bool {
    ends_in(path, &["hex", "ihex", "ihx"]) || is_srec(path)
}

fn is_srec(path: &Path) -> bool {
    ends_in(path, &["s37", "s28", "s19", "srec", "mot"])
}

fn ends_in(path: &Path, ends: &[&str]) -> bool {
    path.extension().is_some_and(|end| ends.iter().any(|known| end.eq_ignore_ascii_case(known)))
}
