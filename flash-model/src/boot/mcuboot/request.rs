//! What the running application writes to ask the bootloader for something
//! (mcuboot: `boot_set_next` in `bootutil_public.c`).
//!
//! | target | trailer before | writes, in this order |
//! |---|---|---|
//! | secondary, test | magic unset | magic, swap info |
//! | secondary, permanent | magic unset | magic, image_ok, swap info |
//! | secondary | magic good | nothing: a test request is not made permanent |
//! | secondary | magic bad | erases the slot; [`RequestError::BadImage`] |
//! | primary, confirm | magic good, image_ok unset | image_ok |
//! | primary, confirm | magic good, image_ok set or bad; magic unset | nothing |
//! | primary, confirm | magic bad | [`RequestError::BadVector`] |
//!
//! The magic comes first here: a power loss after it turns a permanent request into a test.
//!
//! With direct-xip and revert:
//!
//! | target | trailer before | writes, in this order |
//! |---|---|---|
//! | any slot, test | magic unset | magic |
//! | any slot, for good | magic unset | magic, copy_done, image_ok |
//! | any slot, for good | magic good | of copy_done and image_ok what is unset |
//! | any slot | magic bad | [`RequestError::BadImage`] |

use thiserror::Error;

use super::{Flag, Magic, Mcuboot, Mode, Pair, Slot, SwapType};
use crate::flash::{Controller, Flash, FlashError};

/// Why a request was not written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The flash did not take it.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// The trailer of the running image is damaged (`BOOT_EBADVECT`).
    #[error("the primary trailer has a bad magic")]
    BadVector,
    /// The trailer of the other image is damaged (`BOOT_EBADIMAGE`).
    #[error("the secondary trailer has a bad magic")]
    BadImage,
}

impl Pair {
    /// Asks for the image in a slot at the next boot, as `boot_set_next` does for all modes that move
    /// images; `active` says whether the slot is the one that runs, which can only be confirmed.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_next(
        &self,
        flash: &mut Controller<'_>,
        slot: Slot,
        active: bool,
        confirm: bool,
    ) -> Result<(), RequestError> {
        let trailer = self.trailer(slot);
        let state = trailer.read(flash.flash())?;
        match (state.magic, active) {
            (Magic::Good, true) if state.image_ok == Flag::Unset => Ok(trailer.write_image_ok(flash)?),
            (Magic::Good, _) | (Magic::Unset, true) => Ok(()),
            (Magic::Unset, false) => {
                trailer.write_magic(flash)?;
                if confirm {
                    trailer.write_image_ok(flash)?;
                }
                let swap = if confirm { SwapType::Permanent } else { SwapType::Test };
                Ok(trailer.write_swap_info(flash, swap)?)
            }
            (Magic::Bad, true) => Err(RequestError::BadVector),
            (Magic::Bad, false) => {
                // The slot cannot be used any more as it is; whether the erase succeeds is not looked at.
                for sector in &self.sectors[slot.index()] {
                    if let Err(FlashError::Interrupted(interruption)) =
                        flash.erase(trailer.area(), sector.offset, sector.size)
                    {
                        return Err(FlashError::Interrupted(interruption).into());
                    }
                }
                Err(RequestError::BadImage)
            }
        }
    }

    /// The same for direct-xip with revert: the magic makes an image be tried, and a confirmed one has
    /// copy_done as if it had been tried already.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_next_direct_xip(
        &self,
        flash: &mut Controller<'_>,
        slot: Slot,
        confirm: bool,
    ) -> Result<(), RequestError> {
        let trailer = self.trailer(slot);
        let state = trailer.read(flash.flash())?;
        match state.magic {
            Magic::Bad => return Err(RequestError::BadImage),
            Magic::Unset => trailer.write_magic(flash)?,
            Magic::Good => {}
        }
        if confirm && state.copy_done == Flag::Unset {
            trailer.write_copy_done(flash)?;
        }
        if confirm && state.image_ok == Flag::Unset {
            trailer.write_image_ok(flash)?;
        }
        Ok(())
    }

    /// Asks for the secondary image at the next boot, in the way of the bootloader's mode.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_pending(&self, flash: &mut Controller<'_>, permanent: bool) -> Result<(), RequestError> {
        match self.options.mode {
            // The version alone decides: there is nothing to ask for.
            Mode::DirectXip { revert: false } => Ok(()),
            Mode::DirectXip { revert: true } => self.set_next_direct_xip(flash, Slot::Secondary, permanent),
            _ => self.set_next(flash, Slot::Secondary, false, permanent),
        }
    }

    /// Keeps the image that runs in the primary slot, in the way of the bootloader's mode.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_confirmed(&self, flash: &mut Controller<'_>) -> Result<(), RequestError> {
        match self.options.mode {
            Mode::DirectXip { revert: false } => Ok(()),
            Mode::DirectXip { revert: true } => self.set_next_direct_xip(flash, Slot::Primary, true),
            _ => self.set_next(flash, Slot::Primary, true, true),
        }
    }

    /// Whether the image in a slot, which runs there, is in its test: unless it is confirmed, the next boot takes
    /// another one.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn in_test(&self, flash: &Flash, slot: Slot) -> Result<bool, FlashError> {
        Ok(match self.options.mode {
            Mode::DirectXip { revert: false } => false,
            Mode::DirectXip { revert: true } => self.trailer(slot).read(flash)?.image_ok != Flag::Set,
            _ => self.swap_type(flash)? == SwapType::Revert,
        })
    }
}

impl Mcuboot {
    /// [`Pair::set_pending`] of image 0.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_pending(&self, flash: &mut Controller<'_>, permanent: bool) -> Result<(), RequestError> {
        self.first().set_pending(flash, permanent)
    }

    /// [`Pair::set_confirmed`] of image 0.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_confirmed(&self, flash: &mut Controller<'_>) -> Result<(), RequestError> {
        self.first().set_confirmed(flash)
    }
}
