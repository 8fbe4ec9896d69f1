//! A peripheral on a virtual BlueZ that answers what is written to it, without anything of firmware updates.
//!
//! `cargo run -p brickproof-simulator --example peripheral -- FOLDER` prints the address of the bus; point any
//! program that uses BlueZ at it.

use std::path::PathBuf;
use std::sync::Arc;

use brickproof_simulator::gatt::table::{Characteristic, Descriptor, Properties, Service, Table};
use brickproof_simulator::gatt::{Address, AddressKind, Advertisement, AttError, CentralAction, GattEvent, Uuid};
use brickproof_simulator::virtual_bluez::{Options, PortEvent, VirtualBluez};

/// A service of our own.
const SERVICE: Uuid = Uuid::from_bits(0xb71c_0001_c0de_4a11_9000_0000_0000_0000);
/// Its characteristic, whose notifications say what was written.
const ECHO: Uuid = Uuid::from_bits(0xb71c_0002_c0de_4a11_9000_0000_0000_0000);
const VALUE: u16 = 0x12;
const CCC: u16 = 0x13;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, play(folder))
}

async fn play(folder: PathBuf) -> std::io::Result<()> {
    let bus = VirtualBluez::start(&folder, &Options::default())?;
    println!("DBUS_SYSTEM_BUS_ADDRESS={}", bus.address());
    let verbose = std::env::var_os("VERBOSE").is_some();
    let mut port = bus.attach(verbose);
    let address = Address([0xc0, 0xff, 0xee, 0, 0, 1]);
    port.advertise(Some(Advertisement {
        name: Some("echo".into()),
        services: vec![SERVICE],
        ..Advertisement::new(address, AddressKind::Random)
    }));
    let table = Arc::new(Table {
        services: vec![Service {
            handle: 0x10,
            end: CCC,
            uuid: SERVICE,
            primary: true,
            characteristics: vec![Characteristic {
                handle: 0x11,
                value_handle: VALUE,
                uuid: ECHO,
                properties: Properties::READ
                    .and(Properties::WRITE)
                    .and(Properties::WRITE_WITHOUT_RESPONSE)
                    .and(Properties::NOTIFY),
                descriptors: vec![Descriptor { handle: CCC, uuid: Uuid::CCC }],
            }],
        }],
    });
    let mut value = b"nothing yet".to_vec();
    let mut notifies = false;
    loop {
        let (central, action) = match port.next().await {
            PortEvent::Action(central, action) => (central, action),
            PortEvent::Note(note) => {
                eprintln!("{note:?}");
                continue;
            }
        };
        if verbose {
            eprintln!("{action:?}");
        }
        match action {
            CentralAction::Connect => port.tell(central, GattEvent::Connected),
            CentralAction::ExchangeMtu(mtu) => port.tell(central, GattEvent::Mtu(mtu.min(517))),
            CentralAction::Discover => port.tell(central, GattEvent::Discovered(Arc::clone(&table))),
            CentralAction::Read { handle: handle @ VALUE, offset } => {
                let rest = value.get(usize::from(offset)..).unwrap_or_default().to_vec();
                port.tell(central, GattEvent::Read { handle, value: rest });
            }
            CentralAction::Write { handle, value: written, kind } => {
                if kind != brickproof_simulator::gatt::WriteKind::Command {
                    port.tell(central, GattEvent::Written { handle });
                }
                if handle == CCC {
                    notifies = written.first() == Some(&1);
                } else {
                    value = written;
                    if notifies {
                        port.tell(central, GattEvent::Notification { handle: VALUE, value: value.clone() });
                    }
                }
            }
            CentralAction::Read { handle, .. } => {
                port.tell(central, GattEvent::Error { handle, error: AttError::READ_NOT_PERMITTED });
            }
            CentralAction::Disconnect => {
                let by = brickproof_simulator::trace::EndedBy::Central;
                port.tell(central, GattEvent::Disconnected { by, reason: 0x13 });
            }
            _ => {}
        }
    }
}
