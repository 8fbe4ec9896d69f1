//! The enumerations of the init packet. A device keeps each of them in one byte and takes any value there; which values
//! it knows is decided later, so they stay distinguishable here.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A number without a meaning; never one of the above when it was read.
            Other(u8),
        }

        impl $name {
            /// All that have a meaning.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What the number on the wire means.
            #[must_use]
            pub fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// The number on the wire.
            #[must_use]
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// Its name in the schema; `None` for a number without a meaning.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)*
                    Self::Other(_) => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}", self.code()),
                }
            }
        }
    };
}

codes! {
    /// What an image replaces.
    FwType {
        /// The application.
        Application = 0 "APPLICATION",
        /// The SoftDevice, Nordic's BLE stack.
        Softdevice = 1 "SOFTDEVICE",
        /// The bootloader.
        Bootloader = 2 "BOOTLOADER",
        /// SoftDevice and bootloader, one behind the other.
        SoftdeviceBootloader = 3 "SOFTDEVICE_BOOTLOADER",
        /// Firmware of another chip, which the device only passes on.
        ExternalApplication = 4 "EXTERNAL_APPLICATION",
    }
}

codes! {
    /// How the image is hashed. Devices take SHA-256 only.
    HashType {
        /// Not at all; also what a packet without a hash reads as.
        NoHash = 0 "NO_HASH",
        /// A CRC.
        Crc = 1 "CRC",
        /// SHA-1, named so in the schema.
        Sha128 = 2 "SHA128",
        /// SHA-256.
        Sha256 = 3 "SHA256",
        /// SHA-512.
        Sha512 = 4 "SHA512",
    }
}

codes! {
    /// How the init command is signed. Devices take ECDSA only.
    SignatureType {
        /// ECDSA over P-256 with SHA-256.
        EcdsaP256Sha256 = 0 "ECDSA_P256_SHA256",
        /// Ed25519.
        Ed25519 = 1 "ED25519",
    }
}

codes! {
    /// What the bootloader checks at every boot before it starts the image.
    ValidationType {
        /// Nothing.
        NoValidation = 0 "NO_VALIDATION",
        /// The CRC-32 that the device computes when the image arrives.
        GeneratedCrc = 1 "VALIDATE_GENERATED_CRC",
        /// The SHA-256 that the device computes when the image arrives.
        Sha256 = 2 "VALIDATE_SHA256",
        /// A signature over the image, from the init packet.
        EcdsaP256Sha256 = 3 "VALIDATE_ECDSA_P256_SHA256",
    }
}

impl FwType {
    /// Whether a SoftDevice is in the image.
    #[must_use]
    pub fn has_softdevice(self) -> bool {
        matches!(self, Self::Softdevice | Self::SoftdeviceBootloader)
    }

    /// Whether a bootloader is in the image.
    #[must_use]
    pub fn has_bootloader(self) -> bool {
        matches!(self, Self::Bootloader | Self::SoftdeviceBootloader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_its_own_code() {
        for code in 0..=u8::MAX {
            assert_eq!(FwType::from_code(code).code(), code);
            assert_eq!(HashType::from_code(code).code(), code);
            assert_eq!(SignatureType::from_code(code).code(), code);
            assert_eq!(ValidationType::from_code(code).code(), code);
        }
        assert_eq!(FwType::from_code(3).to_string(), "SOFTDEVICE_BOOTLOADER");
        assert_eq!(FwType::from_code(9).to_string(), "9");
        assert_eq!(FwType::ALL.len(), 5);
    }
}
