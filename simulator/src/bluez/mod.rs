//! The real BlueZ: a peripheral on an adapter of this machine, for anything that connects over the air.
//!
//! bluetoothd owns the adapter, its links and its attribute table. A peripheral here registers an advertisement and a
//! GATT application with it (by way of [bluer]), is told what centrals do, and tells them what comes of it,
//! in the words of [`crate::gatt`], as a port of the virtual BlueZ is:
//!
//! ```no_run
//! use brickproof_simulator::bluez::{Event, Port, Setup};
//! use brickproof_simulator::gatt::{CentralAction, GattEvent};
//!
//! # async fn play() -> Result<(), brickproof_simulator::bluez::OpenError> {
//! let mut port = Port::open("hci0", Setup::default()).await?;
//! println!("{} is ours", port.address());
//! while let Event::Action(central, action) = port.next().await {
//!     if action == CentralAction::Connect {
//!         port.tell(central, GattEvent::Connected);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What such a peripheral cannot do, because bluetoothd or its interface does not let it:
//!
//! | wish | what happens instead |
//! |---|---|
//! | an address, handles, an ATT MTU of its own | those of the adapter and of bluetoothd; the MTU is learned from the first request |
//! | see the discovery of services, MTU requests, writes to configuration descriptors as they come | they are put together from what bluetoothd tells |
//! | an error of the Attribute Protocol of its choice | the nearest that bluer knows; where none is near, "unlikely error" |
//! | refuse a subscription of an unprotected link | it is taken by bluetoothd, and counts once the link is protected |
//! | notify one of several centrals that have subscribed | bluetoothd notifies all of them |
//! | hear of the second one that subscribes | it counts as subscribed when it writes |
//! | a notification of the whole MTU | bluer keeps 5 bytes back; what is longer goes out in two |
//! | demand protection by an error | the central is asked for it as soon as it connects (Security Request) |
//! | know why a link has ended | it counts as ended by the central, unless this side ended it |
//!
//! **Loss.** A target that loses its power says nothing, and its peers find out by the supervision timeout (reason
//! 0x08). bluetoothd and the kernel only know polite ends. What is silent is a reset of the controller under the host
//! (`HCIDEVRESET`): links are gone and nobody has been told. It needs `CAP_NET_ADMIN`; without, links are ended
//! politely (reason 0x13), and that is recorded.
//!
//! The adapter is the target's alone: it cannot be taken while something is connected to it.
//!
//! | module | what it does |
//! |---|---|
//! | `port` | a peripheral's end: open, serve, tell, next, close |
//! | `actor` | the task behind it, which owns what is registered with bluetoothd; `asked` and `told` are its two directions |
//! | `application` | a table of attributes as a GATT application |
//! | `centrals` | who comes and goes, and what is asked of us |
//! | `beside` | what bluer does not do: the agent, and the end of bluetoothd |
//! | `silence` | the reset of the controller |

mod actor;
mod application;
mod beside;
mod centrals;
mod port;
mod silence;

pub use port::{Event, Found, OpenError, Port, Served, Setup, adapters, release};
