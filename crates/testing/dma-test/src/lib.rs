//! Helpers for tests of DMA code: a simulated host, and a checker of drivers.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "fake")]
extern crate std;

pub mod check;
#[cfg(feature = "fake")]
pub mod fake;
