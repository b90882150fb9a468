//! A clip: a video or picture file that the installed ffmpeg decodes.
//!
//! A thread starts ffmpeg, cuts its output into pictures and keeps a few of them ready. The camera takes
//! pictures from the thread without waiting.

mod player;

use super::probe::{self, ClipInfo};
use super::tool::PICTURE_TIMEOUT;
use crate::Failure;
use crate::spec::ClipEnd;
pub use player::await_ended;
use player::{Job, Player};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vb3_picture::{Frame, Size};
use vb3_v4l2::{Fraction, PixelFormat};

/// A video or picture file, and its player while the clip plays.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    info: ClipInfo,
    end: ClipEnd,
    patience: Duration,
    program: PathBuf,
    player: Option<Player>,
}

/// The next result of a playing clip.
#[derive(Debug)]
pub enum Next {
    /// The next picture.
    Frame(Arc<Frame>),
    /// The next picture is not decoded yet; [`Clip::wake_fd`] becomes readable when it is.
    Later,
    /// No picture is left, or the clip does not play.
    End,
    /// Decoding failed before the end.
    Failed(Failure),
}

impl Clip {
    /// Checks a file, and stores its size and rate. May wait for ffprobe, for at most 30 seconds.
    ///
    /// # Errors
    /// Fails, with a message for the user, for a missing file, a file without pictures, or missing ffmpeg.
    pub fn open(path: &Path, end: ClipEnd) -> Result<Self, Failure> {
        let info = probe::probe(path)?;
        Ok(Self {
            path: path.to_owned(),
            info,
            end,
            patience: PICTURE_TIMEOUT,
            program: "ffmpeg".into(),
            player: None,
        })
    }

    /// Returns the size and rate of the file.
    #[must_use]
    pub const fn info(&self) -> ClipInfo {
        self.info
    }

    /// Plays the clip from its beginning, in this format and size, at `interval` seconds per frame.
    ///
    /// # Errors
    /// Fails, with a message for the user, if no thread or descriptor is available.
    pub fn start(
        &mut self,
        format: &'static PixelFormat,
        size: Size,
        interval: Fraction,
    ) -> Result<(), Failure> {
        self.stop();
        let job = Job {
            path: self.path.clone(),
            format,
            size,
            interval,
            end: self.end,
            still: self.info.still,
            patience: self.patience,
            program: self.program.clone(),
        };
        self.player = Some(Player::start(job)?);
        Ok(())
    }

    /// Stops playing and kills ffmpeg, without waiting for ffmpeg's end.
    pub fn stop(&mut self) {
        self.player = None;
    }

    /// Takes the next picture, or returns why there is none.
    pub fn take(&mut self) -> Next {
        let Some(player) = &self.player else {
            return Next::End;
        };
        match player.ring().try_pop() {
            Ok(item) => item,
            Err(true) => Next::End,
            Err(false) => Next::Later,
        }
    }

    /// Takes back a picture after its use.
    pub fn put_back(&self, picture: Arc<Frame>) {
        if let Some(player) = &self.player {
            player.put_back(picture);
        }
    }

    /// Returns a descriptor that becomes readable when [`take`](Self::take) no longer returns `Later`. `None`
    /// while the clip does not play.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.player.as_ref().map(|player| player.ring().wake_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Some(player) = &self.player {
            player.ring().acknowledge();
        }
    }
}

#[cfg(test)]
mod tests;
