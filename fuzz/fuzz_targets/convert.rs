//! Pictures of any layout, size and rectangle. Valid requests are carried out, others are refused,
//! and no byte outside the compose rectangle changes.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_fuzz::random::Random;
use vb3_picture::convert::{ConvertError, Converter, Job, Rotate, View, ViewMut, converts};
use vb3_picture::{Color, Matrix, Quantization, Rect, Size};
use vb3_v4l2::{PixelFormat, pixfmt};

/// A picture's memory.
#[derive(Arbitrary, Debug)]
struct Side {
    layout: u8,
    width: u8,
    height: u8,
    /// 1: the width is multiplied by 16; 2: the height is multiplied by 16; others: neither is.
    long: u8,
    pad: u8,
    /// Bytes that each plane has beyond its need; negative if bytes are missing.
    slack: [i8; 3],
    /// 0: one plane more than the layout has; 1: one less; others: as many.
    planes: u8,
    in_one: bool,
}

/// A rectangle, mostly inside the picture.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum FuzzRect {
    All,
    Inside {
        x: u8,
        y: u8,
        width: u8,
        height: u8,
    },
    Any {
        x: u32,
        y: u32,
        width: u32,
        height: u32,
    },
}

#[derive(Arbitrary, Debug)]
struct Task {
    crop: FuzzRect,
    compose: FuzzRect,
    rotate: u8,
    hflip: bool,
    vflip: bool,
    colors: u8,
}

#[derive(Arbitrary, Debug)]
struct Input {
    from: Side,
    to: Side,
    seed: u64,
    tasks: [Task; 2],
}

/// Returns a plane's bytes per line and number of lines.
fn plane(layout: &PixelFormat, size: Size, index: usize) -> Option<(usize, usize)> {
    let line = layout.line_bytes(index, size.width())?;
    Some((line as usize, layout.lines(index, size.height()) as usize))
}

impl Side {
    fn layout(&self) -> &'static PixelFormat {
        let formats: Vec<_> = (pixfmt::TABLE.iter())
            .filter(|format| converts(format) && format.memory_planes == 1)
            .collect();
        formats[usize::from(self.layout) % formats.len()]
    }

    fn size(&self) -> Size {
        let of = |n: u8, long: bool| u32::from(n).max(1) * if long { 16 } else { 1 };
        Size::nearest(
            of(self.width, self.long == 1),
            of(self.height, self.long == 2),
        )
    }

    fn planes(&self) -> usize {
        match self.planes {
            0 => self.layout().components.len() + 1,
            1 => self.layout().components.len() - 1,
            _ => self.layout().components.len(),
        }
    }

    /// Returns stride and bytes of each given plane, or one entry for planes that share one memory.
    fn measures(&self) -> Vec<(usize, usize)> {
        let (layout, size, pad) = (self.layout(), self.size(), usize::from(self.pad));
        let (line, _) = plane(layout, size, 0).expect("the first plane");
        // In one memory, the chroma of three planes has half the stride.
        let stride = (line + pad).next_multiple_of(2);
        if self.in_one {
            let bytes = (0..layout.components.len()).filter_map(|i| {
                let (_, lines) = plane(layout, size, i)?;
                Some(layout.component_line(i, stride as u32) as usize * lines)
            });
            let bytes: usize = bytes.sum();
            return vec![(stride, bytes.saturating_add_signed(self.slack[0].into()))];
        }
        let plane = |i: usize| {
            let (line, lines) = plane(layout, size, i).unwrap_or((8, 8));
            let stride = line + pad;
            let bytes = stride * lines;
            let slack = self.slack.get(i).copied().unwrap_or(0);
            (stride, bytes.saturating_add_signed(slack.into()))
        };
        (0..self.planes()).map(plane).collect()
    }

    /// Returns whether the planes are complete and large enough, so that a view must be possible.
    fn is_whole(&self) -> bool {
        let slack = self.slack.iter().take(self.layout().components.len());
        let enough = slack.clone().all(|slack| *slack >= 0);
        enough && (self.in_one || self.planes() == self.layout().components.len())
    }
}

impl FuzzRect {
    fn rect(self, size: Size) -> Rect {
        let (width, height) = (size.width(), size.height());
        match self {
            Self::All => Rect {
                x: 0,
                y: 0,
                width,
                height,
            },
            Self::Inside {
                x,
                y,
                width: w,
                height: h,
            } => {
                let x = (u32::from(x) % width) & !1;
                let y = (u32::from(y) % height) & !1;
                Rect {
                    x,
                    y,
                    width: (u32::from(w) % (width - x) + 2) & !1,
                    height: (u32::from(h) % (height - y) + 2) & !1,
                }
            }
            Self::Any {
                x,
                y,
                width,
                height,
            } => Rect {
                x,
                y,
                width,
                height,
            },
        }
    }
}

