//! The TLV areas behind the payload.

use super::header::ImageHeader;
use super::verify::{ImageError, ImageSource};
use super::version::ImageVersion;

/// Magic of the unprotected TLV area.
pub const INFO_MAGIC: u16 = 0x6907;
/// Magic of the protected TLV area.
pub const PROTECTED_INFO_MAGIC: u16 = 0x6908;
/// Size of the header of an area and of an entry.
pub const TLV_HEADER_LEN: u32 = 4;

/// SHA-256 of the public key of the signature that follows.
pub const KEY_HASH: u16 = 0x01;
/// Whole public key of the signature that follows.
pub const PUBLIC_KEY: u16 = 0x02;
/// SHA-256 image hash.
pub const SHA256: u16 = 0x10;
/// RSA-2048 signature with PSS.
pub const RSA2048_SIGNATURE: u16 = 0x20;
/// ECDSA signature, DER.
pub const ECDSA_SIGNATURE: u16 = 0x22;
/// RSA-3072 signature with PSS.
pub const RSA3072_SIGNATURE: u16 = 0x23;
/// Ed25519 signature over the image hash.
pub const ED25519_SIGNATURE: u16 = 0x24;
/// Required version of another image.
pub const DEPENDENCY: u16 = 0x40;
/// Security counter, 32 bits.
pub const SECURITY_COUNTER: u16 = 0x50;

/// Types that may stand in the unprotected area (mcuboot: `image_validate.c`,
/// `allowed_unprot_tlvs`, without pure signatures and HMAC-SHA512).
const ALLOWED_UNPROTECTED: [u16; 14] = [
    KEY_HASH,
    PUBLIC_KEY,
    SHA256,
    0x11,
    0x12,
    RSA2048_SIGNATURE,
    0x21,
    ECDSA_SIGNATURE,
    RSA3072_SIGNATURE,
    ED25519_SIGNATURE,
    0x30,
    0x31,
    0x32,
    0x33,
];

/// Whether the bootloader accepts this type outside the protected area.
#[must_use]
pub fn allowed_unprotected(kind: u16) -> bool {
    ALLOWED_UNPROTECTED.contains(&kind)
}

/// The name of a type, as MCUboot has it.
#[must_use]
pub fn name(kind: u16) -> &'static str {
    match kind {
        KEY_HASH => "KEYHASH",
        PUBLIC_KEY => "PUBKEY",
        SHA256 => "SHA256",
        0x11 => "SHA384",
        0x12 => "SHA512",
        RSA2048_SIGNATURE => "RSA2048_PSS",
        0x21 => "ECDSA224",
        ECDSA_SIGNATURE => "ECDSA_SIG",
        RSA3072_SIGNATURE => "RSA3072_PSS",
        ED25519_SIGNATURE => "ED25519",
        0x25 => "SIG_PURE",
        0x30 => "ENC_RSA2048",
        0x31 => "ENC_KW",
        0x32 => "ENC_EC256",
        0x33 => "ENC_X25519",
        DEPENDENCY => "DEPENDENCY",
        SECURITY_COUNTER => "SEC_CNT",
        0x34 => "ENC_X25519_SHA512",
        0x60 => "BOOT_RECORD",
        0x70 => "DECOMP_SIZE",
        0x71 => "DECOMP_SHA",
        0x72 => "DECOMP_SIGNATURE",
        0x73 => "COMP_DEC_SIZE",
        0x74 => "UUID_VID",
        0x75 => "UUID_CID",
        kind if kind & 0xff >= 0xa0 => "vendor",
        _ => "unknown",
    }
}

/// One TLV entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvEntry {
    /// Type.
    pub kind: u16,
    /// Offset of the value from the start of the image.
    pub offset: u32,
    /// Length of the value in bytes.
    pub len: u16,
    /// Whether it lies in the protected area.
    pub protected: bool,
}

/// Walks both areas as the bootloader does (mcuboot: `tlv.c`).
#[derive(Debug, Clone)]
pub struct TlvWalk {
    at: u32,
    protected_end: u32,
    end: u32,
    has_protected: bool,
}

