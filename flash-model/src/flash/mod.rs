//! NOR flash that can lose power at any byte.
//!
//! | type | what it is |
//! |---|---|
//! | [`Geometry`] | sectors (of unequal size), program unit, erased value, limits: never changes |
//! | [`Device`] | one chip: a geometry and its contents in copy-on-write sectors |
//! | [`Flash`] | every chip of a board; cloning it costs one reference count per sector |
//! | [`Area`] | a region of one chip: a slot, a scratch area |
//! | [`Controller`] | the only way to change a [`Flash`]: numbers operations, asks the [`Hook`], fuses |
//! | [`Hook`] | who decides before, inside and after each operation whether power is lost |
//!
//! # What can go wrong, and why recovery must be possible
//!
//! An operation is one erase of one sector or one program call. Power is lost *before* it (nothing
//! changes) or *inside* it, and then a [`Tear`] says which bytes were reached. Everything before the
//! operation is durable, nothing after it happens: once interrupted, a [`Controller`] refuses every
//! further operation, so code that swallows the error cannot go on writing.

mod controller;
mod device;
mod error;
mod geometry;
mod hook;
mod intern;
mod sectors;
mod unknown;

pub use controller::Controller;
pub(crate) use device::fold;
pub use device::{Damage, Device, Flash};
pub use error::{FlashError, Interruption, Refusal};
pub use geometry::{Area, Geometry, GeometryError, Overwrite, ProtectedRegion, Sector, SectorRun};
pub use hook::{Count, Cut, Hook, Operation, OperationKind, Step, Tear, TearModel, Uncut, Verdict};
pub use intern::Interner;
pub use unknown::Forgotten;
