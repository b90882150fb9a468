//! The test pattern: a picture that depends only on its number and shows this number.
//!
//! In front of a background from a menu, a box moves along the middle, to the right by four pixels per frame.
//! A strip of black and white blocks at the top left shows the frame number. The picture controls and flips
//! affect the background and the box, but not the strip, which stays readable.

use super::controls::Picture;
use crate::{Frame, Reader, Rect, Rgb, Size, Yuv};
use std::ops::Range;
use std::sync::Arc;
use vb3_v4l2::{PixelFormat, pixfmt};

/// The backgrounds, in the order of the menu control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Background {
    /// Eight vertical bars: white, yellow, cyan, green, magenta, red, blue, black at 75 %.
    #[default]
    Bars,
    /// Luma from black to white, left to right.
    Ramp,
    /// Black and white squares of 16 pixels.
    Checkerboard,
    /// Middle grey.
    Grey,
}

impl Background {
    /// The backgrounds' names, in the order of the menu.
    pub const MENU: &[&str] = &["75% Colorbar", "Grey Ramp", "Checkerboard", "Solid Grey"];

    /// Returns the background at an index of the menu; the first for an unknown index.
    #[must_use]
    pub const fn from_index(index: i64) -> Self {
        match index {
            1 => Self::Ramp,
            2 => Self::Checkerboard,
            3 => Self::Grey,
            _ => Self::Bars,
        }
    }
}

const BARS: [Rgb; 8] = [
    Rgb::new(191, 191, 191),
    Rgb::new(191, 191, 0),
    Rgb::new(0, 191, 191),
    Rgb::new(0, 191, 0),
    Rgb::new(191, 0, 191),
    Rgb::new(191, 0, 0),
    Rgb::new(0, 0, 191),
    Rgb::new(0, 0, 0),
];

const BLACK: Yuv = Yuv::grey(16);
const WHITE: Yuv = Yuv::grey(235);
const GREY: Yuv = Yuv::grey(126);

/// Number of bits of a frame number in the strip, if the picture is large enough.
pub const NUMBER_BITS: u32 = 32;

/// Renders frame `sequence`. The result depends only on the arguments.
#[must_use]
pub fn render(
    format: &'static PixelFormat,
    size: Size,
    sequence: u32,
    background: Background,
    picture: &Picture,
) -> Frame {
    let mut frame = Frame::new(format, size);
    base(&mut frame, background, picture);
    box_rect(size, sequence, picture).draw(&mut frame, picture);
    draw_number(&mut frame, sequence, u32::MAX);
    frame
}

/// Number of lines after which every background repeats.
const PERIOD: u32 = 32;
/// Number of lines that `Pattern` keeps of the background, a multiple of [`PERIOD`]. At 1920 pixels in NV12,
/// these lines stay in a core's own cache, while a whole picture does not.
const RING: u32 = 64;

/// Draws the background. Paints each repeating line once and copies it, since this must be fast: the host's
/// call to the camera waits for it.
fn base(frame: &mut Frame, background: Background, picture: &Picture) {
    let size = frame.size();
    let few = Size::nearest(size.width(), size.height().min(PERIOD));
    let mut strip = painted(frame.format(), few, background);
    let upright = Picture {
        vflip: false,
        ..*picture
    };
    upright.apply(&mut strip);
    frame.repeat(&strip, picture.vflip);
}

