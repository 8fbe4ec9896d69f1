//! The images of a scenario as files.

use brickproof_flash_model::image::mcuboot::inspect;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::silabs::KnownApplication;
use brickproof_simulator::trace::{Artifact, hex};
use sha2::{Digest, Sha256};

use super::{ImageOrigin, ImageSpec, Scenario, SignedWith, Version, gbl, package};
use crate::target::Target;

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `installed`, `update`, `update-1` or `other`.
    pub role: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// What it is known by when it runs: the hash in its TLV area, or of an application of Nordic's the hash of it all.
    /// `None` when it is too broken to have one, or holds no application.
    pub tlv_hash: Option<[u8; 32]>,
    /// Its version.
    pub version: Option<Version>,
    /// What an EFR32 recognizes it by when it runs.
    pub known: Option<KnownApplication>,
}

/// The images of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// In the primary slot at the start.
    pub installed: Image,
    /// What the initiator is given.
    pub update: Image,
    /// What the initiator is given for image 1.
    pub update_1: Option<Image>,
    /// In the secondary slot at the start.
    pub other: Option<Image>,
}

impl ImageSet {
    /// Makes or reads the images of a scenario for a target.
    ///
    /// # Errors
    /// A [`Mistake`] that names the file and what is wrong with it.
    pub fn prepare(scenario: &Scenario, target: &Target) -> Result<Self, Mistake> {
        let prepare = |role, spec| {
            if let Some(own) = target.of_nordic() {
                return package::prepare(role, spec, own, &scenario.id);
            }
            if let Some(own) = target.of_nordic_legacy() {
                return package::prepare_legacy(role, spec, own, &scenario.id);
            }
            if let Some(own) = target.of_silabs() {
                return gbl::prepare(role, spec, own, &target.layout, &scenario.id);
            }
            Image::prepare(role, spec, target, &scenario.id)
        };
        let set = Self {
            installed: prepare("installed", &scenario.installed)?,
            update: prepare("update", &scenario.update)?,
            update_1: scenario.update_1.as_ref().map(|spec| prepare("update-1", spec)).transpose()?,
            other: match &scenario.other {
                Some(other) => Some(prepare("other", other)?),
                None => None,
            },
        };
        if set.installed.tlv_hash.is_some() && set.installed.tlv_hash == set.update.tlv_hash {
            return Err(Mistake::new(&scenario.id, "installed and update are the same image")
                .remedy("give them different versions or files"));
        }
        if set.update_1.as_ref().is_some_and(|image| image.tlv_hash.is_some() && image.tlv_hash == set.update.tlv_hash)
        {
            return Err(Mistake::new(&scenario.id, "update and update-1 are the same image")
                .remedy("give them different versions or files"));
        }
        Ok(set)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Image> {
        std::iter::once(&self.installed).chain(self.updates()).chain(&self.other)
    }

    /// What the initiator is given, by image number.
    pub fn updates(&self) -> impl Iterator<Item = &Image> {
        std::iter::once(&self.update).chain(&self.update_1)
    }
}

impl Image {
    fn prepare(role: &'static str, spec: &ImageSpec, target: &Target, scenario: &str) -> Result<Self, Mistake> {
        let (name, good) = match &spec.origin {
            ImageOrigin::File(path) => {
                let name = path.display().to_string();
                let bytes = std::fs::read(path).map_err(|error| {
                    Mistake::new(&name, error.to_string()).remedy(format!("the image `{role}` of {scenario}"))
                })?;
                (name, bytes)
            }
            ImageOrigin::Made { version, size } => {
                let maker = match spec.key {
                    None => target.maker()?,
                    Some(key) => target.maker_with(key == SignedWith::Production)?,
                };
                let Version::Semantic(version) = version else {
                    return Err(Mistake::new(
                        format!("image `{role}` of {scenario}"),
                        format!("{version} is a version of Nordic's, and {} has MCUboot", target.name),
                    )
                    .remedy("a text like \"1.2.3\""));
                };
                let bytes = maker
                    .image_of_size(*version, *size)
                    .map_err(|message| Mistake::new(format!("image `{role}` of {scenario}"), message))?;
                (format!("image `{role}` of {scenario}"), bytes)
            }
        };
        let bytes = match spec.broken {
            None => good,
            Some(broken) => broken
                .mcuboot
                .ok_or_else(|| Mistake::new(&name, "this breaks a package of Nordic's"))?
                .apply(&good)
                .map_err(|error| {
                    Mistake::new(&name, format!("cannot be broken, as it is not good to begin with: {error}"))
                })?,
        };
        let info = match inspect(&bytes.as_slice()) {
            Ok(info) => Some(info),
            Err(error) if spec.broken.is_none() => {
                return Err(Mistake::new(&name, format!("no MCUboot image: {error}"))
                    .remedy("sign it with imgtool or `brickproof image sign`"));
            }
            Err(_) => None,
        };
        Ok(Self {
            role,
            sha256: Sha256::digest(&bytes).into(),
            tlv_hash: info.as_ref().and_then(|info| info.hash),
            version: info.map(|info| Version::Semantic(info.header.version)),
            known: None,
            bytes,
        })
    }

    /// What the trace says of it.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        Artifact {
            role: self.role.into(),
            sha256: hex(&self.sha256),
            tlv_hash: self.tlv_hash.map(|hash| hex(&hash)),
            version: self.version.map(|version| version.to_string()),
            size: self.bytes.len() as u64,
            debug_key: inspect(&self.bytes.as_slice()).ok().and_then(|info| info.development_key()).map(str::to_owned),
        }
    }
}
