//! The language of the scripts.
//!
//! | line | meaning |
//! |---|---|
//! | `# …` | why the script exists; the first line |
//! | `given found` | the central has heard of the peripheral and nobody discovers any more |
//! | `given connected` | and is connected, and knows the services |
//! | `set disconnect-delay MS` | how long the virtual daemon waits before it disconnects; bluetoothd always waits 2 s |
//! | `set connect-timeout MS` | how long the virtual daemon tries to connect; the kernel always tries for 40 s |
//! | `set peripheral-shows` | the peripheral has a display, on which it shows passkeys |
//! | `set last` | bluetoothd does not survive it as a peripheral: no script runs on it afterwards |
//! | `leave out TEXT` | lines with this text are in no transcript |
//! | `a watches` | client `a` is there, and is told all signals; `a` always does, others only when they say so |
//! | `a calls OBJECT INTERFACE.METHOD ARGUMENT…` | a call, and its reply is waited for |
//! | `a begins OBJECT INTERFACE.METHOD ARGUMENT…` | a call, and the script goes on |
//! | `a finishes` | all calls of `a` have been answered |
//! | `a waits for TEXT`, `a waits for 2 x TEXT` | lines with this text have come since the last step that was no wait |
//! | `a answers ARGUMENT…`, `a refuses ERROR` | what its agent was asked last; `passkey` is what the peripheral shows |
//! | `a puts BYTES into stream.write` | a packet into an acquired socket |
//! | `a takes from stream.notify` | a packet, or the end, out of one |
//! | `a shuts stream.write` | its end of the socket is closed |
//! | `a dies` | its connection to the bus is closed |
//! | `p …` | the peripheral does something: [`crate::peripheral::Order`] |
//! | `STEP & STEP` | both, without a look at what comes of the first |
//! | `in any order: STEP` | the lines of this step are sorted: BlueZ itself does not fix their order |
//!
//! Clients are single letters; each is a connection to the bus of its own. A step is told together with the waits that
//! follow it; after them comes everything that the daemon has said by then.

use crate::peripheral::Order;

/// What is there before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Given {
    /// Nothing but a peripheral that advertises.
    Advertising,
    /// A device.
    Found,
    /// A connection, services included.
    Connected,
}

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) given: Given,
    pub(crate) disconnect_delay_ms: u64,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) shows: bool,
    pub(crate) is_last: bool,
    pub(crate) left_out: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Step {
    /// As it is written.
    pub(crate) text: String,
    pub(crate) any_order: bool,
    pub(crate) actions: Vec<Action>,
}

/// What is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Watch(char),
    Call { client: char, waits: bool, object: String, method: String, arguments: String },
    Finish(char),
    Wait { who: char, count: usize, text: String },
    Answer { client: char, arguments: String },
    Refuse { client: char, error: String },
    Put { client: char, socket: String, bytes: String },
    Take { client: char, socket: String },
    Shut { client: char, socket: String },
    Die(char),
    Peripheral(Order),
}

impl Script {
    /// Reads a script; an error names the line.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            name: name.to_owned(),
            given: Given::Advertising,
            disconnect_delay_ms: 0,
            connect_timeout_ms: 20_000,
            shows: false,
            is_last: false,
            left_out: Vec::new(),
            steps: Vec::new(),
        };
        if !text.starts_with("# ") {
            return Err(format!("{name}: the first line says why the script exists: `# …`"));
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            script.line(line).map_err(|error| format!("{name}:{}: {error}: `{line}`", number + 1))?;
        }
        Ok(script)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(given) = line.strip_prefix("given ") {
            self.given = match given {
                "found" => Given::Found,
                "connected" => Given::Connected,
                _ => return Err("`given found` or `given connected`".into()),
            };
        } else if let Some(delay) = line.strip_prefix("set disconnect-delay ") {
            self.disconnect_delay_ms = delay.parse().map_err(|_| "milliseconds are a number")?;
        } else if let Some(timeout) = line.strip_prefix("set connect-timeout ") {
            self.connect_timeout_ms = timeout.parse().map_err(|_| "milliseconds are a number")?;
        } else if line == "set peripheral-shows" {
            self.shows = true;
        } else if line == "set last" {
            self.is_last = true;
        } else if let Some(text) = line.strip_prefix("leave out ") {
            self.left_out.push(text.to_owned());
        } else {
            let (any_order, rest) = match line.strip_prefix("in any order: ") {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let actions = rest.split(" & ").map(Action::parse).collect::<Result<_, _>>()?;
            self.steps.push(Step { text: line.to_owned(), any_order, actions });
        }
        Ok(())
    }
}

impl Step {
    /// Whether it only waits.
    pub(crate) fn is_wait(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::Wait { .. } | Action::Finish(_)))
    }
}

impl Action {
    fn parse(text: &str) -> Result<Self, String> {
        let (who, rest) = text.split_once(' ').ok_or("who does what?")?;
        let mut letters = who.chars();
        let (Some(client), None) = (letters.next(), letters.next()) else {
            return Err("a client is a single letter".into());
        };
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if verb == "waits" {
            let text = rest.strip_prefix("for ").ok_or("waits for what?")?;
            let counted = text.split_once(" x ").and_then(|(count, text)| Some((count.parse().ok()?, text)));
            let (count, text) = counted.unwrap_or((1, text));
            return Ok(Self::Wait { who: client, count, text: text.to_owned() });
        }
        if client == 'p' {
            return Order::parse(verb, rest).map(Self::Peripheral);
        }
        Ok(match verb {
            "watches" => Self::Watch(client),
            "calls" | "begins" => {
                let mut parts = rest.splitn(3, ' ');
                let (Some(object), Some(method)) = (parts.next(), parts.next()) else {
                    return Err("which method of which object?".into());
                };
                Self::Call {
                    client,
                    waits: verb == "calls",
                    object: object.to_owned(),
                    method: method.to_owned(),
                    arguments: parts.next().unwrap_or_default().to_owned(),
                }
            }
            "finishes" => Self::Finish(client),
            "answers" => Self::Answer { client, arguments: rest.to_owned() },
            "refuses" => Self::Refuse { client, error: rest.to_owned() },
            "puts" => {
                let (bytes, socket) = rest.split_once(" into ").ok_or("puts what into which socket?")?;
                Self::Put { client, socket: socket.to_owned(), bytes: bytes.to_owned() }
            }
            "takes" => {
                let socket = rest.strip_prefix("from ").ok_or("takes from which socket?")?.to_owned();
                Self::Take { client, socket }
            }
            "shuts" => Self::Shut { client, socket: rest.to_owned() },
            "dies" => Self::Die(client),
            _ => return Err(format!("no such verb: {verb}")),
        })
    }
}
