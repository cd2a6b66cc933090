//! A token bucket of an exact server.

use super::STEP_SECONDS;

/// An exact bucket beside, which shows by how much more was let through than it allows.
pub(super) struct Exact {
    pub(super) size: f64,
    pub(super) rate: f64,
    pub(super) left: f64,
    pub(super) worst: f64,
}

impl Exact {
    pub(super) fn full(size: u32, rate: f64) -> Self {
        Self { size: size.into(), rate, left: size.into(), worst: 0.0 }
    }

    pub(super) fn refill(&mut self) {
        self.left = (self.left + self.rate * STEP_SECONDS).min(self.size);
    }

    pub(super) fn take(&mut self) {
        self.left -= 1.0;
        self.worst = self.worst.max(-self.left);
    }
}
