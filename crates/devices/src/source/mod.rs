//! A camera's source: a test pattern or a clip.

mod clip;
mod probe;
mod tool;

pub use clip::{Clip, Next, await_ended as await_ended_clips};
pub use probe::ClipInfo;

use crate::Failure;
use crate::spec::{ClipEnd, SourceSpec};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vb3_picture::{Background, Frame, Pattern, Picture, Size};
use vb3_v4l2::{Fraction, PixelFormat, pixfmt};

/// The source that a running camera plays next.
#[derive(Debug)]
pub struct NextSource {
    pub(crate) source: Source,
    pub(crate) name: String,
    /// The sequence number of the frame that shows the source's first picture. Without a number, this is the
    /// first frame for which the source has a picture.
    pub(crate) at: Option<u32>,
}

impl NextSource {
    /// Opens the source. May wait for ffprobe, for at most 30 seconds.
    ///
    /// # Errors
    /// Fails as [`Source::open`] does.
    pub fn open(spec: &SourceSpec, end: ClipEnd, at: Option<u32>) -> Result<Self, Failure> {
        let name = match spec {
            SourceSpec::Pattern => String::new(),
            SourceSpec::Clip(path) => path.display().to_string(),
        };
        let source = Source::open(spec, end)?;
        Ok(Self { source, name, at })
    }
}

/// A test pattern or a clip, which gives one picture after the other.
#[derive(Debug)]
pub struct Source {
    clip: Option<Playing>,
    pattern: Pattern,
    /// Whether the last picture was the test pattern.
    shows_pattern: bool,
    shape: (&'static PixelFormat, Size),
}

#[derive(Debug)]
struct Playing {
    clip: Clip,
    current: Option<Arc<Frame>>,
    /// Whether the picture controls were applied to `current`.
    adjusted: bool,
}

/// Whether a picture is available.
#[derive(Debug, PartialEq, Eq)]
pub enum Ready {
    /// A picture is available.
    Frame,
    /// There is no picture yet; `Source::wake_fd` becomes readable when there is one.
    Later,
    /// There is no picture any more.
    End,
    /// There are no more pictures, for this reason. Only the first call returns this, later ones `End`.
    Failed(Failure),
}

impl Source {
    /// Opens the source that a device's SPEC names.
    ///
    /// # Errors
    /// Fails for a file that cannot be played, with a message for the user.
    pub fn open(spec: &SourceSpec, end: ClipEnd) -> Result<Self, Failure> {
        let clip = match spec {
            SourceSpec::Pattern => None,
            SourceSpec::Clip(path) => {
                let clip = Clip::open(path, end)?;
                Some(Playing {
                    clip,
                    current: None,
                    adjusted: false,
                })
            }
        };
        let shape = (&pixfmt::YUYV, Size::nearest(640, 480));
        Ok(Self {
            clip,
            pattern: Pattern::default(),
            shows_pattern: false,
            shape,
        })
    }

    /// Returns the size and interval of a clip's file; `None` for the test pattern.
    #[must_use]
    pub fn native(&self) -> Option<ClipInfo> {
        self.clip.as_ref().map(|playing| playing.clip.info())
    }

    /// Starts to play from the first picture. A clip shows a new picture every `interval` seconds.
    ///
    /// # Errors
    /// Fails, with a message for the user, if the system provides no thread or descriptor for a clip.
    pub fn start(
        &mut self,
        format: &'static PixelFormat,
        size: Size,
        interval: Fraction,
    ) -> Result<(), Failure> {
        self.shape = (format, size);
        let Some(playing) = &mut self.clip else {
            return Ok(());
        };
        playing.current = None;
        playing.clip.start(format, size, interval)
    }

    /// Starts to play from the first picture, in the format and size of another source.
    ///
    /// # Errors
    /// Fails as [`start`](Self::start) does.
    pub fn start_like(&mut self, other: &Self, interval: Fraction) -> Result<(), Failure> {
        let (format, size) = other.shape;
        self.start(format, size, interval)
    }

    /// Returns whether the source is a clip.
    #[must_use]
    pub const fn is_clip(&self) -> bool {
        self.clip.is_some()
    }

    /// Stops the source, and a clip's decoder.
    pub fn stop(&mut self) {
        if let Some(playing) = &mut self.clip {
            playing.current = None;
            playing.clip.stop();
        }
    }

    /// Returns whether there is a picture now. Does not wait.
    pub fn ready(&mut self) -> Ready {
        let Some(playing) = &mut self.clip else {
            return Ready::Frame;
        };
        if playing.current.is_some() {
            return Ready::Frame;
        }
        match playing.clip.take() {
            Next::Frame(frame) => {
                (playing.current, playing.adjusted) = (Some(frame), false);
                Ready::Frame
            }
            Next::Later => Ready::Later,
            Next::End => Ready::End,
            Next::Failed(failure) => Ready::Failed(failure),
        }
    }

    /// Returns the current picture with the picture controls applied. `None` unless [`ready`](Self::ready)
    /// returned `Frame`.
    ///
    /// The picture is the test pattern with number `sequence` if `pattern` selects a background or there is
    /// no clip. Otherwise it is the clip's picture.
    pub fn picture(
        &mut self,
        sequence: u32,
        picture: &Picture,
        pattern: Option<Background>,
    ) -> Option<&Frame> {
        let (format, size) = self.shape;
        self.shows_pattern = self.clip.is_none() || pattern.is_some();
        match (&mut self.clip, pattern) {
            (Some(playing), None) => {
                let frame = playing.current.as_mut()?;
                let is_neutral = *picture == Picture::default();
                if !core::mem::replace(&mut playing.adjusted, true) && !is_neutral {
                    picture.apply(Arc::make_mut(frame));
                }
                Some(frame)
            }
            (_, background) => {
                self.pattern.set_background(background.unwrap_or_default());
                Some(self.pattern.frame(format, size, sequence, picture))
            }
        }
    }

    /// Returns the last result of [`picture`](Self::picture), unchanged. `None` if that was a clip's picture
    /// and [`advance`](Self::advance) was called.
    pub fn picture_again(&self) -> Option<&Arc<Frame>> {
        match &self.clip {
            Some(playing) if !self.shows_pattern => playing.current.as_ref(),
            _ => Some(self.pattern.last()),
        }
    }

    /// Returns bytes of a component of [`picture_again`](Self::picture_again): the range `wanted`, or its
    /// beginning (at least one byte). `None` outside the component, or if there is no picture.
    pub(crate) fn bytes_again(&self, component: usize, wanted: Range<usize>) -> Option<&[u8]> {
        match &self.clip {
            Some(playing) if !self.shows_pattern => {
                let frame = playing.current.as_ref()?;
                frame.component(component).get(wanted)
            }
            _ => self.pattern.last_bytes(component, wanted),
        }
    }

    /// Advances to the next picture.
    pub fn advance(&mut self) {
        if let Some(playing) = &mut self.clip
            && let Some(picture) = playing.current.take()
        {
            playing.clip.put_back(picture);
        }
    }

    /// Returns a descriptor that becomes readable when [`ready`](Self::ready) no longer returns `Later`.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.clip
            .as_ref()
            .and_then(|playing| playing.clip.wake_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Some(playing) = &self.clip {
            playing.clip.acknowledge();
        }
    }
}
