//! Free frames as runs, and the ways of taking some.

use rand_core::Rng;
use std::collections::BTreeMap;

/// A set of frames, kept as runs that are apart.
///
/// # Invariants
/// No two runs touch or overlap; `frames` is the sum of their lengths.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<u64, u64>,
    frames: u64,
}

impl Runs {
    /// Free frames.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// The longest run below frame `end`.
    pub(crate) fn largest(&self, end: u64) -> u64 {
        self.runs
            .range(..end)
            .map(|(&start, &len)| len.min(end - start))
            .max()
            .unwrap_or(0)
    }

    /// Free frames below frame `end`.
    pub(crate) fn frames_below(&self, end: u64) -> u64 {
        self.runs
            .range(..end)
            .map(|(&start, &len)| len.min(end - start))
            .sum()
    }

    /// Adds frames that are not in the set.
    pub(crate) fn give(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.frames += len;
        let (mut first, mut count) = (start, len);
        if let Some((&before, &before_len)) = self.runs.range(..start).next_back()
            && before + before_len == start
        {
            self.runs.remove(&before);
            first = before;
            count += before_len;
        }
        if let Some(after_len) = self.runs.remove(&(start + len)) {
            count += after_len;
        }
        self.runs.insert(first, count);
    }

    /// Takes frames out of the run that starts at `run` and holds all of them.
    fn take_from(&mut self, run: u64, start: u64, len: u64) {
        let Some(run_len) = self.runs.remove(&run) else {
            return;
        };
        if start > run {
            self.runs.insert(run, start - run);
        }
        let (end, run_end) = (start + len, run + run_len);
        if end < run_end {
            self.runs.insert(end, run_end - end);
        }
        self.frames -= len;
    }

    /// Takes `len` frames, from a multiple of `align` on, of the run that fits best below frame
    /// `end`; the lowest of several.
    pub(crate) fn take_run(&mut self, (len, align): (u64, u64), end: u64) -> Option<u64> {
        let fits = |(&start, &run): (&u64, &u64)| {
            let at = start.next_multiple_of(align.max(1));
            let last = (start + run).min(end).checked_sub(len)?;
            (at <= last).then_some((run, start, at))
        };
        let all = self.runs.range(..end).filter_map(fits);
        let (_, best, at) = all.min_by_key(|&(run, ..)| run)?;
        self.take_from(best, at, len);
        Some(at)
    }

    /// Takes the highest run of `len` frames (a power of two) that starts on a multiple of `len`.
    pub(crate) fn take_highest(&mut self, len: u64) -> Option<u64> {
        let fits = |(&start, &run): (&u64, &u64)| {
            let at = (start + run).checked_sub(len)? & !(len - 1);
            (at >= start).then_some((start, at))
        };
        let (run, at) = self.runs.iter().rev().find_map(fits)?;
        self.take_from(run, at, len);
        Some(at)
    }

    /// Takes one frame below `end`, anywhere.
    fn take_any(&mut self, rng: &mut impl Rng, end: u64) -> Option<u64> {
        let (&lowest, _) = self.runs.range(..end).next()?;
        let (&last, &last_len) = self.runs.range(..end).next_back()?;
        let top = (last + last_len).min(end);
        let wish = lowest + rng.next_u64() % (top - lowest);
        let holding = self
            .runs
            .range(..=wish)
            .next_back()
            .map(|(&start, &len)| (start, start + len))
            .filter(|&(_, run_end)| run_end > wish);
        let (run, frame) = match holding {
            Some((start, _)) => (start, wish),
            // `wish` lies in a gap, and the last run starts behind every gap.
            None => self
                .runs
                .range(wish..end)
                .next()
                .map(|(&start, _)| (start, start))?,
        };
        self.take_from(run, frame, 1);
        Some(frame)
    }

    /// Takes `len` frames below `end` so that none lies right behind the one before it.
    pub(crate) fn take_scattered(
        &mut self,
        rng: &mut impl Rng,
        len: u64,
        end: u64,
    ) -> Option<Vec<u64>> {
        let mut frames = Vec::new();
        for _ in 0..len {
            match self.take_any(rng, end) {
                Some(frame) => frames.push(frame),
                None => {
                    frames.iter().for_each(|&frame| self.give(frame, 1));
                    return None;
                }
            }
        }
        // Turning a touching pair round makes no new one: its neighbours would have to be equal
        // to one of the two.
        for i in 1..frames.len() {
            if frames[i - 1] + 1 == frames[i] {
                frames.swap(i - 1, i);
            }
        }
        Some(frames)
    }

    /// Takes the lowest `len` frames below `end`, in order.
    pub(crate) fn take_lowest(&mut self, len: u64, end: u64) -> Option<Vec<u64>> {
        if self.frames_below(end) < len {
            return None;
        }
        let mut frames = Vec::new();
        let mut left = len;
        while left > 0 {
            let (&start, &run) = self.runs.iter().next()?;
            let part = run.min(left).min(end - start);
            self.take_from(start, start, part);
            frames.extend(start..start + part);
            left -= part;
        }
        Some(frames)
    }
}

#[cfg(test)]
mod tests;
