//! The settings page (nrf5 sdk 17.1: `nrf_dfu_types.h`, `nrf_dfu_settings.c`, `nrf_dfu_settings_svci.c`).
//!
//! | offset | bytes | field | offset | bytes | field |
//! |---|---|---|---|---|---|
//! | 0x00 | 4 | CRC-32 of 0x04..0x5c | 0x40 | 4 | CRC of the init packet |
//! | 0x04 | 4 | version of the settings | 0x44 | 4 | size of the data object |
//! | 0x08 | 4 | version of the application | 0x48 | 4 | CRC of the image; later: start of the update |
//! | 0x0c | 4 | version of the bootloader | 0x4c | 4 | the same at the last executed object |
//! | 0x10 | 4 | bank layout | 0x50 | 4 | offset in the image |
//! | 0x14 | 4 | current bank | 0x54 | 4 | the same at the last executed object |
//! | 0x18 | 12 | bank 0: size, CRC, code | 0x58 | 4 | DFU mode is asked for |
//! | 0x24 | 12 | bank 1: the same | 0x5c | 512 | init packet |
//! | 0x30 | 4 | write offset | 0x25c | 4 | CRC-32 of 0x260..0x323 |
//! | 0x34 | 4 | size of the SoftDevice | 0x260 | 3 x 65 | boot validation: SoftDevice, application, bootloader |
//! | 0x38 | 4 | size of the init packet | 0x324 | 64 | peer data: CRC-32 of the last 60 bytes, data |
//! | 0x3c | 4 | offset in the init packet | 0x364 | 28 | advertising name: CRC-32 of the last 24 bytes, name, length |
//!
//! Version 1 ends the init packet at 0x15c and goes on with peer data there and the name at 0x19c: 440 bytes, no boot
//! validation. A bootloader of version 2 reads such a page and makes version 2 of it.
//!
//! A CRC of 0xffffffff means that none was written. Numbers are little-endian.
//!
//! # Two pages
//!
//! From SDK 15.3 on the page has a backup in the MBR parameters page. A change is written to the settings page and then to
//! the backup, each by an erase and a write, and each only when what is there is different:
//!
//! | power is lost | settings page | backup | what the next boot loads |
//! |---|---|---|---|
//! | before | old | old | old |
//! | in the write of the settings page | torn | old | old |
//! | between the two | new | old | old: where both are valid, the backup decides |
//! | in the write of the backup | new | torn | new |
//! | behind | new | new | new |
//!
//! What the backup does not decide is what an application may write: whether DFU mode is asked for, peer data, and the
//! advertising name. With [`update_from_app`](super::Options::update_from_app) also the progress and the init packet.

use super::bank::{Bank, BankCode, BootValidation, ValidationKind};
use super::crc32;
use super::options::Profile;

/// `sizeof(nrf_dfu_settings_t)` of version 2.
pub const SETTINGS_SIZE: usize = 896;
/// The same of version 1.
pub const SETTINGS_SIZE_V1: usize = 440;
/// `INIT_COMMAND_MAX_SIZE`.
pub const INIT_COMMAND_MAX: usize = 512;

/// Offsets of what is not part of the CRCs, or is read on its own.
pub(super) mod at {
    pub(in crate::boot::nordic) const VERSION: usize = 0x04;
    pub(in crate::boot::nordic) const BANK_CURRENT: usize = 0x14;
    pub(in crate::boot::nordic) const BANK_0: usize = 0x18;
    pub(in crate::boot::nordic) const WRITE_OFFSET: usize = 0x30;
    pub(in crate::boot::nordic) const SD_SIZE: usize = 0x34;
    pub(in crate::boot::nordic) const PROGRESS: usize = 0x38;
    pub(in crate::boot::nordic) const ENTER_DFU: usize = 0x58;
    pub(in crate::boot::nordic) const INIT_COMMAND: usize = 0x5c;
    pub(in crate::boot::nordic) const VALIDATION_CRC: usize = 0x25c;
    pub(in crate::boot::nordic) const VALIDATION: usize = 0x260;
    pub(in crate::boot::nordic) const VALIDATION_END: usize = 0x323;
    pub(in crate::boot::nordic) const PEER_DATA: usize = 0x324;
    pub(in crate::boot::nordic) const ADV_NAME: usize = 0x364;
    pub(in crate::boot::nordic) const PEER_DATA_V1: usize = 0x15c;
    pub(in crate::boot::nordic) const ADV_NAME_V1: usize = 0x19c;
}

