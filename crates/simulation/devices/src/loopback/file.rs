//! Plays the placeholder's file, which readers see without a writer. One reader plays it for all readers.

use super::fill::{padded, playable};
use super::link::{Shared, has_same_layout};
use crate::Failure;
use crate::source::{Ready, Source};
use vb3_picture::Picture;
use vb3_v4l2::{Format, WakeFd};

/// A reader's player of the placeholder's file. It is empty unless this reader plays the file.
#[derive(Debug, Default)]
pub(super) struct FilePlayer(Option<Playing>);

/// The placeholder's file. It plays only while a reader streams and needs its pictures.
#[derive(Debug)]
pub(super) struct Playing {
    source: Source,
    /// The format of the file's decoded pictures; `None` if the file does not play.
    format: Option<Format>,
    /// Whether the next picture is due and not ready.
    waits: bool,
}

impl Playing {
    pub(super) const fn new(source: Source) -> Self {
        Self {
            source,
            format: None,
            waits: false,
        }
    }

    fn stop(&mut self) {
        self.source.stop();
        self.format = None;
    }

    /// Starts to play in the current format, unless the file plays in this format already.
    fn start(&mut self, shared: &Shared) -> Result<(), Failure> {
        let is_same = |format: Format| has_same_layout(&format, &shared.format);
        match playable(&shared.format) {
            Some((pixel, size)) if !self.format.is_some_and(is_same) => {
                self.source.start(pixel, size, shared.interval)?;
                self.format = Some(shared.format);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl FilePlayer {
    pub(super) const fn is_playing(&self) -> bool {
        self.0.is_some()
    }

    /// Lets another reader continue to play the file. Stops the file if no picture of it is needed, or if no
    /// reader streams.
    pub(super) fn put_back(&mut self, shared: &mut Shared) {
        if let Some(playing) = self.0.take() {
            shared.fill.file = Some(Playing {
                waits: false,
                ..playing
            });
        }
        let is_needed = shared.parties.values().any(|party| party.next.is_some())
            && shared.next_of_file().is_some();
        if let Some(playing) = shared.fill.file.as_mut().filter(|_| !is_needed) {
            playing.stop();
        }
    }

    /// Shows the file's next picture if the picture is due.
    /// Fails, with a message for the user, if the file cannot be played further.
    pub(super) fn play(&mut self, shared: &mut Shared, now_ns: u64) -> Result<(), Failure> {
        let Some(due_ns) = shared.next_of_file() else {
            self.put_back(shared);
            return Ok(());
        };
        if due_ns > now_ns {
            return Ok(());
        }
        let Some(mut playing) = self.0.take().or_else(|| shared.fill.file.take()) else {
            return Ok(());
        };
        if let Err(failure) = playing.start(shared) {
            return Err(self.give_up(playing, shared, failure));
        }
        playing.source.acknowledge();
        match playing.source.ready() {
            Ready::Frame => {
                let frame = playing.source.picture(0, &Picture::default(), None);
                let bytes = frame.and_then(|frame| padded(&shared.format, frame));
                playing.source.advance();
                let Some(bytes) = bytes else {
                    return Ok(());
                };
                shared.show(bytes.into(), now_ns);
            }
            Ready::Later => playing.waits = true,
            // From now on, no reader plays the file.
            Ready::End => return Ok(()),
            Ready::Failed(failure) => return Err(self.give_up(playing, shared, failure)),
        }
        self.0 = Some(playing);
        Ok(())
    }

    /// Stops a file that cannot be played now. A reader that starts later tries again.
    fn give_up(&mut self, mut playing: Playing, shared: &mut Shared, failure: Failure) -> Failure {
        playing.stop();
        self.0 = Some(playing);
        self.put_back(shared);
        failure
    }

    /// Returns when [`play`](Self::play) must be called next, or `None` if nothing is planned.
    pub(super) fn next(&self, shared: &Shared) -> Option<u64> {
        let waits = match &self.0 {
            Some(playing) => playing.waits,
            None => shared.fill.file.is_none(),
        };
        shared.next_of_file().filter(|_| !waits)
    }

    /// Ends a wait for the next picture. A reader with buffers then tries again, and may wait again.
    pub(super) fn end_wait(&mut self) {
        if let Some(playing) = &mut self.0 {
            playing.waits = false;
        }
    }

    /// Returns whether the next picture is due and not ready.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|playing| playing.waits)
    }

    /// Returns a descriptor that becomes readable when the awaited picture is ready.
    pub(super) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let playing = self.0.as_ref().filter(|playing| playing.waits)?;
        playing.source.wake_fd()
    }
}
