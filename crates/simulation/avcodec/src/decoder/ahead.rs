//! Decoding of several units at once, for H.264 and HEVC.
//!
//! The library's threads work on consecutive units. The library passes on the outcome of a unit, its picture or its
//! error, once it has received as many further units as it has further threads. The host must notice nothing of this
//! but the speed:
//!
//! - While no further input waits, no picture may wait either. So the codec then sends units without a picture, which
//!   push the others out (`Library::nudge`).
//! - Threads conceal the faults of a stream in another way than one thread does. So as soon as the library warns of
//!   anything, another decoder with one thread takes over, until the next flush. It first decodes the units since the
//!   second-last key picture once more. Of these units, it passes on the pictures and errors of those whose outcome was
//!   not known yet. All pictures that were passed on before are right: a picture is passed on only after all units up to
//!   its own were decoded without a warning. If the second-last key picture is too far back (`MAX_KEPT`), the threads go
//!   on instead, and conceal the fault in their way. The parts that one thread conceals may still differ from those of a
//!   decoder that had one thread from the start: the library also copies memory of earlier pictures into them, and this
//!   memory depends on where decoding began.
//! - A unit without a picture may not separate two fields of one picture. So one thread decodes streams with fields.

use super::{Decoder, Unit};
use crate::library::{Error, Library};
use std::collections::VecDeque;
use vb3_codec::units::nal_units;
use vb3_codec::{Kind, Out, Stop};

/// HEVC: the end of a sequence, as a NAL unit with its start code, and the end of the whole stream.
const SEQUENCE_END: &[u8] = &[0, 0, 1, 0x48, 1];
const STREAM_END: &[u8] = &[0, 0, 1, 0x4a, 1];

/// The state of a decoder that works on several units at once.
#[derive(Default)]
pub(super) struct Ahead {
    /// If the decoder in use has several threads, the one that takes over after a fault. If that one is in use, the
    /// decoder with several threads, without any pictures.
    other: Option<Library>,
    /// Numbers of the units whose outcome is not known yet, oldest first. `None` is a unit without a picture.
    units: VecDeque<Option<u64>>,
    /// The parameter sets that the other decoder received last.
    sets: Vec<u8>,
    /// HEVC: whether the latest unit ended its sequence. The library forgets this when it receives a unit without a
    /// picture.
    has_ended: bool,
}

impl Ahead {
    pub(super) fn set_other(&mut self, other: Library) {
        self.other = Some(other);
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.units.iter().any(Option::is_some)
    }

    /// Forgets the units that the library works on, because it has dropped them.
    pub(super) fn forget(&mut self) {
        self.units.clear();
        self.has_ended = false;
    }
}

impl Decoder {
    fn has_threads(&self) -> bool {
        self.library.depth() > 1
    }

    /// Prepares for a unit that is sent next: one thread takes over if several cannot decode it, and else gets the
    /// unit's parameter sets.
    pub(super) fn prepare(&mut self, unit: &Unit, out: &mut Out) -> Result<(), Stop> {
        if !self.has_threads() {
            return Ok(());
        }
        // Without a key picture in front, one thread could not take over later.
        if self.count == self.drained && !unit.key {
            self.use_one_thread();
        } else if self.parser.has_fields() {
            self.take_over(out)?;
        }
        if self.has_threads()
            && let Some(other) = &mut self.ahead.other
        {
            let sets = parameter_sets(self.row.kind, &unit.bytes);
            if !sets.is_empty() && sets != self.ahead.sets {
                // The library takes a unit without a picture for an error.
                let _ = other.send(&sets, 0);
                self.ahead.sets = sets;
            }
        }
        Ok(())
    }

    /// Sends a unit to the library.
    pub(super) fn send(&mut self, unit: &[u8], number: u64) -> Result<(), Error> {
        if !self.has_threads() || self.row.kind != Kind::HevcDecoder {
            return self.library.send(unit, number);
        }
        let ends = unit.ends_with(SEQUENCE_END) || unit.ends_with(STREAM_END);
        match std::mem::replace(&mut self.ahead.has_ended, ends) {
            true => self.library.send(&[SEQUENCE_END, unit].concat(), number),
            false => self.library.send(unit, number),
        }
    }

