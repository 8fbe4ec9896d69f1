//! Synthetic firmware of EFR32 chips.

use super::application::{ApplicationProperties, PROPERTIES_VERSION, signature_type};
use super::certificate::{CERTIFICATE_LEN, Certificate};
use super::content::{ApplicationData, SIGNATURE_LEN};
use super::crypt::EncryptionKey;
use crate::image::mcuboot::{KeyError, SigningKey};
use crate::image::nordic::builder::application_binary;
use crate::image::nordic::crc32;
use crate::image::nordic::sign::sign_big_endian;

/// Words of the vector table.
const VECTORS: u32 = 80;
/// The word that points to the properties.
const PROPERTIES_VECTOR: u32 = 13;
/// Offset of the properties in bytes.
const PROPERTIES: u32 = VECTORS * 4;
/// Offset of a certificate in bytes.
const CERTIFICATE: u32 = PROPERTIES + ApplicationProperties::LEN as u32;
/// Offset of the code in bytes.
const CODE: u32 = 0x280;

const _: () = assert!(CERTIFICATE as usize + CERTIFICATE_LEN <= CODE as usize);

/// Describes an application; [`FirmwareBuilder::build`] or [`FirmwareBuilder::sign`] makes it, the same each time.
///
/// It has a vector table, properties and code that is noise in every second line, so that it compresses to about half.
#[derive(Debug, Clone)]
pub struct FirmwareBuilder {
    base: u32,
    size: usize,
    stack: u32,
    data: ApplicationData,
    certificate: Option<Certificate>,
    decrypt_key: Option<EncryptionKey>,
    crc32: bool,
    bootloader: bool,
}

/// Type of a bootloader in [`ApplicationData::kind`].
const BOOTLOADER: u32 = 0x40;

impl FirmwareBuilder {
    /// Fewest bytes of an application.
    pub const MIN_SIZE: usize = CODE as usize + SIGNATURE_LEN;

    /// An application at this address, of 8 KiB and version 1, of a Bluetooth device, without a product.
    #[must_use]
    pub fn new(base: u32) -> Self {
        let data = ApplicationData { kind: 0x20, version: 1, ..ApplicationData::default() };
        Self {
            base,
            size: 8192,
            stack: 0x2000_8000,
            data,
            certificate: None,
            decrypt_key: None,
            crc32: false,
            bootloader: false,
        }
    }

    /// A main bootloader for this address, as far as one is looked at before it comes into its place: its properties tell
    /// its size, and behind that is its CRC-32 (simplicity sdk: `btl_main_s.c`; `btl_bootload.c`,
    /// `bootload_commitBootloaderUpgrade`). [`GblBuilder::bootloader`](super::GblBuilder::bootloader) adds a CRC by itself.
    #[must_use]
    pub fn bootloader(base: u32, version: u32) -> Self {
        Self { bootloader: true, ..Self::new(base).kind(BOOTLOADER).version(version) }
    }

