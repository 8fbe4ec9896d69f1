//! What TLVs and header flags are, in words (mcuboot: `boot/bootutil/include/bootutil/image.h`).

use super::header::flags;
use super::tlv::{self, Dependency};

/// What a TLV type is for.
#[must_use]
pub fn tlv_type(kind: u16) -> &'static str {
    match kind {
        tlv::KEY_HASH => "SHA-256 of the public key of the signature that follows",
        tlv::PUBLIC_KEY => "the public key of the signature that follows",
        tlv::SHA256 => "SHA-256 of header, payload and protected TLVs: the hash that names the image",
        0x11 => "SHA-384 of header, payload and protected TLVs",
        0x12 => "SHA-512 of header, payload and protected TLVs",
        0x20 => "signature, RSA-2048 with PSS",
        0x21 => "signature, ECDSA over P-224",
        tlv::ECDSA_SIGNATURE => "signature, ECDSA in DER form",
        0x23 => "signature, RSA-3072 with PSS",
        0x24 => "signature, Ed25519",
        0x25 => "the signature is over the image itself, not over its hash",
        0x30 => "key of the payload, encrypted with RSA-2048",
        0x31 => "key of the payload, encrypted with AES key wrap",
        0x32 => "key of the payload, encrypted with ECIES over P-256",
        0x33 => "key of the payload, encrypted with ECIES over X25519",
        0x34 => "key of the payload, encrypted with ECIES over X25519, with SHA-512",
        tlv::DEPENDENCY => "version that another image must at least have",
        tlv::SECURITY_COUNTER => "security counter: an image with a lower one is refused",
        0x60 => "boot record for the measured boot, CBOR",
        0x70 => "size of the payload after decompression",
        0x71 => "hash of the image after decompression",
        0x72 => "signature of the image after decompression",
        0x73 => "size of the compressed payload after decryption",
        0x74 => "id of the vendor, a UUID",
        0x75 => "id of the device class, a UUID",
        kind if kind & 0xff >= 0xa0 => "for the vendor's own use",
        _ => "of no known type",
    }
}

/// What the value of a TLV says, where its bytes alone do not.
#[must_use]
pub fn tlv_value(kind: u16, value: &[u8]) -> Option<String> {
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).ok();
    match kind {
        tlv::SECURITY_COUNTER | 0x70 | 0x73 => word(value).map(|value| value.to_string()),
        tlv::DEPENDENCY => {
            let needed = Dependency::parse(value)?;
            Some(format!("image {}, version {} or newer", needed.image, needed.min_version))
        }
        _ => None,
    }
}

/// The header flags that are set, in words; unknown ones as numbers.
#[must_use]
pub fn header_flags(set: u32) -> Vec<String> {
    const KNOWN: [(u32, &str); 9] = [
        (0x1, "position independent"),
        (flags::ENCRYPTED_AES128, "encrypted with AES-128"),
        (flags::ENCRYPTED_AES256, "encrypted with AES-256"),
        (flags::NON_BOOTABLE, "not bootable by itself"),
        (0x20, "runs from RAM"),
        (0x100, "for one address only"),
        (flags::COMPRESSED_LZMA1, "compressed with LZMA1"),
        (flags::COMPRESSED_LZMA2, "compressed with LZMA2"),
        (0x800, "compressed with the ARM Thumb filter"),
    ];
    let mut words: Vec<String> =
        KNOWN.iter().filter(|(flag, _)| set & flag != 0).map(|(_, word)| (*word).to_owned()).collect();
    let known = KNOWN.iter().fold(0, |all, (flag, _)| all | flag);
    if set & !known != 0 {
        words.push(format!("unknown flags {:#x}", set & !known));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(tlv_value(tlv::SECURITY_COUNTER, &[7, 0, 0, 0]), Some("7".into()));
        assert_eq!(tlv_value(tlv::SECURITY_COUNTER, &[7]), None);
        let dependency = [1, 0, 0, 0, 2, 3, 4, 0, 0, 0, 0, 0];
        assert_eq!(tlv_value(tlv::DEPENDENCY, &dependency), Some("image 1, version 2.3.4 or newer".into()));
        assert_eq!(tlv_value(tlv::DEPENDENCY, &dependency[..11]), None);
        assert_eq!(header_flags(0x4014), ["encrypted with AES-128", "not bootable by itself", "unknown flags 0x4000"]);
    }
}
