//! The `vb3` command: runs unmodified V4L2 programs on devices and machines that are not there.
//!
//! This crate is the command line: commands, machines and scripts by name. How a queue or a mapping works
//! is the business of the crates below; the world module puts them together.
#![forbid(unsafe_code)]
#![deny(clippy::print_stderr)] // See `say`.

pub mod board;
pub mod cli;
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
