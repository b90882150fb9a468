//! Controls: what a driver declares, what values they take, and the calls that reach them.

mod handler;
mod spec;

pub(crate) use handler::{Control, Handler, bits32, class_of};
pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, MAX_TEXT};
