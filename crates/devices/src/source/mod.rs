//! What a camera sees.

mod clip;
mod controls;
mod pattern;
mod probe;

pub use clip::{Clip, ClipFrame, Next};
pub use controls::{Adjust, Picture};
pub use pattern::{Background, NUMBER_BITS, Pattern, read_number, render};
pub use probe::ClipInfo;

use crate::Failure;
use crate::picture::{Frame, Layout, Size};
use crate::spec::SourceSpec;
use std::os::fd::BorrowedFd;
use vb3_v4l2::Fraction;

/// A test pattern or a clip, one picture after the other.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    shape: (Layout, Size),
}

#[derive(Debug)]
enum Kind {
    Pattern(Box<Pattern>),
    Clip {
        clip: Clip,
        current: Option<ClipFrame>,
        ended: bool,
        adjusted: bool,
    },
}

/// Whether there is a picture to take.
#[derive(Debug, PartialEq, Eq)]
pub enum Ready {
    /// Yes.
    Frame {
        /// Whether none follows.
        last: bool,
    },
    /// Not yet; the source's descriptor tells when.
    Later,
    /// There is none any more.
    End,
    /// Nor will there be, for this reason. Said once, then `End`.
    Failed(Failure),
}

impl Source {
    /// Opens what a person asked for.
    ///
    /// # Errors
    /// A sentence, for a file that cannot be played.
    pub fn open(spec: &SourceSpec, looping: bool) -> Result<Self, Failure> {
        let kind = match spec {
            SourceSpec::Pattern => Kind::Pattern(Box::default()),
            SourceSpec::Clip(path) => {
                let clip = Clip::open(path, looping)?;
                Kind::Clip {
                    clip,
                    current: None,
                    ended: false,
                    adjusted: false,
                }
            }
        };
        Ok(Self {
            kind,
            shape: (Layout::Yuyv, Size::nearest(640, 480)),
        })
    }

    /// A name of at most 20 bytes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Pattern(_) => "Test Pattern",
            Kind::Clip { .. } => "Clip",
        }
    }

    /// Size and interval of its own, where it has them.
    #[must_use]
    pub const fn native(&self) -> Option<ClipInfo> {
        match &self.kind {
            Kind::Pattern(_) => None,
            Kind::Clip { clip, .. } => Some(clip.info()),
        }
    }

    /// Begins with the first picture.
    ///
    /// # Errors
    /// A sentence, where the system lacks a thread or descriptor for a clip.
    pub fn start(&mut self, layout: Layout, size: Size, interval: Fraction) -> Result<(), Failure> {
        self.shape = (layout, size);
        match &mut self.kind {
            Kind::Pattern(_) => Ok(()),
            Kind::Clip {
                clip,
                current,
                ended,
                adjusted,
            } => {
                (*current, *ended, *adjusted) = (None, false, false);
                clip.start(layout, size, interval)
            }
        }
    }

    /// Ends; a clip's decoder is stopped.
    pub fn stop(&mut self) {
        if let Kind::Clip { clip, current, .. } = &mut self.kind {
            *current = None;
            clip.stop();
        }
    }

    /// Whether there is a picture now. Answers at once.
    pub fn ready(&mut self) -> Ready {
        let Kind::Clip {
            clip,
            current,
            ended,
            adjusted,
        } = &mut self.kind
        else {
            return Ready::Frame { last: false };
        };
        if let Some(current) = current {
            return Ready::Frame { last: current.last };
        }
        if *ended {
            return Ready::End;
        }
        match clip.next() {
            Next::Frame(frame) => {
                let last = frame.last;
                (*current, *ended, *adjusted) = (Some(frame), last, false);
                Ready::Frame { last }
            }
            Next::Later => Ready::Later,
            Next::End => Ready::End,
            Next::Failed(failure) => {
                *ended = true;
                Ready::Failed(failure)
            }
        }
    }

    /// The picture of the moment, with the picture controls applied. `sequence` is the number a
    /// test pattern shows. `None` where [`ready`](Self::ready) has not said `Frame`.
    pub fn picture(
        &mut self,
        sequence: u32,
        picture: &Picture,
        background: Background,
    ) -> Option<&Frame> {
        let (layout, size) = self.shape;
        match &mut self.kind {
            Kind::Pattern(pattern) => {
                pattern.set_background(background);
                Some(pattern.frame(layout, size, sequence, picture))
            }
            Kind::Clip {
                current, adjusted, ..
            } => {
                let frame = &mut current.as_mut()?.frame;
                if !core::mem::replace(adjusted, true) {
                    picture.apply(frame);
                }
                Some(frame)
            }
        }
    }

    /// Leaves the picture of the moment for the next one.
    pub fn advance(&mut self) {
        if let Kind::Clip { current, .. } = &mut self.kind {
            *current = None;
        }
    }

    /// Readable when [`ready`](Self::ready) has said `Later` and would say something else.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Pattern(_) => None,
            Kind::Clip { clip, .. } => clip.wake_fd(),
        }
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Kind::Clip { clip, .. } = &self.kind {
            clip.acknowledge();
        }
    }
}
