//! A camera's source: a test pattern or a clip.

mod player;
mod probe;
mod tool;

pub use player::await_ended as await_ended_clips;
use probe::ClipInfo;

use crate::Failure;
use crate::choice::{ClipEnd, SourceSpec};
use crate::convert_thread::{ConvertThread, LARGE};
use crate::ring::Ring;
use player::{Decoded, Job, Player};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use vb3_picture::{Background, Frame, Pattern, Picture, Size};
use vb3_v4l2::{Fraction, PixelFormat, WakeFd, pixfmt};

/// The source that a running camera plays next.
#[derive(Debug)]
pub struct NextSource {
    pub(crate) source: Source,
    /// The sequence number of the frame that shows the source's first picture. Without a number, this is the
    /// first frame for which the source has a picture.
    pub(crate) at: Option<u32>,
}

impl NextSource {
    /// Opens the source. A clip is played in a loop. May wait for ffprobe, for at most 30 seconds.
    ///
    /// # Errors
    /// The clip cannot be played; the failure says why.
    pub fn open(spec: &SourceSpec, at: Option<u32>) -> Result<Self, Failure> {
        let source = Source::open(spec, ClipEnd::Loop)?;
        Ok(Self { source, at })
    }
}

/// A test pattern or a clip, which gives one picture after the other.
///
/// A clip is a video or picture file that the installed ffmpeg decodes. A thread starts ffmpeg, cuts its
/// output into pictures and keeps a few of them ready. The camera takes pictures from the thread without
/// waiting.
#[derive(Debug)]
pub(crate) struct Source {
    clip: Option<Clip>,
    pattern: Pattern,
    /// Whether the last picture was the test pattern.
    shows_pattern: bool,
    shape: (&'static PixelFormat, Size),
    /// Whether calls apply the picture controls themselves to all pictures, instead of leaving large pictures
    /// to the thread.
    pub(crate) at_once: bool,
}

/// A video or picture file, and its player while the clip plays.
#[derive(Debug)]
struct Clip {
    info: ClipInfo,
    job: Job,
    player: Option<Player>,
    current: Option<Arc<Frame>>,
    /// A copy of `current` to which picture controls were applied, and these controls. `current` stays as it is,
    /// because a paused clip shows it again with other controls.
    adjusted: Option<(Picture, Arc<Frame>)>,
    /// The thread that applies picture controls to large pictures. It starts with the first one.
    thread: Option<ConvertThread<Adjusting>>,
}

/// A clip's picture to which picture controls are applied.
#[derive(Debug)]
struct Adjusting {
    by: Picture,
    current: Arc<Frame>,
    /// The changed copy; before, a picture of any content whose memory can be used.
    frame: Option<Frame>,
}

impl Adjusting {
    fn run(&mut self) {
        let mut frame = match self.frame.take() {
            Some(mut frame) => {
                frame.bytes_mut().copy_from_slice(self.current.bytes());
                frame
            }
            None => Frame::clone(&self.current),
        };
        self.by.apply(&mut frame);
        self.frame = Some(frame);
    }
}

impl Clip {
    /// Applies the picture controls to the current picture, unless this is done already. Returns false while the
    /// thread does so.
    fn adjust(&mut self, picture: &Picture, at_once: bool) -> bool {
        self.take_adjusted();
        let Some(current) = &self.current else {
            return true;
        };
        if self.adjusted.as_ref().is_some_and(|(by, _)| by == picture) {
            return true;
        }
        let before = self.adjusted.take().map(|(_, frame)| frame);
        if *picture == Picture::default() {
            return true;
        }
        let is_large = 2 * current.bytes().len() >= LARGE && !at_once;
        if is_large && self.thread.is_none() {
            self.thread = ConvertThread::start(Adjusting::run);
        }
        let mut thread = self.thread.as_mut().filter(|_| is_large);
        if thread.as_ref().is_some_and(|thread| thread.is_busy) {
            return false;
        }
        let spare = || self.player.as_ref().and_then(Player::spare);
        let mut task = Adjusting {
            by: *picture,
            current: Arc::clone(current),
            frame: before.and_then(Arc::into_inner).or_else(spare),
        };
        if let Some(thread) = &mut thread {
            match thread.give(task) {
                Ok(()) => return false,
                Err(refused) => task = refused,
            }
        }
        task.run();
        self.keep(task);
        true
    }

