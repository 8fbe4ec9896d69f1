//! `brickproof simulate`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Slot, SwapType};
use brickproof_flash_model::flash::{Controller, Flash, FlashError, Uncut};
use brickproof_flash_model::image::mcuboot::{ImageVersion, inspect};
use brickproof_simulator::air::UdpAir;
use brickproof_simulator::device::Persistent;
use brickproof_simulator::trace::{Kind, LinkEvent, PowerEvent, Record, RunRecord, SCHEMA, Wants};
use brickproof_simulator::world::{Control, World};
use clap::Args;
use tokio::sync::mpsc;

use super::options::keys;
use super::{Failure, read_file};
use crate::air::Air;
use crate::control::{self, Waiting};
use crate::library;
use crate::runner::live::Live;
use crate::scenario::TimingSpec;
use crate::target::Target;

/// Size of the image that is installed when none is given, in bytes.
const OWN_IMAGE: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to play: a profile or a path to a .toml file
    #[arg(long)]
    target: String,
    /// What carries the bytes
    #[arg(long, default_value = "udp")]
    air: Air,
    /// Address and port of the target
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1337))]
    listen: SocketAddr,
    /// Address and port of the control server; any free port on loopback if not given
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    control: SocketAddr,
    /// What is in a slot: primary=FILE:confirmed, secondary=FILE:pending, primary=FILE:testing, ...
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

#[derive(Debug, Clone)]
struct SlotFile {
    slot: Slot,
    path: PathBuf,
    state: SlotState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Plain,
    Confirmed,
    Pending,
    Testing,
}

fn slot(text: &str) -> Result<SlotFile, String> {
    let (name, rest) = text.split_once('=').ok_or("expected NAME=FILE[:STATE], like primary=app.bin:confirmed")?;
    let slot = match name {
        "primary" => Slot::Primary,
        "secondary" => Slot::Secondary,
        other => return Err(format!("no slot is called `{other}`: primary or secondary")),
    };
    let (path, state) = match rest.rsplit_once(':') {
        Some((path, "confirmed")) => (path, SlotState::Confirmed),
        Some((path, "pending")) => (path, SlotState::Pending),
        Some((path, "testing")) => (path, SlotState::Testing),
        Some((_, state)) if !Path::new(rest).exists() && state.chars().all(|c| c.is_ascii_alphabetic()) => {
            return Err(format!("no state is called `{state}`: confirmed, pending or testing"));
        }
        _ => (rest, SlotState::Plain),
    };
    let right = match state {
        SlotState::Plain => true,
        SlotState::Pending => slot == Slot::Secondary,
        SlotState::Confirmed | SlotState::Testing => slot == Slot::Primary,
    };
    if right {
        Ok(SlotFile { slot, path: path.into(), state })
    } else {
        Err("`pending` is for the secondary slot, `confirmed` and `testing` are for the primary".into())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.air != Air::Udp {
        return Err(Failure::Usage("a target can be played on the air `udp`".into()));
    }
    if !(0.0..=1000.0).contains(&arguments.time_scale) {
        return Err(Failure::Usage("--time-scale is a number from 0 to 1000".into()));
    }
    let target = keys(&arguments.keys)?
        .into_iter()
        .fold(library::target(&arguments.target)?, |target, key| target.trusting(key));
    let board = target.board(TimingSpec::default(), arguments.time_scale, Vec::new())?;
    let flash = fill(&target, &board.mcuboot, &arguments.slots)?;
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Harness(error.to_string()))?;
    runtime.block_on(play(arguments, &target, &mut world))?;
    Ok(0)
}

async fn play(arguments: &Arguments, target: &Target, world: &mut World) -> Result<(), Failure> {
    let usage = |address: SocketAddr| move |error: std::io::Error| Failure::Usage(format!("{address}: {error}"));
    let air = UdpAir::bind(arguments.listen).map_err(usage(arguments.listen))?;
    let listener = tokio::net::TcpListener::bind(arguments.control).await.map_err(usage(arguments.control))?;
    let control_address = listener.local_addr().map_err(usage(arguments.control))?;
    let (requests, mut requested) = mpsc::channel(16);
    tokio::spawn(async move { axum::serve(listener, control::router(requests)).await });

    let mut live = Live::new(world, air);
    let address = live.address().map_err(usage(arguments.listen))?;
    let control_url = format!("http://{control_address}");
    let mut output = if arguments.json {
        let ready = serde_json::json!({
            "event": "ready", "air": arguments.air.name(), "address": address.ip().to_string(), "name": target.name,
            "bus": null, "port": address.port(), "path": null, "control": control_url,
        });
        emit(&ready.to_string());
        Some(Output::start())
    } else {
        eprintln!("{} on udp {address}; control {control_url}; Ctrl-C ends it", target.name);
        None
    };
    live.world.control(Control::Power(true));
    let mut waiting = Waiting::default();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::Harness(error.to_string()))?;
    loop {
        live.catch_up().await;
        let records = live.records();
        waiting.look(&records, live.world);
        for record in &records {
            let Some(output) = &mut output else {
                show(record);
                continue;
            };
            if !output.line(record) {
                // Whoever read the trace has gone.
                return Ok(());
            }
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            Some(request) = requested.recv() => {
                live.catch_up().await;
                waiting.handle(request, live.world);
            }
            () = live.next() => {}
        }
    }
}

