//! `brickproof doctor`: which airs work on this machine, and which initiators are here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use brickproof_simulator::air::SerialAir;
use brickproof_simulator::bluez::{Found, adapters};
use brickproof_simulator::virtual_bluez::{Options, VirtualBluez};

use super::options::find_program;
use super::{Failure, print};
use crate::air::Air;
use crate::library;
use crate::runner::person;
use crate::runner::site::Site;

/// Something does not work here.
const EXIT_MISSING: u8 = 1;

/// One line: what it is about, and what works or what is missing.
struct Line {
    name: String,
    state: Result<String, String>,
}

/// Says what works; the exit code is 1 when an air does not.
pub(super) fn run() -> Result<u8, Failure> {
    let airs: Vec<Line> =
        Air::ALL.into_iter().map(|air| Line { name: air.name().to_owned(), state: state_of(air) }).collect();
    let mut initiators = vec![Line {
        name: "builtin".into(),
        state: Ok("on every air; builtin-android and others act as another client".into()),
    }];
    let apps: Vec<_> = brickproof_scenarios::apps().iter().map(|bundled| bundled.name).collect();
    initiators.push(Line {
        name: person::NAME.into(),
        state: Ok(format!("on every air in real time, with you at a terminal; apps: {}", apps.join(", "))),
    });
    for bundled in brickproof_scenarios::initiators() {
        let profile = library::initiator(bundled.name)?;
        let mut programs: Vec<&str> = profile.commands.values().map(|command| command[0].as_str()).collect();
        programs.dedup();
        let missing: Vec<_> = programs.iter().filter(|program| find_program(program).is_none()).copied().collect();
        let state = if missing.is_empty() {
            let programs = programs.iter().map(|program| version(program)).collect::<Vec<_>>().join(", ");
            Ok(match &profile.driver {
                None => programs,
                // A library is found by whoever loads it.
                Some(_) => format!("{programs}; what it drives is not looked for: {}", profile.needs),
            })
        } else {
            Err(format!("`{}` is missing: {}", missing.join("`, `"), profile.needs))
        };
        initiators.push(Line { name: profile.name, state });
    }
    print(&text(&airs, &initiators))?;
    let needed = |line: &&Line| line.name != Air::Bluez(0).name();
    Ok(if airs.iter().filter(needed).all(|line| line.state.is_ok()) { 0 } else { EXIT_MISSING })
}

fn text(airs: &[Line], initiators: &[Line]) -> String {
    let mut text = String::new();
    for (heading, lines) in [("airs", airs), ("initiators", initiators)] {
        text.push_str(heading);
        text.push('\n');
        let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max(16);
        for line in lines {
            let (word, state) = match &line.state {
                Ok(state) => ("works: ", state),
                Err(state) => ("", state),
            };
            text.push_str(&format!("  {:<width$}  {word}{state}\n", line.name));
        }
    }
    text
}

fn state_of(air: Air) -> Result<String, String> {
    match air {
        Air::InProcess => Ok("function calls, virtual time".into()),
        Air::InProcessBle => Ok("a model of a Bluetooth LE link, virtual time".into()),
        Air::Udp => udp(),
        Air::Serial => inside_of_a_runtime(serial),
        Air::VirtualBluez => inside_of_a_runtime(virtual_bluez),
        Air::Bluez(_) => bluez(),
    }
}

/// What bluetoothd has.
pub(super) fn adapters_here() -> Result<Vec<Found>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Harness(format!("no event loop: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, adapters()).map_err(|error| Failure::adapter(&error))
}

/// The adapters of this machine. Most machines have none, and need none.
fn bluez() -> Result<String, String> {
    let found = adapters_here().map_err(|failure| failure.to_string())?;
    if found.is_empty() {
        return Err("bluetoothd has no adapter".into());
    }
    let words = found.iter().map(|adapter| {
        let loss = if adapter.silent { "" } else { ", links only end politely (CAP_NET_ADMIN is missing)" };
        format!("{} {}{loss}", adapter.name, adapter.address)
    });
    Ok(words.collect::<Vec<_>>().join("; "))
}

/// Whether targets can have the fixed port of SMP over UDP, each on a loopback address of its own.
fn udp() -> Result<String, String> {
    let second = SocketAddr::from((Ipv4Addr::new(127, 64, 0, 1), 1337));
    if let Err(error) = UdpSocket::bind(second) {
        return Err(format!("{second} cannot be used ({error}): each case needs a loopback address of its own"));
    }
    let works = "port 1337, a 127.x.y.z address for each case";
    Ok(match UdpSocket::bind((Ipv4Addr::LOCALHOST, 1337)) {
        Ok(_) => works.to_owned(),
        Err(error) => format!("{works}; 127.0.0.1:1337 is taken ({error}), other addresses are used"),
    })
}

/// Whether serial ports can be made.
fn serial() -> Result<String, String> {
    match SerialAir::open() {
        Ok(air) => Ok(format!("a pty for each case, like {}", air.path().display())),
        Err(error) => Err(format!("no pty can be made ({error}): is /dev/pts mounted?")),
    }
}

/// Whether a bus can be made.
fn virtual_bluez() -> Result<String, String> {
    let remedy = "set TMPDIR to a folder that can be written, with a short path";
    let failed = |error: io::Error| format!("no socket for the bus can be made ({error}): {remedy}");
    let site = Site::plain().map_err(failed)?;
    let _bluez = VirtualBluez::start(site.folder(), &Options::default()).map_err(failed)?;
    Ok("a private bus for each case, which takes the place of BlueZ; no Bluetooth, no bluetoothd, no root".into())
}

fn inside_of_a_runtime(check: fn() -> Result<String, String>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {error}"))?;
    tokio::task::LocalSet::new().block_on(&runtime, async { check() })
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let line = output.ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    });
    line.map_or_else(
        || program.to_owned(),
        |line| if line.contains(program) { line } else { format!("{program} {line}") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let line = |name: &str, state: Result<&str, &str>| Line {
            name: name.into(),
            state: state.map(str::to_owned).map_err(str::to_owned),
        };
        let airs = [
            line("in-process", Ok("function calls, virtual time")),
            line("serial", Err("no pty can be made (No such file or directory): is /dev/pts mounted?")),
        ];
        let initiators = [line("smpmgr", Err("`smpmgr` is missing: pip install smpmgr"))];
        insta::assert_snapshot!(text(&airs, &initiators), @r"
        airs
          in-process        works: function calls, virtual time
          serial            no pty can be made (No such file or directory): is /dev/pts mounted?
        initiators
          smpmgr            `smpmgr` is missing: pip install smpmgr
        ");
    }
}
