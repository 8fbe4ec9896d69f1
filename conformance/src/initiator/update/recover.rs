//! Bringing back a device that runs only its bootloader's recovery (mcuboot: `docs/serial_recovery.md`).
//!
//! The recovery uploads to the slot that runs, so nothing is marked and nothing swaps: list, upload, reset, and
//! see the image run. It lists no image as running, and the server of the application that comes back does.

use super::super::wire::Wire;
use super::Update;
use super::list::Entry;

impl<W: Wire> Update<'_, W> {
    pub(super) async fn recover(&mut self, chunk: usize, window: usize) -> Result<String, String> {
        if self.policy.looks_before_uploading() {
            self.list().await?;
        }
        self.step("upload");
        self.upload(chunk, window).await?;
        self.step("reset");
        self.reset().await?;
        self.step("wait");
        self.wait().await?;
        let images = self.list().await?;
        match images.iter().find(|image| image.is(Entry::ACTIVE)) {
            Some(running) if running.hash == self.hash => Ok("the image runs".into()),
            Some(_) => Err("the device came back with another image".into()),
            None => Err("the device came back without a running image: the new one was refused".into()),
        }
    }
}
