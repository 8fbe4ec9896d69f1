//! A running target over HTTP: how it is used from pytest, Jest or Go tests.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /state` | slots, flags, running image, power, battery |
//! | `GET /wait?for=EVENT&timeout=S&since=N` | the first record of that event; 408 when it does not come |
//! | `POST /power {"on": false}` | supply off, or on |
//! | `POST /reset` | the reset pin |
//! | `POST /link {"up": false}` | the link down, or up |
//! | `POST /battery {"percent": 10}` | the charge of the battery |
//! | `POST /fault {"when": {...}, "do": {...}}` | arms a fault, in the words of the scenarios |
//!
//! Of several targets on one bus the first is at the root, and each under `/targets/K`, counted from 1.
//!
//! `EVENT` is a kind of record (`boot`, `power`, `link`, `fault`, `flash`, `message`, `application`,
//! `battery`, `resource`), `off`, `on`, `dead`, `uploaded`, or `serving`, which is also true of what has
//! happened before. `since` counts records; without it, only what comes after the call is looked at.
//! Every answer is JSON; a failure is `{"error": "..."}`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Json, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use brickproof_simulator::device::Battery;
use brickproof_simulator::trace::{Kind, PowerEvent, Record, StateRecord};
use brickproof_simulator::world::{Control, UPLOADED, World};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::scenario::fault::FaultEntry;

/// Longest wait in seconds.
const WAIT_MAX_S: f64 = 3600.0;
/// Waits that may be open at once.
const WAITING_MAX: usize = 64;

/// What a client wants of the world.
#[derive(Debug)]
pub enum Request {
    /// The state.
    State(oneshot::Sender<TargetState>),
    /// The first record of an event.
    Wait(Waiter),
    /// Something is done to the target.
    Control(Control, oneshot::Sender<()>),
}

/// A client that waits for an event.
#[derive(Debug)]
pub struct Waiter {
    event: Event,
    since: Option<u64>,
    answer: oneshot::Sender<serde_json::Value>,
}

/// What `GET /state` answers.
#[derive(Debug, Serialize)]
pub struct TargetState {
    /// Whether supply is on.
    powered: bool,
    /// Whether a request would be answered now.
    serving: bool,
    /// Why the device does not start any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<String>,
    /// Charge in percent.
    battery: u8,
    /// Boots so far.
    boots: u64,
    /// Number of the next record.
    records: u64,
    /// Next expected offset and size of an upload under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<(u32, u32)>,
    /// Slots and running image.
    #[serde(flatten)]
    state: Option<StateRecord>,
}

/// Something that can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Kind(String),
    Off,
    On,
    Dead,
    Uploaded,
    Serving,
}

impl Event {
    const KINDS: [&str; 9] =
        ["boot", "power", "link", "fault", "flash", "message", "application", "battery", "resource"];

    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "off" => Self::Off,
            "on" => Self::On,
            "dead" => Self::Dead,
            "uploaded" => Self::Uploaded,
            "serving" => Self::Serving,
            kind if Self::KINDS.contains(&kind) => Self::Kind(kind.to_owned()),
            other => {
                let kinds = Self::KINDS.join(", ");
                return Err(format!("no event is called `{other}`: {kinds}, off, on, dead, uploaded, serving"));
            }
        })
    }

    fn is(&self, record: &Record, json: &serde_json::Value) -> bool {
        match self {
            Self::Kind(kind) => json["kind"] == kind.as_str(),
            Self::Off => matches!(record.kind, Kind::Power(PowerEvent::Off { .. })),
            Self::On => matches!(record.kind, Kind::Power(PowerEvent::On { .. })),
            Self::Dead => matches!(record.kind, Kind::Power(PowerEvent::Dead { .. })),
            Self::Uploaded => matches!(&record.kind, Kind::Application { event } if event == UPLOADED),
            Self::Serving => false,
        }
    }
}

/// Those who wait, and the records they may have missed.
#[derive(Debug, Default)]
pub struct Waiting {
    open: Vec<Waiter>,
    seen: Vec<(Record, serde_json::Value)>,
}

/// Records that are kept for `since`.
const SEEN_MAX: usize = 20_000;

impl Waiting {
    /// Handles a request of a client.
    pub fn handle(&mut self, request: Request, world: &mut World) {
        match request {
            Request::State(answer) => {
                let records = self.next_record();
                let _ = answer.send(state(world, records));
            }
            Request::Control(control, answer) => {
                world.control(control);
                let _ = answer.send(());
            }
            Request::Wait(waiter) => {
                if waiter.event == Event::Serving && world.serving() {
                    let _ = waiter.answer.send(serde_json::json!({ "event": "serving" }));
                    return;
                }
                let since = waiter.since.unwrap_or(u64::MAX);
                let missed = self.seen.iter().find(|(record, json)| record.n >= since && waiter.event.is(record, json));
                if let Some((_, json)) = missed {
                    let _ = waiter.answer.send(json.clone());
                } else if self.open.len() < WAITING_MAX {
                    self.open.push(waiter);
                }
            }
        }
    }

    /// Looks at new records.
    pub fn look(&mut self, records: &[Record], world: &World) {
        for record in records {
            let json = serde_json::to_value(record).unwrap_or_default();
            self.tell(|event| event.is(record, &json), &json);
            self.seen.push((record.clone(), json));
        }
        if world.serving() {
            self.tell(|event| *event == Event::Serving, &serde_json::json!({ "event": "serving" }));
        }
        if self.seen.len() > SEEN_MAX {
            self.seen.drain(..SEEN_MAX / 2);
        }
        self.open.retain(|waiter| !waiter.answer.is_closed());
    }

