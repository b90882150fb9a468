//! Controls: what a driver declares, what values they take, and the calls that reach them.

mod h264;
mod spec;

pub use h264::{CompoundType, H264Pps, H264ScalingMatrix, H264Sps};
pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, MAX_TEXT};
