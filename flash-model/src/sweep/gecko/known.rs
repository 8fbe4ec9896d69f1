//! What is known of the bootloader: findings of a sweep that are its own, with the evidence. Any other finding is a mistake.

use crate::sweep::{Finding, Property};

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The file goes into a storage slot first; otherwise an AppLoader puts it into its place.
    pub storage: bool,
    /// The chip is of Series 2.
    pub series_2: bool,
    /// The file has an application.
    pub application: bool,
    /// The file has a newer bootloader.
    pub bootloader: bool,
    /// An application starts only with the right signature.
    pub secure_boot: bool,
    /// Or the right CRC-32.
    pub crc: bool,
    /// The bootloader takes newer applications only.
    pub version_check: bool,
    /// The bootloader remembers the versions that were started.
    pub rollback_protection: bool,
    /// The file is for certain versions of the application only.
    pub depends: bool,
    /// Data of the file is compressed and wrong.
    pub corrupt: bool,
    /// The application of the file reaches to where a new bootloader is put aside.
    pub covers_staging: bool,
}

/// A property of the bootloader.
pub type Known = Property<Facts>;

impl Known {
    /// The property that a finding shows.
    #[must_use]
    pub fn of(finding: &Finding, facts: &Facts) -> Option<&'static Self> {
        Self::shown(ALL, finding, facts)
    }
}

/// Those that a button gets over, which not every product has: they show to who wants more than the design promises, and
/// break it all the same.
pub const NEED_A_BUTTON: &[&str] = &["half-erased-application-starts", "torn-program-counter"];

