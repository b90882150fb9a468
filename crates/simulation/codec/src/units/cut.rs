//! Cuts pieces of a stream into access units.

use crate::job::Framing;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;

/// The rules for cutting a codec's stream.
///
/// For every codec, the bytes after a start code are called a NAL unit here. A NAL unit that contains a
/// picture or a part of one is called a slice.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Syntax: Default {
    /// A picture's id, read from a slice: equal in all slices of one picture, different in the next picture.
    type SliceId: PartialEq + Debug + Default;

    /// Whether zero bytes before a start code are padding, which belongs to no NAL unit.
    const TRAILING_ZEROS: bool = true;

    /// Returns whether a NAL unit with this beginning is a slice.
    fn is_slice(&self, nal: &[u8]) -> bool;

    /// Returns whether a picture is independent. `nal` is the beginning of the picture's first slice.
    fn is_key(&self, nal: &[u8]) -> bool;

    /// Returns a slice's picture id; `None` if it is unreadable, or the format has none.
    fn slice_id(&self, nal: &[u8]) -> Option<Self::SliceId> {
        None
    }

    /// Returns whether the NAL unit that begins with `nal` ends the current access unit and starts the next.
    ///
    /// `first` is the id of the current unit's first slice, or `None` if this id is unreadable.
    fn begins(&self, first: Option<&Self::SliceId>, nal: &[u8]) -> bool;

    /// Returns whether the NAL unit that begins with `nal` can be the first of an access unit. A slice that
    /// continues a picture cannot.
    fn could_begin(&self, nal: &[u8]) -> bool;

    /// Returns whether a picture may consist of two access units, one for each field.
    fn has_fields(&self) -> bool {
        false
    }

    /// Processes a complete NAL unit, without start code.
    ///
    /// # Errors
    /// Returns a message about a fault of the NAL unit.
    fn take(&mut self, nal: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Cuts pieces of a stream into access units. [`Framing`] says where pieces may end.
#[derive(Debug, Default)]
pub struct Cutter<S: Syntax> {
    syntax: S,
    units: Units<S>,
    framing: Framing,
    /// For [`Framing::Auto`]: whether all pieces so far began access units; `None` until this is known.
    aligned: Option<bool>,
}

/// Makes access units of a stream's pieces.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Parser {
    /// Sets the framing of the input.
    fn set_framing(&mut self, framing: Framing) {}

    /// Adds a piece.
    fn push(&mut self, tag: u64, data: &[u8]);

    /// Returns the next complete access unit. With `all`, the remaining bytes are treated as complete.
    fn next(&mut self, all: bool) -> Option<Unit>;

    /// Returns the next fault: the tag of its piece, and a message.
    fn fault(&mut self) -> Option<(u64, String)> {
        None
    }

    /// Drops the received bytes that no returned access unit contains.
    fn clear(&mut self);

    /// Returns whether a picture may consist of two units, one for each field.
    fn has_fields(&self) -> bool {
        false
    }

    /// Returns the number of received bytes that `next` has not returned yet.
    fn waiting(&self) -> usize {
        0
    }

    /// Returns the bytes of the incomplete access unit, once its first slice has begun.
    fn pending(&self) -> Option<Vec<u8>> {
        None
    }
}

impl<S: Syntax> Parser for Cutter<S> {
    fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
        self.aligned = None;
    }

    fn push(&mut self, tag: u64, data: &[u8]) {
        self.detect_framing(data);
        self.units.push(tag, data);
    }

    fn next(&mut self, all: bool) -> Option<Unit> {
        let all = all || self.pieces_are_units();
        self.units.next(&mut self.syntax, all)
    }

    fn fault(&mut self) -> Option<(u64, String)> {
        self.units.fault()
    }

    fn clear(&mut self) {
        self.units.clear();
    }

    fn has_fields(&self) -> bool {
        self.syntax.has_fields()
    }

    fn waiting(&self) -> usize {
        self.units.bytes.len().saturating_sub(self.units.start)
    }

    fn pending(&self) -> Option<Vec<u8>> {
        let units = &self.units;
        let rest = units.bytes.get(units.start..).unwrap_or_default();
        units
            .first
            .as_ref()
            .map(|_| [units.lead.as_slice(), rest].concat())
    }
}

impl<S: Syntax> Cutter<S> {
    /// Detects from the beginning of a piece whether pieces are access units.
    fn detect_framing(&mut self, data: &[u8]) {
        if data.is_empty() || self.aligned == Some(false) {
            return;
        }
        let nal = start_code(data).and_then(|at| data.get(at..));
        let could_begin = nal.is_some_and(|nal| self.syntax.could_begin(nal));
        if self.aligned == Some(true) && !could_begin {
            self.aligned = Some(false);
        } else if self.aligned.is_none() && self.units.first.is_some() {
            self.aligned = Some(self.units.would_begin(data, &self.syntax));
        }
    }

