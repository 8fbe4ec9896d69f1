//! The attributes of a peripheral.

use super::Uuid;

/// What can be done with a characteristic (Core specification, volume 3, part G, 3.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Properties(pub u8);

impl Properties {
    /// Broadcast.
    pub const BROADCAST: Self = Self(0x01);
    /// Read.
    pub const READ: Self = Self(0x02);
    /// Write without response.
    pub const WRITE_WITHOUT_RESPONSE: Self = Self(0x04);
    /// Write.
    pub const WRITE: Self = Self(0x08);
    /// Notify.
    pub const NOTIFY: Self = Self(0x10);
    /// Indicate.
    pub const INDICATE: Self = Self(0x20);
    /// Authenticated signed writes.
    pub const SIGNED_WRITE: Self = Self(0x40);
    /// Extended properties.
    pub const EXTENDED: Self = Self(0x80);

    /// These and those.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether all of these are there.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// A descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its handle.
    pub handle: u16,
    /// What it is.
    pub uuid: Uuid,
}

/// A characteristic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// Handle of the declaration.
    pub handle: u16,
    /// Handle of the value.
    pub value_handle: u16,
    /// What it is.
    pub uuid: Uuid,
    /// What can be done with it.
    pub properties: Properties,
    /// Its descriptors, in the order of their handles.
    pub descriptors: Vec<Descriptor>,
}

impl Characteristic {
    /// Handle of the descriptor that switches notifications and indications on.
    #[must_use]
    pub fn ccc(&self) -> Option<u16> {
        self.descriptors.iter().find(|descriptor| descriptor.uuid == Uuid::CCC).map(|descriptor| descriptor.handle)
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Handle of the declaration.
    pub handle: u16,
    /// Last handle of the service.
    pub end: u16,
    /// What it is.
    pub uuid: Uuid,
    /// Primary, or only included by others.
    pub primary: bool,
    /// Its characteristics, in the order of their handles.
    pub characteristics: Vec<Characteristic>,
}

/// All services, in the order of their handles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The services.
    pub services: Vec<Service>,
}

impl Table {
    /// The first characteristic with this UUID.
    #[must_use]
    pub fn characteristic(&self, uuid: Uuid) -> Option<&Characteristic> {
        self.characteristics().find(|characteristic| characteristic.uuid == uuid)
    }

    /// The characteristic with this handle of its value.
    #[must_use]
    pub fn by_value_handle(&self, handle: u16) -> Option<&Characteristic> {
        self.characteristics().find(|characteristic| characteristic.value_handle == handle)
    }

    /// The descriptor with this handle, and its characteristic.
    #[must_use]
    pub fn descriptor(&self, handle: u16) -> Option<(&Characteristic, &Descriptor)> {
        self.characteristics().find_map(|characteristic| {
            let found = characteristic.descriptors.iter().find(|descriptor| descriptor.handle == handle)?;
            Some((characteristic, found))
        })
    }

    /// All characteristics, in the order of their handles.
    pub fn characteristics(&self) -> impl Iterator<Item = &Characteristic> {
        self.services.iter().flat_map(|service| &service.characteristics)
    }
}
