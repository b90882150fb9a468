//! Controls: drivers' declarations, allowed values, and the structures that are values of some controls.

mod av1;
mod compound;
mod h264;
mod hevc;
mod spec;
mod vp8;
mod vp9;

pub use compound::CompoundType;
pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, Master};
