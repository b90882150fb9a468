//! Tests compatible mode with vectors of Linux's algorithm, and contiguous mode with the same lists.

use super::{Layouter, Output, Placed, check_one_run};
use crate::{
    Constraint, DmaAddr, DmaSegment, Error, Limits, PhysAddr, Reason, Segment, SegmentKind,
    SegmentMode,
};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const K: u64 = 1 << 10;
const G: u64 = 4 * K;
/// The granules that page tables have. The test vectors count in quarters of a granule.
const GRANULES: [u64; 3] = [4 * K, 16 * K, 64 * K];

/// Makes segments that are not adjacent, from offsets in their granules and lengths.
fn scattered(g: u64, list: &[(u64, u64)]) -> Vec<Segment> {
    let mut at = 1u64 << 40;
    list.iter()
        .map(|&(offset, len)| {
            let addr = PhysAddr::new(at + offset);
            at += (offset + len).next_multiple_of(g) + 16 * g;
            Segment {
                addr,
                len,
                kind: SegmentKind::Pages,
            }
        })
        .collect()
}

fn limits(block: u64, max_segment: u64) -> Limits {
    Limits {
        boundary: block.wrapping_sub(1),
        max_segment,
        ..Limits::default()
    }
}

/// Lays segments out from a base with the allocator's alignment.
fn lay_out(
    g: u64,
    mode: SegmentMode,
    list: &[Segment],
    limits: &Limits,
) -> (Vec<DmaSegment>, Vec<Placed>, u64) {
    let mut plan = Layouter::new(g, mode, limits);
    let placed: Vec<Placed> = list.iter().map(|&s| plan.place(s).unwrap()).collect();
    let base = plan.total.next_power_of_two() * 4;
    let mut output = Output::new(mode, *limits);
    placed
        .iter()
        .for_each(|p| output.push_placed(base, p).unwrap());
    (output.segments.to_vec(), placed, base)
}

/// Returns the device segments' lengths, and whether each is adjacent to the one before.
fn shape(g: u64, mode: SegmentMode, list: &[(u64, u64)], limits: &Limits) -> (Vec<u64>, Vec<bool>) {
    let (output, ..) = lay_out(g, mode, &scattered(g, list), limits);
    let touch = output
        .windows(2)
        .map(|pair| pair[0].addr.get() + pair[0].len == pair[1].addr.get())
        .collect();
    (output.iter().map(|s| s.len).collect(), touch)
}

fn whole(lens: &[u64]) -> Vec<(u64, u64)> {
    lens.iter().map(|&len| (0, len)).collect()
}

/// A run of several segments may end with the last address, but not beyond it.
#[test]
fn runs_end_at_the_last_address() {
    let push = |len| {
        let mut output = Output::new(SegmentMode::Contiguous, limits(0, G));
        output.push(DmaAddr::new(u64::MAX - 2 * G + 1), len)?;
        Ok(output.segments.iter().map(|s| s.len).collect::<Vec<_>>())
    };
    assert_eq!(push(2 * G), Ok(vec![G, G]));
    assert_eq!(push(2 * G + 1), Err(Error::Invalid));
}

#[test]
fn compatible_mode_gives_the_vectors() {
    GRANULES.into_iter().for_each(compatible_vectors);
}

