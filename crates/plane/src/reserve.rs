//! Memory for several planes at once, all of it or none.

use crate::{AllocArgs, MemOps, PlaneError};
use alloc::vec::Vec;
use core::fmt;

/// Error of [`reserve`]: not all requested planes fit in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Number of planes that fit in memory.
    pub fits: u32,
    /// Error of the first plane that does not fit.
    pub why: PlaneError,
}

impl Short {
    /// The Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        self.why.errno()
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fits, why } = self;
        write!(f, "memory for {fits} planes and no more: {why}")
    }
}

impl core::error::Error for Short {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.why)
    }
}

/// Allocates `count` planes for a device and places each where the device reaches it, or allocates
/// none.
///
/// Memory that would be placed at its first use is placed now, so that later allocations cannot take
/// The caller releases the planes one by one, with [`MemOps::put`].
///
/// A queue does the same for REQBUFS with `admission` in its configuration.
///
/// # Errors
/// The error of [`MemOps::alloc`] or [`MemOps::place`] for the first plane that fails (`NoMemory`,
/// ENOMEM; `Invalid`, EINVAL, for length zero), and how many fit. Nothing is held.
///
/// # Context
/// May sleep.
///
/// Source: none; videobuf2 makes as many buffers as memory allows.
pub fn reserve<M: MemOps>(
    mem: &M,
    dev: M::Device,
    count: u32,
    args: AllocArgs,
) -> Result<Vec<M::Plane>, Short> {
    let mut planes = Vec::new();
    let why = (0..count).find_map(|_| {
        if planes.try_reserve(1).is_err() {
            return Some(PlaneError::NoMemory(None));
        }
        one(mem, dev, args).map(|plane| planes.push(plane)).err()
    });
    let Some(why) = why else {
        return Ok(planes);
    };
    let fits = u32::try_from(planes.len()).unwrap_or(u32::MAX);
    planes.into_iter().for_each(|plane| mem.put(plane));
    Err(Short { fits, why })
}

fn one<M: MemOps>(mem: &M, dev: M::Device, args: AllocArgs) -> Result<M::Plane, PlaneError> {
    let mut plane = mem.alloc(dev, args)?;
    match mem.place(&mut plane) {
        Ok(()) => Ok(plane),
        Err(why) => {
            mem.put(plane);
            Err(why)
        }
    }
}
