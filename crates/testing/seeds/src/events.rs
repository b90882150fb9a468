//! Events to which programs subscribe.

use crate::api::Arg;
use crate::run::{Check, Sim};
use std::mem::offset_of;
use vb3_v4l2::sys::*;

const ENOENT: i32 = 2;

impl Sim<'_> {
    /// Subscribes a new file to a control, and asks for the control's value. Exactly one event must come.
    pub(crate) fn hear(&mut self, file: usize) -> Check {
        let mut topic = Arg::of::<v4l2_event_subscription>(&[
            (offset_of!(v4l2_event_subscription, type_), V4L2_EVENT_CTRL),
            (offset_of!(v4l2_event_subscription, id), V4L2_CID_BRIGHTNESS),
            (
                offset_of!(v4l2_event_subscription, flags),
                V4L2_EVENT_SUB_FL_SEND_INITIAL,
            ),
        ]);
        let subscribed = self.ioctl(file, VIDIOC_SUBSCRIBE_EVENT, (&mut topic, None), None)?;
        if subscribed.is_err() {
            // The device does not have this control.
            return Ok(());
        }
        let mut event = Arg::of::<v4l2_event>(&[]);
        let mut next = || self.ioctl(file, VIDIOC_DQEVENT, (&mut event, None), None);
        let (first, second) = (next()?, next()?);
        let id = event.u32(offset_of!(v4l2_event, id));
        if first.is_err() || second != Err(ENOENT) || id != V4L2_CID_BRIGHTNESS {
            return Err(format!("events of control {id:#x}: {first:?}, {second:?}"));
        }
        let ended = self.ioctl(file, VIDIOC_UNSUBSCRIBE_EVENT, (&mut topic, None), None)?;
        ended
            .map(|_| ())
            .map_err(|e| format!("UNSUBSCRIBE_EVENT gave errno {e}"))
    }
}
