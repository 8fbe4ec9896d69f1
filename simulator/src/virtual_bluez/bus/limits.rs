//! What one client may take up, so that a program that has gone wild hurts only itself.
//!
//! Where `dbus-daemon` has the limit, too, the number is the one that it has on a system bus.

/// Connections at a time: more than any test opens, few enough that all of them together fit into the
/// 1024 file descriptors that a process has by default.
pub const CLIENTS_MAX: usize = 256;

/// Match rules of one client (`max_match_rules_per_connection`).
pub const RULES_MAX: usize = 512;

/// Bytes of one match rule (`DBUS_MAXIMUM_MATCH_RULE_LENGTH`).
pub const RULE_LENGTH_MAX: usize = 1024;

/// Names of one client, its unique name and those it waits for included (`max_names_per_connection`).
pub const NAMES_MAX: usize = 512;

/// Calls of one client that nobody has answered yet (`max_replies_per_connection`).
pub const CALLS_MAX: usize = 128;

/// Bytes of one message. The protocol allows 128 MiB; the longest one that Bluetooth needs, the list of all
/// objects of a full bus, stays far below this.
pub const MESSAGE_MAX: usize = 1 << 20;
