//! The event loop on real time: one task owns the world; socket, port or bus, processes and clock feed it.
//!
//! The tool is external, or the built-in initiator behind a socket of its own. What it does is driven by
//! a script (`drive`) that runs beside the loop and tells it what happens by messages, so that the world
//! is answered for at every moment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use brickproof_simulator::air::{self, AdapterAir, BluezAir, Place, SerialAir, UdpAir};
use brickproof_simulator::bluez::Setup;
use brickproof_simulator::device::Board;
use brickproof_simulator::gatt::Address;
use brickproof_simulator::trace::{BusEvent, InitiatorEvent, Kind, Record};
use brickproof_simulator::virtual_bluez::{Options, VirtualBluez};
use brickproof_simulator::world::World;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::case::{Case, Ended};
use super::live::Live;
use super::person;
use super::recipe::Recipe;
use super::site::{CaseSite, Site};
use super::{InitiatorChoice, Plan, virtual_time};
use crate::air::Air;
use crate::initiator::bluez::BluezWire;
use crate::initiator::serial::SerialWire;
use crate::initiator::udp::UdpWire;
use crate::target::Protocol;

/// Port of SMP over UDP (zephyr: `CONFIG_MCUMGR_TRANSPORT_UDP_PORT`); some clients fix it.
const SMP_PORT: u16 = 1337;
/// Lateness of the loop beyond which its own slowness may have failed the tool.
const LATE_MAX: Duration = Duration::from_secs(2);
/// Addresses that are tried for a case.
const ADDRESSES: u32 = 4096;
/// How long the last lines of a tool are waited for, and what the bus makes of its end.
const LAST_LINES: Duration = Duration::from_millis(300);

pub(super) fn run(case: &Case, plan: &Plan, index: usize, world: &mut World, trace: &mut Vec<Record>) -> Ended {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Ended::Error(format!("no event loop: {error}")),
    };
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, run_case(case, plan, index, world, trace));
    result.unwrap_or_else(Ended::Error)
}

/// What a script sees of the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// The target would answer, and no reset is under way.
    pub(super) serving: bool,
    /// Starts and resets so far.
    pub(super) starts: u64,
    /// It will never start again.
    pub(super) dead: bool,
    /// Packets and lines lost so far.
    pub(super) lost: u64,
    /// Its Bluetooth address now, and the name it advertises.
    pub(super) address: Option<Address>,
    pub(super) name: Option<String>,
    /// Somebody has opened the bus.
    pub(super) opened: bool,
}

impl Seen {
    fn of(live: &Live<'_>, opened: bool) -> Self {
        let world = &live.world;
        let (address, name) = match live.air() {
            air::Air::Bluez(air) => (air.address(), air.name().map(str::to_owned)),
            air::Air::Adapter(air) => (Some(air.address()), air.name().map(str::to_owned)),
            air::Air::Udp(_) | air::Air::Serial(_) => (None, None),
        };
        Self {
            address,
            name,
            opened,
            serving: world.serving() && !world.reset_asked(),
            starts: world.starts(),
            // Without power, and with nothing to come that brings it back, it is as good as dead.
            dead: world.dead().is_some() || (!world.powered() && world.next_wake().is_none()),
            lost: world.lost(),
        }
    }
}

async fn run_case(
    case: &Case,
    plan: &Plan,
    index: usize,
    world: &mut World,
    trace: &mut Vec<Record>,
) -> Result<Ended, String> {
    let no_folder = |error: std::io::Error| format!("no folder for the files of the case: {error}");
    let own = if plan.site.is_some() { None } else { Some(Site::plain().map_err(no_folder)?) };
    let Some(run) = plan.site.as_deref().or(own.as_ref()) else { return Err("no site".into()) };
    let site = run.case(index).map_err(no_folder)?;
    // Some tools look at the name.
    let image = site.folder().join(match case.protocol() {
        Protocol::Smp => "update.bin",
        Protocol::SecureDfu | Protocol::LegacyDfu => "update.zip",
        Protocol::SilabsOta => "update.gbl",
    });
    std::fs::write(&image, &case.images.update.bytes).map_err(|error| format!("{}: {error}", image.display()))?;

    if let InitiatorChoice::External(profile) = &plan.initiator
        && let Some(driver) = &profile.driver
    {
        let path = site.folder().join(&driver.name);
        std::fs::write(&path, &driver.text).map_err(|error| format!("{}: {error}", path.display()))?;
    }

    // Before the adapter is taken, which is to be given back.
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let air = tokio::select! {
        biased;
        () = signals.arrive() => return Ok(interrupted()),
        air = open(plan.air, index, world.board(), site.folder()) => air?,
    };
    // Only what is ours is given back: one that is in use was refused.
    if let Some(adapter) = plan.air.adapter() {
        run.adapter(&adapter);
    }
    let mut live = Live::new(world, air);
    let played = tokio::select! {
        biased;
        () = signals.arrive() => Ok(interrupted()),
        ended = play(case, plan, &mut live, &image, &site, trace) => ended,
    };
    tokio::select! {
        biased;
        () = live.close() => played,
        // A second signal does not wait.
        () = signals.arrive() => Ok(interrupted()),
    }
}

