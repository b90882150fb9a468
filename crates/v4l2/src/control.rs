//! Controls: drivers' declarations, allowed values, and the structures that are values of some controls.

mod av1;
mod compound;
mod h264;
mod hevc;
mod spec;
mod vp8;
mod vp9;

pub use compound::CompoundType;
pub use h264::{H264Pps, H264ScalingMatrix, H264Sps};
pub use hevc::{HevcDecodeParams, HevcPps, HevcReference, HevcScalingMatrix, HevcSps};
pub use spec::{ControlFlags, ControlKind, ControlSpec, ControlValue, Master};
pub use vp8::Vp8FrameHeader;
pub use vp9::Vp9FrameHeader;