    /// Takes the picture that the thread has changed, if there is one.
    fn take_adjusted(&mut self) {
        if let Some((task, _)) = self.thread.as_mut().and_then(ConvertThread::take) {
            self.keep(task);
        }
    }

    /// Keeps a changed picture, if the clip still shows it. After a fault, the picture is shown unchanged.
    fn keep(&mut self, task: Adjusting) {
        let Adjusting { by, current, frame } = task;
        let shown = self.current.as_ref();
        if shown.is_some_and(|shown| Arc::ptr_eq(shown, &current)) {
            self.adjusted = Some((by, frame.map_or(current, Arc::new)));
        } else if let (Some(player), Some(frame)) = (&self.player, frame) {
            player.put_back(Arc::new(frame));
        }
    }

    /// Returns the current picture with the controls of the last [`adjust`](Self::adjust).
    fn shown(&self) -> Option<&Arc<Frame>> {
        let adjusted = self.adjusted.as_ref().map(|(_, frame)| frame);
        adjusted.or(self.current.as_ref())
    }
}

/// Whether a picture is available.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ready {
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
    /// Opens the source that a device's SPEC (the text that requests the device) names. May wait for ffprobe,
    /// for at most 30 seconds. Fails, with a message for the user, for a missing file, a file without pictures,
    /// or missing ffmpeg.
    pub(crate) fn open(spec: &SourceSpec, end: ClipEnd) -> Result<Self, Failure> {
        let shape = (&pixfmt::YUYV, Size::nearest(640, 480));
        let clip = match spec {
            SourceSpec::Pattern => None,
            SourceSpec::Clip(path) => {
                let info = probe::probe(path)?;
                Some(Clip {
                    info,
                    job: Job {
                        path: path.clone(),
                        format: shape.0,
                        size: shape.1,
                        interval: info.interval,
                        end,
                        still: info.still,
                        patience: tool::PICTURE_TIMEOUT,
                        program: "ffmpeg".into(),
                    },
                    player: None,
                    current: None,
                    adjusted: None,
                    thread: None,
                })
            }
        };
        Ok(Self {
            clip,
            pattern: Pattern::default(),
            shows_pattern: false,
            shape,
            at_once: false,
        })
    }

    /// Returns the size and interval of a clip's file; `None` for the test pattern.
    pub(crate) fn native(&self) -> Option<ClipInfo> {
        self.clip.as_ref().map(|clip| clip.info)
    }

    /// Returns a clip's file, and what happens at its end; `None` for the test pattern.
    pub(crate) fn end(&self) -> Option<(&Path, ClipEnd)> {
        let job = &self.clip.as_ref()?.job;
        Some((&job.path, job.end))
    }

    /// Starts to play from the first picture. A clip shows a new picture every `interval` seconds.
    /// Fails, with a message for the user, if the system provides no thread or descriptor for a clip.
    pub(crate) fn start(
        &mut self,
        format: &'static PixelFormat,
        size: Size,
        interval: Fraction,
    ) -> Result<(), Failure> {
        self.stop();
        self.shape = (format, size);
        if let Some(clip) = &mut self.clip {
            (clip.job.format, clip.job.size, clip.job.interval) = (format, size, interval);
            clip.player = Some(Player::start(clip.job.clone())?);
        }
        Ok(())
    }

    /// Starts to play, as [`start`](Self::start), in the format and size of another source.
    pub(crate) fn start_like(&mut self, other: &Self, interval: Fraction) -> Result<(), Failure> {
        let (format, size) = other.shape;
        self.start(format, size, interval)
    }

    /// Sets the program that decodes the clip.
    #[cfg(test)]
    pub(crate) fn decode_by(&mut self, program: std::path::PathBuf) {
        if let Some(clip) = &mut self.clip {
            clip.job.program = program;
        }
    }

    pub(crate) const fn is_clip(&self) -> bool {
        self.clip.is_some()
    }

    /// Stops the source. Kills a clip's decoder without waiting for its end.
    pub(crate) fn stop(&mut self) {
        if let Some(clip) = &mut self.clip {
            (clip.current, clip.adjusted, clip.player) = (None, None, None);
            clip.thread = None;
        }
    }