    fn pieces_are_units(&self) -> bool {
        match self.framing {
            Framing::Auto => self.aligned == Some(true),
            Framing::AccessUnits => true,
            Framing::Stream => false,
        }
    }
}

/// Longest access unit, in bytes.
const MAX_UNIT: usize = 16 << 20;
/// Maximum length in bytes of the NAL units before a picture's first slice, such as parameter sets.
const MAX_LEAD: usize = 1 << 20;
/// Number of bytes at the beginning of a slice's NAL unit that are enough to read the slice's id. A NAL unit may be
/// shorter.
const PEEK: usize = 48;
/// Length of a start code in bytes.
const START: usize = 3;

/// An access unit with at least one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// NAL units with start codes.
    pub bytes: Vec<u8>,
    /// Tag of the piece that has the start of the unit's first slice.
    pub tag: u64,
    /// Whether the picture is independent: it refers to no other picture.
    pub key: bool,
}

/// The first slice of the incomplete access unit.
#[derive(Debug)]
struct First<I> {
    tag: u64,
    key: bool,
    id: Option<I>,
}

/// Collects pieces of a stream, as they arrive, until an access unit is complete.
#[derive(Debug, Default)]
struct Units<S: Syntax> {
    /// Complete NAL units before the next slice, which belong to the same access unit as the slice.
    lead: Vec<u8>,
    /// Received bytes. The bytes before `start` belong to access units already returned.
    bytes: Vec<u8>,
    start: usize,
    /// Offset in `bytes` and tag of each piece.
    pieces: VecDeque<(usize, u64)>,
    /// Number of bytes already searched for start codes.
    searched: usize,
    /// Offset of the newest NAL unit, which begins after its start code.
    nal: Option<usize>,
    /// Whether `next` has already tested if the NAL unit at `nal` starts an access unit.
    seen: bool,
    first: Option<First<S::SliceId>>,
    /// Faults, each with the tag of its piece.
    faults: VecDeque<(u64, String)>,
    /// Tag of the piece with the most recent fault.
    last_fault: Option<u64>,
}

/// Returns the offset of the first start code.
fn find_start(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, &[0, 0, 1])
}

/// Returns the NAL units of an access unit, without their start codes.
pub fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let after = |bytes: &[u8]| find_start(bytes).map(|at| at + START);
    let mut rest = unit;
    std::iter::from_fn(move || {
        rest = rest.get(after(rest)?..)?;
        rest.get(..find_start(rest).unwrap_or(rest.len()))
    })
}

/// If the bytes begin with a start code, returns the offset of the NAL unit after it.
fn start_code(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0, 0, 1, ..] => Some(3),
        [0, 0, 0, 1, ..] => Some(4),
        _ => None,
    }
}

/// Returns the bytes without trailing zeroes.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|byte| *byte != 0);
    bytes.get(..last.map_or(0, |at| at + 1)).unwrap_or_default()
}

/// Returns the tag of the newest piece.
fn last_tag(pieces: &VecDeque<(usize, u64)>) -> u64 {
    pieces.back().map_or(0, |(_, tag)| *tag)
}

impl<S: Syntax> Units<S> {
    /// Adds a piece.
    fn push(&mut self, tag: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.pieces.push_back((self.bytes.len(), tag));
        self.bytes.extend_from_slice(data);
    }

    /// Drops the received bytes that no returned access unit contains.
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the next fault.
    fn fault(&mut self) -> Option<(u64, String)> {
        self.faults.pop_front()
    }

    /// Returns whether `data`, appended to the bytes so far, would begin another access unit.
    fn would_begin(&self, data: &[u8], syntax: &S) -> bool {
        let nal = start_code(data).and_then(|at| data.get(at..));
        self.first.is_some() && nal.is_some_and(|nal| self.begins(nal, syntax))
    }

