//! Tests of machines through the mapping layer.

mod common;
mod copy;
mod disturbed;
mod faults;
mod granule;
mod host_spans;
mod in_place;
mod iommu_bytes;
mod iommus;
mod mapping;
mod memory;
mod one_segment;
mod own_memory;
mod pages;
mod placed;
mod sharing;
mod windows;
mod wrap;
