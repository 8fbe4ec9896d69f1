//! Any sequence of connections and messages, against a simple model.

use std::collections::{BTreeMap, BTreeSet};

use brickproof_simulator::virtual_bluez::bus::{ClientId, Credentials, Delivery, ServiceInput};
use proptest::prelude::*;
use zbus::Message;
use zbus::message::{Flags, Type};

use crate::support::{BUS, Fixture, call_to, text, to_bus};

const NAMES: [&str; 3] = ["a.a", "a.b", "a.c"];

#[derive(Debug, Clone)]
enum Step {
    Open,
    Close(usize),
    Hello(usize),
    Request(usize, usize, u32),
    Release(usize, usize),
    Watch(usize, usize),
    Signal(usize),
    /// To a client, and whether an answer is wanted.
    Call(usize, usize, bool),
    /// Answers the oldest call that this client has.
    Answer(usize),
    Monitor(usize),
    FromService(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let client = || 0usize..6;
    prop_oneof![
        2 => Just(Step::Open),
        1 => client().prop_map(Step::Close),
        3 => client().prop_map(Step::Hello),
        4 => (client(), 0usize..3, 0u32..8).prop_map(|(client, name, flags)| Step::Request(client, name, flags)),
        2 => (client(), 0usize..3).prop_map(|(client, name)| Step::Release(client, name)),
        2 => (client(), 0usize..4).prop_map(|(client, rule)| Step::Watch(client, rule)),
        4 => client().prop_map(Step::Signal),
        4 => (client(), client(), any::<bool>()).prop_map(|(from, to, answer)| Step::Call(from, to, answer)),
        3 => client().prop_map(Step::Answer),
        1 => client().prop_map(Step::Monitor),
        2 => client().prop_map(Step::FromService),
    ]
}

/// The queue of a name: who owns it and who waits, each with its flags.
type Queue = Vec<(ClientId, u32)>;

#[derive(Default)]
struct Model {
    open: Vec<ClientId>,
    active: BTreeSet<ClientId>,
    monitors: BTreeSet<ClientId>,
    names: BTreeMap<&'static str, Queue>,
    /// Calls that a client has received and not answered.
    received: BTreeMap<ClientId, Vec<Message>>,
    /// Calls of a client that it waits for, by serial.
    waiting: BTreeSet<(ClientId, u32)>,
    /// Highest number seen from one client by another.
    seen: BTreeMap<(String, ClientId), u32>,
    sent: u32,
}

impl Model {
    fn client(&self, index: usize) -> Option<ClientId> {
        self.open.get(index % self.open.len().max(1)).copied()
    }

    fn request(&mut self, client: ClientId, name: &'static str, flags: u32) -> u32 {
        let queue = self.names.entry(name).or_default();
        let Some((owner, owner_flags)) = queue.first().copied() else {
            queue.push((client, flags));
            return 1;
        };
        if owner == client {
            queue[0].1 = flags;
            return 4;
        }
        let known = queue.iter().position(|(waiting, _)| *waiting == client);
        if flags & 2 != 0 && owner_flags & 1 != 0 {
            queue.retain(|(waiting, _)| *waiting != client);
            if owner_flags & 4 != 0 {
                queue.remove(0);
            }
            queue.insert(0, (client, flags));
            return 1;
        }
        if flags & 4 != 0 {
            queue.retain(|(waiting, _)| *waiting != client);
            return 3;
        }
        match (known, flags & 2 != 0) {
            (Some(at), false) => queue[at].1 = flags,
            (None, false) => queue.push((client, flags)),
            (_, true) => {
                queue.retain(|(waiting, _)| *waiting != client);
                queue.insert(1, (client, flags));
            }
        }
        2
    }

    fn leave(&mut self, client: ClientId) {
        self.active.remove(&client);
        self.received.remove(&client);
        for queue in self.names.values_mut() {
            queue.retain(|(waiting, _)| *waiting != client);
        }
    }