fn fits(rect: Rect, size: Size) -> bool {
    let even = (rect.x | rect.y | rect.width | rect.height).is_multiple_of(2);
    let inside = |at: u32, len: u32, most: u32| {
        len > 0 && at.checked_add(len).is_some_and(|end| end <= most)
    };
    even && inside(rect.x, rect.width, size.width()) && inside(rect.y, rect.height, size.height())
}

fn color(bits: u8) -> Color {
    Color {
        matrix: [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020][usize::from(bits / 2 % 3)],
        range: if bits.is_multiple_of(2) {
            Quantization::Limited
        } else {
            Quantization::Full
        },
    }
}

/// Restores the bytes inside the compose rectangle `rect`, and leaves all others.
fn undo(side: &Side, rect: Rect, memory: &mut [Vec<u8>], before: &[Vec<u8>]) {
    let (layout, size) = (side.layout(), side.size());
    let measures = side.measures();
    let mut start = 0;
    for index in 0..layout.components.len() {
        let (line, lines) = plane(layout, size, index).expect("a plane");
        let (which, stride) = if side.in_one {
            (
                0,
                layout.component_line(index, measures[0].0 as u32) as usize,
            )
        } else {
            start = 0;
            (index, measures[index].0)
        };
        let scale = |n: u32, all: usize, of: u32| n as usize * all / of as usize;
        let (left, width) = (
            scale(rect.x, line, size.width()),
            scale(rect.width, line, size.width()),
        );
        let (top, height) = (
            scale(rect.y, lines, size.height()),
            scale(rect.height, lines, size.height()),
        );
        for y in top..top + height {
            let at = start + y * stride + left;
            memory[which][at..at + width].copy_from_slice(&before[which][at..at + width]);
        }
        start += stride * lines;
    }
}

vb3_fuzz::target!(|input: Input| {
    let Input {
        from,
        to,
        seed,
        tasks,
    } = input;
    let mut random = Random(seed);
    let mut memory_of = |side: &Side| -> Vec<Vec<u8>> {
        let planes = side.measures().into_iter();
        planes
            .map(|(_, bytes)| (0..bytes).map(|_| random.next() as u8).collect())
            .collect()
    };
    let (source, mut target) = (memory_of(&from), memory_of(&to));
    let strides: Vec<usize> = from.measures().iter().map(|m| m.0).collect();
    let view = if from.in_one {
        View::contiguous(from.layout(), from.size(), &source[0], strides[0])
    } else {
        let planes = source.iter().map(Vec::as_slice).zip(strides);
        View::new(from.layout(), from.size(), planes)
    };
    assert!(view.is_ok() || !from.is_whole(), "{view:?}");
    let mut converter = Converter::new();
    for task in tasks {
        let Ok(view) = &view else { return };
        let job = Job {
            crop: task.crop.rect(from.size()),
            compose: task.compose.rect(to.size()),
            rotate: Rotate::from_degrees(i32::from(task.rotate % 4) * 90).expect("a rotation"),
            hflip: task.hflip,
            vflip: task.vflip,
            source_color: color(task.colors % 6),
            target_color: color(task.colors / 6),
        };
        let before = target.clone();
        let strides: Vec<usize> = to.measures().iter().map(|m| m.0).collect();
        let done = {
            let made = if to.in_one {
                ViewMut::contiguous(to.layout(), to.size(), &mut target[0], strides[0])
            } else {
                let planes = target.iter_mut().map(Vec::as_mut_slice).zip(strides);
                ViewMut::new(to.layout(), to.size(), planes)
            };
            assert!(made.is_ok() || !to.is_whole(), "{made:?}");
            let Ok(mut made) = made else { return };
            converter.run(&job, view, &mut made)
        };
        match (fits(job.crop, from.size()), fits(job.compose, to.size())) {
            (true, true) => {
                assert_eq!(done, Ok(()));
                undo(&to, job.compose, &mut target, &before);
            }
            (false, _) => assert_eq!(done, Err(ConvertError::Crop(job.crop))),
            (true, false) => assert_eq!(done, Err(ConvertError::Compose(job.compose))),
        }
        assert!(target == before, "wrote outside its rectangle");
    }
});
