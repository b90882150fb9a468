//! Cutting a byte stream into access units (H.264 7.4.1.2.3 and annex B).

use super::params::{Params, SliceId, Tool, inexact, is_idr, is_slice};
use std::collections::VecDeque;
use std::ops::Range;

/// Longest access unit, in bytes.
const MAX_UNIT: usize = 16 << 20;
/// Most bytes of parameter sets and the like before a slice.
const MAX_LEAD: usize = 1 << 20;
/// Bytes of a slice within which lies what tells pictures apart.
const PEEK: usize = 48;
/// Bytes of a start code: where one begins within [`PEEK`], the slice is shorter than that.
const START: usize = 3;

/// An access unit with at least one slice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// NAL units with start codes.
    pub(super) bytes: Vec<u8>,
    /// Of the piece in which its first slice began.
    pub(super) tag: u64,
    /// Whether the picture needs no other.
    pub(super) key: bool,
    /// The beginning of its first slice.
    pub(super) slice: Vec<u8>,
    /// A coding tool of one of its slices that the library does not decode exactly.
    pub(super) inexact: Option<Tool>,
}

/// The first slice of the access unit that is being collected.
#[derive(Debug)]
struct First {
    tag: u64,
    key: bool,
    id: Option<SliceId>,
    slice: Vec<u8>,
    inexact: Option<Tool>,
}

/// Collects pieces of a stream.
#[derive(Default)]
pub(super) struct Units {
    /// Whole NAL units that came with no slice; they go with the next one.
    lead: Vec<u8>,
    /// What came; from `start` on it was not given.
    bytes: Vec<u8>,
    start: usize,
    /// Where in `bytes` the pieces begin, and their tags.
    pieces: VecDeque<(usize, u64)>,
    /// Up to here there is no other start code.
    searched: usize,
    /// Where the last NAL unit begins, after its start code.
    nal: Option<usize>,
    /// Whether that NAL unit's kind was looked at.
    seen: bool,
    first: Option<First>,
    /// What was wrong, and in which piece.
    faults: VecDeque<(u64, String)>,
    /// In which piece something was found wrong last.
    last_fault: Option<u64>,
}

/// Whether bytes begin with a start code; gives where the NAL unit begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0, 0, 1, ..] => Some(3),
        [0, 0, 0, 1, ..] => Some(4),
        _ => None,
    }
}

/// The tag of the last piece.
fn last_tag(pieces: &VecDeque<(usize, u64)>) -> u64 {
    pieces.back().map_or(0, |(_, tag)| *tag)
}

impl Units {
    /// Adds a piece.
    pub(super) fn push(&mut self, tag: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.pieces.push_back((self.bytes.len(), tag));
        self.bytes.extend_from_slice(data);
    }

    /// Forgets what was not given.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What was found wrong so far.
    pub(super) fn fault(&mut self) -> Option<(u64, String)> {
        self.faults.pop_front()
    }

    /// Whether `data`, put after what is here, would begin another access unit.
    pub(super) fn would_begin(&self, data: &[u8], params: &Params) -> bool {
        let nal = start_code(data).and_then(|at| data.get(at..));
        self.first.is_some() && nal.is_some_and(|nal| self.begins(nal, params))
    }

    /// Whether `data` may follow a whole access unit: it does not go on with a picture.
    pub(super) fn could_begin(&self, data: &[u8]) -> bool {
        let nal = start_code(data).and_then(|at| data.get(at..));
        nal.is_some_and(|nal| match nal {
            [header, first, ..] if is_slice(&[*header]) => first & 0x80 != 0,
            _ => true,
        })
    }

    /// First slice and key of the unit that is being collected.
    pub(super) fn pending(&self) -> Option<(&[u8], bool)> {
        let first = self.first.as_ref()?;
        Some((&first.slice, first.key))
    }

    /// The next access unit that is complete. With `all`, what is here is taken for whole.
    pub(super) fn next(&mut self, params: &mut Params, all: bool) -> Option<Unit> {
        loop {
            let next = self.find();
            if let Some(nal) = self.nal.filter(|_| !self.seen) {
                let end = next.unwrap_or(self.bytes.len());
                if end - nal < PEEK + START && next.is_none() && !all {
                    return None;
                }
                let head = self.bytes.get(nal..end.min(nal + PEEK)).unwrap_or_default();
                if self.begins(head, params) && self.first.is_some() {
                    return self.cut(nal - 3);
                }
                self.seen = true;
                self.note(nal, end.min(nal + PEEK), params);
            }
            match next {
                Some(at) => {
                    if self.nal.is_none() {
                        self.skip_to(at);
                    }
                    self.finish(at, params);
                    self.nal = Some(at + 3);
                    self.seen = false;
                    self.searched = at + 3;
                }
                None if all => {
                    self.finish(self.bytes.len(), params);
                    self.nal = None;
                    if self.first.is_none() {
                        self.set_aside();
                        return None;
                    }
                    return self.cut(self.bytes.len());
                }
                None => {
                    self.bound();
                    return None;
                }
            }
        }
    }

    /// Where the next start code is.
    fn find(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let found = memchr::memmem::find(rest, &[0, 0, 1]);
        match found {
            Some(at) => Some(self.searched + at),
            None => {
                let safe = self.bytes.len().saturating_sub(2);
                self.searched = self.searched.max(safe);
                None
            }
        }
    }

