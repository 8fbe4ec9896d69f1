//! Applications that are recognized when they run.
//!
//! Nothing in flash says where an application ends, and behind a short one the rest of a longer one before it is left. So it
//! is looked for where the file had it.

use brickproof_flash_model::flash::Flash;
use sha2::{Digest, Sha256};

use super::config::SilabsBoard;
use crate::world::trimmed_sha256;

/// An application that may come to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownApplication {
    /// Addresses and bytes of its parts, in their order.
    parts: Vec<(u32, u32)>,
    hash: [u8; 32],
}

impl KnownApplication {
    /// The application that a file has these programs of: addresses and bytes.
    #[must_use]
    pub fn new(programs: &[(u32, Vec<u8>)]) -> Self {
        let mut hash = Sha256::new();
        let mut parts = Vec::new();
        for (address, bytes) in programs {
            hash.update(bytes);
            parts.push((*address, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        Self { parts, hash: hash.finalize().into() }
    }

    /// SHA-256 of its bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    fn is_in(&self, own: &SilabsBoard, flash: &Flash) -> bool {
        let mut hash = Sha256::new();
        let read = self.parts.iter().all(|(address, len)| {
            own.bootloader.map().visit(flash, *address, *len, |piece| hash.update(piece)).is_ok()
        });
        read && <[u8; 32]>::from(hash.finalize()) == self.hash
    }
}

impl SilabsBoard {
    /// What the application in flash is known by: the hash of a known one, or of all in its partition without the erased bytes
    /// at the end; `None` where nothing is.
    #[must_use]
    pub fn application_hash(&self, flash: &Flash) -> Option<[u8; 32]> {
        if let Some(known) = self.known.iter().find(|known| known.is_in(self, flash)) {
            return Some(known.hash);
        }
        let map = self.bootloader.map();
        let mut bytes = Vec::new();
        map.visit(flash, map.application_start(), map.application_len(), |piece| bytes.extend_from_slice(piece))
            .ok()?;
        bytes.iter().any(|byte| *byte != 0xff).then(|| trimmed_sha256(&bytes))
    }
}
