//! stub
pub mod air;
pub mod initiator;
pub mod judge;
pub mod library;
pub mod profile;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod target;
pub mod units;
