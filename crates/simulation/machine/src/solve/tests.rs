//! Compares the solver with a search through all layouts and places of small machines.

use super::rule::{RULES, longest};
use super::*;
use proptest::prelude::*;
use std::env;
use vb3_dma::{Limits, Protected};

const PAGE: u64 = 4;
const END: u64 = 96;

/// A heap that owns its runs.
#[derive(Clone, Debug)]
struct OwnHeap {
    piece: Option<u64>,
    free: Vec<Run>,
    directed: bool,
    align: u64,
    cached: bool,
    pages: bool,
    protected: bool,
}

impl OwnHeap {
    fn view(&self) -> Heap<'_> {
        Heap {
            piece: self.piece,
            free: &self.free,
            directed: self.directed,
            align: self.align,
            cached: self.cached,
            pages: self.pages,
            protected: self.protected,
        }
    }
}

/// Devices, each with a bit set of its demands that count.
type Counted<'a> = [(&'a Needs, u32)];

fn counts(set: u32, rule: Rule) -> bool {
    set >> (rule as u32) & 1 != 0
}

/// Returns whether a length and a stride suit the devices, apart from the address.
fn suits_layout(request: &MemoryRequest, all: &Counted<'_>, len: u64, stride: u64) -> bool {
    all.iter().all(|(needs, set)| {
        let limits = &needs.limits;
        let has = |rule| counts(*set, rule);
        let one = limits.max_segments == 1;
        let picture = request.line_bytes == 0
            || ((!has(Rule::StrideAlign) || stride % needs.stride_align == 0)
                && (!has(Rule::MaxStride) || stride <= needs.max_stride));
        let granule = needs.iommu.map_or(1, |iommu| iommu.granule);
        let free = needs.iommu.map_or(u64::MAX, |iommu| iommu.free_bytes);
        let pieces = needs.iommu.is_none() && !needs.one_run;
        picture
            && (!has(Rule::MinLen) || len >= needs.min_len)
            && (!has(Rule::LenAlign) || len % needs.len_align == 0)
            && (!has(Rule::Granule) || len % granule == 0)
            && (!has(Rule::IovaSpace) || len * u64::from(request.count) <= free)
            && (!has(Rule::MaxSegment) || !one || len <= limits.max_segment)
            && (!has(Rule::IoBoundary) || len - 1 <= limits.boundary)
            && (!has(Rule::Boundary) || len - 1 <= limits.boundary)
            && (!has(Rule::SegmentCount) || len <= longest(limits, PAGE, pieces))
    })
}

/// Returns whether `len` bytes at an address suit the devices.
fn suits_place(all: &Counted<'_>, at: u64, len: u64) -> bool {
    all.iter().all(|(needs, set)| {
        let has = |rule| counts(*set, rule);
        let bus = |addr: u64| i128::from(addr) + i128::from(needs.offset);
        let (first, last) = (bus(at), bus(at + len - 1));
        let block = i128::from(needs.limits.boundary) + 1;
        let granule = needs.iommu.map_or(1, |iommu| iommu.granule);
        let mask = match needs.limits.mask {
            u64::MAX => i128::MAX,
            mask => i128::from(mask),
        };
        (!has(Rule::First) || first >= i128::from(needs.first))
            && (!has(Rule::Last) || last <= mask)
            && (!has(Rule::Alignment) || first % i128::from(needs.align) == 0)
            && (!has(Rule::Granule) || at % granule == 0)
            && (!has(Rule::Boundary) || first.div_euclid(block) == last.div_euclid(block))
    })
}

fn suits_heap(all: &Counted<'_>, heap: &OwnHeap) -> bool {
    all.iter().all(|(_, set)| {
        let has = |rule| counts(*set, rule);
        (!has(Rule::Protected) || heap.protected)
            && (!has(Rule::Unprotected) || !heap.protected)
            && (!has(Rule::Coherent) || !heap.cached)
            && (!has(Rule::Pages) || heap.pages)
    })
}

