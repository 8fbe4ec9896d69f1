//! Why an initiator never sent a request, as far as a trace of the virtual BlueZ shows it.

use brickproof_simulator::trace::{BusEvent, InitiatorEvent, Kind, LinkEvent, Record};

/// The air that has a bus.
const AIR: &str = "virtual-bluez";
/// The air that is an adapter of this machine.
const ADAPTER: &str = "bluez";
/// Words in the output of tools that go past BlueZ, and what they stand for.
const RAW: [(&str, &str); 8] = [
    ("eafnosupport", "it asked the kernel for a Bluetooth socket"),
    ("address family not supported", "it asked the kernel for a Bluetooth socket"),
    ("af_bluetooth", "it asks the kernel for Bluetooth sockets"),
    ("bluetooth_hci_socket", "it uses HCI sockets"),
    ("bluetooth-hci-socket", "it uses HCI sockets"),
    ("noble", "it uses noble, which speaks HCI"),
    ("gatttool", "it uses gatttool, which asks the kernel for L2CAP sockets"),
    ("hci device", "it looks for an HCI device of the kernel"),
];
/// The socket of the system's own bus, wherever `/var/run` leads.
const SYSTEM_BUS: &str = "run/dbus/system_bus_socket";
/// A bus that a tool starts from when it does not take the system's.
const SESSION_BUS: [&str; 2] = ["dbus_session_bus_address", "autolaunch"];

/// Words that follow "the initiator never sent a request"; `None` where there is no bus to watch.
pub(super) fn why(trace: &[Record]) -> Option<String> {
    let air = trace.iter().find_map(|record| match &record.kind {
        Kind::Run(run) => Some(run.air.as_str()),
        _ => None,
    });
    let connected = trace.iter().any(|record| matches!(record.kind, Kind::Link(LinkEvent::Connected { .. })));
    let has = |name: &str| {
        trace.iter().any(
            |record| matches!(&record.kind, Kind::State(state) if state.slots.iter().any(|slot| slot.slot == name)),
        )
    };
    // Only a device of Nordic's has banks, and only an EFR32 has an application that is no slot.
    let never = if has("bank-0") {
        "never wrote to a characteristic of DFU"
    } else if has("application") {
        "never wrote to a characteristic of OTA"
    } else {
        "never wrote to the SMP characteristic"
    };
    if air == Some(ADAPTER) {
        return Some(if connected {
            format!("a central connected, and {never}")
        } else {
            "no central connected to the adapter: is it in range, and not the one that the tool itself uses?".into()
        });
    }
    if air != Some(AIR) {
        return None;
    }
    let events = || {
        trace.iter().filter_map(|record| match &record.kind {
            Kind::Bus(event) => Some(event),
            _ => None,
        })
    };
    if !events().any(|event| matches!(event, BusEvent::Opened { .. })) {
        let seen = events().find_map(|event| match event {
            BusEvent::Missed { reason } => reason.clone(),
            _ => None,
        });
        let reason = seen.or_else(|| written(trace)).unwrap_or_else(|| {
            "nothing shows why; it must take the bus from DBUS_SYSTEM_BUS_ADDRESS, as libdbus and sd-bus do".into()
        });
        return Some(format!("it never opened the bus: {reason}"));
    }
    let called = |ending: &str| {
        events().find_map(|event| match event {
            BusEvent::Call { member, error, .. } if member.ends_with(ending) => Some(error.as_deref()),
            _ => None,
        })
    };
    Some(match (connected, called(".Connect"), called(".StartDiscovery")) {
        (true, ..) => format!("it connected, and {never}"),
        (false, Some(Some(error)), _) => format!("it opened the bus, and could not connect: {error}"),
        (false, Some(None), _) => "it opened the bus, and its connection was never made".into(),
        (false, None, Some(Some(error))) => format!("it opened the bus, and could not scan: {error}"),
        (false, None, Some(None)) => "it scanned, and never connected: did it look for this address or name?".into(),
        (false, None, None) => "it opened the bus, and neither scanned nor connected".into(),
    })
}

