//! Simulates the stack (`run` and the crates below it) from a seed, in one thread, without a front end.
//!
//! A seed determines a machine, devices, programs and faults ([`Plan`]), and a list of steps. Each step is
//! one call of a program, or an event that no program causes. After each step, [`simulate`] compares the
//! result with a reference model. At the end it stops all faults, expects frames from every device, closes
//! all files, and expects that the stack holds no resource any more.
//!
//! ```
//! let plan = vb3_seeds::Plan::of(7);
//! let outcome = vb3_seeds::simulate(&plan, true);
//! assert_eq!(outcome.failure, None);
//! assert_eq!(outcome.trace, vb3_seeds::simulate(&plan, true).trace);
//! ```
#![forbid(unsafe_code)]

mod api;
mod cards;
mod codecs;
mod ending;
mod events;
mod heaps;
mod memory;
mod model;
mod moves;
mod pixels;
mod plan;
mod process;
mod requests;
mod run;
mod screen;
mod shrink;
mod slices;
mod steps;
#[cfg(test)]
mod tests;

pub use plan::{Pace, Plan};
pub use run::{Counts, SimOutcome, simulate};
pub use shrink::shrink;
