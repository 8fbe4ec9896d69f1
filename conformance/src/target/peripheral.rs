//! What a target is on Bluetooth LE beside SMP: the sections `[advertisement]`, `[device-information]` and `[[service]]`.

use std::collections::BTreeMap;
use std::str::FromStr;

use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{Information, NAME_MAX, Peripheral, VendorCharacteristic, VendorService};
use brickproof_simulator::gatt::{Address, AddressKind, Advertisement, Properties, Uuid, VALUE_MAX};
use brickproof_simulator::smp::gatt::SERVICE;
use serde::Deserialize;
use toml::Spanned;

/// Bytes of advertising data, and of a scan response.
const ADVERTISED_MAX: usize = 31;
/// Characteristics of a board's own services, all together.
const CHARACTERISTICS_MAX: usize = 64;

/// Makes a mistake at a place in the file.
type At<'a> = &'a dyn Fn(usize, String) -> Mistake;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AdvertisementTable {
    name: Option<Spanned<String>>,
    address: Option<Spanned<String>>,
    address_kind: Option<Kind>,
    #[serde(default)]
    changes_address: bool,
    services: Option<Vec<Spanned<String>>>,
    manufacturer_data: Option<Spanned<BTreeMap<String, String>>>,
    service_data: Option<Spanned<BTreeMap<String, String>>>,
    appearance: Option<u16>,
    tx_power: Option<i8>,
    rssi: Option<i8>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Public,
    Random,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct InformationTable {
    service: Option<bool>,
    model: Option<Spanned<String>>,
    manufacturer: Option<Spanned<String>>,
    serial: Option<Spanned<String>>,
    hardware: Option<Spanned<String>>,
    software: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTable {
    uuid: Spanned<String>,
    #[serde(default)]
    characteristic: Vec<CharacteristicTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CharacteristicTable {
    uuid: Spanned<String>,
    properties: Spanned<Vec<Property>>,
    value: Option<Spanned<Value>>,
    trigger: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Property {
    Read,
    Write,
    WriteWithoutResponse,
    Notify,
    Indicate,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or { hex = \"0102\" }")]
enum Value {
    Text(String),
    Hex(Hex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

/// Reads the sections of a target of this name; what they do not say is as in `default`.
pub(super) fn read(
    default: Peripheral,
    name: &str,
    advertisement: &AdvertisementTable,
    information: &InformationTable,
    services: &[Spanned<ServiceTable>],
    battery: bool,
    mistake: At<'_>,
) -> Result<Peripheral, Mistake> {
    let mut known = vec![Uuid::GATT, Uuid::GAP, SERVICE, Uuid::DEVICE_INFORMATION, Uuid::BATTERY];
    let mut own = Vec::new();
    for service in services {
        let table = service.get_ref();
        let uuid = parsed(&table.uuid, mistake)?;
        if known.contains(&uuid) {
            return Err(mistake(table.uuid.span().start, "this service is there already".into())
                .remedy("another UUID; [device-information] and [battery] have sections of their own"));
        }
        known.push(uuid);
        let characteristics = table.characteristic.iter().map(|table| characteristic(table, mistake));
        own.push(VendorService { uuid, characteristics: characteristics.collect::<Result<_, _>>()? });
        if own.iter().map(|service| service.characteristics.len()).sum::<usize>() > CHARACTERISTICS_MAX {
            return Err(mistake(
                service.span().start,
                format!("services of a board's own have at most {CHARACTERISTICS_MAX} characteristics"),
            ));
        }
    }
    Ok(Peripheral {
        advertisement: advertised(advertisement, default.advertisement, mistake)?,
        changes_address: advertisement.changes_address,
        information: texts(name, information, mistake)?,
        battery,
        services: own,
    })
}

fn advertised(table: &AdvertisementTable, default: Advertisement, mistake: At<'_>) -> Result<Advertisement, Mistake> {
    if let Some(name) = table.name.as_ref().filter(|name| name.get_ref().len() > NAME_MAX) {
        return Err(mistake(name.span().start, format!("the name has {} bytes", name.get_ref().len()))
            .remedy(format!("at most {NAME_MAX}: it must fit a scan response")));
    }
    let kind = match table.address_kind {
        Some(Kind::Public) => AddressKind::Public,
        None | Some(Kind::Random) => AddressKind::Random,
    };
    let address = match &table.address {
        None => default.address,
        Some(text) => {
            let address: Address = parsed(text, mistake)?;
            if kind == AddressKind::Random && address.0[0] & 0xc0 != 0xc0 {
                return Err(mistake(text.span().start, format!("{address} is no static random address"))
                    .remedy("it begins with C0 to FF; or address-kind = \"public\""));
            }
            address
        }
    };
    let services = match &table.services {
        None => default.services,
        Some(services) => services.iter().map(|uuid| parsed(uuid, mistake)).collect::<Result<_, _>>()?,
    };
    let manufacturer_data = data(table.manufacturer_data.as_ref(), mistake, |key| match key.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).map_err(|error| error.to_string()),
        None => key.parse::<u16>().map_err(|error| error.to_string()),
    })?;
    let service_data =
        data(table.service_data.as_ref(), mistake, |key| key.parse::<Uuid>().map_err(|error| error.to_string()))?;
    let advertisement = Advertisement {
        address,
        address_kind: kind,
        name: table.name.as_ref().map(|name| name.get_ref().clone()).or(default.name),
        services,
        manufacturer_data,
        service_data,
        appearance: table.appearance,
        tx_power: table.tx_power,
        rssi: table.rssi.unwrap_or(default.rssi),
        ..Advertisement::new(address, kind)
    };
    let (total, longest) = lengths(&advertisement);
    if longest > ADVERTISED_MAX || total > 2 * ADVERTISED_MAX {
        let places = [&table.manufacturer_data, &table.service_data];
        let at = places.into_iter().flatten().map(|data| data.span().start).next().unwrap_or(0);
        return Err(mistake(at, format!("what is advertised takes {total} bytes, one field of it {longest}"))
            .remedy("31 bytes of advertising data and 31 of the scan response are all there is"));
    }
    Ok(advertisement)
}

/// Bytes of all fields of advertising data, and of the longest (Core specification supplement, part A).
fn lengths(advertisement: &Advertisement) -> (usize, usize) {
    const FIELD: usize = 2;
    let (short, long): (Vec<_>, Vec<_>) =
        advertisement.services.iter().map(|uuid| uuid.to_air().len()).partition(|len| *len == 2);
    let list = |sizes: Vec<usize>| (!sizes.is_empty()).then(|| FIELD + sizes.iter().sum::<usize>());
    let fields = [Some(FIELD + 1), list(short), list(long)]
        .into_iter()
        .chain([
            advertisement.name.as_ref().map(|name| FIELD + name.len()),
            advertisement.appearance.map(|_| FIELD + 2),
            advertisement.tx_power.map(|_| FIELD + 1),
        ])
        .flatten()
        .chain(advertisement.manufacturer_data.iter().map(|(_, data)| FIELD + 2 + data.len()))
        .chain(advertisement.service_data.iter().map(|(uuid, data)| FIELD + uuid.to_air().len() + data.len()));
    fields.fold((0, 0), |(total, longest), len| (total + len, longest.max(len)))
}

fn data<K>(
    table: Option<&Spanned<BTreeMap<String, String>>>,
    mistake: At<'_>,
    key: impl Fn(&str) -> Result<K, String>,
) -> Result<Vec<(K, Vec<u8>)>, Mistake> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let at = table.span().start;
    let entry = |(name, value): (&String, &String)| {
        let key = key(name).map_err(|error| mistake(at, format!("`{name}`: {error}")))?;
        let bytes = hex::decode(value)
            .map_err(|_| mistake(at, format!("`{value}` is no data")).remedy("bytes in hexadecimal, like \"0102\""))?;
        Ok((key, bytes))
    };
    table.get_ref().iter().map(entry).collect()
}

fn texts(name: &str, table: &InformationTable, mistake: At<'_>) -> Result<Option<Information>, Mistake> {
    if table.service == Some(false) {
        return Ok(None);
    }
    let text = |text: &Option<Spanned<String>>, default: Option<&str>| match text {
        None => Ok(default.map(str::to_owned)),
        Some(text) if text.get_ref().len() > VALUE_MAX => {
            Err(mistake(text.span().start, format!("the text has {} bytes", text.get_ref().len()))
                .remedy(format!("an attribute holds {VALUE_MAX}")))
        }
        Some(text) => Ok(Some(text.get_ref().clone()).filter(|text| !text.is_empty())),
    };
    Ok(Some(Information {
        model: text(&table.model, Some(name))?,
        manufacturer: text(&table.manufacturer, Information::default().manufacturer.as_deref())?,
        serial: text(&table.serial, None)?,
        hardware: text(&table.hardware, None)?,
        software: text(&table.software, None)?,
    }))
}

fn characteristic(table: &CharacteristicTable, mistake: At<'_>) -> Result<VendorCharacteristic, Mistake> {
    let uuid = parsed(&table.uuid, mistake)?;
    let given = table.properties.get_ref();
    let properties = given.iter().fold(Properties::default(), |all, property| {
        all.and(match property {
            Property::Read => Properties::READ,
            Property::Write => Properties::WRITE,
            Property::WriteWithoutResponse => Properties::WRITE_WITHOUT_RESPONSE,
            Property::Notify => Properties::NOTIFY,
            Property::Indicate => Properties::INDICATE,
        })
    });
    if given.is_empty() {
        return Err(mistake(table.properties.span().start, "nothing can be done with it".into())
            .remedy("some of \"read\", \"write\", \"write-without-response\", \"notify\", \"indicate\""));
    }
    let written = properties.has(Properties::WRITE) || properties.has(Properties::WRITE_WITHOUT_RESPONSE);
    if let Some(trigger) = &table.trigger {
        let wrong = |message: &str| mistake(trigger.span().start, message.into());
        if !written {
            return Err(wrong("nobody can write it, and so nothing triggers it").remedy("the property \"write\""));
        }
        if trigger.get_ref().is_empty() || trigger.get_ref().parse::<Uuid>().is_ok() {
            return Err(wrong("a trigger has a name, which reads as no UUID").remedy("like \"bootloader\""));
        }
    }
    let value = match &table.value {
        None => Vec::new(),
        Some(value) => {
            let read = match value.get_ref() {
                Value::Text(text) => Some(text.as_bytes().to_vec()),
                Value::Hex(hex) => hex::decode(&hex.hex).ok(),
            };
            read.filter(|value| value.len() <= VALUE_MAX).ok_or_else(|| {
                mistake(value.span().start, "no value of an attribute is like that".into())
                    .remedy(format!("a text, or bytes in hexadecimal, at most {VALUE_MAX}"))
            })?
        }
    };
    let trigger = table.trigger.as_ref().map(|trigger| trigger.get_ref().clone());
    Ok(VendorCharacteristic { uuid, properties, value, trigger })
}

fn parsed<T: FromStr>(text: &Spanned<String>, mistake: At<'_>) -> Result<T, Mistake>
where
    T::Err: std::fmt::Display,
{
    text.get_ref().parse().map_err(|error: T::Err| mistake(text.span().start, error.to_string()))
}

#[cfg(test)]
#[path = "peripheral_tests.rs"]
mod tests;
