//! Reports of a run, traces of its calls, the report as a page, and sentences that explain what went
//! wrong.
//!
//! The crate has the data and the words. It does not know how devices work: the host of the devices
//! fills a [`Report`] in.
#![forbid(unsafe_code)]

pub mod diff;
mod event;
#[cfg(feature = "page")]
pub mod page;
mod report;
pub mod sentence;
pub mod timeline;
pub mod trace;
pub mod why;

pub use report::{
    BufferReport, Demand, DeviceFailure, DeviceReport, EarlyAccess, FORMAT, Held, HolderReport,
    MAX_BUFFERS, MAX_EARLY_ACCESSES, MAX_FAILURES, MAX_MISSING_SYNCS, MAX_REFUSALS,
    MAX_SCRIPT_EVENTS, MemoryReport, MissedStep, MissingSync, Picture, QueueReport, Refusal,
    Remedy, Report, Room, Row, ScriptEvent, Setup,
};
