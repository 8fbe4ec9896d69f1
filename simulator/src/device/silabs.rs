//! An EFR32 board: from its Gecko bootloader to what runs.

use brickproof_flash_model::boot::gecko::{Boot, Cause as BootCause, Decision, Entry, Outcome};
use brickproof_flash_model::flash::{Controller, Hook};

use super::attributes::Attributes;
use super::peripheral::static_address_of;
use super::{Board, BootSummary, Booted, Device, Persistent, Program, RunningImage, Started};
use crate::gatt::{self, AddressKind, Advertisement};
use crate::silabs::{self, Address, SilabsBoard};
use crate::trace::Cause;

/// AD type of an LE Bluetooth Device Address.
const DEVICE_ADDRESS: u8 = 0x1b;

/// The bootloader runs, and then what it has chosen.
pub(super) fn power_on(
    board: &Board,
    own: &SilabsBoard,
    mut persistent: Persistent,
    cause: Cause,
    hook: &mut dyn Hook,
) -> Started {
    let software = matches!(cause, Cause::SoftReset | Cause::Crash);
    let mut entry = Entry {
        cause: if software { BootCause::Software } else { BootCause::Power },
        info: persistent.retained.reset_info,
        button: own.starts_in_bootloader && persistent.boots == 1,
    };
    let boot = own.bootloader.boot(&mut Controller::new(&mut persistent.flash, hook), &mut entry);
    persistent.retained.reset_info = entry.info;
    let boot = match boot {
        Err(interruption) => return Started::Interrupted(persistent, interruption),
        Ok(boot) => boot,
    };
    let (image, program) = match &boot.outcome {
        Outcome::Application => {
            let hash = own.application_hash(&persistent.flash);
            let version = own.bootloader.application_version(&persistent.flash).ok().flatten();
            let version = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            let image = RunningImage { hash, version, behaviour: board.behaviour(hash) };
            (Some(image), silabs::Program::application(own, &persistent.flash))
        }
        Outcome::AppLoader => (None, silabs::Program::apploader(why(&boot))),
        Outcome::Reset { .. } => return Started::Resets(persistent, Booted::Gecko(boot)),
        Outcome::Halted { .. } | Outcome::Fault { .. } | Outcome::Brick { .. } => {
            return Started::Dead(persistent, Booted::Gecko(boot));
        }
    };
    let program = Program::Silabs { image, program: Box::new(program) };
    Started::Running(Device { persistent, program }, Booted::Gecko(boot))
}

/// Why an AppLoader runs.
fn why(boot: &Boot) -> String {
    let reason = boot.decisions.iter().rfind(|decision| {
        matches!(decision, Decision::Asked { .. } | Decision::Unbootable(_) | Decision::CopiesBootloader { .. })
    });
    reason.map_or_else(|| "there is no application".into(), ToString::to_string)
}

/// What a boot did, for people.
pub(super) fn summary(boot: &Boot) -> BootSummary {
    BootSummary {
        decisions: boot.decisions.iter().map(ToString::to_string).collect(),
        swapped: boot.decisions.iter().find_map(|decision| match decision {
            Decision::Installed { result: Ok(()), .. } | Decision::CopiesBootloader { .. } => {
                Some(decision.to_string())
            }
            _ => None,
        }),
        reason: match &boot.outcome {
            Outcome::AppLoader => Some(why(boot)),
            Outcome::Halted { reason } | Outcome::Fault { reason } | Outcome::Brick { reason } => Some(reason.clone()),
            Outcome::Application | Outcome::Reset { .. } => None,
        },
    }
}

/// A static random address that follows from another address, and is not that one.
fn other_static_address(usual: gatt::Address) -> gatt::Address {
    let address = static_address_of(&usual.0);
    if address == usual { address.next_in_last_byte() } else { address }
}

/// What an LE Bluetooth Device Address says: six bytes, least significant first, and the kind (Core Specification Supplement,
/// part A, 1.16); in some generations of the SDK the kind comes first.
fn device_address(usual: &Advertisement, kind_first: bool) -> Vec<u8> {
    let kind = match usual.address_kind {
        AddressKind::Public => 0,
        AddressKind::Random => 1,
    };
    let mut value: Vec<u8> = usual.address.0.iter().rev().copied().collect();
    value.insert(if kind_first { 0 } else { value.len() }, kind);
    value
}

impl Device {
    pub(super) fn silabs(&self) -> Option<&silabs::Program> {
        match &self.program {
            Program::Silabs { program, .. } => Some(program),
            _ => None,
        }
    }

    pub(super) fn silabs_mut(&mut self) -> Option<&mut silabs::Program> {
        match &mut self.program {
            Program::Silabs { program, .. } => Some(program),
            _ => None,
        }
    }

    /// What an AppLoader shows on the air: flags, name and the usual address of the device, whatever its own is; in the scan
    /// response its power (simplicity sdk: `btl_apploader_common.c`, `bootloader_apploader_communication_start`; that the
    /// address is the usual one is what `bt_host_ota_dfu/main.c` looks for).
    pub(super) fn apploader_advertisement(&self, board: &Board) -> Option<Advertisement> {
        self.silabs()?.mode()?;
        let own = board.as_silabs()?;
        let usual = &board.peripheral.advertisement;
        let (address, kind) = match own.ota.address {
            Address::Same => (usual.address, usual.address_kind),
            Address::StaticRandom => (other_static_address(usual.address), AddressKind::Random),
        };
        Some(Advertisement {
            name: Some(own.ota.advertised_name().to_owned()),
            tx_power: usual.tx_power.or(Some(0)),
            other: vec![(DEVICE_ADDRESS, device_address(usual, own.ota.kind_first))],
            rssi: usual.rssi,
            ..Advertisement::new(address, kind)
        })
    }

    /// The attributes of such a program.
    pub(super) fn silabs_attributes(&self, board: &Board) -> Option<Attributes> {
        let (program, own) = (self.silabs()?, board.as_silabs()?);
        let flash = &self.persistent.flash;
        let versions = [
            own.bootloader.bootloader_version(flash).unwrap_or(0),
            own.bootloader.application_version(flash).ok().flatten().unwrap_or(0),
        ];
        let version = self.image().map(|image| image.version.as_str());
        Some(Attributes::silabs(board, own, program, versions, version))
    }
}
