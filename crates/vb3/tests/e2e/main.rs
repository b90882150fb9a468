//! Real programs, unmodified, on devices and machines that are not there; the pixels that arrive
//! are compared with those that were sent.

mod board;
mod closing;
mod codecs;
mod common;
mod compliance;
mod containers;
mod convert;
mod decoder;
mod descriptors;
mod encoders;
mod exact;
mod gstreamer;
mod hotplug;
mod lifecycle;
mod loopback;
mod machines;
mod media;
mod page;
mod pipeline;
mod players;
mod replay;
mod requests;
mod rows;
mod scaler;
mod scripts;
mod seek;
mod stalls;
mod storms;
mod streams;
mod trace;
mod udev;
mod userptr;
mod v4l2_ctl;
mod waiting;
mod webcam;
