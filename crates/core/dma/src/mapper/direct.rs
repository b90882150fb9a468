//! Mapping without an IOMMU, and checks of bus addresses.

use super::List;
use super::layout::{Output, check_one_segment, push_counted, with_whole_length};
use super::{Facts, Mapper, Wanted, total_len};
use crate::{
    Constraint, DmaAddr, DmaSegment, Error, Locks, PhysAddr, Platform, Reason, Segment, SegmentMode,
};

impl<D> Facts<D> {
    /// Checks that an address has the alignment that the device needs.
    pub(super) fn check_align(&self, addr: DmaAddr) -> Result<(), Error> {
        if self.align <= 1 || addr.is_aligned(self.align) {
            return Ok(());
        }
        let found = 1 << addr.get().trailing_zeros();
        let reason = Reason::new(Constraint::Alignment, self.align, found);
        Err(Error::Unmappable(reason))
    }

    /// Checks an allocation's run against the device's alignment.
    /// If the device takes only one segment, also checks the run against the device's limits.
    pub(super) fn check_one_address(&self, addr: DmaAddr, len: u64) -> Result<(), Error> {
        self.check_align(addr)?;
        check_one_segment(&self.info.limits, None, addr, len)
    }

    /// Returns the alignment in bytes that the device and its limits require for a run of `len` bytes.
    pub(super) fn placing(&self, len: u64) -> u64 {
        self.align.max(self.info.limits.block_align(len))
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns the bus address of a physical run that the device must reach directly.
    pub(super) fn bus_run(
        &self,
        facts: &Facts<P::Device>,
        segment: Segment,
    ) -> Result<DmaAddr, Error> {
        let (dev, mask) = (facts.at.dev, facts.info.limits.mask);
        let addr = self.platform.bus_addr(dev, segment.addr);
        let behind = segment.len.saturating_sub(1);
        let last = addr.and_then(|a| a.checked_add(behind));
        let end = segment.addr.checked_add(behind);
        let hidden = |at: PhysAddr| Reason::new(Constraint::BusWindow, at.get(), 0);
        let reason = match (addr, last) {
            (None, _) => hidden(segment.addr),
            (Some(addr), Some(last)) if last.get() <= mask => match end {
                // The run may begin in memory that the device reaches, and end in memory that it does not.
                Some(end) if self.platform.bus_addr(dev, end) != Some(last) => hidden(end),
                _ => return Ok(addr),
            },
            (_, last) => {
                let last = last.map_or(u64::MAX, DmaAddr::get);
                Reason::new(Constraint::Mask, last, mask)
            }
        };
        Err(Error::Unmappable(reason))
    }

    /// Maps physical runs at their own bus addresses.
    pub(super) fn map_direct(
        &self,
        facts: &Facts<P::Device>,
        targets: &[Segment],
        (wanted, mode): (Wanted, SegmentMode),
    ) -> Result<List<DmaSegment>, Error> {
        let list = self
            .list_direct(facts, targets, (wanted.one_run(), mode))
            .map_err(|err| with_whole_length(err, targets))?;
        if let Some(first) = list.first() {
            facts.check_align(first.addr)?;
        }
        Ok(list)
    }

    fn list_direct(
        &self,
        facts: &Facts<P::Device>,
        targets: &[Segment],
        (one_run, mode): (bool, SegmentMode),
    ) -> Result<List<DmaSegment>, Error> {
        let mut output = Output::new(mode, facts.info.limits);
        let (mut end, mut total) = (None, 0u64);
        for &segment in targets {
            let addr = self.bus_run(facts, segment)?;
            if one_run && end.is_some_and(|end| end != Some(addr)) {
                let reason = Reason::new(Constraint::Contiguous, total_len(targets)?, total);
                return Err(Error::Unmappable(reason));
            }
            if mode == SegmentMode::Compatible && !one_run {
                // Each run becomes a separate segment, of any length.
                let limits = &facts.info.limits;
                push_counted(&mut output.segments, limits, addr, segment.len)?;
            } else {
                output.push(addr, segment.len)?;
            }
            end = Some(addr.checked_add(segment.len));
            total = total.saturating_add(segment.len);
        }
        Ok(output.segments)
    }
}
