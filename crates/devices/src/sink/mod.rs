//! A display's recording, exactly as shown.
//!
//! A [`Sink`] passes pictures to a thread that writes them. On request, it keeps a few thumbnails for a
//! contact sheet ([`Sink::keep_thumbnails`]), or checksums and the last picture ([`Sink::remember`]). It
//! never waits: if the thread is late, [`Sink::has_room`] returns false, and the display keeps its buffers.
//! Unneeded pictures are not read ([`Sink::take_next`]).

#[cfg(test)]
mod gate;
mod name;
mod png;
mod raw;
mod save;
mod thumb;
mod writer;
mod y4m;

pub use name::NumberedName;
pub use save::{FileFormat, save};
pub(crate) use thumb::Collection;
pub use thumb::{THUMBNAILS_MAX, Thumbnail};

use crate::Failure;
use crate::picture::{Frame, Size};
use crate::spec::SinkSpec;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vb3_v4l2::{Fraction, PixelFormat};
use writer::Writer;

/// Largest number of checksums kept: those of the first frames.
pub const CHECKSUMS_MAX: usize = 1 << 16;

/// Shape and rate of the following pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How samples are laid out.
    pub format: &'static PixelFormat,
    /// Width and height.
    pub size: Size,
    /// Seconds per frame.
    pub interval: Fraction,
}

/// Counters of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Pictures shown.
    pub shown: u64,
    /// Number of pictures written; of all shown, if nothing is recorded.
    pub written: u64,
    /// Pictures that could not be written.
    pub lost: u64,
    /// The reason for the first loss.
    pub failure: Option<Failure>,
}

/// The destination of a display's pictures.
#[derive(Debug)]
pub struct Sink {
    kind: SinkSpec,
    writer: Option<Writer>,
    remembers: bool,
    /// Whether every picture is read.
    reads_all: bool,
    last: Option<Arc<Frame>>,
    /// Memory for the next picture.
    spare: Option<Frame>,
    checksums: Vec<u32>,
    /// Thumbnails, if requested.
    thumbs: Option<Collection>,
    shown: u64,
}

impl Sink {
    /// Opens the destination of a SPEC. Files are created now, also the directory of numbered pictures.
    ///
    /// # Errors
    /// Fails for a path that cannot be written, with a sentence for the user.
    pub fn open(spec: &SinkSpec) -> Result<Self, Failure> {
        let recorder: Option<Box<dyn Recorder>> = match spec {
            SinkSpec::Null => None,
            SinkSpec::Y4m(path) => Some(Box::new(y4m::Y4m::create(path)?)),
            SinkSpec::Raw(path) => Some(Box::new(raw::Raw::create(path)?)),
            SinkSpec::Png(name) => Some(Box::new(png::Png::create(name)?)),
        };
        Ok(Self {
            kind: spec.clone(),
            writer: recorder.map(Writer::start).transpose()?,
            remembers: false,
            reads_all: false,
            last: None,
            spare: None,
            checksums: Vec::new(),
            thumbs: None,
            shown: 0,
        })
    }

    /// Returns whether pictures of this format can be recorded exactly.
    #[must_use]
    pub fn accepts(&self, format: &PixelFormat) -> bool {
        self.kind.accepts(format)
    }

    /// Keeps checksums of the following pictures, and the last of them.
    pub const fn remember(&mut self) {
        self.remembers = true;
    }

    /// Has every following picture read, so that [`last_shared`](Self::last_shared) is the last shown.
    pub const fn read_all(&mut self) {
        self.reads_all = true;
    }

    /// Keeps thumbnails of the following pictures.
    pub fn keep_thumbnails(&mut self) {
        self.thumbs.get_or_insert_default();
    }

    /// Sets the shape of the following pictures.
    ///
    /// If a file can have only one shape, another shape begins another file (`out.y4m`, `out.2.y4m`,
    /// …).
    ///
    /// # Errors
    /// Fails for an unsupported format, with a sentence for the user.
    pub fn begin(&mut self, shape: Shape) -> Result<(), Failure> {
        if !self.accepts(shape.format) {
            return Err(Failure::new(
                "y4m holds no RGB; record RGB24 to NAME%04d.png or FILE.rgb, or stream NV12 or YUYV",
            ));
        }
        if let Some(writer) = &mut self.writer {
            writer.begin(shape);
        }
        Ok(())
    }

