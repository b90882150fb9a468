//! Makes whole calls for programs whose memory can be reached without waiting: simulations, fuzzers, guests.

use crate::call::{Call, Effects, Install, Made, NumberAt, Op, Outcome};
use crate::gathered::{Descriptor, Detail, Gathered, Need, UserRange};
use crate::{CallId, CallOutcome, Devices, Errno, FdIdentity, FileId, On, Origin};

/// Maximum number of rounds in which the data of one call is gathered.
const MAX_ROUNDS: usize = 8;

/// A program whose memory and descriptors can be reached without waiting.
pub trait Program {
    /// Returns who makes the calls.
    fn origin(&self) -> Origin;
    /// Returns the id of the present call. A retry of a call that waits has the same id.
    fn call(&self) -> CallId;
    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is writable.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Returns the data of a descriptor, as far as `of` asks for it.
    ///
    /// # Errors
    /// EBADF.
    fn descriptor(&self, fd: i32, of: Detail) -> Result<Descriptor, Errno>;
    /// Returns memory for a device. The default offers none.
    fn range(&self, addr: u64, len_bytes: u64) -> UserRange {
        let _ = (addr, len_bytes);
        UserRange::default()
    }
    /// Makes a descriptor, and returns its number.
    ///
    /// # Errors
    /// EMFILE if the program has no room for it.
    fn install(&self, made: &Made, cloexec: bool) -> Result<i32, Errno>;
}

/// Makes a call to its end, or until it waits: gathers what the step needs, and carries out its effects.
pub fn perform<D, P>(devices: &mut D, on: On, op: Op, nonblocking: bool, program: &P) -> CallOutcome
where
    D: Devices + ?Sized,
    P: Program + ?Sized,
{
    let mut have = Gathered::default();
    for _ in 0..MAX_ROUNDS {
        let outcome = devices.call(&Call {
            id: program.call(),
            origin: program.origin(),
            on,
            op,
            nonblocking,
            have: &have,
        });
        match outcome {
            Outcome::Need(need) => gather(&mut have, &need, program),
            Outcome::Wait => return CallOutcome::Wait,
            Outcome::Part(bytes, effects) => {
                return match carry_out(devices, effects, program) {
                    Ok(_) => CallOutcome::Part(bytes),
                    Err(errno) => CallOutcome::Fail(errno),
                };
            }
            Outcome::Done(done, effects) => {
                let carried = carry_out(devices, effects, program);
                return match (done, carried) {
                    (Ok(value), Ok(number)) => CallOutcome::Done(number.unwrap_or(value)),
                    (Err(errno), _) | (Ok(_), Err(errno)) => CallOutcome::Fail(errno),
                };
            }
        }
    }
    CallOutcome::Fail(Errno::ENOMEM)
}

/// Whole calls on devices, for simulations and tests.
pub trait Perform: Devices {
    /// Makes an ioctl on a file. See [`perform`].
    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        program: &dyn Program,
    ) -> CallOutcome {
        let op = Op::Ioctl { request, arg };
        perform(self, On::File(file), op, nonblocking, program)
    }

    /// Makes an ioctl on an exported buffer.
    fn buffer_ioctl(
        &mut self,
        id: FdIdentity,
        request: u32,
        arg: u64,
        program: &dyn Program,
    ) -> CallOutcome {
        let op = Op::Ioctl { request, arg };
        perform(self, On::Buffer(id), op, false, program)
    }

    /// Reads from a file. A long read ends after its first piece ([`CallOutcome::Part`]).
    fn read(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        program: &dyn Program,
    ) -> CallOutcome {
        let op = Op::Read { addr, len };
        perform(self, On::File(file), op, nonblocking, program)
    }

    /// Writes to a file. A long write ends after its first piece ([`CallOutcome::Part`]).
    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        program: &dyn Program,
    ) -> CallOutcome {
        let op = Op::Write { addr, len };
        perform(self, On::File(file), op, nonblocking, program)
    }

    /// Continues a read or write that has moved a piece.
    fn resume(&mut self, file: FileId, addr: u64, program: &dyn Program) -> CallOutcome {
        perform(self, On::File(file), Op::Resume { addr }, false, program)
    }
}

impl<D: Devices + ?Sized> Perform for D {}

fn gather<P: Program + ?Sized>(have: &mut Gathered, need: &Need, program: &P) {
    for &(addr, len) in &need.bytes {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        match program.read(addr, &mut bytes) {
            Ok(()) => have.add_bytes(addr, bytes, false),
            Err(_) => have.add_bytes(addr, Vec::new(), true),
        }
    }
    for &(fd, of) in &need.descriptors {
        have.add_descriptor(fd, of, program.descriptor(fd, of));
    }
    for &(addr, len) in &need.ranges {
        have.add_range(addr, len, program.range(addr, len));
    }
}

/// Carries out the effects of a step. If the call returns the number of a new descriptor, returns this number.
fn carry_out<D, P>(devices: &mut D, effects: Effects, program: &P) -> Result<Option<i64>, Errno>
where
    D: Devices + ?Sized,
    P: Program + ?Sized,
{
    let mut done = Ok(None);
    let (mut numbers, has_installs) = (Vec::new(), !effects.installs.is_empty());
    for write in &effects.writes {
        let written = program.write(write.addr, &write.bytes);
        if write.is_needed {
            done = done.and_then(|number| written.map(|()| number));
        }
    }
    for install in effects.installs {
        let made = done.and_then(|before| {
            let number = program.install(&install.made, install.cloexec);
            let number = number.inspect_err(|_| give_up(devices, &install))?;
            numbers.push(number);
            Ok((before, number))
        });
        if done.is_err() {
            give_up(devices, &install);
        }
        done = made.and_then(|(before, number)| match install.number {
            NumberAt::Result => Ok(Some(number.into())),
            NumberAt::Address(at) => program.write(at, &number.to_ne_bytes()).map(|()| before),
        });
    }
    if has_installs {
        devices.installed(program.call(), done.map(|_| &*numbers));
    }
    done
}

/// Reports the end of a file or description for which no descriptor could be made.
fn give_up<D: Devices + ?Sized>(devices: &mut D, install: &Install) {
    match install.made {
        Made::Memory { tag, .. } => devices.tag_ended(tag),
        Made::File { file, .. } => devices.release(file),
    }
}

#[cfg(test)]
mod tests;
