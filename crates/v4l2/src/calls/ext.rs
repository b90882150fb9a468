//! G_EXT_CTRLS, S_EXT_CTRLS and TRY_EXT_CTRLS.

use crate::bytes::{Image, field, read_user, write_user};
use crate::calls::Answer;
use crate::calls::control::widen;
use crate::context::Context;
use crate::control::{ControlFlags, ControlKind, ControlValue};
use crate::handler::{Control, bits32, class_of};
use crate::program::CallContext;
use crate::requests::Scope;
use crate::stream::Stream;
use crate::{Error, Program, Role, VideoDriver, sys};
use vb3_plane::MemOps;

/// Maximum number of controls in one call (`V4L2_CID_MAX_CTRLS`).
pub(crate) const MAX_EXT: u32 = sys::V4L2_CID_MAX_CTRLS;

const ENTRY: usize = size_of::<sys::v4l2_ext_control>();
const VALUE: usize = field!(v4l2_ext_control.__bindgen_anon_1);
const ERROR_IDX: usize = field!(v4l2_ext_controls.error_idx);

/// Which of the three calls runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtOp {
    Get,
    Set,
    Try,
}

/// One entry of the program's array.
struct Entry<'a>(Image<'a>);

impl Entry<'_> {
    fn id(&self) -> u32 {
        self.0.u32(field!(v4l2_ext_control.id))
    }

    fn size(&self) -> u32 {
        self.0.u32(field!(v4l2_ext_control.size))
    }

    fn set_size(&mut self, size: u32) {
        self.0.set_u32(field!(v4l2_ext_control.size), size);
    }

    fn pointer(&self) -> u64 {
        self.0.u64(VALUE)
    }

    fn clear_reserved(&mut self) {
        self.0.set_u32(field!(v4l2_ext_control.reserved2), 0);
    }

    fn number(&self, control: &Control) -> i64 {
        match control.kind {
            Some(ControlKind::Integer64 { .. }) => self.0.i64(VALUE),
            _ => widen(control, self.0.i32(VALUE)),
        }
    }

    fn set_number(&mut self, control: &Control, value: i64) {
        match control.kind {
            Some(ControlKind::Integer64 { .. }) => self.0.set_i64(VALUE, value),
            _ => self.0.set_i32(VALUE, bits32(value)),
        }
    }

    /// Stores a structure's size in the entry. ENOSPC if the program's size was smaller.
    ///
    /// Source: Linux 7.2 `prepare_ext_ctrls`.
    fn fit_read(&mut self, value: &ControlValue) -> Result<(), Error> {
        let ControlValue::Compound(bytes) = value else {
            return Ok(());
        };
        let needed = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let found = self.size();
        self.set_size(needed);
        match found >= needed {
            true => Ok(()),
            false => Err(Error::NoSpace { needed }),
        }
    }

    /// Stores the size of a structure, or of the whole elements of a dynamic array, in the entry.
    /// EFAULT if the program's size was too small for one element; ENOSPC if a dynamic array was too large.
    ///
    /// Source: Linux 7.2 `prepare_ext_ctrls`.
    fn fit_write(&mut self, control: &Control) -> Result<(), Error> {
        if !control.is_compound() {
            return Ok(());
        }
        let element = control.range().elem_size;
        let found = self.size();
        let most = element.saturating_mul(control.most_elements().unwrap_or(1));
        let whole = found / element.max(1) * element;
        self.set_size(whole.clamp(element, most));
        if found < element {
            return Err(Error::Fault {
                addr: self.pointer(),
            });
        }
        if whole > most && control.most_elements().is_some() {
            return Err(Error::NoSpace { needed: most });
        }
        Ok(())
    }

    fn read<M: MemOps>(
        &self,
        control: &Control,
        program: &dyn Program<M>,
    ) -> Result<ControlValue, Error> {
        match control.kind {
            Some(ControlKind::Compound(_)) => {
                // `fit_write` has limited the size.
                let mut bytes = vec![0; usize::try_from(self.size()).unwrap_or(0)];
                read_user(program, self.pointer(), &mut bytes)?;
                Ok(ControlValue::Compound(bytes))
            }
            _ => Ok(ControlValue::Number(self.number(control))),
        }
    }

    fn write<M: MemOps>(
        &mut self,
        control: &Control,
        value: &ControlValue,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        match value {
            ControlValue::Compound(bytes) => write_user(program, self.pointer(), bytes),
            ControlValue::Number(number) => {
                self.set_number(control, *number);
                Ok(())
            }
        }
    }
}

