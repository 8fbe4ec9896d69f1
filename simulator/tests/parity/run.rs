//! Carries a script out, and keeps the transcript.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use zbus::Variant;

use crate::client::Client;
use crate::script::{Action, Given, Script, Step};
use crate::side::Side;
use crate::value;

/// How long anything may take; nobody waits for it where things work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A transcript, and what was in the way of its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) transcript: String,
    pub(crate) failed: Option<String>,
}

/// Runs a script on one side, on which nothing is left of others.
pub(crate) async fn run(script: &Script, side: &Side) -> Ran {
    let mut stage = Stage { script, side, clients: BTreeMap::new(), told: 0, marked: 0, transcript: String::new() };
    let failed = stage.play().await.err();
    for (_, actor) in std::mem::take(&mut stage.clients) {
        // What is closed already stays closed.
        let _ = actor.client.close().await;
    }
    Ran { transcript: stage.transcript, failed }
}

/// A client, and how far the transcript has come.
struct Actor {
    client: Client,
    told: usize,
    marked: usize,
}

struct Stage<'a> {
    script: &'a Script,
    side: &'a Side,
    clients: BTreeMap<char, Actor>,
    /// The same of the peripheral.
    told: usize,
    marked: usize,
    transcript: String,
}

impl Stage<'_> {
    async fn play(&mut self) -> Result<(), String> {
        if self.script.given > Given::Advertising {
            prepare(self.side, self.script.given).await?;
        }
        self.told = self.side.peripheral.borrow().log.len();
        self.client('a').await?;
        // What a step and the waits behind it bring is told together: when it came is chance.
        let mut steps = self.script.steps.iter().peekable();
        while let Some(first) = steps.next() {
            let mut group = vec![first];
            while let Some(wait) = steps.next_if(|step| step.is_wait()) {
                group.push(wait);
            }
            let done = self.steps(&group).await;
            self.tell(&group);
            done?;
        }
        Ok(())
    }

    async fn client(&mut self, name: char) -> Result<&mut Actor, String> {
        if !self.clients.contains_key(&name) {
            let side = self.side;
            let changed = std::rc::Rc::clone(&side.changed);
            let client = Client::open(&side.bus, side.names.clone(), name == 'a', changed).await;
            let client = client.map_err(|error| error.to_string())?;
            self.clients.insert(name, Actor { client, told: 0, marked: 0 });
        }
        self.clients.get_mut(&name).ok_or_else(|| "no such client".to_owned())
    }

    async fn steps(&mut self, steps: &[&Step]) -> Result<(), String> {
        for actor in self.clients.values_mut() {
            actor.marked = actor.client.heard.borrow().lines.len();
        }
        self.marked = self.side.peripheral.borrow().log.len();
        for step in steps {
            for action in &step.actions {
                self.act(action).await.map_err(|error| format!("{}: {error}", step.text))?;
            }
        }
        self.look().await
    }

    /// Waits until everybody has heard what the daemon has said by now.
    async fn look(&self) -> Result<(), String> {
        for actor in self.clients.values() {
            if let Ok(serial) = actor.client.look(&self.side.names.adapter).await {
                self.until("an answer to a look", || actor.client.has_looked(serial)).await?;
            }
        }
        Ok(())
    }

    async fn until(&self, what: &str, met: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !met() {
            let heard = self.side.heard(deadline, what.contains("added device")).await;
            heard.map_err(|error| format!("{error} for {what}"))?;
        }
        Ok(())
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        let side = self.side;
        match action {
            Action::Watch(name) => {
                let actor = self.client(*name).await?;
                actor.client.watch().await.map_err(|error| error.to_string())
            }
            Action::Call { client, waits, object, method, arguments } => {
                let arguments = value::parse(arguments, &side.names)?;
                let (interface, member) = method.rsplit_once('.').ok_or("INTERFACE.METHOD")?;
                let (path, interface) = (side.names.path(object), side.names.interface(interface));
                let label = Some(format!("{object} {method}"));
                let actor = self.client(*client).await?;
                let called = actor.client.call(&path, &interface, member, arguments, label).await;
                let serial = called.map_err(|error| error.to_string())?;
                if *waits {
                    let heard = std::rc::Rc::clone(&actor.client.heard);
                    self.until("a reply", || !heard.borrow().open.contains_key(&serial)).await?;
                }
                Ok(())
            }
            Action::Finish(name) => {
                let heard = std::rc::Rc::clone(&self.client(*name).await?.client.heard);
                self.until("replies", || heard.borrow().open.is_empty()).await
            }
            Action::Wait { who: 'p', count, text } => {
                let from = self.marked;
                let has = || side.peripheral.borrow().log[from..].iter().filter(|line| line.contains(text)).count();
                self.until(text, || has() >= *count).await
            }
            Action::Wait { who, count, text } => {
                let actor = self.client(*who).await?;
                let (heard, from) = (std::rc::Rc::clone(&actor.client.heard), actor.marked);
                let has = || heard.borrow().lines[from..].iter().filter(|line| line.contains(text)).count();
                self.until(text, || has() >= *count).await
            }
            Action::Answer { client, arguments } => {
                let passkey = side.peripheral.borrow().passkey;
                let arguments = match (arguments.as_str(), passkey) {
                    ("passkey", Some(passkey)) => vec![Variant::from(passkey)],
                    _ => value::parse(arguments, &side.names)?,
                };
                self.client(*client).await?.client.answer(Ok(arguments)).await
            }
            Action::Refuse { client, error } => self.client(*client).await?.client.answer(Err(error.clone())).await,
            Action::Put { client, socket, bytes } => {
                let bytes = value::bytes(bytes)?;
                self.client(*client).await?.client.put(socket, &bytes).await
            }
            Action::Take { client, socket } => {
                let deadline = Instant::now() + PATIENCE;
                let taken = timeout_at(deadline, self.client(*client).await?.client.take(socket)).await;
                taken.map_err(|_| "nothing came out of the socket".to_owned())?
            }
            Action::Shut { client, socket } => self.client(*client).await?.client.shut(socket),
            Action::Die(name) => {
                let actor = self.clients.remove(name).ok_or("it was never there")?;
                self.tell_client(*name, &actor, false);
                actor.client.close().await.map_err(|error| error.to_string())
            }
            Action::Peripheral(order) => side.order(order.clone()).await,
        }
    }

    /// Adds steps to the transcript, and what was heard since the ones before.
    fn tell(&mut self, steps: &[&Step]) {
        for step in steps {
            self.transcript.push_str(&format!("{}\n", step.text));
        }
        let any_order = steps.iter().any(|step| step.any_order);
        let names: Vec<_> = self.clients.keys().copied().collect();
        for name in names {
            let Some(mut actor) = self.clients.remove(&name) else { continue };
            self.tell_client(name, &actor, any_order);
            actor.told = actor.client.heard.borrow().lines.len();
            self.clients.insert(name, actor);
        }
        let mut lines = self.side.peripheral.borrow().log[self.told..].to_vec();
        self.told += lines.len();
        if any_order {
            lines.sort_unstable();
        }
        self.add('p', lines);
    }

    fn tell_client(&mut self, name: char, actor: &Actor, any_order: bool) {
        let mut lines = actor.client.heard.borrow().lines[actor.told..].to_vec();
        if any_order {
            lines.sort_unstable();
        }
        self.add(name, lines);
    }

    fn add(&mut self, who: char, lines: Vec<String>) {
        let left_out = |line: &String| self.script.left_out.iter().any(|text| line.contains(text));
        let kept: Vec<_> = lines.into_iter().filter(|line| !left_out(line)).collect();
        for line in kept {
            for line in line.lines() {
                self.transcript.push_str(&format!("    {who} {line}\n"));
            }
        }
    }
}