    fn gone(&mut self, client: ClientId) {
        self.leave(client);
        self.open.retain(|open| *open != client);
        self.monitors.remove(&client);
        self.waiting.retain(|(caller, _)| *caller != client);
    }
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut fixture = Fixture::new();
    let mut model = Model::default();
    for step in steps {
        let expected = perform(step, &mut fixture, &mut model);
        let out: Vec<_> = fixture.out.drain(..).collect();
        if let Some((client, code)) = expected {
            let answers = out.iter().filter(|delivery| match delivery {
                Delivery::Client(to, message) => *to == client && text(message) == format!("return {code}"),
                _ => false,
            });
            prop_assert_eq!(answers.count(), 1, "{:?}: {:?}", step, out);
        }
        for delivery in out {
            check(delivery, &mut model)?;
        }
        for name in NAMES {
            let owner = model.names.get(name).and_then(|queue| queue.first()).map(|(owner, _)| *owner);
            prop_assert_eq!(fixture.bus.owner(name), owner, "{}", name);
        }
        for client in &model.active {
            prop_assert_eq!(fixture.bus.owner(&client.to_string()), Some(*client));
        }
    }
    // Whoever waits is told, when everybody else leaves.
    for client in model.open.clone().into_iter().rev() {
        fixture.bus.closed(client);
        model.gone(client);
        fixture.collect();
        for delivery in std::mem::take(&mut fixture.out) {
            check(delivery, &mut model)?;
        }
    }
    prop_assert_eq!(model.waiting.len(), 0);
    Ok(())
}

/// What the caller must get, where the model knows.
fn perform(step: &Step, fixture: &mut Fixture, model: &mut Model) -> Option<(ClientId, u32)> {
    let index = match step {
        Step::Open => {
            model.open.extend(fixture.bus.open(Credentials { uid: 1000, pid: None }));
            return None;
        }
        Step::Close(index) | Step::Hello(index) | Step::Request(index, ..) | Step::Release(index, _) => *index,
        Step::Watch(index, _) | Step::Signal(index) | Step::Call(index, ..) | Step::Answer(index) => *index,
        Step::Monitor(index) | Step::FromService(index) => *index,
    };
    let client = model.client(index)?;
    let active = model.active.contains(&client);
    let mut expected = None;
    model.sent += 1;
    let number = model.sent;
    match step {
        Step::Open => {}
        Step::Close(_) => {
            fixture.bus.closed(client);
            model.gone(client);
            fixture.collect();
        }
        Step::Hello(_) => {
            fixture.send(client, &to_bus("Hello", &()));
            if !model.monitors.contains(&client) {
                model.active.insert(client);
            }
        }
        Step::Request(_, name, flags) => {
            fixture.send(client, &to_bus("RequestName", &(NAMES[*name], *flags)));
            if active {
                expected = Some((client, model.request(client, NAMES[*name], *flags)));
            }
        }
        Step::Release(_, name) => {
            fixture.send(client, &to_bus("ReleaseName", &NAMES[*name]));
            if active {
                let queue = model.names.entry(NAMES[*name]).or_default();
                let known = queue.iter().any(|(waiting, _)| *waiting == client);
                let code = if known { 1 } else { 2 + u32::from(!queue.is_empty()) };
                queue.retain(|(waiting, _)| *waiting != client);
                expected = Some((client, code));
            }
        }
        Step::Watch(_, rule) => {
            let rules = ["", "type='signal',interface='t.t'", "sender='a.a'", "eavesdrop='true'"];
            fixture.send(client, &to_bus("AddMatch", &rules[*rule]));
        }
        Step::Signal(_) => fixture.send(client, &Message::signal("/", "t.t", "S").build(&number).unwrap()),
        Step::Call(_, to, answer) => {
            let to = model.client(*to)?;
            let mut call = Message::method_call("/", "C").interface("t.t").destination(to.to_string());
            if !answer {
                call = call.with_flags(Flags::NO_REPLY_EXPECTED);
            }
            let call = call.build(&number).unwrap();
            if active && *answer {
                model.waiting.insert((client, call.primary_header().serial_num().get()));
            }
            fixture.send(client, &call);
        }
        Step::Answer(_) => {
            let received = model.received.get_mut(&client).filter(|received| !received.is_empty())?;
            let call = received.remove(0);
            fixture.send(client, &Message::method_return(&call.header()).build(&number).unwrap());
        }
        Step::Monitor(_) => {
            let none: [&str; 0] = [];
            let interface = "org.freedesktop.DBus.Monitoring";
            fixture
                .send(client, &call_to(BUS, "/org/freedesktop/DBus", interface, "BecomeMonitor", &(&none[..], 0u32)));
            if active {
                model.leave(client);
                model.monitors.insert(client);
                model.waiting.retain(|(caller, _)| *caller != client);
            }
        }
        Step::FromService(_) => {
            fixture.bus.send(&Message::signal("/", "t.t", "S").build(&number).unwrap());
            fixture.collect();
        }
    }
    expected
}

fn check(delivery: Delivery, model: &mut Model) -> Result<(), TestCaseError> {
    let (client, message) = match delivery {
        Delivery::Client(client, message) => (client, message),
        Delivery::Close(client, _) => {
            model.gone(client);
            return Ok(());
        }
        Delivery::Service(ServiceInput::Gone { .. } | ServiceInput::Reply { .. }) => return Ok(()),
        Delivery::Service(ServiceInput::Call { .. }) => {
            return Err(TestCaseError::fail("nobody calls the service here"));
        }
    };
    let header = message.header();
    prop_assert!(model.open.contains(&client), "a message to {}, which is not there", client);
    let sender = header.sender().map(|sender| sender.to_string());
    let for_it = header.destination().is_some_and(|name| name.as_str() == client.to_string());
    if header.interface().is_some_and(|interface| interface.as_str() == "t.t") {
        let number: u32 = message.body().deserialize().unwrap();
        let last = model.seen.insert((sender.unwrap_or_default(), client), number).unwrap_or(0);
        prop_assert!(number > last, "{} after {}", number, last);
    }
    if model.monitors.contains(&client) || !for_it {
        return Ok(());
    }
    match message.message_type() {
        Type::MethodCall if model.active.contains(&client) => {
            model.received.entry(client).or_default().push(message.clone());
        }
        Type::MethodReturn | Type::Error => {
            if let Some(serial) = header.reply_serial() {
                model.waiting.remove(&(client, serial.get()));
            }
        }
        Type::MethodCall | Type::Signal => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_clients_do(steps in prop::collection::vec(any_step(), 0..80)) {
        run(&steps)?;
    }
}