    /// Sets its size in bytes, with signature or CRC; at least [`FirmwareBuilder::MIN_SIZE`], in whole words.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.max(Self::MIN_SIZE).next_multiple_of(4);
        self
    }

    /// Sets its version.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.data.version = version;
        self
    }

    /// Sets the bits of its type.
    #[must_use]
    pub fn kind(mut self, kind: u32) -> Self {
        self.data.kind = kind;
        self
    }

    /// Sets the product it is for.
    #[must_use]
    pub fn product_id(mut self, id: [u8; 16]) -> Self {
        self.data.product_id = id;
        self
    }

    /// Sets its stack pointer.
    #[must_use]
    pub fn stack(mut self, address: u32) -> Self {
        self.stack = address;
        self
    }

    /// Puts a certificate into it, whose key then has to sign it.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Puts a key that decrypts files into it, as bootloaders have.
    #[must_use]
    pub fn decrypt_key(mut self, key: EncryptionKey) -> Self {
        self.decrypt_key = Some(key);
        self
    }

    /// Ends it with a CRC.
    #[must_use]
    pub fn crc32(mut self) -> Self {
        self.crc32 = true;
        self
    }

    /// What it says about itself, and what its application info tag has to say.
    #[must_use]
    pub fn data(&self) -> ApplicationData {
        self.data
    }

    /// The application without a signature.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        if !self.crc32 {
            return self.unprotected(signature_type::NONE, 0);
        }
        let mut image = self.unprotected(signature_type::CRC32, 4);
        let crc = crc32(&image, 0);
        image.extend_from_slice(&crc.to_le_bytes());
        image
    }

    /// The application with a signature at its end, as secure boot asks for.
    ///
    /// # Errors
    /// [`KeyError`] when the key is not of ECDSA P-256.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        let mut image = self.unprotected(signature_type::ECDSA_P256, SIGNATURE_LEN);
        let signature = sign_big_endian(key, &image)?;
        image.extend_from_slice(&signature);
        Ok(image)
    }

    /// All but the last bytes.
    fn unprotected(&self, signature_type: u32, last: usize) -> Vec<u8> {
        let len = self.size.saturating_sub(last);
        let address = |offset: u32| self.base.wrapping_add(offset);
        let end = u32::try_from(len).unwrap_or(u32::MAX);
        let vectors = (0..VECTORS).map(|index| match index {
            0 => self.stack,
            PROPERTIES_VECTOR => address(PROPERTIES),
            // Thumb code.
            _ => address(CODE) | 1,
        });
        let mut image: Vec<u8> = vectors.flat_map(u32::to_le_bytes).collect();
        let properties = ApplicationProperties {
            address: address(PROPERTIES),
            struct_version: PROPERTIES_VERSION,
            signature_type,
            signature_location: match last {
                _ if self.bootloader => end,
                0 => u32::MAX,
                _ => address(end),
            },
            application: self.data,
            certificate: self.certificate.map_or(0, |_| address(CERTIFICATE)),
            long_tokens: 0,
            decrypt_key: self.decrypt_key.as_ref().map_or([0; 16], |key| *key.bytes()),
        };
        image.extend(properties.emit());
        image.extend(self.certificate.iter().flat_map(Certificate::emit));
        image.resize(CODE as usize, 0xff);
        let noise = application_binary(self.data.version, len);
        let repeated = [0x08, 0xb5, 0x00, 0x20, 0x08, 0xbd, 0x70, 0x47];
        for line in noise.chunks(16) {
            image.extend_from_slice(line);
            image.extend_from_slice(repeated.as_slice());
            image.extend_from_slice(repeated.as_slice());
        }
        image.truncate(len);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::super::application::{BootFault, BootGround, BootRules, VectorTable, check_application};
    use super::super::device::{DeviceCertificate, Trust};
    use super::*;

    const BASE: u32 = 0x0801_2000;

    fn key(seed: &str) -> SigningKey {
        SigningKey::from_seed(seed.as_bytes()).unwrap()
    }

    fn rules() -> BootRules {
        BootRules {
            flash: 0x0800_0000..0x0808_0000,
            ram: 0x2000_0000..0x2001_0000,
            application_start: BASE,
            secure_boot: false,
            trust: Trust::from(key("sign").public().clone()),
            certificate: None,
            crc32: true,
        }
    }

    fn check(image: &[u8], rules: &BootRules) -> Result<BootGround, BootFault> {
        check_application(image, BASE, rules)
    }

    #[test]
    fn what_it_says_about_itself_is_found() {
        let builder = FirmwareBuilder::new(BASE).version(7).kind(0x28).product_id([9; 16]).size(5001);
        let image = builder.build();
        assert_eq!(image.len(), 5004);
        assert_eq!(image, builder.build());
        assert_ne!(image, builder.clone().version(8).build());
        let vectors = VectorTable::read(&image).unwrap();
        assert_eq!(vectors, VectorTable { stack: 0x2000_8000, reset: BASE + 0x281, properties: BASE + 0x140 });
        let properties = ApplicationProperties::read(&image, BASE).unwrap();
        assert_eq!(properties.application, builder.data());
        assert_eq!(properties.emit(), image[0x140..0x190]);
        assert_eq!((properties.struct_version, properties.signature_location), (0x201, u32::MAX));
        assert_eq!(ApplicationProperties::find(&image, BASE), Some(properties));
        let bootloader = builder.clone().decrypt_key(EncryptionKey::new([8; 16])).build();
        assert_eq!(ApplicationProperties::read(&bootloader, BASE).unwrap().decrypt_key, [8; 16]);
        let mut older = bootloader;
        older[0x151] = 1;
        assert_eq!(ApplicationProperties::read(&older, BASE).unwrap().decrypt_key, [0; 16]);
        assert_eq!(ApplicationProperties::read(&image, BASE + 0x1000), None);
        assert_eq!(ApplicationProperties::find(&image[..0x150], BASE), None);
        assert_eq!(FirmwareBuilder::new(BASE).size(0).build().len(), FirmwareBuilder::MIN_SIZE);
    }

    #[test]
    fn it_compresses_to_about_half() {
        use super::super::compress::{Compression, compress};
        let image = FirmwareBuilder::new(BASE).size(20_000).build();
        for compression in [Compression::Lz4, Compression::Lzma] {
            let packed = compress(compression, &image).unwrap().len();
            assert!((8_000..14_000).contains(&packed), "{packed}");
        }
    }

    #[test]
    fn each_protection_is_checked() {
        let builder = FirmwareBuilder::new(BASE);
        let secure = BootRules { secure_boot: true, ..rules() };
        let (plain, crc) = (builder.build(), builder.clone().crc32().build());
        let signed = builder.sign(&key("sign")).unwrap();
        for image in [&plain, &crc, &signed] {
            assert_eq!(image.len(), 8192);
        }
        assert_eq!(check(&plain, &rules()), Ok(BootGround::Vectors));
        assert_eq!(check(&crc, &rules()), Ok(BootGround::Crc32));
        assert_eq!(check(&crc, &BootRules { crc32: false, ..rules() }), Ok(BootGround::Vectors));
        assert_eq!(check(&signed, &rules()), Ok(BootGround::Signature));
        assert_eq!(check(&signed, &secure), Ok(BootGround::Signature));
        assert_eq!(check(&plain, &secure), Err(BootFault::SignatureType(0)));
        assert_eq!(check(&crc, &secure), Err(BootFault::SignatureType(2)));
        let changed = |image: &[u8]| {
            let mut image = image.to_vec();
            image[4000] ^= 1;
            image
        };
        assert_eq!(check(&changed(&plain), &rules()), Ok(BootGround::Vectors));
        assert_eq!(check(&changed(&crc), &rules()), Err(BootFault::Crc));
        assert_eq!(check(&changed(&signed), &rules()), Err(BootFault::Signature));
        assert_eq!(check(&builder.sign(&key("other")).unwrap(), &secure), Err(BootFault::Signature));
        assert_eq!(check(&signed, &BootRules { trust: Trust::Nothing, ..secure }), Err(BootFault::NoKey));
        assert_eq!(check(&crc[..8190], &rules()), Err(BootFault::Crc));
        assert!(matches!(check(&signed[..8190], &rules()), Err(BootFault::SignatureLocation(_))));
    }

    #[test]
    fn vectors_and_properties_have_to_make_sense() {
        let image = FirmwareBuilder::new(BASE).build();
        let with = |at: usize, word: u32| {
            let mut image = image.clone();
            image[at..at + 4].copy_from_slice(&word.to_le_bytes());
            image
        };
        assert_eq!(check(&image[..55], &rules()), Err(BootFault::NoVectors));
        assert_eq!(check(&with(0, 0x1000), &rules()), Err(BootFault::Stack(0x1000)));
        assert_eq!(check(&with(4, u32::MAX), &rules()), Err(BootFault::Reset(u32::MAX)));
        assert_eq!(check(&with(4, BASE - 1), &rules()), Err(BootFault::Reset(BASE - 1)));
        assert_eq!(check(&with(0x150, 2), &rules()), Err(BootFault::StructVersion(2)));
        assert_eq!(check(&with(52, BASE + 0x144), &rules()), Ok(BootGround::Vectors));
        let secure = BootRules { secure_boot: true, ..rules() };
        assert_eq!(check(&with(52, BASE), &secure), Err(BootFault::NoProperties(BASE)));
        // A type that is none counts as signed.
        assert_eq!(check(&with(0x154, 9), &rules()), Err(BootFault::SignatureType(9)));
    }

    #[test]
    fn certificates_are_checked_before_the_signature() {
        let (root, signer) = (key("root"), key("signer"));
        let own = DeviceCertificate { key: root.public().clone(), version: 2 };
        let rules = BootRules { secure_boot: true, certificate: Some(own), ..rules() };
        let with = |version: u32, issuer: &SigningKey| {
            let certificate = Certificate::new(signer.public(), version, issuer).unwrap();
            FirmwareBuilder::new(BASE).certificate(certificate)
        };
        assert_eq!(check(&with(2, &root).sign(&signer).unwrap(), &rules), Ok(BootGround::Signature));
        assert_eq!(check(&with(2, &root).sign(&root).unwrap(), &rules), Err(BootFault::Signature));
        assert_eq!(check(&with(2, &signer).sign(&signer).unwrap(), &rules), Err(BootFault::Certificate));
        let old = Err(BootFault::CertificateVersion { found: 1, own: 2 });
        assert_eq!(check(&with(1, &root).sign(&signer).unwrap(), &rules), old);
        // Without one the key of the bootloader's own counts.
        assert_eq!(check(&FirmwareBuilder::new(BASE).sign(&root).unwrap(), &rules), Ok(BootGround::Signature));
    }
}
