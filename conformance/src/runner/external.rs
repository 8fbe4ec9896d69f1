//! Processes of an external tool.

use std::collections::BTreeMap;

use brickproof_simulator::trace::InitiatorEvent;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::site::CaseSite;

/// Exit code by which a tool declares that it cannot do what is asked.
pub const UNSUPPORTED: i32 = 127;
/// Longest line of output that is kept, in bytes.
const LINE_MAX: usize = 4096;
/// Lines of output of one process that are kept.
const LINES_MAX: usize = 5000;

/// A process in a group of its own.
///
/// The group is killed when this is dropped, so that nothing outlives its case.
pub struct Running<'a> {
    child: Child,
    group: Option<Pid>,
    site: &'a CaseSite<'a>,
}

/// Why a tool could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot start `{program}`: {error}")]
pub struct StartError {
    program: String,
    error: String,
}

impl<'a> Running<'a> {
    /// Starts a command of a case, with more in its environment; its lines go to `output`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        command: &[String],
        site: &'a CaseSite<'a>,
        environment: &[(&str, String)],
        output: &mpsc::UnboundedSender<InitiatorEvent>,
    ) -> Result<Self, StartError> {
        let (program, arguments) = command.split_first().map_or(("", &[][..]), |(program, rest)| (program, rest));
        let failed = |error: std::io::Error| StartError { program: program.to_owned(), error: error.to_string() };
        // Made and told of before there is a process that could outlive this one.
        let (stdout, stdout_end) = std::io::pipe().map_err(failed)?;
        let (stderr, stderr_end) = std::io::pipe().map_err(failed)?;
        site.pipe(&stdout);
        site.pipe(&stderr);
        let stdout = pipe::Receiver::from_owned_fd(stdout.into()).map_err(failed)?;
        let stderr = pipe::Receiver::from_owned_fd(stderr.into()).map_err(failed)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(site.environment())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(site.input().map_err(failed)?)
            .stdout(stdout_end)
            .stderr(stderr_end)
            .env("NO_COLOR", "1")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        forward(stdout, output.clone(), |line| InitiatorEvent::Stdout { line });
        forward(stderr, output.clone(), |line| InitiatorEvent::Stderr { line });
        if let Some(group) = group {
            site.group(group.as_raw(), true);
        }
        Ok(Self { child, group, site })
    }

    /// The number of the process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the process itself; its exit code, `None` when a signal ended it.
    pub async fn wait(&mut self) -> Option<i32> {
        self.child.wait().await.ok().and_then(|status| status.code())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Whoever is left of the group; usually nobody.
            let _ = killpg(group, Signal::SIGKILL);
            self.site.group(group.as_raw(), false);
        }
    }
}

/// The command with its placeholders filled in.
#[must_use]
pub fn fill(command: &[String], values: &BTreeMap<&str, String>) -> Vec<String> {
    command
        .iter()
        .map(|word| values.iter().fold(word.clone(), |word, (name, value)| word.replace(&format!("{{{name}}}"), value)))
        .collect()
}

fn forward(
    stream: impl AsyncRead + Unpin + Send + 'static,
    output: mpsc::UnboundedSender<InitiatorEvent>,
    event: fn(String) -> InitiatorEvent,
) {
    tokio::spawn(async move {
        let mut stream = stream;
        let mut buffer = [0; LINE_MAX];
        let mut line = Vec::new();
        let mut lines = 0;
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 && line.is_empty() {
                return;
            }
            for byte in buffer[..read].iter().copied().chain((read == 0).then_some(b'\n')) {
                // A line without end is cut into pieces, so that it cannot fill the memory.
                if byte != b'\n' && line.len() < LINE_MAX {
                    line.push(byte);
                    continue;
                }
                lines += 1;
                let text = match lines {
                    ..LINES_MAX => String::from_utf8_lossy(&line).trim_end().to_owned(),
                    LINES_MAX => "(what follows is not kept)".to_owned(),
                    _ => String::new(),
                };
                if lines <= LINES_MAX && output.send(event(text)).is_err() {
                    return;
                }
                line.clear();
                if byte != b'\n' {
                    line.push(byte);
                }
            }
            if read == 0 {
                return;
            }
        }
    });
}