/// Returns whether `count` ranges of `taken` bytes fit at some of the addresses, without overlaps.
fn pack(places: &[u64], taken: u64, count: u32) -> bool {
    let Some(count) = count.checked_sub(1) else {
        return true;
    };
    (0..places.len()).any(|n| {
        let rest: Vec<u64> = places[n + 1..]
            .iter()
            .copied()
            .filter(|at| *at >= places[n] + taken)
            .collect();
        pack(&rest, taken, count)
    })
}

/// Keeps only the demands of the given kinds.
fn with_only<'a>(all: &Counted<'a>, rules: &[Rule]) -> Vec<(&'a Needs, u32)> {
    let kept = rules.iter().fold(0, |all, rule| all | 1 << *rule as u32);
    all.iter()
        .map(|(needs, set)| (*needs, set & kept))
        .collect()
}

/// Returns all multiples of `step` with `len` free bytes after them.
fn places(heap: &OwnHeap, len: u64, step: u64) -> Vec<u64> {
    let is_free = |at: u64| {
        let mut runs = heap.free.iter();
        runs.any(|run| at >= run.first && at + len <= run.first + run.len)
    };
    (0..END)
        .filter(|at| at % step == 0 && is_free(*at))
        .collect()
}

/// Returns whether a heap has room for buffers of a length.
fn has_room(request: &MemoryRequest, all: &Counted<'_>, heap: &OwnHeap, len: u64) -> bool {
    if !heap.directed {
        // The heap may give any of its bytes.
        let mut free = heap
            .free
            .iter()
            .flat_map(|run| run.first..run.first + run.len);
        let reach = with_only(all, &[Rule::First, Rule::Last]);
        if !free.all(|at| suits_place(&reach, at, 1)) {
            return false;
        }
    }
    let choose = |places: Vec<u64>, taken| {
        // If a piece is longer than the buffer, all of the piece must be within reach.
        let reach = with_only(all, &[Rule::First, Rule::Last]);
        let good = |at: &u64| suits_place(all, *at, len) && suits_place(&reach, *at, taken);
        let places: Vec<u64> = places.into_iter().filter(good).collect();
        pack(&places, taken, request.count)
    };
    match heap.piece {
        None if heap.directed => choose(places(heap, len, PAGE), len),
        None => {
            let given = heap.align.max(PAGE);
            // The buffer may lie anywhere in a run, however far the run extends beyond it.
            let suits = all.iter().all(|(needs, set)| {
                let granule = needs.iommu.map_or(1, |iommu| iommu.granule);
                let block = needs.limits.boundary.wrapping_add(1);
                let crosses = |run: &Run| {
                    run.first / block != (run.first + run.len - 1) / block && len > given
                };
                (!counts(*set, Rule::Alignment) || given % needs.align == 0)
                    && (!counts(*set, Rule::Granule) || given % granule == 0)
                    && !(counts(*set, Rule::Boundary) && heap.free.iter().any(crosses))
            });
            suits && choose(places(heap, len, given), len)
        }
        // A device may see pieces in any order, so each piece must suit at any position.
        Some(piece) => {
            let alignment = all.iter().all(|(needs, set)| {
                let granule = needs.iommu.map_or(1, |iommu| iommu.granule);
                (!counts(*set, Rule::Alignment) || needs.align <= piece)
                    && (!counts(*set, Rule::Granule) || granule <= piece)
            });
            if !alignment {
                return false;
            }
            let all_places = places(heap, piece, piece);
            if len <= piece {
                return choose(all_places, piece);
            }
            let scattered = all.iter().all(|(_, set)| !counts(*set, Rule::Contiguous));
            let blocks = all.iter().all(|(needs, set)| {
                !counts(*set, Rule::Boundary) || piece - 1 <= needs.limits.boundary
            });
            let good = |at: &&u64| suits_place(all, **at, piece);
            let enough = len.div_ceil(piece) * u64::from(request.count);
            let found = all_places.iter().filter(good).count();
            scattered && blocks && found as u64 >= enough
        }
    }
}

/// Returns the first and the last byte of all places that suit in a directed contiguous heap.
fn extent(all: &Counted<'_>, heap: &OwnHeap, len: u64) -> Option<(u64, u64)> {
    if !heap.directed || heap.piece.is_some() {
        return None;
    }
    let places = places(heap, len, PAGE);
    let mut good = places.iter().filter(|at| suits_place(all, **at, len));
    let first = good.next()?;
    Some((*first, good.next_back().unwrap_or(first) + len - 1))
}