impl TlvWalk {
    /// Checks the headers of the areas and stands before the first entry.
    ///
    /// # Errors
    /// [`ImageError::TlvMagic`] and [`ImageError::ProtectedTlvSize`].
    pub fn begin(source: &dyn ImageSource, header: &ImageHeader) -> Result<Self, ImageError> {
        let start = header.tlv_offset().ok_or(ImageError::HeaderSizes { slot_len: source.len() })?;
        let protected = u32::from(header.protected_tlv_size);
        let overflow = || ImageError::TlvOverrun { offset: start };
        let (mut magic, mut total) = area_header(source, start)?;
        if magic == PROTECTED_INFO_MAGIC {
            if u32::from(total) != protected {
                return Err(ImageError::ProtectedTlvSize { header: header.protected_tlv_size, area: total });
            }
            (magic, total) = area_header(source, start.checked_add(total.into()).ok_or_else(overflow)?)?;
        } else if protected != 0 {
            return Err(ImageError::ProtectedTlvSize { header: header.protected_tlv_size, area: 0 });
        }
        if magic != INFO_MAGIC {
            return Err(ImageError::TlvMagic { found: magic });
        }
        let protected_end = start.checked_add(protected).ok_or_else(overflow)?;
        Ok(Self {
            at: start.checked_add(TLV_HEADER_LEN).ok_or_else(overflow)?,
            protected_end,
            end: protected_end.checked_add(total.into()).ok_or_else(overflow)?,
            has_protected: protected > 0,
        })
    }

    /// Offset behind the last TLV area: the size of the image.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The next entry of the protected area; `None` at its end.
    ///
    /// # Errors
    /// [`ImageError::TlvOverrun`] when an entry reaches beyond that area or the source.
    pub fn next_protected(&mut self, source: &dyn ImageSource) -> Result<Option<TlvEntry>, ImageError> {
        if self.at >= self.protected_end {
            return Ok(None);
        }
        self.entry(source, self.protected_end)
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`ImageError::TlvOverrun`] when an entry reaches beyond the areas or the source.
    pub fn next_entry(&mut self, source: &dyn ImageSource) -> Result<Option<TlvEntry>, ImageError> {
        if self.has_protected && self.at == self.protected_end {
            self.at += TLV_HEADER_LEN;
        }
        if self.at >= self.end {
            return Ok(None);
        }
        self.entry(source, self.end)
    }

    /// The entry at `self.at`, which must be in front of `end`.
    fn entry(&mut self, source: &dyn ImageSource, end: u32) -> Result<Option<TlvEntry>, ImageError> {
        let overrun = ImageError::TlvOverrun { offset: self.at };
        if end - self.at < TLV_HEADER_LEN {
            return Err(overrun);
        }
        let (kind, len) = pair(source, self.at).ok_or_else(|| overrun.clone())?;
        let offset = self.at + TLV_HEADER_LEN;
        if u32::from(len) > end - offset {
            return Err(overrun);
        }
        let protected = self.at < self.protected_end;
        self.at = offset + u32::from(len);
        Ok(Some(TlvEntry { kind, offset, len, protected }))
    }
}

/// The security counter of an image; `None` without one in the protected area (mcuboot:
/// `bootutil_get_img_security_cnt`).
#[must_use]
pub fn security_counter(source: &dyn ImageSource, header: &ImageHeader) -> Option<u32> {
    let mut walk = TlvWalk::begin(source, header).ok()?;
    while let Some(entry) = walk.next_protected(source).ok()? {
        if entry.kind == SECURITY_COUNTER {
            let mut value = [0; 4];
            return (entry.len == 4 && source.read(entry.offset, &mut value)).then(|| u32::from_le_bytes(value));
        }
    }
    None
}

/// What an image needs of another one: the value of a [`DEPENDENCY`] TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// Number of the other image.
    pub image: u8,
    /// Least version of it.
    pub min_version: ImageVersion,
}

impl Dependency {
    /// Length of the value in bytes.
    pub const LEN: usize = 12;

    /// Reads the value; `None` when it has not the right length.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value: &[u8; Self::LEN] = value.try_into().ok()?;
        Some(Self {
            image: value[0],
            min_version: ImageVersion {
                major: value[4],
                minor: value[5],
                revision: u16::from_le_bytes([value[6], value[7]]),
                build: u32::from_le_bytes([value[8], value[9], value[10], value[11]]),
            },
        })
    }

    /// The bytes of the value.
    #[must_use]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut value = [0; Self::LEN];
        value[0] = self.image;
        value[4] = self.min_version.major;
        value[5] = self.min_version.minor;
        value[6..8].copy_from_slice(&self.min_version.revision.to_le_bytes());
        value[8..].copy_from_slice(&self.min_version.build.to_le_bytes());
        value
    }

    pub(crate) fn read(source: &dyn ImageSource, entry: &TlvEntry) -> Option<Self> {
        let mut value = [0; Self::LEN];
        (usize::from(entry.len) == Self::LEN && source.read(entry.offset, &mut value))
            .then(|| Self::parse(&value))
            .flatten()
    }
}

fn area_header(source: &dyn ImageSource, offset: u32) -> Result<(u16, u16), ImageError> {
    pair(source, offset).ok_or(ImageError::TlvOverrun { offset })
}

fn pair(source: &dyn ImageSource, offset: u32) -> Option<(u16, u16)> {
    let mut bytes = [0; TLV_HEADER_LEN as usize];
    source
        .read(offset, &mut bytes)
        .then(|| (u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]])))
}