    /// Returns the next complete access unit. With `all`, the remaining bytes are treated as complete.
    fn next(&mut self, syntax: &mut S, all: bool) -> Option<Unit> {
        loop {
            let next = self.find();
            if let Some(nal) = self.nal.filter(|_| !self.seen) {
                let end = next.unwrap_or(self.bytes.len());
                if end - nal < PEEK + START && next.is_none() && !all {
                    self.bound();
                    return None;
                }
                let head = self.bytes.get(nal..end.min(nal + PEEK)).unwrap_or_default();
                if self.begins(head, syntax) && self.first.is_some() {
                    return self.cut(nal - 3);
                }
                self.seen = true;
                self.note(nal, end.min(nal + PEEK), syntax);
            }
            match next {
                Some(at) => {
                    if self.nal.is_none() {
                        self.skip_to(at);
                    }
                    self.finish(at, syntax);
                    self.nal = Some(at + 3);
                    self.seen = false;
                    self.searched = at + 3;
                }
                None if all => {
                    self.finish(self.bytes.len(), syntax);
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

    /// Finds the next start code.
    fn find(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        match find_start(rest) {
            Some(at) => Some(self.searched + at),
            None => {
                let safe = self.bytes.len().saturating_sub(2);
                self.searched = self.searched.max(safe);
                None
            }
        }
    }

    /// Returns whether the NAL unit that begins with `nal` ends the current access unit and starts the next.
    fn begins(&self, nal: &[u8], syntax: &S) -> bool {
        let first = self.first.as_ref().and_then(|first| first.id.as_ref());
        syntax.begins(first, nal)
    }

    /// If the NAL unit at `nal` is the current access unit's first slice, stores the slice's properties.
    fn note(&mut self, nal: usize, end: usize, syntax: &S) {
        let head = self.bytes.get(nal..end).unwrap_or_default();
        if self.first.is_none() && syntax.is_slice(head) {
            self.first = Some(First {
                tag: self.tag_at(nal),
                key: syntax.is_key(head),
                id: syntax.slice_id(head),
            });
        }
    }

    fn tag_at(&self, at: usize) -> u64 {
        let piece = self.pieces.iter().rev().find(|(start, _)| *start <= at);
        piece.map_or(0, |(_, tag)| *tag)
    }

    /// Ends the newest NAL unit at `end`, and passes the unit to `syntax`.
    fn finish(&mut self, end: usize, syntax: &mut S) {
        let Some(nal) = self.nal else { return };
        let bytes = self.bytes.get(nal..end).unwrap_or_default();
        if let Err(sentence) = syntax.take(without_zeros(bytes)) {
            self.report_fault(self.tag_at(nal), sentence);
        }
    }

    /// Stores a fault, which [`Self::fault`] returns later. Stores at most one for each piece, since a piece may
    /// have millions of faults.
    fn report_fault(&mut self, tag: u64, sentence: String) {
        if self.last_fault != Some(tag) {
            self.last_fault = Some(tag);
            self.faults.push_back((tag, sentence));
        }
    }

    /// Removes the access unit that ends at `end`. Bytes without a slice stay, for the next unit.
    fn cut(&mut self, end: usize) -> Option<Unit> {
        let first = self.first.take()?;
        let mut bytes = std::mem::take(&mut self.lead);
        bytes.extend_from_slice(self.bytes.get(self.start..end).unwrap_or_default());
        self.start = end;
        // Moves the remaining bytes only when they are less than half: to move them for each unit is slow.
        if self.start > self.bytes.len() / 2 {
            self.forget_given();
        }
        if S::TRAILING_ZEROS {
            bytes.truncate(without_zeros(&bytes).len());
        }
        Some(Unit {
            bytes,
            tag: first.tag,
            key: first.key,
        })
    }

    /// Frees the memory of returned bytes.
    fn forget_given(&mut self) {
        let by = std::mem::take(&mut self.start);
        self.bytes.drain(..by.min(self.bytes.len()));
        self.moved(by);
    }

    /// Moves the received NAL units, which have no slice, to `lead`, for the access unit of the next slice.
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

    /// Skips bytes outside NAL units, up to the start code at `at`.
    fn skip_to(&mut self, at: usize) {
        let tag = self.tag_at(self.start);
        self.noise(tag, self.start..at);
        let noise = self.bytes.get(self.start..at).unwrap_or_default();
        // A start code of four bytes begins with a further zero, which is not noise.
        self.start = at - usize::from(noise.last() == Some(&0));
    }

    /// Reports bytes outside NAL units as a fault, unless they are all zero.
    fn noise(&mut self, tag: u64, place: Range<usize>) {
        let bytes = self.bytes.get(place).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            self.report_fault(tag, "there is no start code".to_owned());
        }
    }

    /// Adjusts all offsets after the first `by` bytes were removed.
    fn moved(&mut self, by: usize) {
        self.searched = self.searched.saturating_sub(by);
        self.nal = self.nal.map(|nal| nal.saturating_sub(by));
        // Of the pieces that began in the removed bytes, only the last is kept, now at offset 0.
        while self.pieces.get(1).is_some_and(|(start, _)| *start <= by) {
            self.pieces.pop_front();
        }
        for (start, _) in &mut self.pieces {
            *start = start.saturating_sub(by);
        }
    }

    /// Drops bytes that cannot belong to a unit, and units that are too long.
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