/// Searches all heaps for the first heap, length and stride that suit.
fn search(
    request: &MemoryRequest,
    all: &Counted<'_>,
    heaps: &[OwnHeap],
) -> Option<(usize, u64, u64)> {
    let strides = match request.line_bytes {
        0 => 0..=0,
        line => line..=END,
    };
    for (index, heap) in heaps.iter().enumerate() {
        if !suits_heap(all, heap) {
            continue;
        }
        // The stride does not matter for these answers.
        let mut rooms = [None; END as usize + 1];
        for stride in strides.clone() {
            let least = request.len_bytes.max(stride * request.lines).max(1);
            let lens = (least..=END).filter(|len| len % PAGE == 0);
            for len in lens {
                let room = &mut rooms[len as usize];
                let mut has_room =
                    || *room.get_or_insert_with(|| has_room(request, all, heap, len));
                if suits_layout(request, all, len, stride) && has_room() {
                    return Some((index, len, stride));
                }
            }
        }
    }
    None
}

/// Returns whether a device has a demand, according to the documentation of `Needs`. The test must not use
/// the solver's own answer: a demand that the solver misses would be missing here, too.
fn has_demand(needs: &Needs, rule: Rule) -> bool {
    let limits = &needs.limits;
    let direct = needs.iommu.is_none();
    let one = limits.max_segments == 1;
    match rule {
        Rule::First => direct && i128::from(needs.first) > i128::from(needs.offset),
        Rule::Last => direct && limits.mask != u64::MAX,
        Rule::Contiguous => direct && (needs.one_run || one),
        Rule::MaxSegment => one && limits.max_segment != u64::MAX,
        Rule::Boundary => direct && one && limits.boundary != u64::MAX,
        Rule::IoBoundary => !direct && one && limits.boundary != u64::MAX,
        Rule::Alignment => direct && needs.align > 1,
        Rule::Granule => needs.iommu.is_some_and(|iommu| iommu.granule > PAGE),
        Rule::IovaSpace => !direct,
        Rule::SegmentCount => !one && limits.max_segments != u32::MAX,
        Rule::Pages => needs.pages,
        Rule::Coherent => needs.coherent && !needs.snoops,
        Rule::Protected => needs.protection == Protected::Only,
        Rule::Unprotected => needs.protection == Protected::Never,
        Rule::StrideAlign => needs.stride_align > 1,
        Rule::MaxStride => needs.max_stride != u64::MAX,
        Rule::MinLen => needs.min_len > 0,
        Rule::LenAlign => needs.len_align > 1,
    }
}

/// Returns the demands of a device, one bit each.
fn demands(needs: &Needs, request: &MemoryRequest) -> u32 {
    let has = RULES
        .into_iter()
        .map(|(rule, ..)| rule)
        .filter(|rule| has_demand(needs, *rule));
    let all = has.fold(0, |all, rule| all | 1 << rule as u32);
    let found = rule::Strictest::of(&[*needs], request, None).rules().0;
    assert_eq!(found, all, "{needs:?}");
    all
}

fn power(from: u32, to: u32) -> impl Strategy<Value = u64> {
    (from..=to).prop_map(|n| 1 << n)
}

/// Adds a demand to a device; the kind, the number and the switch choose it.
fn demand_more(needs: &mut Needs, (kind, number, switch): (u32, u64, bool)) {
    let power = |from: u64, to: u64| 1u64 << (from + number % (to - from + 1));
    let limits = &mut needs.limits;
    match kind {
        0 => needs.first = number,
        1 => limits.mask = number,
        2 => needs.offset = (number % 7) as i64 * 16 - 48,
        3 => needs.one_run = true,
        4 => {
            limits.max_segment = number / 2 + 1;
            limits.max_segments = 1;
        }
        5 => {
            limits.boundary = power(2, 5) - 1;
            limits.max_segments = 1;
        }
        6 => {
            limits.max_segments = 2 + u32::from(switch);
            limits.max_segment = number / 4 + 1;
        }
        7 => needs.align = power(0, 4),
        8 => {
            needs.iommu = Some(Translation {
                granule: power(2, 4),
                free_bytes: number,
            });
        }
        9 => needs.pages = true,
        10 => {
            needs.coherent = true;
            needs.snoops = switch;
        }
        11 if switch => needs.protection = Protected::Only,
        11 => needs.protection = Protected::Never,
        12 => needs.stride_align = power(0, 4),
        13 => needs.max_stride = number / 4 + 1,
        14 => needs.min_len = number / 2,
        _ => needs.len_align = power(0, 5),
    }
}

