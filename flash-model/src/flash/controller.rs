//! The one way to change flash.

use super::{Area, Flash, FlashError, Geometry, Hook, Interruption, Operation, OperationKind, Refusal, Step, Verdict};

/// Performs operations on a [`Flash`] under the eyes of a [`Hook`].
///
/// Operations are numbered from 0 over all devices. After an interruption the controller is fused:
/// every further operation, read and checkpoint fails with the same interruption.
pub struct Controller<'a> {
    flash: &'a mut Flash,
    hook: &'a mut dyn Hook,
    next: u64,
    fused: Option<Interruption>,
}

impl<'a> Controller<'a> {
    /// A controller that starts counting at 0.
    pub fn new(flash: &'a mut Flash, hook: &'a mut dyn Hook) -> Self {
        Self { flash, hook, next: 0, fused: None }
    }

    /// Number of operations so far, the interrupted one not counted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.next
    }

    /// The flash as it is.
    #[must_use]
    pub fn flash(&self) -> &Flash {
        self.flash
    }

    /// Geometry of the device that holds `area`; `None` when there is no such device.
    #[must_use]
    pub fn geometry(&self, area: Area) -> Option<&Geometry> {
        self.flash.devices.get(usize::from(area.device)).map(super::Device::geometry)
    }

    /// Reads from an area.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] outside the area; [`FlashError::Interrupted`] when fused.
    pub fn read(&self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), FlashError> {
        self.check_fuse()?;
        self.flash.read(area, offset, buffer)
    }

    /// Erases the sector that starts at `offset` of the area, or several.
    ///
    /// # Errors
    /// [`FlashError::Refused`] by the device, [`FlashError::Interrupted`] by the hook.
    pub fn erase(&mut self, area: Area, offset: u32, len: u32) -> Result<(), FlashError> {
        let start = self.place(area, offset, u64::from(len))?;
        self.perform(Operation { n: self.next, device: area.device, offset: start, kind: OperationKind::Erase { len } })
    }

    /// Programs whole units at `offset` of the area.
    ///
    /// # Errors
    /// [`FlashError::Refused`] by the device, [`FlashError::Interrupted`] by the hook.
    pub fn program(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let start = self.place(area, offset, data.len() as u64)?;
        self.perform(Operation {
            n: self.next,
            device: area.device,
            offset: start,
            kind: OperationKind::Program { data },
        })
    }

    /// Programs a copy of what stands elsewhere; `buffer` says how much.
    ///
    /// # Errors
    /// As [`Controller::read`] and [`Controller::program`].
    pub fn copy(
        &mut self,
        (source, from): (Area, u32),
        (target, to): (Area, u32),
        buffer: &mut [u8],
    ) -> Result<(), FlashError> {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let torn = self.flash.torn_in(source, from, len);
        if torn.is_empty() {
            self.read(source, from, buffer)?;
            return self.program(target, to, buffer);
        }
        self.check_fuse()?;
        self.flash.read_unwatched(source, from, buffer);
        let copied = self.program(target, to, buffer);
        for (range, origin) in torn {
            self.flash.forget_range(target, to + range.start, range.end - range.start, origin);
        }
        copied
    }

    /// The head of a loop: the code can go on from the flash contents and `status` alone.
    ///
    /// # Errors
    /// [`FlashError::Interrupted`] when the hook has been here before.
    pub fn checkpoint(&mut self, name: &'static str, status: [u32; 4]) -> Result<(), FlashError> {
        self.check_fuse()?;
        match self.hook.checkpoint(&Step { name, status }, self.flash) {
            None => Ok(()),
            Some(interruption) => Err(self.fuse(interruption)),
        }
    }

    fn perform(&mut self, operation: Operation<'_>) -> Result<(), FlashError> {
        self.check_fuse()?;
        let verdict = self.hook.before(&operation, self.flash);
        if let Verdict::Interrupt(interruption) = verdict {
            return Err(self.fuse(interruption));
        }
        let Some(device) = self.flash.devices.get_mut(usize::from(operation.device)) else {
            return Err(outside(operation.device, operation.offset.into(), operation.len().into()));
        };
        let (offset, len) = (operation.offset, operation.len());
        let allowed = match operation.kind {
            OperationKind::Erase { .. } => device.check_erase(operation.device, offset, len),
            OperationKind::Program { .. } => device.check_program(operation.device, offset, len),
        };
        if let Err(refusal) = allowed {
            self.hook.refused(&operation, &refusal);
            return Err(refusal.into());
        }
        let (tear, interruption) = match verdict {
            Verdict::Tear(tear, interruption) => (Some(tear), Some(interruption)),
            Verdict::Proceed | Verdict::Interrupt(_) => (None, None),
        };
        match operation.kind {
            OperationKind::Erase { .. } => device.erase(offset, len, tear),
            OperationKind::Program { data } => device.program(offset, data, tear),
        }
        self.hook.after(&operation, tear);
        match interruption {
            Some(interruption) => Err(self.fuse(interruption)),
            None => {
                self.next += 1;
                Ok(())
            }
        }
    }

    fn place(&self, area: Area, offset: u32, len: u64) -> Result<u32, FlashError> {
        let start = u64::from(area.offset) + u64::from(offset);
        match u32::try_from(start) {
            Ok(start) if u64::from(offset) + len <= u64::from(area.len) => Ok(start),
            _ => Err(outside(area.device, start, len)),
        }
    }

    fn check_fuse(&self) -> Result<(), FlashError> {
        self.fused.map_or(Ok(()), |interruption| Err(interruption.into()))
    }

    fn fuse(&mut self, interruption: Interruption) -> FlashError {
        self.fused = Some(interruption);
        interruption.into()
    }
}

fn outside(device: u8, offset: u64, len: u64) -> FlashError {
    Refusal::OutOfRange { device, offset, len }.into()
}
