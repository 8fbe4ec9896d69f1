//! Versions that have to run for a file to be taken (simplicity sdk: `btl_gbl_parser.c`, `parser_parseVersionDependency`).
//!
//! For each type of image a result starts as true; each entry compares the running version and joins the outcome to the result
//! of its type. All results have to be true in the end. A second tag starts over, and for a bootloader with storage only the
//! last one counts.

use std::fmt;
use std::str::FromStr;

use super::content::{bootloader_version, bootloader_version_words};
use super::error::DEPENDENCIES_MAX;

/// Bytes of an entry.
pub const DEPENDENCY_LEN: usize = 8;
/// The part of a version of the secure engine that is compared.
const SE_MASK: u32 = 0x00ff_ffff;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// The application.
    Application,
    /// The bootloader.
    Bootloader,
    /// The secure engine; Series 2 only.
    Se,
}

impl ImageType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Application, Self::Bootloader, Self::Se];

    fn code(self) -> u8 {
        match self {
            Self::Application => 1,
            Self::Bootloader => 2,
            Self::Se => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|image| image.code() == code)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Bootloader => "bootloader",
            Self::Se => "secure engine",
        }
    }

    fn version_words(self, version: u32) -> String {
        match self {
            Self::Application => version.to_string(),
            Self::Bootloader => bootloader_version_words(version),
            Self::Se => format!("{}.{}.{}", version >> 16 & 0xff, version >> 8 & 0xff, version & 0xff),
        }
    }
}

/// How the running version is compared with that of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Equal.
    Equal,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Greater,
}

impl Comparison {
    const ALL: [Self; 5] = [Self::Less, Self::AtMost, Self::Equal, Self::AtLeast, Self::Greater];

    fn code(self) -> u8 {
        match self {
            Self::Less => 0,
            Self::AtMost => 2,
            Self::Equal => 4,
            Self::AtLeast => 6,
            Self::Greater => 8,
        }
    }

    fn holds(self, running: u32, version: u32) -> bool {
        match self {
            Self::Less => running < version,
            Self::AtMost => running <= version,
            Self::Equal => running == version,
            Self::AtLeast => running >= version,
            Self::Greater => running > version,
        }
    }

    fn symbol(self, negated: bool) -> &'static str {
        match (self, negated) {
            (Self::Less, false) | (Self::AtLeast, true) => "<",
            (Self::AtMost, false) | (Self::Greater, true) => "<=",
            (Self::Equal, false) => "==",
            (Self::Equal, true) => "!=",
            (Self::AtLeast, false) | (Self::Less, true) => ">=",
            (Self::Greater, false) | (Self::AtMost, true) => ">",
        }
    }
}

/// How an outcome is joined to the result so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connective {
    /// Both.
    And,
    /// At least one; as the first of its type it leaves the result true.
    Or,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// 1 application, 2 bootloader, 3 secure engine.
    pub image_code: u8,
    /// Low half: comparison, and 0x01 to negate it. High half: connective, and 0x10 to negate the result then.
    pub statement: u8,
    /// Zero.
    pub reserved: u16,
    /// The version to compare with.
    pub version: u32,
}

/// An entry that is joined with "and", from words like `application >= 2` or `bootloader > 2.4.0`.
impl FromStr for Dependency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is no version dependency: expected `application`, `bootloader` or `se`, one of <, <=, ==, >=, >, \
                 and a version, like \"application >= 2\""
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [image, comparison, version] = words.as_slice() else { return Err(expected()) };
        let image = match *image {
            "application" => ImageType::Application,
            "bootloader" => ImageType::Bootloader,
            "se" => ImageType::Se,
            _ => return Err(expected()),
        };
        let comparison = Comparison::ALL.into_iter().find(|known| known.symbol(false) == *comparison);
        let comparison = comparison.ok_or_else(expected)?;
        let version = version.parse().or_else(|_| bootloader_version(version)).map_err(|_| expected())?;
        Ok(Self::new(image, comparison, version))
    }
}