    /// Returns whether there is a picture now. Does not wait.
    pub(crate) fn ready(&mut self) -> Ready {
        let Some(clip) = self.clip.as_mut().filter(|clip| clip.current.is_none()) else {
            return Ready::Frame;
        };
        let player = clip.player.as_ref();
        match player.map_or(Err(true), |player| player.ring.try_pop()) {
            Ok(Ok(frame)) => {
                clip.current = Some(frame);
                Ready::Frame
            }
            Ok(Err(failure)) => Ready::Failed(failure),
            Err(is_over) if is_over => Ready::End,
            Err(_) => Ready::Later,
        }
    }

    /// Applies the picture controls to a clip's current picture. Returns false while a thread does so:
    /// [`wake_fd`](Self::wake_fd) then becomes readable. Does nothing if `pattern` selects a background.
    pub(crate) fn adjust(&mut self, picture: &Picture, pattern: Option<Background>) -> bool {
        let at_once = self.at_once;
        let mut clip = self.clip.as_mut().filter(|_| pattern.is_none());
        clip.as_mut()
            .is_none_or(|clip| clip.adjust(picture, at_once))
    }

    /// Returns the current picture with the picture controls applied. `None` unless [`ready`](Self::ready)
    /// returned `Frame`. A clip's picture has the controls of the last [`adjust`](Self::adjust).
    ///
    /// The picture is the test pattern with number `sequence` if `pattern` selects a background or there is
    /// no clip. Otherwise it is the clip's picture.
    pub(crate) fn picture(
        &mut self,
        sequence: u32,
        picture: &Picture,
        pattern: Option<Background>,
    ) -> Option<&Frame> {
        let (format, size) = self.shape;
        self.shows_pattern = self.clip.is_none() || pattern.is_some();
        match (&mut self.clip, pattern) {
            (Some(clip), None) => clip.shown().map(Arc::as_ref),
            (_, background) => {
                self.pattern.set_background(background.unwrap_or_default());
                Some(self.pattern.frame(format, size, sequence, picture))
            }
        }
    }

    /// Returns the last result of [`picture`](Self::picture), unchanged. `None` if that was a clip's picture
    /// and [`advance`](Self::advance) was called.
    pub(crate) fn picture_again(&self) -> Option<&Arc<Frame>> {
        match &self.clip {
            Some(clip) if !self.shows_pattern => clip.shown(),
            _ => Some(self.pattern.last()),
        }
    }

    /// Returns bytes of a component of [`picture_again`](Self::picture_again): the range `wanted`, or its
    /// beginning (at least one byte). `None` outside the component, or if there is no picture.
    pub(crate) fn bytes_again(&self, component: usize, wanted: Range<usize>) -> Option<&[u8]> {
        match &self.clip {
            Some(clip) if !self.shows_pattern => clip.shown()?.component(component).get(wanted),
            _ => self.pattern.last_bytes(component, wanted),
        }
    }

    pub(crate) fn advance(&mut self) {
        if let Some(clip) = &mut self.clip {
            let adjusted = clip.adjusted.take().map(|(_, frame)| frame);
            if let Some(player) = &clip.player {
                let frames = clip.current.take().into_iter().chain(adjusted);
                frames.for_each(|frame| player.put_back(frame));
            }
        }
    }

    /// Returns a descriptor that becomes readable when [`ready`](Self::ready) no longer returns `Later`, or
    /// [`adjust`](Self::adjust) no longer returns false.
    pub(crate) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let thread = self.clip.as_ref().and_then(|clip| clip.thread.as_ref());
        let adjusted = thread.and_then(ConvertThread::wake_fd);
        adjusted.or_else(|| self.ring().map(Ring::wake_fd))
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(clip) = &mut self.clip {
            clip.take_adjusted();
        }
        if let Some(ring) = self.ring() {
            ring.acknowledge();
        }
    }

    /// Returns the pictures that are ready; `None` unless a clip plays.
    fn ring(&self) -> Option<&Ring<Decoded>> {
        Some(&self.clip.as_ref()?.player.as_ref()?.ring)
    }
}

#[cfg(test)]
mod tests;
