//! The airs that can be chosen, and what each can show.

use std::fmt;
use std::str::FromStr;

/// What a scenario may need, of the air or of the initiator.
///
/// `smp`, `secure-dfu`, `legacy-dfu`, `silabs-ota`: what the target is spoken to with; `serial-dfu`: over a serial line.
/// `softdevice`: it has one. `buttonless`: its application leads into the bootloader. `apploader`, `storage-slot`: how an
/// EFR32 takes an update. `series-2`: it has the pages, sizes and checks of an EFR32 of Series 2. `serial-recovery`: the target has MCUboot's serial recovery, and the air reaches it. `ble`:
/// everything that goes over a Bluetooth LE link can be seen and chosen. `pairing`: a link can be protected; how the target
/// demands it is the air's. `decides`: the initiator itself decides which step comes next, so that a recipe of single
/// steps is none. `revert`: the bootloader can go back to the old image. `downgrade`,
/// `no-downgrade`: it takes older images, or it does not. `moves-images`: a boot installs the update by moving it, so
/// that there is something to interrupt. `marks`: images are tested and confirmed by requests.
pub const CAPABILITIES: [&str; 21] = [
    "smp",
    SECURE_DFU,
    LEGACY_DFU,
    SILABS_OTA,
    APPLOADER,
    STORAGE_SLOT,
    SERIES_2,
    SERIAL_DFU,
    SOFTDEVICE,
    BUTTONLESS,
    "reboot",
    "silent-loss",
    BLE,
    PAIRING,
    SERIAL_RECOVERY,
    DECIDES,
    REVERT,
    DOWNGRADE,
    NO_DOWNGRADE,
    MOVES_IMAGES,
    MARKS,
];
/// See [`CAPABILITIES`].
pub const SECURE_DFU: &str = "secure-dfu";
/// See [`CAPABILITIES`].
pub const LEGACY_DFU: &str = "legacy-dfu";
/// See [`CAPABILITIES`].
pub const SILABS_OTA: &str = "silabs-ota";
/// See [`CAPABILITIES`].
pub const APPLOADER: &str = "apploader";
/// See [`CAPABILITIES`].
pub const STORAGE_SLOT: &str = "storage-slot";
/// See [`CAPABILITIES`].
pub const SERIES_2: &str = "series-2";
/// See [`CAPABILITIES`].
pub const SERIAL_DFU: &str = "serial-dfu";
/// See [`CAPABILITIES`].
pub const SOFTDEVICE: &str = "softdevice";
/// See [`CAPABILITIES`].
pub const BUTTONLESS: &str = "buttonless";
/// See [`CAPABILITIES`].
pub const BLE: &str = "ble";
/// See [`CAPABILITIES`].
pub const PAIRING: &str = "pairing";
/// See [`CAPABILITIES`].
pub const DECIDES: &str = "decides";
/// See [`CAPABILITIES`].
pub const REVERT: &str = "revert";
/// See [`CAPABILITIES`].
pub const DOWNGRADE: &str = "downgrade";
/// See [`CAPABILITIES`].
pub const NO_DOWNGRADE: &str = "no-downgrade";
/// See [`CAPABILITIES`].
pub const MOVES_IMAGES: &str = "moves-images";
/// See [`CAPABILITIES`].
pub const MARKS: &str = "marks";
/// See [`CAPABILITIES`].
pub const SERIAL_RECOVERY: &str = "serial-recovery";

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Air {
    /// Function calls on virtual time; for the built-in initiator.
    InProcess,
    /// A Bluetooth LE link by function calls on virtual time; for the built-in initiator.
    InProcessBle,
    /// SMP over UDP, port 1337.
    Udp,
    /// SMP over a serial port, with console framing: a pty.
    Serial,
    /// Bluetooth LE by way of a private bus that answers as BlueZ does.
    VirtualBluez,
    /// Bluetooth LE on an adapter of this machine, by the real BlueZ: `hci` and this number.
    Bluez(u16),
}

impl Air {
    /// All of them; the adapter stands for any.
    pub const ALL: [Self; 6] =
        [Self::InProcess, Self::InProcessBle, Self::Udp, Self::Serial, Self::VirtualBluez, Self::Bluez(0)];