/// Paints a background into a new picture.
fn painted(format: &'static PixelFormat, size: Size, background: Background) -> Frame {
    let mut frame = Frame::new(format, size);
    let (width, height) = (size.width(), size.height());
    let column = |x: u32, width: u32| Rect {
        x,
        y: 0,
        width,
        height,
    };
    match background {
        Background::Bars => {
            let mut left = 0;
            for (bar, right) in BARS.iter().zip(1u32..) {
                let right = (width * right / 8) & !1;
                frame.fill(column(left, right - left), bar.to_yuv());
                left = right;
            }
            // Pictures narrower than 16 pixels lack some bars, but the last column is always painted.
            frame.fill(column(left, width - left), BLACK);
        }
        Background::Ramp => {
            let pairs = width / 2;
            for pair in 0..pairs {
                let y = 16 + 219 * pair / pairs.saturating_sub(1).max(1);
                frame.fill(
                    column(pair * 2, 2),
                    Yuv::grey(u8::try_from(y).unwrap_or(235)),
                );
            }
        }
        Background::Checkerboard => {
            for y in (0..height).step_by(16) {
                for x in (0..width).step_by(16) {
                    let color = if (x / 16 + y / 16) % 2 == 0 {
                        BLACK
                    } else {
                        WHITE
                    };
                    frame.fill(
                        Rect {
                            x,
                            y,
                            width: 16,
                            height: 16,
                        },
                        color,
                    );
                }
            }
        }
        Background::Grey => frame.fill(column(0, width), GREY),
    }
    frame
}

/// The rectangle of the moving box, flipped as the controls say.
struct Wanderer(Rect);

fn box_rect(size: Size, sequence: u32, picture: &Picture) -> Wanderer {
    let side = (size.height() / 8).min(size.width() / 4) & !1;
    let side = side.max(2);
    let steps = (size.width() - side) / 2 + 1;
    // One step is two pixels. The box moves by two steps per frame and starts again at the left.
    let step = u32::try_from(u64::from(sequence) * 2 % u64::from(steps)).unwrap_or(0);
    let x = step * 2;
    let y = ((size.height() - side) / 2) & !1;
    let x = if picture.hflip {
        size.width() - side - x
    } else {
        x
    };
    let y = if picture.vflip {
        size.height() - side - y
    } else {
        y
    };
    Wanderer(Rect {
        x,
        y,
        width: side,
        height: side,
    })
}

impl Wanderer {
    fn draw(&self, frame: &mut Frame, picture: &Picture) {
        let color = Rgb::new(255, 128, 0).to_yuv();
        frame.fill(
            self.0,
            if picture.keeps_colors() {
                color
            } else {
                picture.adjust().color(color)
            },
        );
    }
}

/// The strip of blocks that shows a number. Bit 0 is at the top left; bits go to the right, then down.
struct Strip {
    side: u32,
    columns: u32,
    bits: u32,
}

/// Returns the strip for a picture's size. Its blocks have a side of 16, 8 or 4 pixels: the largest with
/// which 32 bits take at most a quarter of the picture's height.
///
/// If 4 is too large, blocks have 2 pixels, may take the whole picture, and show fewer bits if necessary.
fn strip(size: Size) -> Strip {
    for side in [16, 8, 4] {
        let columns = size.width() / side;
        if columns == 0 {
            continue;
        }
        let lines = NUMBER_BITS.div_ceil(columns);
        if lines * side <= size.height() / 4 {
            return Strip {
                side,
                columns,
                bits: NUMBER_BITS,
            };
        }
    }
    let columns = size.width() / 2;
    let bits = (columns * (size.height() / 2)).min(NUMBER_BITS);
    Strip {
        side: 2,
        columns,
        bits,
    }
}

impl Strip {
    fn height(&self) -> u32 {
        self.bits.div_ceil(self.columns) * self.side
    }

    fn block(&self, bit: u32) -> Rect {
        let (column, line) = (bit % self.columns, bit / self.columns);
        let side = self.side;
        Rect {
            x: column * side,
            y: line * side,
            width: side,
            height: side,
        }
    }
}

/// Draws the blocks of those bits of a number that are set in `changed`.
fn draw_number(frame: &mut Frame, sequence: u32, changed: u32) {
    let strip = strip(frame.size());
    for bit in (0..strip.bits).filter(|bit| changed >> bit & 1 == 1) {
        let color = if sequence >> bit & 1 == 1 {
            WHITE
        } else {
            BLACK
        };
        frame.fill(strip.block(bit), color);
    }
}

