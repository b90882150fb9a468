//! Dispatches an ioctl: copies the structure in, runs the call, copies it out.

use crate::bytes::MAX_ARRAY;
use crate::call::{Answer, CallContext, Ioctl, Step};
use crate::card::Card;
use crate::host::Program;
use crate::request::{CallSpec, TYPE, lookup};
use crate::vblank::Wait;
use crate::{Errno, Error};

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call returns this value.
    Done(i64),
    /// The call fails.
    Fail(Error),
    /// The call waits. The host repeats it when [`Card::take_changed`] returns the call's file, with the same number
    /// of the call ([`CallContext::call`]).
    Wait,
}

/// Announces the arrays that a structure points to, so that the host fetches all at once.
///
/// # Errors
/// [`Errno::NOT_GATHERED`] if the host must fetch an array first. It repeats the call when it has the array.
fn prepare(spec: &CallSpec, io: &Ioctl<'_>) -> Result<(), Errno> {
    let mut done = Ok(());
    for array in spec.arrays {
        let len = u64::from(io.arg.u32(array.count)).saturating_mul(array.element);
        if len <= MAX_ARRAY {
            let addr = io.arg.u64(array.pointer);
            done = done.and(io.program.prepare_read(addr, len));
        }
    }
    done
}

impl Card {
    /// Performs an ioctl. `addr` is the address of the program's structure.
    ///
    /// As in Linux, the program's structure may be shorter or longer than the card's: the card reads fields that the
    /// program's structure lacks as zero, and leaves the program's further bytes unchanged. The structure is copied
    /// out even if the call fails.
    ///
    /// Source: Linux 6.12 drivers/gpu/drm/drm_ioctl.c `drm_ioctl`.
    pub fn ioctl(
        &mut self,
        cx: CallContext,
        request: u32,
        addr: u64,
        program: &mut dyn Program,
    ) -> Outcome {
        if request >> 8 & 0xff != TYPE {
            return Outcome::Fail(Error::NotTty(request));
        }
        let Some(spec) = lookup(request) else {
            return Outcome::Fail(Error::Invalid("ioctl number", (request & 0xff).into()));
        };
        let mut io = Ioctl::new(cx, addr, program);
        match self.perform(spec, request, &mut io) {
            Ok(Step::Done) => Outcome::Done(0),
            Ok(Step::Wait) => Outcome::Wait,
            Err(e) => Outcome::Fail(e),
        }
    }

    fn perform(&mut self, spec: &CallSpec, request: u32, io: &mut Ioctl<'_>) -> Answer {
        let size = spec.size.min((request >> 16 & 0x3fff) as usize);
        let (reads, writes) = (request >> 30 & 1 != 0, request >> 31 != 0);
        let (addr, is_there) = (io.field(0), size > 0);
        if let Some(bytes) = io.arg.0.get_mut(..size).filter(|_| is_there)
            && reads
            && spec.reads
        {
            io.program.read(addr, bytes)?;
        }
        prepare(spec, io)?;
        let right = self.check_right(io, spec.right);
        let result = right.and_then(|()| self.run(spec, io));
        if matches!(
            result,
            Ok(Step::Wait) | Err(Error::Host(Errno::NOT_GATHERED))
        ) {
            return result;
        }
        self.waits.remove(&io.call);
        if let Some(bytes) = io.arg.0.get(..size).filter(|_| is_there)
            && writes
            && spec.writes
        {
            io.program.write(addr, bytes)?;
        }
        result
    }

    fn run(&mut self, spec: &CallSpec, io: &mut Ioctl<'_>) -> Answer {
        if let Some(Wait::Commit(_, fences)) = self.waits.get(&io.call) {
            if self.is_call_pending(io.call) && !io.nonblocking {
                return Ok(Step::Wait);
            }
            Self::give_fences(fences, io.program)?;
            return Ok(Step::Done);
        }
        (spec.run)(self, io)
    }
}