fn device() -> impl Strategy<Value = Needs> {
    let demand = (0u32..16, 0..END, any::<bool>());
    prop::collection::vec(demand, 0..4).prop_map(|demands| {
        let mut needs = Needs::default();
        let each = demands.into_iter();
        each.for_each(|demand| demand_more(&mut needs, demand));
        if !needs.is_valid() {
            // The random offset may not be a multiple of the boundary.
            needs.offset = 0;
        }
        needs
    })
}

/// A device that reaches all addresses, but does not accept all memory.
fn picky() -> impl Strategy<Value = Needs> {
    let protection = prop_oneof![
        Just(Protected::Also),
        Just(Protected::Only),
        Just(Protected::Never),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let strides = (power(0, 4), prop_oneof![4u64..32, Just(u64::MAX)]);
    (protection, flags, strides).prop_map(|(protection, flags, (stride_align, max_stride))| {
        let (snoops, coherent, pages) = flags;
        Needs {
            snoops,
            coherent,
            pages,
            protection,
            stride_align,
            max_stride,
            ..Needs::default()
        }
    })
}

fn heap() -> impl Strategy<Value = OwnHeap> {
    let piece = prop_oneof![
        3 => Just(None),
        2 => power(2, 4).prop_map(Some),
    ];
    let gaps = prop::collection::vec((0u64..24, 1u64..48), 0..4);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (piece, gaps, power(2, 5), flags).prop_map(|(piece, gaps, align, flags)| {
        let (mut free, mut at) = (Vec::new(), 0);
        for (gap, len) in gaps {
            let first = at + gap;
            let len = len.min(END - END.min(first));
            if len > 0 {
                free.push(Run { first, len });
            }
            at = first + len + 1;
        }
        let (directed, cached, pages, protected) = flags;
        OwnHeap {
            piece,
            free,
            directed,
            align,
            cached,
            pages: pages || cached,
            protected,
        }
    })
}

fn request() -> impl Strategy<Value = MemoryRequest> {
    (0u64..32, 0u64..12, 1u64..4, 1u32..4).prop_map(|(len_bytes, line_bytes, lines, count)| {
        MemoryRequest {
            len_bytes,
            line_bytes,
            lines,
            count,
            page_bytes: PAGE,
        }
    })
}

/// Returns every set of `len` demands of all devices, as one bit set for each device.
fn sets(of: &[u32], len: u32) -> Vec<Vec<u32>> {
    let Some((&first, rest)) = of.split_first() else {
        return if len == 0 {
            vec![Vec::new()]
        } else {
            Vec::new()
        };
    };
    let parts = (0..=first).filter(|part| part & !first == 0 && part.count_ones() <= len);
    parts
        .flat_map(|part| {
            let rest = sets(rest, len - part.count_ones());
            rest.into_iter().map(move |mut rest| {
                rest.insert(0, part);
                rest
            })
        })
        .collect()
}

fn counted<'a>(devices: &'a [Needs], sets: &[u32]) -> Vec<(&'a Needs, u32)> {
    devices.iter().zip(sets.iter().copied()).collect()
}

fn cases(usual: u32) -> ProptestConfig {
    let cases = env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|n| n.parse().ok()).unwrap_or(usual),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    /// The solver agrees with a search through all: it finds the same heap, length and stride, or a smallest
    /// conflict, whose demands do exclude each other.
    #[test]
    fn agrees_with_a_search_through_everything(
        request in request(),
        devices in prop::collection::vec(device(), 0..4),
        heaps in prop::collection::vec(heap(), 0..3),
    ) {
        expect_agreement(&request, &devices, &heaps)?;
    }

    /// The same comparison, for devices that differ only in strides, protection, pages and caches.
    #[test]
    fn agrees_where_devices_differ_in_kinds_of_memory(
        request in request(),
        devices in prop::collection::vec(picky(), 1..5),
        heaps in prop::collection::vec(heap(), 1..5),
    ) {
        expect_agreement(&request, &devices, &heaps)?;
    }
}

