//! A program's call: its structure, and the arrays that the structure points to.

use crate::Error;
use crate::bytes::{Arg, Image, MAX_ARG, MAX_ARRAY, MAX_ENTRIES};
use crate::host::{FileId, Program};

/// The call that a program makes.
#[derive(Clone, Copy, Debug)]
pub struct CallContext {
    /// The file of the call.
    pub file: FileId,
    /// Number of the call. A repeated call has the same one.
    pub call: u64,
    /// The time on the monotonic clock.
    pub now_ns: u64,
    /// Whether the call must not wait. Linux ignores O_NONBLOCK in ioctls; a front end that does not gets an
    /// early end of calls that only wait for a vblank.
    pub nonblocking: bool,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    Wait,
}

/// What a call answers.
pub(crate) type Answer = Result<Step, Error>;

/// A program's call, while the card performs it.
pub(crate) struct Ioctl<'a> {
    pub(crate) file: FileId,
    /// Number of the call.
    pub(crate) call: u64,
    pub(crate) now_ns: u64,
    pub(crate) nonblocking: bool,
    /// The address of the structure.
    addr: u64,
    pub(crate) arg: Arg,
    pub(crate) program: &'a mut dyn Program,
}

impl<'a> Ioctl<'a> {
    pub(crate) fn new(cx: CallContext, addr: u64, program: &'a mut dyn Program) -> Self {
        Self {
            file: cx.file,
            call: cx.call,
            now_ns: cx.now_ns,
            nonblocking: cx.nonblocking,
            addr,
            arg: Image([0; MAX_ARG]),
            program,
        }
    }

    /// Returns the address of a field of the structure.
    pub(crate) const fn field(&self, at: usize) -> u64 {
        self.addr.wrapping_add(at as u64)
    }

    /// Reads an array of words from the program's memory.
    pub(crate) fn words(
        &self,
        addr: u64,
        count: u32,
        what: &'static str,
    ) -> Result<Vec<u32>, Error> {
        let bytes = self.bytes(addr, u64::from(count) * 4, what)?;
        let words = bytes.as_chunks::<4>().0.iter();
        Ok(words.map(|word| u32::from_ne_bytes(*word)).collect())
    }

    /// Reads bytes from the program's memory, at most `8 * MAX_ENTRIES`.
    pub(crate) fn bytes(&self, addr: u64, len: u64, what: &'static str) -> Result<Vec<u8>, Error> {
        if len > MAX_ARRAY {
            return Err(Error::Full(what, u64::from(MAX_ENTRIES)));
        }
        // CAST: bounded above.
        let mut bytes = vec![0; len as usize];
        if !bytes.is_empty() {
            self.program.read(addr, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// Writes elements to the program's array, whose address and number of elements are at these offsets of the structure,
    /// if it has room for all, as most DRM calls do. Sets the number to that of all elements.
    pub(crate) fn list<const N: usize>(
        &mut self,
        (ptr, count): (usize, usize),
        all: &[[u8; N]],
    ) -> Result<(), Error> {
        if all.len() > self.arg.u32(count) as usize {
            self.arg.set_u32(count, all.len() as u32); // CAST: the card's tables are bounded.
            return Ok(());
        }
        self.list_some((ptr, count), all)
    }

    /// Writes elements up to the room in the program's array, and sets the number to that of all elements.
    pub(crate) fn list_some<const N: usize>(
        &mut self,
        (ptr, count): (usize, usize),
        all: &[[u8; N]],
    ) -> Result<(), Error> {
        let room = self.arg.u32(count).min(MAX_ENTRIES) as usize;
        let given = all.get(..room).unwrap_or(all).as_flattened();
        if !given.is_empty() {
            self.program.write(self.arg.u64(ptr), given)?;
        }
        self.arg.set_u32(count, all.len() as u32); // CAST: the card's tables are bounded.
        Ok(())
    }
}

/// Returns words as the elements of [`Ioctl::list`].
pub(crate) fn words(all: impl IntoIterator<Item = u32>) -> Vec<[u8; 4]> {
    all.into_iter().map(u32::to_ne_bytes).collect()
}
