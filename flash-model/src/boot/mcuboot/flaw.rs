//! Mistakes that MCUboot once had, to be put back into the model: what finds them is worth its time.
//!
//! | flaw | mode | what was wrong | needs |
//! |---|---|---|---|
//! | `swap-type-forgotten` | swap-scratch | no swap type in the trailer: a resumed swap guessed it (issue 480, mended by 485) | 1 cut |
//! | `padded-primary` | swap-move | the trailer of a confirmed factory image was taken for a swap under way (829, mended by 855) | a confirmed factory image |
//! | `trailer-twice` | swap-move | the first mend of 829 (830): a resumed swap wrote its trailer again, when the request was gone already | 2 cuts |
//! | `header-place` | swap-move | the header of an image that was moved was looked for where it had been: a static variable had not survived the reset (1588, mended by 1597) | 1 cut |
//! | `revert-needs-unset` | swap-move | a torn secondary trailer kept a revert from beginning (1966, mended by 2100) | 1 torn write |
//! | `stale-scratch-trailer` | swap-scratch | of the scratch area only as much was erased as the last step had used, not its trailer (mended by 1645) | a slot that is smaller than the scratch area |
//! | `forward-scratch-erase` | swap-scratch | the scratch area was erased from its start, so that its trailer outlived its data (mended by 2275) | 1 cut |
//! | `stuck-revert` | swap-move | a revert to an erased slot was asked for at every boot (mended by 2199) | an application that erases the old image |
//!
//! Numbers are those of issues and pull requests of MCUboot.

use super::Mode;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Issue 480.
    SwapTypeForgotten,
    /// Issue 829.
    PaddedPrimary,
    /// Pull request 830.
    TrailerTwice,
    /// Issue 1588.
    HeaderPlace,
    /// Issue 1966.
    RevertNeedsUnset,
    /// Pull request 1645.
    StaleScratchTrailer,
    /// Pull request 2275.
    ForwardScratchErase,
    /// Pull request 2199.
    StuckRevert,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SwapTypeForgotten,
        Self::PaddedPrimary,
        Self::TrailerTwice,
        Self::HeaderPlace,
        Self::RevertNeedsUnset,
        Self::StaleScratchTrailer,
        Self::ForwardScratchErase,
        Self::StuckRevert,
    ];

    /// The mode that had it.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Self::SwapTypeForgotten | Self::StaleScratchTrailer | Self::ForwardScratchErase => Mode::SwapScratch,
            Self::PaddedPrimary
            | Self::TrailerTwice
            | Self::HeaderPlace
            | Self::RevertNeedsUnset
            | Self::StuckRevert => Mode::SwapMove,
        }
    }

    /// What it needs to show.
    #[must_use]
    pub fn needs(self) -> &'static str {
        match self {
            Self::SwapTypeForgotten | Self::HeaderPlace => "one power loss",
            Self::PaddedPrimary => "a confirmed factory image: --slot primary=FILE:confirmed",
            Self::TrailerTwice => "two power losses",
            Self::RevertNeedsUnset => "one torn write",
            Self::StaleScratchTrailer => "a slot that is smaller than the scratch area",
            Self::ForwardScratchErase => {
                "one power loss, and images that fill their slots: --installed max --update max"
            }
            Self::StuckRevert => "an application that erases the old image: --story test-then-erase",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SwapTypeForgotten => "swap-type-forgotten",
            Self::PaddedPrimary => "padded-primary",
            Self::TrailerTwice => "trailer-twice",
            Self::HeaderPlace => "header-place",
            Self::RevertNeedsUnset => "revert-needs-unset",
            Self::StaleScratchTrailer => "stale-scratch-trailer",
            Self::ForwardScratchErase => "forward-scratch-erase",
            Self::StuckRevert => "stuck-revert",
        }
    }
}
