//! YUV4MPEG2: planar Y, U, V behind a line of text. Samples are put in another order and not
//! changed, so that the recording is exact.

use super::raw::Files;
use super::{Recorder, Shape};
use crate::Failure;
use crate::picture::{Frame, Layout};
use std::path::Path;

/// A y4m recording.
#[derive(Debug)]
pub(super) struct Y4m {
    files: Files,
    shape: Option<Shape>,
    /// The picture as it goes to the file.
    out: Vec<u8>,
}

impl Y4m {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            files: Files::create(path)?,
            shape: None,
            out: Vec::new(),
        })
    }
}

/// The file's first line. Rates are frames per second: the interval upside down.
fn header(shape: &Shape) -> String {
    let chroma = match shape.layout {
        Layout::Nv12 => "420jpeg",
        Layout::Yuyv | Layout::Rgb24 => "422",
    };
    let (width, height) = (shape.size.width(), shape.size.height());
    let (seconds, frames) = (shape.interval.numerator, shape.interval.denominator);
    format!(
        "YUV4MPEG2 W{width} H{height} F{frames}:{seconds} Ip A1:1 C{chroma} XCOLORRANGE=LIMITED\n"
    )
}

/// Appends every `step`th byte, from the one at `first`.
fn pick(out: &mut Vec<u8>, samples: &[u8], first: usize, step: usize) {
    let chosen = samples.chunks_exact(step);
    out.extend(chosen.map(|chunk| chunk.get(first).copied().unwrap_or_default()));
}

impl Recorder for Y4m {
    fn begin(&mut self, shape: Shape) -> Result<(), Failure> {
        if self.shape != Some(shape) && !self.files.is_empty() {
            self.files.next()?;
        }
        self.shape = Some(shape);
        Ok(())
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.out.clear();
        if self.files.is_empty()
            && let Some(shape) = &self.shape
        {
            self.out.extend_from_slice(header(shape).as_bytes());
        }
        self.out.extend_from_slice(b"FRAME\n");
        match frame.layout() {
            Layout::Nv12 => {
                self.out.extend_from_slice(frame.component(0));
                pick(&mut self.out, frame.component(1), 0, 2);
                pick(&mut self.out, frame.component(1), 1, 2);
            }
            Layout::Yuyv => {
                pick(&mut self.out, frame.bytes(), 0, 2);
                pick(&mut self.out, frame.bytes(), 1, 4);
                pick(&mut self.out, frame.bytes(), 3, 4);
            }
            Layout::Rgb24 => return Err(Failure::new("y4m holds no RGB")),
        }
        self.files.append(&self.out)
    }
}
