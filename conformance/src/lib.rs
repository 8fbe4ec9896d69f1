//! The half of brickproof that judges.
//!
//! A *scenario* puts an *initiator* (the tool that uploads firmware) against a simulated *target* and says
//! what goes wrong. What happened is one *trace*; a pure *check* per requirement reads it and gives
//! *findings*; findings make the *verdict*.
//!
//! # Layers
//!
//! * [`scenario`], [`target`], [`profile`], [`app`]: what people write, read with errors that name the place.
//!   [`library`] finds it, bundled or on disk.
//! * [`initiator`]: the built-in initiator, straight-line code over a wire, on virtual or real time.
//! * [`runner`]: one scenario, one world, one initiator; many at once.
//! * [`judge`]: traces in, findings out. Knows neither runner nor tool.
//! * [`mutant`]: initiators that are broken on purpose: they prove that the checks catch what they say.
//! * [`sweep`]: whole uploads under every power loss there is.
//! * [`report`]: the terminal and JSON. [`control`]: a running target over HTTP. [`cli`]: the commands.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | only passed, expected-failure, skipped, unsupported |
//! | 1 | something failed, passed unexpectedly or was inconclusive; a sweep found what is not known, or left something out |
//! | 2 | bad usage or input |
//! | 3 | the harness itself is at fault |

pub mod air;
pub mod app;
pub mod cli;
pub mod control;
pub mod initiator;
pub mod judge;
pub mod library;
pub mod mutant;
pub mod profile;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod sweep;
pub mod target;
pub mod units;
