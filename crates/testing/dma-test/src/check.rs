//! A wrapper around any [`DmaOps`](vb3_dma::DmaOps) that checks how a driver uses it.
//!
//! The wrapper implements [`DmaOps`](vb3_dma::DmaOps) itself, so generic code works with it unchanged. Layers
//! that are not wrapped have no extra cost.

mod book;
mod checked;
mod report;

pub use checked::{Checked, Tracked};
pub use report::{Report, Site, Violation};

/// Receives reports. Any closure with one message as its argument is a `Sink`.
pub trait Sink<T> {
    /// Receives one message.
    fn take(&mut self, message: T);
}

impl<T, F: FnMut(T)> Sink<T> for F {
    fn take(&mut self, message: T) {
        self(message);
    }
}