/// `dfu_progress_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Progress {
    /// Size of the init packet that was created.
    pub command_size: u32,
    /// Bytes of it that are there.
    pub command_offset: u32,
    /// Their CRC-32.
    pub command_crc: u32,
    /// Size of the data object that was created; 0 when it was executed.
    pub data_object_size: u32,
    /// CRC-32 of what came of the image. When the image is complete the same word is the address where it lies: see
    /// [`Progress::update_start_address`].
    pub image_crc: u32,
    /// The same at the last executed object.
    pub image_crc_last: u32,
    /// Bytes of the image that came.
    pub image_offset: u32,
    /// The same at the last executed object.
    pub image_offset_last: u32,
}

impl Progress {
    /// Where a complete image lies: shares its place with [`Progress::image_crc`].
    #[must_use]
    pub fn update_start_address(&self) -> u32 {
        self.image_crc
    }
}

/// `nrf_dfu_settings_t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// CRC-32 of the first part.
    pub crc: u32,
    /// 1 or 2.
    pub settings_version: u32,
    /// Version of the application that was accepted last.
    pub app_version: u32,
    /// Version of the bootloader that was accepted last.
    pub bootloader_version: u32,
    /// 0 for dual, 1 for single; not used from SDK 15 on.
    pub bank_layout: u32,
    /// 1 when an application has received an update for the bootloader to check.
    pub bank_current: u32,
    /// The application.
    pub bank_0: Bank,
    /// An update.
    pub bank_1: Bank,
    /// Bytes of the object on its way, or of the activation, that are done.
    pub write_offset: u32,
    /// Size of the SoftDevice image in bytes.
    pub sd_size: u32,
    /// How far an update has come.
    pub progress: Progress,
    /// 1 when DFU mode is asked for.
    pub enter_buttonless_dfu: u32,
    /// The init packet.
    pub init_command: [u8; INIT_COMMAND_MAX],
    /// CRC-32 of the boot validations.
    pub boot_validation_crc: u32,
    /// How the SoftDevice is checked at each boot.
    pub boot_validation_softdevice: BootValidation,
    /// How the application is.
    pub boot_validation_app: BootValidation,
    /// Stored, and not looked at.
    pub boot_validation_bootloader: BootValidation,
    /// The byte behind, of no meaning.
    pub padding: u8,
    /// What a bonded peer is recognised by.
    pub peer_data: PeerData,
    /// The name to advertise.
    pub adv_name: AdvName,
}

/// `nrf_dfu_peer_data_t`: written by the application into a page that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerData {
    /// CRC-32 of `data`.
    pub crc: u32,
    /// Identity key (16), address type and address (7), padding (1), encryption key (28), system attributes (8).
    pub data: [u8; 60],
}

/// `nrf_dfu_adv_name_t`: likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvName {
    /// CRC-32 of what follows.
    pub crc: u32,
    /// The name.
    pub name: [u8; 20],
    /// Its length in bytes.
    pub len: u32,
}

impl PeerData {
    /// Where it lies on the settings page, in bytes (settings version 2).
    pub const OFFSET: u32 = at::PEER_DATA as u32;

    /// Where it lies in settings of this version, in bytes.
    #[must_use]
    pub fn offset(settings_version: u32) -> u32 {
        if settings_version == 1 { at::PEER_DATA_V1 as u32 } else { Self::OFFSET }
    }

    /// With its CRC.
    #[must_use]
    pub fn new(data: [u8; 60]) -> Self {
        Self { crc: crc32(&data, 0), data }
    }

    /// Whether the CRC is right (`nrf_dfu_settings_peer_data_is_valid`).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.crc == crc32(&self.data, 0)
    }

    /// The 64 bytes in flash.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[4..].copy_from_slice(&self.data);
        bytes
    }

    /// From the 64 bytes in flash.
    #[must_use]
    pub fn parse(bytes: &[u8; 64]) -> Self {
        let mut data = [0; 60];
        data.copy_from_slice(&bytes[4..]);
        Self { crc: word(bytes, 0), data }
    }
}

impl AdvName {
    /// Where it lies on the settings page, in bytes (settings version 2).
    pub const OFFSET: u32 = at::ADV_NAME as u32;

    /// Where it lies in settings of this version, in bytes.
    #[must_use]
    pub fn offset(settings_version: u32) -> u32 {
        if settings_version == 1 { at::ADV_NAME_V1 as u32 } else { Self::OFFSET }
    }