impl Dependency {
    /// Compares the version of `image`, and joins it with "and".
    #[must_use]
    pub fn new(image: ImageType, comparison: Comparison, version: u32) -> Self {
        Self { image_code: image.code(), statement: comparison.code(), reserved: 0, version }
    }

    /// The same with another connective.
    #[must_use]
    pub fn joined(mut self, connective: Connective) -> Self {
        self.statement = self.statement & 0x1f | if connective == Connective::Or { 0x20 } else { 0 };
        self
    }

    /// The same with the comparison the other way around.
    #[must_use]
    pub fn negated(mut self) -> Self {
        self.statement ^= 0x01;
        self
    }

    /// The same with the result the other way around that it makes.
    #[must_use]
    pub fn result_negated(mut self) -> Self {
        self.statement ^= 0x10;
        self
    }

    /// Reads an entry; every 8 bytes are one.
    #[must_use]
    pub fn parse(bytes: &[u8; DEPENDENCY_LEN]) -> Self {
        let [image_code, statement, r0, r1, v0, v1, v2, v3] = *bytes;
        let (reserved, version) = (u16::from_le_bytes([r0, r1]), u32::from_le_bytes([v0, v1, v2, v3]));
        Self { image_code, statement, reserved, version }
    }

    /// The bytes of it.
    #[must_use]
    pub fn emit(&self) -> [u8; DEPENDENCY_LEN] {
        let ([r0, r1], [v0, v1, v2, v3]) = (self.reserved.to_le_bytes(), self.version.to_le_bytes());
        [self.image_code, self.statement, r0, r1, v0, v1, v2, v3]
    }

    /// What it is about; `None` for a code that is none.
    #[must_use]
    pub fn image(&self) -> Option<ImageType> {
        ImageType::of_code(self.image_code)
    }

    /// The comparison, and whether it is negated; `None` for a code that is none.
    #[must_use]
    pub fn comparison(&self) -> Option<(Comparison, bool)> {
        let found = Comparison::ALL.into_iter().find(|comparison| comparison.code() == self.statement & 0x0e);
        found.map(|comparison| (comparison, self.statement & 0x01 != 0))
    }

    /// The connective, and whether the result is negated; `None` for a code that is none.
    #[must_use]
    pub fn connective(&self) -> Option<(Connective, bool)> {
        let connective = match self.statement & 0xe0 {
            0x00 => Connective::And,
            0x20 => Connective::Or,
            _ => return None,
        };
        Some((connective, self.statement & 0x10 != 0))
    }
}

/// The comparison alone: `application >= 3`.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(image), Some((comparison, negated))) = (self.image(), self.comparison()) else {
            return write!(f, "image {} statement {:#04x} {}", self.image_code, self.statement, self.version);
        };
        write!(f, "{} {} {}", image.name(), comparison.symbol(negated), image.version_words(self.version))
    }
}

/// What all entries together ask for, one condition for each type of image that they are about. Entries of no type are left
/// out, and those behind the first [`DEPENDENCIES_MAX`].
#[must_use]
pub fn words(entries: &[Dependency]) -> Vec<String> {
    let conditions = ImageType::ALL.into_iter().filter_map(|image| {
        let mut of_image =
            entries.iter().take(DEPENDENCIES_MAX).filter(|entry| entry.image() == Some(image)).peekable();
        of_image.peek()?;
        Some(of_image.fold(Condition::Constant(true), |so_far, entry| so_far.join(entry)).words(image))
    });
    conditions.collect()
}

enum Condition {
    Constant(bool),
    Text(String, /* more than one comparison */ bool),
}

