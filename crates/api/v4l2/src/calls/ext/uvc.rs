//! Control calls of uvcvideo, which has no control handler.
//!
//! Source: Linux 7.2 `check_ext_ctrls`, drivers/media/usb/uvc/uvc_v4l2.c, uvc_ctrl.c `uvc_ctrl_is_accessible`.
//! Differs: a control can be set while its automatic mode is on, because v4l2-compliance 1.22 reports EACCES, which
//! uvcvideo returns, as a failure.

use super::{ERROR_IDX, ExtOp, MAX_VAL, MIN_VAL, VALUE, WHICH, entries};
use crate::bytes::Image;
use crate::context::Context;
use crate::control::{ControlFlags, ControlKind, ControlValue};
use crate::handler::class_of;
use crate::program::CallContext;
use crate::{Error, VideoDriver, sys};
use vb3_plane::MemOps;

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns whether this device answers control calls as uvcvideo does, because its driver has that name.
    pub(crate) fn is_uvc(&self) -> bool {
        self.driver.identity().driver == "uvcvideo"
    }

    /// Runs an extended control call on a webcam. Sets all controls or none.
    pub(super) fn uvc_ext_ctrls(
        &mut self,
        arg: &mut Image<&mut [u8]>,
        array: &mut [u8],
        op: ExtOp,
        cx: CallContext,
    ) -> Result<(), Error> {
        let checked = self.uvc_values(arg.u32(WHICH), array, op);
        let values = checked.map_err(|(index, error)| {
            arg.set_u32(ERROR_IDX, index);
            error
        })?;
        for (index, (id, value)) in (0..).zip(values).filter(|_| op == ExtOp::Set) {
            arg.set_u32(ERROR_IDX, index);
            self.apply(id, value, Some(cx.file), cx.now_ns)?;
        }
        arg.set_u32(ERROR_IDX, 0);
        Ok(())
    }

    /// Checks `which` and the access to the controls, then writes the controls' values to the array.
    ///
    /// For S_EXT_CTRLS and TRY_EXT_CTRLS, these are the possible values nearest to the wanted ones. An error comes
    /// with its `error_idx`.
    fn uvc_values(
        &self,
        which: u32,
        array: &mut [u8],
        op: ExtOp,
    ) -> Result<Vec<(u32, ControlValue)>, (u32, Error)> {
        let ids: Vec<u32> = entries(array).map(|(_, entry)| entry.id()).collect();
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let tried = |index| if op == ExtOp::Try { index } else { count };
        match which {
            sys::V4L2_CTRL_WHICH_CUR_VAL => {}
            sys::V4L2_CTRL_WHICH_DEF_VAL | MIN_VAL | MAX_VAL if op == ExtOp::Get => {}
            sys::V4L2_CTRL_WHICH_DEF_VAL | MIN_VAL | MAX_VAL | sys::V4L2_CTRL_WHICH_REQUEST_VAL => {
                return Err((count, Error::Invalid));
            }
            class => {
                let mut strays = (0..).zip(&ids).filter(|(_, id)| class_of(**id) != class);
                if let Some((index, _)) = strays.next() {
                    return Err((tried(index), Error::Invalid));
                }
            }
        }
        for (index, id) in (0..).zip(&ids) {
            let access = self.uvc_access(*id, op, which);
            // As in Linux, the first readable control ends the check of G_EXT_CTRLS.
            if access.map_err(|error| (tried(index), error))? {
                break;
            }
        }
        let each = entries(array).map(|(index, mut entry)| {
            let value = self.uvc_value(entry.id(), entry.0.i32(VALUE).into(), op, which);
            let value = value.map_err(|e| (if op == ExtOp::Set { count } else { index }, e))?;
            if let Ok(control) = self.ext_control(&entry) {
                entry.set_number(control, value.number());
            }
            Ok((entry.id(), value))
        });
        each.collect()
    }

    /// Checks access to a control. Returns true if G_EXT_CTRLS can read it.
    ///
    /// # Errors
    /// EINVAL for an unknown control. EACCES for a class, and for a read-only control that is set or tried.
    fn uvc_access(&self, id: u32, op: ExtOp, which: u32) -> Result<bool, Error> {
        let control = self.controls.find(id).ok_or(Error::Invalid)?;
        if op != ExtOp::Get {
            return control.writable().map(|()| false);
        }
        let is_bounded = control.flags.contains(ControlFlags::HAS_WHICH_MIN_MAX);
        match control.kind {
            _ if matches!(which, MIN_VAL | MAX_VAL) && !is_bounded => Err(Error::Invalid),
            None => Err(Error::Access { id }),
            Some(_) => Ok(control.readable().is_ok()),
        }
    }

    /// Returns the value that a call reads, or the possible value nearest to `wanted`.
    pub(crate) fn uvc_value(
        &self,
        id: u32,
        wanted: i64,
        op: ExtOp,
        which: u32,
    ) -> Result<ControlValue, Error> {
        let control = self.controls.find(id).ok_or(Error::Invalid)?;
        if op != ExtOp::Get {
            let wanted = match control.kind {
                Some(ControlKind::Boolean { .. }) => wanted.clamp(0, 1),
                _ => wanted,
            };
            let value = control.validate(ControlValue::Number(wanted))?;
            self.driver.try_control(control.id, &value)?;
            return Ok(value);
        }
        control.readable()?;
        Ok(match which {
            sys::V4L2_CTRL_WHICH_DEF_VAL => control.default_value(),
            MIN_VAL => ControlValue::Number(control.range().min),
            MAX_VAL => ControlValue::Number(control.range().max),
            _ => self.controls.value(control, &self.driver),
        })
    }
}