/// What the tool itself has written about it.
fn written(trace: &[Record]) -> Option<String> {
    let output = || {
        trace.iter().filter_map(|record| match &record.kind {
            Kind::Initiator(InitiatorEvent::Stdout { line } | InitiatorEvent::Stderr { line }) => {
                Some(line.to_ascii_lowercase())
            }
            _ => None,
        })
    };
    let says = |words: &str| output().any(|line| line.contains(words));
    if let Some((words, meaning)) = RAW.iter().find(|(words, _)| says(words)) {
        return Some(format!(
            "it writes `{words}`: {meaning} and does not go by BlueZ, which only a kernel with Bluetooth allows"
        ));
    }
    if says(SYSTEM_BUS) {
        return Some(format!(
            "it writes of /{SYSTEM_BUS}: it goes to the system's own bus, whatever its environment says"
        ));
    }
    SESSION_BUS
        .iter()
        .any(|words| says(words))
        .then(|| "it writes of the session bus: BlueZ is on the system bus".to_owned())
}

#[cfg(test)]
mod tests {
    use brickproof_simulator::gatt::ConnectionParameters;
    use brickproof_simulator::trace::RunRecord;

    use super::*;

    fn why_of(air: &str, kinds: Vec<Kind>) -> Option<String> {
        let run = Kind::Run(RunRecord {
            schema: 1,
            version: String::new(),
            seed: 1,
            scenario: String::new(),
            target: String::new(),
            initiator: String::new(),
            air: air.into(),
            clock: "real".into(),
            artifacts: Vec::new(),
        });
        let kinds = std::iter::once(run).chain(kinds);
        let trace: Vec<Record> =
            (0..).zip(kinds).map(|(n, kind)| Record { n, at_us: 0, wall_us: None, cause: None, kind }).collect();
        why(&trace)
    }

    fn says(line: &str) -> Kind {
        Kind::Initiator(InitiatorEvent::Stderr { line: line.into() })
    }

    fn call(member: &str, error: Option<&str>) -> Kind {
        let member = format!("org.bluez.{member}");
        let error = error.map(str::to_owned);
        Kind::Bus(BusEvent::Call { client: ":1.1".into(), path: "/org/bluez/hci0".into(), member, error })
    }

    #[test]
    fn every_way_of_silence_has_its_reason() {
        let opened = || Kind::Bus(BusEvent::Opened { client: ":1.1".into(), process: Some(7) });
        let missed = |reason: &str| Kind::Bus(BusEvent::Missed { reason: Some(reason.to_owned()) });
        let refused = Some("org.bluez.Error.NotReady: Resource Not Ready");
        assert_eq!(why_of("udp", vec![says("EAFNOSUPPORT")]), None);
        let mut all = String::new();
        for kinds in [
            vec![],
            vec![Kind::Bus(BusEvent::Missed { reason: None })],
            vec![says("Error: EAFNOSUPPORT, address family not supported"), missed("`sh` runs without it")],
            vec![says("OSError: [Errno 97] Address family not supported by protocol")],
            vec![says("noble warning: adapter state unauthorized")],
            vec![says("Failed to connect to socket /var/run/dbus/system_bus_socket: No such file or directory")],
            vec![says("Cannot autolaunch D-Bus without X11 $DISPLAY")],
            vec![opened()],
            vec![opened(), call("Adapter1.StartDiscovery", refused)],
            vec![opened(), call("Adapter1.StartDiscovery", None)],
            vec![opened(), call("Adapter1.StartDiscovery", None), call("Device1.Connect", refused)],
            vec![opened(), call("Device1.Connect", None)],
        ] {
            all.push_str(&why_of(AIR, kinds).unwrap());
            all.push('\n');
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn on_an_adapter_it_is_told_whether_somebody_connected() {
        let connected = Kind::Link(LinkEvent::Connected {
            connection: 1,
            central: 7,
            reassembly: None,
            parameters: ConnectionParameters::PREFERRED,
            address: None,
        });
        insta::assert_snapshot!(
            why_of(ADAPTER, vec![]).unwrap(),
            @"no central connected to the adapter: is it in range, and not the one that the tool itself uses?"
        );
        insta::assert_snapshot!(
            why_of(ADAPTER, vec![connected]).unwrap(),
            @"a central connected, and never wrote to the SMP characteristic"
        );
    }
}
