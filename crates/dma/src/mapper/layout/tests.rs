//! The vectors and invariants of Linux's segment algorithm, and the runs of ours.

use super::{Layouter, Placed, Report, check_one_run};
use crate::{Constraint, DmaSegment, Limits, PhysAddr, Reason, Segment, SegmentKind, SegmentMode};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const K: u64 = 1 << 10;
const G: u64 = 4 * K;

/// Segments at addresses that do not touch, by offset in their granule and length.
fn scattered(list: &[(u64, u64)]) -> Vec<Segment> {
    let mut at = 1u64 << 40;
    list.iter()
        .map(|&(offset, len)| {
            let addr = PhysAddr::new(at + offset);
            at += (offset + len).next_multiple_of(G) + 16 * G;
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

/// Lays out at a base that is aligned as the allocator aligns it.
fn lay_out(
    mode: SegmentMode,
    list: &[Segment],
    limits: &Limits,
) -> (Vec<DmaSegment>, Vec<Placed>, u64) {
    let mut plan = Layouter::new(G, mode, limits);
    let placed: Vec<Placed> = list.iter().map(|&s| plan.place(s).unwrap()).collect();
    let base = plan.total().next_power_of_two() * 4;
    let mut report = Report::new(mode, *limits).unwrap();
    placed.iter().for_each(|p| report.push(base, p).unwrap());
    (report.finish(), placed, base)
}

/// Lengths of the segments, and which of them touch the one before.
fn shape(mode: SegmentMode, list: &[(u64, u64)], limits: &Limits) -> (Vec<u64>, Vec<bool>) {
    let (output, ..) = lay_out(mode, &scattered(list), limits);
    let touch = output
        .windows(2)
        .map(|pair| pair[0].addr.get() + pair[0].len == pair[1].addr.get())
        .collect();
    (output.iter().map(|s| s.len).collect(), touch)
}

fn whole(lens: &[u64]) -> Vec<(u64, u64)> {
    lens.iter().map(|&len| (0, len)).collect()
}

#[test]
fn compatible_mode_gives_the_vectors() {
    let compatible = |list: &[(u64, u64)], l: &Limits| shape(SegmentMode::Compatible, list, l);
    let three = whole(&[64 * K, 16 * K, 64 * K]);
    // No boundary: three that touch; one where the segment may be long enough.
    assert_eq!(
        compatible(&three, &limits(0, 64 * K)),
        (vec![64 * K, 16 * K, 64 * K], vec![true, true])
    );
    assert_eq!(
        compatible(&three, &limits(0, 144 * K)),
        (vec![144 * K], vec![])
    );
    assert_eq!(
        compatible(&three, &limits(0, 143 * K)),
        (vec![80 * K, 64 * K], vec![true])
    );
    // 64 KiB blocks.
    let block = limits(64 * K, 64 * K);
    let (output, placed, base) = lay_out(
        SegmentMode::Compatible,
        &scattered(&whole(&[16 * K, 64 * K])),
        &block,
    );
    assert_eq!(
        output.iter().map(|s| s.len).collect::<Vec<_>>(),
        [16 * K, 64 * K]
    );
    assert_eq!(output[1].addr.get() - base, 64 * K, "a gap of 48 KiB");
    // Defect 4: what fills the gap is not the memory that follows the first segment.
    assert_eq!((placed[0].base, placed[0].mapped), (0, 16 * K));
    assert_eq!(
        compatible(&whole(&[32 * K, 32 * K]), &block),
        (vec![64 * K], vec![])
    );
    assert_eq!(
        compatible(&whole(&[64 * K, 4 * K]), &block),
        (vec![64 * K, 4 * K], vec![true])
    );
    // Joints inside a granule.
    assert_eq!(
        compatible(&[(0, 0x1800), (0, 0x1000)], &limits(0, 64 * K)),
        (vec![0x1800, 0x1000], vec![false])
    );
    assert_eq!(
        compatible(&[(0, 0x1000), (0x800, 0x800)], &limits(0, 64 * K)),
        (vec![0x1000, 0x800], vec![false])
    );
    // A single entry keeps its length, whatever the limit.
    assert_eq!(compatible(&[(0, 256 * K)], &block), (vec![256 * K], vec![]));
}

#[test]
fn contiguous_mode_leaves_no_gap_for_the_same_lists() {
    let contiguous = |list: &[(u64, u64)], l: &Limits| shape(SegmentMode::Contiguous, list, l);
    let all_touch = |(lens, touch): (Vec<u64>, Vec<bool>), total: u64| {
        assert_eq!(lens.iter().sum::<u64>(), total);
        assert!(touch.iter().all(|&t| t), "{lens:?} {touch:?}");
        lens.len()
    };
    let three = whole(&[64 * K, 16 * K, 64 * K]);
    assert_eq!(
        all_touch(contiguous(&three, &limits(0, 64 * K)), 144 * K),
        3
    );
    assert_eq!(
        all_touch(contiguous(&three, &limits(0, 144 * K)), 144 * K),
        1
    );
    let block = limits(64 * K, 64 * K);
    assert_eq!(
        all_touch(contiguous(&whole(&[16 * K, 64 * K]), &block), 80 * K),
        2
    );
    // Sub-page offsets at the head and the tail of the whole.
    let ends = [(0x123, 8 * K - 0x123), (0, 64 * K), (0, 0x777)];
    all_touch(
        contiguous(&ends, &limits(0, 1 << 30)),
        72 * K - 0x123 + 0x777,
    );
    assert_eq!(check_one_run(&scattered(&ends), G, G), Ok(()));
}

#[test]
fn one_run_that_cannot_be_is_refused_with_the_offset_in_the_way() {
    for (list, found) in [
        (vec![(0, 0x1800), (0, 0x1000)], 0x800),
        (vec![(0, 0x1000), (0x800, 0x800)], 0x800),
        (vec![(0, 0x1000), (0, 0x2001), (5, 0x800)], 1),
    ] {
        let err = check_one_run(&scattered(&list), G, G).unwrap_err();
        let reason = Reason {
            constraint: Constraint::Alignment,
            wanted: G,
            found,
        };
        assert_eq!((err.errno(), err.reason()), (5, Some(reason)));
    }
}

#[test]
fn sums_past_the_end_are_refused() {
    for (addr, len) in [(0, u64::MAX), (u64::MAX - 5, 6), (0xfff, u64::MAX - 0xfff)] {
        for mode in [SegmentMode::Contiguous, SegmentMode::Compatible] {
            let mut plan = Layouter::new(G, mode, &limits(64 * K, 64 * K));
            let segment = Segment {
                addr: PhysAddr::new(addr),
                len,
                kind: SegmentKind::Pages,
            };
            let first = plan.place(segment);
            let second = plan.place(Segment {
                len: u64::MAX - G,
                ..segment
            });
            assert!(first.is_err() || second.is_err(), "{addr:#x} {len:#x}");
        }
    }
}

proptest! {
    /// The invariants that hold for every list.
    #[test]
    fn the_invariants_hold(
        list in prop::collection::vec((prop_oneof![3 => Just(0u64), 1 => 0..G], 1u64..200 * K), 1..20),
        max_segment in prop_oneof![Just(64 * K), Just(1u64 << 30), G..256 * K],
        block in prop_oneof![Just(0u64), (12u32..20).prop_map(|bits| 1 << bits)],
        compatible in any::<bool>(),
    ) {
        let mode = if compatible { SegmentMode::Compatible } else { SegmentMode::Contiguous };
        let limits = limits(block, max_segment);
        let segments = scattered(&list);
        let (output, placed, base) = lay_out(mode, &segments, &limits);
        // Every byte once.
        let total: u64 = list.iter().map(|&(_, len)| len).sum();
        prop_assert_eq!(output.iter().map(|s| s.len).sum::<u64>(), total);
        // In order and apart; the granules of one segment never meet those of the next.
        for pair in output.windows(2) {
            prop_assert!(pair[0].addr.get() + pair[0].len <= pair[1].addr.get());
        }
        for pair in placed.windows(2) {
            prop_assert!(pair[0].base + pair[0].mapped <= pair[1].base);
        }
        // Each output byte is the input byte of the same place.
        let mut bytes = output.iter().flat_map(|s| [s.addr.get(), s.addr.get() + s.len - 1]);
        let ends: Vec<u64> = placed.iter().flat_map(|p| [p.start, p.start + p.len - 1]).collect();
        prop_assert!(bytes.next() == Some(base + ends[0]));
        prop_assert!(bytes.next_back() == Some(base + ends[ends.len() - 1]));
        // Only whole granules of the segments are mapped.
        for (p, s) in placed.iter().zip(&segments) {
            prop_assert_eq!(p.phys.get() & !(G - 1), s.addr.get() & !(G - 1));
            prop_assert_eq!(p.mapped, ((s.addr.get() & (G - 1)) + s.len).next_multiple_of(G));
        }
        let longest = list.iter().map(|&(_, len)| len).max().unwrap_or(0);
        let fit_block = block == 0
            || list.iter().all(|&(off, len)| (off + len).next_multiple_of(G) <= block);
        for s in &output {
            if compatible {
                prop_assert!(s.len <= max_segment.max(longest));
                // A list whose entries fit a block never crosses one.
                if fit_block && block != 0 {
                    prop_assert_eq!(s.addr.get() / block, (s.addr.get() + s.len - 1) / block);
                }
            } else {
                prop_assert!(s.len <= max_segment);
                let last = s.addr.get() + s.len - 1;
                prop_assert_eq!(s.addr.get() | limits.boundary, last | limits.boundary);
            }
        }
        // Ours never has more runs than theirs.
        if !compatible {
            let gaps = output.windows(2)
                .filter(|pair| pair[0].addr.get() + pair[0].len != pair[1].addr.get()).count();
            prop_assert_eq!(gaps == 0, check_one_run(&segments, G, G).is_ok());
        }
    }
}
