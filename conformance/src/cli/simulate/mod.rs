//! `brickproof simulate`.

mod output;
mod slots;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use brickproof_flash_model::flash::Flash;
use brickproof_simulator::air::{self, AdapterAir, BluezAir, Place, SerialAir, UdpAir};
use brickproof_simulator::device::Persistent;
use brickproof_simulator::trace::{Kind, RunRecord, SCHEMA, Wants};
use brickproof_simulator::virtual_bluez::{Options, VirtualBluez};
use brickproof_simulator::world::{Control, World};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use super::Failure;
use super::options::keys;
use crate::air::Air;
use crate::control::{self, Request, Waiting};
use crate::library;
use crate::runner::bypass::BUS;
use crate::runner::live::Live;
use crate::runner::real_time::setup;
use crate::runner::site::Site;
use crate::scenario::TimingSpec;
use crate::target::Target;

use output::Output;
use slots::{SlotFile, fill, fill_nordic, fill_silabs, slot};

/// Targets on one bus.
const COUNT_MAX: i64 = 1000;
/// Adapters on one bus.
const ADAPTERS_MAX: i64 = 16;
/// Name of the socket in a folder for one.
const SOCKET: &str = "bus";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to play: a profile or a path to a .toml file
    #[arg(long)]
    target: String,
    /// What carries the bytes: virtual-bluez, bluez:hci0 (an adapter of this machine), udp or serial
    #[arg(long, default_value = "virtual-bluez")]
    air: Air,
    /// Targets on the bus, on virtual-bluez; their addresses follow each other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=COUNT_MAX))]
    count: u16,
    /// Adapters on the bus (hci0, hci1, ...), on virtual-bluez: each is a central of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=ADAPTERS_MAX))]
    adapters: u8,
    /// Where the socket of the bus is made, on virtual-bluez; a folder of its own if not given
    #[arg(long, value_name = "DIR")]
    bus_folder: Option<PathBuf>,
    /// Address and port of the target, on udp
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1337))]
    listen: SocketAddr,
    /// Address and port of the control server; any free port on loopback if not given
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    control: SocketAddr,
    /// What is in a slot: primary=FILE:confirmed, secondary=FILE:pending, primary=FILE:testing, ...; on a target of
    /// Nordic's application=FILE[:VERSION] (raw, .hex, or that of a package); of Silicon Labs' application=FILE (.s37, .hex,
    /// raw, or of a .gbl), slot-0=FILE.gbl
    #[arg(long = "slot", value_name = "NAME=FILE[:STATE]", value_parser = slot)]
    slots: Vec<SlotFile>,
    /// A PEM file with a key that the target trusts besides its own
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Factor on the durations of flash operations
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    time_scale: f64,
    /// JSON Lines on standard output: `ready` first, then everything that happens
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.air.is_virtual() {
        return Err(Failure::Usage(
            "a target can be played on the airs `virtual-bluez`, `bluez:hci0`, `udp` and `serial`".into(),
        ));
    }
    let for_bus = arguments.count > 1 || arguments.adapters > 1 || arguments.bus_folder.is_some();
    if arguments.air != Air::VirtualBluez && for_bus {
        return Err(Failure::Usage("--count, --adapters and --bus-folder are for the air `virtual-bluez`".into()));
    }
    if !(0.0..=1000.0).contains(&arguments.time_scale) {
        return Err(Failure::Usage("--time-scale is a number from 0 to 1000".into()));
    }
    let target = keys(&arguments.keys)?
        .into_iter()
        .fold(library::target(&arguments.target)?, |target, key| target.trusting(key));
    check_air(&target, arguments.air)?;
    let mut worlds = Vec::new();
    let mut flash = None;
    for number in 0..arguments.count {
        worlds.push(world(arguments, &target, number, &mut flash)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Harness(error.to_string()))?;
    LocalSet::new().block_on(&runtime, play(arguments, &target, worlds))?;
    Ok(0)
}

/// A target on an air where nobody can reach it is a mistake.
fn check_air(target: &Target, air: Air) -> Result<(), Failure> {
    let lack = |air: Air| {
        let secure = target.of_nordic().and_then(|own| own.unreachable_on(air));
        let legacy = target.of_nordic_legacy().and_then(|own| own.unreachable_on(air));
        secure.or(legacy).or_else(|| target.of_silabs().and_then(|own| own.unreachable_on(air)))
    };
    let Some(why) = lack(air) else { return Ok(()) };
    let works = |other: &Air| !other.is_virtual() && lack(*other).is_none();
    let works: Vec<_> = Air::ALL.into_iter().filter(works).map(|other| format!("--air {other}")).collect();
    Err(Failure::Usage(format!(
        "--air {air}: nobody reaches {} there, as it {why}\n  remedy: {}",
        target.name,
        works.join(" or ")
    )))
}