/// Reads the frame number in a picture. Returns the number, and how many of its low bits fit the picture: all
/// 32 if the picture has at least 64x2 or 16x8 pixels.
#[must_use]
pub fn read_number(frame: &Frame) -> (u32, u32) {
    let strip = strip(frame.size());
    let reader = Reader::new(frame);
    let number = (0..strip.bits).fold(0, |number, bit| {
        let block = strip.block(bit);
        let (x, y) = (block.x + block.width / 2, block.y + block.height / 2);
        number | u32::from(reader.luma(x, y) > 125) << bit
    });
    (number, strip.bits)
}

/// A source of test pictures that keeps the background between frames.
#[derive(Debug)]
pub struct Pattern {
    background: Background,
    shape: Option<(&'static PixelFormat, Size, Background, Picture)>,
    /// The upper lines of the background, which repeat down the picture.
    ring: Frame,
    /// The last picture. It is copied before a change only if it is still in use elsewhere.
    shown: Arc<Frame>,
    /// The box and the number in `shown`; `None` if it has only the background.
    drawn: Option<(Rect, u32)>,
}

impl Default for Pattern {
    fn default() -> Self {
        let empty = Frame::new(&pixfmt::YUYV, Size::nearest(2, 2));
        Self {
            background: Background::default(),
            shape: None,
            ring: empty.clone(),
            shown: Arc::new(empty),
            drawn: None,
        }
    }
}

impl Pattern {
    /// Sets the background of the next pictures.
    pub fn set_background(&mut self, background: Background) {
        self.background = background;
    }

    /// Renders frame `sequence`, with the same bytes as [`render`].
    pub fn frame(
        &mut self,
        format: &'static PixelFormat,
        size: Size,
        sequence: u32,
        picture: &Picture,
    ) -> &Frame {
        let shape = (format, size, self.background, *picture);
        let shown = Arc::make_mut(&mut self.shown);
        if self.shape != Some(shape) {
            shown.reshape(format, size);
            base(shown, self.background, picture);
            self.ring = shown.top(RING);
            self.shape = Some(shape);
            self.drawn = None;
        }
        let wanderer = box_rect(size, sequence, picture);
        let mut changed = u32::MAX;
        if let Some((rect, number)) = self.drawn {
            shown.restore(&self.ring, rect);
            // In a very small picture, the box covers blocks.
            if rect.y >= strip(size).height() {
                changed = number ^ sequence;
            }
        }
        wanderer.draw(shown, picture);
        draw_number(shown, sequence, changed);
        self.drawn = Some((wanderer.0, sequence));
        &self.shown
    }

    /// Returns the picture that [`frame`](Self::frame) returned last.
    #[must_use]
    pub const fn last(&self) -> &Arc<Frame> {
        &self.shown
    }

    /// Returns the range `wanted` of the last picture's component, or its beginning (at least one byte).
    ///
    /// Background lines come from `ring`. So a copy of the picture reads the same few lines, which stay in a
    /// cache.
    pub fn last_bytes(&self, component: usize, wanted: Range<usize>) -> Option<&[u8]> {
        let (size, format) = (self.shown.size(), self.shown.format());
        // CAST: widening, on every target there is.
        let line_bytes = format.line_bytes(component, size.width())? as usize;
        let byte = |y| (format.lines(component, y) as usize).checked_mul(line_bytes);
        let strip = strip(size);
        let number = 0..strip.height();
        let moving = self
            .drawn
            .map_or(0..0, |(rect, _)| rect.y..rect.y + rect.height);
        let mut end = wanted.end;
        for lines in [number, moving] {
            let changed = byte(lines.start)?..byte(lines.end)?;
            if changed.contains(&wanted.start) {
                let end = end.min(changed.end);
                return self.shown.component(component).get(wanted.start..end);
            }
            if changed.start > wanted.start {
                end = end.min(changed.start);
            }
        }
        let ring = self.ring.component(component);
        let first = wanted.start.checked_rem(ring.len())?;
        ring.get(first..ring.len().min(first + (end - wanted.start)))
    }
}

#[cfg(test)]
mod tests;
