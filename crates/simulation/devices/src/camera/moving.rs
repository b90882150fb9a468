//! Moves a frame from the source to a buffer in pieces, one in each tick (a call by the host). So no
//! program's call waits for a large frame.

use super::Player;
use crate::mode::Mode;
use crate::scaler;
use crate::streaming::{Stamp, Tick};
use crate::surface::{PictureCursor, Step, Surface};
use crate::worker::FrameWorker as _;
use std::sync::Arc;
use vb3_queue::Active;

/// A frame that is being moved to a buffer.
pub(super) struct Moving<C> {
    stamp: Stamp,
    token: Active<C>,
    stage: Stage,
}

enum Stage {
    /// The JPEG encoder copies the source's picture. The number counts the samples copied so far.
    Filling(usize),
    /// The source's picture is written to the buffer.
    Writing(PictureCursor),
    /// A thread scales the picture, or the scaled picture is written to the buffer.
    Scaling,
}

impl<C> Player<C> {
    /// Begins to write the source's picture to a buffer.
    pub(super) fn begin(&mut self, tick: &mut Tick<'_, Mode, C>, stamp: Stamp, token: Active<C>) {
        let frame = self.source.picture_again();
        let stage = match (&tick.stream.scaler, frame) {
            _ if tick.stream.formats.pixel().is_compressed() => Stage::Filling(0),
            (Some(scaler), Some(frame)) => {
                let planned = scaler::plan(scaler, frame, &tick.stream.formats.format);
                let begun = planned.map(|plan| {
                    let on_thread = self.converter.wants_thread(&plan);
                    let frame = Some(Arc::clone(frame));
                    let surface = Surface(&tick.stream.formats.format);
                    let compose = plan.selection.compose;
                    let buffer = on_thread.then(|| surface.lend_target(&token, compose, tick.bus));
                    (self.converter).begin(&plan, frame, Vec::new(), buffer.flatten(), on_thread);
                });
                self.leave_picture();
                if let Err(trouble) = begun {
                    return tick.complete(stamp, token, Err(trouble));
                }
                Stage::Scaling
            }
            _ => Stage::Writing(PictureCursor::default()),
        };
        self.moving = Some(Moving {
            stamp,
            token,
            stage,
        });
        self.resume(tick);
    }

    /// Moves the next piece, within this tick's limit. Completes the buffer once it has its frame.
    pub(super) fn resume(&mut self, tick: &mut Tick<'_, Mode, C>) {
        let Some(mut moving) = self.moving.take() else {
            return;
        };
        if let Stage::Filling(filled) = moving.stage {
            return self.fill_on(tick, moving, filled);
        }
        let had_picture = moving.needs_picture();
        let step = self.step_on(tick, &mut moving);
        if step == Ok(None) {
            self.moving = Some(moving);
            return;
        }
        if had_picture {
            self.leave_picture();
        } else {
            self.converter.take_back();
        }
        let moved = step.map(Option::unwrap_or_default);
        tick.complete(moving.stamp, moving.token, moved);
    }

    /// Continues to copy a picture to the JPEG encoder, which has `filled` samples of it already.
    fn fill_on(&mut self, tick: &mut Tick<'_, Mode, C>, moving: Moving<C>, mut filled: usize) {
        let going = (&mut filled, &mut tick.stream.left);
        let bytes_of = |component, wanted| self.source.bytes_again(component, wanted);
        let done = match self.jpeg.fill_on(going, bytes_of) {
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
            tick.stream.fail(failure, tick.progress);
        }
    }

    fn step_on(&mut self, tick: &mut Tick<'_, Mode, C>, moving: &mut Moving<C>) -> Step {
        let (mode, token) = (&tick.stream.formats, &moving.token);
        match &mut moving.stage {
            // The JPEG encoder gets this picture by `fill_on`.
            Stage::Filling(_) => Ok(None),
            Stage::Writing(cursor) => {
                let going = (cursor, &mut tick.stream.left);
                let bytes_of = |component, wanted| self.source.bytes_again(component, wanted);
                Surface(&mode.format).resume_write(token, going, tick.bus, bytes_of)
            }
            Stage::Scaling if self.converter.is_converted() => {
                let left = &mut tick.stream.left;
                (self.converter).resume_write(&mode.format, token, left, tick.bus)
            }
            Stage::Scaling => Ok(None),
        }
    }

    /// Returns whether a frame still needs the source's current picture.
    pub(super) fn needs_picture(&self) -> bool {
        self.moving.as_ref().is_some_and(Moving::needs_picture)
    }

    /// Takes the buffer back from the thread if the device has lost it.
    pub(super) fn recall_lost(&mut self) {
        let moving = self.moving.as_ref();
        if moving.is_some_and(|moving| moving.token.is_stale()) {
            self.converter.recall();
        }
    }

    /// Stops moving, because streaming ends. A picture that a thread scales is dropped when it is ready.
    pub(super) fn stop_moving(&mut self) {
        self.converter.recall();
        if !self.converter.is_busy() {
            self.moving = None;
            self.converter.take_back();
        }
    }
}

impl<C> Moving<C> {
    fn needs_picture(&self) -> bool {
        matches!(self.stage, Stage::Filling(_) | Stage::Writing(_))
    }
}
