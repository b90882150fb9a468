//! Wrappers around any [`DmaOps`](crate::DmaOps): one that checks, one that tells, one that fails.
//!
//! Each implements [`DmaOps`](crate::DmaOps) itself, so that they nest in any order, and code
//! that is generic over the seam does not notice. What is not wrapped costs nothing. Those that
//! tell and fail are [`Hooks`], as others can be.

mod call;
#[cfg(feature = "alloc")]
mod checked;
mod faulty;
mod hooked;
#[cfg(feature = "alloc")]
mod ledger;
#[cfg(feature = "alloc")]
mod objects;
mod report;
mod traced;

pub use call::{Call, CallKind};
#[cfg(feature = "alloc")]
pub use checked::{Checked, CheckedAlloc, CheckedMapping, CheckedTable};
pub use faulty::{Fail, Faults, Faulty};
pub use hooked::{Hooked, Hooks};
#[cfg(feature = "alloc")]
pub use ledger::{Claim, Ledger};
pub use report::{Kind, Report, Site, Violation};
pub use traced::{Tell, Traced};

/// Where wrappers send what they have to say.
///
/// Any closure that takes the message is one.
pub trait Sink<T> {
    /// Takes one message.
    fn take(&mut self, message: T);
}

impl<T, F: FnMut(T)> Sink<T> for F {
    fn take(&mut self, message: T) {
        self(message);
    }
}
