//! Control ioctls.

use crate::bytes::{Image, field};
use crate::calls::ExtOp;
use crate::context::Context;
use crate::control::{ControlKind, ControlValue};
use crate::file::FileHandle;
use crate::handler::{Control, bits32, item};
use crate::{Error, VideoDriver, sys};
use vb3_plane::MemOps;

const NEXT_CTRL: u32 = sys::V4L2_CTRL_FLAG_NEXT_CTRL;
const NEXT_COMPOUND: u32 = sys::V4L2_CTRL_FLAG_NEXT_COMPOUND;

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns the control that a query selects, and the id for the answer.
    fn queried(&self, wanted: u32) -> Result<(&Control, u32), Error> {
        let id = wanted & sys::V4L2_CTRL_ID_MASK;
        let found = match wanted & (NEXT_CTRL | NEXT_COMPOUND) {
            0 => self.controls.find(id),
            NEXT_COMPOUND => self.controls.after(id, Control::is_compound),
            NEXT_CTRL => self.controls.after(id, |control| !control.is_compound()),
            _ => self.controls.after(id, |_| true),
        };
        let control = found.ok_or(Error::Invalid)?;
        let old_private = wanted == id && id >= sys::V4L2_CID_PRIVATE_BASE;
        Ok((control, if old_private { id } else { control.id }))
    }

    pub(crate) fn query_ctrl(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let (control, id) = self.queried(arg.u32(field!(v4l2_queryctrl.id)))?;
        let range = control.range();
        arg.set_u32(field!(v4l2_queryctrl.id), id);
        arg.set_u32(field!(v4l2_queryctrl.type_), range.ty);
        arg.set_text(field!(v4l2_queryctrl.name), 32, control.name);
        let flags = control.flags_now(&self.driver);
        arg.set_u32(field!(v4l2_queryctrl.flags), flags.bits());
        if range.ty != sys::V4L2_CTRL_TYPE_INTEGER64 {
            arg.set_i32(field!(v4l2_queryctrl.minimum), bits32(range.min));
            arg.set_i32(field!(v4l2_queryctrl.maximum), bits32(range.max));
            arg.set_i32(
                field!(v4l2_queryctrl.step),
                bits32(range.step.cast_signed()),
            );
            arg.set_i32(field!(v4l2_queryctrl.default_value), bits32(range.default));
        }
        Ok(())
    }

    pub(crate) fn query_ext_ctrl(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let (control, id) = self.queried(arg.u32(field!(v4l2_query_ext_ctrl.id)))?;
        let range = control.range();
        arg.set_u32(field!(v4l2_query_ext_ctrl.id), id);
        arg.set_u32(field!(v4l2_query_ext_ctrl.type_), range.ty);
        arg.set_text(field!(v4l2_query_ext_ctrl.name), 32, control.name);
        arg.set_i64(field!(v4l2_query_ext_ctrl.minimum), range.min);
        arg.set_i64(field!(v4l2_query_ext_ctrl.maximum), range.max);
        arg.set_u64(field!(v4l2_query_ext_ctrl.step), range.step);
        arg.set_i64(field!(v4l2_query_ext_ctrl.default_value), range.default);
        let flags = control.flags_now(&self.driver);
        arg.set_u32(field!(v4l2_query_ext_ctrl.flags), flags.bits());
        arg.set_u32(field!(v4l2_query_ext_ctrl.elem_size), range.elem_size);
        let most = control.most_elements();
        let elements = match &control.value {
            ControlValue::Compound(bytes) if most.is_some() => {
                u32::try_from(bytes.len()).unwrap_or(u32::MAX) / range.elem_size.max(1)
            }
            _ => 1,
        };
        arg.set_u32(field!(v4l2_query_ext_ctrl.elems), elements);
        arg.set_u32(
            field!(v4l2_query_ext_ctrl.nr_of_dims),
            most.is_some().into(),
        );
        arg.set_u32(field!(v4l2_query_ext_ctrl.dims), most.unwrap_or(0));
        Ok(())
    }

    pub(crate) fn query_menu(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let id = arg.u32(field!(v4l2_querymenu.id));
        let control = self.controls.find(id).ok_or(Error::Invalid)?;
        let index = i64::from(arg.u32(field!(v4l2_querymenu.index)));
        // The structure is packed: no padding precedes its union, which holds the item's name or number.
        let at = field!(v4l2_querymenu.__bindgen_anon_1);
        match control.kind {
            Some(ControlKind::Menu { first, items, .. }) => {
                let name = item(items, first, index).filter(|name| !name.is_empty());
                arg.set_text(at, 32, name.ok_or(Error::Invalid)?);
            }
            Some(ControlKind::IntegerMenu { first, items, .. }) => {
                let number = item(items, first, index).copied().flatten();
                arg.set_i64(at, number.ok_or(Error::Invalid)?);
            }
            _ => return Err(Error::Invalid),
        }
        Ok(())
    }

    fn simple(&self, id: u32) -> Result<&Control, Error> {
        self.controls
            .find(id)
            .filter(|control| control.is_simple())
            .ok_or(Error::Invalid)
    }

    pub(crate) fn get_ctrl(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let control = self.simple(arg.u32(field!(v4l2_control.id)))?;
        control.readable()?;
        let value = self.controls.value(control, &self.driver);
        arg.set_i32(field!(v4l2_control.value), bits32(value.number()));
        Ok(())
    }

    pub(crate) fn set_ctrl(
        &mut self,
        file: FileHandle,
        arg: &mut Image<&mut [u8]>,
        now_ns: u64,
    ) -> Result<(), Error> {
        let control = self.simple(arg.u32(field!(v4l2_control.id)))?;
        let id = control.id;
        let wanted = widen(control, arg.i32(field!(v4l2_control.value)));
        let value = if self.is_uvc() {
            let which = sys::V4L2_CTRL_WHICH_CUR_VAL;
            self.uvc_value(id, wanted, ExtOp::Set, which)?
        } else {
            let value = control.validate(ControlValue::Number(wanted))?;
            self.driver.try_control(id, &value)?;
            value
        };
        arg.set_i32(field!(v4l2_control.value), bits32(value.number()));
        self.apply(id, value, Some(file), now_ns)
    }

    /// Sets a validated value. Raises events of this control and of the controls whose state depends on it. `file` is
    /// the file that sets the value, if any: it gets an event of its own change only if it subscribed with
    /// `V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK`.
    pub(crate) fn apply(
        &mut self,
        id: u32,
        value: ControlValue,
        file: Option<FileHandle>,
        now_ns: u64,
    ) -> Result<(), Error> {
        if self.controls.set(id, value, &mut self.driver)? {
            self.follow_value(id, now_ns, file);
        }
        Ok(())
    }

    /// Raises the events of a control's new value, and of the controls whose state depends on it.
    /// The file `by` has set the value.
    pub(crate) fn follow_value(&mut self, id: u32, now_ns: u64, by: Option<FileHandle>) {
        let value = sys::V4L2_EVENT_CTRL_CH_VALUE;
        self.raise_control((id, value), now_ns, by);
        for id in self.controls.follow(id) {
            let flags = sys::V4L2_EVENT_CTRL_CH_FLAGS;
            self.raise_control((id, flags), now_ns, None);
        }
        self.change_ranges(now_ns);
    }

    /// Applies ranges and values that the driver changed, and raises the controls' events.
    pub(crate) fn change_ranges(&mut self, now_ns: u64) {
        for (spec, value) in self.driver.take_ranges() {
            let Some(changed) = self.controls.change_range(&spec, value) else {
                continue;
            };
            let value = if changed {
                sys::V4L2_EVENT_CTRL_CH_VALUE
            } else {
                0
            };
            let changes = value | sys::V4L2_EVENT_CTRL_CH_RANGE;
            self.raise_control((spec.id, changes), now_ns, None);
        }
    }

    /// Returns the names of the controls whose value is a number, as v4l2-ctl prints them.
    pub fn control_names(&self) -> Vec<String> {
        let simple = self.controls.iter().filter(|c| has_number(c));
        simple.map(|control| plain_name(control.name)).collect()
    }

    /// Sets a control by [name](Self::control_names) as a program would, and raises its event for all files.
    ///
    /// Returns the value after rounding to the control's range; `None` for an unknown name.
    ///
    /// # Errors
    /// As VIDIOC_S_CTRL: EACCES for a read-only control, EBUSY for a grabbed one, ERANGE or EINVAL for
    /// a value that is no item of its menu, and the driver's errors.
    pub fn set_control(
        &mut self,
        name: &str,
        value: i64,
        now_ns: u64,
    ) -> Option<Result<i64, Error>> {
        let (id, value) = {
            let mut simple = self.controls.iter().filter(|c| has_number(c));
            let control = simple.find(|control| plain_name(control.name) == name)?;
            (control.id, control.validate(ControlValue::Number(value)))
        };
        Some(value.and_then(|value| {
            self.driver.try_control(id, &value)?;
            let number = value.number();
            self.apply(id, value, None, now_ns)?;
            Ok(number)
        }))
    }

    /// Sets all controls to their initial values, as far as a program could set them now. Presses no buttons.
    pub fn reset_controls(&mut self, now_ns: u64) {
        let has_value = |control: &&Control| {
            has_number(control) && control.writable().is_ok() && control.readable().is_ok()
        };
        let simple = self.controls.iter().filter(has_value);
        let initial = simple.map(|control| (control.id, control.initial_value()));
        for (id, value) in initial.collect::<Vec<_>>() {
            // A control that is grabbed or without effect keeps its value.
            if self.driver.try_control(id, &value).is_ok() {
                let _ = self.apply(id, value, None, now_ns);
            }
        }
    }
}

/// Returns whether a control's value is a number. A class has no value.
fn has_number(control: &Control) -> bool {
    control.kind.is_some() && control.is_simple()
}

/// Returns a control's name as v4l2-ctl prints it: in lower case, with underscores.
fn plain_name(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            plain.push(c.to_ascii_lowercase());
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain.trim_end_matches('_').to_owned()
}

/// Widens a 32-bit value: a bit mask as unsigned, any other value as signed.
pub(crate) fn widen(control: &Control, value: i32) -> i64 {
    match control.kind {
        Some(ControlKind::Bitmask { .. }) => i64::from(value.cast_unsigned()),
        _ => i64::from(value),
    }
}
