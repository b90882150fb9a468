//! Real programs, unmodified, on devices and machines that are not there; the pixels that arrive
//! are compared with those that were sent.

mod common;
mod compliance;
mod gstreamer;
mod machines;
mod media;
mod rows;
mod storms;
mod v4l2_ctl;
