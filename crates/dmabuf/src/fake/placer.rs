//! Who places memory lazily, for tests.

use super::{FAULT, Fake, FakeAlloc, FakeDevice};
use crate::solve::Placement;
use crate::{Placer, Spec};
use alloc::vec::Vec;
use std::sync::Mutex;
use vb3_dma::{DmaOps, Error};

/// Places memory in one run where a device without an IOMMU is among those that share it, and page
/// by page for others.
#[derive(Debug)]
pub struct FakePlacer {
    /// Whether there are runs to place memory in.
    pub has_runs: bool,
    placed: Mutex<Vec<usize>>,
}

impl FakePlacer {
    /// With runs or without.
    #[must_use]
    pub const fn new(has_runs: bool) -> Self {
        Self {
            has_runs,
            placed: Mutex::new(Vec::new()),
        }
    }
}

impl Placer<Fake> for FakePlacer {
    fn allocate(&self, ops: &Fake, spec: &Spec<FakeDevice>) -> Result<FakeAlloc, Error> {
        ops.alloc_virtual(spec.len_bytes)
    }

    fn find(
        &self,
        _: &Fake,
        len_bytes: u64,
        devices: &mut dyn Iterator<Item = FakeDevice>,
        _: bool,
    ) -> Result<Placement, Error> {
        let in_run = devices.filter(|dev| !dev.iommu).count() > 0;
        if in_run && !self.has_runs {
            return Err(Error::NoMemory(FAULT));
        }
        Ok(Placement {
            heap: usize::from(in_run),
            len_bytes,
            stride: 0,
            first: 0,
            last: u64::MAX,
        })
    }

    fn place(
        &self,
        ops: &Fake,
        alloc: &mut FakeAlloc,
        placement: &Placement,
    ) -> Result<u64, Error> {
        let state = &mut *ops.state();
        if state.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        let block = alloc.block;
        assert!(
            state.mapped.iter().all(|mapped| mapped.block != block),
            "moved while mapped"
        );
        state.blocks[block].scattered = placement.heap == 0;
        let mut placed = self.placed.lock().expect("no panic");
        if placed.contains(&block) {
            return Ok(placement.len_bytes);
        }
        placed.push(block);
        Ok(0)
    }
}
