//! Mapping without an IOMMU, and checks of bus addresses.

use super::List;
use super::layout::{Output, Shape, one_segment_refusal, push_counted, with_whole_length};
use super::{Mapper, total_len};
use crate::{
    Constraint, DeviceInfo, DmaAddr, DmaSegment, Error, Locks, PhysAddr, Platform, Reason, Segment,
    SegmentMode,
};

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns the bus address of a physical run that the device must reach directly.
    pub(super) fn bus_run(
        &self,
        dev: P::Device,
        info: &DeviceInfo,
        segment: Segment,
    ) -> Result<DmaAddr, Error> {
        let addr = self.platform.bus_addr(dev, segment.addr);
        let behind = segment.len.saturating_sub(1);
        let last = addr.and_then(|a| a.checked_add(behind));
        let end = segment.addr.checked_add(behind);
        let hidden = |at: PhysAddr| {
            Err(Error::Unmappable(Reason::new(
                Constraint::BusWindow,
                at.get(),
                0,
            )))
        };
        match (addr, last) {
            (None, _) => hidden(segment.addr),
            (Some(addr), Some(last)) if last.get() <= info.limits.mask => match end {
                // The run may begin in memory that the device reaches, and end in memory that it does not.
                Some(end) if self.platform.bus_addr(dev, end) != Some(last) => hidden(end),
                _ => Ok(addr),
            },
            (_, last) => Err(Error::Unmappable(Reason::new(
                Constraint::Mask,
                last.map_or(u64::MAX, DmaAddr::get),
                info.limits.mask,
            ))),
        }
    }

    /// Checks that an address has the alignment that the device needs.
    pub(super) fn check_align(&self, dev: P::Device, addr: DmaAddr) -> Result<(), Error> {
        let align = self.platform.min_address_align(dev);
        if align <= 1 || addr.is_aligned(align) {
            return Ok(());
        }
        Err(Error::Unmappable(Reason::new(
            Constraint::Alignment,
            align,
            1 << addr.get().trailing_zeros(),
        )))
    }

    /// Checks an allocation's run against the device's alignment.
    /// If the device takes only one segment, also checks the run against the device's limits.
    pub(super) fn check_one_address(
        &self,
        dev: P::Device,
        info: &DeviceInfo,
        addr: DmaAddr,
        len: u64,
    ) -> Result<(), Error> {
        self.check_align(dev, addr)?;
        match one_segment_refusal(&info.limits, None, addr, len) {
            Some(reason) => Err(Error::Unmappable(reason)),
            None => Ok(()),
        }
    }

    /// Returns the alignment in bytes that the device and its limits require for a run of `len` bytes.
    pub(super) fn placing(&self, dev: P::Device, info: &DeviceInfo, len: u64) -> u64 {
        let own = self.platform.min_address_align(dev);
        own.max(info.limits.block_align(len))
    }

    /// Maps physical runs at their own bus addresses.
    pub(super) fn map_direct(
        &self,
        dev: P::Device,
        info: &DeviceInfo,
        targets: &[Segment],
        shape: Shape,
    ) -> Result<List<DmaSegment>, Error> {
        let list = self
            .list_direct(dev, info, targets, shape)
            .map_err(|err| with_whole_length(err, targets))?;
        if let Some(first) = list.first() {
            self.check_align(dev, first.addr)?;
        }
        Ok(list)
    }

    fn list_direct(
        &self,
        dev: P::Device,
        info: &DeviceInfo,
        targets: &[Segment],
        shape: Shape,
    ) -> Result<List<DmaSegment>, Error> {
        if shape.mode == SegmentMode::Compatible && !shape.one_run {
            // Each run becomes a separate segment, of any length.
            let mut list = List::new();
            for &segment in targets {
                let addr = self.bus_run(dev, info, segment)?;
                push_counted(&mut list, &info.limits, addr, segment.len)?;
            }
            return Ok(list);
        }
        let mut output = Output::new(info.limits);
        let (mut end, mut total) = (None, 0u64);
        for &segment in targets {
            let addr = self.bus_run(dev, info, segment)?;
            if shape.one_run && end.is_some_and(|end| end != Some(addr)) {
                return Err(Error::Unmappable(Reason::new(
                    Constraint::Contiguous,
                    total_len(targets)?,
                    total,
                )));
            }
            output.push(addr, segment.len)?;
            end = Some(addr.checked_add(segment.len));
            total = total.saturating_add(segment.len);
        }
        Ok(output.finish())
    }
}