/// The trace on standard output, written by a thread of its own: a reader that is slow, or that only wanted
/// the first line, must not stop the target.
struct Output {
    lines: SyncSender<String>,
    dropped: u64,
}

/// Lines that wait for a slow reader; then further ones are counted and left out.
const LINES_MAX: usize = 10_000;

impl Output {
    fn start() -> Self {
        let (lines, waiting) = sync_channel::<String>(LINES_MAX);
        std::thread::spawn(move || while waiting.recv().is_ok_and(|line| emit(&line)) {});
        Self { lines, dropped: 0 }
    }

    /// Queues a record; `false` when nobody reads any more.
    fn line(&mut self, record: &Record) -> bool {
        let Ok(line) = serde_json::to_string(record) else { return true };
        if self.dropped > 0 {
            let note = serde_json::json!({ "event": "dropped", "records": self.dropped }).to_string();
            if self.lines.try_send(note).is_ok() {
                self.dropped = 0;
            }
        }
        match self.lines.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// Says on standard error what happens.
fn show(record: &Record) {
    let seconds = record.at_us as f64 / 1e6;
    let text = match &record.kind {
        Kind::Power(PowerEvent::Off { reason }) => format!("power off: {reason}"),
        Kind::Power(PowerEvent::On { .. }) => "starts".to_owned(),
        Kind::Power(PowerEvent::Dead { reason }) => format!("BRICK: {reason}"),
        Kind::Link(LinkEvent::Up) => "link up".to_owned(),
        Kind::Link(LinkEvent::Down { reason }) => format!("link down: {reason}"),
        Kind::Link(LinkEvent::Connected { connection, central, .. }) => {
            format!("connection {connection} of central {central}")
        }
        Kind::Link(LinkEvent::Disconnected { connection, reason, .. }) => {
            format!("connection {connection} ended: 0x{reason:02x}")
        }
        Kind::Boot(boot) => format!(
            "boot {}: {}{}",
            boot.number,
            boot.decisions.join("; "),
            boot.version.as_ref().map_or(String::new(), |version| format!("; runs {version}"))
        ),
        Kind::Message { smp, .. } if smp.failure().is_some() => match (smp.name.as_deref(), smp.failure()) {
            (name, Some((Some(group), rc))) => {
                format!("{} refused: group {group}, error {rc}", name.unwrap_or("request"))
            }
            (name, failure) => {
                format!("{} refused: rc {}", name.unwrap_or("request"), failure.map_or(0, |(_, rc)| rc))
            }
        },
        Kind::Fault { id, state, what } => format!("fault {id} {state}: {what}"),
        Kind::Battery { percent } => format!("battery {percent} %"),
        Kind::Resource { pool, dropped, .. } => format!("{pool} overrun: {dropped} dropped"),
        Kind::Application { event } => format!("application {event}"),
        _ => return,
    };
    eprintln!("{seconds:10.3} {text}");
}

fn emit(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// The flash with the given images, or with a confirmed image of our own.
fn fill(target: &Target, mcuboot: &Mcuboot, slots: &[SlotFile]) -> Result<Flash, Failure> {
    let mut flash = target.layout.blank_flash();
    target.fill_other_images(&mut flash, mcuboot)?;
    if !slots.iter().any(|slot| slot.slot == Slot::Primary) {
        let version = ImageVersion { major: 1, ..ImageVersion::default() };
        let image = target.maker()?.image(version, OWN_IMAGE).map_err(Failure::Harness)?;
        install(mcuboot, &mut flash, Slot::Primary, Path::new("own image"), &image, SlotState::Confirmed)?;
    }
    for slot in slots {
        let image = read_file(&slot.path)?;
        install(mcuboot, &mut flash, slot.slot, &slot.path, &image, slot.state)?;
    }
    Ok(flash)
}

fn install(
    mcuboot: &Mcuboot,
    flash: &mut Flash,
    slot: Slot,
    path: &Path,
    image: &[u8],
    state: SlotState,
) -> Result<(), Failure> {
    let area = mcuboot.area(slot);
    let mistake = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
    if slot == Slot::Primary
        && let Err(error) = inspect(&image)
    {
        return Err(mistake(format!("no MCUboot image: {error}")));
    }
    flash.load(area, 0, image).map_err(|error| mistake(error.to_string()))?;
    let mut hook = Uncut;
    let mut controller = Controller::new(flash, &mut hook);
    let trailer = mcuboot.trailer(slot);
    // Images that imgtool padded bring their own trailer: what is there is not written again.
    let has_trailer = image.len() > (area.len - trailer.len()) as usize;
    let written: Result<(), FlashError> = match state {
        _ if has_trailer => Ok(()),
        SlotState::Plain => Ok(()),
        SlotState::Pending => {
            mcuboot.set_pending(&mut controller, false).map_err(|error| mistake(error.to_string())).map(Ok)?
        }
        SlotState::Confirmed | SlotState::Testing => (|| {
            let swap = if state == SlotState::Testing { SwapType::Test } else { SwapType::Permanent };
            trailer.write_swap_info(&mut controller, swap)?;
            trailer.write_copy_done(&mut controller)?;
            if state == SlotState::Confirmed {
                trailer.write_image_ok(&mut controller)?;
            }
            trailer.write_magic(&mut controller)
        })(),
    };
    written.map_err(|error| mistake(error.to_string()))
}
