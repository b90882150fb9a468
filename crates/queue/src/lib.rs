//! videobuf2's core queue. (Being written.)
#![no_std]
#![forbid(unsafe_code)]