    /// With its CRC; a name of more than 20 bytes is cut.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let text = text.get(..20).unwrap_or(text);
        let mut name = [0; 20];
        name[..text.len()].copy_from_slice(text);
        let made = Self { crc: 0, name, len: text.len() as u32 };
        Self { crc: crc32(&made.to_bytes()[4..], 0), ..made }
    }

    /// Whether the CRC is right (`nrf_dfu_settings_adv_name_is_valid`).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.crc == crc32(&self.to_bytes()[4..], 0)
    }

    /// The name, if its CRC and length are right.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        self.name.get(..usize::try_from(self.len).ok()?).filter(|_| self.is_valid())
    }

    /// The 28 bytes in flash.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 28] {
        let mut bytes = [0; 28];
        bytes[..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[4..24].copy_from_slice(&self.name);
        bytes[24..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// From the 28 bytes in flash.
    #[must_use]
    pub fn parse(bytes: &[u8; 28]) -> Self {
        let mut name = [0; 20];
        name.copy_from_slice(&bytes[4..24]);
        Self { crc: word(bytes, 0), name, len: word(bytes, 24) }
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    word.map_or(u32::MAX, |word| u32::from_le_bytes(*word))
}

fn chunk<const N: usize>(bytes: &[u8; SETTINGS_SIZE], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0xff; N])
}

impl Settings {
    /// What a bootloader makes of no valid page: zeros and its version.
    #[must_use]
    pub fn blank(profile: Profile) -> Self {
        Self { settings_version: profile.settings_version(), ..Self::parse(&[0; SETTINGS_SIZE]) }
    }

    /// Settings of a device as it leaves the factory: a valid application whose CRC each boot checks, no peer data and no
    /// name, as nrfutil makes them. They are not sealed yet: [`Settings::seal`].
    #[must_use]
    pub fn factory(profile: Profile, app_size: u32, app_crc: u32) -> Self {
        Self {
            bank_0: Bank { image_size: app_size, image_crc: app_crc, code: BankCode::App },
            boot_validation_app: BootValidation::crc(app_crc),
            padding: 0xff,
            peer_data: PeerData::parse(&[0xff; 64]),
            adv_name: AdvName::parse(&[0xff; 28]),
            ..Self::blank(profile)
        }
    }

    /// The fields of a page of version 2, whatever it holds.
    #[must_use]
    pub fn parse(bytes: &[u8; SETTINGS_SIZE]) -> Self {
        let bank = |offset: usize| Bank {
            image_size: word(bytes, offset),
            image_crc: word(bytes, offset + 4),
            code: BankCode::of(word(bytes, offset + 8)),
        };
        let validation = |index: usize| {
            let offset = at::VALIDATION + 65 * index;
            BootValidation { kind: chunk::<1>(bytes, offset)[0], bytes: chunk(bytes, offset + 1) }
        };
        let progress = |index: usize| word(bytes, at::PROGRESS + 4 * index);
        Self {
            crc: word(bytes, 0),
            settings_version: word(bytes, at::VERSION),
            app_version: word(bytes, 0x08),
            bootloader_version: word(bytes, 0x0c),
            bank_layout: word(bytes, 0x10),
            bank_current: word(bytes, at::BANK_CURRENT),
            bank_0: bank(at::BANK_0),
            bank_1: bank(0x24),
            write_offset: word(bytes, at::WRITE_OFFSET),
            sd_size: word(bytes, at::SD_SIZE),
            progress: Progress {
                command_size: progress(0),
                command_offset: progress(1),
                command_crc: progress(2),
                data_object_size: progress(3),
                image_crc: progress(4),
                image_crc_last: progress(5),
                image_offset: progress(6),
                image_offset_last: progress(7),
            },
            enter_buttonless_dfu: word(bytes, at::ENTER_DFU),
            init_command: chunk(bytes, at::INIT_COMMAND),
            boot_validation_crc: word(bytes, at::VALIDATION_CRC),
            boot_validation_softdevice: validation(0),
            boot_validation_app: validation(1),
            boot_validation_bootloader: validation(2),
            padding: chunk::<1>(bytes, at::VALIDATION_END)[0],
            peer_data: PeerData::parse(&chunk(bytes, at::PEER_DATA)),
            adv_name: AdvName::parse(&chunk(bytes, at::ADV_NAME)),
        }
    }

