//! Image versions.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// `major.minor.revision+build`.
///
/// The derived order compares all four fields; bootloaders and servers usually leave the build
/// number out, see [`ImageVersion::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ImageVersion {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
    /// Revision.
    pub revision: u16,
    /// Build number.
    pub build: u32,
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no version: expected MAJOR.MINOR.REVISION or MAJOR.MINOR.REVISION+BUILD, with 8, 8, 16 and 32 bits")]
pub struct VersionError(String);

impl ImageVersion {
    /// The version without its build number.
    #[must_use]
    pub fn release(self) -> (u8, u8, u16) {
        (self.major, self.minor, self.revision)
    }

    /// The form that Zephyr's SMP server prints: the build number behind a dot, if it is not 0.
    #[must_use]
    pub fn smp_text(self) -> String {
        let Self { major, minor, revision, build } = self;
        if build == 0 { format!("{major}.{minor}.{revision}") } else { format!("{major}.{minor}.{revision}.{build}") }
    }
}

impl fmt::Display for ImageVersion {
    /// The form of imgtool: the build number behind a plus sign, if it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)?;
        if self.build != 0 {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

impl FromStr for ImageVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned());
        let (release, build) = text.split_once('+').unwrap_or((text, "0"));
        let mut parts = release.split('.');
        let mut part = || parts.next();
        let major = part().and_then(|part| part.parse().ok()).ok_or_else(error)?;
        let minor = part().unwrap_or("0").parse().map_err(|_| error())?;
        let revision = part().unwrap_or("0").parse().map_err(|_| error())?;
        if part().is_some() {
            return Err(error());
        }
        Ok(Self { major, minor, revision, build: build.parse().map_err(|_| error())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_text_forms() {
        let version: ImageVersion = "1.2.3+4".parse().unwrap();
        assert_eq!(version, ImageVersion { major: 1, minor: 2, revision: 3, build: 4 });
        assert_eq!(version.to_string(), "1.2.3+4");
        assert_eq!(version.smp_text(), "1.2.3.4");
        assert_eq!("2.0.0+0".parse::<ImageVersion>().unwrap().to_string(), "2.0.0");
        for wrong in ["", "x", "1.2.3.4", "256.0.0", "1.2.3+x", "-1.0.0"] {
            assert!(wrong.parse::<ImageVersion>().is_err(), "{wrong}");
        }
    }
}
