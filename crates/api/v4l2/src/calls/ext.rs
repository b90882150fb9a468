//! G_EXT_CTRLS, S_EXT_CTRLS and TRY_EXT_CTRLS, in the order of Linux's control handler.

mod uvc;

use crate::bytes::{Image, field, read_user, write_user};
use crate::calls::Answer;
use crate::calls::control::widen;
use crate::context::Context;
use crate::control::{ControlFlags, ControlKind, ControlValue};
use crate::handler::{Control, bits32, class_of};
use crate::program::Run;
use crate::requests::{Scope, Values};
use crate::stream::Stream;
use crate::{Error, Flow, Program, Role, VideoDriver, arrays, sys};
use vb3_plane::MemOps;

/// `V4L2_CTRL_WHICH_MIN_VAL`.
const MIN_VAL: u32 = 0x0f02_0000;
/// `V4L2_CTRL_WHICH_MAX_VAL`.
const MAX_VAL: u32 = 0x0f03_0000;

const ENTRY: usize = arrays::CONTROLS.element;
const VALUE: usize = field!(v4l2_ext_control.__bindgen_anon_1);
const WHICH: usize = field!(v4l2_ext_controls.__bindgen_anon_1);
const ERROR_IDX: usize = field!(v4l2_ext_controls.error_idx);
const CONTROLS: usize = field!(v4l2_ext_controls.controls);

/// Which of the three calls runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtOp {
    Get,
    Set,
    Try,
}

