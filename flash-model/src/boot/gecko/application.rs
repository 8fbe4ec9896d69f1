//! Whether an application may be started (simplicity sdk: `btl_bootload.c`, `application_properties.h`).

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use sha2::{Digest, Sha256};

use super::{Gecko, PublicKey};
use crate::flash::{Controller, Flash, FlashError};
use crate::image::gbl::application::{PROPERTIES_MAGIC, signature_type};
use crate::image::gbl::{ApplicationData, ApplicationProperties};
use crate::image::nordic::crc32;

/// Where the vector table points to the properties.
const PROPERTIES_POINTER: u32 = 52;
/// Bytes of the properties that are read at least.
const PROPERTIES_MIN: usize = 60;
/// The major version of the properties.
const MAJOR_VERSION: u32 = 1;
/// Bytes of a vector table, which lies in front of everything.
const VECTORS_LEN: u32 = 64;
/// The CRC-32 of anything with its own CRC-32 behind it.
const CRC_RESIDUE: u32 = 0x2144_df1c;
/// Words for versions that were started (`SL_GBL_APPLICATION_VERSION_STORAGE_CAPACITY`).
const VERSIONS: u32 = 6;
/// The highest version there is was started.
const MAX_MAGIC: u32 = 0x1234_dcba;
/// The versions are to be forgotten.
const RESET_MAGIC: u32 = 0x5839_fbac;

/// Why an application is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unbootable {
    /// There is no program counter: erased, or not whole.
    NoProgramCounter,
    /// The stack pointer is outside of the RAM.
    StackPointer(u32),
    /// The program counter is outside of the flash for applications.
    ProgramCounter(u32),
    /// Secure boot finds no properties.
    NoProperties,
    /// The properties are of a version that is not known.
    PropertiesVersion(u32),
    /// A CRC-32 is wrong.
    Crc,
    /// The certificate is missing, too old, or wrong.
    Certificate,
    /// The signature is missing, or not where it can be.
    NoSignature,
    /// The signature is wrong.
    Signature,
    /// The version is lower than one that was started, or there is no room to remember it.
    Version(u32),
}

