//! Names of the calls of Nordic's protocols, as faults and traces use them.
//!
//! | protocol | names |
//! |---|---|
//! | Secure DFU | `select-command`, `select-data`, `create-command`, `create-data`, `execute-command`, `execute-data`, `crc`, `set-prn`, `protocol-version`, `mtu`, `ping`, `hardware-version`, `firmware-version`, `abort`, `command-packet`, `data-packet` |
//! | buttonless | `enter-bootloader`, `set-name` |
//! | Legacy DFU | `legacy-start`, `legacy-sizes`, `legacy-init-begin`, `legacy-init-packet`, `legacy-init-end`, `legacy-receive`, `legacy-packet`, `legacy-validate`, `legacy-activate`, `legacy-reset`, `legacy-report-size`, `legacy-prn` |
//! | Silicon Labs' OTA | `ota-enter`, `ota-start`, `ota-data`, `ota-finish`, `ota-close`, `ota-reserved` |
//! | any | `packet` for all packets, `select`, `create`, `execute` for both objects, `any-call` for everything; `malformed-call` |
//!
//! What is notified for a packet is its receipt: the answer to `command-packet`, `data-packet` or `legacy-packet`.

/// Everything.
pub const ANY: &str = "any-call";
/// What is no call.
pub const MALFORMED: &str = "malformed-call";

/// All names that a fault may use.
pub const NAMES: [&str; 42] = [
    ANY,
    MALFORMED,
    "packet",
    "select",
    "create",
    "execute",
    "select-command",
    "select-data",
    "create-command",
    "create-data",
    "execute-command",
    "execute-data",
    "crc",
    "set-prn",
    "protocol-version",
    "mtu",
    "ping",
    "hardware-version",
    "firmware-version",
    "abort",
    "command-packet",
    "data-packet",
    "enter-bootloader",
    "set-name",
    "legacy-start",
    "legacy-sizes",
    "legacy-init-begin",
    "legacy-init-packet",
    "legacy-init-end",
    "legacy-receive",
    "legacy-packet",
    "legacy-validate",
    "legacy-activate",
    "legacy-reset",
    "legacy-report-size",
    "legacy-prn",
    "ota-enter",
    "ota-start",
    "ota-data",
    "ota-finish",
    "ota-close",
    "ota-reserved",
];

/// Whether a name that a fault uses means this call.
#[must_use]
pub fn selects(wanted: &str, call: &str) -> bool {
    match wanted {
        ANY => !call.is_empty(),
        "packet" => {
            matches!(call, "command-packet" | "data-packet" | "legacy-packet" | "legacy-init-packet" | "ota-data")
        }
        "select" | "create" | "execute" => {
            call.strip_prefix(wanted).is_some_and(|rest| matches!(rest, "-command" | "-data"))
        }
        wanted => wanted == call,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_names_mean_the_special_ones() {
        let means = |wanted: &str| NAMES.into_iter().filter(|call| selects(wanted, call)).collect::<Vec<_>>();
        assert_eq!(means("create"), ["create-command", "create-data"]);
        assert_eq!(
            means("packet"),
            ["command-packet", "data-packet", "legacy-init-packet", "legacy-packet", "ota-data"]
        );
        assert_eq!(means("crc"), ["crc"]);
        assert_eq!(means(ANY).len(), NAMES.len());
        assert!(!selects(ANY, ""));
    }
}
