//! The state that v4l2loopback shows in sysfs: format, buffers, limit of open files, and direction.
//!
//! Source: v4l2loopback 0.13.2 v4l2loopback.c.

use super::link::{Link, Shared};
use super::state::Settings;
use crate::text::pair;
use vb3_v4l2::Fraction;

const EINVAL: i32 = 22;

/// A file in the sysfs directory of a node of v4l2loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopbackAttribute {
    /// `format`: `FOURCC:WIDTHxHEIGHT@RATE`, or empty while no file has buffers or has set the format. Users
    /// can write `@RATE` to it.
    Format,
    /// `buffers`: the number of buffers of the file that has the most.
    Buffers,
    /// `max_openers`: the limit of open files, which users can write.
    MaxOpeners,
    /// `state`: `capture` while a writer streams, else `output`.
    State,
}

impl LoopbackAttribute {
    /// All files in the directory.
    pub const ALL: [Self; 4] = [Self::Format, Self::Buffers, Self::MaxOpeners, Self::State];

    /// Returns the file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Buffers => "buffers",
            Self::MaxOpeners => "max_openers",
            Self::State => "state",
        }
    }
}

/// Parses `@FRAMES/SECONDS`, a frame rate, and returns seconds per frame. `/SECONDS` may be missing.
fn parse_rate(text: &str) -> Option<Fraction> {
    let text = text.strip_prefix('@')?;
    let rate = pair(text, '/').or_else(|| Some((text.parse().ok()?, 1)));
    let (frames, seconds) = rate?;
    // Source: `set_timeperframe`. Rates above 1000 are not stored.
    let is_rate = frames > 0 && seconds > 0 && frames / seconds <= 1000;
    is_rate.then(|| Fraction::new(seconds, frames))
}

impl Shared {
    /// Counts a newly opened file. Returns the controls' values, or `None` beyond the limit.
    pub(super) fn open(&mut self) -> Option<Settings> {
        let (count, most) = self.openers;
        if count >= most {
            return None;
        }
        self.openers.0 = count.saturating_add(1);
        Some(self.settings.unwrap_or_default())
    }

    /// Counts a file as closed.
    pub(super) fn close(&mut self) {
        self.openers.0 = self.openers.0.saturating_sub(1);
        self.has_format &= self.openers.0 > 0 || self.keeps_format();
    }

    fn format_text(&self) -> String {
        if !self.is_used_beside([]) && !self.keeps_format() {
            return String::new();
        }
        let Fraction {
            numerator,
            denominator,
        } = self.interval;
        let rate = match numerator {
            1 => denominator.to_string(),
            _ => format!("{denominator}/{numerator}"),
        };
        let (width, height) = (self.format.width, self.format.height);
        format!("{}:{width}x{height}@{rate}\n", self.format.fourcc)
    }
}

impl Link {
    /// Returns the contents of a file in sysfs.
    #[must_use]
    pub fn attribute(&self, of: LoopbackAttribute) -> String {
        let shared = self.lock();
        match of {
            LoopbackAttribute::Format => shared.format_text(),
            LoopbackAttribute::Buffers => format!("{}\n", shared.buffer_count()),
            LoopbackAttribute::MaxOpeners => format!("{}\n", shared.openers.1),
            LoopbackAttribute::State if shared.is_camera() => "capture\n".to_owned(),
            LoopbackAttribute::State => "output\n".to_owned(),
        }
    }

    /// Writes to a file in sysfs.
    ///
    /// # Errors
    /// EINVAL for a text that is not a rate or a possible limit; EIO for files that are read-only.
    pub fn set_attribute(&self, of: LoopbackAttribute, text: &str) -> Result<(), i32> {
        let text = text.trim_end();
        let mut shared = self.lock();
        match of {
            LoopbackAttribute::Format => {
                shared.interval = parse_rate(text).ok_or(EINVAL)?;
            }
            LoopbackAttribute::MaxOpeners => {
                let most: u32 = text.parse().map_err(|_| EINVAL)?;
                let is_limit = i32::try_from(most).is_ok() && most >= shared.openers.0;
                shared.openers.1 = is_limit.then_some(most).ok_or(EINVAL)?;
            }
            LoopbackAttribute::Buffers | LoopbackAttribute::State => return Err(5),
        }
        Ok(())
    }
}
