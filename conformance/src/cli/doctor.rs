//! `brickproof doctor`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use brickproof_simulator::air::SerialAir;

use super::options::find_program;
use super::{Failure, print};
use crate::library;

pub(super) fn run() -> Result<u8, Failure> {
    let mut text = String::from("airs\n");
    text.push_str("  in-process        works: function calls, virtual time\n");
    text.push_str("  in-process-ble    works: a model of a Bluetooth LE link, virtual time\n");
    text.push_str(&format!("  udp               {}\n", udp()));
    text.push_str(&format!("  serial            {}\n", serial()?));
    text.push_str(
        "initiators\n  builtin           works, on every air; builtin-android and others act as another client\n",
    );
    for bundled in brickproof_scenarios::initiators() {
        let profile = library::initiator(bundled.name)?;
        let mut programs: Vec<&str> = profile.commands.values().map(|command| command[0].as_str()).collect();
        programs.dedup();
        let missing: Vec<_> = programs.iter().filter(|program| find_program(program).is_none()).copied().collect();
        let state = if missing.is_empty() {
            format!("works: {}", programs.iter().map(|program| version(program)).collect::<Vec<_>>().join(", "))
        } else {
            format!("`{}` is missing: {}", missing.join("`, `"), profile.needs)
        };
        text.push_str(&format!("  {:<16}  {state}\n", profile.name));
    }
    print(&text)?;
    Ok(0)
}

/// Whether targets can have the fixed port of SMP over UDP, each on a loopback address of its own.
fn udp() -> String {
    let second = SocketAddr::from((Ipv4Addr::new(127, 64, 0, 1), 1337));
    let shared = match UdpSocket::bind(second) {
        Ok(_) => "works: port 1337, a 127.x.y.z address for each case",
        Err(_) => "loopback addresses beyond 127.0.0.1 cannot be used: run external tools with --jobs 1",
    };
    match UdpSocket::bind((Ipv4Addr::LOCALHOST, 1337)) {
        Ok(_) => shared.to_owned(),
        Err(error) => format!("{shared}; 127.0.0.1:1337 is taken ({error}), other addresses are used"),
    }
}

/// Whether serial ports can be made.
fn serial() -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Harness(error.to_string()))?;
    let _inside = runtime.enter();
    Ok(match SerialAir::open() {
        Ok(air) => format!("works: a pty for each case, like {}", air.path().display()),
        Err(error) => format!("no pty can be made ({error}): is /dev/pts mounted?"),
    })
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
