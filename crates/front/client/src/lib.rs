//! Controls a run of `vb3` from a test, in Rust.
//!
//! A [`Run`] starts a program on simulated devices. Its [`Client`] sends orders (commands) to the run's
//! socket. They change a camera's picture, unplug a device, make a call fail, or fetch a display's picture.
//! A program inside a run can [attach](Client::attach) to the run. docs/control.md describes the protocol.
//!
//! ```no_run
//! use vb3_client::Run;
//!
//! let mut run = Run::new(["my-camera-program"]).device("camera=pattern").start()?;
//! run.wait_frame("video0", 10)?;
//! run.unplug("video0")?;
//! assert_eq!(run.finish()?.code(), Some(1));
//! # Ok::<(), vb3_client::Error>(())
//! ```
#![forbid(unsafe_code)]

mod answer;
mod client;
mod error;
mod event;
mod order;
mod run;

pub use answer::{Buffer, Buffers, Device, Shown, State};
pub use client::Client;
pub use error::Error;
pub use event::{Event, EventKind};
pub use order::{FileFormat, Order};
pub use run::{Run, Running};

/// Name of the environment variable with the path of the run's socket, for programs inside the run.
pub const VARIABLE: &str = "VB3_CONTROL";
