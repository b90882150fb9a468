//! Counters of the mapping layer's work, and of the resources that the layer holds.

/// Work done for one device since the mapper first used the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Mappings made.
    pub maps: u64,
    /// Mappings ended.
    pub unmaps: u64,
    /// Hand-overs to the device that needed cache maintenance or a bounce copy.
    pub syncs_for_device: u64,
    /// Hand-overs to the CPU that needed cache maintenance or a bounce copy.
    pub syncs_for_cpu: u64,
    /// Bytes copied into and out of the bounce pool.
    pub bytes_bounced: u64,
    /// Bytes allocated for the device now.
    pub allocated_bytes: u64,
    /// Maximum number of bytes allocated for the device at one time.
    pub peak_bytes: u64,
}

/// Resources that the layer holds now. All are zero once everything is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Allocations.
    pub allocs: u64,
    /// Bytes of allocated pages.
    pub page_bytes: u64,
    /// Bytes of I/O virtual addresses in use.
    pub iova_bytes: u64,
    /// Mappings for devices.
    pub mappings: u64,
    /// Handles of lent memory, and the handles of other memory that `Mapper::share` made.
    pub handles: u64,
    /// CPU mappings.
    pub vmaps: u64,
    /// Pinned ranges of user memory.
    pub pins: u64,
    /// Bytes of the bounce pool in use.
    pub bounce_bytes: u64,
    /// Bytes of addresses and pages that are kept out of use because a device may still reach them:
    /// the platform could not unmap them.
    pub quarantined_bytes: u64,
}

impl Live {
    /// Returns whether the layer holds no resources.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
