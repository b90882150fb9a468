//! One attempt of the devices at a call.

use std::cell::{Cell, RefCell};

use crate::call::{Call, Effects, Install, NumberAt, Outcome};
use crate::gathered::{Descriptor, Detail, MAX_GATHERED, Need, UserRange};
use crate::write::{Bytes, Write};
use crate::{CallId, CallOutcome, Client, Errno};

/// One attempt at a call: reads the gathered data, records which data is missing, and collects effects.
///
/// A method that lacks data returns [`Errno::NOT_GATHERED`]. The step must then end without having changed
/// anything. Before it ends, it may call further methods that lack data, so that one round gathers all of it.
///
/// A step cannot reach the program. It has only copies, so it cannot read the program's memory:
///
/// ```compile_fail,E0277
/// # use vb3_frontend::{Program, Step};
/// fn step(step: &Step<'_>) {
///     let program: &dyn Program = step;
///     program.read(0x1000, &mut [0; 4]).unwrap();
/// }
/// ```
///
/// A step only describes a descriptor that the front end makes afterwards; it cannot make one in the program:
///
/// ```compile_fail,E0599
/// # use vb3_frontend::{Install, Step};
/// fn step(step: &Step<'_>, wanted: Install) -> i32 {
///     step.of().have.install(&wanted.made, wanted.cloexec).unwrap()
/// }
/// ```
///
/// A step borrows data of the call. So it cannot be passed to another thread, which could start a process or
/// wait for one:
///
/// ```compile_fail,E0277
/// # use vb3_frontend::Step;
/// fn step(step: &'static Step<'static>) {
///     std::thread::spawn(move || step.read(0x1000, &mut [0; 4]));
/// }
/// ```
///
/// `cargo xtask tidy` checks that no crate that a step calls names `std::process` or functions for files, except in
/// files that `xtask/src/tidy/rules.toml` lists with a reason.
#[derive(Debug)]
pub struct Step<'a> {
    call: &'a Call<'a>,
    need: RefCell<Need>,
    effects: RefCell<Effects>,
    lacks: Cell<bool>,
}

impl<'a> Step<'a> {
    /// Begins an attempt.
    #[must_use]
    pub fn new(call: &'a Call<'a>) -> Self {
        Self {
            call,
            need: RefCell::default(),
            effects: RefCell::new(Effects {
                writes: call.have.writes_room(),
                installs: Vec::new(),
            }),
            lacks: Cell::new(false),
        }
    }

    /// Returns the call.
    #[must_use]
    pub const fn of(&self) -> &'a Call<'a> {
        self.call
    }

