//! Dispatches an ioctl: copies the structure in, runs the call, copies it out.

use crate::bytes::{Arg, Image, MAX_ARG, MAX_ARRAY, at};
use crate::card::{CallContext, Card, Step};
use crate::host::Program;
use crate::request::{Call, CallSpec, TYPE, lookup};
use crate::vblank::Wait;
use crate::{Errno, Error};

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call returns this value.
    Done(i64),
    /// The call fails.
    Fail(Error),
    /// The call waits. Repeat it, with the same number, once [`Card::take_changed`] names its file.
    Wait,
}

/// Announces the arrays that a structure points to, so that the host fetches all at once.
///
/// # Errors
/// NOT_GATHERED.
fn prepare(spec: &CallSpec, arg: &Arg, program: &dyn Program) -> Result<(), Errno> {
    let mut done = Ok(());
    for array in spec.arrays {
        let len = u64::from(arg.u32(array.count)).saturating_mul(array.element);
        if len <= MAX_ARRAY {
            done = done.and(program.prepare_read(arg.u64(array.pointer), len));
        }
    }
    done
}

impl Card {
    /// Performs an ioctl. `arg` is the address of the program's structure.
    ///
    /// As in Linux, the structure may be longer or shorter than the card's: what is missing is zero, and what is
    /// beyond stays unchanged. The structure is copied out even if the call fails.
    ///
    /// Source: Linux 6.12 drivers/gpu/drm/drm_ioctl.c `drm_ioctl`.
    pub fn ioctl(
        &mut self,
        cx: CallContext,
        request: u32,
        addr: u64,
        program: &mut dyn Program,
    ) -> Outcome {
        let cx = CallContext { arg: addr, ..cx };
        if request >> 8 & 0xff != TYPE {
            return Outcome::Fail(Error::NotTty(request));
        }
        let Some(spec) = lookup(request) else {
            return Outcome::Fail(Error::Invalid("ioctl number", (request & 0xff).into()));
        };
        let size = (request >> 16 & 0x3fff) as usize;
        let mut arg = Image([0; MAX_ARG]);
        let size = size.min(spec.size);
        let (reads, writes) = (
            request >> 30 & 1 != 0 && spec.reads,
            request >> 31 != 0 && spec.writes,
        );
        if let Some(bytes) = arg
            .0
            .get_mut(..size)
            .filter(|bytes| reads && !bytes.is_empty())
            && let Err(e) = program.read(addr, bytes)
        {
            return Outcome::Fail(e.into());
        }
        if prepare(spec, &arg, program).is_err() {
            return Outcome::Fail(Errno::NOT_GATHERED.into());
        }
        let result = self
            .check_right(cx, spec.right)
            .and_then(|()| self.run(cx, spec, &mut arg, program));
        if result == Ok(Step::Wait) {
            return Outcome::Wait;
        }
        if result == Err(Error::Host(Errno::NOT_GATHERED)) {
            return Outcome::Fail(Errno::NOT_GATHERED.into());
        }
        self.waits.remove(&cx.call);
        if let Some(bytes) = arg
            .0
            .get(..size)
            .filter(|bytes| writes && !bytes.is_empty())
            && let Err(e) = program.write(addr, bytes)
        {
            return Outcome::Fail(e.into());
        }
        match result {
            Ok(_) => Outcome::Done(0),
            Err(e) => Outcome::Fail(e),
        }
    }

