//! The worker's side of memory that the parent process lends for decoded pictures.

use super::Stop;
use crate::job::{Chroma, Planes};
use crate::loan::{self, BY_SLOT, MAX_LOANS, Spot};
use crate::shm::Shared;
use crate::slots::Layout;
use crate::wire::Message;
use crate::words::chroma_from_word;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A loan: the permission to write one picture, to lent memory or to a slot.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) number: u64,
    pub(super) chroma: Chroma,
    pub(super) size: (u32, u32),
    /// The planes in the lent memory. There are none if the picture uses a slot instead.
    pub(super) planes: Vec<Spot>,
}

/// Loans that no picture uses yet.
#[derive(Debug, Default)]
pub(super) struct Loans {
    mapped: BTreeMap<u64, Rc<Shared>>,
    pub(super) waiting: VecDeque<Loan>,
}

impl Loans {
    pub(super) fn map(&mut self, number: u64, memory: Option<OwnedFd>) -> Result<(), Stop> {
        let memory = memory.ok_or(Stop::Gone)?;
        let memory = Shared::open_whole(memory).map_err(|_| Stop::Gone)?;
        self.mapped.insert(number, Rc::new(memory));
        Ok(())
    }

    /// Drops revoked loans, and unmaps all memory that no loan uses.
    pub(super) fn unmap(&mut self, input: &Shared) {
        self.forget(input);
        self.mapped.clear();
    }

    /// Drops the loans that the parent has revoked.
    pub(super) fn forget(&mut self, input: &Shared) {
        self.waiting
            .retain(|loan| loan::is_lent(input, loan.number));
    }

    pub(super) fn push(&mut self, message: &Message, input: &Shared) -> Result<(), Stop> {
        let [number, lies, width, height, rest @ ..] = &message.words;
        let small = |word: u64| u32::try_from(word).map_err(|_| Stop::Gone);
        let at = |word: u64| usize::try_from(word).map_err(|_| Stop::Gone);
        let chroma = chroma_from_word(*lies);
        let count = match (*lies, chroma) {
            (BY_SLOT, _) => 0,
            (_, Chroma::Planar) => 3,
            (_, Chroma::Pairs) => 2,
        };
        let mut planes = Vec::new();
        for plane in rest.chunks_exact(3).take(count) {
            let [memory, offset, stride] = plane else {
                return Err(Stop::Gone);
            };
            planes.push(Spot {
                memory: Rc::clone(self.mapped.get(memory).ok_or(Stop::Gone)?),
                offset: at(*offset)?,
                stride: at(*stride)?,
            });
        }
        if self.waiting.len() >= MAX_LOANS {
            self.forget(input);
        }
        if self.waiting.len() >= MAX_LOANS {
            return Err(Stop::Gone);
        }
        self.waiting.push_back(Loan {
            number: *number,
            chroma,
            size: (small(*width)?, small(*height)?),
            planes,
        });
        Ok(())
    }

    /// Claims the oldest loan that was not revoked.
    pub(super) fn claim(&mut self, input: &Shared) -> Option<Loan> {
        loop {
            let loan = self.waiting.pop_front()?;
            if loan::claim(input, loan.number) {
                return Some(loan);
            }
        }
    }
}

impl Loan {
    /// Writes a picture. Returns false if the picture has another size or does not fit.
    pub(super) fn write(&self, layout: &Layout, picture: &Planes<'_>) -> bool {
        let size = (layout.width, layout.height);
        self.size == size && loan::write(layout, picture, self.chroma, &self.planes)
    }
}
