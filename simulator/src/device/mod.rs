//! The device: what is soldered, what survives a power loss, and what runs while power is on.
//!
//! [`Persistent`] is all that survives. [`power_on`] consumes it and gives a [`Device`];
//! [`Device::power_off`] consumes the device and gives it back. Nothing else can cross, so state that
//! must not survive a reset cannot survive it by accident.

mod application;
pub mod attributes;
mod battery;
mod board;
mod endpoint;
pub(crate) mod nordic;
mod nordic_legacy;
mod peripheral;
pub mod program;
mod silabs;

use std::hash::{DefaultHasher, Hash, Hasher};

use brickproof_flash_model::boot::gecko::{self, ResetInfo};
use brickproof_flash_model::boot::mcuboot::{Boot, Counters, Mcuboot, Outcome, Slot};
use brickproof_flash_model::boot::{nordic as nordic_boot, nordic_legacy as legacy_boot};
use brickproof_flash_model::flash::{Controller, Flash, Hook, Interruption};
use brickproof_flash_model::image::mcuboot::{SlotSource, inspect};

use crate::nordic::SharedBond;
use crate::smp::{Answer, BootloaderMode, Environment, Kept, Recovery, Server, recovery};
use crate::trace::Cause;

pub use application::{Behaviour, RunningImage};
pub use battery::{Battery, BatteryPolicy};
pub use board::{Board, Bootloader, FlashTiming};
pub use endpoint::Endpoint;
pub use peripheral::{Information, NAME_MAX, Peripheral, VendorCharacteristic, VendorService, static_address};

/// All that survives a power loss.
#[derive(Debug, Clone)]
pub struct Persistent {
    /// Every flash device.
    pub flash: Flash,
    /// Security counters of the bootloader.
    pub counters: Counters,
    /// RAM that keeps its contents through a reset, not through a power loss.
    pub retained: Retained,
    /// Settings and files of the application; `None` before the first start, which makes them.
    pub kept: Option<Kept>,
    /// Boots so far.
    pub boots: u64,
}

impl Persistent {
    /// A board with this flash that was never started.
    #[must_use]
    pub fn new(flash: Flash) -> Self {
        Self { flash, counters: Counters::default(), retained: Retained::default(), kept: None, boots: 0 }
    }
}

/// Zephyr's boot mode that asks the bootloader to stay (zephyr: `BOOT_MODE_TYPE_BOOTLOADER`).
pub const BOOT_MODE_BOOTLOADER: u8 = 1;

/// RAM that a reset leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Zephyr's boot mode: 0 normal, 1 bootloader.
    pub boot_mode: u8,
    /// The real-time clock, once it was set.
    pub clock: Option<Clock>,
    /// Nordic's general purpose retention register.
    pub gpregret: u8,
    /// The second one.
    pub gpregret2: u8,
    /// What an application has told a Legacy DFU bootloader of the central that has asked for it.
    pub shared: Option<SharedBond>,
    /// Why an EFR32 was reset: its first word of RAM.
    pub reset_info: ResetInfo,
}

/// A clock that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// What it was set to, in milliseconds since 1970.
    pub unix_ms: i64,
    /// When, in microseconds of the world's time.
    pub set_at_us: u64,
}

impl Retained {
    /// What is left of it after a start for this cause.
    fn after(self, cause: Cause) -> Self {
        match cause {
            Cause::PowerOn => Self::default(),
            // Nordic's retained registers are reset with the pin and by the watchdog (nRF52840 product specification,
            // 5.3.6.8, reset behaviour).
            Cause::PinReset | Cause::Watchdog => Self { gpregret: 0, gpregret2: 0, ..self },
            Cause::SoftReset | Cause::Crash => self,
        }
    }
}

/// A device that runs an image, or the recovery of its bootloader.
#[derive(Debug, Clone)]
pub struct Device {
    persistent: Persistent,
    program: Program,
}

/// What a device runs.
#[derive(Debug, Clone)]
enum Program {
    Application {
        image: RunningImage,
        /// Absolute number of the slot it runs from.
        running_slot: u32,
        server: Box<Server>,
    },
    Recovery {
        server: Recovery,
        reason: String,
    },
    /// Of Nordic's: with the image that runs, unless it is the bootloader.
    Nordic {
        image: Option<RunningImage>,
        program: Box<crate::nordic::Program>,
    },
    /// The same with Legacy DFU.
    NordicLegacy {
        image: Option<RunningImage>,
        program: Box<crate::nordic::LegacyProgram>,
    },
    /// Of Silicon Labs': with the image that runs, unless it is the AppLoader.
    Silabs {
        image: Option<RunningImage>,
        program: Box<crate::silabs::Program>,
    },
}

