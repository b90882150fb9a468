//! Writes AV1 sequence and frame headers from their values, in front of a frame's tiles.
//!
//! Names and conditions are those of the AV1 bitstream specification, 5.5 and 5.9. A program does not pass
//! all values of the stream's headers. The written headers lack frame numbers, decoder models, timing
//! information and operating points. A caller of [`frame`](fn@frame) marks each frame as shown, so that the
//! codec library returns its picture immediately.

mod bits;
mod frame;
mod grain;
mod header;
mod motion;
mod order;
mod tiles;

pub use frame::{Known, frame};
pub use header::{
    Cdef, FilmGrain, FrameHeader, GrainPoints, LoopFilter, Quantization, Restoration, SLOTS,
    Segmentation, Sequence, Tiles, frame_flag, frame_type, sequence_flag,
};
pub use motion::Motion;
pub use order::is_skip_mode_allowed;
