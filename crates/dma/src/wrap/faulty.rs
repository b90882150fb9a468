//! The wrapper that fails.

use crate::{
    Attrs, Caching, Coherency, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Reason,
    SyncFor,
};

/// Which of the calls that may fail do fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// None.
    #[default]
    Off,
    /// The n-th from now, counted from zero; no other.
    Nth(u64),
    /// Each with this probability, in millionths.
    Random {
        /// Failures in a million calls.
        per_million: u32,
        /// The seed of the dice. The same one makes the same calls fail.
        seed: u64,
    },
}

/// Makes calls fail with `NoMemory`, before they reach the layer below.
#[derive(Debug)]
pub struct Faulty<O> {
    ops: O,
    faults: Faults,
    dice: u64,
    calls: u64,
    hits: u64,
}

impl<O> Faulty<O> {
    /// Fails nothing, until [`set_faults`](Self::set_faults).
    pub const fn new(ops: O) -> Self {
        Self {
            ops,
            faults: Faults::Off,
            dice: 0,
            calls: 0,
            hits: 0,
        }
    }

    /// Sets which calls fail, and starts counting anew.
    pub fn set_faults(&mut self, faults: Faults) {
        self.dice = match faults {
            Faults::Random { seed, .. } => seed,
            Faults::Off | Faults::Nth(_) => 0,
        };
        (self.faults, self.calls, self.hits) = (faults, 0, 0);
    }

    /// Calls that could have failed since then.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Calls that were made to fail since then.
    pub const fn hits(&self) -> u64 {
        self.hits
    }

    /// The layer below.
    pub const fn inner(&self) -> &O {
        &self.ops
    }

    /// The layer below, to be changed.
    pub const fn inner_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// Gives the layer below back.
    pub fn into_inner(self) -> O {
        self.ops
    }

    /// The next number of the dice (splitmix64).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn check(&mut self) -> Result<(), Error> {
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        let fails = match self.faults {
            Faults::Off => false,
            Faults::Nth(n) => n == call,
            Faults::Random { per_million, .. } => self.roll() % 1_000_000 < u64::from(per_million),
        };
        if !fails {
            return Ok(());
        }
        self.hits = self.hits.saturating_add(1);
        Err(Error::NoMemory(Reason {
            constraint: Constraint::InjectedFault,
            wanted: call,
            found: 0,
        }))
    }
}

impl<O: DmaOps> DmaOps for Faulty<O> {
    type Device = O::Device;
    type User = O::User;
    type Alloc = O::Alloc;
    type Table = O::Table;
    type Mapping = O::Mapping;
    type Vmap = O::Vmap;
    type Mmap = O::Mmap;

    fn page_size(&self) -> u64 {
        self.ops.page_size()
    }

    fn cache_alignment(&self, dev: Self::Device) -> u64 {
        self.ops.cache_alignment(dev)
    }

    fn coherency(&self, dev: Self::Device) -> Coherency {
        self.ops.coherency(dev)
    }

    fn alloc_coherent(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        self.check()?;
        self.ops.alloc_coherent(dev, len_bytes, attrs)
    }

    fn alloc_noncontiguous(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        self.check()?;
        self.ops
            .alloc_noncontiguous(dev, len_bytes, direction, attrs)
    }

    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        self.check()?;
        self.ops.alloc_virtual(len_bytes)
    }

    fn free(&mut self, alloc: Self::Alloc) {
        self.ops.free(alloc);
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        self.ops.alloc_dma_addr(alloc)
    }

    fn sync_alloc(&mut self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        self.ops.sync_alloc(alloc, direction, sync)
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        self.ops.alloc_caching(alloc)
    }

    fn table_of(&mut self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        self.check()?;
        self.ops.table_of(alloc)
    }

    fn pin_user(
        &mut self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        self.check()?;
        self.ops.pin_user(user, addr, len_bytes, direction)
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        self.ops.is_current(table, user, addr)
    }

    fn free_table(&mut self, table: Self::Table, device_wrote: bool) {
        self.ops.free_table(table, device_wrote);
    }

    fn table_len(&self, table: &Self::Table) -> u64 {
        self.ops.table_len(table)
    }

    fn map(
        &mut self,
        dev: Self::Device,
        table: &Self::Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        self.check()?;
        self.ops.map(dev, table, direction, attrs)
    }

    fn unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) {
        self.ops.unmap(mapping, attrs);
    }

    fn sync(&mut self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        self.ops.sync(mapping, direction, sync)
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        self.ops.segment(mapping, index)
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        self.ops.bounces(mapping)
    }

    fn vmap_alloc(&mut self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        self.check()?;
        self.ops.vmap_alloc(alloc)
    }

    fn vmap_table(&mut self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        self.check()?;
        self.ops.vmap_table(table)
    }

    fn vunmap(&mut self, vmap: Self::Vmap) {
        self.ops.vunmap(vmap);
    }

    fn vmap_read(&mut self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.check()?;
        self.ops.vmap_read(vmap, offset, out)
    }

    fn vmap_write(&mut self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check()?;
        self.ops.vmap_write(vmap, offset, data)
    }

    fn mmap(
        &mut self,
        alloc: &Self::Alloc,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        self.check()?;
        self.ops.mmap(alloc, offset, len_bytes)
    }
}