/// One entry of the program's array.
struct Entry<'a>(Image<&'a mut [u8]>);

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
        let element = control.range().elem_size.max(1);
        let found = self.size();
        let is_too_small = found < element;
        match control.most_elements() {
            Some(most) => {
                let needed = element.saturating_mul(most);
                self.set_size((found / element * element).min(needed));
                if found / element > most {
                    return Err(Error::NoSpace { needed });
                }
            }
            None if !is_too_small => self.set_size(element),
            None => {}
        }
        let addr = self.pointer();
        (!is_too_small).then_some(()).ok_or(Error::Fault { addr })
    }

    /// Returns the entry's value: a number, which has been validated already, or a structure, which this function
    /// reads and validates.
    fn read<M: MemOps>(
        &self,
        control: &Control,
        program: &dyn Program<M>,
    ) -> Result<ControlValue, Error> {
        if !control.is_compound() {
            return Ok(ControlValue::Number(self.number(control)));
        }
        // `fit_write` has limited the size.
        let mut bytes = vec![0; usize::try_from(self.size()).unwrap_or(0)];
        read_user(program, self.pointer(), &mut bytes)?;
        control.validate(ControlValue::Compound(bytes))
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

/// Sets `error_idx` to the number of entries. This number tells the program that no single entry caused the error.
fn blame_no_entry(arg: &mut Image<&mut [u8]>) {
    arg.set_u32(ERROR_IDX, arg.u32(field!(v4l2_ext_controls.count)));
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
    /// Reads the array of an extended control call. EINVAL if it is too long.
    ///
    /// Source: Linux `check_array_args`.
    pub(crate) fn ext_array(
        arg: &Image<&mut [u8]>,
        program: &dyn Program<M>,
    ) -> Result<Vec<u8>, Error> {
        let (addr, count) = arrays::CONTROLS.checked(arg)?;
        let mut array = vec![0; count * ENTRY];
        if !array.is_empty() {
            read_user(program, addr, &mut array)?;
        }
        Ok(array)
    }

    /// Runs an extended control call on its array.
    ///
    /// With `Answer::Failed`, `arg` and the program's array are written nevertheless.
    /// If this function returns an error, nothing is written.
    ///
    /// Source: Linux 7.2 `v4l2_g_ext_ctrls`, `try_set_ext_ctrls`.
    pub(crate) fn ext_ctrls(
        &mut self,
        arg: &mut Image<&mut [u8]>,
        mut array: Vec<u8>,
        op: ExtOp,
        run: &Run<'_, M>,
        scope: &mut Scope<'_>,
    ) -> Result<Answer, Error> {
        blame_no_entry(arg);
        arg.set_u32(field!(v4l2_ext_controls.reserved), 0);
        entries(&mut array).for_each(|(_, mut entry)| entry.clear_reserved());
        let done = if self.is_uvc() {
            self.uvc_ext_ctrls(arg, &mut array, op, run.cx)
        } else if arg.u32(WHICH) == sys::V4L2_CTRL_WHICH_REQUEST_VAL {
            self.ext_request(arg, &mut array, op, run, scope)
        } else if op == ExtOp::Get {
            let which = arg.u32(WHICH);
            self.ext_get(arg, &mut array, run.program, |control| match which {
                sys::V4L2_CTRL_WHICH_DEF_VAL => Some(control.default_like_current()),
                MIN_VAL => Some(ControlValue::Number(control.range().min)),
                MAX_VAL => Some(ControlValue::Number(control.range().max)),
                _ => None,
            })
        } else {
            self.ext_set(arg, &mut array, op, run, None)
        };
        if !array.is_empty() {
            write_user(run.program, arg.u64(CONTROLS), &array)?;
        }
        Ok(done.map_or_else(Answer::Failed, Answer::from))
    }

    /// Sets a media request's values for its buffer, or reads the results of a complete request.
    ///
    /// Source: Linux 7.2 `v4l2_g_ext_ctrls_request`, `try_set_ext_ctrls_request`, differs:
    /// TRY_EXT_CTRLS needs no earlier S_EXT_CTRLS.
    fn ext_request(
        &mut self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        op: ExtOp,
        run: &Run<'_, M>,
        scope: &mut Scope<'_>,
    ) -> Result<(), Error> {
        let fd = arg.i32(field!(v4l2_ext_controls.request_fd));
        let has_media_device = matches!(self.driver.role(), Role::MemToMem | Role::Subdevice);
        if !has_media_device || fd < 0 {
            return Err(Error::Invalid);
        }
        if !self.stream(Flow::Output).is_ok_and(Stream::offers_requests) {
            return Err(vb3_queue::Error::RequestUnsupported.into());
        }
        let id = run.program.resolve_request(fd).ok_or(Error::Invalid)?;
        let entry = scope.requests.get_mut(id).ok_or(Error::Invalid)?;
        if op == ExtOp::Get {
            let known = entry.completed(scope.of)?;
            return self.ext_get(arg, array, run.program, |control| {
                known.get(&control.id).cloned()
            });
        }
        entry.request.check_idle()?;
        let values = (op == ExtOp::Set).then(|| entry.values_mut(scope.of));
        self.ext_set(arg, array, op, run, values)
    }

    /// Reduces `which` to its class, checks that each entry selects a control, and adjusts the entries' sizes.
    ///
    /// Source: Linux 7.2 `prepare_ext_ctrls`, and `class_check` for a call without entries.
    fn ext_prepare(
        &self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        fit: impl Fn(&mut Entry<'_>, &Control) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let which = class_of(arg.u32(WHICH));
        arg.set_u32(WHICH, which);
        let any_class = matches!(
            which,
            sys::V4L2_CTRL_WHICH_CUR_VAL
                | sys::V4L2_CTRL_WHICH_DEF_VAL
                | sys::V4L2_CTRL_WHICH_REQUEST_VAL
                | MIN_VAL
                | MAX_VAL
        );
        let needed = match which {
            MIN_VAL | MAX_VAL => ControlFlags::HAS_WHICH_MIN_MAX,
            _ => ControlFlags::empty(),
        };
        if array.is_empty() && !any_class && !self.controls.has_class(which) {
            return Err(Error::Invalid);
        }
        for (index, mut entry) in entries(array) {
            arg.set_u32(ERROR_IDX, index);
            let id = entry.id() & sys::V4L2_CTRL_ID_MASK;
            if !any_class && class_of(id) != which || id >= sys::V4L2_CID_PRIVATE_BASE {
                return Err(Error::Invalid);
            }
            let control = self.ext_control(&entry)?;
            if control.flags.contains(ControlFlags::DISABLED) || !control.flags.contains(needed) {
                return Err(Error::Invalid);
            }
            if control.is_compound() {
                fit(&mut entry, control)?;
            }
        }
        Ok(())
    }

    fn ext_control(&self, entry: &Entry<'_>) -> Result<&Control, Error> {
        self.controls.find(entry.id()).ok_or(Error::Invalid)
    }

    /// Writes each control's value to the program: the value that `told` returns, else the current one.
    ///
    /// Source: Linux 7.2 `v4l2_g_ext_ctrls_common`.
    fn ext_get(
        &self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        program: &dyn Program<M>,
        told: impl Fn(&Control) -> Option<ControlValue>,
    ) -> Result<(), Error> {
        let value = |control: &Control| {
            told(control).unwrap_or_else(|| self.controls.value(control, &self.driver))
        };
        let prepared =
            self.ext_prepare(arg, array, |entry, control| entry.fit_read(&value(control)));
        blame_no_entry(arg);
        prepared?;
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

    /// Checks all entries, then sets or tries one control after the other. If `request` is given, stores the values
    /// in it instead of setting the controls.
    ///
    /// Source: Linux 7.2 `try_set_ext_ctrls_common`.
    fn ext_set(
        &mut self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        op: ExtOp,
        run: &Run<'_, M>,
        mut request: Option<&mut Values>,
    ) -> Result<(), Error> {
        if matches!(
            arg.u32(WHICH),
            sys::V4L2_CTRL_WHICH_DEF_VAL | MIN_VAL | MAX_VAL
        ) {
            return Err(Error::Invalid);
        }
        let prepared = self.ext_prepare(arg, array, |entry, control| entry.fit_write(control));
        let checked = prepared.and_then(|()| self.ext_validate(arg, array, op));
        if checked.is_err() && op == ExtOp::Set {
            blame_no_entry(arg);
        }
        checked?;
        // If structures must still be fetched, the host repeats the whole call. This is possible only before the
        // first control is set, so all structures are requested here.
        let mut fetched = Ok(());
        for (_, entry) in entries(array) {
            if self.ext_control(&entry)?.is_compound() {
                fetched = fetched.and(
                    run.program
                        .prepare_read(entry.pointer(), entry.size().into()),
                );
            }
        }
        fetched?;
        for (index, entry) in entries(array) {
            arg.set_u32(ERROR_IDX, index);
            let control = self.ext_control(&entry)?;
            let id = control.id;
            let value = entry.read(control, run.program)?;
            self.driver.try_control(id, &value)?;
            match &mut request {
                _ if op == ExtOp::Try => {}
                Some(values) => drop(values.insert(id, value.clone())),
                None => self.apply(id, value.clone(), Some(run.cx.file), run.cx.now_ns)?,
            }
            if let ControlValue::Compound(bytes) = value {
                write_user(run.program, entry.pointer(), &bytes)?;
            }
        }
        Ok(())
    }

    /// Checks whether programs may set the controls, and adjusts numbers to the controls' ranges.
    /// Structures are not read yet.
    ///
    /// Source: Linux 7.2 `validate_ctrls`.
    fn ext_validate(
        &self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        op: ExtOp,
    ) -> Result<(), Error> {
        for (index, mut entry) in entries(array) {
            arg.set_u32(ERROR_IDX, index);
            let control = self.ext_control(&entry)?;
            control.writable()?;
            if op == ExtOp::Set
                && control
                    .flags_now(&self.driver)
                    .contains(ControlFlags::GRABBED)
            {
                return Err(Error::Busy);
            }
            if !control.is_compound() {
                let wanted = ControlValue::Number(entry.number(control));
                let value = control.validate(wanted)?;
                entry.set_number(control, value.number());
            }
        }
        Ok(())
    }
}
