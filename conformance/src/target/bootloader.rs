//! The `[bootloader]` table of a target profile.

use std::path::PathBuf;

use brickproof_flash_model::boot::mcuboot::{Downgrade, Mode, Options};
use brickproof_flash_model::image::mcuboot::{PublicKey, SignatureType};
use brickproof_flash_model::source::Mistake;
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Bootloader {
    kind: Spanned<String>,
    mode: Spanned<String>,
    fast: Option<Spanned<bool>>,
    max_sectors: Option<Spanned<u32>>,
    max_align: Option<Spanned<u32>>,
    #[serde(default = "yes")]
    validate_primary: bool,
    #[serde(default)]
    bootstrap: bool,
    downgrade_prevention: Option<Spanned<String>>,
    compare_build_number: Option<Spanned<bool>>,
    keep_backup: Option<Spanned<bool>>,
    #[serde(default)]
    minimal_scramble: bool,
    signature: Option<Spanned<String>>,
    keys: Vec<Spanned<String>>,
    recovery: Option<Spanned<String>>,
}

/// What the table says.
pub(super) struct Read {
    pub(super) options: Options,
    pub(super) signature: SignatureType,
    pub(super) keys: Vec<PublicKey>,
}

/// The key of a product, ECDSA P-256; in images it is the other one than `development`.
pub(super) const PRODUCTION: &str = "production";

fn yes() -> bool {
    true
}

/// Most sectors of a slot a bootloader can be built for; beyond that a trailer fits no flash.
const MAX_SECTORS: u32 = 65_536;

impl Bootloader {
    /// Whether the key of a product is the first that it trusts: images are signed with it then.
    pub(super) fn is_product(&self) -> bool {
        self.keys.first().is_some_and(|key| key.get_ref() == PRODUCTION)
    }

    /// The recovery as it is written.
    pub(super) fn recovery(&self) -> Option<&Spanned<String>> {
        self.recovery.as_ref()
    }

    /// The mode as it is written.
    pub(super) fn mode_name(&self) -> &str {
        self.mode.get_ref()
    }

