//! The security counters of a device with hardware rollback protection.

/// Non-volatile counters, one for each image, that a bootloader built with
/// `MCUBOOT_HW_ROLLBACK_PROT` compares with the security counter of an image and raises.
///
/// A device that was never updated has 0 everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Counters {
    values: Vec<u32>,
}

impl Counters {
    /// Counters with these values, from image 0.
    #[must_use]
    pub fn new(values: Vec<u32>) -> Self {
        Self { values }
    }

    /// The counter of an image.
    #[must_use]
    pub fn get(&self, image: usize) -> u32 {
        self.values.get(image).copied().unwrap_or(0)
    }

    /// Raises the counter of an image; a lower value changes nothing.
    pub fn raise(&mut self, image: usize, value: u32) {
        if value > self.get(image) {
            if self.values.len() <= image {
                self.values.resize(image + 1, 0);
            }
            self.values[image] = value;
        }
    }

    /// The counters that were ever raised, from image 0.
    #[must_use]
    pub fn values(&self) -> &[u32] {
        &self.values
    }
}
