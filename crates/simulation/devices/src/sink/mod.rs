//! Records what a display shows, exactly as shown.
//!
//! A [`Sink`] passes pictures to a thread that writes them. On request, it keeps a few thumbnails for a
//! contact sheet (`Sink::keep_thumbnails`), or the last picture (`Sink::reads_all`). It
//! never waits: if the thread is late, [`Sink::has_room`] returns false, and the display keeps its buffers.
//! The display does not read a picture that nothing needs (`Sink::take_next`).

mod file;
mod name;
mod png;
mod raw;
mod shown;
mod thumb;
mod writer;
mod y4m;

use file::PictureFile;
pub use file::{Counters, Shape};
pub(crate) use name::NumberedName;
pub use name::further_file;
pub use shown::LastShown;
use thumb::Collection;
pub use thumb::{Shots, THUMBNAILS_MAX, Thumbnail};

use crate::Failure;
use crate::choice::SinkSpec;
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use vb3_picture::{Frame, Size};
use vb3_v4l2::{PixelFormat, WakeFd};
use writer::WriterThread;

/// Maximum number of pictures whose memory is kept for reuse.
const MAX_SPARE: usize = 8;

/// The destination of a display's pictures.
#[derive(Debug)]
pub struct Sink {
    kind: SinkSpec,
    writer: Option<WriterThread>,
    /// Whether the display must read every picture, because the host may ask for the last one.
    pub(crate) reads_all: bool,
    /// Memory of shown pictures, for reuse once nothing else has it.
    spare: Vec<Arc<Frame>>,
    /// Thumbnails, if they are requested.
    thumbs: Option<Collection>,
    shown: u64,
}

impl Sink {
    /// Opens the destination that a SPEC (the text that requests a device) names. Creates the destination's
    /// files, and the directory of numbered pictures.
    ///
    /// # Errors
    /// Fails for a path that cannot be written, with a message for the user.
    pub fn open(spec: &SinkSpec) -> Result<Self, Failure> {
        let file: Option<Box<dyn PictureFile>> = match spec {
            SinkSpec::Null => None,
            SinkSpec::Y4m(path) | SinkSpec::Raw(path) => {
                let is_y4m = matches!(spec, SinkSpec::Y4m(_));
                Some(Box::new(raw::RawFile::create(path, is_y4m)?))
            }
            SinkSpec::Png(name) => Some(Box::new(png::PngFiles::create(name)?)),
        };
        Ok(Self {
            kind: spec.clone(),
            writer: file.map(WriterThread::start).transpose()?,
            reads_all: false,
            spare: Vec::new(),
            thumbs: None,
            shown: 0,
        })
    }

    /// Keeps small versions of what is shown from now on.
    pub fn keep_thumbnails(&mut self) {
        self.thumbs.get_or_insert_default();
    }

    /// Sets the shape of the next pictures.
    ///
    /// If a file can have only one shape, another shape begins another file (`out.y4m`, `out.2.y4m`, …).
    ///
    /// # Errors
    /// Fails for an unsupported format, with a message for the user.
    pub fn begin(&mut self, shape: Shape) -> Result<(), Failure> {
        if !self.kind.accepts(shape.format) {
            return Err(Failure::new(
                "y4m holds no RGB; record RGB24 to NAME%04d.png or FILE.rgb, or stream NV12 or YUYV",
            ));
        }
        if let Some(writer) = &mut self.writer {
            writer.shape = Some(shape);
        }
        Ok(())
    }