fn entries(array: &mut [u8]) -> impl Iterator<Item = (u32, Entry<'_>)> {
    (0..).zip(
        array
            .chunks_exact_mut(ENTRY)
            .map(|bytes| Entry(Image(bytes))),
    )
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Runs an extended control call.
    ///
    /// With `Answer::Failed`, `arg` (at least `error_idx`) and the program's array are written nevertheless.
    /// If this function returns an error, nothing is written.
    ///
    /// Source: Linux `v4l_g_ext_ctrls`, `v4l2_g_ext_ctrls_common`, `try_set_ext_ctrls_common`.
    pub(crate) fn ext_ctrls(
        &mut self,
        arg: &mut Image<'_>,
        op: ExtOp,
        cx: CallContext,
        program: &dyn Program<M>,
        scope: &mut Scope<'_>,
    ) -> Result<Answer, Error> {
        let count = arg.u32(field!(v4l2_ext_controls.count));
        if count > MAX_EXT {
            return Err(Error::Invalid);
        }
        let pointer = arg.u64(field!(v4l2_ext_controls.controls));
        let len = usize::try_from(count)
            .map_err(|_| Error::Invalid)?
            .saturating_mul(ENTRY);
        let mut array = vec![0; len];
        if count != 0 {
            read_user(program, pointer, &mut array)?;
        }
        arg.set_u32(ERROR_IDX, count);
        arg.set_u32(field!(v4l2_ext_controls.reserved), 0);
        entries(&mut array).for_each(|(_, mut entry)| entry.clear_reserved());
        let which = arg.u32(field!(v4l2_ext_controls.__bindgen_anon_1));
        let done = if which == sys::V4L2_CTRL_WHICH_REQUEST_VAL {
            self.ext_request(arg, &mut array, op, program, scope)
        } else {
            self.ext_checked(arg, &mut array, which, op, cx, program)
        };
        if done.is_ok() {
            arg.set_u32(ERROR_IDX, count);
        }
        if count != 0 {
            write_user(program, pointer, &array)?;
        }
        Ok(done.map_or_else(Answer::Failed, Answer::from))
    }

    fn ext_checked(
        &mut self,
        arg: &mut Image<'_>,
        array: &mut [u8],
        which: u32,
        op: ExtOp,
        cx: CallContext,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        let default = which == sys::V4L2_CTRL_WHICH_DEF_VAL;
        let mixed = entries(array).find(|(_, entry)| class_of(entry.id()) != which);
        match (which, mixed) {
            (sys::V4L2_CTRL_WHICH_CUR_VAL, _) => {}
            (sys::V4L2_CTRL_WHICH_DEF_VAL, _) if op == ExtOp::Get => {}
            (sys::V4L2_CTRL_WHICH_DEF_VAL, _) => return Err(Error::Invalid),
            (_, None) => {}
            (_, Some((index, _))) => {
                if op == ExtOp::Try {
                    arg.set_u32(ERROR_IDX, index);
                }
                return Err(Error::Invalid);
            }
        }
        if array.is_empty() {
            return self.check_class(which);
        }
        match op {
            ExtOp::Get => self.ext_get(arg, array, default, program),
            ExtOp::Try => {
                for (index, mut entry) in entries(array) {
                    arg.set_u32(ERROR_IDX, index);
                    let (control, value) = self.ext_validate(&mut entry, program)?;
                    entry.write(control, &value, program)?;
                }
                Ok(())
            }
            ExtOp::Set => self.ext_set(arg, array, cx, program),
        }
    }

    /// Sets a media request's values for its buffer, or reads the results of a complete request.
    ///
    /// Source: Linux 7.2 `v4l2_g_ext_ctrls_request`, `try_set_ext_ctrls_request`, differs:
    /// TRY_EXT_CTRLS needs no earlier S_EXT_CTRLS.
    fn ext_request(
        &self,
        arg: &mut Image<'_>,
        array: &mut [u8],
        op: ExtOp,
        program: &dyn Program<M>,
        scope: &mut Scope<'_>,
    ) -> Result<(), Error> {
        let fd = arg.i32(field!(v4l2_ext_controls.request_fd));
        if self.driver.role() != Role::MemToMem || fd < 0 {
            return Err(Error::Invalid);
        }
        if !self.output.as_ref().is_some_and(Stream::offers_requests) {
            return Err(vb3_queue::Error::RequestUnsupported.into());
        }
        let id = program.resolve_request(fd).ok_or(Error::Invalid)?;
        let of = scope.of;
        let entry = scope.requests.get_mut(id).ok_or(Error::Invalid)?;
        if op == ExtOp::Get {
            let known = entry.completed(of)?;
            return self.ext_read(arg, array, program, |control| {
                known.get(&control.id).cloned()
            });
        }
        entry.request.check_idle()?;
        let mut wanted = Vec::with_capacity(array.len() / ENTRY);
        for (index, mut entry) in entries(array) {
            if op == ExtOp::Try {
                arg.set_u32(ERROR_IDX, index);
            }
            let (control, value) = self.ext_validate(&mut entry, program)?;
            if op == ExtOp::Set && control.flags.contains(ControlFlags::GRABBED) {
                return Err(Error::Busy);
            }
            wanted.push((control.id, value));
        }
        for ((_, mut entry), (id, value)) in entries(array).zip(&wanted) {
            if let Some(control) = self.controls.find(*id) {
                entry.write(control, value, program)?;
            }
        }
        if op == ExtOp::Set {
            entry.set(of, wanted);
        }
        Ok(())
    }

    fn ext_control(&self, entry: &Entry<'_>) -> Result<&Control, Error> {
        let id = entry.id() & sys::V4L2_CTRL_ID_MASK;
        if id >= sys::V4L2_CID_PRIVATE_BASE {
            return Err(Error::Invalid);
        }
        let control = self.controls.find(id).ok_or(Error::Invalid)?;
        if control.flags.contains(ControlFlags::DISABLED) {
            return Err(Error::Invalid);
        }
        Ok(control)
    }

    fn ext_get(
        &self,
        arg: &mut Image<'_>,
        array: &mut [u8],
        default: bool,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        self.ext_read(arg, array, program, |control| {
            default.then(|| control.default_like_current())
        })
    }

    /// Writes each control's value to the program: from `told`, or the current value if `told` has none.
    fn ext_read(
        &self,
        arg: &mut Image<'_>,
        array: &mut [u8],
        program: &dyn Program<M>,
        told: impl Fn(&Control) -> Option<ControlValue>,
    ) -> Result<(), Error> {
        let value = |control: &Control| {
            told(control).unwrap_or_else(|| self.controls.value(control, &self.driver))
        };
        for (_, mut entry) in entries(array) {
            let control = self.ext_control(&entry)?;
            if control.is_compound() {
                entry.fit_read(&value(control))?;
            }
        }
        for (_, entry) in entries(array) {
            self.ext_control(&entry)?.readable()?;
        }
        for (index, mut entry) in entries(array) {
            arg.set_u32(ERROR_IDX, index);
            let control = self.ext_control(&entry)?;
            entry.write(control, &value(control), program)?;
        }
        Ok(())
    }

    fn ext_validate(
        &self,
        entry: &mut Entry<'_>,
        program: &dyn Program<M>,
    ) -> Result<(&Control, ControlValue), Error> {
        let control = self.ext_control(entry)?;
        entry.fit_write(control)?;
        if control.flags.contains(ControlFlags::READ_ONLY) {
            return Err(Error::Access { id: control.id });
        }
        let value = control.validate(entry.read(control, program)?)?;
        self.driver.try_control(control.id, &value)?;
        Ok((control, value))
    }

    /// Sets the controls one by one, after reading and validating all values.
    fn ext_set(
        &mut self,
        arg: &mut Image<'_>,
        array: &mut [u8],
        cx: CallContext,
        program: &dyn Program<M>,
    ) -> Result<(), Error> {
        let mut wanted = Vec::with_capacity(array.len() / ENTRY);
        for (_, mut entry) in entries(array) {
            let (control, value) = self.ext_validate(&mut entry, program)?;
            if control.flags.contains(ControlFlags::GRABBED) {
                return Err(Error::Busy);
            }
            wanted.push((control.id, value));
        }
        for ((index, mut entry), (id, value)) in entries(array).zip(wanted) {
            arg.set_u32(ERROR_IDX, index);
            if let Some(control) = self.controls.find(id) {
                entry.write(control, &value, program)?;
            }
            self.apply(id, value, cx.file, cx.now_ns)?;
        }
        Ok(())
    }
}
