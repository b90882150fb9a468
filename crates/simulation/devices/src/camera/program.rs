//! Commands that change a running camera: to play another source, or to pause.

use super::{Player, State};
use crate::mode::Mode;
use crate::source::{NextSource, Ready, Source};
use crate::streaming::Stream;
use crate::{Failure, PlayError};
use vb3_v4l2::{Fraction, WakeFd};

/// The host's commands, which a camera follows at its next frames.
#[derive(Debug, Default)]
pub(crate) struct Program {
    next: Option<NextSource>,
    /// Whether the next source still has to deliver its first picture.
    awaits_picture: bool,
    /// Why the source that was to be played next was dropped. Kept until the host asks for this reason.
    failure: Option<Failure>,
    is_paused: bool,
    /// The frame number that a paused test pattern shows; `None` until it has shown a frame.
    still: Option<u32>,
}

impl Program {
    pub(crate) const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        if !is_paused {
            self.still = None;
        }
    }

    /// Returns the number that a test pattern shows in frame `sequence`: always the same during a pause.
    pub(super) fn number(&mut self, sequence: u32) -> u32 {
        match self.is_paused {
            true => *self.still.get_or_insert(sequence),
            false => sequence,
        }
    }

    /// Starts the next source while the current one still plays, so that its pictures are ready in time.
    pub(super) fn start(&mut self, like: &Source, interval: Fraction) -> Result<(), Failure> {
        match &mut self.next {
            Some(next) => next.source.start_like(like, interval),
            None => Ok(()),
        }
    }

    /// Returns whether the next source has a picture. Drops a source that will never have one.
    fn has_picture(&mut self) -> bool {
        let next = self.next.as_mut();
        let ready = next.map_or(Ready::End, |next| next.source.ready());
        self.awaits_picture &= ready == Ready::Later;
        match ready {
            Ready::Frame => return true,
            Ready::Later => {}
            Ready::End => self.next = None,
            Ready::Failed(failure) => (self.next, self.failure) = (None, Some(failure)),
        }
        false
    }

    /// Returns whether no source's first picture is awaited, so that the host can go on.
    /// Fails once for a next source that was dropped, with the reason.
    pub(crate) fn is_ready(&mut self) -> Result<bool, Failure> {
        if self.awaits_picture {
            self.has_picture();
        }
        self.failure.take().map_or(Ok(!self.awaits_picture), Err)
    }

    /// Returns a descriptor that is readable when the next source may have its first picture.
    pub(super) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let next = self.next.as_ref().filter(|_| self.awaits_picture);
        next.and_then(|next| next.source.wake_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub(super) fn acknowledge(&mut self) {
        if let Some(next) = self.next.as_mut().filter(|_| self.awaits_picture) {
            next.source.acknowledge();
        }
    }

    pub(super) fn stop(&mut self) {
        self.awaits_picture = false;
        if let Some(next) = &mut self.next {
            next.source.stop();
        }
    }
}

impl<C> Player<C> {
    /// Accepts the command to play another source.
    /// Fails with [`PlayError::Passed`] if the source's first frame is over already, or with a failure if the
    /// system provides no thread or descriptor.
    pub(crate) fn order(
        &mut self,
        stream: &mut Stream<Mode, C>,
        mut next: NextSource,
    ) -> Result<(), PlayError> {
        if stream.is_on && next.at.is_some_and(|at| at < stream.sequence) {
            return Err(PlayError::Passed {
                next: stream.sequence,
            });
        }
        self.program.stop();
        self.program.failure = None;
        if !stream.is_on {
            self.program.next = Some(next);
            self.take_program_before_start();
            return Ok(());
        }
        next.source
            .start_like(&self.source, stream.formats.interval)?;
        self.program.next = Some(next);
        self.program.awaits_picture = true;
        if self.state == State::AwaitsSource {
            // While the camera waits for its source, there may be no further tick (a call by the host), so
            // the command is followed now.
            self.follow_program(stream);
        }
        Ok(())
    }

    /// Returns whether the current source has ended and the next one can begin now.
    pub(super) fn program_follows(&self) -> bool {
        self.state == State::AtEnd && self.program.next.is_some() && !self.needs_picture()
    }

    /// Changes to the next source before a stream begins, unless that source waits for a later frame.
    pub(super) fn take_program_before_start(&mut self) {
        let next = self.program.next.as_ref();
        if next.is_some_and(|next| next.at.is_none_or(|at| at == 0)) {
            self.switch();
        }
    }

    /// Changes to the next source if that source's first frame is due.
    pub(super) fn follow_program(&mut self, stream: &Stream<Mode, C>) {
        let is_due = match self.program.next.as_ref().map(|next| next.at) {
            Some(Some(at)) => stream.sequence >= at,
            Some(None) => self.program.has_picture(),
            None => false,
        };
        if is_due {
            self.switch();
        }
    }

    pub(super) fn switch(&mut self) {
        if let Some(next) = self.program.next.take() {
            self.program.awaits_picture = false;
            self.source.stop();
            let at_once = self.source.at_once;
            self.source = next.source;
            self.source.at_once = at_once;
            (self.owed, self.state) = (0, State::Running);
        }
    }

    /// Advances the source to its next picture, unless the camera is paused.
    pub(super) fn advance_source(&mut self) {
        if !self.program.is_paused {
            self.source.advance();
        }
    }
}
