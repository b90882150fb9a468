//! What a display records, exactly as it was shown.
//!
//! A [`Sink`] hands pictures to a thread that writes them, and keeps a few small ones for a contact
//! sheet. Whoever wants them has it keep checksums and the last picture, too ([`Sink::remember`]).
//! It never waits: where the thread falls behind, [`Sink::has_room`] says no, and the display holds
//! its buffers back. A picture of which nothing is kept is not looked at ([`Sink::take_next`]).

#[cfg(test)]
mod gate;
mod name;
mod png;
mod raw;
mod thumb;
mod writer;
mod y4m;

pub use name::NumberedName;
pub(crate) use thumb::Collection;
pub use thumb::{THUMBNAILS_MAX, Thumbnail};

use crate::Failure;
use crate::picture::{Frame, Size};
use crate::spec::SinkSpec;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vb3_v4l2::{Fraction, PixelFormat};
use writer::Writer;

/// Most checksums kept: those of the first frames.
pub const CHECKSUMS_MAX: usize = 1 << 16;

/// Shape and rate of the pictures that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How samples are laid out.
    pub format: &'static PixelFormat,
    /// Width and height.
    pub size: Size,
    /// Seconds per frame.
    pub interval: Fraction,
}

/// What became of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Pictures shown.
    pub shown: u64,
    /// Pictures written; all that were shown, where nothing is recorded.
    pub written: u64,
    /// Pictures that could not be written.
    pub lost: u64,
    /// Why, for the first of them.
    pub failure: Option<Failure>,
}

/// Where a display's pictures go.
#[derive(Debug)]
pub struct Sink {
    kind: SinkSpec,
    writer: Option<Writer>,
    remembers: bool,
    last: Option<Arc<Frame>>,
    /// Memory for the next picture.
    spare: Option<Frame>,
    checksums: Vec<u32>,
    thumbs: Collection,
    shown: u64,
}

impl Sink {
    /// Opens what a person asked for. Files are made now; the directory of numbered pictures too.
    ///
    /// # Errors
    /// A sentence, for a path that cannot be written.
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
            last: None,
            spare: None,
            checksums: Vec::new(),
            thumbs: Collection::default(),
            shown: 0,
        })
    }

    /// Whether pictures of this format can be recorded exactly.
    #[must_use]
    pub fn accepts(&self, format: &PixelFormat) -> bool {
        self.kind.accepts(format)
    }

    /// Keeps checksums of the pictures that follow, and the last of them.
    pub const fn remember(&mut self) {
        self.remembers = true;
    }

    /// The pictures that follow have this shape. Where a file can hold one shape only, another
    /// shape begins another file (`out.y4m`, `out.2.y4m`, …).
    ///
    /// # Errors
    /// A sentence, for a format that is not accepted.
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

    /// Whether a picture can be shown now. If not, [`wake_fd`](Self::wake_fd) tells when.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::has_room)
    }

    /// As [`take_frame`](Self::take_frame) for the next picture; `None` where nothing would be kept
    /// of it, and [`show_unseen`](Self::show_unseen) will do.
    #[must_use]
    pub fn take_next(&mut self, format: &'static PixelFormat, size: Size) -> Option<Frame> {
        let is_seen = self.writer.is_some() || self.remembers || self.thumbs.keeps_next();
        is_seen.then(|| self.take_frame(format, size))
    }

    /// A picture to fill and [`show`](Self::show); its contents are unspecified.
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

    /// Shows a picture. It is written whatever happens, or counted as lost: a caller that does
    /// not ask [`has_room`](Self::has_room) first loses it where there is none.
    pub fn show(&mut self, frame: Frame) {
        self.shown = self.shown.saturating_add(1);
        if self.remembers && self.checksums.len() < CHECKSUMS_MAX {
            self.checksums.push(frame.checksum());
        }
        self.thumbs.offer(&frame);
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

    /// Shows a picture that nobody looks at.
    pub fn show_unseen(&mut self) {
        self.shown = self.shown.saturating_add(1);
        self.thumbs.offer_frame(|| None);
    }

    /// Gives back a picture that is not to be shown.
    pub fn put_back(&mut self, frame: Frame) {
        self.spare = Some(frame);
    }

    /// The picture shown last, of those that were looked at.
    #[must_use]
    pub fn last(&self) -> Option<&Frame> {
        self.last.as_deref()
    }

    /// CRC-32 of the bytes of each picture since [`remember`](Self::remember), of the first
    /// [`CHECKSUMS_MAX`].
    #[must_use]
    pub fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// Small versions of at most `count` pictures, evenly spread over all that were shown; no more
    /// than [`THUMBNAILS_MAX`].
    #[must_use]
    pub fn thumbnails(&self, count: usize) -> Vec<Thumbnail> {
        self.thumbs.spread(count)
    }

    /// Readable when [`has_room`](Self::has_room) has said no and would say yes.
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

    /// What became of the pictures so far.
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

    /// Waits until everything is written, and tells what became of the pictures. Pictures shown
    /// afterwards are lost.
    pub fn finish(&mut self) -> Record {
        if let Some(writer) = &mut self.writer {
            writer.finish();
        }
        self.record()
    }
}

/// Whether a y4m file can hold pictures of a format.
pub(crate) fn y4m_holds(format: &PixelFormat) -> bool {
    y4m::chroma(format).is_some()
}

/// What writes pictures, in a thread of its own.
trait Recorder: Send {
    /// The pictures that follow have this shape.
    fn begin(&mut self, shape: Shape) -> Result<(), Failure>;
    /// Writes one. A file is left as if a picture that failed had not been tried.
    fn write(&mut self, frame: &Frame) -> Result<(), Failure>;
}

#[cfg(test)]
mod tests;
