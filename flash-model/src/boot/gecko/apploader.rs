//! An update in place, as the AppLoader does it: what comes over the air is programmed at once (simplicity sdk:
//! `btl_apploader_common.c`; the library behind it is closed).
//!
//! | what the initiator does | flash |
//! |---|---|
//! | 0x00 | nothing |
//! | header and application info | nothing |
//! | program data | a page is erased where data enters it, then words are programmed; those that make the application bootable stay 0xff |
//! | the end, with a good CRC and signature | the words that were kept back, the program counter last |
//! | 0x03 | nothing |
//! | disconnects | nothing, or a new bootloader is put into its place |

use super::run::reason;
use super::{Callbacks, Code, Contents, Decompressor, Entry, Gecko, ImageProperties, Outcome, Parser, Stop, Taker};
use crate::flash::Controller;

/// An AppLoader, from its start to the reset that every disconnect brings.
#[derive(Debug, Clone)]
pub struct AppLoader {
    parser: Option<Parser>,
    decompressor: Decompressor,
    properties: ImageProperties,
    started: bool,
}

impl Default for AppLoader {
    fn default() -> Self {
        let properties = ImageProperties { instructions: Contents::ALL, ..ImageProperties::default() };
        Self { parser: None, decompressor: Decompressor::default(), properties, started: false }
    }
}

impl AppLoader {
    /// Begins to read a file. What is known of one before stays (`bootloader_apploader_parser_init`).
    pub fn start(&mut self) {
        self.parser = Some(Parser::new(true));
    }

    /// Whether a file may come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parser.is_some()
    }

    /// What is known of the file.
    #[must_use]
    pub fn properties(&self) -> &ImageProperties {
        &self.properties
    }

    /// The next bytes of the file (`bootloader_apploader_parse_gbl`).
    ///
    /// # Errors
    /// [`Stop`]: power is lost, or the device hangs. Inside, why the file is refused.
    pub fn data(&mut self, gecko: &Gecko, flash: &mut Controller<'_>, piece: &[u8]) -> Result<Result<(), Code>, Stop> {
        let Some(parser) = &mut self.parser else { return Ok(Err(Code::Unexpected)) };
        self.started = true;
        let mut taker = Taker {
            gecko,
            flash,
            callbacks: Callbacks { application: true, bootloader: true },
            properties: &mut self.properties,
            decompressor: &mut self.decompressor,
        };
        parser.parse(piece, &mut taker)
    }

    /// What came of it (`bootloader_apploader_parser_finish`).
    ///
    /// # Errors
    /// [`Code::Rejected`] of a file that was not verified.
    pub fn finish(&self) -> Result<(), Code> {
        match (self.properties.completed, self.properties.verified) {
            (true, true) => Ok(()),
            (_, false) => Err(Code::Rejected),
            (false, true) => Err(Code::ImageError),
        }
    }

    /// The initiator is gone: the device resets (`bootloader_apploader_disconnection_complete`, and what `main` does then).
    ///
    /// # Errors
    /// [`Stop`]: power is lost.
    pub fn disconnect(
        &mut self,
        gecko: &Gecko,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
    ) -> Result<Outcome, Stop> {
        let whole = self.properties.completed && self.properties.verified;
        if whole {
            if self.properties.contents.se && self.properties.se_version > gecko.options().se_version {
                return Ok(gecko.commit_se(entry));
            }
            if self.properties.contents.bootloader
                && self.properties.bootloader_version > gecko.bootloader_version(flash.flash())?
                && let Some(outcome) = gecko.commit_bootloader(flash, entry, self.properties.bootloader_size)?
            {
                return Ok(outcome);
            }
        }
        let good = whole || !self.started;
        Ok(entry.reset(if good { reason::GO } else { reason::BADIMAGE }))
    }
}
