//! Mapping without an IOMMU, and checks of bus addresses.

use super::List;
use super::layout::{Output, check_one_segment, push_counted, with_whole_length};
use super::{Facts, Mapper, Wanted, total_len};
use crate::{
    Constraint, DmaAddr, DmaSegment, Error, Locks, Platform, Reason, Segment, SegmentMode,
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
        let behind = segment.len.checked_sub(1).ok_or(Error::Invalid)?;
        segment.addr.checked_add(behind).ok_or(Error::Invalid)?;
        let reason = match self.platform.bus_addr(dev, segment.addr, segment.len) {
            Some(addr) => match addr.checked_add(behind).map_or(u64::MAX, DmaAddr::get) {
                last if last <= mask => return Ok(addr),
                last => Reason::new(Constraint::Mask, last, mask),
            },
            None => Reason::new(Constraint::BusWindow, self.first_hidden(dev, segment), 0),
        };
        Err(Error::Unmappable(reason))
    }

    /// Returns the address of the first byte that does not follow the run's earlier bytes on the device's bus.
    fn first_hidden(&self, dev: P::Device, segment: Segment) -> u64 {
        // The device sees the first `seen` bytes as one run, but not the first `unseen` bytes.
        let (mut seen, mut unseen) = (0, segment.len);
        while unseen - seen > 1 {
            let len = seen + (unseen - seen) / 2;
            match self.platform.bus_addr(dev, segment.addr, len) {
                Some(_) => seen = len,
                None => unseen = len,
            }
        }
        segment.addr.get().saturating_add(seen)
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
