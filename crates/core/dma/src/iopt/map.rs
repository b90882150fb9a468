//! Mapping of address ranges in a page table.

use super::entry::{ENTRY_SHIFT, Entry};
use super::layout::{Geometry, MAX_LEVELS};
use super::table::{Chain, PageTable, Path, TableMemory, nth};
use crate::{Constraint, DmaAddr, Error, PhysAddr, Prot, Reason};

/// A range to map, with its entries' attributes.
#[derive(Clone, Copy)]
struct MapRange {
    iova: u64,
    phys: u64,
    len: u64,
    attributes: u64,
}

impl MapRange {
    /// Returns the rest after the first `done` bytes.
    const fn after(&self, done: u64) -> Self {
        Self {
            iova: self.iova + done,
            phys: self.phys + done,
            len: self.len - done,
            ..*self
        }
    }
}

/// The entries that map the first part of a request.
struct FirstPart {
    path: Path,
    /// Height of the part's entries; less than the path's height if tables on the way are missing.
    height: u32,
    /// Number of entries in the part.
    run: u64,
}

/// Counts the missing tables of a request, each once.
pub(super) struct Missing {
    /// For each height, the address bits that select the missing table which was counted last.
    last: [u64; MAX_LEVELS],
    pub(super) count: u64,
}

impl Missing {
    pub(super) const NONE: Self = Self {
        last: [u64::MAX; MAX_LEVELS],
        count: 0,
    };

    /// Counts the tables at `heights` on the path to `iova`.
    pub(super) fn add(&mut self, geo: &Geometry, iova: u64, heights: impl Iterator<Item = u32>) {
        for height in heights {
            let prefix = iova >> geo.shift(height + 1);
            if let Some(last) = self.last.get_mut(height as usize) {
                if *last != prefix {
                    *last = prefix;
                    self.count += 1;
                }
            }
        }
    }
}

impl PageTable {
    /// Maps `len` bytes at `iova` to `phys`, with the largest blocks that fit both addresses.
    ///
    /// The call does not merge the range with an adjacent mapping.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) unless addresses and length are whole granules, the addresses fit the
    /// format, nothing is mapped in the range, and `prot` allows an access. `Unmappable` (EIO) for
    /// physical addresses beyond the format. The error of `mem` if it has no more tables. An error
    /// changes nothing.
    pub fn map(
        &mut self,
        mem: &mut impl TableMemory,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.check_range(iova, len)?;
        if !phys.is_aligned(self.geometry.granule()) || !prot.intersects(Prot::READ | Prot::WRITE) {
            return Err(Error::Invalid);
        }
        let reach = (1u64 << self.geometry.output_bits) - 1;
        match phys.get().checked_add(len - 1) {
            Some(last) if last <= reach => {}
            last => {
                let reason = Reason::new(Constraint::Mask, last.unwrap_or(u64::MAX), reach);
                return Err(Error::Unmappable(reason));
            }
        }
        let request = MapRange {
            iova: iova.get(),
            phys: phys.get(),
            len,
            attributes: self.geometry.attributes_for(prot),
        };
        // Most requests fit one table that exists already.
        let place = self.place(mem, &request)?;
        if place.path.height == place.height && self.bytes(&place) == len {
            self.fill(mem, &place, &request);
            return Ok(());
        }
        self.map_any(mem, &request)
    }

    /// Maps, as [`map`](Self::map), a request that spans several tables or needs tables that do not exist yet.
    #[inline(never)]
    fn map_any(&mut self, mem: &mut impl TableMemory, request: &MapRange) -> Result<(), Error> {
        let missing = self.survey(mem, request)?;
        let mut spare = self.take_tables(mem, missing)?;
        self.enter(mem, request, &mut spare)
    }

    /// Returns the number of bytes that a part maps.
    fn bytes(&self, place: &FirstPart) -> u64 {
        place.run << self.geometry.shift(place.height)
    }

    /// Returns the entries for the first part of a request. Fails if something is mapped there.
    fn place(&self, mem: &impl TableMemory, request: &MapRange) -> Result<FirstPart, Error> {
        let geo = &self.geometry;
        let height = geo.leaf_height(request.iova, request.phys, request.len);
        let path = self.descend(mem, request.iova, height);
        if geo.decode(path.height, path.entry) != Entry::Empty {
            // No table is empty, so a table in place of a block means that part of the range is mapped.
            return Err(Error::Invalid);
        }
        let mut run = geo.run(request.iova, height, request.len);
        if path.height == height {
            run = self.empty_run(mem, path.end(), run);
        }
        Ok(FirstPart { path, height, run })
    }

    /// Returns the number of empty entries from `at` on, at most `most`. The caller has checked that the
    /// first is empty.
    fn empty_run(&self, mem: &impl TableMemory, at: PhysAddr, most: u64) -> u64 {
        let is_empty = |entry| self.geometry.is_empty(entry);
        1 + mem.read_while(nth(at, 1), most.saturating_sub(1), is_empty)
    }

    /// Fails if anything is mapped in the range. Returns how many tables are missing.
    fn survey(&self, mem: &impl TableMemory, request: &MapRange) -> Result<u64, Error> {
        let mut missing = Missing::NONE;
        let mut done = 0u64;
        while done < request.len {
            let rest = request.after(done);
            let place = self.place(mem, &rest)?;
            missing.add(&self.geometry, rest.iova, place.height..place.path.height);
            done += self.bytes(&place);
        }
        Ok(missing.count)
    }

    /// Maps a request that `survey` has checked. `spare` has as many tables as `survey` found missing.
    fn enter(
        &mut self,
        mem: &mut impl TableMemory,
        request: &MapRange,
        spare: &mut Chain,
    ) -> Result<(), Error> {
        let mut done = 0u64;
        while done < request.len {
            let rest = request.after(done);
            let place = self.place(mem, &rest)?;
            if place.path.height > place.height {
                let table = spare.pop(mem).ok_or(Error::Invalid)?;
                let at = place.path.end();
                mem.write_entry(at, self.geometry.table(table));
                mem.publish(at, 8);
                self.tables += 1;
                self.recount(mem, &place.path, place.path.height, |count| count + 1);
            } else {
                self.fill(mem, &place, &rest);
                done += self.bytes(&place);
            }
        }
        Ok(())
    }

    /// Writes the entries of a part whose table exists.
    fn fill(&mut self, mem: &mut impl TableMemory, place: &FirstPart, request: &MapRange) {
        let geo = self.geometry;
        let first = place.path.end();
        let mut phys = request.phys;
        mem.write_each(first, place.run, || {
            let leaf = geo.leaf(place.height, phys, request.attributes);
            // No overflow: output addresses have at most 52 bits.
            phys = phys.wrapping_add(geo.size(place.height));
            leaf
        });
        mem.publish(first, place.run << ENTRY_SHIFT);
        self.recount(mem, &place.path, place.height, |count| count + place.run);
        self.leaves += place.run;
    }
}
