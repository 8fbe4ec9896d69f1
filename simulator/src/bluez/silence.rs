//! The reset of a controller under its host: the one way to end links without a word.
//!
//! `HCIDEVRESET` makes the kernel send `HCI_Reset` (Core specification, volume 4, part E, 7.3.2). The controller
//! forgets its links without telling anybody, and so do kernel and bluetoothd; what was set up in the controller is
//! gone with them, which powering off and on mends.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

/// `BTPROTO_HCI` (linux: `include/net/bluetooth/bluetooth.h`).
const HCI: u32 = 1;
/// `CAP_NET_ADMIN` (linux: `include/uapi/linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;

mod request {
    // linux: `include/net/bluetooth/hci_sock.h`, `HCIDEVRESET _IOW('H', 203, int)`.
    nix::ioctl_write_int_bad!(hci_dev_reset, nix::request_code_write!(b'H', 203, size_of::<core::ffi::c_int>()));
}

/// The number in the name of an adapter: 0 of `hci0`.
pub(super) fn number(adapter: &str) -> Option<i32> {
    adapter.strip_prefix("hci")?.parse().ok().filter(|number| *number >= 0)
}

/// Whether this process may reset it.
pub(super) fn allowed(adapter: &str) -> bool {
    number(adapter).is_some() && has_capability() && socket().is_ok()
}

fn has_capability() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_NET_ADMIN & 1 == 1)
}

fn socket() -> io::Result<OwnedFd> {
    let protocol = std::num::NonZeroU32::new(HCI).map(Protocol::from_raw);
    Ok(rustix::net::socket_with(AddressFamily::BLUETOOTH, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// Resets the controller; blocks until it has answered, at most some seconds.
///
/// # Errors
/// Not allowed, no such adapter, or the controller does not answer.
pub(super) fn reset(adapter: &str) -> io::Result<()> {
    let number = number(adapter).ok_or_else(|| io::Error::other(format!("`{adapter}` has no number")))?;
    let socket = socket()?;
    // SAFETY: the descriptor is open for the whole call, and this request takes a number, no pointer.
    #[expect(unsafe_code, reason = "the kernel has no other interface to it")]
    unsafe { request::hci_dev_reset(socket.as_raw_fd(), number) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_numbers() {
        assert_eq!([number("hci0"), number("hci12")], [Some(0), Some(12)]);
        for name in ["", "hci", "hci-1", "eth0", "hci1x"] {
            assert_eq!(number(name), None, "{name}");
            assert!(!allowed(name), "{name}");
        }
    }
}
