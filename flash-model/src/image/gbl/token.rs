//! Token files of Silicon Labs: lines of `NAME: hexadecimal digits`.
//!
//! Names are with or without `TOKEN_` before them and in any case; lines that start with `#` say nothing (`commander util
//! genkey`, `commander tokendump`).

use crate::source::Mistake;

/// Whether it has a line with a name.
pub(super) fn is_token_file(text: &str) -> bool {
    lines(text).any(|(_, line)| line.contains(':'))
}

/// Lines that say something, with the offset of their first character.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    let all = text.split_inclusive('\n').map(move |line| {
        let start = offset;
        offset += line.len();
        (start + line.len() - line.trim_start().len(), line.trim())
    });
    all.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The value of a token, without `TOKEN_` before its name.
pub(super) fn value<const N: usize>(file: &str, text: &str, name: &str) -> Result<[u8; N], Mistake> {
    let mut found = None;
    for (offset, line) in lines(text) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let key = key.trim().to_ascii_uppercase();
        if key.strip_prefix("TOKEN_").unwrap_or(&key) != name {
            continue;
        }
        if found.is_some() {
            let mistake = Mistake::new(file, format!("a second token {name}")).at(text, offset);
            return Err(mistake.remedy("leave one of them"));
        }
        let start = offset + line.len() - value.trim_start().len();
        found = Some((start, value.trim()));
    }
    let Some((offset, digits)) = found else {
        let mistake = Mistake::new(file, format!("no token {name}"));
        return Err(mistake.remedy(format!("add a line `TOKEN_{name}: ...`, or give the file that has one")));
    };
    if digits.eq_ignore_ascii_case("!erase!") {
        let mistake = Mistake::new(file, "the token is to be erased, which is no value").at(text, offset);
        return Err(mistake.remedy("give a file with a value"));
    }
    bytes(file, text, offset, digits)
}

/// The only value of a file without names.
pub(super) fn single_value<const N: usize>(file: &str, text: &str) -> Result<[u8; N], Mistake> {
    let mut lines = lines(text);
    let Some((offset, digits)) = lines.next() else { return Err(Mistake::new(file, "no key")) };
    if let Some((second, _)) = lines.next() {
        return Err(Mistake::new(file, "more than one value").at(text, second));
    }
    bytes(file, text, offset, digits)
}

fn bytes<const N: usize>(file: &str, text: &str, offset: usize, digits: &str) -> Result<[u8; N], Mistake> {
    if let Some((at, wrong)) = digits.char_indices().find(|(_, digit)| !digit.is_ascii_hexdigit()) {
        let mistake = Mistake::new(file, format!("`{}` is no hexadecimal digit", wrong.escape_debug()));
        return Err(mistake.at(text, offset + at).remedy("write digits only, without a prefix or blanks"));
    }
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let value: Vec<u8> =
        pairs.iter().map(|pair| pair.iter().fold(0, |value, digit| value << 4 | nibble(*digit))).collect();
    match <[u8; N]>::try_from(value) {
        Ok(value) if rest.is_empty() => Ok(value),
        _ => {
            let mistake = Mistake::new(file, format!("{} hexadecimal digits, expected {}", digits.len(), 2 * N));
            Err(mistake.at(text, offset).remedy("write all of them"))
        }
    }
}

fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0)
}

/// In digits, as Silicon Labs writes them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
