//! The shell group (zephyr: `grp/shell_mgmt/src/shell_mgmt.c`).

use super::cbor::command_line;
use super::codes::{ShellError, SmpError, group};
use super::dispatch::{Entry, Exchange, Failure, Group, always};
use super::server::{Environment, Server};

/// `CONFIG_SHELL_CMD_BUFF_SIZE`.
const LINE_MAX: usize = 256;
/// What the shell returns for a command it does not have (`-ENOEXEC`).
const NO_COMMAND: i32 = -8;

/// Prints what the configuration says for this line.
fn exec(server: &mut Server, exchange: &mut Exchange<'_>, _: &mut Environment<'_, '_>) -> Result<(), Failure> {
    let words = command_line(exchange.body).map_err(|_| SmpError::Invalid)?;
    let mut line = Vec::new();
    for word in &words {
        if line.len() + word.len() >= LINE_MAX {
            return Err(ShellError::CommandTooLong.into());
        }
        line.extend_from_slice(word);
        line.push(b' ');
    }
    if line.pop().is_none() {
        return Err(ShellError::EmptyCommand.into());
    }
    let commands = server.config.shell.as_deref().unwrap_or_default();
    let (output, ret) = match commands.iter().find(|command| command.line.as_bytes() == line) {
        Some(command) => (command.output.clone().into_bytes(), command.ret),
        None => ([words[0], b": command not found\n"].concat(), NO_COMMAND),
    };
    exchange.map.text("o").raw_text(&output).text("ret").signed(ret.into());
    Ok(())
}

pub(super) const GROUP: Group = Group {
    number: group::SHELL,
    name: "shell mgmt",
    built: |config| config.shell.is_some(),
    commands: &[Entry { number: 0, built: always, read: None, write: Some(exec) }],
};