    /// `mistake` makes one at a byte offset of the file; `resolve` finds files that the profile names.
    pub(super) fn read(
        &self,
        mistake: &dyn Fn(usize, String) -> Mistake,
        resolve: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Read, Mistake> {
        one_of(mistake, &self.kind, &[("mcuboot", ())])?;
        let fast = self.fast.as_ref().is_some_and(|fast| *fast.get_ref());
        let mode = one_of(
            mistake,
            &self.mode,
            &[
                ("swap-move", Mode::SwapMove),
                ("swap-scratch", Mode::SwapScratch),
                ("swap-offset", Mode::SwapOffset),
                ("direct-xip", Mode::DirectXip { revert: false }),
                ("direct-xip-with-revert", Mode::DirectXip { revert: true }),
                ("overwrite-only", Mode::OverwriteOnly { fast }),
            ],
        )?;
        let overwrite = matches!(mode, Mode::OverwriteOnly { .. });
        for (value, key) in [(&self.fast, "fast"), (&self.keep_backup, "keep-backup")] {
            if let Some(value) = value
                && !overwrite
            {
                return Err(mistake(
                    value.span().start,
                    format!("`{key}` has no meaning in the mode `{}`", self.mode.get_ref()),
                )
                .remedy("remove it, or set mode = \"overwrite-only\""));
            }
        }
        if let (Mode::DirectXip { .. }, true) = (mode, self.bootstrap || !self.validate_primary) {
            let message = "in direct-XIP both slots are alike: nothing is bootstrapped, and every image is validated";
            return Err(
                mistake(self.mode.span().start, message.into()).remedy("remove `bootstrap` and `validate-primary`")
            );
        }
        let default = Options::default();
        let mut options = Options {
            mode,
            max_sectors: self.max_sectors.as_ref().map_or(default.max_sectors, |value| *value.get_ref()),
            max_align: self.max_align.as_ref().map_or(default.max_align, |value| *value.get_ref()),
            validate_primary: self.validate_primary,
            bootstrap: self.bootstrap,
            compare_build_number: self.compare_build_number.as_ref().is_some_and(|value| *value.get_ref()),
            keep_backup: self.keep_backup.as_ref().is_some_and(|value| *value.get_ref()),
            minimal_scramble: self.minimal_scramble,
            ..default
        };
        if let Some(sectors) = &self.max_sectors
            && !(1..=MAX_SECTORS).contains(sectors.get_ref())
        {
            return Err(mistake(
                sectors.span().start,
                format!("a bootloader for {} sectors a slot is not possible", sectors.get_ref()),
            )
            .remedy(format!("1 to {MAX_SECTORS}, and not less than the slots have")));
        }
        if let Some(align) = &self.max_align
            && ![8, 16, 32].contains(align.get_ref())
        {
            return Err(mistake(
                align.span().start,
                format!("a maximum alignment of {} is not possible", align.get_ref()),
            )
            .remedy("8, 16 or 32, and not less than the program unit of the flash"));
        }
        if let Some(prevention) = &self.downgrade_prevention {
            let security_counter = "security-counter";
            let downgrade = one_of(
                mistake,
                prevention,
                &[
                    ("version", Downgrade::ByVersion),
                    (security_counter, Downgrade::Allowed),
                    ("image-security-counter", Downgrade::BySecurityCounter),
                ],
            )?;
            if let Mode::DirectXip { .. } = mode
                && downgrade != Downgrade::Allowed
            {
                return Err(mistake(
                    prevention.span().start,
                    "MCUboot compares nothing in direct-XIP: the image with the highest version is started anyway"
                        .into(),
                )
                .remedy("remove it, or \"security-counter\" for a counter in the device"));
            }
            if downgrade == Downgrade::BySecurityCounter && overwrite {
                return Err(mistake(
                    prevention.span().start,
                    "MCUboot compares the security counters of two images in the swap modes only".into(),
                )
                .remedy("\"version\", or \"security-counter\" for a counter in the device"));
            }
            options.downgrade = downgrade;
            options.hardware_rollback_protection = prevention.get_ref() == security_counter;
        }
        if let Some(compare) = &self.compare_build_number
            && *compare.get_ref()
            && options.downgrade != Downgrade::ByVersion
            && self.downgrade_prevention.is_some()
        {
            return Err(mistake(compare.span().start, "no versions are compared by this bootloader".into())
                .remedy("remove it, or set downgrade-prevention = \"version\""));
        }
        let signature = match &self.signature {
            None => SignatureType::EcdsaP256,
            Some(name) => one_of(mistake, name, &SignatureType::ALL.map(|kind| (kind.name(), kind)))?,
        };
        let keys = self.keys(mistake, resolve, signature)?;
        Ok(Read { options, signature, keys })
    }

    fn keys(
        &self,
        mistake: &dyn Fn(usize, String) -> Mistake,
        resolve: &dyn Fn(&str) -> PathBuf,
        signature: SignatureType,
    ) -> Result<Vec<PublicKey>, Mistake> {
        let mut keys = Vec::new();
        for name in &self.keys {
            let place = |message: String| mistake(name.span().start, message);
            let key = read_key(name.get_ref(), resolve, signature)
                .map_err(|message| place(message).remedy("`development`, `production` or a path to a PEM file"))?;
            let found = key.signature_type();
            if found != signature {
                return Err(place(format!(
                    "this is a key for {found}, and the bootloader is built for {signature}: MCUboot takes one type only"
                ))
                .remedy(format!("set signature = \"{found}\", or name a key of the other type")));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

/// The private key of brickproof for a type of signature; `None` where there is none.
pub(super) fn development_key(signature: SignatureType) -> Option<&'static str> {
    match signature {
        SignatureType::EcdsaP256 => Some(brickproof_scenarios::DEVELOPMENT_KEY),
        SignatureType::Rsa2048 => Some(brickproof_scenarios::DEVELOPMENT_KEY_RSA_2048),
        SignatureType::Ed25519 => Some(brickproof_scenarios::DEVELOPMENT_KEY_ED25519),
        SignatureType::Rsa3072 => None,
    }
}

/// A key of ECDSA P-256: a bundled one, or of a file.
pub(super) fn read_p256(name: &str, resolve: &dyn Fn(&str) -> PathBuf) -> Result<PublicKey, String> {
    let key = read_key(name, resolve, SignatureType::EcdsaP256)?;
    match key.signature_type() {
        SignatureType::EcdsaP256 => Ok(key),
        other => Err(format!("this is a key for {other}, and the bootloader takes ECDSA P-256")),
    }
}

fn read_key(name: &str, resolve: &dyn Fn(&str) -> PathBuf, signature: SignatureType) -> Result<PublicKey, String> {
    if name == PRODUCTION {
        return PublicKey::from_pem(brickproof_scenarios::PRODUCTION_KEY).map_err(|error| error.to_string());
    }
    if name == "development" {
        let pem = development_key(signature).ok_or_else(|| format!("there is no development key for {signature}"))?;
        return PublicKey::from_pem(pem).map_err(|error| error.to_string());
    }
    let path = resolve(name);
    let pem = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    PublicKey::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))
}

fn one_of<T: Copy>(
    mistake: &dyn Fn(usize, String) -> Mistake,
    value: &Spanned<String>,
    known: &[(&str, T)],
) -> Result<T, Mistake> {
    known.iter().find(|(name, _)| name == value.get_ref()).map(|(_, known)| *known).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
        mistake(value.span().start, format!("`{}` is not known here", value.get_ref()))
            .remedy(format!("this version has {}", names.join(", ")))
    })
}
