//! What is known of the bootloader: findings of a sweep that are its own, with the evidence. Any other finding is a mistake.

use crate::boot::nordic::Profile;
use crate::image::nordic::FwType;
use crate::sweep::{Finding, Property};

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is updated.
    pub kind: FwType,
    /// Which SDK.
    pub profile: Profile,
    /// The application is given up when the init packet is accepted: single bank, by option or for want of room.
    pub gives_up_application: bool,
    /// The new SoftDevice has another major version.
    pub other_major: bool,
    /// The new SoftDevice has another size: the application would have to begin elsewhere.
    pub moves_application: bool,
    /// The new SoftDevice reaches into its own copy, up to the struct that says what it is.
    pub covers_source: bool,
    /// The image is of whole words.
    pub whole_words: bool,
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

/// All of them.
pub const ALL: &[Known] = &[
    Known {
        id: "no-trial",
        title: "There is no trial and no way back: an application that was activated stays, whatever it does",
        evidence: "By design: nrf_bootloader_fw_activation.c, app_activate copies over the old application, and nothing is asked of the new one",
        remedy: "An application that finds itself failing must ask for DFU mode, and the uploader must have something to send",
        invariants: &["revert"],
        applies: |facts| !facts.gives_up_application || facts.kind == FwType::Application,
        at: &[],
    },
    Known {
        id: "answered-before-stored",
        title: "The uploader is told that the image is accepted before that is written: power lost then leaves the old firmware",
        evidence: "Recorded from the real code (tests/golden/nordic-boot); nrf_dfu_req_handler.c, on_data_obj_execute_request_sched answers and then calls nrf_dfu_settings_write_and_backup",
        remedy: "Look which version runs after the reset; when it is the old one, send the package again",
        invariants: &["acknowledged"],
        applies: |_| true,
        at: &["while the acceptance of the image is written"],
    },
    Known {
        id: "no-application-meanwhile",
        title: "In a single bank, by option or for want of room, the application is given up when the init packet is accepted: there is none until an upload is complete",
        evidence: "nrf_dfu_utils.c, nrf_dfu_cache_prepare invalidates bank 0 before any of the image is there",
        remedy: "Keep the package and send it again; NRF_DFU_FORCE_DUAL_BANK_APP_UPDATES refuses such updates",
        invariants: &["application"],
        applies: |facts| facts.gives_up_application,
        at: &[],
    },
    Known {
        id: "application-needs-update",
        title: "A SoftDevice of another major version or of another size leaves no application that can be started, also without any power loss",
        evidence: "nrf_dfu_validation.c, postvalidate_sd_bl invalidates bank 0 for another major version; nrf_dfu_utils.c, nrf_dfu_bank0_start_addr moves with the size of the SoftDevice",
        remedy: "Send the application behind the SoftDevice; the device waits for it",
        invariants: &["application"],
        applies: |facts| facts.other_major || facts.moves_application,
        at: &[],
    },
    Known {
        id: "softdevice-over-its-source",
        title: "A SoftDevice that grows over its own copy, up to its information struct, cannot be resumed: one power loss in the last step leaves a broken one, and with it no radio",
        evidence: "Recorded from the real code (single-softdevice); nrf_bootloader_fw_activation.c, sd_activate looks for the magic at the start of the source before it looks at the write offset, and what fails is given up",
        remedy: "None for the initiator; a product that may update so keeps an application between the two, or programs the SoftDevice otherwise",
        invariants: &["softdevice", "starts"],
        applies: |facts| facts.covers_source,
        at: &["while the update is activated"],
    },
    Known {
        id: "version-taken-bootloader-not",
        title: "As softdevice-over-its-source, behind the SoftDevice of a package with a bootloader: the old bootloader stays, and the settings have the version of the new one, so that the package is refused",
        evidence: "Recorded from the real code (both-over-source); nrf_dfu_validation.c, postvalidate_sd_bl sets bootloader_version before anything is in place; nrf_dfu_ver_validation.c wants a greater one",
        remedy: "Send a package with a greater bootloader version",
        invariants: &["upload", "acknowledged", "stays"],
        applies: |facts| facts.covers_source && facts.kind == FwType::SoftdeviceBootloader,
        at: &["while the update is activated", "while the bootloader starts"],
    },
    Known {
        id: "bootloader-not-of-words",
        title: "A bootloader whose length is no multiple of 4 is copied without its last bytes, found to differ, and copied again, for ever",
        evidence: "nrf_dfu_mbr.c, nrf_dfu_mbr_copy_bl divides the length by 4; nrf_bootloader_fw_activation.c, bl_activate compares all of it",
        remedy: "Pad bootloaders to words, as the tools do that read HEX files",
        invariants: &["rest"],
        applies: |facts| !facts.whole_words && facts.kind.has_bootloader(),
        at: &[],
    },
    Known {
        id: "settings-without-backup",
        title: "The settings have no backup: power lost while they are written loses them, and with them the application, the update, or the init packet",
        evidence: "nrf5 sdk 15.0 and before: nrf_dfu_settings.c, nrf_dfu_settings_write erases the page before it is written, and nrf_dfu_settings_init makes zeros of a page without CRC; the init packet is in no CRC",
        remedy: "Send the package again, the init packet from its first byte, whatever the device says it has; a bootloader from SDK 15.3 on",
        invariants: &["application", "acknowledged", "stays", "upload"],
        applies: |facts| !facts.profile.has_backup(),
        at: &["the settings page"],
    },
];