    /// The 896 bytes of version 2, with the CRCs as the fields say.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SETTINGS_SIZE] {
        let mut bytes = [0; SETTINGS_SIZE];
        let mut put = |offset: usize, part: &[u8]| bytes[offset..offset + part.len()].copy_from_slice(part);
        put(0, &self.first_part());
        put(at::INIT_COMMAND, &self.init_command);
        put(at::VALIDATION_CRC, &self.boot_validation_crc.to_le_bytes());
        put(at::VALIDATION, &self.validations());
        put(at::VALIDATION_END, &[self.padding]);
        put(at::PEER_DATA, &self.peer_data.to_bytes());
        put(at::ADV_NAME, &self.adv_name.to_bytes());
        bytes
    }

    /// The 440 bytes of version 1, without what has no place there.
    #[must_use]
    pub fn to_bytes_v1(&self) -> [u8; SETTINGS_SIZE_V1] {
        let mut bytes = [0; SETTINGS_SIZE_V1];
        let mut put = |offset: usize, part: &[u8]| bytes[offset..offset + part.len()].copy_from_slice(part);
        put(0, &self.first_part());
        put(at::INIT_COMMAND, &self.init_command[..at::PEER_DATA_V1 - at::INIT_COMMAND]);
        put(at::PEER_DATA_V1, &self.peer_data.to_bytes());
        put(at::ADV_NAME_V1, &self.adv_name.to_bytes());
        bytes
    }

    /// The fields of a page of version 1 as a bootloader of its time reads them.
    #[must_use]
    pub fn parse_v1(bytes: &[u8; SETTINGS_SIZE_V1]) -> Self {
        let mut wide = [0xff; SETTINGS_SIZE];
        let end = at::PEER_DATA_V1;
        wide[..end].copy_from_slice(&bytes[..end]);
        let mut read = Self::parse(&wide);
        (read.boot_validation_crc, read.padding) = (0, 0);
        read.boot_validation_softdevice = BootValidation::NONE;
        read.boot_validation_app = BootValidation::NONE;
        read.boot_validation_bootloader = BootValidation::NONE;
        read.peer_data = PeerData::parse(bytes[end..].first_chunk().unwrap_or(&[0xff; 64]));
        read.adv_name = AdvName::parse(bytes[at::ADV_NAME_V1..].first_chunk().unwrap_or(&[0xff; 28]));
        read
    }

    fn first_part(&self) -> [u8; at::INIT_COMMAND] {
        let (bank_0, bank_1, progress) = (self.bank_0, self.bank_1, self.progress);
        let words = [
            self.crc,
            self.settings_version,
            self.app_version,
            self.bootloader_version,
            self.bank_layout,
            self.bank_current,
            bank_0.image_size,
            bank_0.image_crc,
            bank_0.code.number(),
            bank_1.image_size,
            bank_1.image_crc,
            bank_1.code.number(),
            self.write_offset,
            self.sd_size,
            progress.command_size,
            progress.command_offset,
            progress.command_crc,
            progress.data_object_size,
            progress.image_crc,
            progress.image_crc_last,
            progress.image_offset,
            progress.image_offset_last,
            self.enter_buttonless_dfu,
        ];
        let mut bytes = [0; at::INIT_COMMAND];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn validations(&self) -> [u8; 195] {
        let mut bytes = [0; 195];
        let all = [&self.boot_validation_softdevice, &self.boot_validation_app, &self.boot_validation_bootloader];
        for (bytes, validation) in bytes.chunks_exact_mut(65).zip(all) {
            bytes[0] = validation.kind;
            bytes[1..].copy_from_slice(&validation.bytes);
        }
        bytes
    }

    /// The CRC-32 that the first part should have (`settings_crc_get`).
    #[must_use]
    pub fn expected_crc(&self) -> u32 {
        crc32(&self.first_part()[at::VERSION..], 0)
    }

    /// The CRC-32 that the boot validations should have (`boot_validation_crc`).
    #[must_use]
    pub fn expected_boot_validation_crc(&self) -> u32 {
        crc32(&self.validations(), 0)
    }

    /// Sets both CRCs.
    pub fn seal(&mut self) {
        self.crc = self.expected_crc();
        self.boot_validation_crc = self.expected_boot_validation_crc();
    }

    /// Whether the first CRC was written and is right (`crc_ok`).
    #[must_use]
    pub fn crc_ok(&self) -> bool {
        self.crc != u32::MAX && self.crc == self.expected_crc()
    }

    /// Whether a backup is valid (`settings_backup_crc_ok`).
    #[must_use]
    pub fn backup_ok(&self) -> bool {
        self.crc_ok() && (self.settings_version == 1 || self.boot_validation_crc == self.expected_boot_validation_crc())
    }

    /// Makes version 2 of a page of version 1; `raw` is the page (`nrf_dfu_settings_reinit`).
    pub(super) fn upgrade(&mut self, raw: &[u8; SETTINGS_SIZE]) {
        self.peer_data = PeerData::parse(&chunk(raw, at::PEER_DATA_V1));
        self.adv_name = AdvName::parse(&chunk(raw, at::ADV_NAME_V1));
        self.boot_validation_softdevice.kind = ValidationKind::None.number();
        self.boot_validation_app.kind = ValidationKind::Crc.number();
        self.boot_validation_bootloader.kind = ValidationKind::None.number();
        self.boot_validation_app.bytes[..4].copy_from_slice(&self.bank_0.image_crc.to_le_bytes());
        self.settings_version = 2;
    }

    /// Forgets the init packet and all progress (`nrf_dfu_settings_progress_reset`).
    pub fn progress_reset(&mut self) {
        self.init_command = [0xff; INIT_COMMAND_MAX];
        self.progress = Progress::default();
        self.write_offset = 0;
    }

    /// `nrf_dfu_bank_invalidate` of bank 0.
    pub fn invalidate_bank_0(&mut self) {
        self.bank_0 = Bank::INVALID;
        self.write_offset = 0;
    }

    /// `nrf_dfu_bank_invalidate` of bank 1.
    pub fn invalidate_bank_1(&mut self) {
        self.bank_1 = Bank::INVALID;
        self.write_offset = 0;
    }

    /// The part of the init packet that is there.
    #[must_use]
    pub fn stored_init_command(&self) -> &[u8] {
        let len = usize::try_from(self.progress.command_size).unwrap_or(usize::MAX);
        self.init_command.get(..len).unwrap_or(&self.init_command)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_come_back(bytes in prop::collection::vec(any::<u8>(), SETTINGS_SIZE)) {
            let wide: [u8; SETTINGS_SIZE] = bytes.as_slice().try_into().unwrap();
            let mut read = Settings::parse(&wide);
            prop_assert_eq!(read.to_bytes(), wide);
            let narrow: [u8; SETTINGS_SIZE_V1] = *bytes.first_chunk().unwrap();
            prop_assert_eq!(Settings::parse_v1(&narrow).to_bytes_v1(), narrow);
            read.seal();
            prop_assert!(read.crc == u32::MAX || read.crc_ok() && read.backup_ok());
            prop_assert_eq!(Settings::parse(&read.to_bytes()), read);
        }

        #[test]
        fn a_changed_bit_of_a_crc_is_found(at in 4usize..0x5c, bit in 0u8..8) {
            let mut settings = Settings::factory(Profile::V17_1, 1000, 0x1234_5678);
            settings.seal();
            let mut bytes = settings.to_bytes();
            bytes[at] ^= 1 << bit;
            prop_assert!(!Settings::parse(&bytes).crc_ok());
        }
    }

    #[test]
    fn peer_data_and_names_have_their_crcs() {
        let name = AdvName::new(b"a name that is longer than there is room");
        assert_eq!((name.text(), name.len), (Some(&b"a name that is longe"[..]), 20));
        assert!(!AdvName { len: 21, ..name }.is_valid());
        assert_eq!(AdvName::parse(&name.to_bytes()), name);
        let peer = PeerData::new([9; 60]);
        assert!(peer.is_valid() && PeerData::parse(&peer.to_bytes()) == peer);
        assert!(!PeerData::parse(&[0xff; 64]).is_valid() && !PeerData::parse(&[0; 64]).is_valid());
    }

    #[test]
    fn version_1_becomes_version_2() {
        let mut old = Settings::factory(Profile::V15_0, 1000, 0x1234_5678);
        old.adv_name = AdvName::new(b"old");
        old.seal();
        let mut raw = [0xff; SETTINGS_SIZE];
        raw[..SETTINGS_SIZE_V1].copy_from_slice(&old.to_bytes_v1());
        let mut read = Settings::parse(&raw);
        assert!(read.crc_ok() && read.backup_ok());
        read.upgrade(&raw);
        assert_eq!((read.settings_version, read.adv_name), (2, old.adv_name));
        assert_eq!(read.boot_validation_app.crc_value(), 0x1234_5678);
        // Whatever stood behind a page of version 1 stays in the validation.
        assert_eq!(read.boot_validation_app.bytes[4..], [0xff; 60]);
    }
}