impl Condition {
    fn join(self, entry: &Dependency) -> Self {
        let text = entry.to_string();
        let (connective, negated) = entry.connective().unwrap_or((Connective::And, false));
        let joined = match (self, connective) {
            (Self::Constant(true), Connective::And) | (Self::Constant(false), Connective::Or) => {
                Self::Text(text, false)
            }
            (Self::Constant(value), _) => Self::Constant(value),
            (Self::Text(so_far, several), connective) => {
                let word = if connective == Connective::And { "and" } else { "or" };
                let so_far = if several { format!("({so_far})") } else { so_far };
                Self::Text(format!("{so_far} {word} {text}"), true)
            }
        };
        match (joined, negated) {
            (Self::Constant(value), true) => Self::Constant(!value),
            (Self::Text(text, _), true) => Self::Text(format!("not ({text})"), false),
            (joined, false) => joined,
        }
    }

    fn words(self, image: ImageType) -> String {
        match self {
            Self::Constant(true) => format!("{} of any version", image.name()),
            Self::Constant(false) => format!("{} of no version", image.name()),
            Self::Text(text, _) => text,
        }
    }
}

/// What runs on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Running {
    /// Version of the application; `None` when there is none, or none with properties.
    pub application: Option<u32>,
    /// Version of the bootloader.
    pub bootloader: u32,
    /// Version of the secure engine; `None` on Series 1.
    pub se: Option<u32>,
}

/// The results of one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Results {
    /// Of application, bootloader and secure engine.
    pub of: [bool; 3],
}

impl Results {
    /// Whether the file is taken.
    #[must_use]
    pub fn all(&self) -> bool {
        self.of.iter().all(|result| *result)
    }
}

