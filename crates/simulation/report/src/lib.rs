//! Reports of a run, traces of its calls, HTML pages, and sentences that explain problems.
//!
//! The crate defines the data and the messages. It does not know how devices work: the host of the
//! devices fills in a [`Report`].
#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod diff;
mod event;
pub mod kernel;
mod mask;
#[cfg(feature = "page")]
pub mod page;
mod report;
pub mod sentence;
pub mod timeline;
pub mod trace;
pub mod why;

pub use mask::{is_masked, masked};
pub use report::{
    BufferReport, Demand, DeviceFailure, DeviceReport, EarlyAccess, FORMAT, Held, HolderReport,
    MAX_BUFFERS, MAX_EARLY_ACCESSES, MAX_FAILURES, MAX_MISSING_SYNCS, MAX_REFUSALS,
    MAX_SCRIPT_EVENTS, MemoryReport, MissedStep, MissingSync, PROBLEMS, Picture, QueueReport,
    Refusal, Remedy, Report, Room, Row, ScriptEvent, Setup, is_fifo, touch,
};
