//! Orders that change a running camera: another source, or a pause.

use super::{Player, State};
use crate::Failure;
use crate::mode::Mode;
use crate::source::{NextSource, Ready, Source};
use crate::streaming::Stream;
use vb3_v4l2::Fraction;

/// Orders that a camera follows at its next frames.
#[derive(Debug, Default)]
pub(super) struct Program {
    next: Option<NextSource>,
    /// The source stands still. The number is that of the frame that it shows, once one was taken.
    paused: Option<Option<u32>>,
}

impl Program {
    pub(super) const fn pause(&mut self, paused: bool) {
        self.paused = match (paused, self.paused) {
            (false, _) => None,
            (true, Some(number)) => Some(number),
            (true, None) => Some(None),
        };
    }

    /// Returns the number that a test pattern shows in frame `sequence`.
    pub(super) fn number(&mut self, sequence: u32) -> u32 {
        match &mut self.paused {
            Some(number) => *number.get_or_insert(sequence),
            None => sequence,
        }
    }

    /// Starts the next source with the present one, so that its pictures are there in time.
    pub(super) fn start(&mut self, like: &Source, interval: Fraction) -> Result<(), Failure> {
        match &mut self.next {
            Some(next) => next.source.start_like(like, interval),
            None => Ok(()),
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some(next) = &mut self.next {
            next.source.stop();
        }
    }
}

impl<C> Player<C> {
    /// Takes the order to play another source.
    ///
    /// # Errors
    /// A sentence, if the system lacks a thread or descriptor for a clip.
    pub(super) fn order(
        &mut self,
        stream: &mut Stream<Mode, C>,
        mut next: NextSource,
    ) -> Result<(), Failure> {
        self.program.stop();
        if !stream.is_on() {
            self.program.next = Some(next);
            self.take_program_before_start();
            return Ok(());
        }
        next.source
            .start_like(&self.source, stream.formats.interval)?;
        self.program.next = Some(next);
        Ok(())
    }

    /// Returns whether the present source has ended and another one follows now.
    pub(super) fn program_follows(&self) -> bool {
        self.state == State::AtEnd && self.program.next.is_some() && !self.needs_picture()
    }

    /// Before a stream: a source without a frame number becomes the present one.
    pub(super) fn take_program_before_start(&mut self) {
        if self
            .program
            .next
            .as_ref()
            .is_some_and(|next| next.at.is_none_or(|at| at == 0))
        {
            self.switch();
        }
    }

    /// Before the next frame is taken: changes the source if its frame or its first picture has come.
    pub(super) fn follow_program(&mut self, stream: &mut Stream<Mode, C>) {
        let Some(next) = &mut self.program.next else {
            return;
        };
        let is_due = match next.at {
            Some(at) => stream.sequence >= at,
            None => match next.source.ready() {
                Ready::Frame => true,
                Ready::Later => false,
                Ready::End => {
                    self.program.next = None;
                    return;
                }
                Ready::Failed(failure) => {
                    stream.failure = Some(failure);
                    self.program.next = None;
                    return;
                }
            },
        };
        if is_due {
            self.switch();
        }
    }

    pub(super) fn switch(&mut self) {
        if let Some(next) = self.program.next.take() {
            self.source.stop();
            self.end.1 = next.name;
            self.source = next.source;
            (self.owed, self.state) = (0, State::Running);
        }
    }

    /// Advances the source to its next picture, unless it is paused.
    pub(super) fn advance_source(&mut self) {
        if self.program.paused.is_none() {
            self.source.advance();
        }
    }
}
