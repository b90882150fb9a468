//! The lock that this machine provides to the mapping layer.

use crate::irq;
use vb3_dma::Locks;

/// A lock for data that interrupt handlers use. It disables interrupts while it is held.
pub(crate) struct Spin<T>(spin::Mutex<T>);

impl<T> Spin<T> {
    pub(crate) const fn holding(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        irq::without(|| act(&mut self.0.lock()))
    }
}

/// Selects [`Spin`] as the lock that the mapping layer uses.
pub(crate) struct SpinLocks;

impl Locks for SpinLocks {
    type Lock<T> = Spin<T>;

    fn new_lock<T>(value: T) -> Spin<T> {
        Spin::holding(value)
    }

    fn with<T, R>(lock: &Spin<T>, act: impl FnOnce(&mut T) -> R) -> R {
        lock.with(act)
    }
}
