//! `brickproof controllers`: virtual Bluetooth LE controllers for the kernel of this machine.

use std::io::{self, ErrorKind};

use brickproof_simulator::controller::vhci::{self, PLACE, Vhci};
use brickproof_simulator::controller::{Address, Ether, Random, Settings};
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, print};

/// Controllers at once.
const COUNT_MAX: i64 = 16;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Controllers, all in reach of each other
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=COUNT_MAX))]
    count: u8,
    /// Probability that a packet on the air is lost, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    loss: f64,
    /// Seed of losses and delays
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Without extended advertising: hosts use the commands of Bluetooth 4
    #[arg(long)]
    legacy: bool,
    /// One JSON line on standard output: `ready`, with the controllers
    #[arg(long)]
    json: bool,
}

/// What is said once the controllers are there.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Ready { controllers: Vec<Made> },
}

#[derive(Debug, Serialize)]
struct Made {
    name: String,
    address: String,
}

/// Makes the controllers and plays them until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if !(0.0..=1.0).contains(&arguments.loss) {
        return Err(Failure::Usage("--loss is a number from 0 to 1".into()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Harness(error.to_string()))?;
    runtime.block_on(play(arguments))?;
    Ok(0)
}

async fn play(arguments: &Arguments) -> Result<(), Failure> {
    let harness = |error: io::Error| Failure::Harness(error.to_string());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(harness)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(harness)?;
    let settings = Settings { extended: !arguments.legacy, loss: arguments.loss, ..Settings::default() };
    let mut ether = Ether::new(settings, Random::new(arguments.seed));
    let mut hosts = Vec::new();
    let mut controllers = Vec::new();
    for number in 0..arguments.count {
        let address = Address::public([0x00, 0xAA, 0x01, 0x00, 0x00, number]);
        let host = Vhci::open().await.map_err(|error| explained(&error))?;
        ether.add_controller(address);
        controllers.push(Made { name: format!("hci{}", host.index()), address: address.to_string() });
        hosts.push(host);
    }
    say(arguments.json, controllers)?;
    tokio::select! {
        ended = vhci::run(&mut ether, &hosts) => ended.map_err(|error| Failure::Harness(format!("{PLACE}: {error}"))),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Says which controllers there are.
fn say(json: bool, controllers: Vec<Made>) -> Result<(), Failure> {
    if json {
        let event = Event::Ready { controllers };
        let text = serde_json::to_string(&event).map_err(|error| Failure::Harness(error.to_string()))?;
        return print(&format!("{text}\n"));
    }
    print(&controllers.iter().map(|made| format!("{} {}\n", made.name, made.address)).collect::<String>())
}

/// What to do about an error at the place where the kernel makes controllers.
fn explained(error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            "the kernel module hci_vhci is not there: `modprobe hci_vhci` as root, or a machine (a virtual one will do) \
             whose kernel has Bluetooth"
        }
        ErrorKind::PermissionDenied => "this needs root",
        _ if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => {
            "the kernel module hci_vhci is not loaded: `modprobe hci_vhci` as root"
        }
        _ => "the kernel has made no controller",
    };
    Failure::Usage(format!("{PLACE}: {error}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let texts = [ErrorKind::NotFound.into(), ErrorKind::PermissionDenied.into(), io::Error::from_raw_os_error(19)]
            .map(|error: io::Error| explained(&error).to_string());
        insta::assert_snapshot!(texts.join("\n"), @r"
        /dev/vhci: entity not found: the kernel module hci_vhci is not there: `modprobe hci_vhci` as root, or a machine (a virtual one will do) whose kernel has Bluetooth
        /dev/vhci: permission denied: this needs root
        /dev/vhci: No such device (os error 19): the kernel module hci_vhci is not loaded: `modprobe hci_vhci` as root
        ");
    }
}
