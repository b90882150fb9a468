//! The `vb3` command: runs unmodified V4L2 programs on devices and machines that are not there.
//!
//! This crate is what a person sees: commands, profiles, reports and sentences. How a queue or a
//! mapping works is the business of the crates below; the world module puts them together.
#![forbid(unsafe_code)]

/// Writes a line to standard error, if it can be written: std's panics where that is a closed pipe or
/// a full device.
macro_rules! eprintln {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stderr(), $($word)*));
    }};
}

pub mod board;
pub mod cli;
pub mod control;
pub mod devices;
pub mod diff;
pub mod doctor;
pub mod elements;
pub mod fits;
pub mod machines;
pub mod manual;
mod outputs;
pub mod page;
pub mod replay;
pub mod report;
pub mod run;
pub mod script;
pub mod sentence;
mod target;
pub mod timeline;
pub mod trace;
pub mod why;
pub mod world;