/// A target with its first record; `flash` is made for the first of them, and copied for the others.
fn world(arguments: &Arguments, target: &Target, number: u16, flash: &mut Option<Flash>) -> Result<World, Failure> {
    let mut board = target.board(TimingSpec::default(), arguments.time_scale, Vec::new())?;
    let address = &mut board.peripheral.advertisement.address;
    *address = address.plus(number.into());
    let flash = match flash {
        Some(flash) => flash.clone(),
        None => {
            let filled = match (board.mcuboot(), target.of_silabs()) {
                (Some(mcuboot), _) => fill(target, mcuboot, &arguments.slots)?,
                (None, Some(own)) => fill_silabs(target, own, &arguments.slots)?,
                (None, None) => fill_nordic(target, &arguments.slots)?,
            };
            flash.insert(filled).clone()
        }
    };
    let mut world = World::new(Arc::new(board), Persistent::new(flash), Wants::default());
    world.record(Kind::Run(RunRecord {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").into(),
        seed: 0,
        scenario: String::new(),
        target: target.name.clone(),
        initiator: String::new(),
        air: arguments.air.name().into(),
        clock: "real".into(),
        artifacts: Vec::new(),
    }));
    Ok(world)
}

async fn play(arguments: &Arguments, target: &Target, worlds: Vec<World>) -> Result<(), Failure> {
    let usage = |address: SocketAddr| move |error: std::io::Error| Failure::Usage(format!("{address}: {error}"));
    let harness = |error: std::io::Error| Failure::Harness(error.to_string());
    // Before anything that must not be left behind.
    let site = Site::guarded().map_err(harness)?;
    let listener = tokio::net::TcpListener::bind(arguments.control).await.map_err(usage(arguments.control))?;
    let control_url = format!("http://{}", listener.local_addr().map_err(usage(arguments.control))?);
    let output = Rc::new(RefCell::new(Output::new(arguments.json, worlds.len() > 1)));
    // Before an adapter is taken, which is to be given back.
    let mut terminate = signal(SignalKind::terminate()).map_err(harness)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(harness)?;
    let mut airs = tokio::select! {
        airs = open(arguments, &site, &worlds) => airs?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    }
    .into_iter();
    let mut requests = Vec::new();
    let mut ready = Vec::new();
    let mut targets = JoinSet::new();
    let (stopped, stop) = watch::channel(false);
    for (number, world) in worlds.into_iter().enumerate() {
        let Some(air) = airs.next() else { break };
        let (sender, requested) = mpsc::channel(16);
        let (place_sender, place) = oneshot::channel();
        requests.push(sender);
        ready.push(place);
        let ends = Ends { requested, stop: stop.clone() };
        targets.spawn_local(serve(world, air, number + 1, ends, Rc::clone(&output), place_sender));
    }
    tokio::spawn(async move { axum::serve(listener, control::router(&requests)).await });
    let announce = async {
        let mut places = Vec::new();
        for place in ready {
            let Ok(place) = place.await else { return std::future::pending().await };
            places.push(place.map_err(usage(arguments.listen))?);
        }
        let (json, words) = announcement(arguments, target, &places, &control_url);
        output.borrow_mut().ready(&json, &words);
        std::future::pending().await
    };
    let ended = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        // Whoever read the trace has gone, or the air is.
        Some(ended) = targets.join_next() => ended.unwrap_or(Ok(())).map_err(Failure::Harness),
        failure = announce => failure,
    };
    // Off the air before the program ends; a second signal does not wait.
    let _ = stopped.send(true);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = async { while targets.join_next().await.is_some() {} } => {}
    }
    targets.shutdown().await;
    ended
}

/// What comes to a target from outside: requests to its control, and that it is over.
struct Ends {
    requested: mpsc::Receiver<Request>,
    stop: watch::Receiver<bool>,
}

/// The targets' ends of the air.
async fn open(arguments: &Arguments, site: &Site, worlds: &[World]) -> Result<Vec<air::Air>, Failure> {
    let no_port = |error: std::io::Error| Failure::Harness(format!("no serial port can be made: {error}"));
    Ok(match arguments.air {
        Air::VirtualBluez => {
            let folder = match &arguments.bus_folder {
                Some(folder) => {
                    let mistake = |error: std::io::Error| Failure::Usage(format!("{}: {error}", folder.display()));
                    let folder = folder.canonicalize().map_err(mistake)?;
                    site.also_remove(&folder.join(SOCKET));
                    folder
                }
                None => site.folder().to_owned(),
            };
            let bluez = start_bus(&folder, arguments.adapters)?;
            (0..worlds.len()).map(|number| air::Air::Bluez(BluezAir::attach(&bluez, number == 0))).collect()
        }
        // For the link to a USB port.
        Air::Serial if worlds.iter().any(|world| world.board().usb) => {
            vec![SerialAir::open_usb(site.folder()).map(air::Air::Serial).map_err(no_port)?]
        }
        Air::Serial => vec![SerialAir::open().map(air::Air::Serial).map_err(no_port)?],
        Air::Bluez(number) => {
            let setup = worlds.first().map(|world| setup(world.board())).unwrap_or_default();
            let name = format!("hci{number}");
            let opened = AdapterAir::open(&name, setup).await.map_err(|error| Failure::adapter(&error))?;
            // Only what is ours is given back: one that is in use was refused.
            site.adapter(&name);
            vec![air::Air::Adapter(Box::new(opened))]
        }
        Air::Udp | Air::InProcess | Air::InProcessBle => {
            let taken = |error: std::io::Error| Failure::Usage(format!("{}: {error}", arguments.listen));
            vec![UdpAir::bind(arguments.listen).map(air::Air::Udp).map_err(taken)?]
        }
    })
}

