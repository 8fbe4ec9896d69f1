//! Records of what programs do on the virtual BlueZ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something happened on the bus, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum BusEvent {
    /// A program has opened a connection.
    Opened {
        /// Its unique name, like `:1.3`.
        client: String,
        /// Its process, where the kernel tells.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        process: Option<u32>,
    },
    /// A method was called.
    Call {
        /// Who called.
        client: String,
        /// Of which object.
        path: String,
        /// Interface and member, like `org.bluez.Device1.Connect`.
        member: String,
        /// Name and text of the error, if it was refused.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
    },
    /// A connection was closed.
    Closed {
        /// Its unique name.
        client: String,
    },
    /// A command has ended, and nobody has opened the bus so far.
    Missed {
        /// Why, as far as its processes and its output show it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// Something about the adapter that the target is on.
    Adapter {
        /// What, in words.
        what: String,
    },
}