/// All of them.
pub const ALL: &[Known] = &[
    Known {
        id: "no-trial",
        title: "There is no trial and no way back: an application that was installed stays, whatever it does",
        evidence: "By design: the old application is overwritten, and nothing is asked of the new one",
        remedy: "An application that finds itself failing must ask for the bootloader, and the initiator must have something to send",
        invariants: &["revert"],
        applies: |facts| facts.application,
        at: &[],
    },
    Known {
        id: "no-application-meanwhile",
        title: "In place, the first program data erases the application: there is none until the next complete upload",
        evidence: "btl_apploader_common.c parses what comes at once; btl_gbl_parser.c, parser_finalize writes the program counter last",
        remedy: "Keep the file and send it again from its first byte: the AppLoader waits for it",
        invariants: &["application"],
        applies: |facts| !facts.storage && facts.application,
        at: &["while the file is uploaded"],
    },
    Known {
        id: "bootloader-costs-application",
        title: "A bootloader alone, for an AppLoader, leaves no application, also without any power loss: its first page is erased",
        evidence: "btl_bootload.c, bootload_bootloaderCallback erases the first page of the application when the place for a new bootloader is in the space of the application",
        remedy: "Send the application behind the bootloader; the AppLoader waits for it",
        invariants: &["application"],
        applies: |facts| !facts.storage && facts.bootloader && !facts.application,
        at: &[],
    },
    Known {
        id: "answered-before-commit",
        title: "The initiator is told that the file is good before the bootloader of it is put into its place: power lost then leaves the old bootloader",
        evidence: "btl_apploader_common.c, bootloader_apploader_disconnection_complete commits the upgrade, and that is behind the answer to 0x03",
        remedy: "Read the bootloader version after the reset; when it is the old one, send the file again",
        invariants: &["acknowledged"],
        applies: |facts| !facts.storage && facts.bootloader,
        at: &["while the AppLoader ends"],
    },
    Known {
        id: "staging-overlap",
        title: "A file of bootloader and application, of which the application reaches to where the bootloader is put aside, comes to nothing on an AppLoader, also without any power loss: the bootloader is overwritten, a word of it is programmed into the application, and 0x03 is answered with success",
        evidence: "btl_gbl_parser.c, parser_finalize programs what was kept back of the bootloader, whatever is there now; BTL_UPGRADE_LOCATION_BASE is 24 KiB behind the start of the application in the samples",
        remedy: "Two files: the bootloader first, then the application",
        invariants: &["known-application", "rest", "acknowledged"],
        applies: |facts| !facts.storage && facts.bootloader && facts.covers_staging,
        at: &[],
    },
    Known {
        id: "half-erased-application-starts",
        title: "Power lost inside the erase of the first page can leave the program counter of the old application, and the next boot starts what is left",
        evidence: "btl_main.c looks at the program counter, and btl_bootload.c, bootload_verifyApplication takes an application without properties, or without a signature in them, for good; so a CRC helps only while the properties are left",
        remedy: "Secure boot. Without it a torn application may not be able to enter the bootloader, and only a button helps, if the product has one",
        invariants: &["known-application"],
        applies: |facts| !facts.secure_boot,
        at: &["torn erase in the application"],
    },
    Known {
        id: "half-erased-signature-location",
        title: "Power lost inside the erase of the first page can leave an application whose properties say that it ends with a CRC-32, and not where: the bootloader computes it over the end of the flash into a fault, at every start",
        evidence: "btl_bootload.c, bootload_verifyApplication does not look where signatureLocation is, for a CRC; bootload_verifySecureBoot does",
        remedy: "Secure boot; otherwise only a programmer helps, or a button, if the product has one",
        invariants: &["faults"],
        applies: |facts| facts.crc && !facts.secure_boot,
        at: &["torn erase in the application"],
    },
    Known {
        id: "torn-program-counter",
        title: "Power lost inside the program of the last word can leave a program counter that is in the flash and wrong, and the next boot starts there",
        evidence: "btl_gbl_parser.c, parser_finalize writes the program counter as one word; btl_bootload.c, bootload_verifyApplication takes any that is in the flash",
        remedy: "Secure boot, or an application with a CRC-32: both cover the vector table",
        invariants: &["known-application"],
        applies: |facts| !facts.secure_boot && !facts.crc,
        at: &["torn program in the program counter of the application"],
    },
    Known {
        id: "request-in-ram",
        title: "That the slot is to be installed is in RAM only: power lost before the first page of the application is erased forgets it, and the old application starts with the whole file in its slot",
        evidence: "btl_reset.c keeps the reset reason in the first word of the RAM; btl_main.c installs only when that asks for it or no application can be started",
        remedy: "An application that finds a good and newer file in its slot at start asks again, instead of erasing it; the initiator looks which version runs, and sends the file again",
        invariants: &["resumes"],
        applies: |facts| facts.storage,
        at: &["before the erase in"],
    },
    Known {
        id: "series-1-bootloader-alone",
        title: "A bootloader alone in a slot is never installed on Series 1, and nobody is told",
        evidence: "btl_storage.c, installImageFromSlot refuses it (BL upg with no app), and the application that verified it does not look",
        remedy: "A file of bootloader and application",
        invariants: &["resumes", "rest"],
        applies: |facts| facts.storage && !facts.series_2 && facts.bootloader && !facts.application,
        at: &[],
    },
    Known {
        id: "bootloader-alone-halts",
        title: "A bootloader alone in a slot erases the first page of the application on Series 2, and there is none to install: the new bootloader halts after three resets, also without any power loss",
        evidence: "btl_storage.c, installImageFromSlot has the check of Series 1 (BL upg with no app) only there; btl_main.c halts when the reset counter is at 2",
        remedy: "A file of bootloader and application, or a place for new bootloaders that is in no application",
        invariants: &["starts"],
        applies: |facts| facts.storage && facts.series_2 && facts.bootloader && !facts.application,
        at: &[],
    },
    Known {
        id: "corrupt-data-halts",
        title: "Compressed data that is wrong under a good CRC is found when the application in its place is erased: the bootloader halts after three resets, and does so at every start, also without any power loss",
        evidence: "btl_storage.c verifies a slot without the custom tags that decompress; btl_main.c halts when the reset counter is at 2",
        remedy: "None over the air. Decompress files before they are released; sign them, so that nobody else makes one",
        invariants: &["starts"],
        applies: |facts| facts.storage && facts.corrupt,
        at: &[],
    },
    Known {
        id: "corrupt-data-refused",
        title: "Compressed data that is wrong under a good CRC is refused when the application in its place is erased, also without any power loss",
        evidence: "btl_decompress_lzma.c is asked while the data comes in",
        remedy: "Send a good file: the AppLoader waits for it",
        invariants: &["upload"],
        applies: |facts| !facts.storage && facts.corrupt,
        at: &[],
    },
    Known {
        id: "version-check-refuses-itself",
        title: "With the check for newer versions, an upload that was cut behind the properties of the new application cannot be repeated: the bootloader takes what is there of it for the installed version, and wants a greater one",
        evidence: "btl_parser_app_version_check.c looks at the properties in flash, and of an application that is not whole only 24 bytes of the vector table are kept back",
        remedy: "Send a file with a still greater version",
        invariants: &["upload"],
        applies: |facts| !facts.storage && facts.version_check,
        at: &["while the file is uploaded"],
    },
    Known {
        id: "version-check-halts",
        title: "With the check for newer versions, an installation that was cut behind the properties of the new application is not resumed: the file in the slot is refused, as its own version is there already, and the bootloader halts after three resets",
        evidence: "btl_parser_app_version_check.c looks at the properties in flash, and of an application that is not whole only 24 bytes of the vector table are kept back; btl_main.c halts when the reset counter is at 2",
        remedy: "None over the air: only a programmer helps. Check versions in the application, not with this component",
        invariants: &["starts", "known-application"],
        applies: |facts| facts.storage && facts.version_check,
        at: &["the application"],
    },
    Known {
        id: "dependency-refuses",
        title: "A file that depends on the version of the application cannot be sent again when an upload was cut while that could not be read: it is refused as not met",
        evidence: "btl_gbl_parser.c, parser_parseVersionDependency takes a version that cannot be read for one that is not met",
        remedy: "Send a file without such a dependency: the AppLoader waits for it",
        invariants: &["upload"],
        applies: |facts| !facts.storage && facts.depends,
        at: &["while the file is uploaded"],
    },
    Known {
        id: "dependency-halts",
        title: "A file that depends on the version of the application is not resumed when its installation was cut while that could not be read: it is refused as not met, and the bootloader halts after three resets",
        evidence: "btl_gbl_parser.c, parser_parseVersionDependency takes a version that cannot be read for one that is not met; btl_main.c halts when the reset counter is at 2",
        remedy: "None over the air: only a programmer helps. Check what a file depends on in the application, before the slot is handed over",
        invariants: &["starts"],
        applies: |facts| facts.storage && facts.depends,
        at: &["the application"],
    },
    Known {
        id: "torn-properties-pointer",
        title: "Power lost inside the program of the word that points to the properties leaves a pointer out of the flash, and a file that depends on the version of the application makes the bootloader follow it into a fault",
        evidence: "btl_bootload.c, bootload_getApplicationVersion follows the pointer without looking where it goes",
        remedy: "In place, a file without such a dependency; from a slot only a programmer helps",
        invariants: &["faults"],
        applies: |facts| facts.depends,
        at: &["torn program in the application"],
    },
    Known {
        id: "torn-version",
        title: "Power lost while the version of a new application is remembered, at its first start, leaves a greater one: this application, and all that follow it, are refused as older",
        evidence: "btl_bootload.c, bootload_storeApplicationVersion writes one word without a checksum, and getHighestApplicationVersionSeen takes it as it is; unset bits of a version are ones",
        remedy: "A new bootloader, which makes it forget all versions, if it can still be sent: from a slot only a programmer helps",
        invariants: &["application", "upload", "starts"],
        applies: |facts| facts.rollback_protection,
        at: &["torn program of the versions that were started"],
    },
];