/// The results of one tag on a device; `None` when the device gives up at an entry (error 0x1001): of no type, with a statement
/// that is none, or about a secure engine that is not there.
#[must_use]
pub fn evaluate(entries: &[Dependency], running: &Running) -> Option<Results> {
    let [mut application, mut bootloader, mut se] = [true; 3];
    // Without a readable application the comparison is with what the entry before was compared with.
    let mut current = u32::MAX;
    for entry in entries {
        let result = match entry.image()? {
            ImageType::Application => {
                match running.application {
                    Some(version) => current = version,
                    None => application = false,
                }
                &mut application
            }
            ImageType::Bootloader => {
                current = running.bootloader;
                &mut bootloader
            }
            ImageType::Se => {
                current = running.se? & SE_MASK;
                &mut se
            }
        };
        let (comparison, negated) = entry.comparison()?;
        let outcome = comparison.holds(current, entry.version) ^ negated;
        let (connective, result_negated) = entry.connective()?;
        *result = match connective {
            Connective::And => *result && outcome,
            Connective::Or => *result || outcome,
        } ^ result_negated;
    }
    Some(Results { of: [application, bootloader, se] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: Running = Running { application: Some(3), bootloader: 0x0204_0000, se: Some(0xab01_0203) };

    fn application(comparison: Comparison, version: u32) -> Dependency {
        Dependency::new(ImageType::Application, comparison, version)
    }

    fn holds(entries: &[Dependency]) -> bool {
        evaluate(entries, &RUNNING).unwrap().all()
    }

    #[test]
    fn entries_are_read_from_words() {
        for (text, image, comparison, version) in [
            ("application >= 2", ImageType::Application, Comparison::AtLeast, 2),
            (" bootloader  > 2.4.1 ", ImageType::Bootloader, Comparison::Greater, 0x0204_0001),
            ("se == 66051", ImageType::Se, Comparison::Equal, 0x0001_0203),
        ] {
            assert_eq!(text.parse(), Ok(Dependency::new(image, comparison, version)));
        }
        for text in
            ["", "application", "application => 2", "app > 2", "application > x", "application > 2 3", "se < -1"]
        {
            assert!(text.parse::<Dependency>().unwrap_err().contains("expected"), "{text}");
        }
    }

    #[test]
    fn each_comparison() {
        for (comparison, [two, three, four]) in [
            (Comparison::Less, [false, false, true]),
            (Comparison::AtMost, [false, true, true]),
            (Comparison::Equal, [false, true, false]),
            (Comparison::AtLeast, [true, true, false]),
            (Comparison::Greater, [true, false, false]),
        ] {
            for (version, expected) in [(2, two), (3, three), (4, four)] {
                let entry = application(comparison, version);
                assert_eq!(holds(&[entry]), expected, "{entry}");
                assert_eq!(holds(&[entry.negated()]), !expected, "{entry}");
                assert_eq!(Dependency::parse(&entry.emit()), entry);
            }
        }
    }

    #[test]
    fn types_are_joined_each_for_itself() {
        let bootloader = Dependency::new(ImageType::Bootloader, Comparison::AtLeast, 0x0204_0000);
        // The highest byte of the secure engine is not compared.
        let se = Dependency::new(ImageType::Se, Comparison::Equal, 0x0001_0203);
        assert!(holds(&[application(Comparison::Equal, 3), bootloader, se]));
        assert_eq!(
            evaluate(&[application(Comparison::Less, 3), bootloader], &RUNNING).unwrap().of,
            [false, true, true]
        );
        assert!(holds(&[]));
        let series_1 = Running { se: None, ..RUNNING };
        assert_eq!(evaluate(&[se], &series_1), None);
        assert_eq!(evaluate(&[Dependency { image_code: 4, ..se }], &RUNNING), None);
        assert_eq!(evaluate(&[Dependency { statement: 0x0a, ..se }], &RUNNING), None);
        assert_eq!(evaluate(&[Dependency { statement: 0x46, ..se }], &RUNNING), None);
    }

    #[test]
    fn connectives() {
        let (old, new) = (application(Comparison::Equal, 1), application(Comparison::Equal, 3));
        assert!(!holds(&[old, new]));
        assert!(holds(&[old, new.joined(Connective::Or)]));
        assert!(holds(&[old.joined(Connective::Or)]), "true or anything");
        assert!(holds(&[old.result_negated()]));
        assert!(!holds(&[new.result_negated(), old.joined(Connective::Or)]));
    }

    #[test]
    fn without_an_application_the_result_is_false_until_an_or() {
        let running = Running { application: None, ..RUNNING };
        let of = |entries: &[Dependency]| evaluate(entries, &running).unwrap().all();
        assert!(!of(&[application(Comparison::AtLeast, 0)]));
        assert!(of(&[application(Comparison::AtLeast, 0).joined(Connective::Or)]));
        assert!(of(&[application(Comparison::Equal, 9).result_negated()]));
    }

    #[test]
    fn entries_in_words() {
        use Comparison::{AtLeast, AtMost, Equal, Less};
        let bootloader = Dependency::new(ImageType::Bootloader, AtLeast, 0x0204_0001);
        let se = Dependency::new(ImageType::Se, Less, 0x0201_0203);
        let or = |entry: Dependency| entry.joined(Connective::Or);
        for (entries, expected) in [
            (vec![application(AtLeast, 3)], vec!["application >= 3"]),
            (vec![se.negated(), bootloader], vec!["bootloader >= 2.4.1", "secure engine >= 1.2.3"]),
            (
                vec![application(Equal, 1), or(application(Equal, 2)), application(AtMost, 9).negated()],
                vec!["(application == 1 or application == 2) and application > 9"],
            ),
            (vec![application(Equal, 1).result_negated()], vec!["not (application == 1)"]),
            (vec![or(application(Equal, 1))], vec!["application of any version"]),
            (vec![or(application(Equal, 1)).result_negated()], vec!["application of no version"]),
            (vec![Dependency { image_code: 9, ..se }], vec![]),
        ] {
            assert_eq!(words(&entries), expected);
        }
        assert_eq!(Dependency { image_code: 9, ..se }.to_string(), "image 9 statement 0x00 33620483");
    }
}
