//! Init packets, good and bad, with what is in them: the model reads them here and decodes none.

use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::{
    BootValidation, FwType, Hash, HashType, InitCommand, InitPacket, Signature, SignatureType, ValidationType, sign,
};
use sha2::{Digest, Sha256};

use super::{FWID, PAGE};

/// The key that the bench trusts.
pub(super) fn key() -> SigningKey {
    SigningKey::from_seed(b"nordic").unwrap()
}

/// How a packet is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    /// Not: the unsigned form.
    No,
    /// With a type and a length of the signature; right, or with the key of somebody else.
    By { kind: u8, len: usize, right: bool },
}

impl Signed {
    pub(super) const WELL: Self = Self::By { kind: 0, len: 64, right: true };
}

/// An init packet and its image.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) bytes: Vec<u8>,
    pub(super) command: InitCommand,
    pub(super) signed: Signed,
    pub(super) image: Vec<u8>,
}

impl Known {
    fn new(image: &[u8], kind: FwType, signed: Signed, change: impl FnOnce(&mut InitCommand)) -> Self {
        let mut hash: Vec<u8> = Sha256::digest(image).to_vec();
        hash.reverse();
        let size = Some(image.len() as u32);
        let mut command = InitCommand {
            fw_version: Some(2),
            hw_version: Some(52),
            sd_req: vec![u32::from(FWID)],
            fw_type: Some(kind),
            sd_size: size.filter(|_| kind == FwType::Softdevice),
            bl_size: size.filter(|_| kind == FwType::Bootloader),
            app_size: size.filter(|_| kind == FwType::Application),
            hash: Some(Hash { kind: HashType::Sha256, bytes: hash }),
            is_debug: Some(false),
            boot_validation: Vec::new(),
        };
        change(&mut command);
        let signature = match signed {
            Signed::No => None,
            Signed::By { kind, len, right } => {
                let own = if right { key() } else { SigningKey::from_seed(b"somebody else").unwrap() };
                let bytes = sign(&own, &command.emit()).unwrap()[..len].to_vec();
                Some(Signature { kind: SignatureType::from_code(kind), bytes })
            }
        };
        let bytes = InitPacket::new(command.clone(), signature).emit();
        Self { bytes, command, signed, image: image.to_vec() }
    }

    /// Bytes of the packet before those of its signature, which come last.
    pub(super) fn unsigned_len(&self) -> usize {
        match self.signed {
            Signed::No => self.bytes.len(),
            Signed::By { len, .. } => self.bytes.len() - len,
        }
    }
}

/// All of them. The first one is good.
pub(super) fn all() -> Vec<Known> {
    let small = synthetic_image(2, PAGE + 0x104);
    let other = synthetic_image(3, 0x80);
    // Room for it there is only where the application is.
    let large = synthetic_image(4, 0xe800);
    let bootloader = synthetic_image(5, 0x200);
    let softdevice = |major: u32, id: u32| synthetic_softdevice(0x2f00, FWID, id, major * 1_000_000);
    let well = Signed::WELL;
    let app = |change: fn(&mut InitCommand)| Known::new(&small, FwType::Application, well, change);
    let tiny = |change: fn(&mut InitCommand)| Known::new(&other, FwType::Application, well, change);
    let validated = |kind: u8, bytes: Vec<u8>| {
        let entry = BootValidation { kind: ValidationType::from_code(kind), bytes };
        Known::new(&other, FwType::Application, well, |command| command.boot_validation = vec![entry])
    };
    let by = |kind: u8, len: usize, right: bool| {
        Known::new(&other, FwType::Application, Signed::By { kind, len, right }, |_| {})
    };
    let both = |bootloader: &[u8], change: fn(&mut InitCommand)| {
        let softdevice = softdevice(8, 132);
        let sizes = (softdevice.len() as u32, bootloader.len() as u32);
        Known::new(&[&softdevice, bootloader].concat(), FwType::SoftdeviceBootloader, well, |command| {
            (command.sd_size, command.bl_size) = (Some(sizes.0), Some(sizes.1));
            change(command);
        })
    };
    vec![
        app(|_| {}),
        tiny(|_| {}),
        Known::new(&large, FwType::Application, well, |_| {}),
        Known::new(&other, FwType::Application, Signed::No, |_| {}),
        by(0, 64, false),
        by(1, 64, true),
        by(0, 63, true),
        tiny(|command| command.fw_type = None),
        tiny(|command| command.fw_type = Some(FwType::ExternalApplication)),
        tiny(|command| command.fw_type = Some(FwType::Other(7))),
        tiny(|command| command.hash.as_mut().unwrap().kind = HashType::Crc),
        tiny(|command| command.hash = None),
        // The hash is of something else: found at the last execute.
        tiny(|command| command.hash.as_mut().unwrap().bytes[0] ^= 1),
        tiny(|command| command.hw_version = None),
        tiny(|command| command.hw_version = Some(51)),
        tiny(|command| command.sd_req = vec![]),
        tiny(|command| command.sd_req = vec![0xfffe]),
        tiny(|command| command.sd_req = vec![0]),
        tiny(|command| command.sd_req = vec![0, u32::from(FWID)]),
        tiny(|command| command.sd_req = vec![0xaa, u32::from(FWID)]),
        tiny(|command| command.fw_version = Some(1)),
        tiny(|command| command.fw_version = Some(0)),
        tiny(|command| command.fw_version = None),
        tiny(|command| command.app_size = None),
        tiny(|command| command.app_size = Some(0)),
        tiny(|command| command.app_size = Some(u32::MAX)),
        // Of no bytes.
        Known::new(&[], FwType::Application, well, |_| {}),
        tiny(|command| command.is_debug = Some(true)),
        validated(0, vec![]),
        validated(1, vec![]),
        validated(2, vec![]),
        validated(3, sign(&key(), &other).unwrap().to_vec()),
        validated(3, vec![7; 64]),
        validated(9, vec![]),
        Known::new(&bootloader, FwType::Bootloader, well, |_| {}),
        Known::new(&bootloader, FwType::Bootloader, well, |command| command.fw_version = Some(1)),
        Known::new(&bootloader, FwType::Bootloader, well, |command| command.bl_size = Some(0x2004)),
        Known::new(&softdevice(7, 132), FwType::Softdevice, well, |_| {}),
        Known::new(&softdevice(7, 132), FwType::Softdevice, well, |command| command.fw_version = None),
        Known::new(&softdevice(7, 132), FwType::Softdevice, well, |command| command.sd_req = vec![0]),
        Known::new(&softdevice(8, 132), FwType::Softdevice, well, |_| {}),
        Known::new(&softdevice(7, 140), FwType::Softdevice, well, |_| {}),
        Known::new(&other, FwType::Softdevice, well, |_| {}),
        both(&bootloader, |_| {}),
        both(&bootloader, |command| command.bl_size = Some(0x2004)),
        both(&bootloader, |command| command.sd_req = vec![0]),
    ]
}