/// What a person ends a run with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn arrive(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The case itself, while the target is on the air.
async fn play(
    case: &Case,
    plan: &Plan,
    live: &mut Live<'_>,
    image: &Path,
    site: &CaseSite<'_>,
    trace: &mut Vec<Record>,
) -> Result<Ended, String> {
    let place = live.place().map_err(|error| error.to_string())?;
    let (notes, mut noted) = mpsc::unbounded_channel();
    let (bus_notes, mut bus_noted) = mpsc::unbounded_channel();
    let (seen_sender, seen) = watch::channel(Seen::default());
    let (mut window, view) = person::Window::open(case);
    let to = Told { notes, bus_notes, seen, view, start: live.start() };
    let mut script = Some(Box::pin(drive(case, plan, &place, image, site, to)));
    let mut opened = false;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(plan.timeout_s);
    let mut ended = None;
    let mut quiet_at = None;

    loop {
        live.catch_up().await;
        let mut records = live.records();
        opened |= records.iter().any(|record| matches!(record.kind, Kind::Bus(BusEvent::Opened { .. })));
        window.pass(&records);
        trace.append(&mut records);
        let now = Seen::of(live, opened);
        seen_sender.send_if_modified(|seen| {
            let changed = *seen != now;
            *seen = now;
            changed
        });
        if quiet_at.is_some_and(|at| at <= tokio::time::Instant::now()) {
            break;
        }
        tokio::select! {
            biased;
            Some(event) = noted.recv() => {
                live.world.record(Kind::Initiator(event));
            }
            Some(event) = bus_noted.recv() => {
                live.world.record(Kind::Bus(event));
            }
            result = finish(&mut script), if script.is_some() => {
                script = None;
                ended = Some(result);
                quiet_at = Some(tokio::time::Instant::now() + LAST_LINES);
            }
            () = tokio::time::sleep_until(deadline), if script.is_some() => {
                // Kills what it has started.
                script = None;
                ended = Some(Ended::Hung);
                quiet_at = Some(tokio::time::Instant::now() + LAST_LINES);
            }
            () = until(quiet_at), if quiet_at.is_some() => {}
            () = live.next() => if let Some(why) = live.gone() {
                return Err(why.to_owned());
            },
        }
    }
    while let Ok(event) = noted.try_recv() {
        live.world.record(Kind::Initiator(event));
    }
    while let Ok(event) = bus_noted.try_recv() {
        live.world.record(Kind::Bus(event));
    }
    // What the target still does by itself, nobody is there to see.
    virtual_time::settle(live.world);
    case.finally(live.world);
    virtual_time::settle(live.world);
    live.world.record_state("end");
    trace.append(&mut live.records());
    let late = live.latest();
    Ok(match ended.unwrap_or(Ended::Done) {
        ended @ (Ended::Done | Ended::Hung) if late > LATE_MAX => {
            Ended::Late { late, hung: matches!(ended, Ended::Hung) }
        }
        ended => ended,
    })
}