/// How a start ended.
#[derive(Debug)]
pub enum Started {
    /// An image runs, or the recovery of the bootloader.
    Running(Device, Booted),
    /// There is nothing to run.
    Dead(Persistent, Booted),
    /// The bootloader resets the device.
    Resets(Persistent, Booted),
    /// The start was interrupted.
    Interrupted(Persistent, Interruption),
}

/// What a boot did, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootSummary {
    /// The turns it took.
    pub decisions: Vec<String>,
    /// What it installed: `test`, `permanent` or `revert`, and of Nordic's what it activated.
    pub swapped: Option<String>,
    /// Why nothing runs, or why the bootloader stays.
    pub reason: Option<String>,
}

/// Why DFU mode of Nordic's Secure DFU cannot begin: the error handler resets the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDfuMode {
    /// A stored init packet is refused.
    InitPacket(nordic_boot::Refusal),
    /// The bootloader demands a bond, and no application has shared one (nrf5 sdk 17.1: `nrf_dfu_ble.c`,
    /// `ble_dfu_transport_init`).
    NoBond,
}

/// A boot that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booted {
    /// Of MCUboot.
    Mcuboot(Boot),
    /// Of Nordic's bootloader, and why DFU mode could not begin, if it could not.
    Nordic(nordic_boot::Boot, Option<NoDfuMode>),
    /// Of a Legacy DFU bootloader.
    NordicLegacy(legacy_boot::Boot),
    /// Of a Gecko bootloader.
    Gecko(gecko::Boot),
}

impl Booted {
    /// What it did, for people.
    #[must_use]
    pub fn summary(&self) -> BootSummary {
        match self {
            Self::Mcuboot(boot) => BootSummary::of_mcuboot(boot),
            Self::Nordic(boot, refused) => nordic::summary(boot, *refused),
            Self::NordicLegacy(boot) => nordic_legacy::summary(boot),
            Self::Gecko(boot) => silabs::summary(boot),
        }
    }

    /// The boot, where it was MCUboot's.
    #[must_use]
    pub fn into_mcuboot(self) -> Option<Boot> {
        match self {
            Self::Mcuboot(boot) => Some(boot),
            Self::Nordic(..) | Self::NordicLegacy(_) | Self::Gecko(_) => None,
        }
    }
}

impl BootSummary {
    fn of_mcuboot(boot: &Boot) -> Self {
        Self {
            decisions: boot.decisions.iter().map(ToString::to_string).collect(),
            swapped: boot.swapped().map(|swap| swap.to_string()),
            reason: match &boot.outcome {
                Outcome::Boot { .. } => None,
                Outcome::NoBootableImage { reason } | Outcome::Halt { reason } => Some(reason.clone()),
            },
        }
    }
}

/// Starts the board at `now_us`: retained RAM is treated as the cause demands, then the bootloader runs.
pub fn power_on(board: &Board, mut persistent: Persistent, cause: Cause, now_us: u64, hook: &mut dyn Hook) -> Started {
    persistent.retained = persistent.retained.after(cause);
    persistent.boots += 1;
    match &board.bootloader {
        Bootloader::Mcuboot(mcuboot) => power_on_mcuboot(board, mcuboot, persistent, hook),
        Bootloader::Nordic(own) => nordic::power_on(board, own, persistent, cause, now_us, hook),
        Bootloader::NordicLegacy(own) => nordic_legacy::power_on(board, own, persistent, cause, now_us, hook),
        Bootloader::Silabs(own) => silabs::power_on(board, own, persistent, cause, hook),
    }
}

