//! A serial port: the near end of a pty, whose far end an initiator opens by its path.
//!
//! A dark target keeps its port: what is sent then is read, and lost by the world. The port of a USB device goes
//! away with the device instead, and comes back as another one behind the same path, which is a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

use crate::world::Peer;

/// Whoever has the far end open: a port cannot tell one from another.
const PEER: Peer = 1;
/// Bytes that are read at once.
const READ_MAX: usize = 4096;

/// One end of a serial port that never blocks.
#[derive(Debug)]
pub struct SerialPort {
    file: AsyncFd<File>,
}

impl SerialPort {
    /// Opens a serial port and sets it to raw bytes.
    ///
    /// # Errors
    /// From the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        make_raw(&file)?;
        Ok(Self { file: watch(file)? })
    }

    /// The next bytes; 0 when the other end is gone. Dropping the future loses nothing.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.file.readable().await?;
            if let Ok(read) = ready.try_io(|file| file.get_ref().read(buffer)) {
                return read;
            }
        }
    }

    /// Bytes that are already there.
    fn poll(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.get_ref().read(buffer)
    }

    /// Writes everything, however slowly the other end reads.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.file.writable().await?;
            if let Ok(written) = ready.try_io(|file| file.get_ref().write(bytes)) {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }

    /// Writes what there is room for; how many bytes that was.
    fn write_now(&self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.get_ref().write(&bytes[written..]) {
                Ok(more) if more > 0 => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        written
    }
}

/// The safe way in is deprecated for the sake of types that lie about their descriptor; a file does not.
#[expect(deprecated, reason = "its successor is unsafe")]
fn watch(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

fn make_raw(port: impl AsFd) -> io::Result<()> {
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    Ok(tcsetattr(&port, SetArg::TCSANOW, &settings)?)
}

/// A pty: the near end, and the far one, which is kept open so that the near end sees no hangup when an initiator
/// closes it.
#[derive(Debug)]
struct Pty {
    near: SerialPort,
    _far: File,
    path: PathBuf,
}

impl Pty {
    fn open() -> io::Result<Self> {
        let near = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let path = PathBuf::from(ptsname_r(&near)?);
        let far = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&path)?;
        // Before anybody writes: an echo would send the target's answers back to it.
        make_raw(&far)?;
        let near = File::from(OwnedFd::from(near));
        Ok(Self { near: SerialPort { file: watch(near)? }, _far: far, path })
    }
}

/// The symbolic link to the port of a USB device.
#[derive(Debug)]
struct Link {
    path: PathBuf,
}

impl Link {
    fn show(&self, port: &Path) -> io::Result<()> {
        self.hide();
        symlink(port, &self.path)
    }

    fn hide(&self) {
        // That it is not there is what is wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hide();
    }
}

/// The serial port of a target.
#[derive(Debug)]
pub struct SerialAir {
    /// `None` while a USB device is away.
    pty: Option<Pty>,
    /// Of a USB device.
    link: Option<Link>,
    buffer: Vec<u8>,
}

impl SerialAir {
    /// A port that stays, whatever the target does.
    ///
    /// # Errors
    /// From the operating system: no pty left, no permission.
    pub fn open() -> io::Result<Self> {
        Ok(Self { pty: Some(Pty::open()?), link: None, buffer: vec![0; READ_MAX] })
    }

    /// The port of a USB device: away until the target is there ([`SerialAir::set_present`]), always found at the
    /// same path in `folder`.
    ///
    /// # Errors
    /// From the operating system.
    pub fn open_usb(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("brickproof-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let link = Link { path: folder.join(name) };
        link.hide();
        Ok(Self { pty: None, link: Some(link), buffer: vec![0; READ_MAX] })
    }

    /// What an initiator opens.
    #[must_use]
    pub fn path(&self) -> &Path {
        match (&self.link, &self.pty) {
            (Some(link), _) => &link.path,
            (None, Some(pty)) => &pty.path,
            (None, None) => Path::new(""),
        }
    }

    /// Says whether the target is there; only the port of a USB device goes away with it.
    ///
    /// # Errors
    /// From the operating system, when the port cannot come back.
    pub fn set_present(&mut self, present: bool) -> io::Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        if present == self.pty.is_some() {
            return Ok(());
        }
        if present {
            let pty = Pty::open()?;
            link.show(&pty.path)?;
            self.pty = Some(pty);
        } else {
            link.hide();
            self.pty = None;
        }
        Ok(())
    }

    /// The next bytes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// From the operating system.
    pub async fn receive(&mut self) -> io::Result<(Peer, &[u8])> {
        let Some(pty) = &self.pty else { return std::future::pending().await };
        let len = pty.near.read(&mut self.buffer).await?;
        Ok((PEER, &self.buffer[..len]))
    }

    /// Bytes that are already there.
    pub fn poll(&mut self) -> Option<(Peer, &[u8])> {
        let len = self.pty.as_ref()?.near.poll(&mut self.buffer).ok()?;
        Some((PEER, &self.buffer[..len]))
    }

    /// Sends bytes; how many of them were lost because nobody reads and the port is full, or the port is away.
    pub fn send(&self, bytes: &[u8]) -> usize {
        bytes.len() - self.pty.as_ref().map_or(0, |pty| pty.near.write_now(bytes))
    }
}