/// Asserts that an answer is that of a search through everything: the same place, or the fewest demands that
/// must change, which do exclude each other.
fn expect_agreement(
    request: &MemoryRequest,
    devices: &[Needs],
    heaps: &[OwnHeap],
) -> Result<(), TestCaseError> {
    prop_assert!(devices.iter().all(Needs::is_valid));
    let views: Vec<Heap<'_>> = heaps.iter().map(OwnHeap::view).collect();
    let all: Vec<u32> = devices
        .iter()
        .map(|needs| demands(needs, request))
        .collect();
    let found = search(request, &counted(devices, &all), heaps);
    let refused = conflict(request, devices, &views);
    match solve(request, devices, &views) {
        Some(placed) => {
            prop_assert!(refused.is_none());
            let heap = &heaps[placed.heap];
            let extent = extent(&counted(devices, &all), heap, placed.len_bytes);
            if let Some((first, last)) = extent {
                prop_assert_eq!(placed.first, first);
                prop_assert!(placed.last <= last);
            }
            prop_assert_eq!(found, Some((placed.heap, placed.len_bytes, placed.stride)));
        }
        None => {
            let conflict = refused.expect("a conflict");
            prop_assert_eq!(found, None);
            let mut named = vec![0u32; devices.len()];
            let conflict: Vec<Blamed> = conflict.collect();
            for blamed in &conflict {
                let Blamed { device, rule, .. } = *blamed;
                prop_assert!(counts(all[device], rule));
                named[device] |= 1 << rule as u32;
                expect_relief(request, devices, heaps, &all, blamed)?;
            }
            prop_assert_eq!(search(request, &counted(devices, &named), heaps), None);
            let size = conflict.len() as u32;
            for fewer in sets(&all, size.saturating_sub(1))
                .iter()
                .filter(|_| size > 0)
            {
                prop_assert!(
                    search(request, &counted(devices, fewer), heaps).is_some(),
                    "{fewer:x?} is enough, and {named:x?} is named"
                );
            }
        }
    }
    Ok(())
}

/// Asserts that a value is named if and only if one helps, and that it leads to the expected placement.
fn expect_relief(
    request: &MemoryRequest,
    devices: &[Needs],
    heaps: &[OwnHeap],
    all: &[u32],
    blamed: &Blamed,
) -> Result<(), TestCaseError> {
    let mut without = all.to_vec();
    without[blamed.device] &= !(1 << blamed.rule as u32);
    let found = search(request, &counted(devices, &without), heaps);
    prop_assert_eq!(found.is_some(), blamed.enough.is_some());
    if let Some(enough) = blamed.enough {
        let Blamed { device, rule, .. } = *blamed;
        let mut changed = devices.to_vec();
        give_way(&mut changed[device], rule, enough);
        let views: Vec<Heap<'_>> = heaps.iter().map(OwnHeap::view).collect();
        let placed = solve(request, &changed, &views).map(|p| (p.heap, p.len_bytes, p.stride));
        prop_assert_eq!(placed, found, "{:?}: {}", rule, enough);
    }
    Ok(())
}

