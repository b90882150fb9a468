//! The state of shared memory without the feature `managed`. The state is empty, and its methods return constants, so
//! that the compiler removes code that needs `managed`.

use crate::Error;
use core::marker::PhantomData;

#[derive(Debug)]
pub(crate) struct State<D, V>(PhantomData<fn(D, V)>);

impl<D, V> Default for State<D, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<D, V> State<D, V> {
    pub(crate) fn check_revoked(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn check_quarantined(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn quarantine(&mut self) {}

    pub(crate) const fn is_placed(&self) -> bool {
        true
    }

    pub(crate) fn attached(&mut self) {}

    pub(crate) const fn has_unread(&self) -> bool {
        false
    }

    pub(crate) fn synced(&mut self) {}

    pub(crate) fn begin_write(&mut self) {}

    pub(crate) fn end_write(&mut self) {}
}