fn power_on_mcuboot(board: &Board, mcuboot: &Mcuboot, mut persistent: Persistent, hook: &mut dyn Hook) -> Started {
    let boot = mcuboot.boot_with(&mut Controller::new(&mut persistent.flash, hook), &mut persistent.counters);
    let boot = match boot {
        Err(interruption) => return Started::Interrupted(persistent, interruption),
        Ok(boot) => boot,
    };
    if let Some(config) = &board.recovery {
        // mcuboot: boot/zephyr/main.c: the boot mode is looked at, and cleared, when the images have been seen to.
        let asked = persistent.retained.boot_mode == BOOT_MODE_BOOTLOADER;
        let reason = match &boot.outcome {
            Outcome::Boot { .. } if asked => Some("the retained boot mode asks for it".to_owned()),
            Outcome::NoBootableImage { reason } => Some(reason.clone()),
            Outcome::Boot { .. } | Outcome::Halt { .. } => None,
        };
        if let Some(reason) = reason {
            if asked {
                persistent.retained.boot_mode = 0;
            }
            let program = Program::Recovery { server: Recovery::new(config.clone()), reason };
            return Started::Running(Device { persistent, program }, Booted::Mcuboot(boot));
        }
    }
    match &boot.outcome {
        Outcome::Boot { offset, header, hash } => {
            // Where images do not move, the newer one may run from the other slot.
            let slot = mcuboot.pair(0).map_or(Slot::Primary, |pair| pair.slot_at(*offset));
            let running_slot = u32::from(slot == Slot::Secondary);
            // A bootloader that does not validate still starts the image that is there.
            let source = SlotSource { flash: &persistent.flash, area: mcuboot.area(slot) };
            let hash = hash.or_else(|| inspect(&source).ok().and_then(|info| info.hash));
            let image = RunningImage { hash, version: header.version.to_string(), behaviour: board.behaviour(hash) };
            let kept = persistent.kept.get_or_insert_with(|| Kept::factory(&board.smp));
            let server = Box::new(Server::new(board.smp.clone(), kept));
            Started::Running(
                Device { persistent, program: Program::Application { image, running_slot, server } },
                Booted::Mcuboot(boot),
            )
        }
        Outcome::NoBootableImage { .. } | Outcome::Halt { .. } => Started::Dead(persistent, Booted::Mcuboot(boot)),
    }
}

/// A board that is found running what its primary slot holds: the boot that led there is past, and what
/// the trailers ask for is left to the next one. Only with MCUboot; otherwise what survives is given back.
///
/// # Errors
/// The same board, not started.
pub fn found_running(board: &Board, mut persistent: Persistent) -> Result<Device, Box<Persistent>> {
    let Some(mcuboot) = board.mcuboot() else { return Err(Box::new(persistent)) };
    let slot = SlotSource { flash: &persistent.flash, area: mcuboot.area(Slot::Primary) };
    let info = inspect(&slot).ok();
    let hash = info.as_ref().and_then(|info| info.hash);
    let version = info.map(|info| info.header.version).unwrap_or_default().to_string();
    let image = RunningImage { hash, version, behaviour: board.behaviour(hash) };
    persistent.boots += 1;
    let kept = persistent.kept.get_or_insert_with(|| Kept::factory(&board.smp));
    let server = Box::new(Server::new(board.smp.clone(), kept));
    Ok(Device { persistent, program: Program::Application { image, running_slot: 0, server } })
}

impl Device {
    /// Takes power away, or resets.
    #[must_use]
    pub fn power_off(self) -> Persistent {
        self.persistent
    }

    /// What survives, to be looked at.
    #[must_use]
    pub fn persistent(&self) -> &Persistent {
        &self.persistent
    }

    /// The flash, for what happens to it from outside.
    pub(crate) fn flash_mut(&mut self) -> &mut Flash {
        &mut self.persistent.flash
    }

    /// The image that runs; `None` while the recovery does.
    #[must_use]
    pub fn image(&self) -> Option<&RunningImage> {
        match &self.program {
            Program::Application { image, .. } => Some(image),
            Program::Nordic { image, .. } | Program::NordicLegacy { image, .. } | Program::Silabs { image, .. } => {
                image.as_ref()
            }
            Program::Recovery { .. } => None,
        }
    }

    /// The slot that the image runs from; the primary one while the recovery runs.
    #[must_use]
    pub fn running_slot(&self) -> Slot {
        match &self.program {
            Program::Application { running_slot: 1, .. } => Slot::Secondary,
            Program::Application { .. }
            | Program::Recovery { .. }
            | Program::Nordic { .. }
            | Program::NordicLegacy { .. }
            | Program::Silabs { .. } => Slot::Primary,
        }
    }

    /// Why the recovery of the bootloader runs, if it does.
    #[must_use]
    pub fn recovery(&self) -> Option<&str> {
        match &self.program {
            Program::Application { .. }
            | Program::Nordic { .. }
            | Program::NordicLegacy { .. }
            | Program::Silabs { .. } => None,
            Program::Recovery { reason, .. } => Some(reason),
        }
    }