/// Changes a device's demand of a kind to the value that should suffice.
fn give_way(needs: &mut Needs, rule: Rule, enough: u64) {
    let bus = |addr: u64| addr.saturating_add_signed(needs.offset);
    match rule {
        // No bus address is below zero.
        Rule::First => {
            if needs.limits.mask != u64::MAX {
                needs.limits.mask = needs.limits.mask.saturating_add_signed(-needs.offset);
            }
            (needs.first, needs.offset) = (enough, 0);
        }
        Rule::Last => needs.limits.mask = bus(enough),
        Rule::MaxSegment => needs.limits.max_segment = enough,
        Rule::Boundary | Rule::IoBoundary => needs.limits.boundary = enough,
        Rule::Alignment => needs.align = enough,
        Rule::IovaSpace => {
            if let Some(iommu) = &mut needs.iommu {
                iommu.free_bytes = enough;
            }
        }
        // A segment for each byte.
        Rule::SegmentCount => {
            let bytes = u32::try_from(enough).expect("a small machine");
            needs.limits.max_segments = bytes + 2;
        }
        Rule::StrideAlign => needs.stride_align = enough,
        Rule::MaxStride => needs.max_stride = enough,
        Rule::MinLen => needs.min_len = enough,
        Rule::LenAlign => needs.len_align = enough,
        Rule::Pages => needs.pages = false,
        Rule::Coherent => needs.snoops = true,
        Rule::Protected | Rule::Unprotected => needs.protection = Protected::Also,
        // An IOMMU with pages of the CPU's size.
        Rule::Contiguous | Rule::Granule => {
            needs.iommu = Some(Translation {
                granule: 1,
                free_bytes: u64::MAX,
            });
        }
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    /// A run that starts at a page, however split, has no more segments than the device accepts.
    #[test]
    fn segments_suffice_wherever_a_run_lies(
        max_segments in 2u32..40,
        max_segment in 1u64..40,
        boundary in prop_oneof![power(1, 6).prop_map(|v| v - 1), Just(u64::MAX)],
        page in 0u64..40,
        in_pieces: bool,
    ) {
        let limits = Limits { mask: u64::MAX, max_segment, boundary, max_segments };
        let len = longest(&limits, PAGE, in_pieces);
        let (mut at, end) = (page * PAGE, page * PAGE + len);
        let mut segments = 0;
        while at < end {
            let block_end = (at | boundary).saturating_add(1);
            let piece_end = if in_pieces { (at | (PAGE - 1)) + 1 } else { end };
            at = end.min(at + max_segment).min(block_end).min(piece_end);
            segments += 1;
        }
        prop_assert!(segments <= max_segments, "{segments} for {len} bytes");
    }
}

#[test]
fn rules_are_numbered_as_they_are_listed() {
    for (number, (rule, ..)) in RULES.into_iter().enumerate() {
        assert_eq!(rule as usize, number);
    }
}

#[test]
fn pieces_are_taken_from_the_lowest_gap() {
    let request = MemoryRequest {
        len_bytes: 3 * PAGE,
        line_bytes: 0,
        lines: 0,
        count: 1,
        page_bytes: PAGE,
    };
    let run = |first, len| Run { first, len };
    let heap = Heap {
        piece: Some(PAGE),
        free: &[run(9, 6), run(20, 40)],
        directed: true,
        align: PAGE,
        cached: true,
        pages: true,
        protected: false,
    };
    // No piece crosses this boundary, because all are aligned to it.
    let mut needs = Needs::default();
    needs.limits.boundary = PAGE - 1;
    let placed = solve(&request, &[needs], &[heap]).expect("room");
    // The first gap has no whole piece.
    assert_eq!((placed.first, placed.last), (20, 31));
}

#[test]
fn demands_that_are_no_powers_of_two_are_invalid() {
    let with = |change: fn(&mut Needs)| {
        let mut needs = Needs {
            iommu: Some(Translation {
                granule: 4,
                free_bytes: 64,
            }),
            offset: 8,
            align: 4,
            ..Needs::default()
        };
        needs.limits.boundary = 7;
        change(&mut needs);
        needs.is_valid()
    };
    assert!(with(|_| ()));
    let wrong: [fn(&mut Needs); 8] = [
        |needs| needs.limits.max_segment = 0,
        |needs| needs.align = 3,
        |needs| needs.iommu.as_mut().expect("set").granule = 6,
        |needs| needs.stride_align = 0,
        |needs| needs.len_align = 12,
        |needs| needs.offset = -2,
        |needs| needs.offset = 4,
        |needs| needs.align = 16,
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        assert!(!with(change), "{number}");
    }
}

#[test]
fn nothing_fits_where_there_is_no_heap() {
    let request = MemoryRequest {
        len_bytes: 1,
        line_bytes: 0,
        lines: 0,
        count: 1,
        page_bytes: 4096,
    };
    let conflict = conflict(&request, &[Needs::default()], &[]).expect("no heap");
    assert_eq!(conflict.count(), 0);
}
