//! The kinds of demand, and the strictest demand of each kind.

use super::needs::{MemoryRequest, Needs};
use core::cmp::Ordering::{self, Greater, Less};
use vb3_dma::{Constraint, Protected};

/// A kind of demand. Of two different values of one kind, one is always stricter. Kinds with (1) have only
/// the value 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rule {
    /// Lowest physical address.
    First,
    /// Highest physical address.
    Last,
    /// One physical run (1).
    Contiguous,
    /// Maximum bytes of a buffer that must be one segment.
    MaxSegment,
    /// Boundary mask that the physical addresses of a buffer do not cross.
    Boundary,
    /// Boundary mask that the I/O addresses of a buffer do not cross.
    IoBoundary,
    /// Required alignment of a physical address, in bytes.
    Alignment,
    /// Bytes of an IOMMU's page. Memory must consist of whole pages.
    Granule,
    /// Maximum bytes of all buffers together: the free I/O addresses.
    IovaSpace,
    /// Maximum bytes that the segments can hold in any layout.
    SegmentCount,
    /// Struct pages behind the memory (1).
    Pages,
    /// The same bytes for CPU and device without a sync (1).
    Coherent,
    /// Protected memory (1).
    Protected,
    /// Memory that is not protected (1).
    Unprotected,
    /// Required alignment of a line's length, in bytes.
    StrideAlign,
    /// Maximum bytes of a line.
    MaxStride,
    /// Minimum bytes of a buffer.
    MinLen,
    /// Required alignment of a buffer's length, in bytes.
    LenAlign,
}

/// All kinds of demand in their order, with a short name, and whether the smaller or the greater of two values is
/// stricter. The name equals that of the matching [`Constraint`] if there is one.
pub(super) const RULES: [(Rule, &str, Ordering); 18] = [
    (Rule::First, "first-address", Greater),
    (Rule::Last, Constraint::Mask.name(), Less),
    (Rule::Contiguous, Constraint::Contiguous.name(), Greater),
    (Rule::MaxSegment, Constraint::MaxSegment.name(), Less),
    (Rule::Boundary, Constraint::Boundary.name(), Less),
    (Rule::IoBoundary, Constraint::Boundary.name(), Less),
    (Rule::Alignment, Constraint::Alignment.name(), Greater),
    (Rule::Granule, Constraint::IommuGranule.name(), Greater),
    (Rule::IovaSpace, Constraint::IovaSpace.name(), Less),
    (Rule::SegmentCount, Constraint::SegmentCount.name(), Less),
    (Rule::Pages, Constraint::PagesBehind.name(), Greater),
    (Rule::Coherent, Constraint::Coherent.name(), Greater),
    (Rule::Protected, Constraint::Protected.name(), Greater),
    (Rule::Unprotected, Constraint::Unprotected.name(), Greater),
    (Rule::StrideAlign, "stride", Greater),
    (Rule::MaxStride, "max-stride", Less),
    (Rule::MinLen, Constraint::BufferSize.name(), Greater),
    (Rule::LenAlign, "size-align", Greater),
];

impl Rule {
    /// Returns a short stable name for reports. Equals the name of the matching [`Constraint`] if
    /// there is one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        RULES[self as usize].1
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Returns a device's demand of this kind; `None` if any memory suits it.
    fn of(self, needs: &Needs, page_bytes: u64) -> Option<u64> {
        let limits = &needs.limits;
        let direct = needs.iommu.is_none();
        let one = limits.max_segments == 1;
        let flag = |is_due: bool| is_due.then_some(1);
        let below = |value: u64, any: u64| (value < any).then_some(value);
        let above = |value: u64, any: u64| (value > any).then_some(value);
        match self {
            Self::First => above(needs.reach().0, 0),
            Self::Last => below(needs.reach().1, u64::MAX),
            Self::Contiguous if direct => flag(needs.one_run || one),
            Self::Boundary if direct && one => below(limits.boundary, u64::MAX),
            Self::IoBoundary if !direct && one => below(limits.boundary, u64::MAX),
            Self::Alignment if direct => above(needs.align, 1),
            Self::MaxSegment if one => below(limits.max_segment, u64::MAX),
            Self::SegmentCount if !one => {
                let in_pieces = direct && !needs.one_run;
                below(longest(limits, page_bytes, in_pieces), u64::MAX)
            }
            Self::Granule => above(needs.iommu?.granule, page_bytes),
            Self::IovaSpace => Some(needs.iommu?.free_bytes),
            Self::Pages => flag(needs.pages),
            Self::Coherent => flag(needs.coherent && !needs.snoops),
            Self::Protected => flag(needs.protection == Protected::Only),
            Self::Unprotected => flag(needs.protection == Protected::Never),
            Self::StrideAlign => above(needs.stride_align, 1),
            Self::MaxStride => below(needs.max_stride, u64::MAX),
            Self::MinLen => above(needs.min_len, 0),
            Self::LenAlign => above(needs.len_align, 1),
            _ => None,
        }
    }
}

