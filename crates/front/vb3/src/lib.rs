//! The `vb3` command: runs unmodified V4L2 programs on simulated devices and machines.
//!
//! This crate is the command line. `vb3-run` connects devices, queues and memory, and
//! `vb3-intercept` runs the program.
#![deny(unsafe_code)] // Only `clone::ioctl` has some.
#![deny(clippy::print_stderr)] // See `say`.

pub mod board;
pub mod cli;
pub mod clone;
mod codecs;
pub mod commands;
pub mod ctl;
pub mod devices;
pub mod doctor;
pub mod elements;
pub mod fits;
pub mod machines;
pub mod manual;
mod outputs;
pub mod replay;
pub mod run;
mod say;
pub mod scripts;
mod target;