impl Gecko {
    /// The properties that a vector table points to, wherever that is. `None` where there are none.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn properties(&self, flash: &Flash, vectors: u32) -> Result<Option<ApplicationProperties>, FlashError> {
        let at = self.map().word(flash, vectors.wrapping_add(PROPERTIES_POINTER))?;
        self.properties_at(flash, at)
    }

    /// Where there is nothing to read, the processor takes a fault.
    fn properties_at(&self, flash: &Flash, at: u32) -> Result<Option<ApplicationProperties>, FlashError> {
        if at == 0 || at == u32::MAX || at < self.map().flash_base() {
            return Ok(None);
        }
        let mut magic = [0; PROPERTIES_MAGIC.len()];
        self.map().read(flash, at, &mut magic)?;
        if magic != PROPERTIES_MAGIC {
            return Ok(None);
        }
        let whole = self.map().place(at, ApplicationProperties::LEN as u32).is_some();
        let mut bytes = vec![0; if whole { ApplicationProperties::LEN } else { PROPERTIES_MIN }];
        self.map().read(flash, at, &mut bytes)?;
        Ok(ApplicationProperties::at(&bytes, at, at))
    }

    /// The version of the application (`bootload_getApplicationVersion`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn application_version(&self, flash: &Flash) -> Result<Option<u32>, FlashError> {
        let properties = self.properties(flash, self.map().application_start())?;
        Ok(properties.map(|properties| properties.application.version))
    }

    /// The version of the bootloader that runs (`bootload_getBootloaderVersion`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bootloader_version(&self, flash: &Flash) -> Result<u32, FlashError> {
        let properties = self.properties(flash, self.map().main_stage())?;
        Ok(properties.map_or(0, |properties| properties.application.version))
    }

    /// Whether this application may follow the one that is there (`parser_applicationUpgradeValidCallback`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn is_upgrade(&self, flash: &Flash, new: &ApplicationData) -> Result<bool, FlashError> {
        let start = self.map().application_start();
        let at = self.map().word(flash, start.wrapping_add(PROPERTIES_POINTER))?;
        if at <= start || at >= self.map().application_end() {
            return Ok(true);
        }
        let Some(old) = self.properties_at(flash, at)? else { return Ok(true) };
        Ok(old.struct_version & 0xff <= MAJOR_VERSION
            && new.version > old.application.version
            && new.product_id == old.application.product_id)
    }

    /// Why the application cannot be started (`bootload_verifyApplication`); `None` when it can.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] where the processor would take a fault.
    pub fn unbootable(&self, flash: &Flash) -> Result<Option<Unbootable>, FlashError> {
        let (map, options) = (self.map(), self.options());
        let start = map.application_start();
        let [stack, counter] = [map.word(flash, start)?, map.word(flash, start + 4)?];
        if counter == u32::MAX {
            return Ok(Some(Unbootable::NoProgramCounter));
        }
        if stack < options.ram.start || stack > options.ram.end {
            return Ok(Some(Unbootable::StackPointer(stack)));
        }
        if counter < start || counter > map.flash_end() {
            return Ok(Some(Unbootable::ProgramCounter(counter)));
        }
        let at = map.word(flash, start + PROPERTIES_POINTER)?;
        if at < start + VECTORS_LEN || at > map.flash_end() {
            return Ok(options.secure_boot.then_some(Unbootable::NoProperties));
        }
        if options.secure_boot {
            return self.not_signed(flash, at);
        }
        let Some(properties) = self.properties_at(flash, at)? else { return Ok(None) };
        if properties.struct_version & 0xff > MAJOR_VERSION {
            return Ok(Some(Unbootable::PropertiesVersion(properties.struct_version)));
        }
        match properties.signature_type {
            signature_type::NONE => Ok(None),
            signature_type::CRC32 => {
                let len = properties.signature_location.wrapping_add(4).wrapping_sub(start);
                let mut crc = 0;
                map.visit(flash, start, len, |piece| crc = crc32(piece, crc))?;
                Ok((crc != CRC_RESIDUE).then_some(Unbootable::Crc))
            }
            _ => self.not_signed(flash, at),
        }
    }

    /// Why secure boot refuses it (`bootload_verifySecureBoot`).
    fn not_signed(&self, flash: &Flash, at: u32) -> Result<Option<Unbootable>, FlashError> {
        let (map, options) = (self.map(), self.options());
        let start = map.application_start();
        let Some(properties) = self.properties_at(flash, at)? else { return Ok(Some(Unbootable::NoProperties)) };
        if properties.struct_version & 0xff > MAJOR_VERSION {
            return Ok(Some(Unbootable::PropertiesVersion(properties.struct_version)));
        }
        let version = properties.application.version;
        if options.rollback_protection && !self.version_allowed(flash, version, true)? {
            return Ok(Some(Unbootable::Version(version)));
        }
        let mut key = options.public_key;
        if let Some(own) = &options.certificate {
            key = Some(own.key);
            let has_one = properties.struct_version & 0xff >= 1
                && properties.struct_version >> 8 >= 1
                && properties.certificate != 0;
            if has_one {
                let mut bytes = [0; 136];
                map.read(flash, properties.certificate, &mut bytes)?;
                let certificate_version = u32::from_le_bytes([bytes[68], bytes[69], bytes[70], bytes[71]]);
                let hash: [u8; 32] = Sha256::digest(&bytes[..72]).into();
                let signature = bytes.last_chunk().copied().unwrap_or([0; 64]);
                if own.version > certificate_version || !self.verify(&hash, &signature, &own.key) {
                    return Ok(Some(Unbootable::Certificate));
                }
                key = bytes[4..68].first_chunk().copied();
            } else if options.reject_direct_signed {
                return Ok(Some(Unbootable::Certificate));
            }
        }
        let location = properties.signature_location;
        if properties.signature_type != signature_type::ECDSA_P256 || location < start || location > map.flash_end() {
            return Ok(Some(Unbootable::NoSignature));
        }
        let mut hash = Sha256::new();
        map.visit(flash, start, location - start, |piece| hash.update(piece))?;
        let mut signature = [0; 64];
        map.read(flash, location, &mut signature)?;
        let valid = key.is_some_and(|key| self.verify(&hash.finalize().into(), &signature, &key));
        Ok((!valid).then_some(Unbootable::Signature))
    }

    /// Checks a signature, r and s, over a SHA-256.
    #[must_use]
    pub fn verify(&self, hash: &[u8; 32], signature: &[u8; 64], key: &PublicKey) -> bool {
        let point = [&[4], key.as_slice()].concat();
        let (Ok(key), Ok(signature)) =
            (p256::ecdsa::VerifyingKey::from_sec1_bytes(&point), p256::ecdsa::Signature::from_slice(signature))
        else {
            return false;
        };
        key.verify_prehash(hash, &signature).is_ok()
    }

    /// The address of a word at the end of the bootloader area: 0 to 5 versions, 6 the highest there is, 7 to be forgotten
    /// (`bootload_getApplicationVersionStoragePtr`).
    fn version_word(&self, index: u32) -> u32 {
        let (start, len) = self.map().bootloader();
        start.wrapping_add(len).wrapping_sub(4 * (index + 1))
    }

    /// How many versions can still be remembered (`bootload_remainingApplicationUpgrades`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn remaining_upgrades(&self, flash: &Flash) -> Result<u32, FlashError> {
        if self.map().word(flash, self.version_word(VERSIONS))? == MAX_MAGIC {
            return Ok(0);
        }
        for index in 0..VERSIONS {
            if self.map().word(flash, self.version_word(index))? == u32::MAX {
                return Ok(VERSIONS - index);
            }
        }
        Ok(0)
    }

    /// The highest version that was started (`getHighestApplicationVersionSeen`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn highest_version(&self, flash: &Flash) -> Result<u32, FlashError> {
        if self.map().word(flash, self.version_word(VERSIONS))? == MAX_MAGIC {
            return Ok(u32::MAX);
        }
        // From the newest on, which has the lowest address.
        for index in (0..VERSIONS).rev() {
            let version = self.map().word(flash, self.version_word(index))?;
            if version != u32::MAX {
                return Ok(version);
            }
        }
        Ok(self.options().minimum_version)
    }

    /// Whether rollback protection lets an application of this version in (`bootload_verifyApplicationVersion`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn version_allowed(&self, flash: &Flash, version: u32, remembers: bool) -> Result<bool, FlashError> {
        let highest = self.highest_version(flash)?;
        if version < self.options().minimum_version || version < highest {
            return Ok(false);
        }
        Ok(!(remembers && version > highest && self.remaining_upgrades(flash)? == 0))
    }

    /// Remembers the version of the application that is about to be started (`bootload_storeApplicationVersion`).
    ///
    /// # Errors
    /// What stops the flash. `false`: it may not be started.
    pub(super) fn remember_version(&self, flash: &mut Controller<'_>) -> Result<bool, FlashError> {
        let now = flash.flash();
        let Some(properties) = self.properties(now, self.map().application_start())? else { return Ok(false) };
        let version = properties.application.version;
        let highest_word = self.map().word(now, self.version_word(VERSIONS))?;
        if highest_word == MAX_MAGIC {
            return Ok(true);
        }
        if highest_word != u32::MAX {
            return Ok(false);
        }
        if self.highest_version(now)? == version {
            return Ok(true);
        }
        let (index, word) = if version == u32::MAX {
            (VERSIONS, MAX_MAGIC)
        } else {
            match self.remaining_upgrades(now)? {
                0 => return Ok(false),
                left => (VERSIONS - left, version),
            }
        };
        self.store(flash, self.version_word(index), &word.to_le_bytes())?;
        Ok(true)
    }

    /// A new bootloader forgets the versions: says so (`bootload_storeApplicationVersionResetMagic`).
    pub(super) fn ask_to_forget(&self, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        if !self.options().rollback_protection {
            return Ok(());
        }
        self.store(flash, self.version_word(VERSIONS + 1), &RESET_MAGIC.to_le_bytes())
    }

    /// Forgets the versions if a new bootloader has said so (`bootload_removeStoredApplicationVersions`).
    pub(super) fn forget_versions(&self, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        let at = self.version_word(VERSIONS + 1);
        let asked = self.map().word(flash.flash(), at)? == RESET_MAGIC;
        if asked && self.remaining_upgrades(flash.flash())? < VERSIONS {
            self.erase_page(flash, at - at % self.map().page())?;
        }
        Ok(())
    }
}
