//! The bus of the virtual BlueZ: as a state machine, and over its socket.

mod driver;
mod model;
mod routing;
mod rules;
mod serve;
mod socket;
mod support;
