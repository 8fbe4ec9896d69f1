//! What the running application writes to ask the bootloader for something
//! (mcuboot: `boot_set_next` in `bootutil_public.c`).
//!
//! | target | trailer before | writes, in this order |
//! |---|---|---|
//! | secondary, test | magic unset | magic, swap info |
//! | secondary, permanent | magic unset | magic, image_ok, swap info |
//! | secondary | magic good | nothing: a test request is not made permanent |
//! | secondary | magic bad | [`RequestError::BadImage`] |
//! | primary, confirm | magic good, image_ok unset | image_ok |
//! | primary, confirm | magic good, image_ok set or bad; magic unset | nothing |
//! | primary, confirm | magic bad | [`RequestError::BadVector`] |
//!
//! The magic comes first here: a power loss after it turns a permanent request into a test.

use thiserror::Error;

use super::{Flag, Magic, Mcuboot, Pair, Slot, SwapType};
use crate::flash::{Controller, FlashError};

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
    /// Asks for the secondary image at the next boot.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_pending(&self, flash: &mut Controller<'_>, permanent: bool) -> Result<(), RequestError> {
        let trailer = self.trailer(Slot::Secondary);
        match trailer.read(flash.flash())?.magic {
            Magic::Good => Ok(()),
            Magic::Bad => Err(RequestError::BadImage),
            Magic::Unset => {
                trailer.write_magic(flash)?;
                if permanent {
                    trailer.write_image_ok(flash)?;
                }
                let swap = if permanent { SwapType::Permanent } else { SwapType::Test };
                Ok(trailer.write_swap_info(flash, swap)?)
            }
        }
    }

    /// Keeps the running image.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_confirmed(&self, flash: &mut Controller<'_>) -> Result<(), RequestError> {
        let trailer = self.trailer(Slot::Primary);
        let state = trailer.read(flash.flash())?;
        match state.magic {
            Magic::Bad => Err(RequestError::BadVector),
            Magic::Good if state.image_ok == Flag::Unset => Ok(trailer.write_image_ok(flash)?),
            Magic::Good | Magic::Unset => Ok(()),
        }
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