/// Returns the maximum bytes that a device with several segments accepts in any layout: as one run
/// that starts at a page, or as single pages if `in_pieces`.
pub(super) fn longest(limits: &vb3_dma::Limits, page_bytes: u64, in_pieces: bool) -> u64 {
    let count = u64::from(limits.max_segments);
    if limits.max_segments == u32::MAX {
        return u64::MAX;
    }
    let block = limits.boundary.saturating_add(1).max(1);
    let segment = limits.max_segment.max(1);
    let in_page = page_bytes.min(block);
    let of_page = in_page
        .div_ceil(segment)
        .saturating_mul(page_bytes.div_ceil(in_page.max(1)));
    let by_page = (count / of_page.max(1)).saturating_mul(page_bytes);
    if in_pieces {
        return by_page;
    }
    if limits.boundary == u64::MAX {
        return count.saturating_mul(segment);
    }
    // Each block needs `each` segments. One block is subtracted, because the run may begin and end within a
    // block.
    let each = block.div_ceil(segment).max(1);
    let blocks = (count / each).saturating_sub(1);
    by_page.max(blocks.saturating_mul(block))
}

/// A demand of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// Index of the device.
    pub(super) device: usize,
    /// Kind of the demand.
    pub(super) rule: Rule,
    /// Value in the rule's unit.
    pub(super) value: u64,
}

/// A set of kinds of demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules(pub(super) u32);

impl Rules {
    pub(super) const fn has(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }

    pub(super) const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !rule.bit())
    }

    pub(super) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Rule> {
        let all = RULES.into_iter().map(|(rule, ..)| rule);
        all.filter(move |rule| self.has(*rule))
    }
}

/// The strictest demand of each kind. Memory that meets it also meets the others of that kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictest([Option<Demand>; RULES.len()]);

impl Strictest {
    /// Returns the strictest demands of devices, ignoring one demand.
    pub(super) fn of(devices: &[Needs], request: &MemoryRequest, but: Option<Demand>) -> Self {
        let mut all = Self([None; RULES.len()]);
        for (device, needs) in devices.iter().enumerate() {
            for ((rule, _, stricter), slot) in RULES.into_iter().zip(&mut all.0) {
                let Some(value) = rule.of(needs, request.page_bytes) else {
                    continue;
                };
                let is_left_out = but.is_some_and(|but| (but.device, but.rule) == (device, rule));
                let is_stricter = slot.is_none_or(|known| value.cmp(&known.value) == stricter);
                if is_stricter && !is_left_out {
                    *slot = Some(Demand {
                        device,
                        rule,
                        value,
                    });
                }
            }
        }
        all
    }

    /// Returns the kinds with a demand.
    pub(super) fn rules(&self) -> Rules {
        let bits = self.0.iter().flatten().map(|demand| demand.rule.bit());
        Rules(bits.fold(0, |all, bit| all | bit))
    }

    pub(super) fn demand(&self, rule: Rule) -> Option<Demand> {
        *self.0.get(rule as usize)?
    }

    /// Returns the value of a rule if `among` contains it and a device demands it; otherwise
    /// `otherwise`.
    pub(super) fn value(&self, rule: Rule, among: Rules, otherwise: u64) -> u64 {
        match self.demand(rule) {
            Some(demand) if among.has(rule) => demand.value,
            _ => otherwise,
        }
    }
}