/// Brings the central to where a script begins; nobody looks at how.
async fn prepare(side: &Side, given: Given) -> Result<(), String> {
    let client = Client::open(&side.bus, side.names.clone(), true, std::rc::Rc::clone(&side.changed)).await;
    let client = client.map_err(|error| error.to_string())?;
    let (adapter, device) = (side.names.adapter.clone(), side.names.device());
    let steps = [
        (&adapter, "org.bluez.Adapter1", "StartDiscovery", "! added device"),
        (&adapter, "org.bluez.Adapter1", "StopDiscovery", "Discovering: false"),
        (&device, "org.bluez.Device1", "Connect", "Modalias"),
    ];
    let count = if given == Given::Found { 2 } else { 3 };
    let deadline = Instant::now() + PATIENCE;
    for (path, interface, member, seen) in &steps[..count] {
        let label = Some(format!("{member} answered"));
        client
            .call(path, interface, member, Vec::<Variant<'_>>::new(), label)
            .await
            .map_err(|error| error.to_string())?;
        // The identifier of the product is read when the services are known: it is the last that comes.
        let done = |wanted: &str| client.heard.borrow().lines.iter().any(|line| line.contains(wanted));
        while !(done(seen) && done(&format!("{member} answered -> ()"))) {
            let waited = side.heard(deadline, *member == "StartDiscovery").await;
            let heard = || client.heard.borrow().lines.join("\n");
            waited.map_err(|error| format!("{member}, before the script: {error}\n{}", heard()))?;
        }
    }
    client.close().await.map_err(|error| error.to_string())
}
