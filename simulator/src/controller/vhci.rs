//! Controllers of the Linux kernel: `/dev/vhci` (kernel module `hci_vhci`), one open file for each.
//!
//! A packet is one `read` or one `write`. The first that is written says what kind of controller it is to be; the kernel
//! answers with its number N, and the controller is `hciN` until the file is closed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::Ether;

/// Where the kernel makes controllers.
pub const PLACE: &str = "/dev/vhci";
/// Packets between the kernel and the program that plays a controller, besides those of H4.
const VENDOR: u8 = 0xFF;
/// A primary controller (not an AMP), set up by the kernel as usual.
const PRIMARY: u8 = 0x00;
/// Longest packet: an ACL packet of 65535 bytes and its head.
const PACKET_MAX: usize = 5 + 65_535;
/// How long the kernel may take for its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// A controller that the kernel has.
#[derive(Debug)]
pub struct Vhci {
    file: AsyncFd<File>,
    index: u16,
    /// What the host has said before the kernel's answer, which kernels before 6.4 may do.
    early: Vec<Vec<u8>>,
}

/// Packets that may come before the kernel's answer: the first command.
const EARLY_MAX: usize = 4;

impl Vhci {
    /// Makes a controller; the kernel sets it up at once, so that [`run`] should follow soon.
    ///
    /// # Errors
    /// From the operating system: without the module there is no [`PLACE`], without root no permission.
    pub async fn open() -> io::Result<Self> {
        Self::open_at(Path::new(PLACE)).await
    }

    async fn open_at(place: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NONBLOCK.bits();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(place)?;
        let mut vhci = Self { file: watch(file)?, index: 0, early: Vec::new() };
        vhci.file.get_ref().write_all(&[VENDOR, PRIMARY])?;
        let mut answer = [0; 260];
        for _ in 0..EARLY_MAX {
            let length = tokio::time::timeout(ANSWER_WAIT, vhci.read(&mut answer)).await??;
            match answer[..length] {
                [VENDOR, PRIMARY, low, high] => {
                    vhci.index = u16::from_le_bytes([low, high]);
                    return Ok(vhci);
                }
                [VENDOR, ..] | [] => break,
                _ => vhci.early.push(answer[..length].to_vec()),
            }
        }
        Err(io::Error::new(ErrorKind::InvalidData, "the kernel's answer is none of hci_vhci's"))
    }

    /// Its number: 0 of `hci0`.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The next packet of the host; dropping the future loses nothing.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.file.readable().await?;
            if let Ok(read) = ready.try_io(|file| file.get_ref().read(buffer)) {
                return read;
            }
        }
    }

    /// A packet that is there already.
    fn poll(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.get_ref().read(buffer) {
            Ok(length) => Ok((length > 0).then_some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A packet for the host. The kernel takes every packet at once, and refuses one with which it can do nothing at
    /// the moment (the controller is not open).
    fn write(&self, packet: &[u8]) -> io::Result<()> {
        match self.file.get_ref().write(packet) {
            Err(error) if !matches!(error.raw_os_error(), Some(ENXIO | EINVAL)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The safe way in is deprecated for the sake of types that lie about their descriptor; a file does not.
#[expect(deprecated, reason = "its successor is unsafe")]
fn watch(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

const ENXIO: i32 = nix::errno::Errno::ENXIO as i32;
const EINVAL: i32 = nix::errno::Errno::EINVAL as i32;

/// Plays controllers whose numbers in the air are their places in `hosts`: carries packets and lets time pass, until
/// the future is dropped. Closing the files then takes the controllers out of the kernel.
///
/// # Errors
/// From the operating system.
pub async fn run(ether: &mut Ether, hosts: &[Vhci]) -> io::Result<()> {
    let start = Instant::now();
    let micros = |instant: Instant| u64::try_from((instant - start).as_micros()).unwrap_or(u64::MAX);
    let mut buffer = vec![0; PACKET_MAX];
    for (number, host) in hosts.iter().enumerate() {
        for packet in &host.early {
            ether.host_packet(number, 0, packet);
        }
    }
    loop {
        // What is there is there before more time passes.
        for (number, host) in hosts.iter().enumerate() {
            while let Some(length) = host.poll(&mut buffer)? {
                // What is heard on the air meanwhile must not fill the way of its answer.
                ether.advance(micros(Instant::now()));
                deliver(ether, hosts)?;
                ether.host_packet(number, micros(Instant::now()), &buffer[..length]);
                deliver(ether, hosts)?;
            }
        }
        ether.advance(micros(Instant::now()));
        deliver(ether, hosts)?;
        let wake = ether.next_wake().map(|at| start + Duration::from_micros(at));
        tokio::select! {
            ready = any_readable(hosts) => ready?,
            () = sleep_until(wake.unwrap_or(start)), if wake.is_some() => {}
        }
    }
}

fn deliver(ether: &mut Ether, hosts: &[Vhci]) -> io::Result<()> {
    while let Some((number, packet)) = ether.take() {
        if let Some(host) = hosts.get(number) {
            host.write(&packet)?;
        }
    }
    Ok(())
}

/// Waits until a host has something to say.
async fn any_readable(hosts: &[Vhci]) -> io::Result<()> {
    use std::future::poll_fn;
    use std::task::Poll;
    poll_fn(|context| {
        for host in hosts {
            if let Poll::Ready(ready) = host.file.poll_read_ready(context) {
                // Whatever is there is read until there is nothing more; then it waits again.
                ready?.clear_ready();
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_place_is_an_error_with_its_kind() {
        let error = Vhci::open_at(Path::new("/nonexistent/vhci")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