fn start_bus(folder: &Path, adapters: u8) -> Result<Rc<VirtualBluez>, Failure> {
    let options = Options { adapters: usize::from(adapters), ..Options::default() };
    let bluez = VirtualBluez::start(folder, &options);
    bluez.map(Rc::new).map_err(|error| Failure::Usage(format!("no virtual BlueZ in {}: {error}", folder.display())))
}

/// Where a target is, and the name it advertises.
struct Found {
    place: Place,
    name: Option<String>,
}

/// Plays one target until nobody reads what it says, or it is over; tells where it is reached, once it can be.
///
/// # Errors
/// The air is gone, in words.
async fn serve(
    mut world: World,
    air: air::Air,
    number: usize,
    ends: Ends,
    output: Rc<RefCell<Output>>,
    place: oneshot::Sender<std::io::Result<Found>>,
) -> Result<(), String> {
    let Ends { mut requested, mut stop } = ends;
    let mut live = Live::new(&mut world, air);
    let mut place = Some(place);
    let mut waiting = Waiting::default();
    live.world.control(Control::Power(true));
    loop {
        live.catch_up().await;
        let records = live.records();
        waiting.look(&records, live.world);
        for record in &records {
            if !output.borrow_mut().record(number, record) {
                live.close().await;
                return Ok(());
            }
        }
        // One that will never advertise is there all the same.
        let known = match live.air() {
            air::Air::Bluez(air) => air.address().is_some() || live.world.next_wake().is_none(),
            air::Air::Adapter(air) => air.name().is_some() || live.world.next_wake().is_none(),
            air::Air::Udp(_) | air::Air::Serial(_) => true,
        };
        if let Some(place) = place.take_if(|_| known) {
            let name = match live.air() {
                air::Air::Bluez(air) => air.name().map(str::to_owned),
                air::Air::Adapter(air) => air.name().map(str::to_owned),
                air::Air::Udp(_) | air::Air::Serial(_) => None,
            };
            let _ = place.send(live.place().map(|place| Found { place, name }));
        }
        tokio::select! {
            biased;
            Some(request) = requested.recv() => {
                live.catch_up().await;
                waiting.handle(request, live.world);
            }
            _ = stop.wait_for(|stop| *stop) => {
                live.close().await;
                return Ok(());
            }
            () = live.next() => if let Some(why) = live.gone() {
                return Err(why.to_owned());
            },
        }
    }
}

/// What is said first: as JSON, and in words.
fn announcement(arguments: &Arguments, target: &Target, found: &[Found], control: &str) -> (serde_json::Value, String) {
    let first = found.first().map(|found| &found.place);
    let (address, port, path, bus) = match first {
        Some(Place::Socket(address)) => (Some(address.ip().to_string()), Some(address.port()), None, None),
        Some(Place::Port(path)) => (None, None, Some(path.display().to_string()), None),
        Some(Place::Adapter { address, .. }) => (Some(address.to_string()), None, None, None),
        Some(Place::Bus { address, bus }) => (address.map(|address| address.to_string()), None, None, Some(bus)),
        None => (None, None, None, None),
    };
    let name = |found: &Found| found.name.clone().unwrap_or_else(|| target.name.clone());
    let mut json = serde_json::json!({
        "event": "ready", "air": arguments.air.to_string(), "address": address, "name": found.first().map(name),
        "bus": bus, "port": port, "path": path, "control": control,
    });
    let place = first.map(ToString::to_string).unwrap_or_default();
    let mut words = format!("{} on {} {place}; control {control}; Ctrl-C ends it", target.name, arguments.air);
    if found.len() > 1 {
        let mut targets = Vec::new();
        for (number, found) in (1..).zip(found) {
            let Place::Bus { address, .. } = &found.place else { continue };
            let address = address.map(|address| address.to_string());
            let control = format!("{control}/targets/{number}");
            let shown = address.as_deref().unwrap_or("does not advertise");
            words.push_str(&format!("\n  {number:4}  {shown}; control {control}"));
            targets.push(serde_json::json!({ "address": address, "name": name(found), "control": control }));
        }
        json["targets"] = targets.into();
    }
    if let Some(bus) = bus {
        words.push_str(&format!("\nwhere the initiator is started:\n  export {BUS}={bus}"));
    }
    (json, words)
}
