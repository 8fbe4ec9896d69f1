//! Virtual controllers, from the side of their hosts.

mod addresses;
mod properties;
mod sequences;
mod support;
mod time;