    /// What kind of air it is: the name on the command line, without the adapter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::InProcessBle => "in-process-ble",
            Self::Udp => "udp",
            Self::Serial => "serial",
            Self::VirtualBluez => "virtual-bluez",
            Self::Bluez(_) => "bluez",
        }
    }

    /// Whether the air can show this.
    #[must_use]
    pub fn can(self, capability: &str) -> bool {
        match self {
            Self::InProcess | Self::Serial => {
                CAPABILITIES.contains(&capability) && ![BLE, PAIRING].contains(&capability)
            }
            Self::Udp => {
                let never = [BLE, PAIRING, SERIAL_RECOVERY, SECURE_DFU, LEGACY_DFU, SILABS_OTA, SERIAL_DFU];
                CAPABILITIES.contains(&capability) && !never.contains(&capability)
            }
            // What bluetoothd and the controllers do by themselves can neither be seen nor chosen.
            Self::Bluez(_) => {
                CAPABILITIES.contains(&capability)
                    && !["silent-loss", BLE, SERIAL_RECOVERY, SERIAL_DFU].contains(&capability)
            }
            // A link repeats what was not heard: nothing is lost silently.
            Self::InProcessBle | Self::VirtualBluez => {
                CAPABILITIES.contains(&capability)
                    && !["silent-loss", SERIAL_RECOVERY, SERIAL_DFU].contains(&capability)
            }
        }
    }

    /// Whether it runs on virtual time, and so is for the built-in initiator only.
    #[must_use]
    pub fn is_virtual(self) -> bool {
        match self {
            Self::InProcess | Self::InProcessBle => true,
            Self::Udp | Self::Serial | Self::VirtualBluez | Self::Bluez(_) => false,
        }
    }

    /// The air in whose words a tool is told where its target is: to speak to BlueZ is to speak to BlueZ.
    #[must_use]
    pub fn told_as(self) -> Self {
        if let Self::Bluez(_) = self { Self::VirtualBluez } else { self }
    }

    /// The adapter, named like `hci0`, on an air that has one.
    #[must_use]
    pub fn adapter(self) -> Option<String> {
        match self {
            Self::Bluez(number) => Some(format!("hci{number}")),
            _ => None,
        }
    }

    /// Whether it is real Bluetooth, so that a phone can reach the target.
    #[must_use]
    pub fn is_radio(self) -> bool {
        match self {
            Self::InProcess | Self::InProcessBle | Self::Udp | Self::Serial | Self::VirtualBluez => false,
            Self::Bluez(_) => true,
        }
    }

    /// The air on which the built-in initiator runs a scenario with these needs: what needs Bluetooth LE
    /// leaves the plain function calls for the link, unless the bootloader of the target is on a serial line.
    #[must_use]
    pub fn suited_to(self, needs: &[String], serial: bool) -> Self {
        let link = !serial
            && needs.iter().any(|need| [BLE, PAIRING, SECURE_DFU, LEGACY_DFU, SILABS_OTA].contains(&need.as_str()));
        if self == Self::InProcess && link { Self::InProcessBle } else { self }
    }
}

impl fmt::Display for Air {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.adapter() {
            Some(adapter) => f.pad(&format!("{}:{adapter}", self.name())),
            None => f.pad(self.name()),
        }
    }
}

impl FromStr for Air {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(adapter) = text.strip_prefix("bluez") {
            let number = adapter.strip_prefix(":hci").and_then(|number| number.parse().ok());
            return number.map(Self::Bluez).ok_or_else(|| {
                format!("`{text}` does not say which adapter: `bluez:hci0`, or another one of `bluetoothctl list`")
            });
        }
        Self::ALL.into_iter().find(|air| air.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("no air is called `{text}`: one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_an_adapter_belongs_to_one() {
        for air in Air::ALL.into_iter().chain([Air::Bluez(17)]) {
            assert_eq!(air.to_string().parse(), Ok(air));
        }
        assert_eq!(Air::Bluez(17).to_string(), "bluez:hci17");
        for text in ["bluez", "bluez:", "bluez:hci", "bluez:hci-1", "bluez:hci99999", "bluez:hci0 ", "radio"] {
            assert!(text.parse::<Air>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_adapter_shows_pairing_and_not_all_of_a_link() {
        let air = Air::Bluez(0);
        assert!(air.can(PAIRING) && air.can("reboot") && !air.can(BLE) && !air.can(SERIAL_RECOVERY));
        assert!(!Air::Udp.can(PAIRING) && Air::VirtualBluez.can(PAIRING) && Air::InProcessBle.can(PAIRING));
        assert_eq!(Air::InProcess.suited_to(&[PAIRING.to_owned()], false), Air::InProcessBle);
    }
}
