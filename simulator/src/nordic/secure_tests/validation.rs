//! The model's reading of `nrf_dfu_validation.c`, `nrf_dfu_ver_validation.c` and `nrf_dfu_utils.c`, with the options of
//! `pca10056_s140_ble`.

use brickproof_flash_model::image::nordic::{FwType, crc32, verify};
use sha2::{Digest, Sha256};

use super::model::{Model, at};
use super::packets::{Signed, key};
use super::{BOOTLOADER_SIZE, PAGE, REGION_END};

const MBR_SIZE: u32 = 0x1000;
const MAGIC: u32 = 0x51b1_e5db;

impl Model<'_> {
    fn word(&self, address: u32) -> u32 {
        let at = address as usize;
        u32::from_le_bytes(self.flash[at..at + 4].try_into().unwrap())
    }

    fn bytes(&self, address: u32, len: u32) -> &[u8] {
        &self.flash[address as usize..(address + len) as usize]
    }

    fn softdevice_at(&self, base: u32) -> bool {
        self.word(base + 0x2004) == MAGIC
    }

    fn bank_0_start(&self) -> u32 {
        if self.softdevice_at(MBR_SIZE) { self.word(MBR_SIZE + 0x2008).next_multiple_of(PAGE) } else { MBR_SIZE }
    }

    pub(super) fn bank_1_start(&self) -> u32 {
        (self.bank_0_start() + self.get(at::BANK_0)).next_multiple_of(PAGE)
    }

    /// `stored_init_cmd_decode`: looked up. Of a packet with a signature that is not all there, the bytes that are missing
    /// are what the buffer is filled with.
    pub(super) fn decode(&mut self) -> bool {
        let size = self.get(at::COMMAND_SIZE) as usize;
        let stored = &self.settings[at::INIT_COMMAND..at::INIT_COMMAND + size.min(512)];
        let found = self
            .known
            .iter()
            .find(|known| known.bytes.len() == size && stored.starts_with(&known.bytes[..known.unsigned_len()]));
        if found.is_some() {
            self.init = found;
        }
        found.is_some()
    }

    /// `nrf_dfu_validation_init_cmd_execute`.
    pub(super) fn execute_init(&mut self) -> Result<(), u16> {
        if self.get(at::COMMAND_OFFSET) != self.get(at::COMMAND_SIZE) {
            return Err(0x08);
        }
        if self.valid {
            self.start = self.bank_1_start();
            self.size = self.update_size()?;
            return Ok(());
        }
        if !self.decode() {
            return Err(0x05);
        }
        (self.start, self.size) = (0, 0);
        let accepted = self.prevalidate().and_then(|()| {
            self.size = self.update_size()?;
            self.start = self.make_room()?;
            Ok(())
        });
        match accepted {
            Ok(()) => self.valid = true,
            Err(_) => self.progress_reset(),
        }
        accepted
    }

    fn prevalidate(&self) -> Result<(), u16> {
        let known = self.init.unwrap();
        let command = &known.command;
        let kind = command.fw_type.unwrap_or(FwType::Application);
        if kind != FwType::Application || self.built.signed {
            let stored = &self.settings[at::INIT_COMMAND..][..known.bytes.len()];
            match known.signed {
                Signed::No => return Err(0x0b08),
                Signed::By { kind, .. } if kind != 0 => return Err(0x0b0b),
                Signed::By { len, .. } if len != 64 => return Err(0x0a),
                Signed::By { right, .. } if !right || stored != known.bytes => return Err(0x05),
                Signed::By { .. } => {}
            }
        }
        if command.fw_type.is_none() || kind.code() > 3 {
            return Err(0x0b04);
        }
        if command.hash.as_ref().is_none_or(|hash| hash.kind.code() != 3) {
            return Err(0x0b09);
        }
        if self.built.debug && command.is_debug == Some(true) {
            return Ok(());
        }
        match command.hw_version {
            None => return Err(0x0b04),
            Some(52) => {}
            Some(_) => return Err(0x0b06),
        }
        if !self.softdevice_suits() {
            return Err(0x0b07);
        }
        match command.fw_version {
            Some(version) if !self.version_suits(kind, version) => Err(0x0b05),
            None if kind == FwType::Application && self.built.downgrades => Ok(()),
            None if kind != FwType::Softdevice => Err(0x0b04),
            Some(_) | None => Ok(()),
        }
    }

    /// `sd_req_ok`.
    fn softdevice_suits(&self) -> bool {
        let command = &self.init.unwrap().command;
        let kind = command.fw_type.unwrap();
        let prevents = !self.built.downgrades || kind == FwType::Softdevice;
        let installed = self.word(MBR_SIZE + 0x200c) & 0xffff;
        let ids = &command.sd_req;
        if !self.softdevice_at(MBR_SIZE) {
            return ids.first().is_none_or(|first| *first == 0) && (!prevents || command.fw_version.is_some());
        }
        match ids.first() {
            None => false,
            Some(0) if kind == FwType::Application => !prevents || ids.len() == 1,
            Some(0) => !prevents || kind != FwType::Softdevice,
            Some(_) => ids.contains(&installed),
        }
    }

    /// `fw_version_ok`.
    fn version_suits(&self, kind: FwType, version: u32) -> bool {
        if kind.has_bootloader() {
            return version > self.get(at::BOOTLOADER_VERSION);
        }
        let installed = self.get(at::APP_VERSION);
        self.built.downgrades || version > installed || version == installed && self.built.same_version
    }

    /// `update_data_size_get`.
    fn update_size(&self) -> Result<u32, u16> {
        let command = &self.init.unwrap().command;
        let kind = command.fw_type.unwrap_or(FwType::Application);
        let mut size = 0;
        if let (FwType::Application, Some(len)) = (kind, command.app_size) {
            size = len;
        } else {
            if kind.has_softdevice() {
                size = command.sd_size.unwrap_or(0);
            }
            if let Some(len) = command.bl_size.filter(|_| kind.has_bootloader()) {
                if len > BOOTLOADER_SIZE {
                    return Err(0x04);
                }
                size += len;
            }
        }
        if size > 0 { Ok(size) } else { Err(0x0b04) }
    }

    /// `nrf_dfu_cache_prepare` of a bootloader that keeps the SoftDevice.
    fn make_room(&mut self) -> Result<u32, u16> {
        let kind = self.init.unwrap().command.fw_type.unwrap();
        let single = self.built.single && matches!(kind, FwType::Application | FwType::Softdevice);
        let keeps = self.built.force_dual && self.get(at::BANK_0 + 8) == 1;
        let fits = |from: u32| self.size <= REGION_END - from;
        let beside = fits(self.bank_1_start());
        if !(beside && !single || keeps) {
            if !fits(self.bank_0_start()) {
                return Err(0x04);
            }
            self.settings[at::BANK_0..at::BANK_1].fill(0);
            self.set(at::WRITE_OFFSET, 0);
        } else if !beside {
            return Err(0x04);
        }
        Ok(self.bank_1_start())
    }

    /// `postvalidate`, trusted.
    pub(super) fn postvalidate(&mut self) -> Result<(), u16> {
        let (start, len) = (self.start, self.size);
        // Without an init packet there is nothing to compare with, and at address 0 nothing to hash.
        let hash_ok = start != 0
            && self.init.is_some_and(|known| {
                let mut hash = Sha256::digest(self.bytes(start, len)).to_vec();
                hash.reverse();
                known.command.hash.as_ref().is_some_and(|wanted| wanted.bytes == hash)
            });
        let result = if !hash_ok {
            Err(0x0b0c)
        } else if self.init.unwrap().command.fw_type == Some(FwType::Application) {
            self.accept_application()
        } else {
            self.accept_softdevice_and_bootloader()
        };
        match result {
            Ok(()) => {
                let crc = crc32(self.bytes(start, len), 0);
                self.set(at::BANK_1 + 4, crc);
                self.set(at::BANK_1, len);
            }
            Err(_) => {
                self.settings[at::BANK_1..at::WRITE_OFFSET].fill(0);
                self.set(at::WRITE_OFFSET, 0);
            }
        }
        self.progress_reset();
        self.set(at::IMAGE_CRC, start);
        result
    }

    fn accept_application(&mut self) -> Result<(), u16> {
        let validation = self.validation(0, self.start, self.size, 1).ok_or(0x05_u16)?;
        self.settings[at::VALIDATIONS + 65..][..65].copy_from_slice(&validation);
        self.set(at::BANK_1 + 8, 0x01);
        self.set(at::BANK_0 + 8, 0);
        let command = &self.init.unwrap().command;
        if !(self.built.debug && command.is_debug == Some(true)) {
            self.set(at::APP_VERSION, command.fw_version.unwrap_or(0));
        }
        Ok(())
    }

    fn accept_softdevice_and_bootloader(&mut self) -> Result<(), u16> {
        let command = &self.init.unwrap().command;
        let kind = command.fw_type.unwrap();
        let (with_sd, with_bl) = (kind.has_softdevice(), kind.has_bootloader());
        let sd_size = command.sd_size.filter(|_| with_sd).unwrap_or(0);
        let installed = self.softdevice_at(MBR_SIZE);
        let major = |base: u32| self.word(base + 0x2014) / 1_000_000;
        let mut changes = false;
        let mut of_softdevice = None;
        if with_sd {
            if !self.softdevice_at(self.start)
                || self.word(self.start + 0x2008) < (sd_size + MBR_SIZE).next_multiple_of(PAGE)
                || installed && self.word(MBR_SIZE + 0x2010) != self.word(self.start + 0x2010)
            {
                return Err(0x05);
            }
            changes = !installed || major(MBR_SIZE) != major(self.start);
            if changes && !with_bl {
                return Err(0x05);
            }
            of_softdevice = Some(self.validation(0, self.start, sd_size, 1).ok_or(0x05_u16)?);
        }
        let mut of_bootloader = None;
        if with_bl {
            let index = usize::from(with_sd);
            let validation = self.validation(index, self.start + sd_size, self.size - sd_size, 0);
            of_bootloader = Some(validation.ok_or(0x05_u16)?);
        }
        if let Some(validation) = of_softdevice {
            if changes {
                self.settings[at::BANK_0..at::BANK_1].fill(0);
                self.set(at::WRITE_OFFSET, 0);
            }
            self.settings[at::VALIDATIONS..][..65].copy_from_slice(&validation);
            self.set(at::SD_SIZE, sd_size);
        }
        self.set(at::BANK_1 + 8, [0, 0xa5, 0xaa, 0xac][usize::from(kind.code())]);
        if let Some(validation) = of_bootloader {
            self.settings[at::VALIDATIONS + 130..][..65].copy_from_slice(&validation);
            if !(self.built.debug && command.is_debug == Some(true)) {
                self.set(at::BOOTLOADER_VERSION, command.fw_version.unwrap_or(0));
            }
        }
        Ok(())
    }

    /// `boot_validation_extract`: type and 64 bytes.
    fn validation(&self, index: usize, start: u32, len: u32, default: u8) -> Option<[u8; 65]> {
        let entry = self.init.unwrap().command.boot_validation.get(index);
        let image = self.bytes(start, len);
        let mut validation = [0; 65];
        validation[0] = entry.map_or(default, |entry| entry.kind.code());
        match validation[0] {
            0 => {}
            1 => validation[1..5].copy_from_slice(&crc32(image, 0).to_le_bytes()),
            2 => validation[1..33].copy_from_slice(&Sha256::digest(image)),
            3 => {
                let signature = &entry?.bytes;
                validation[1..][..signature.len()].copy_from_slice(signature);
                if !verify(key().public(), image, &validation[1..]) {
                    return None;
                }
            }
            _ => return None,
        }
        Some(validation)
    }
}
