//! The smallest sets of demands that no heap meets together, and values that would suffice.

use super::needs::{Heap, MemoryRequest, Needs, Placement};
use super::place::place;
use super::rule::{Demand, RULES, Rule, Rules, Strictest};

/// A demand that takes part in a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blamed {
    /// Index of the device.
    pub device: usize,
    /// Kind of the demand.
    pub rule: Rule,
    /// Value in the rule's unit.
    pub value: u64,
    /// The value that resolves the conflict if only this demand changes, in the rule's unit; 0 for a demand without a
    /// numeric value. `None` if the conflict remains even without this demand.
    pub enough: Option<u64>,
}

/// Returns the placement in the first heap that has room, with only the demands of `among`.
pub(super) fn first_fit(
    request: &MemoryRequest,
    all: &Strictest,
    among: Rules,
    heaps: &[Heap<'_>],
) -> Option<Placement> {
    let mut heaps = heaps.iter().enumerate();
    heaps.find_map(|heap| place(request, all, among, heap))
}

/// Finds the fewest demands that no heap can meet together, at most one of each kind; `None` if
/// [`solve`](super::solve) finds a placement.
///
/// No smaller set of demands conflicts. If the set is empty, no heap has room for the request, even if the demands are
/// ignored.
#[must_use]
pub fn conflict(
    request: &MemoryRequest,
    devices: &[Needs],
    heaps: &[Heap<'_>],
) -> Option<impl Iterator<Item = Blamed> + use<>> {
    let all = Strictest::of(devices, request, None);
    let excludes = |rules: Rules| first_fit(request, &all, rules, heaps).is_none();
    if !excludes(all.rules()) {
        return None;
    }
    // Removes each demand that the conflict does not need, one after the other. The remaining demands
    // conflict, and their number limits the search for a smaller set. That set may contain demands that
    // were removed here.
    let mut rest = all.rules();
    for rule in all.rules().iter() {
        if excludes(rest.without(rule)) {
            rest = rest.without(rule);
        }
    }
    let smallest = (0..=rest.len())
        .find_map(|len| subsets(all.rules(), len).find(|rules| excludes(*rules)))
        .unwrap_or(rest);
    let mut blamed = [None; RULES.len()];
    for (slot, rule) in blamed.iter_mut().zip(smallest.iter()) {
        let Some(demand) = all.demand(rule) else {
            continue;
        };
        let others = Strictest::of(devices, request, Some(demand));
        let placement = first_fit(request, &others, others.rules(), heaps);
        let enough = placement.map(|placement| enough(rule, request, &others, &placement));
        let Demand {
            device,
            rule,
            value,
        } = demand;
        *slot = Some(Blamed {
            device,
            rule,
            value,
            enough,
        });
    }
    Some(blamed.into_iter().flatten())
}

/// Returns the value of `rule` that would suffice for placement `at`; 0 for rules without a numeric value.
fn enough(rule: Rule, request: &MemoryRequest, others: &Strictest, at: &Placement) -> u64 {
    let demanded = |rule| others.value(rule, others.rules(), 1);
    match rule {
        Rule::First => at.first,
        Rule::Last => at.last,
        Rule::MaxSegment | Rule::SegmentCount | Rule::MinLen => at.len_bytes,
        Rule::IovaSpace => at.len_bytes.saturating_mul(u64::from(request.count)),
        Rule::Boundary => {
            let differing = at.first ^ at.last;
            u64::MAX.checked_shr(differing.leading_zeros()).unwrap_or(0)
        }
        Rule::IoBoundary => match at.len_bytes.checked_next_power_of_two() {
            Some(block) => block.saturating_sub(1),
            None => u64::MAX,
        },
        Rule::Alignment => demanded(Rule::Alignment)
            .max(demanded(Rule::Granule))
            .max(request.page_bytes),
        Rule::MaxStride => at.stride,
        Rule::StrideAlign => 1 << at.stride.trailing_zeros().min(63),
        Rule::LenAlign => 1 << at.len_bytes.trailing_zeros().min(63),
        Rule::Contiguous
        | Rule::Granule
        | Rule::Pages
        | Rule::Coherent
        | Rule::Protected
        | Rule::Unprotected => 0,
    }
}

/// Returns all sets of `len` rules from `of`.
fn subsets(of: Rules, len: u32) -> impl Iterator<Item = Rules> {
    // A bit mask selects a set: bit n stands for the n-th rule. This iterates over all masks of `len` bits.
    let end = 1u32 << of.len();
    let first = (1u32 << len) - 1;
    let following = move |bits: &u32| {
        let low = bits & bits.wrapping_neg();
        let carried = bits + low;
        let next = carried | (((bits ^ carried) >> 2).checked_div(low)?);
        (next < end).then_some(next)
    };
    core::iter::successors(Some(first), following).map(move |bits| spread(bits, of))
}

/// Returns the rules whose positions in `over` are set in `bits`.
fn spread(bits: u32, over: Rules) -> Rules {
    let picked = over.iter().zip(0u32..).filter(|(_, n)| bits >> n & 1 != 0);
    picked.fold(Rules(0), |all, (rule, _)| Rules(all.0 | 1 << rule as u8))
}
