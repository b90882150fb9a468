//! Free frames as runs, and the ways to take frames from them.

use rand_core::Rng;
use std::collections::BTreeMap;
use std::ops::Range;

/// A set of frames, stored as separate runs.
///
/// # Invariants
/// No two runs touch or overlap; `frames` is the sum of their lengths.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<u64, u64>,
    frames: u64,
}

impl Runs {
    /// Returns the number of free frames.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Iterates over the runs in order, as first frame and number of frames.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(&first, &len)| (first, len))
    }

    /// Iterates over the runs that contain aligned pieces of `piece` frames (a power of two) within a range.
    /// Gives the run's first frame, its first piece's first frame, and the number of frames in its pieces.
    fn pieces(
        &self,
        piece: u64,
        within: Range<u64>,
    ) -> impl DoubleEndedIterator<Item = (u64, u64, u64)> + '_ {
        // The run that contains the range's first frame may start before it.
        let before = self.runs.range(..=within.start).next_back();
        let start = before.map_or(within.start, |(&run, _)| run);
        let runs = self.runs.range(start..within.end.max(start));
        runs.filter_map(move |(&run, &len)| {
            let first = run.max(within.start).next_multiple_of(piece);
            let last = (run + len).min(within.end) & !(piece - 1);
            (first < last).then(|| (run, first, last - first))
        })
    }

    /// Returns the number of frames of the longest run below frame `end` that starts a multiple of `align` frames
    /// after frame `origin`.
    pub(crate) fn largest(&self, origin: u64, align: u64, end: u64) -> u64 {
        let lens = self.runs.range(origin.min(end)..end).map(|(&start, &run)| {
            let at = origin + (start - origin).next_multiple_of(align);
            (start + run).min(end).saturating_sub(at)
        });
        lens.max().unwrap_or(0)
    }

    /// Counts the free frames that form aligned pieces within a range.
    pub(crate) fn frames_within(&self, piece: u64, within: Range<u64>) -> u64 {
        self.pieces(piece, within).map(|(_, _, len)| len).sum()
    }

    /// Adds frames to the set. The caller guarantees that the set does not contain them.
    pub(crate) fn give(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.frames += len;
        let after_len = self.runs.remove(&(start + len)).unwrap_or(0);
        match self.runs.range_mut(..start).next_back() {
            Some((&before, count)) if before + *count == start => *count += len + after_len,
            _ => drop(self.runs.insert(start, len + after_len)),
        }
    }

    /// Removes frames from the run that starts at `run` and contains all of them.
    fn take_from(&mut self, run: u64, start: u64, len: u64) {
        let run_len = match self.runs.get_mut(&run) {
            Some(left) if start > run => std::mem::replace(left, start - run),
            Some(_) => self.runs.remove(&run).unwrap_or(0),
            None => return,
        };
        let (end, run_end) = (start + len, run + run_len);
        if end < run_end {
            self.runs.insert(end, run_end - end);
        }
        self.frames -= len;
    }

    /// Takes `len` frames from `start` on, if all are free. Returns whether it took them.
    pub(crate) fn take_these(&mut self, start: u64, len: u64) -> bool {
        let Some((&run, &run_len)) = self.runs.range(..=start).next_back() else {
            return false;
        };
        let fits = start
            .checked_add(len)
            .is_some_and(|end| end <= run + run_len);
        if fits {
            self.take_from(run, start, len);
        }
        fits
    }

    /// Takes `len` frames a multiple of `align` frames after frame `origin`, from the best-fitting run below
    /// frame `end`. Among equal runs, the lowest is used.
    pub(crate) fn take_run(
        &mut self,
        origin: u64,
        (len, align): (u64, u64),
        end: u64,
    ) -> Option<u64> {
        let fits = |(&start, &run): (&u64, &u64)| {
            let at = origin + (start - origin).next_multiple_of(align.max(1));
            let last = (start + run).min(end).checked_sub(len)?;
            (at <= last).then_some((run, start, at))
        };
        let all = self.runs.range(origin.min(end)..end).filter_map(fits);
        let (_, best, at) = all.min_by_key(|&(run, ..)| run)?;
        self.take_from(best, at, len);
        Some(at)
    }

    /// Takes the highest `len` free frames (a power of two) that start on a multiple of `len`.
    pub(crate) fn take_highest(&mut self, len: u64) -> Option<u64> {
        let fits = |(&start, &run): (&u64, &u64)| {
            let at = (start + run).checked_sub(len)? & !(len - 1);
            (at >= start).then_some((start, at))
        };
        let (run, at) = self.runs.iter().rev().find_map(fits)?;
        self.take_from(run, at, len);
        Some(at)
    }

    /// Takes as few frames as possible, so that no remaining run exceeds `longest` frames.
    pub(crate) fn shorten(&mut self, longest: u64) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        let long: Vec<_> = self.iter().filter(|&(_, len)| len > longest).collect();
        for (run, len) in long {
            if longest == 0 {
                self.take_from(run, run, len);
                taken.push((run, len));
                continue;
            }
            let step = longest as usize + 1;
            for at in (run + longest..run + len).step_by(step) {
                // The frames between two taken ones are a separate run.
                self.take_from(at - longest, at, 1);
                taken.push((at, 1));
            }
        }
        taken
    }

    /// Returns the first free frame within a range, and the end of its last free frame.
    fn ends(&self, within: Range<u64>) -> Option<(u64, u64)> {
        let mut free = self.pieces(1, within);
        let (_, lowest, len) = free.next()?;
        let top = (free.next_back()).map_or(lowest + len, |(_, first, len)| first + len);
        Some((lowest, top))
    }

    /// Takes a random aligned piece within a range. `ends` is the range's result of
    /// [`ends`](Self::ends).
    fn take_any(
        &mut self,
        rng: &mut impl Rng,
        (lowest, top): (u64, u64),
        (piece, within): (u64, Range<u64>),
    ) -> Option<u64> {
        let wish = (lowest + rng.next_u64() % (top - lowest)) & !(piece - 1);
        // Takes the first piece from the random frame on, or else the lowest piece.
        let from = wish.max(within.start);
        let mut behind = self.pieces(piece, from..within.end);
        let found = behind.next();
        drop(behind);
        let (run, at, _) = found.or_else(|| self.pieces(piece, within).next())?;
        self.take_from(run, at, piece);
        Some(at)
    }

    /// Takes `len` frames within a range in aligned pieces. No piece directly follows the one taken before
    /// it. Returns the first frame of each piece.
    pub(crate) fn take_scattered(
        &mut self,
        rng: &mut impl Rng,
        (len, piece): (u64, u64),
        within: Range<u64>,
    ) -> Option<Vec<u64>> {
        let mut frames = Vec::new();
        let mut ends = None;
        for _ in 0..len / piece {
            ends = ends.or_else(|| self.ends(within.clone()));
            let taken = ends.and_then(|ends| self.take_any(rng, ends, (piece, within.clone())));
            let Some(frame) = taken else {
                frames.iter().for_each(|&frame| self.give(frame, piece));
                return None;
            };
            frames.push(frame);
            // The ends change only if the first or the last free piece was taken.
            ends = ends.filter(|&(lowest, top)| lowest < frame && frame + piece < top);
        }
        // If a piece directly follows the one before it in the list, the two are swapped. This makes no other
        // adjacent pair: in memory, only the second piece of the two follows the first.
        for i in 1..frames.len() {
            if frames[i - 1] + piece == frames[i] {
                frames.swap(i - 1, i);
            }
        }
        Some(frames)
    }

    /// Takes the lowest `len` frames within a range in aligned pieces. Returns their runs, in order.
    pub(crate) fn take_lowest(
        &mut self,
        len: u64,
        piece: u64,
        mut within: Range<u64>,
    ) -> Option<Vec<(u64, u64)>> {
        if self.frames_within(piece, within.clone()) < len {
            return None;
        }
        let (mut runs, mut left) = (Vec::new(), len);
        while left > 0 {
            let (run, first, room) = self.pieces(piece, within.clone()).next()?;
            let part = room.min(left);
            self.take_from(run, first, part);
            runs.push((first, part));
            left -= part;
            within.start = first + part;
        }
        Some(runs)
    }
}

#[cfg(test)]
mod tests;