    /// Returns whether a picture can be shown now. If not, [`wake_fd`](Self::wake_fd) becomes readable
    /// later.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::has_room)
    }

    /// As [`take_frame`](Self::take_frame) for the next picture; `None` if nothing of it would be kept,
    /// and [`show_unseen`](Self::show_unseen) suffices.
    #[must_use]
    pub fn take_next(&mut self, format: &'static PixelFormat, size: Size) -> Option<Frame> {
        let is_kept = self.thumbs.as_ref().is_some_and(Collection::keeps_next);
        let is_seen = self.writer.is_some() || self.remembers || self.reads_all || is_kept;
        is_seen.then(|| self.take_frame(format, size))
    }

    /// Returns a picture to fill and [`show`](Self::show). Its contents are unspecified.
    #[must_use]
    pub fn take_frame(&mut self, format: &'static PixelFormat, size: Size) -> Frame {
        let writer = self.writer.as_mut();
        let spare = self
            .spare
            .take()
            .or_else(|| writer.and_then(Writer::take_spare));
        match spare {
            Some(mut frame) => {
                frame.reshape(format, size);
                frame
            }
            None => Frame::new(format, size),
        }
    }

    /// Shows a picture. It is written, or counted as lost if there is no room. So call
    /// [`has_room`](Self::has_room) first.
    pub fn show(&mut self, frame: Frame) {
        self.shown = self.shown.saturating_add(1);
        if self.remembers && self.checksums.len() < CHECKSUMS_MAX {
            self.checksums.push(frame.checksum());
        }
        if let Some(thumbs) = &mut self.thumbs {
            thumbs.offer(&frame);
        }
        let before = self.last.replace(Arc::new(frame));
        match (&mut self.writer, &self.last) {
            (Some(writer), Some(frame)) => {
                writer.write(Arc::clone(frame));
                if let Some(before) = before {
                    writer.give_back(before);
                }
            }
            _ => self.spare = before.and_then(|before| Arc::try_unwrap(before).ok()),
        }
    }

    /// Counts a picture that need not be read.
    pub fn show_unseen(&mut self) {
        self.shown = self.shown.saturating_add(1);
        if let Some(thumbs) = &mut self.thumbs {
            thumbs.offer_frame(|| None);
        }
    }

    /// Returns an unused picture's memory.
    pub fn put_back(&mut self, frame: Frame) {
        self.spare = Some(frame);
    }

    /// Returns the last shown picture that was read.
    #[must_use]
    pub fn last(&self) -> Option<&Frame> {
        self.last.as_deref()
    }

    /// As [`last`](Self::last), for another thread.
    #[must_use]
    pub fn last_shared(&self) -> Option<Arc<Frame>> {
        self.last.clone()
    }

    /// Returns the CRC-32 of each picture since [`remember`](Self::remember), of the first
    /// [`CHECKSUMS_MAX`].
    #[must_use]
    pub fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// Returns thumbnails of at most `count` pictures, evenly spread over all that were shown; no more
    /// than [`THUMBNAILS_MAX`]. None before [`keep_thumbnails`](Self::keep_thumbnails).
    #[must_use]
    pub fn thumbnails(&self, count: usize) -> Vec<Thumbnail> {
        let thumbs = self.thumbs.as_ref();
        thumbs.map_or_else(Vec::new, |thumbs| thumbs.spread(count))
    }

    /// Returns a descriptor that is readable when [`has_room`](Self::has_room) returned false and would
    /// return true.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(Writer::wake_fd)
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Some(writer) = &self.writer {
            writer.acknowledge();
        }
    }

    /// Returns the counters so far.
    #[must_use]
    pub fn record(&self) -> Record {
        let mut record = Record {
            shown: self.shown,
            written: self.shown,
            ..Record::default()
        };
        if let Some(writer) = &self.writer {
            let done = writer.progress();
            (record.written, record.lost, record.failure) = (done.written, done.lost, done.failure);
        }
        record
    }

    /// Waits until everything is written, and returns the counters. Pictures shown afterwards are lost.
    pub fn finish(&mut self) -> Record {
        if let Some(writer) = &mut self.writer {
            writer.finish();
        }
        self.record()
    }
}

/// Returns whether a y4m file can contain pictures of a format.
pub(crate) fn y4m_holds(format: &PixelFormat) -> bool {
    y4m::chroma(format).is_some()
}

/// Writes pictures on a separate thread.
trait Recorder: Send {
    /// Sets the shape of the following pictures.
    fn begin(&mut self, shape: Shape) -> Result<(), Failure>;
    /// Writes a picture. A failed picture leaves the file as before.
    fn write(&mut self, frame: &Frame) -> Result<(), Failure>;
}

#[cfg(test)]
mod tests;
