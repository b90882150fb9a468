//! The lock that this machine provides to the mapping layer.

use crate::irq;
use vb3_dma::{Lock, Locks};

/// A lock for data that interrupt handlers use. It disables interrupts while it is held.
pub(crate) struct Spin<T>(spin::Mutex<T>);

impl<T> Spin<T> {
    pub(crate) const fn holding(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }
}

impl<T> Lock<T> for Spin<T> {
    fn new(value: T) -> Self {
        Self::holding(value)
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        irq::without(|| act(&mut self.0.lock()))
    }
}

/// Selects [`Spin`] as the lock that the mapping layer uses.
pub(crate) struct SpinLocks;

impl Locks for SpinLocks {
    type Lock<T> = Spin<T>;
}