fn compatible_vectors(g: u64) {
    let k = g / 4;
    let compatible = |list: &[(u64, u64)], l: &Limits| shape(g, SegmentMode::Compatible, list, l);
    let three = whole(&[64 * k, 16 * k, 64 * k]);
    // Without a boundary, the maximum length decides which segments are joined.
    assert_eq!(
        compatible(&three, &limits(0, 64 * k)),
        (vec![64 * k, 16 * k, 64 * k], vec![true, true])
    );
    assert_eq!(
        compatible(&three, &limits(0, 144 * k)),
        (vec![144 * k], vec![])
    );
    assert_eq!(
        compatible(&three, &limits(0, 143 * k)),
        (vec![80 * k, 64 * k], vec![true])
    );
    // 64 KiB blocks.
    let block = limits(64 * k, 64 * k);
    let (output, placed, base) = lay_out(
        g,
        SegmentMode::Compatible,
        &scattered(g, &whole(&[16 * k, 64 * k])),
        &block,
    );
    assert_eq!(
        output.iter().map(|s| s.len).collect::<Vec<_>>(),
        [16 * k, 64 * k]
    );
    assert_eq!(output[1].addr.get() - base, 64 * k, "a gap of 48 KiB");
    // A segment that begins at a boundary does not join the one before, though the device accepts the length.
    assert_eq!(
        compatible(&whole(&[64 * k, 64 * k]), &limits(64 * k, 128 * k)),
        (vec![64 * k, 64 * k], vec![true])
    );
    // Defect 4 of `tests/mapper/faults.rs`: the gap must not map memory after the first segment.
    assert_eq!((placed[0].base, placed[0].mapped), (0, 16 * k));
    assert_eq!(
        compatible(&whole(&[32 * k, 32 * k]), &block),
        (vec![64 * k], vec![])
    );
    assert_eq!(
        compatible(&whole(&[64 * k, 4 * k]), &block),
        (vec![64 * k, 4 * k], vec![true])
    );
    // Segments that end or begin inside a granule are not joined.
    assert_eq!(
        compatible(&[(0, 6 * k), (0, 4 * k)], &limits(0, 64 * k)),
        (vec![6 * k, 4 * k], vec![false])
    );
    assert_eq!(
        compatible(&[(0, 4 * k), (2 * k, 2 * k)], &limits(0, 64 * k)),
        (vec![4 * k, 2 * k], vec![false])
    );
    // A single entry keeps its length, even above the limit.
    assert_eq!(compatible(&[(0, 256 * k)], &block), (vec![256 * k], vec![]));
}

#[test]
fn contiguous_mode_leaves_no_gap_for_the_same_lists() {
    GRANULES.into_iter().for_each(contiguous_vectors);
}

fn contiguous_vectors(g: u64) {
    let k = g / 4;
    let contiguous = |list: &[(u64, u64)], l: &Limits| shape(g, SegmentMode::Contiguous, list, l);
    let all_touch = |(lens, touch): (Vec<u64>, Vec<bool>), total: u64| {
        assert_eq!(lens.iter().sum::<u64>(), total);
        assert!(touch.iter().all(|&t| t), "{lens:?} {touch:?}");
        lens.len()
    };
    let three = whole(&[64 * k, 16 * k, 64 * k]);
    assert_eq!(
        all_touch(contiguous(&three, &limits(0, 64 * k)), 144 * k),
        3
    );
    assert_eq!(
        all_touch(contiguous(&three, &limits(0, 144 * k)), 144 * k),
        1
    );
    let block = limits(64 * k, 64 * k);
    assert_eq!(
        all_touch(contiguous(&whole(&[16 * k, 64 * k]), &block), 80 * k),
        2
    );
    // Offsets inside a granule at the head and the tail of the whole list.
    let ends = [(0x123, 8 * k - 0x123), (0, 64 * k), (0, 0x777)];
    all_touch(
        contiguous(&ends, &limits(0, 1 << 30)),
        72 * k - 0x123 + 0x777,
    );
    assert_eq!(check_one_run(&scattered(g, &ends), g, 4 * K), Ok(()));
}

#[test]
fn impossible_single_run_names_the_bad_offset() {
    GRANULES.into_iter().for_each(refused_runs);
}

fn refused_runs(g: u64) {
    let k = g / 4;
    for (list, found) in [
        (vec![(0, 6 * k), (0, 4 * k)], 2 * k),
        (vec![(0, 4 * k), (2 * k, 2 * k)], 2 * k),
        (vec![(0, 4 * k), (0, 8 * k + 1), (5, 2 * k)], 1),
    ] {
        let err = check_one_run(&scattered(g, &list), g, 4 * K).unwrap_err();
        let constraint = if g > 4 * K {
            Constraint::IommuGranule
        } else {
            Constraint::Alignment
        };
        let reason = Reason {
            constraint,
            wanted: g,
            found,
        };
        assert_eq!((err.errno(), err.reason()), (5, Some(reason)));
    }
}

/// Overflows 64 bits with one segment's granules, and with the sum of two segments.
#[test]
fn sums_past_the_end_are_refused() {
    let half = 1u64 << 63;
    let pages = |addr, len| Segment {
        addr: PhysAddr::new(addr),
        len,
        kind: SegmentKind::Pages,
    };
    for mode in [SegmentMode::Contiguous, SegmentMode::Compatible] {
        let plan = || Layouter::new(G, mode, &limits(64 * K, 64 * K));
        for (addr, len) in [(0, u64::MAX), (1, u64::MAX - 1), (0xfff, u64::MAX - 0xfff)] {
            let refused = plan().place(pages(addr, len));
            assert_eq!(refused, Err(crate::Error::Invalid), "{addr:#x} {len:#x}");
        }
        // Each segment fits alone, but the end of the second exceeds 64 bits.
        for (first, second) in [
            (half, half),
            (half - G, half + G),
            (u64::MAX - 2 * G, 3 * G),
        ] {
            let mut plan = plan();
            assert!(plan.place(pages(0, first)).is_ok());
            assert_eq!(plan.place(pages(0, second)), Err(crate::Error::Invalid));
        }
    }
}

