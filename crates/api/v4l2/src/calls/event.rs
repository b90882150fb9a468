//! SUBSCRIBE_EVENT, UNSUBSCRIBE_EVENT, DQEVENT, and raising events.

use crate::bytes::{Image, field};
use crate::calls::Answer;
use crate::context::Context;
use crate::control::ControlFlags;
use crate::event::{PAYLOAD, Payload, Topic};
use crate::file::FileHandle;
use crate::program::CallContext;
use crate::progress::{DriverEvent, EventKinds};
use crate::{Error, VideoDriver, sys};
use vb3_plane::MemOps;

/// Number of events kept for a subscription to an event that occurs with every frame.
const DEPTH: usize = 4;

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    pub(crate) fn subscribe(
        &mut self,
        file: FileHandle,
        arg: &Image<&mut [u8]>,
        now_ns: u64,
    ) -> Result<(), Error> {
        let topic = topic_of(arg);
        let flags = arg.u32(field!(v4l2_event_subscription.flags));
        let feedback = flags & sys::V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK != 0;
        let initial = flags & sys::V4L2_EVENT_SUB_FL_SEND_INITIAL != 0;
        if topic.kind == sys::V4L2_EVENT_CTRL {
            return self.subscribe_control(file, topic, feedback, initial, now_ns);
        }
        let (offered, depth, merges) = match topic.kind {
            sys::V4L2_EVENT_EOS => (EventKinds::EOS, 2, false),
            sys::V4L2_EVENT_FRAME_SYNC => (EventKinds::FRAME_SYNC, DEPTH, false),
            sys::V4L2_EVENT_SOURCE_CHANGE => (EventKinds::SOURCE_CHANGE, 1, true),
            _ => return Err(Error::Invalid),
        };
        if !self.driver.events().contains(offered) {
            return Err(Error::Invalid);
        }
        self.file_mut(file)?
            .events
            .subscribe(topic, depth, feedback, merges)?;
        Ok(())
    }

    fn subscribe_control(
        &mut self,
        file: FileHandle,
        topic: Topic,
        feedback: bool,
        initial: bool,
        now_ns: u64,
    ) -> Result<(), Error> {
        let control = self.controls.find(topic.id).ok_or(Error::Invalid)?;
        let first = (initial && control.kind.is_some()).then(|| {
            let value = if control.flags.contains(ControlFlags::WRITE_ONLY) {
                0
            } else {
                sys::V4L2_EVENT_CTRL_CH_VALUE
            };
            control.event(sys::V4L2_EVENT_CTRL_CH_FLAGS | value, &self.driver)
        });
        let events = &mut self.file_mut(file)?.events;
        let new = events.subscribe(topic, 1, feedback, true)?;
        if let (true, Some(payload)) = (new, first)
            && events.raise(topic, payload, now_ns, false)
        {
            self.wake = true;
        }
        Ok(())
    }

    pub(crate) fn unsubscribe(
        &mut self,
        file: FileHandle,
        arg: &Image<&mut [u8]>,
    ) -> Result<(), Error> {
        let topic = topic_of(arg);
        let events = &mut self.file_mut(file)?.events;
        if topic.kind == sys::V4L2_EVENT_ALL {
            events.unsubscribe_all();
        } else {
            events.unsubscribe(topic);
        }
        Ok(())
    }

    /// Takes the oldest event. ENOENT if there is none and the caller does not wait.
    pub(crate) fn dequeue_event(
        &mut self,
        cx: CallContext,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<Answer, Error> {
        let Some((event, pending)) = self.file_mut(cx.file)?.events.take() else {
            return if cx.nonblocking {
                Err(Error::NoEvent)
            } else {
                Ok(Answer::Wait)
            };
        };
        arg.set_u32(field!(v4l2_event.type_), event.topic.kind);
        arg.set_bytes(field!(v4l2_event.u), event.payload);
        arg.set_u32(field!(v4l2_event.pending), pending);
        arg.set_u32(field!(v4l2_event.sequence), event.sequence);
        let stamp = field!(v4l2_event.timestamp);
        arg.set_u64(stamp, event.timestamp_ns / 1_000_000_000);
        arg.set_u64(stamp + 8, event.timestamp_ns % 1_000_000_000);
        arg.set_u32(field!(v4l2_event.id), event.topic.id);
        Ok(Answer::Done)
    }

    /// Raises an event for all files.
    /// The file `by` caused the event, and gets it only with `V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK`.
    pub(crate) fn raise(
        &mut self,
        topic: Topic,
        payload: Payload,
        now_ns: u64,
        by: Option<FileHandle>,
    ) {
        for (&handle, file) in &mut self.files {
            let own = by == Some(handle);
            self.wake |= file.events.raise(topic, payload, now_ns, own);
        }
    }

    /// Raises the event of a control, with its id and `V4L2_EVENT_CTRL_CH_*` flags.
    pub(crate) fn raise_control(
        &mut self,
        (id, changes): (u32, u32),
        now_ns: u64,
        by: Option<FileHandle>,
    ) {
        let Some(control) = self.controls.find(id) else {
            return;
        };
        let topic = Topic {
            kind: sys::V4L2_EVENT_CTRL,
            id: control.id,
        };
        let payload = control.event(changes, &self.driver);
        self.raise(topic, payload, now_ns, by);
    }

    /// Raises an event of the device.
    pub(crate) fn raise_driver_event(&mut self, event: DriverEvent, now_ns: u64) {
        let mut payload: Payload = [0; PAYLOAD];
        let mut image = Image(payload.as_mut_slice());
        let (kind, id) = match event {
            DriverEvent::FrameSync { sequence } => {
                image.set_u32(field!(v4l2_event_frame_sync.frame_sequence), sequence);
                (sys::V4L2_EVENT_FRAME_SYNC, 0)
            }
            DriverEvent::Eos => (sys::V4L2_EVENT_EOS, 0),
            DriverEvent::SourceChange { port, changes } => {
                image.set_u32(field!(v4l2_event_src_change.changes), changes);
                (sys::V4L2_EVENT_SOURCE_CHANGE, port)
            }
            DriverEvent::Control { id, value } => {
                if self.controls.update(id, value).is_some() {
                    self.follow_value(id, now_ns, None);
                }
                return;
            }
        };
        self.raise(Topic { kind, id }, payload, now_ns, None);
    }
}

fn topic_of(arg: &Image<&mut [u8]>) -> Topic {
    Topic {
        kind: arg.u32(field!(v4l2_event_subscription.type_)),
        id: arg.u32(field!(v4l2_event_subscription.id)),
    }
}