    /// Returns whether a picture can be shown now. If not, `wake_fd` becomes readable when
    /// it can.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer
            .as_ref()
            .is_none_or(|writer| writer.ring.has_room())
    }

    /// Returns memory for the next picture, as [`take_frame`](Self::take_frame) does. Returns `None` if
    /// nothing would keep this picture, so that [`show_unseen`](Self::show_unseen) suffices.
    pub(crate) fn take_next(&mut self, format: &'static PixelFormat, size: Size) -> Option<Frame> {
        let is_kept = self.thumbs.as_ref().is_some_and(Collection::keeps_next);
        (self.keeps_all() || is_kept).then(|| self.take_frame(format, size))
    }

    /// Returns how many pictures were shown.
    #[must_use]
    pub(crate) const fn shown(&self) -> u64 {
        self.shown
    }

    /// Returns whether each picture is recorded or kept.
    #[must_use]
    pub const fn keeps_all(&self) -> bool {
        self.writer.is_some() || self.reads_all
    }

    /// Returns memory for a picture to fill and [`show`](Self::show). The memory's contents are unspecified.
    #[must_use]
    pub fn take_frame(&mut self, format: &'static PixelFormat, size: Size) -> Frame {
        let free = |frame: &Arc<Frame>| Arc::strong_count(frame) == 1;
        let spare = self.spare.iter().rposition(free);
        match spare.and_then(|at| Arc::into_inner(self.spare.swap_remove(at))) {
            Some(mut frame) => {
                frame.reshape(format, size);
                frame
            }
            None => Frame::new(format, size),
        }
    }

    /// Shows a picture of the shape that [`begin`](Self::begin) got, and returns it.
    /// The picture is written, or counted as lost if there is no room: call [`has_room`](Self::has_room)
    /// first.
    pub fn show(&mut self, frame: Frame) -> Arc<Frame> {
        self.shown = self.shown.saturating_add(1);
        if let Some(thumbs) = &mut self.thumbs {
            thumbs.offer(|number| Some(Thumbnail::of(&frame, number)));
        }
        let frame = Arc::new(frame);
        if let Some(writer) = &mut self.writer {
            writer.write(Arc::clone(&frame));
        }
        self.keep(Arc::clone(&frame));
        frame
    }

    fn keep(&mut self, frame: Arc<Frame>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(frame);
        }
    }

    /// Counts a shown picture that was not read.
    pub(crate) fn show_unseen(&mut self) {
        self.shown = self.shown.saturating_add(1);
        if let Some(thumbs) = &mut self.thumbs {
            thumbs.offer(|_| None);
        }
    }

    /// Takes back the memory of a picture that was not shown, if there is one.
    pub(crate) fn put_back(&mut self, frame: Option<Frame>) {
        if let Some(frame) = frame {
            self.keep(Arc::new(frame));
        }
    }

    /// Returns thumbnails of at most `count` pictures, evenly spread. They cover all pictures shown since
    /// [`keep_thumbnails`](Self::keep_thumbnails), and are at most [`THUMBNAILS_MAX`].
    #[must_use]
    pub fn thumbnails(&self, count: usize) -> Vec<Thumbnail> {
        let thumbs = self.thumbs.as_ref();
        thumbs.map_or_else(Vec::new, |thumbs| thumbs.spread(count))
    }

    /// Returns a descriptor that becomes readable when there is room again. A display waits for it after
    /// [`has_room`](Self::has_room) has returned false.
    #[must_use]
    pub fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.writer.as_ref().map(|writer| writer.ring.wake_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Some(writer) = &self.writer {
            writer.ring.acknowledge();
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        let shown = self.shown;
        match &self.writer {
            Some(writer) => Counters {
                shown,
                ..writer.counters()
            },
            None => Counters {
                shown,
                written: shown,
                ..Counters::default()
            },
        }
    }

    /// Waits until everything is written. Returns the counters. Pictures shown later are lost.
    pub fn finish(&mut self) -> Counters {
        if let Some(writer) = &mut self.writer {
            writer.finish();
        }
        self.counters()
    }
}

/// The format of a file with one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// PNG, as in a display's `png` recording.
    Png,
    /// The picture's bytes without padding, component after component.
    Raw,
}

/// Writes a picture to a regular file. Creates or replaces the file.
///
/// # Errors
/// Fails with a message: the file cannot be written, or the path is a device, pipe or directory.
pub fn save(frame: &Frame, path: &Path, format: FileFormat) -> Result<(), Failure> {
    let cannot = |e: &dyn std::fmt::Display| {
        Failure::new(format!(
            "cannot write {}: {e}; choose another file",
            path.display()
        ))
    };
    // Without NONBLOCK, opening a pipe would wait.
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o666)).map_err(|e| cannot(&e))?;
    let mut file = File::from(file);
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(cannot(&"it is not a regular file"));
    }
    file.set_len(0).map_err(|e| cannot(&e))?;
    match format {
        FileFormat::Png => {
            png::write_png(file, frame.size(), &frame.to_rgb()).map_err(|e| cannot(&e))
        }
        FileFormat::Raw => file.write_all(frame.bytes()).map_err(|e| cannot(&e)),
    }
}

impl SinkSpec {
    /// Returns the recording of a card's connector, counted from zero: `NAME-2` for the second one.
    #[must_use]
    pub fn of_connector(&self, connector: usize) -> Self {
        let number = connector + 1;
        let named = |path: &Path| match (path.file_stem(), path.extension()) {
            (Some(stem), Some(ending)) if connector > 0 => {
                let [stem, ending] = [stem, ending].map(|part| part.to_string_lossy());
                path.with_file_name(format!("{stem}-{number}.{ending}"))
            }
            _ => path.to_owned(),
        };
        match self {
            Self::Null => Self::Null,
            Self::Y4m(path) => Self::Y4m(named(path)),
            Self::Raw(path) => Self::Raw(named(path)),
            Self::Png(name) => Self::Png(named(Path::new(name)).to_string_lossy().into_owned()),
        }
    }

    /// Returns whether this format can be recorded exactly. Compressed and Bayer formats cannot. R'G'B'
    /// formats cannot be recorded as y4m.
    #[must_use]
    pub fn accepts(&self, format: &PixelFormat) -> bool {
        match self {
            _ if format.is_compressed() || format.is_mosaic() => false,
            Self::Y4m(_) => y4m::chroma(format).is_some(),
            Self::Null | Self::Raw(_) | Self::Png(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