/// Linux subtracts two `unsigned int`, so a segment above the maximum length may grow further.
#[test]
fn compatible_mode_appends_to_oversized_segments() {
    let max = limits(0, 64 * K);
    let list = [(0, 128 * K), (0, 16 * K), (0, 4 * K)];
    let lens = |mode| shape(G, mode, &list, &max).0;
    assert_eq!(lens(SegmentMode::Compatible), [148 * K]);
    assert_eq!(lens(SegmentMode::Contiguous), [64 * K, 64 * K, 20 * K]);
    // A segment of exactly the maximum length does not grow.
    let (full, _) = shape(G, SegmentMode::Compatible, &[(0, 64 * K), (0, 4 * K)], &max);
    assert_eq!(full, [64 * K, 4 * K]);
}

proptest! {
    /// Checks the invariants that hold for every list.
    #[test]
    fn the_invariants_hold(
        g in prop::sample::select(&GRANULES[..]),
        list in prop::collection::vec((prop_oneof![3 => Just(0u64), 1 => 0..G], 1u64..200 * K), 1..20),
        max_segment in prop_oneof![Just(64 * K), Just(1u64 << 30), G..256 * K],
        block in prop_oneof![Just(0u64), (12u32..24).prop_map(|bits| 1 << bits)],
        compatible in any::<bool>(),
    ) {
        let list: Vec<(u64, u64)> = list.into_iter().map(|(offset, len)| (offset * (g / G), len)).collect();
        let mode = if compatible { SegmentMode::Compatible } else { SegmentMode::Contiguous };
        let limits = limits(block, max_segment);
        let segments = scattered(g, &list);
        let (output, placed, base) = lay_out(g, mode, &segments, &limits);
        // The output has as many bytes as the list.
        let total: u64 = list.iter().map(|&(_, len)| len).sum();
        prop_assert_eq!(output.iter().map(|s| s.len).sum::<u64>(), total);
        // Neither segments nor their granules overlap, and both are in order.
        for pair in output.windows(2) {
            prop_assert!(pair[0].addr.get() + pair[0].len <= pair[1].addr.get());
        }
        for pair in placed.windows(2) {
            prop_assert!(pair[0].base + pair[0].mapped <= pair[1].base);
        }
        // The output begins and ends where the placed segments do.
        let mut bytes = output.iter().flat_map(|s| [s.addr.get(), s.addr.get() + s.len - 1]);
        let ends: Vec<u64> = placed.iter().flat_map(|p| [p.start, p.start + p.len - 1]).collect();
        prop_assert!(bytes.next() == Some(base + ends[0]));
        prop_assert!(bytes.next_back() == Some(base + ends[ends.len() - 1]));
        // Only whole granules of the segments are mapped.
        for (p, s) in placed.iter().zip(&segments) {
            prop_assert_eq!(p.phys.get() & !(g - 1), s.addr.get() & !(g - 1));
            prop_assert_eq!(p.mapped, ((s.addr.get() & (g - 1)) + s.len).next_multiple_of(g));
        }
        let longest = list.iter().map(|&(_, len)| len).max().unwrap_or(0);
        let fit_block = block == 0
            || list.iter().all(|&(off, len)| (off + len).next_multiple_of(g) <= block);
        for s in &output {
            if compatible {
                // A segment exceeds the maximum length only if an input segment does.
                prop_assert!(s.len <= max_segment || longest > max_segment);
                // If each entry fits a block, no segment crosses a block's end.
                if fit_block && block != 0 {
                    prop_assert_eq!(s.addr.get() / block, (s.addr.get() + s.len - 1) / block);
                }
            } else {
                prop_assert!(s.len <= max_segment);
                let last = s.addr.get() + s.len - 1;
                prop_assert_eq!(s.addr.get() | limits.boundary, last | limits.boundary);
            }
        }
        // The list has no gap exactly if `check_one_run` accepts it.
        if !compatible {
            let gaps = output.windows(2)
                .filter(|pair| pair[0].addr.get() + pair[0].len != pair[1].addr.get()).count();
            prop_assert_eq!(gaps == 0, check_one_run(&segments, g, 4 * K).is_ok());
        }
    }
}