    /// Handles the library's answer after a unit was sent. With several threads, the answer is about the oldest unit
    /// that the library works on.
    pub(super) fn handle_sent(
        &mut self,
        number: u64,
        sent: Result<(), Error>,
        out: &mut Out,
    ) -> Result<(), Stop> {
        match self.has_threads() {
            true => self.handle_answer(Some(number), sent, out),
            false => self.handle_outcome(number, sent, out),
        }
    }

    fn handle_answer(
        &mut self,
        sent: Option<u64>,
        answer: Result<(), Error>,
        out: &mut Out,
    ) -> Result<(), Stop> {
        self.ahead.units.push_back(sent);
        if self.library.take_warning() || answer.is_err() {
            self.take_over(out)?;
            if !self.has_threads() {
                return Ok(());
            }
            if let Some(oldest) = self.oldest() {
                self.mark_damaged(oldest);
            }
        }
        if self.ahead.units.len() < self.library.depth() {
            return Ok(());
        }
        match self.ahead.units.pop_front().flatten() {
            Some(number) => self.handle_outcome(number, answer, out),
            None => Ok(()),
        }
    }

    /// Waits until the library has decoded all units, and passes on their outcomes.
    pub(super) fn finish_all(&mut self, out: &mut Out) -> Result<(), Stop> {
        while self.ahead.is_ahead() {
            let answer = self.library.nudge();
            self.handle_answer(None, answer, out)?;
        }
        Ok(())
    }

    /// Returns the oldest unit whose outcome is not known yet.
    fn oldest(&self) -> Option<u64> {
        self.ahead.units.iter().flatten().next().copied()
    }

    /// Lets one thread decode again the units whose outcomes are not known yet, and go on until the next flush. Does
    /// nothing if the units before them are lost.
    fn take_over(&mut self, out: &mut Out) -> Result<(), Stop> {
        let from = self.oldest().unwrap_or(self.count + 1);
        let first = self.history.units.front().map(|(number, _)| *number);
        if self.count > self.drained && first.is_none_or(|first| first > from) {
            return Ok(());
        }
        // After a drain, several threads only begin with a key picture. The library has forgotten what came before.
        let begin = self.drained + 1;
        self.use_one_thread();
        let units = std::mem::take(&mut self.history.units);
        let done = units
            .iter()
            .filter(|(number, _)| *number >= begin)
            .try_for_each(|(number, bytes)| {
                out.begin_piece();
                let sent = self.library.send(bytes, *number);
                if *number < from {
                    // The outcome was passed on already.
                    while let Ok(Some(_)) = self.library.receive() {}
                    return Ok(());
                }
                self.announce_coming(out)?;
                self.handle_outcome(*number, sent, out)
            });
        self.history.units = units;
        done
    }

    /// Uses the decoder with one thread from now on. The other one drops its pictures.
    pub(super) fn use_one_thread(&mut self) {
        if let Some(one) = self.ahead.other.take_if(|one| one.depth() == 1) {
            self.forget();
            self.ahead.other = Some(std::mem::replace(&mut self.library, one));
        }
    }

    /// Uses several threads again, if there are any. Called when the library has no pictures.
    pub(super) fn use_all_threads(&mut self) {
        if let Some(all) = self.ahead.other.take_if(|all| all.depth() > 1) {
            self.ahead.other = Some(std::mem::replace(&mut self.library, all));
        }
    }
}

/// Returns the parameter sets before a unit's first slice, with start codes.
fn parameter_sets(kind: Kind, unit: &[u8]) -> Vec<u8> {
    let sort = |nal: &[u8]| {
        let header = nal.first().copied().unwrap_or_default();
        match kind {
            Kind::H264Decoder => header & 0x1f,
            _ => header >> 1 & 0x3f,
        }
    };
    let (slices, sets): (_, &[u8]) = match kind {
        Kind::H264Decoder => (1..=5, &[7, 8, 13, 15]),
        _ => (0..=31, &[32, 33, 34]),
    };
    let leading = nal_units(unit).take_while(|nal| !slices.contains(&sort(nal)));
    let found = leading.filter(|nal| sets.contains(&sort(nal)));
    found.flat_map(|nal| [&[0, 0, 1], nal].concat()).collect()
}