    fn run(
        &mut self,
        cx: CallContext,
        spec: &CallSpec,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        if let Some(Wait::Commit(_, fences)) = self.waits.get(&cx.call) {
            if self.is_call_pending(cx.call) && !cx.nonblocking {
                return Ok(Step::Wait);
            }
            Self::give_fences(fences, program)?;
            return Ok(Step::Done);
        }
        match spec.call {
            Call::Version => self.version(arg, program),
            Call::GetUnique => self.get_unique(cx, arg, program),
            Call::GetMagic => self.get_magic(cx, arg),
            Call::GetClient => self.get_client(cx, arg),
            Call::GetStats => {
                *arg = Image([0; MAX_ARG]);
                Ok(Step::Done)
            }
            Call::ModesetCtl | Call::UpdateDraw | Call::AttachMode | Call::DetachMode => {
                Ok(Step::Done)
            }
            Call::SetUnique => Err(Error::Invalid("SET_UNIQUE (removed)", 0)),
            Call::SetVersion => self.set_version(cx, arg),
            Call::GemClose => self.close_handle(cx, arg.u32(at!(drm_gem_close.handle)), program),
            Call::GemFlink => self.flink(cx, arg),
            Call::GemOpen => self.open_name(cx, arg),
            Call::GetCap => Self::get_cap(arg),
            Call::SetClientCap => self.set_client_cap(cx, arg),
            Call::AuthMagic => self.auth_magic(cx, arg),
            Call::SetMaster => self.set_master(cx, program),
            Call::DropMaster => self.drop_master(cx, program),
            Call::PrimeHandleToFd => self.handle_to_fd(cx, arg, program),
            Call::PrimeFdToHandle => self.fd_to_handle(cx, arg, program),
            Call::WaitVblank => self.wait_vblank(cx, arg),
            Call::CrtcGetSequence => self.get_sequence(cx, arg),
            Call::CrtcQueueSequence => self.queue_sequence(cx, arg),
            Call::CreateDumb => self.create_dumb(cx, arg, program),
            Call::MapDumb => self.map_dumb(cx, arg),
            Call::DestroyDumb => self.close_handle(cx, arg.u32(0), program),
            Call::SyncobjCreate
            | Call::SyncobjDestroy
            | Call::SyncobjHandleToFd
            | Call::SyncobjFdToHandle
            | Call::SyncobjWait
            | Call::SyncobjReset
            | Call::SyncobjSignal => Err(Error::Unsupported("sync objects")),
            Call::CreateLease => self.create_lease(cx, arg, program),
            Call::ListLessees => self.list_lessees(cx, arg, program),
            Call::GetLease => self.get_lease(cx, arg, program),
            Call::RevokeLease => self.revoke_lease(cx, arg),
            call => self.run_mode(cx, call, arg, program),
        }
    }

    /// Runs a call on the objects of mode setting.
    fn run_mode(
        &mut self,
        cx: CallContext,
        call: Call,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        match call {
            Call::GetResources => self.get_resources(cx, arg, program),
            Call::GetCrtc => self.get_crtc(cx, arg),
            Call::SetCrtc => self.set_crtc(cx, arg, program),
            Call::Cursor | Call::Cursor2 => self.cursor(cx, arg, program),
            Call::GetGamma => self.get_gamma(cx, arg, program),
            Call::SetGamma => self.set_gamma(cx, arg, program),
            Call::GetEncoder => self.get_encoder(cx, arg),
            Call::GetConnector => self.get_connector(cx, arg, program),
            Call::GetProperty => self.get_property(arg, program),
            Call::SetProperty => self.set_by_name(cx, (arg, true), program),
            Call::ObjSetProperty => self.set_by_name(cx, (arg, false), program),
            Call::ObjGetProperties => self.get_properties(cx, arg, program),
            Call::GetBlob => self.get_blob(arg, program),
            Call::GetFb => self.get_fb(cx, arg),
            Call::GetFb2 => self.get_fb2(cx, arg),
            Call::AddFb => self.add_fb1(cx, arg),
            Call::AddFb2 => self.add_fb2(cx, arg),
            Call::RmFb => self.rm_fb(cx, (arg.u32(0), false), program),
            Call::CloseFb => match arg.u32(at!(drm_mode_closefb.pad)) {
                0 => self.rm_fb(cx, (arg.u32(0), true), program),
                pad => Err(Error::Invalid("pad", pad.into())),
            },
            Call::PageFlip => self.page_flip(cx, arg, program),
            Call::DirtyFb => {
                self.find_fb(arg.u32(at!(drm_mode_fb_dirty_cmd.fb_id)))?;
                Err(Error::NoFunction("DIRTYFB"))
            }
            Call::GetPlaneResources => self.get_plane_resources(cx, arg, program),
            Call::GetPlane => self.get_plane(cx, arg, program),
            Call::SetPlane => self.set_plane(cx, arg, program),
            Call::Atomic => self.atomic(cx, arg, program),
            Call::CreateBlob => self.create_blob(cx, arg, program),
            Call::DestroyBlob => self.destroy_blob(cx, arg, program),
            _ => Err(Error::Invalid("ioctl", call as u64)),
        }
    }
}
