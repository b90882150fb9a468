//! Lent memory on the side of the parent, the process with the [`Worker`].

use super::{State, Worker};
use crate::job::Refused;
use crate::loan::{self, BY_SLOT, Lent, LentPlane, MAX_LOANS, extent, shapes};
use crate::wire::{Message, Op};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeMap, VecDeque};

/// Limits of a worker's mappings: number of memories, and bytes. Before they are exceeded, the worker unmaps
/// all memory that no loan uses. If this is not enough, memory is not lent.
const MAX_MAPPED: usize = 512;
const MAX_MAPPED_BYTES: u64 = 512 << 20;

/// Lent memory of a worker.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// Numbers of the loans in use, oldest first, and the memory of each. A loan whose picture uses an output slot
    /// has no memory.
    out: VecDeque<(u64, Memories)>,
    last: u64,
    /// The memory that the worker has mapped.
    mapped: Memories,
}

/// Numbers and lengths in bytes of memory.
type Memories = BTreeMap<u64, u64>;

impl Loans {
    /// Processes a report that the worker used a loan. `is_filled`: the picture is in the lent memory.
    /// Returns false for a loan that was revoked, and fails for an impossible report.
    pub(super) fn used(&mut self, number: u64, is_filled: bool) -> Result<bool, &'static str> {
        if number == 0 || number > self.last {
            return Err("used a loan that it was not given");
        }
        let Some(at) = self.out.iter().position(|(out, _)| *out == number) else {
            return Ok(false);
        };
        match self.out.remove(at) {
            Some((_, memories)) if is_filled && memories.is_empty() => {
                Err("filled memory that it was not lent")
            }
            _ => Ok(true),
        }
    }

    /// Returns whether the worker may map further memory.
    fn has_room(&self, further: &Memories) -> bool {
        // Memory in use stays mapped when the worker unmaps the rest.
        let lent = self.out.iter().map(|(_, lent)| lent);
        let all = lent.chain([&self.mapped, further]).flatten();
        let all: Memories = all.map(|(number, len)| (*number, *len)).collect();
        let bytes = all
            .values()
            .fold(0_u64, |sum, len| sum.saturating_add(*len));
        all.len() <= MAX_MAPPED && bytes <= MAX_MAPPED_BYTES
    }
}

impl Worker {
    /// Lends memory for the next picture that has no loan yet. Returns the loan's number.
    ///
    /// The event of the picture repeats this number. After [`Job::ProceedByLoan`](crate::Job::ProceedByLoan),
    /// each picture waits for a loan. A picture that fits is written directly to the lent memory. If `lent`
    /// is `None`, the picture uses an output slot. The host may lend the same memory again as soon as its picture is
    /// reported.
    ///
    /// # Errors
    /// Nothing was lent; the reason says whether to try again.
    pub fn lend(&mut self, lent: Option<&Lent<'_>>) -> Result<u64, Refused> {
        let layout = self
            .layout
            .filter(|_| !self.kind.encodes())
            .ok_or(Refused::Wrong("no format was proceeded with"))?;
        if self.loans.out.len() >= MAX_LOANS {
            return Err(Refused::Full(MAX_LOANS));
        }
        let mut lies = BY_SLOT;
        let mut words = Vec::new();
        let mut memories = Memories::new();
        if let Some(lent) = lent {
            lies = lent.chroma as u64;
            let shapes = shapes(&layout, lent.chroma);
            if shapes.len() != lent.planes.len() {
                return Err(Refused::Wrong("the memory has planes of another kind"));
            }
            for (plane, shape) in lent.planes.iter().zip(shapes) {
                let extent = extent(shape, plane.stride);
                let end = extent.and_then(|extent| extent.checked_add(plane.offset));
                if end.is_none_or(|end| end > plane.len) {
                    return Err(Refused::Wrong("the memory is too small for the picture"));
                }
                words.extend([plane.number, plane.offset, plane.stride]);
                memories.insert(plane.number, plane.len);
            }
            self.map(lent.planes, &memories)?;
        }
        // No other loan may have the same word.
        let mut number = self.loans.last + 1;
        while self
            .loans
            .out
            .iter()
            .any(|(out, _)| loan::share_a_word(*out, number))
        {
            number += 1;
        }
        let mut message = vec![number, lies, layout.width.into(), layout.height.into()];
        message.extend(words);
        loan::lend(&self.input, number);
        self.send(&Message::new(Op::Lend, &message), None)?;
        self.loans.last = number;
        self.loans.out.push_back((number, memories));
        Ok(number)
    }

    /// Makes the worker map those of the planes' memories that it has not mapped yet.
    fn map(&mut self, planes: &[LentPlane<'_>], memories: &Memories) -> Result<(), Refused> {
        if !self.loans.has_room(memories) {
            self.unmap()?;
            if !self.loans.has_room(memories) {
                return Err(Refused::Wrong("too much memory is lent"));
            }
        }
        for plane in planes {
            if !self.loans.mapped.contains_key(&plane.number) {
                let message = Message::new(Op::Map, &[plane.number]);
                self.send(&message, Some(plane.memory))?;
                self.loans.mapped.insert(plane.number, plane.len);
            }
        }
        Ok(())
    }

    fn unmap(&mut self) -> Result<(), Refused> {
        if !self.loans.mapped.is_empty() {
            self.send(&Message::new(Op::Unmap, &[]), None)?;
            self.loans.mapped.clear();
        }
        Ok(())
    }

    /// Takes back all loans to which the worker is not writing now. Returns whether none is left, or the worker is gone.
    /// Never waits.
    pub fn try_take_back(&mut self) -> bool {
        let input = &self.input;
        let is_kept = |(number, _): &(u64, Memories)| !loan::try_take_back(input, *number);
        self.loans.out.retain(is_kept);
        if !self.loans.out.is_empty() && (self.state != State::Alive || self.is_gone()) {
            self.take_back();
        }
        self.loans.out.is_empty()
    }

    /// Returns whether the worker still has a loan.
    #[must_use]
    pub fn has_loan(&self, number: u64) -> bool {
        self.loans.out.iter().any(|(out, _)| *out == number)
    }

    /// Takes all loans back. Afterwards, the worker neither reads nor writes the memory of these loans.
    ///
    /// The call waits while the worker copies a picture. A worker that takes much longer, or that is stopped, is
    /// killed. Pictures not reported yet are lost.
    pub fn take_back(&mut self) {
        let out = std::mem::take(&mut self.loans.out);
        // A killed worker writes no more, although it may need time to end.
        let mut is_over = self.state == State::Alive;
        let input = &self.input;
        for (number, _) in out {
            is_over &= loan::take_back(input, number, || !is_over || self.is_gone());
        }
        if !is_over && self.state != State::Dead {
            self.running.kill();
            if self.state == State::Alive {
                self.state = State::Dying("did not release a buffer");
            }
        }
    }

    /// Returns whether the process has ended, or is stopped and so cannot answer.
    pub(super) fn is_gone(&self) -> bool {
        let fd = self.link.socket.fd();
        let now = Timespec::default();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::HUP)], Some(&now));
        // A signal does not end the process.
        !matches!(ready, Ok(0) | Err(rustix::io::Errno::INTR)) || self.running.is_stopped()
    }

    /// As `take_back`, and makes the worker unmap the memory.
    pub fn take_all_back(&mut self) {
        self.take_back();
        // If the socket is full, the next call of `unmap` sends the message. An ended worker maps nothing.
        let _ = self.unmap();
    }
}