/// The script's end; never, once it is gone.
async fn finish<F: Future<Output = Ended>>(script: &mut Option<std::pin::Pin<Box<F>>>) -> Ended {
    match script {
        Some(script) => script.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Until then; never, if there is no such time.
async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn interrupted() -> Ended {
    super::STOPPED.store(true, std::sync::atomic::Ordering::Relaxed);
    Ended::Error("interrupted".into())
}

/// The target's end of an air; `folder` is for the link to a USB port, or for the socket of the bus.
async fn open(air: Air, index: usize, board: &Board, folder: &Path) -> Result<air::Air, String> {
    let no_port = |error| format!("no serial port can be made: {error}");
    match air {
        Air::Serial if board.usb => SerialAir::open_usb(folder).map(air::Air::Serial).map_err(no_port),
        Air::Serial => SerialAir::open().map(air::Air::Serial).map_err(no_port),
        Air::VirtualBluez => {
            let bluez = VirtualBluez::start(folder, &Options::default());
            let bluez = bluez.map_err(|error| format!("no virtual BlueZ in {}: {error}", folder.display()))?;
            Ok(air::Air::Bluez(BluezAir::attach(&Rc::new(bluez), true)))
        }
        Air::Bluez(number) => {
            let opened = AdapterAir::open(&format!("hci{number}"), setup(board)).await;
            opened.map(Box::new).map(air::Air::Adapter).map_err(|error| error.to_string())
        }
        Air::Udp | Air::InProcess | Air::InProcessBle => bind(index).map(air::Air::Udp),
    }
}

/// What an adapter must know of a board.
pub(crate) fn setup(board: &Board) -> Setup {
    Setup { capability: board.gatt.pairing.capability, centrals: board.gatt.connections }
}

/// A loopback address of its own for each case, because clients fix the port.
fn bind(index: usize) -> Result<UdpAir, String> {
    let offset = std::process::id().wrapping_mul(64).wrapping_add(u32::try_from(index).unwrap_or(0));
    let mut last = String::new();
    for attempt in 0..ADDRESSES {
        let number = offset.wrapping_add(attempt) % (1 << 22);
        let [_, b, c, d] = number.to_be_bytes();
        let ip = Ipv4Addr::new(127, 64 + b, c, d.max(1));
        match UdpAir::bind(SocketAddr::from((ip, SMP_PORT))) {
            Ok(air) => return Ok(air),
            Err(error) => last = format!("{ip}:{SMP_PORT}: {error}"),
        }
    }
    Err(format!("no loopback address is free for the target, the last tried was {last}"))
}

/// What a script hears and says while it runs.
struct Told {
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    bus_notes: mpsc::UnboundedSender<BusEvent>,
    seen: watch::Receiver<Seen>,
    view: person::View,
    start: Instant,
}

/// What the initiator does, until it is done.
async fn drive(case: &Case, plan: &Plan, place: &Place, image: &Path, site: &CaseSite<'_>, told: Told) -> Ended {
    let Told { notes, bus_notes, mut seen, view, start } = told;
    let _ = seen.wait_for(|seen| seen.serving || seen.dead).await;
    match &plan.initiator {
        InitiatorChoice::External(profile) => {
            match Recipe::new(case, profile, plan.air, place, image, site, notes, bus_notes, seen) {
                Ok(recipe) => recipe.run(case).await,
                Err(message) => Ended::NotStarted(message),
            }
        }
        InitiatorChoice::Person(person) => {
            person::run(person, case, plan, place, image, notes, seen, view, start).await
        }
        InitiatorChoice::Builtin(personality) => {
            let _ = notes.send(InitiatorEvent::Started { what: "the built-in initiator".into() });
            let job = case.job();
            let report = match place {
                Place::Socket(address) => match UdpWire::connect(*address, start, notes.clone()).await {
                    Ok(mut wire) => personality.run(&mut wire, &job, plan.seed).await,
                    Err(error) => return Ended::Error(format!("{place}: {error}")),
                },
                Place::Port(path) => {
                    let mut wire = SerialWire::new(path.clone(), start, notes.clone());
                    personality.run(&mut wire, &job, plan.seed).await
                }
                Place::Adapter { .. } => {
                    return Ended::NotStarted("the built-in initiator does not use adapters: choose a tool".into());
                }
                Place::Bus { bus, .. } => match BluezWire::open(bus, case.passkey(), start, notes.clone()).await {
                    Ok(mut wire) => personality.run(&mut wire, &job, plan.seed).await,
                    Err(error) => return Ended::Error(format!("{bus}: {error}")),
                },
            };
            let _ = notes.send(InitiatorEvent::Reported { success: report.success, message: report.message });
            Ended::Done
        }
    }
}
