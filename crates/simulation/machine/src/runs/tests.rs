//! Compares the free-run set with a set of frames.

use super::Runs;
use proptest::prelude::*;
use rand_pcg::Pcg32;
use std::collections::BTreeSet;
use std::ops::Range;

const FRAMES: u64 = 200;

#[derive(Clone, Debug)]
enum Op {
    /// Number of frames, their alignment, and the end of the range.
    Run(u64, u64, u64),
    /// Number of frames, frames of a piece, and the range.
    Scattered(u64, u64, Range<u64>),
    Lowest(u64, u64, Range<u64>),
    Give(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![Just(u64::MAX), 0u64..FRAMES + 20];
    let first = prop_oneof![Just(0), 0u64..FRAMES + 20];
    // Number of frames, frames of a piece (usually one), and the range.
    let some = (
        1u64..60,
        prop_oneof![3 => Just(1u64), 1 => Just(4), 1 => Just(16)],
        (first, end.clone()),
    );
    let some = some
        .prop_map(|(len, piece, (first, end))| (len.next_multiple_of(piece), piece, first..end));
    prop_oneof![
        (1u64..40, 0u32..6, end.clone()).prop_map(|(len, align, end)| Op::Run(
            len,
            1 << align,
            end
        )),
        some.clone()
            .prop_map(|(len, piece, within)| Op::Scattered(len, piece, within)),
        some.prop_map(|(len, piece, within)| Op::Lowest(len, piece, within)),
        any::<usize>().prop_map(Op::Give),
    ]
}

/// Returns the first frames of the free aligned pieces within a range.
fn pieces(free: &BTreeSet<u64>, piece: u64, within: &Range<u64>) -> Vec<u64> {
    let firsts = (0..FRAMES).step_by(piece as usize);
    let is_free =
        |&first: &u64| (first..first + piece).all(|f| within.contains(&f) && free.contains(&f));
    firsts.filter(is_free).collect()
}

/// Returns the length of the longest run that starts on a multiple of `align`.
fn longest(free: &BTreeSet<u64>, align: u64, end: u64) -> u64 {
    let (mut best, mut run, mut before) = (0, 0, None);
    for &frame in free.range(..end) {
        run = match before == Some(frame) && run > 0 {
            true => run + 1,
            false => u64::from(frame % align == 0),
        };
        before = Some(frame + 1);
        best = best.max(run);
    }
    best
}

fn frames_of(firsts: &[u64], piece: u64) -> Vec<u64> {
    firsts.iter().flat_map(|&f| f..f + piece).collect()
}

proptest! {
    #[test]
    fn it_agrees_with_a_set_of_frames(ops in prop::collection::vec(op(), 1..80), seed: u64) {
        let mut runs = Runs::default();
        // Two areas with a gap between them.
        runs.give(0, 120);
        runs.give(130, FRAMES - 130);
        let mut free: BTreeSet<u64> = (0..120).chain(130..FRAMES).collect();
        let mut rng = Pcg32::new(seed, 1);
        let mut taken: Vec<Vec<u64>> = Vec::new();
        for op in ops {
            let (frames, wanted, room) = match op {
                Op::Run(len, align, end) => {
                    let got = runs.take_run(0, (len, align), end);
                    let room = longest(&free, align, end) >= len;
                    prop_assert!(got.is_none_or(|at| at % align == 0));
                    (got.map(|at| (at..at + len).collect::<Vec<_>>()), (len, 0..end), room)
                }
                Op::Scattered(len, piece, within) => {
                    let room = pieces(&free, piece, &within).len() as u64 * piece;
                    prop_assert_eq!(runs.frames_within(piece, within.clone()), room);
                    let got = runs.take_scattered(&mut rng, (len, piece), within.clone());
                    if let Some(firsts) = &got {
                        prop_assert!(firsts.windows(2).all(|two| two[0] + piece != two[1]));
                        prop_assert!(firsts.iter().all(|first| first % piece == 0));
                    }
                    (got.map(|firsts| frames_of(&firsts, piece)), (len, within), room >= len)
                }
                Op::Lowest(len, piece, within) => {
                    let mut expected = pieces(&free, piece, &within);
                    expected.truncate((len / piece) as usize);
                    let room = expected.len() as u64 * piece == len;
                    let got = runs.take_lowest(len, piece, within.clone());
                    let got: Option<Vec<u64>> = got.map(|runs| {
                        let of = |(first, len)| (first..first + len).step_by(piece as usize);
                        runs.into_iter().flat_map(of).collect()
                    });
                    prop_assert_eq!(got.as_ref(), room.then_some(&expected));
                    (got.map(|firsts| frames_of(&firsts, piece)), (len, within), room)
                }
                Op::Give(which) => {
                    if !taken.is_empty() {
                        let frames = taken.swap_remove(which % taken.len());
                        frames.iter().for_each(|&frame| runs.give(frame, 1));
                        free.extend(frames);
                    }
                    continue;
                }
            };
            prop_assert_eq!(frames.is_some(), room);
            if let Some(frames) = frames {
                prop_assert_eq!(frames.len() as u64, wanted.0);
                for frame in &frames {
                    prop_assert!(wanted.1.contains(frame) && free.remove(frame), "{} twice", frame);
                }
                taken.push(frames);
            }
            prop_assert_eq!(runs.frames(), free.len() as u64);
            prop_assert_eq!(runs.largest(0, 1, u64::MAX), longest(&free, 1, u64::MAX));
        }
    }
}

#[test]
fn the_highest_aligned_run_is_taken_and_comes_back() {
    let mut runs = Runs::default();
    runs.give(3, 10);
    runs.give(20, 5);
    // 20..25 contains one aligned group of four. The next lower one is 8..12.
    assert_eq!(runs.take_highest(4), Some(20));
    assert_eq!(runs.take_highest(4), Some(8));
    assert_eq!(runs.take_highest(4), Some(4));
    assert_eq!(runs.take_highest(4), None);
    assert_eq!(runs.take_highest(1), Some(24));
    assert_eq!(runs.frames(), 2);
    for (start, len) in [(20, 4), (8, 4), (4, 4), (24, 1)] {
        runs.give(start, len);
    }
    assert_eq!((runs.frames(), runs.largest(0, 1, u64::MAX)), (15, 10));
}

/// Positions depend only on the seed, not on how often the set is searched for its ends.
#[test]
fn pieces_taken_together_are_those_taken_one_by_one() {
    for (seed, piece) in [(1, 1), (2, 1), (3, 4)] {
        let free = || {
            let mut runs = Runs::default();
            runs.give(8, 40);
            runs.give(64, 16);
            (runs, Pcg32::new(seed, 1))
        };
        let ((mut runs, mut rng), (mut singly, mut same)) = (free(), free());
        // Takes all pieces, so that the ends change repeatedly.
        let mut together = runs.take_scattered(&mut rng, (56, piece), 0..80).unwrap();
        let one = |_| singly.take_scattered(&mut same, (piece, piece), 0..80);
        let mut one_by_one: Vec<u64> = (0..56 / piece).flat_map(one).flatten().collect();
        for turn in 1..one_by_one.len() {
            if one_by_one[turn - 1] + piece == one_by_one[turn] {
                one_by_one.swap(turn - 1, turn);
            }
        }
        assert_eq!(together, one_by_one);
        assert_eq!(runs.frames(), 0);
        together.sort_unstable();
        let all: Vec<u64> = (8..48).chain(64..80).step_by(piece as usize).collect();
        assert_eq!(together, all);
    }
}