    /// Whether a NAL unit that begins so begins an access unit, if there was a slice before.
    fn begins(&self, nal: &[u8], params: &Params) -> bool {
        match nal.first().map_or(0, |header| header & 0x1f) {
            1 | 5 => match (&self.first, params.slice(nal)) {
                (Some(First { id: Some(id), .. }), Some(other)) => *id != other,
                // The first macroblock's number is 0.
                _ => nal.get(1).is_some_and(|byte| byte & 0x80 != 0),
            },
            6..=9 | 15..=18 => true,
            _ => false,
        }
    }

    /// Remembers the first slice of a unit, and the tools that its slices use.
    fn note(&mut self, nal: usize, end: usize, params: &Params) {
        let head = self.bytes.get(nal..end).unwrap_or_default();
        if self.first.is_none() && is_slice(head) {
            self.first = Some(First {
                tag: self.tag_at(nal),
                key: is_idr(head),
                id: params.slice(head),
                slice: head.to_vec(),
                inexact: None,
            });
        }
        if let Some(first) = &mut self.first {
            first.inexact = first.inexact.or_else(|| inexact(head));
        }
    }

    fn tag_at(&self, at: usize) -> u64 {
        let piece = self.pieces.iter().rev().find(|(start, _)| *start <= at);
        piece.map_or(0, |(_, tag)| *tag)
    }

    /// The last NAL unit ends here.
    fn finish(&mut self, end: usize, params: &mut Params) {
        let Some(nal) = self.nal else { return };
        let bytes = self.bytes.get(nal..end).unwrap_or_default();
        let len = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        if let Err(sentence) = params.take(bytes.get(..len).unwrap_or_default()) {
            self.complain(self.tag_at(nal), sentence);
        }
    }

    /// One fault of a piece is told; a piece may have millions.
    fn complain(&mut self, tag: u64, sentence: String) {
        if self.last_fault != Some(tag) {
            self.last_fault = Some(tag);
            self.faults.push_back((tag, sentence));
        }
    }

    /// Takes the unit that ends at `end`; what has no slice stays, to go with the next.
    fn cut(&mut self, end: usize) -> Option<Unit> {
        let first = self.first.take()?;
        let mut bytes = std::mem::take(&mut self.lead);
        bytes.extend_from_slice(self.bytes.get(self.start..end).unwrap_or_default());
        self.start = end;
        // Not each time: a piece may have very many units.
        if self.start > self.bytes.len() / 2 {
            self.forget_given();
        }
        let len = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        bytes.truncate(len);
        Some(Unit {
            bytes,
            tag: first.tag,
            key: first.key,
            slice: first.slice,
            inexact: first.inexact,
        })
    }

    /// Makes room where what was given lies.
    fn forget_given(&mut self) {
        let by = std::mem::take(&mut self.start);
        self.bytes.drain(..by.min(self.bytes.len()));
        self.moved(by);
    }

    /// Keeps whole NAL units for the next slice.
    fn set_aside(&mut self) {
        self.forget_given();
        let end = self.bytes.len();
        if start_code(&self.bytes).is_some() && self.lead.len() + end <= MAX_LEAD {
            self.lead.extend_from_slice(&self.bytes);
        } else {
            self.noise(last_tag(&self.pieces), 0..end);
        }
        self.bytes.clear();
        self.moved(end);
    }

    /// Passes over bytes of no NAL unit, up to a start code.
    fn skip_to(&mut self, at: usize) {
        let tag = self.tag_at(self.start);
        self.noise(tag, self.start..at);
        let noise = self.bytes.get(self.start..at).unwrap_or_default();
        // The zero of a long start code goes with it.
        self.start = at - usize::from(noise.last() == Some(&0));
    }

    /// Says that there were bytes of no NAL unit.
    fn noise(&mut self, tag: u64, place: Range<usize>) {
        let bytes = self.bytes.get(place).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            self.complain(tag, "there is no start code".to_owned());
        }
    }

    /// The first bytes are gone.
    fn moved(&mut self, by: usize) {
        self.searched = self.searched.saturating_sub(by);
        self.nal = self.nal.map(|nal| nal.saturating_sub(by));
        // The last piece that began before goes on at 0.
        while self.pieces.get(1).is_some_and(|(start, _)| *start <= by) {
            self.pieces.pop_front();
        }
        for (start, _) in &mut self.pieces {
            *start = start.saturating_sub(by);
        }
    }

    /// Drops what can be no part of a unit, and units that are too long.
    fn bound(&mut self) {
        let tag = last_tag(&self.pieces);
        self.forget_given();
        if self.nal.is_none() && self.searched > 0 {
            self.noise(tag, 0..self.searched);
            self.bytes.drain(..self.searched);
            self.moved(self.searched);
        }
        if self.bytes.len() > MAX_UNIT {
            let faults = std::mem::take(&mut self.faults);
            self.clear();
            self.faults = faults;
            let sentence = format!("a picture has more than {MAX_UNIT} bytes");
            self.faults.push_back((tag, sentence));
        }
    }
}

#[cfg(test)]
mod tests;
