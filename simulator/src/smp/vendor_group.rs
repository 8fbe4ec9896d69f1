//! Commands of vendors: canned answers from the configuration.

use super::cbor::Writer;
use super::config::{CannedAnswer, CannedValue, ServerConfig, VendorCommand};
use super::dispatch::{Exchange, Failure};
use super::frame::Frame;

/// The command of this request, with its group.
pub(super) fn find(config: &ServerConfig, frame: &Frame) -> Option<VendorCommand> {
    let mut commands = config.vendor.iter();
    let same =
        |known: &&VendorCommand| (known.group, known.command, known.op) == (frame.group, frame.command, frame.op);
    commands.find(same).cloned()
}

pub(super) fn answer(command: VendorCommand, exchange: &mut Exchange<'_>) -> Result<(), Failure> {
    match command.answer {
        CannedAnswer::Map(pairs) => {
            for (key, value) in &pairs {
                exchange.map.text(key);
                put(&mut exchange.map, value);
            }
            Ok(())
        }
        CannedAnswer::Rc(rc) => Err(Failure::Smp(rc)),
        CannedAnswer::Error(code) => Err(Failure::Group { group: command.group, code }),
    }
}

fn put(map: &mut Writer, value: &CannedValue) {
    match value {
        CannedValue::Number(number) => map.signed(*number),
        CannedValue::Boolean(value) => map.boolean(*value),
        CannedValue::Text(text) => map.text(text),
        CannedValue::Bytes(bytes) => map.bytes(bytes),
        CannedValue::List(values) => {
            map.begin_list();
            for value in values {
                put(map, value);
            }
            map.end()
        }
        CannedValue::Map(pairs) => {
            map.begin_map();
            for (key, value) in pairs {
                map.text(key);
                put(map, value);
            }
            map.end()
        }
    };
}
