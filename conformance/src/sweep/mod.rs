//! Sweeps of uploads: every power loss there is, while the built-in initiator updates a target.
//!
//! [`Upload`] is a [`Machine`](brickproof_flash_model::sweep::Machine): bootloader, application with its server, and
//! initiator. [`explore`](fn@brickproof_flash_model::sweep::explore) cuts power at every flash operation of all of them, any
//! number of times.
//!
//! | module | what it holds |
//! |---|---|
//! | [`upload`] | the machine, and the argument why its states are merged rightly |
//! | `line` | a wire to a device that may lose its power |
//! | `script` | how an initiator that was not started again is brought to where it was |
//! | [`known`] | what is known to be found |
//! | [`state`] | what survives beside the flash, and what must hold |
//! | `fields` | what the server reads of an image in flash |

mod fields;
pub mod known;
mod line;
mod script;
pub mod state;
pub mod upload;

pub use known::Known;
pub use state::{Phase, State};
pub use upload::{Again, Initiator, Upload};