    fn tell(&mut self, is: impl Fn(&Event) -> bool, json: &serde_json::Value) {
        for waiter in std::mem::take(&mut self.open) {
            if is(&waiter.event) {
                let _ = waiter.answer.send(json.clone());
            } else {
                self.open.push(waiter);
            }
        }
    }

    fn next_record(&self) -> u64 {
        self.seen.last().map_or(0, |(record, _)| record.n + 1)
    }
}

fn state(world: &World, records: u64) -> TargetState {
    TargetState {
        powered: world.powered(),
        serving: world.serving(),
        dead: world.dead().map(str::to_owned),
        battery: world.battery().percent,
        boots: world.persistent().map_or(0, |persistent| persistent.boots),
        records,
        upload: world.device().and_then(|device| device.upload(world.board())),
        state: world.state("now"),
    }
}

/// The routes; requests go to whoever owns the world. Of several targets the first answers at the root, and each under
/// `/targets/K`, counted from 1.
pub fn router(targets: &[mpsc::Sender<Request>]) -> Router {
    let mut router = targets.first().map_or_else(Router::new, |first| target(first.clone()));
    if targets.len() > 1 {
        for (number, requests) in (1..).zip(targets) {
            router = router.nest(&format!("/targets/{number}"), target(requests.clone()));
        }
    }
    router.fallback(unknown).method_not_allowed_fallback(unknown)
}

/// The routes of one target.
fn target(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/state", get(get_state))
        .route("/wait", get(wait))
        .route("/power", post(power))
        .route("/reset", post(reset))
        .route("/link", post(link))
        .route("/battery", post(battery))
        .route("/fault", post(fault))
        .with_state(requests)
}

type Requests = State<mpsc::Sender<Request>>;
type Answer = (StatusCode, Json<serde_json::Value>);

/// Reads a body as JSON, whatever its content type says; `example` is what was expected.
fn read<T: for<'de> Deserialize<'de>>(body: &Bytes, example: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{error}; expected {example}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    #[serde(rename = "for")]
    event: String,
    timeout: Option<f64>,
    since: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PowerBody {
    on: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkBody {
    up: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatteryBody {
    percent: u8,
}

async fn get_state(State(requests): Requests) -> Answer {
    let (sender, receiver) = oneshot::channel();
    if requests.send(Request::State(sender)).await.is_err() {
        return gone();
    }
    match receiver.await.map(serde_json::to_value) {
        Ok(Ok(state)) => (StatusCode::OK, Json(state)),
        _ => gone(),
    }
}

async fn wait(State(requests): Requests, query: Result<Query<WaitQuery>, QueryRejection>) -> Answer {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return refused(format!("{}; expected ?for=EVENT&timeout=SECONDS", rejection.body_text())),
    };
    let event = match Event::parse(&query.event) {
        Ok(event) => event,
        Err(message) => return refused(message),
    };
    let timeout = query.timeout.unwrap_or(30.0);
    if !(0.0..=WAIT_MAX_S).contains(&timeout) {
        return refused(format!("a timeout is between 0 and {WAIT_MAX_S} seconds"));
    }
    let (answer, receiver) = oneshot::channel();
    if requests.send(Request::Wait(Waiter { event, since: query.since, answer })).await.is_err() {
        return gone();
    }
    match tokio::time::timeout(std::time::Duration::from_secs_f64(timeout), receiver).await {
        Ok(Ok(record)) => (StatusCode::OK, Json(record)),
        Ok(Err(_)) => refused(format!("more than {WAITING_MAX} waits at once")),
        Err(_) => {
            let message = format!("no `{}` within {timeout} s", query.event);
            (StatusCode::REQUEST_TIMEOUT, Json(serde_json::json!({ "error": message })))
        }
    }
}

async fn power(State(requests): Requests, body: Bytes) -> Answer {
    match read::<PowerBody>(&body, "{\"on\": false}") {
        Ok(body) => control(&requests, Control::Power(body.on)).await,
        Err(message) => refused(message),
    }
}

async fn reset(State(requests): Requests) -> Answer {
    control(&requests, Control::Reset).await
}

async fn link(State(requests): Requests, body: Bytes) -> Answer {
    match read::<LinkBody>(&body, "{\"up\": false}") {
        Ok(body) => control(&requests, Control::Link(body.up)).await,
        Err(message) => refused(message),
    }
}

async fn battery(State(requests): Requests, body: Bytes) -> Answer {
    match read::<BatteryBody>(&body, "{\"percent\": 10}") {
        Ok(body) if body.percent <= 100 => {
            control(&requests, Control::Battery(Battery { percent: body.percent })).await
        }
        Ok(body) => refused(format!("a battery holds 0 to 100 percent, not {}", body.percent)),
        Err(message) => refused(message),
    }
}

async fn fault(State(requests): Requests, body: Bytes) -> Answer {
    let fault = read::<FaultEntry>(&body, "{\"when\": {...}, \"do\": {...}}").and_then(|entry| entry.fault(1));
    match fault {
        Ok(fault) => control(&requests, Control::Fault(fault)).await,
        Err(message) => refused(message),
    }
}

async fn unknown() -> Answer {
    let message = "there is GET /state, GET /wait, POST /power, /reset, /link, /battery and /fault";
    (StatusCode::NOT_FOUND, Json(serde_json::json!({ "error": message })))
}

async fn control(requests: &mpsc::Sender<Request>, control: Control) -> Answer {
    let (sender, receiver) = oneshot::channel();
    if requests.send(Request::Control(control, sender)).await.is_err() || receiver.await.is_err() {
        return gone();
    }
    (StatusCode::OK, Json(serde_json::json!({ "ok": true })))
}

fn refused(message: impl Into<String>) -> Answer {
    let message = message.into();
    (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": message })))
}

fn gone() -> Answer {
    (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "error": "the target is shutting down" })))
}
