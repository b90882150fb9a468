//! Moves a frame from the source to a buffer in pieces, one in each tick (a call by the host). So no
//! program's call waits for a large frame.

use super::Player;
use crate::mode::Mode;
use crate::streaming::{Stamp, Stream};
use crate::surface::{PictureCursor, Trouble};
use vb3_queue::{Active, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, Progress};

/// A frame that is being moved to a buffer.
#[derive(Debug)]
pub(super) struct Moving<C> {
    stamp: Stamp,
    token: Active<C>,
    stage: Stage,
}

/// The step that a frame has reached.
#[derive(Debug)]
enum Stage {
    /// The JPEG encoder copies the source's picture. The number counts the samples copied so far.
    Filling(usize),
    /// The source's picture is written to the buffer.
    Writing(PictureCursor),
    /// A thread scales the picture, or the scaled picture is written to the buffer.
    Scaling,
}

/// The result of a step: the bytes used in each plane, once the frame is in its buffer.
type Step = Result<Option<[u64; MAX_PLANES]>, Trouble>;

impl<C> Player<C> {
    /// Begins to write the source's picture to a buffer.
    pub(super) fn begin(
        &mut self,
        stream: &mut Stream<Mode, C>,
        (stamp, token): (Stamp, Active<C>),
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) {
        let frame = self.source.picture_again();
        let stage = match (&mut self.scaler, frame) {
            _ if stream.formats.pixel().is_compressed() => Stage::Filling(0),
            (Some(scaler), Some(frame)) => {
                let format = &stream.formats.format;
                let plan = scaler.plan(frame, format);
                match plan {
                    Ok(plan) if scaler.wants_thread(&plan, frame) => {
                        scaler.begin(&plan, frame);
                        self.leave_picture();
                        Stage::Scaling
                    }
                    _ => {
                        let written =
                            plan.and_then(|plan| scaler.write(&plan, frame, format, &token, bus));
                        self.leave_picture();
                        return finish(stream, (stamp, token), written.map(Some), progress);
                    }
                }
            }
            _ => Stage::Writing(PictureCursor::default()),
        };
        self.moving = Some(Moving {
            stamp,
            token,
            stage,
        });
        self.resume(stream, bus, progress);
    }

    /// Moves the next piece, within this tick's limit. Completes the buffer once it has its frame.
    pub(super) fn resume(
        &mut self,
        stream: &mut Stream<Mode, C>,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) {
        let Some(mut moving) = self.moving.take() else {
            return;
        };
        if let Stage::Filling(filled) = moving.stage {
            return self.fill_on(moving, filled, stream, progress);
        }
        let had_picture = moving.needs_picture();
        let step = self.step_on(&mut moving, stream, bus);
        if step == Ok(None) {
            self.moving = Some(moving);
            return;
        }
        if had_picture {
            self.leave_picture();
        } else if let Some(scaler) = &mut self.scaler {
            scaler.converter.take_back();
        }
        finish(stream, (moving.stamp, moving.token), step, progress);
    }

    /// Continues to copy a picture to the JPEG encoder, which has `filled` samples of it already.
    fn fill_on(
        &mut self,
        moving: Moving<C>,
        mut filled: usize,
        stream: &mut Stream<Mode, C>,
        progress: &mut Progress<C>,
    ) {
        let Some(frame) = self.source.picture_again() else {
            return;
        };
        let done = match self.jpeg.fill_on(frame, &mut filled, &mut stream.left) {
            Ok(false) => {
                let stage = Stage::Filling(filled);
                self.moving = Some(Moving { stage, ..moving });
                return;
            }
            Ok(true) => self.jpeg.encode(moving.stamp, moving.token),
            Err(failure) => Err(failure),
        };
        self.leave_picture();
        if let Err(failure) = done {
            stream.fail(failure, progress);
        }
    }

    fn step_on(
        &mut self,
        moving: &mut Moving<C>,
        stream: &mut Stream<Mode, C>,
        bus: &mut dyn Bus<C>,
    ) -> Step {
        let (mode, token) = (&stream.formats, &moving.token);
        match &mut moving.stage {
            // The JPEG encoder gets this picture by `fill_on`.
            Stage::Filling(_) => Ok(None),
            Stage::Writing(cursor) => {
                let going = (cursor, &mut stream.left);
                let bytes_of = |component, wanted| self.source.bytes_again(component, wanted);
                match mode.resume_write(bytes_of, token, going, bus)? {
                    true => mode.payloads().map(Some),
                    false => Ok(None),
                }
            }
            Stage::Scaling => {
                let converter = &mut self.scaler.as_mut().ok_or(Trouble::Fault)?.converter;
                match converter.is_converted() {
                    true => converter.resume_write(&mode.format, token, &mut stream.left, bus),
                    false => Ok(None),
                }
            }
        }
    }

    /// Returns whether a frame still needs the source's current picture.
    pub(super) fn needs_picture(&self) -> bool {
        self.moving.as_ref().is_some_and(Moving::needs_picture)
    }

    /// Returns whether another piece could be moved now.
    pub(super) fn can_go_on(&self) -> bool {
        self.moving.is_some() && !self.is_scaling()
    }

    /// Returns whether a thread scales a picture now.
    fn is_scaling(&self) -> bool {
        let scaler = self.scaler.as_ref();
        scaler.is_some_and(|scaler| scaler.converter.is_busy())
    }

    /// Stops moving, because streaming ends. A picture that a thread scales is dropped when it is ready.
    pub(super) fn stop_moving(&mut self) {
        if self.is_scaling() {
            return;
        }
        self.moving = None;
        if let Some(scaler) = &mut self.scaler {
            scaler.converter.take_back();
        }
    }
}

impl<C> Moving<C> {
    fn needs_picture(&self) -> bool {
        matches!(self.stage, Stage::Filling(_) | Stage::Writing(_))
    }
}

/// Completes a buffer with the result of its frame's last step.
fn finish<C>(
    stream: &mut Stream<Mode, C>,
    (stamp, token): (Stamp, Active<C>),
    step: Step,
    progress: &mut Progress<C>,
) {
    if let Some((outcome, payloads)) = stream.outcome(step.map(Option::unwrap_or_default)) {
        stamp.finish(Flow::Capture, token, outcome, payloads, progress);
    }
}
