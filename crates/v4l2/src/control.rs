//! Controls: what a driver declares, what values they take, and the calls that reach them.

mod spec;

pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, MAX_TEXT};
