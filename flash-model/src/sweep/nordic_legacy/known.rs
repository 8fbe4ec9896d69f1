//! What is known of the bootloader: findings of a sweep that are its own, with the evidence. Any other finding is a mistake.

use crate::boot::nordic_legacy::Kind;
use crate::boot::nordic_legacy::init::{MODE_APPLICATION, MODE_BOOTLOADER, MODE_SOFTDEVICE};
use crate::sweep::{Finding, Property};

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is updated: bits of [`init`](crate::boot::nordic_legacy::init).
    pub mode: u8,
    /// Whose bootloader it is.
    pub kind: Kind,
    /// The image goes straight into its place.
    pub single_bank: bool,
    /// Without an application, DFU mode is over Bluetooth LE.
    pub to_ota: bool,
    /// The CRC of the old application is stored.
    pub checked: bool,
    /// The new SoftDevice is larger than the room of the old one.
    pub larger: bool,
    /// Half of that room is not of whole pages, and the bootloader does not round it.
    pub odd_room: bool,
    /// The new SoftDevice is so much larger that its last part covers two parts of the source.
    pub covers_itself: bool,
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
        id: "torn-application-starts",
        title: "With two banks, power lost while the new application is copied over the old one leaves a part of each, and the next boot starts that unchecked",
        evidence: "dfu_dual_bank.c, dfu_activate_app copies while the settings still call bank 0 valid; m_image_crc, which they get as its CRC, is never assigned and so always 0; bootloader.c, bootloader_app_is_valid takes 0 for \"not to be checked\"",
        remedy: "Keep the power until the new version answers. What was torn may not be able to enter DFU mode: then only the button of the bootloader helps",
        invariants: &["known-application"],
        applies: |facts| is_for(facts, MODE_APPLICATION) && !facts.single_bank && !facts.checked,
        at: &["bank 0, while the image is activated"],
    },
    Known {
        id: "half-erased-application-starts",
        title: "Power lost inside the erase of the first page of bank 0 can leave its first word, and the next boot starts what is left unchecked",
        evidence: "dfu_single_bank.c and, for a SoftDevice, dfu_dual_bank.c erase bank 0 at Start and call it invalid only when all of it is erased; bootloader.c, bootloader_app_is_valid takes a stored CRC of 0 for \"not to be checked\"",
        remedy: "Keep the power until the new version answers. What was torn may not be able to enter DFU mode: then only the button of the bootloader helps",
        invariants: &["known-application"],
        applies: |facts| received_in_bank_0(facts) && !facts.checked,
        at: &["torn erase in bank 0, while flash is erased for the image"],
    },
    Known {
        id: "no-application-meanwhile",
        title: "What is received in bank 0 erases the application at Start: there is none until the next complete upload of one",
        evidence: "dfu_single_bank.c, dfu_start_pkt_handle; dfu_dual_bank.c, dfu_prepare_func_app_erase for a SoftDevice",
        remedy: "Keep the package and send it again; after a SoftDevice, send the application",
        invariants: &["application"],
        applies: received_in_bank_0,
        at: &[],
    },
    Known {
        id: "no-application-after-cut-copy",
        title: "Power lost during activation can leave no application, although all of the new one is in bank 1: nobody knows that any more",
        evidence: "dfu_dual_bank.c, dfu_activate_app writes the settings behind the copy; bootloader.c, bootloader_settings_save erases them first",
        remedy: "Send the package again",
        invariants: &["application"],
        applies: |facts| is_for(facts, MODE_APPLICATION) && !facts.single_bank,
        at: &["while the image is activated"],
    },
    Known {
        id: "settings-erased-first",
        title: "An update of the bootloader alone can lose the application: the settings are erased before they are written, and there is no copy of them",
        evidence: "bootloader.c, bootloader_settings_save; of bank 0, nothing else says that it is valid",
        remedy: "Send an application",
        invariants: &["application"],
        applies: |facts| is_for(facts, MODE_BOOTLOADER) && !received_in_bank_0(facts),
        at: &["settings page, while the image is activated", "settings page, while the update is put into its place"],
    },
    Known {
        id: "activation-leaves-no-trace",
        title: "An image that the uploader was told is valid is forgotten when power is lost before its activation has been written",
        evidence: "Activate and Reset has no answer, and dfu_image_activate only queues what it does",
        remedy: "Look what runs after the reset; when it is the old one, send the package again",
        invariants: &["activated"],
        applies: |_| true,
        at: &["while the image is activated"],
    },
    Known {
        id: "out-of-reach-without-application",
        title: "Without an application, DFU mode of Adafruit's bootloader waits on its serial line: an update over Bluetooth LE that is cut cannot be repeated over Bluetooth LE",
        evidence: "main.c, check_dfu_mode: only GPREGRET asks for Bluetooth LE, and a power loss clears it; DEFAULT_TO_OTA_DFU is off in all builds of the Makefile",
        remedy: "Keep the power until the new version answers, or a cable; a product builds with DEFAULT_TO_OTA_DFU",
        invariants: &["reachable"],
        applies: |facts| facts.kind == Kind::Adafruit && !facts.to_ota,
        at: &[],
    },
    Known {
        id: "torn-settings",
        title: "Settings of which only the first words were written ask for the installation of a SoftDevice or a bootloader of nonsensical size, or for the CRC of a nonsensical length: the bootloader fails at every start",
        evidence: "bootloader_types.h: bank codes come first, sizes behind them, and there is no checksum; bootloader.c, bootloader_dfu_sd_in_progress looks at the codes alone",
        remedy: "None over the air: only a programmer helps. Keep the power while a SoftDevice or bootloader is activated",
        invariants: &["starts"],
        applies: |_| true,
        at: &["torn program in the settings page"],
    },
    Known {
        id: "odd-half",
        title: "A SoftDevice that outgrows the room of the old one, when half of that is not of whole pages, is not whole in the end, also without any power loss",
        evidence: "dfu_dual_bank.c, dfu_sd_image_swap copies it in blocks of half the room, and a copy erases whole pages; Adafruit's bootloader rounds the block (\"FIX START\" in dfu_single_bank.c)",
        remedy: "Update a SoftDevice of this kind with a programmer",
        invariants: &["softdevice", "starts"],
        applies: |facts| facts.larger && facts.odd_room,
        at: &[],
    },
    Known {
        id: "softdevice-over-its-source",
        title: "A SoftDevice that is larger than one and a half times the room of the old one cannot be resumed: power lost in its last part leaves a broken one",
        evidence: "dfu_dual_bank.c, dfu_sd_img_block_swap: the last part covers the source of two blocks, and a block that differs from its source is copied again",
        remedy: "None over the air",
        invariants: &["softdevice", "starts"],
        applies: |facts| facts.covers_itself,
        at: &["while the update is put into its place"],
    },
    Known {
        id: "no-trial",
        title: "There is no trial and no way back: an application that was activated stays, whatever it does",
        evidence: "By design: the old application is overwritten, and nothing is asked of the new one",
        remedy: "An application that finds itself failing must ask for DFU mode, and the uploader must have something to send",
        invariants: &["revert"],
        applies: |facts| is_for(facts, MODE_APPLICATION),
        at: &[],
    },
];

fn is_for(facts: &Facts, kind: u8) -> bool {
    facts.mode & kind != 0
}

/// Whether the application is erased for it.
fn received_in_bank_0(facts: &Facts) -> bool {
    facts.single_bank || is_for(facts, MODE_SOFTDEVICE)
}