    /// Returns the id of the call.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.call.id
    }

    /// Returns who makes the call.
    #[must_use]
    pub const fn client(&self) -> Client {
        self.call.origin.client
    }

    /// Returns the process that makes the call, or 0 if a guest makes it.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.client().pid()
    }

    /// Returns whether data is missing: the result then does not count, and the front end makes the step again.
    #[must_use]
    pub const fn lacks(&self) -> bool {
        self.lacks.get()
    }

    fn lacking<T>(&self, note: impl FnOnce(&mut Need)) -> Result<T, Errno> {
        note(&mut self.need.borrow_mut());
        self.lacks.set(true);
        Err(Errno::NOT_GATHERED)
    }

    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable; NOT_GATHERED.
    pub fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        match self.call.have.bytes(addr, out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes?);
                Ok(())
            }
            None => self.lacking(|need| need.bytes.push((addr, out.len() as u64))),
        }
    }

    /// Announces [`read`](Self::read)s of parts of the `len_bytes` bytes at `addr`, so that one round gathers
    /// them all.
    ///
    /// # Errors
    /// NOT_GATHERED.
    pub fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let len = usize::try_from(len_bytes).unwrap_or(usize::MAX);
        match self.call.have.bytes(addr, len) {
            // Parts of a range that is too long are gathered one by one.
            _ if len_bytes > MAX_GATHERED => Ok(()),
            Some(_) => Ok(()),
            None => self.lacking(|need| need.bytes.push((addr, len_bytes))),
        }
    }

    /// Writes to the program's memory after the step. If that is impossible, the call fails with EFAULT.
    pub fn write(&self, addr: u64, data: &[u8]) {
        if !data.is_empty() {
            self.push(addr, Bytes::copy(data), true);
        }
    }

    /// Writes to the program's memory after the step, as far as possible.
    pub fn offer(&self, addr: u64, bytes: Bytes) {
        self.push(addr, bytes, false);
    }

    fn push(&self, addr: u64, bytes: Bytes, is_needed: bool) {
        self.effects.borrow_mut().writes.push(Write {
            addr,
            bytes,
            is_needed,
        });
    }

    /// Returns the data of a descriptor of the program, as far as `of` asks for it.
    ///
    /// # Errors
    /// EBADF; EPERM if the front end may not examine the descriptor; NOT_GATHERED.
    pub fn descriptor(&self, fd: i32, of: Detail) -> Result<&'a Descriptor, Errno> {
        match self.call.have.descriptor(fd, of) {
            Some(known) => known.as_ref().map_err(|e| *e),
            None => self.lacking(|need| need.descriptors.push((fd, of))),
        }
    }

    /// Returns memory that the program offers to a device.
    ///
    /// # Errors
    /// NOT_GATHERED.
    pub fn range(&self, addr: u64, len_bytes: u64) -> Result<&'a UserRange, Errno> {
        match self.call.have.range(addr, len_bytes) {
            Some(range) => Ok(range),
            None => self.lacking(|need| need.ranges.push((addr, len_bytes))),
        }
    }

    /// Makes a descriptor after the step. The step must call this last, because the call must not fail
    /// afterwards.
    pub fn install(&self, install: Install) {
        if let NumberAt::Address(at) = install.number {
            self.write(at, &[0; 4]);
        }
        self.effects.borrow_mut().installs.push(install);
    }

    /// Ends the attempt. If data is missing, `done` does not count.
    #[must_use]
    pub fn end(self, done: CallOutcome) -> Outcome {
        if self.lacks.get() {
            return Outcome::Need(self.need.into_inner());
        }
        let effects = self.effects.into_inner();
        match done {
            CallOutcome::Done(value) => Outcome::Done(Ok(value), effects),
            CallOutcome::Fail(errno) => Outcome::Done(Err(errno), effects),
            CallOutcome::Part(bytes) => Outcome::Part(bytes, effects),
            CallOutcome::Wait => Outcome::Wait,
        }
    }
}

/// An ioctl of a program. `arg` is its argument: mostly the address of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl<'a> {
    /// The request, with direction and size.
    pub request: u32,
    /// The argument.
    pub arg: u64,
    /// The attempt at the call.
    pub caller: &'a Step<'a>,
}

impl<'a> Ioctl<'a> {
    /// Makes an ioctl of its parts.
    #[must_use]
    pub const fn new(request: u32, arg: u64, caller: &'a Step<'a>) -> Self {
        Self {
            request,
            arg,
            caller,
        }
    }

    /// Reads the structure that the argument points to.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable; NOT_GATHERED.
    pub fn read<const N: usize>(&self) -> Result<[u8; N], Errno> {
        self.read_at(0)
    }

    /// Reads the part of the structure that begins `offset` bytes behind the argument.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable; NOT_GATHERED.
    pub fn read_at<const N: usize>(&self, offset: usize) -> Result<[u8; N], Errno> {
        let mut data = [0; N];
        let at = self.arg.checked_add(offset as u64);
        self.caller.read(at.ok_or(Errno::EFAULT)?, &mut data)?;
        Ok(data)
    }

    /// Returns the place of a new descriptor's number, `offset` bytes behind the argument.
    ///
    /// # Errors
    /// EFAULT beyond the last address.
    pub fn number_at(&self, offset: usize) -> Result<NumberAt, Errno> {
        let at = self.arg.checked_add(offset as u64);
        at.map(NumberAt::Address).ok_or(Errno::EFAULT)
    }
}

#[cfg(test)]
mod tests;
