//! Plays the placeholder's file, which readers see without a writer. One reader plays it for all readers.

use super::fill::playable;
use super::link::{Shared, has_same_layout};
use super::placeholder::padded;
use crate::Failure;
use crate::source::{Ready, Source};
use std::os::fd::BorrowedFd;
use vb3_picture::Picture;
use vb3_v4l2::Format;

/// A reader's player of the placeholder's file. It is empty unless this reader plays the file.
#[derive(Debug, Default)]
pub(super) struct FilePlayer(Option<Playing>);

/// The file while a reader plays it.
#[derive(Debug)]
struct Playing {
    source: Source,
    /// The format in which the file's pictures are decoded.
    format: Format,
    /// Whether the next picture is due and not ready.
    waits: bool,
}

impl FilePlayer {
    /// Stops playing, so that another reader can take the file.
    pub(super) fn put_back(&mut self, shared: &mut Shared) {
        if let Some(mut playing) = self.0.take() {
            playing.source.stop();
            shared.fill.file = Some(playing.source);
        }
    }

    /// Takes the file and starts playing it, unless another reader has the file.
    fn start(&mut self, shared: &mut Shared) -> Result<(), Failure> {
        let format = shared.format;
        let Some((pixel, size)) = playable(&format) else {
            return Ok(());
        };
        let Some(mut source) = shared.fill.file.take() else {
            return Ok(());
        };
        source.start(pixel, size, shared.interval)?;
        self.0 = Some(Playing {
            source,
            format,
            waits: false,
        });
        Ok(())
    }

    /// Shows the file's next picture if the picture is due.
    ///
    /// # Errors
    /// Fails, with a message for the user, if the file cannot be played further.
    pub(super) fn play(&mut self, shared: &mut Shared, now_ns: u64) -> Result<(), Failure> {
        let due_ns = shared.next_of_file();
        let is_other = |playing: &Playing| !has_same_layout(&playing.format, &shared.format);
        if due_ns.is_none() || self.0.as_ref().is_some_and(is_other) {
            self.put_back(shared);
        }
        if due_ns.is_none_or(|due_ns| due_ns > now_ns) {
            return Ok(());
        }
        if self.0.is_none() {
            self.start(shared)?;
        }
        let Some(playing) = &mut self.0 else {
            return Ok(());
        };
        playing.source.acknowledge();
        match playing.source.ready() {
            Ready::Frame => {
                let frame = playing.source.picture(0, &Picture::default(), None);
                let bytes = frame.and_then(|frame| padded(&playing.format, frame));
                playing.source.advance();
                match bytes {
                    Some(bytes) => shared.show(bytes.into(), now_ns),
                    None => self.0 = None,
                }
            }
            Ready::Later => playing.waits = true,
            // From now on, no reader plays the file.
            Ready::End => self.0 = None,
            Ready::Failed(failure) => {
                self.0 = None;
                return Err(failure);
            }
        }
        Ok(())
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
    pub(super) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let playing = self.0.as_ref().filter(|playing| playing.waits)?;
        playing.source.wake_fd()
    }
}
