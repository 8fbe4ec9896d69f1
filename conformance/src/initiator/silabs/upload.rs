//! One file to a device that takes it: an AppLoader, or an application with a slot.
//!
//! | step | what is written | what is waited for |
//! |---|---|---|
//! | start | 0x00 to OTA Control | the answer |
//! | data | the file to OTA Data, in whole words; seven values without a response, then one with | the answer to that one |
//! | end | 0x03 to OTA Control | the answer: what came of the file |

use brickproof_simulator::gatt::{AttError, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::silabs::gatt::result;

use super::policy::{SilabsPolicy, Start};
use crate::initiator::link::{Link, LinkError};

/// Control bytes.
pub const START: u8 = 0x00;
const END: u8 = 0x03;
const CLOSE: u8 = 0x04;
/// Bytes of an ATT header in a write.
const ATT_HEADER: u16 = 3;

/// Why a file has not arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The link has ended.
    Lost,
    /// The device did not take the start for one.
    NotStarted,
    /// The device refuses this.
    Refused(&'static str, AttError),
    /// There was no answer to this.
    Silent(&'static str),
    /// Nothing that another try would change.
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost => f.write_str("the link is gone"),
            Self::NotStarted => f.write_str("the device does not take the start for one"),
            Self::Refused(what, error) => write!(f, "{what}: refused with {:#04x}, {}", error.code(), words(*error)),
            Self::Silent(what) => write!(f, "{what}: there is no answer"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// What a result means (docs.silabs.com: "Using the Gecko Bootloader with Silicon Labs Bluetooth Applications").
fn words(error: AttError) -> &'static str {
    match error {
        result::CRC => "CRC or signature is wrong",
        result::WRONG_STATE => "not in this state",
        result::BUFFERS_FULL => "there was no room for it",
        result::TOO_BIG => "the image is too big, or could not be stored",
        result::NOT_SUPPORTED => "not a file that the device reads",
        result::BOOTLOADER => "flash could not be erased or written",
        result::INCORRECT_BOOTLOADER => "the bootloader is another one",
        result::OVERLAP => "the application lies over the AppLoader",
        result::INCOMPATIBLE_BOOTLOADER => "the bootloader is too old",
        result::VERSION => "the version of the application is refused",
        _ => "an error of ATT",
    }
}

fn failure(what: &'static str, error: LinkError) -> Failure {
    match error {
        LinkError::Gone => Failure::Lost,
        LinkError::Late => Failure::Silent(what),
        LinkError::Refused(error) => Failure::Refused(what, error),
        LinkError::Missing => Failure::Other(format!("{what}: the characteristic is not there")),
    }
}

/// Writes a byte to OTA Control.
///
/// # Errors
/// [`Failure`].
pub async fn control<L: Link>(
    link: &mut L,
    policy: &dyn SilabsPolicy,
    byte: u8,
    what: &'static str,
    timeout_us: u64,
) -> Result<(), Failure> {
    let value = policy.control(byte);
    let done = match policy.control_kind() {
        WriteKind::Request => link.request(Endpoint::OtaControl, value, timeout_us).await,
        kind => link.write(Endpoint::OtaControl, value, kind).await,
    };
    done.map_err(|error| failure(what, error))
}

/// Sends a file; `sent` counts the bytes of it that are on the device.
///
/// # Errors
/// [`Failure`].
pub async fn run<L: Link>(
    link: &mut L,
    policy: &dyn SilabsPolicy,
    file: &[u8],
    mtu: u16,
    sent: &mut usize,
) -> Result<(), Failure> {
    let start = policy.start();
    if matches!(start, Start::First | Start::Twice) {
        control(link, policy, START, "the start", policy.answer_us()).await?;
    }
    let mut whole = file.to_vec();
    whole.resize(file.len().saturating_add(policy.padding(file.len())), 0xff);
    let from = if policy.restarts() { 0 } else { *sent };
    *sent = from;
    let len = policy.value_len(usize::from(mtu.saturating_sub(ATT_HEADER))).max(1);
    let values = whole.get(from..).unwrap_or_default().chunks(len).map(<[u8]>::to_vec).collect();
    let values = policy.values(values);
    let last = values.len().saturating_sub(1);
    let end_before = values.len().saturating_sub(policy.ends_early());
    for (index, value) in values.into_iter().enumerate() {
        if policy.ends_early() > 0 && index == end_before {
            end(link, policy).await?;
        }
        if start == Start::Twice && index == last / 2 {
            control(link, policy, START, "the start", policy.answer_us()).await?;
        }
        let answered = index == 0 || index == last || index % policy.unanswered().saturating_add(1) == 0;
        let bytes = value.len();
        let done = if answered {
            link.request(Endpoint::OtaData, value, policy.answer_us()).await
        } else {
            link.write(Endpoint::OtaData, value, WriteKind::Command).await
        };
        match done.map_err(|error| failure("data", error)) {
            // The first value tells whether the start was one: an application that erases its slot answers it all the same.
            Err(Failure::Silent(_) | Failure::Refused(_, result::WRONG_STATE))
                if index == 0 && start == Start::First =>
            {
                return Err(Failure::NotStarted);
            }
            Err(Failure::Refused(..)) if !policy.heeds_refused_data() => {}
            done => done?,
        }
        *sent = sent.saturating_add(bytes);
        if start == Start::BehindData && index == 0 {
            control(link, policy, START, "the start", policy.answer_us()).await?;
        }
    }
    if policy.ends_early() == 0 {
        end(link, policy).await?;
    }
    if let Some(value) = policy.behind_the_end() {
        let _ = link.request(Endpoint::OtaData, value, policy.answer_us()).await;
    }
    if policy.has_it_closed() {
        // The link may be gone before the answer is there.
        let _ = control(link, policy, CLOSE, "the end of the link", policy.answer_us()).await;
    }
    Ok(())
}

async fn end<L: Link>(link: &mut L, policy: &dyn SilabsPolicy) -> Result<(), Failure> {
    match control(link, policy, END, "the file", policy.result_us()).await {
        Err(Failure::Refused(..)) if !policy.heeds_result() => Ok(()),
        done => done,
    }
}
