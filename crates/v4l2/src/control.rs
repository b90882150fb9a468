//! Controls: declarations of drivers, allowed values, and their calls.

mod h264;
mod spec;

pub use h264::{CompoundType, H264Pps, H264ScalingMatrix, H264Sps};
pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, MAX_TEXT, Master};
