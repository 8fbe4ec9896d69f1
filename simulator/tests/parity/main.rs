//! The virtual BlueZ against bluetoothd: the same scripts of D-Bus calls, the same transcripts.
//!
//! The scripts are in `scripts/`, each with a sentence why it exists, in the language of [`script`]. Beside each lies
//! the transcript that bluetoothd 5.66 has left. `cargo test --test parity` runs them on the virtual BlueZ; with
//! `BRICKPROOF_PARITY=hci1,hci0` in the environment the same program runs them on the bluetoothd of the system bus:
//! the central is the first adapter, the peripheral is behind the second one, and both must hear each other. With
//! `BRICKPROOF_PARITY_RECORD=FOLDER`, too, transcripts are written there. `BRICKPROOF_PARITY_ONLY=TEXT` leaves out
//! scripts without this text in their names.
//!
//! What is not the same on every machine or in every run is not in a transcript: addresses and names of adapters, the
//! strength of signals, what a controller can advertise, the order of the entries of a dictionary, and what bluetoothd says of the other adapter.

mod client;
mod compare;
mod names;
mod peripheral;
mod real_side;
mod run;
mod script;
mod side;
mod value;
mod virtual_side;

use std::sync::Mutex;

use run::Ran;
use script::Script;
use side::{Real, Side};

/// Scripts that run at the same time on the virtual BlueZ, which mostly waits.
const AT_ONCE: usize = 4;

#[test]
fn the_scripts_leave_the_transcripts_of_bluetoothd() {
    let only = std::env::var("BRICKPROOF_PARITY_ONLY").unwrap_or_default();
    let scripts: Vec<_> =
        compare::scripts().unwrap().into_iter().filter(|script| script.name.contains(&only)).collect();
    assert!(!scripts.is_empty(), "no such script");
    let real = Real::from_environment();
    let failures = real.as_ref().map_or_else(|| on_the_virtual_bluez(&scripts), |real| on_bluetoothd(real, &scripts));
    let where_to = if real.is_some() { "bluetoothd" } else { "the virtual BlueZ" };
    let done = if real.is_some_and(|real| real.record.is_some()) { "are recorded from" } else { "agree on" };
    println!("{} of {} scripts {done} {where_to}", scripts.len() - failures.len(), scripts.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn local<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn on_the_virtual_bluez(scripts: &[Script]) -> Vec<String> {
    let known = compare::known().unwrap();
    let unused = known.keys().filter(|name| !scripts.iter().any(|script| script.name == **name));
    let complete = std::env::var_os("BRICKPROOF_PARITY_ONLY").is_none();
    let mut failures: Vec<_> =
        unused.filter(|_| complete).map(|name| format!("differences.txt: no such script: {name}")).collect();
    let left = Mutex::new(scripts.iter());
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(script) = left.lock().unwrap().next() else { return };
                    let listed = known.get(&script.name).map(Vec::as_slice).unwrap_or_default();
                    let ran = local(virtually(script));
                    let judged =
                        compare::recorded(script).and_then(|real| compare::judge(&real, &ran.transcript, listed));
                    let failed = [ran.failed, judged.err()].into_iter().flatten().collect::<Vec<_>>().join("\n");
                    if !failed.is_empty() {
                        found.lock().unwrap().push(format!("== {}\n{failed}", script.name));
                    }
                    if std::env::var_os("BRICKPROOF_PARITY_SHOW").is_some() {
                        println!("== {}\n{}", script.name, ran.transcript);
                    }
                }
            });
        }
    });
    failures.extend(found.into_inner().unwrap());
    failures.sort();
    failures
}

async fn virtually(script: &Script) -> Ran {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (_bluez, side) = virtual_side::start(folder.path(), script).unwrap();
    // An agent that belongs to the peripheral is there on the other side, too.
    let agent = zbus::connection::Builder::address(side.bus.as_str()).build().await.unwrap();
    let path = zbus::ObjectPath::try_from("/parity/agent").unwrap();
    let (manager, member) = (Some("org.bluez.AgentManager1"), "RegisterAgent");
    let registered =
        agent.call_method(Some("org.bluez"), "/org/bluez", manager, member, &(path, "NoInputNoOutput")).await;
    registered.unwrap();
    let side = named(side).await;
    run::run(script, &side).await
}

/// A side that knows its own adapter.
async fn named(mut side: Side) -> Side {
    let connection = zbus::connection::Builder::address(side.bus.as_str()).build().await.unwrap();
    for (name, to) in [("Address", &mut side.names.own), ("Name", &mut side.names.host)] {
        *to = real_side::text_property(&connection, &side.names.adapter, name).await.unwrap();
    }
    side
}

fn on_bluetoothd(real: &Real, scripts: &[Script]) -> Vec<String> {
    local(async {
        let side = named(real_side::start(real).await.unwrap()).await;
        let mut failures = Vec::new();
        for script in scripts {
            let start = std::time::Instant::now();
            let ran = match real_side::reset(&side, script).await {
                Ok(()) => run::run(script, &side).await,
                Err(error) => Ran { transcript: String::new(), failed: Some(format!("before the script: {error}")) },
            };
            let judged = match &real.record {
                Some(folder) if ran.failed.is_none() => write(folder, script, &ran.transcript),
                Some(_) => Ok(()),
                None => compare::recorded(script).and_then(|known| compare::judge(&known, &ran.transcript, &[])),
            };
            let failed = [ran.failed, judged.err()].into_iter().flatten().collect::<Vec<_>>().join("\n");
            let done = if real.record.is_some() { "recorded" } else { "agrees" };
            let verdict = if failed.is_empty() { done } else { "does not" };
            println!("{:6.2} s {verdict}: {}", start.elapsed().as_secs_f64(), script.name);
            if !failed.is_empty() {
                let failure = format!("== {}\n{failed}\n{}", script.name, ran.transcript);
                // At once, because the next one may take the daemon with it.
                println!("{failure}");
                failures.push(failure);
            }
        }
        failures
    })
}

fn write(folder: &std::path::Path, script: &Script, transcript: &str) -> Result<(), String> {
    let path = folder.join(format!("{}.transcript", script.name));
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(&path, transcript)).map_err(|error| format!("{}: {error}", path.display()))
}
