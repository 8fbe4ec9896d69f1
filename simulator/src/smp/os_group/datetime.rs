//! The real-time clock: it runs through resets and is lost with power.

use super::super::cbor::{MapReader, Type};
use super::super::codes::{OsError, SmpError};
use super::super::dispatch::Exchange;
use super::super::server::{Environment, Server};
use super::Result;
use crate::device::Clock;

/// Shortest and longest text in bytes, the longest with a byte for its end.
const TEXT_LEN: std::ops::Range<usize> = 19..26;
/// Smallest and largest value of year, month, day, hour, minute and second.
const FIELDS: [(i64, i64); 6] = [(1900, 11_899), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59)];
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

pub(super) fn read(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let clock = device.retained.clock.ok_or(OsError::ClockNotSet)?;
    let elapsed = i64::try_from(device.now_us.saturating_sub(clock.set_at_us) / 1000).unwrap_or(i64::MAX);
    let text = emit(clock.unix_ms.saturating_add(elapsed), server.config.datetime_ms);
    exchange.map.text("datetime").text(&text);
    Ok(())
}

pub(super) fn write(server: &mut Server, exchange: &mut Exchange<'_>, device: &mut Environment<'_, '_>) -> Result {
    let request = MapReader::read(exchange.body, [("datetime", Type::Text)]).map_err(|_| SmpError::Invalid)?;
    let text = request.text(0).unwrap_or_default();
    let unix_ms = parse(text, server.config.datetime_ms).ok_or(SmpError::Invalid)?;
    device.retained.clock = Some(Clock { unix_ms, set_at_us: device.now_us });
    Ok(())
}

/// Milliseconds since 1970. Between the fields stands any one character; what follows is not looked at.
fn parse(text: &[u8], milliseconds: bool) -> Option<i64> {
    if !TEXT_LEN.contains(&text.len()) {
        return None;
    }
    let mut at = 0;
    let mut fields = [0; 6];
    for (field, (min, max)) in fields.iter_mut().zip(FIELDS) {
        let (number, len) = number(text.get(at..)?)?;
        *field = Some(number).filter(|number| (min..=max).contains(number))?;
        at += len + 1;
    }
    let mut ms = 0;
    if milliseconds && text.get(at - 1) == Some(&b'.') && at < text.len() {
        ms = number(&text[at..]).map_or(0, |(number, _)| number);
        ms = Some(ms).filter(|ms| (0..=999).contains(ms))?;
    }
    let [year, month, day, hour, minute, second] = fields;
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

/// A number as `strtol` takes it, and how many bytes it is long.
fn number(text: &[u8]) -> Option<(i64, usize)> {
    let start = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let sign = usize::from(matches!(text.get(start), Some(b'+' | b'-')));
    let digits = text[start + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = start + sign + digits;
    let text = std::str::from_utf8(&text[start..end]).ok()?;
    Some((text.parse().ok()?, end))
}

fn emit(unix_ms: i64, milliseconds: bool) -> String {
    let (year, month, day) = date(unix_ms.div_euclid(DAY_MS));
    let ms = unix_ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let text = format!("{year:4}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    // The server does not pad the milliseconds.
    if milliseconds { format!("{text}.{}", ms % 1000) } else { text }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years are counted from March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date that is this many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for text in ["1970-01-01T00:00:00", "2024-02-29T23:59:59", "1900-03-01T12:00:00", "2100-12-31T00:00:01"] {
            assert_eq!(emit(parse(text.as_bytes(), false).unwrap(), false), text);
        }
        assert_eq!(parse(b"2001-09-09T01:46:40", false), Some(1_000_000_000_000));
        assert_eq!(emit(parse(b"2024-01-02T03:04:05.67", true).unwrap(), true), "2024-01-02T03:04:05.67");
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "2024-13-02T03:04:05",
            "2024-01-32T03:04:05",
            "2024-01-02T24:04:05",
            "1899-01-02T03:04:05",
            "2024-01-02T03:04",
            "2024-01-02Txx:04:05",
            "2024-01-02T03:04:05.0000000",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes(), true), None, "{text}");
        }
        assert_eq!(parse(b"2024-01-02T03:04:05.1000", true), None);
    }
}