    /// Whether requests are served at all.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.image().is_none_or(|image| image.behaviour.serves())
    }

    /// Next expected offset and size of the upload under way, in bytes; the size is what was announced, or what the
    /// board expects where nothing announces it.
    #[must_use]
    pub fn upload(&self, board: &Board) -> Option<(u32, u32)> {
        match &self.program {
            Program::Application { server, .. } => server.upload(),
            Program::Recovery { server, .. } => server.upload(),
            Program::Nordic { program, .. } => program.progress(),
            Program::NordicLegacy { program, .. } => program.progress(),
            Program::Silabs { program, .. } => {
                let size = board.as_silabs().and_then(|own| own.file_len)?;
                Some((u32::try_from(program.bytes()?).unwrap_or(u32::MAX), size))
            }
        }
    }

    /// Size of a packet buffer in bytes, and how many there are.
    #[must_use]
    pub fn buffers(&self) -> (u16, u8) {
        match &self.program {
            Program::Application { server, .. } => (server.config().buffer_size, server.config().buffer_count),
            // One packet is put together while the answer to another is made; the rest waits as lines.
            Program::Recovery { server, .. } => (server.config().receive_size, 3),
            Program::Nordic { .. } | Program::NordicLegacy { .. } | Program::Silabs { .. } => (0, 0),
        }
    }

    /// From the answer to a reset request to the reset, in microseconds.
    #[must_use]
    pub fn reset_delay_us(&self) -> u64 {
        match &self.program {
            Program::Application { server, .. } => server.config().reset_delay_us,
            Program::Recovery { .. } => recovery::RESET_DELAY_US,
            Program::Nordic { .. } | Program::NordicLegacy { .. } | Program::Silabs { .. } => 0,
        }
    }

    /// A number for all that a power loss takes: what runs, what its server keeps in RAM, and the retained RAM. The
    /// same for the same contents, in one build of this program. Settings and files are left out.
    #[must_use]
    pub fn volatile(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let Retained { boot_mode, clock, gpregret, gpregret2, shared, reset_info } = self.persistent.retained;
        (gpregret, gpregret2, boot_mode, shared, reset_info, clock.map(|clock| (clock.unix_ms, clock.set_at_us)))
            .hash(&mut hasher);
        match &self.program {
            Program::Application { image, running_slot, server } => {
                (image.hash, running_slot).hash(&mut hasher);
                server.hash_ram(&mut hasher);
            }
            Program::Recovery { server, .. } => server.hash_ram(&mut hasher),
            // Not swept together with its protocol.
            Program::Nordic { .. } | Program::NordicLegacy { .. } | Program::Silabs { .. } => {}
        }
        hasher.finish()
    }

    /// Handles one packet that arrived at `now_us`.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it.
    pub fn handle(
        &mut self,
        board: &Board,
        battery: Battery,
        now_us: u64,
        packet: &[u8],
        hook: &mut dyn Hook,
    ) -> Result<Answer, Interruption> {
        let Some(mcuboot) = board.mcuboot() else { return Ok(Answer::default()) };
        let mut flash = Controller::new(&mut self.persistent.flash, hook);
        match &mut self.program {
            Program::Nordic { .. } | Program::NordicLegacy { .. } | Program::Silabs { .. } => Ok(Answer::default()),
            Program::Recovery { server, .. } => server.handle(packet, &mut flash, mcuboot),
            Program::Application { image, running_slot, server } => {
                let mut environment = Environment {
                    flash: &mut flash,
                    mcuboot,
                    running_slot: *running_slot,
                    refuse_upload: board.battery.refuses(battery),
                    refuse_confirm: image.behaviour.refuses_confirm(),
                    storage: board.layout.area("storage"),
                    kept: self.persistent.kept.get_or_insert_default(),
                    retained: &mut self.persistent.retained,
                    now_us,
                };
                server.handle(packet, &mut environment)
            }
        }
    }

    /// The application confirms its own image.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. A refused write is the application's problem and changes
    /// nothing.
    pub fn confirm_itself(&mut self, board: &Board, hook: &mut dyn Hook) -> Result<(), Interruption> {
        use brickproof_flash_model::boot::mcuboot::RequestError;
        use brickproof_flash_model::flash::FlashError;

        let (Program::Application { .. }, Some(mcuboot)) = (&self.program, board.mcuboot()) else { return Ok(()) };
        let slot = self.running_slot();
        let mut flash = Controller::new(&mut self.persistent.flash, hook);
        let confirmed = match (board.smp.bootloader, mcuboot.pair(0)) {
            (BootloaderMode::DirectXipWithRevert, Some(pair)) => pair.set_next_direct_xip(&mut flash, slot, true),
            _ => mcuboot.set_confirmed(&mut flash),
        };
        match confirmed {
            Err(RequestError::Flash(FlashError::Interrupted(interruption))) => Err(interruption),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
