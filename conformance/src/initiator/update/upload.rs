//! The upload.

use brickproof_simulator::smp::{Command, Field, Op};

use super::super::policy::FirstChunk;
use super::super::session::{UPLOAD_OVERHEAD, Value};
use super::super::wire::Wire;
use super::{REQUEST_US, UNANSWERED_MAX, Update, refusal};

/// Timeout of a first chunk: the device may erase a whole slot before it answers.
const FIRST_CHUNK_US: u64 = 40_000_000;
/// Timeout of a first chunk that resumes: nothing is erased.
const RESUME_US: u64 = 2_500_000;
/// Unanswered chunks after which the link counts as lost.
const LINK_LOST_AFTER: u32 = 2;
/// Packet buffer of a device that does not tell its size.
const DEFAULT_BUFFER: usize = 384;
/// Answers without progress that are put up with.
const STALLED_MAX: u32 = 20;
/// Times that the device may forget the upload.
const RESTARTS_MAX: u32 = 8;

impl<W: Wire> Update<'_, W> {
    /// Image bytes that fit a packet of the device.
    pub(super) async fn chunk_size(&mut self) -> usize {
        let answer = self.session.request(Command::Params, Op::Read, &[], REQUEST_US).await;
        let told =
            answer.as_ref().filter(|answer| answer.failure().is_none()).and_then(|answer| answer.body.get("buf_size"));
        let buffer = told.and_then(Field::number).and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT_BUFFER);
        buffer.saturating_sub(UPLOAD_OVERHEAD).clamp(32, self.policy.chunk_max().max(32))
    }

    pub(super) async fn upload(&mut self, chunk: usize) -> Result<(), String> {
        let image = &self.job.image;
        let goal = image.len() * self.policy.uploads_permille().min(1000) / 1000;
        let mut offset = 0;
        let mut fields = Some((self.policy.first_chunk(), FIRST_CHUNK_US));
        let (mut unanswered, mut stalled, mut restarts) = (0, 0, 0);
        while offset < goal {
            let end = (offset + chunk).min(image.len());
            let (body, timeout) = self.chunk(offset, end, fields);
            let Some(answer) = self.session.request(Command::ImageUpload, Op::Write, &body, timeout).await else {
                unanswered += 1;
                if unanswered >= UNANSWERED_MAX {
                    return Err(format!(
                        "the device stopped answering during the upload, at {offset} of {} bytes",
                        image.len()
                    ));
                }
                if unanswered == LINK_LOST_AFTER {
                    // As after a reconnect: the device knows the upload by its sha.
                    offset = 0;
                    fields = Some((self.policy.resumed_chunk(), RESUME_US));
                }
                continue;
            };
            unanswered = 0;
            if self.policy.is_failure(&answer) {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                return Err(format!("the device refuses the image: {}", refusal(group, rc)));
            }
            let returned = answer.body.get("off").and_then(Field::number).and_then(|off| usize::try_from(off).ok());
            let next = self.policy.next_offset(end, returned.unwrap_or(end));
            if next > image.len() {
                return Err(format!("the device expects offset {next} of an image of {} bytes", image.len()));
            }
            stalled = if next > offset { 0 } else { stalled + 1 };
            if stalled > STALLED_MAX {
                return Err(format!("the upload does not get beyond {next} bytes"));
            }
            restarts += u32::from(next == 0);
            if restarts > RESTARTS_MAX {
                return Err("the device forgets the upload again and again".into());
            }
            fields = (next == 0).then_some((self.policy.restarted_chunk(), FIRST_CHUNK_US));
            offset = next;
        }
        Ok(())
    }

    fn chunk(&self, offset: usize, end: usize, fields: Option<(FirstChunk, u64)>) -> (Vec<(&'static str, Value)>, u64) {
        let mut body = vec![("off", Value::Number(offset as u64))];
        let (fields, timeout) = fields.map_or((None, REQUEST_US), |(fields, timeout)| (Some(fields), timeout));
        if let Some(fields) = fields {
            if fields.len {
                body.push(("len", Value::Number(self.job.image.len() as u64)));
            }
            if fields.sha {
                body.push(("sha", Value::Bytes(self.job.sha256.to_vec())));
            }
        }
        body.push(("data", Value::Bytes(self.job.image[offset..end].to_vec())));
        (body, timeout)
    }
}
