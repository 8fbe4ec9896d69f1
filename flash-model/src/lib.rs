//! The half of a device that survives a power loss.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness. Only [`sweep`] has threads, and
//! gives the same with any number of them.
//! What a device does with this half while power is on is the business of `brickproof-simulator`.
//!
//! # Layers
//!
//! * [`flash`]: NOR devices that obey the rules of their data sheet and lose power where a hook says
//!   so. Knows bytes and sectors; does not know what is stored.
//! * [`layout`]: which devices a board has and what lies where. Knows names; does not know what they
//!   mean to a bootloader.
//! * [`image`]: update images, of MCUboot, of Nordic's nRF5 SDK and of Silicon Labs' Gecko Bootloader. Knows formats and
//!   signatures; does not know slots.
//! * [`boot`]: bootloaders, straight-line code over a [`flash::Controller`]. A boot takes the flash
//!   (and, where a bootloader has them, non-volatile counters) and nothing else, so it can be cut
//!   anywhere, repeated and compared. MCUboot: swap-move, swap-scratch, swap-offset, overwrite-only and direct-XIP, for one or
//!   several images, with ECDSA P-256, RSA or Ed25519 signatures.
//!   The Secure DFU bootloader of the nRF5 SDK, with its DFU mode up to what is written to flash.
//! * [`sweep`]: every power loss there is, of a bootloader or of anything else over a flash.
//! * [`source`]: mistakes in files a person wrote, with line, column and remedy.
//!
//! # Cutting a boot
//!
//! ```
//! use brickproof_flash_model::boot::mcuboot::{Mcuboot, Options, Slot};
//! use brickproof_flash_model::flash::{Controller, Cut, TearModel, Uncut};
//! use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
//! use brickproof_flash_model::layout::Layout;
//!
//! let key = SigningKey::from_seed(b"an example")?;
//! let image = |version: &str| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     Ok(ImageBuilder::new(version.parse()?).generated_payload(20_000).sign(&key)?)
//! };
//! let layout = Layout::preset("nrf24-a4")?;
//! let mcuboot = Mcuboot::new(&layout, Options::default(), Verifier::new(vec![key.public().clone()]))?;
//! let mut flash = layout.blank_flash();
//! flash.load(mcuboot.area(Slot::Primary), 0, &image("1.0.0")?)?;
//! flash.load(mcuboot.area(Slot::Secondary), 0, &image("1.1.0")?)?;
//! mcuboot.set_pending(&mut Controller::new(&mut flash, &mut Uncut), false)?;
//!
//! // Power is lost inside the 40th operation, half of which was done...
//! let mut cut = Cut { at: 39, tear: TearModel::FirstHalf };
//! assert!(mcuboot.boot(&mut Controller::new(&mut flash, &mut cut)).is_err());
//! // ...and the next boot finishes the swap.
//! let boot = mcuboot.boot(&mut Controller::new(&mut flash, &mut Uncut))?;
//! assert!(boot.outcome.is_boot());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod boot;
pub mod flash;
pub mod image;
pub mod layout;
pub mod source;
pub mod sweep;
