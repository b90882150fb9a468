//! A display card's screen: reads framebuffers by DMA address, puts planes together, and records the picture.

use crate::Failure;
use crate::sink::{Shape, Sink};
use crate::spec::{DeviceKind, DeviceSpec, SinkSpec};
use crate::surface::{Trouble, each_run};
use std::sync::Arc;
use vb3_picture::convert::{Converter, Job, View, ViewMut};
use vb3_picture::{Color, Frame, Size};
use vb3_v4l2::{Bus, FourCc, Fraction, Lines, PixelFormat, WakeFd, pixfmt};

/// A plane's picture in memory.
#[derive(Clone, Debug)]
pub struct Layer<C> {
    /// Code of the pixel format, as DRM and V4L2 both have it for most formats.
    pub code: u32,
    /// Width and height of the framebuffer in pixels.
    pub size: (u32, u32),
    /// The planes of samples: where each is for the bus, its offset in bytes, and its pitch in bytes.
    pub planes: Vec<(C, u64, u32)>,
    /// The left and upper pixel that is shown.
    pub from: (u32, u32),
    /// Left and upper edge on the screen, in pixels.
    pub at: (i32, i32),
    /// Width and height of the shown part in pixels.
    pub shown: (u32, u32),
}

/// A card's screen, with its recording.
pub struct Screen {
    sink: Sink,
    kind: SinkSpec,
    shape: Option<Shape>,
    converter: Converter,
    last: Option<Arc<Frame>>,
    failure: Option<Failure>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// Returns the pixel format with this code; the alpha channel counts as padding.
fn pixel(code: u32) -> Option<&'static PixelFormat> {
    match &code.to_le_bytes() {
        b"AR24" | b"XR24" => Some(&pixfmt::XBGR32),
        b"RG24" => Some(&pixfmt::BGR24),
        b"BG24" => Some(&pixfmt::RGB24),
        name => pixfmt::lookup(FourCc::new(*name)),
    }
}

/// The formats that screens of cards read, in the order in which planes list them.
pub const CARD_FORMATS: [[u8; 4]; 12] = [
    *b"AR24", *b"XR24", *b"RG16", *b"RG24", *b"BG24", *b"NV12", *b"NV21", *b"NV16", *b"YU12",
    *b"YUYV", *b"UYVY", *b"P010",
];

impl Screen {
    /// Makes the screen of a SPEC.
    ///
    /// # Errors
    /// Fails for a recording that cannot be written, with a message for the user.
    pub fn new(spec: &DeviceSpec) -> Result<Self, Failure> {
        let DeviceKind::Kms { sink } = &spec.kind else {
            return Err(Failure::new("the device is no display card"));
        };
        Ok(Self {
            sink: Sink::open(sink)?,
            kind: sink.clone(),
            shape: None,
            converter: Converter::new(),
            last: None,
            failure: None,
        })
    }

    /// Returns whether another picture can be shown now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    /// Returns a descriptor that becomes readable when there is room again; `None` if there is room.
    #[must_use]
    pub fn wake_fd(&self) -> Option<WakeFd<'_>> {
        (!self.has_room()).then(|| self.sink.wake_fd()).flatten()
    }

    /// Notes that the host has seen the descriptor of [`wake_fd`](Self::wake_fd).
    pub fn acknowledge(&self) {
        self.sink.acknowledge();
    }

    /// Returns how many pictures were shown.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.sink.record().shown
    }

    /// Returns the picture that was shown last. From the first call on, each picture is read.
    pub fn last_shown(&mut self) -> Option<Arc<Frame>> {
        self.sink.reads_all = true;
        self.last.clone()
    }

    /// Keeps small versions of what is shown from now on.
    pub fn keep_thumbnails(&mut self) {
        self.sink.keep_thumbnails();
    }

    /// Returns thumbnails of at most `count` pictures.
    #[must_use]
    pub fn thumbnails(&self, count: usize) -> Vec<crate::sink::Thumbnail> {
        self.sink.thumbnails(count)
    }

    /// Returns the first failure of the recording since the last call.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Finishes the recording, and returns why it is incomplete, if it is.
    pub fn finish(&mut self) -> Option<Failure> {
        self.sink.finish().failure
    }

    /// Shows the picture of a mode of this size in pixels, with the layers from the lowest to the highest.
    /// `frame_ns` is the time of a frame in nanoseconds. Returns false if a bus access failed.
    pub fn show<C>(
        &mut self,
        (size, frame_ns): ((u32, u32), u64),
        layers: &[Layer<C>],
        bus: &mut dyn Bus<C>,
    ) -> bool {
        let size = Size::nearest(size.0, size.1);
        let interval = Fraction {
            numerator: 1,
            // To the nearest whole rate.
            denominator: u32::try_from((1_000_000_000 + frame_ns / 2) / frame_ns.max(1))
                .unwrap_or(60)
                .max(1),
        };
        let whole = whole_screen(size, layers).filter(|(pixel, _)| self.kind.accepts(pixel));
        let format = match (whole, &self.kind) {
            (Some((pixel, _)), _) => pixel,
            (None, SinkSpec::Y4m(_)) => &pixfmt::YUV420,
            (None, _) => &pixfmt::RGB24,
        };
        let color = Color::default();
        let shape = Shape {
            format,
            size,
            interval,
            color,
        };
        if self.shape != Some(shape) {
            if let Err(failure) = self.sink.begin(shape) {
                self.failure.get_or_insert(failure);
                return true;
            }
            self.shape = Some(shape);
        }
        let Some(mut frame) = self.sink.take_next(format, size) else {
            self.sink.show_unseen();
            return true;
        };
        let done = match whole {
            Some((_, layer)) => read(layer, layer.from, &mut frame, bus),
            None => self.compose(&mut frame, layers, bus),
        };
        match done {
            Ok(()) => self.last = Some(self.sink.show(frame)),
            Err(_) => self.sink.put_back(Some(frame)),
        }
        done.is_ok()
    }

    /// Puts all layers together, in RGB, and converts the result to the frame's format.
    fn compose<C>(
        &mut self,
        frame: &mut Frame,
        layers: &[Layer<C>],
        bus: &mut dyn Bus<C>,
    ) -> Result<(), Trouble> {
        let size = frame.size();
        let mut canvas = Canvas::new(size);
        for layer in layers {
            canvas.blend(layer, bus)?;
        }
        if *frame.format() == pixfmt::RGB24 {
            frame.bytes_mut().copy_from_slice(&canvas.rgb);
            return Ok(());
        }
        let format = frame.format();
        let pitch = |format| {
            let plane = vb3_picture::convert::plane(format, size, 0);
            plane.map_or(0, |(line_bytes, _)| line_bytes)
        };
        let view = View::contiguous(&pixfmt::RGB24, size, &canvas.rgb, pitch(&pixfmt::RGB24));
        let to = ViewMut::contiguous(format, size, frame.bytes_mut(), pitch(format));
        let (Ok(view), Ok(mut to)) = (view, to) else {
            return Err(Trouble::TooSmall);
        };
        let job = Job::whole(size, size, Color::default());
        self.converter
            .run(&job, &view, &mut to)
            .map_err(|_| Trouble::TooSmall)
    }
}

/// Returns the layer and its format if it alone fills the screen without a change.
fn whole_screen<C>(size: Size, layers: &[Layer<C>]) -> Option<(&'static PixelFormat, &Layer<C>)> {
    let [layer] = layers else {
        return None;
    };
    let pixel = pixel(layer.code)?;
    let is_whole = layer.shown == (size.width(), size.height()) && layer.at == (0, 0);
    // A picture that begins between two chroma samples would change.
    let is_aligned = layer.from.0 % 2 == 0 && layer.from.1 % 2 == 0;
    (is_whole && is_aligned).then_some((pixel, layer))
}

/// Reads a part of the frame's size from a layer, beginning at pixel `from`.
fn read<C>(
    layer: &Layer<C>,
    from: (u32, u32),
    frame: &mut Frame,
    bus: &mut dyn Bus<C>,
) -> Result<(), Trouble> {
    let (format, size) = (frame.format(), frame.size());
    for (index, (component, (cookie, offset, pitch))) in
        format.components.iter().zip(&layer.planes).enumerate()
    {
        let (line_bytes, count) =
            vb3_picture::convert::plane(format, size, index).ok_or(Trouble::TooSmall)?;
        let column = u64::from(from.0 / component.across) * u64::from(format.cell_bytes(index));
        let line = u64::from(from.1 / component.down);
        let lines = Lines {
            cookie,
            offset: offset + line * u64::from(*pitch) + column,
            line_bytes: line_bytes as u64,
            count: count as u64,
            pitch: (*pitch).into(),
        };
        let to = frame.component_mut(index);
        each_run(&[lines], |run| {
            let bytes = to.get_mut(run.packed.clone()).ok_or(Trouble::TooSmall)?;
            Ok(bus.read(run.cookie, run.offset, bytes)?)
        })?;
    }
    Ok(())
}

/// The whole screen in RGB.
struct Canvas {
    width: i64,
    height: i64,
    rgb: Vec<u8>,
}

impl Canvas {
    fn new(size: Size) -> Self {
        let (width, height) = (i64::from(size.width()), i64::from(size.height()));
        let bytes = size.width() as usize * size.height() as usize * 3;
        Self {
            width,
            height,
            rgb: vec![0; bytes],
        }
    }

    /// Draws a layer, by its alpha if it has one (premultiplied, as DRM's default).
    fn blend<C>(&mut self, layer: &Layer<C>, bus: &mut dyn Bus<C>) -> Result<(), Trouble> {
        match &layer.code.to_le_bytes() {
            b"AR24" | b"XR24" | b"RG16" | b"RG24" | b"BG24" => self.blend_rgb(layer, bus),
            _ => self.blend_yuv(layer, bus),
        }
    }

    fn blend_rgb<C>(&mut self, layer: &Layer<C>, bus: &mut dyn Bus<C>) -> Result<(), Trouble> {
        let Some((cookie, offset, pitch)) = layer.planes.first() else {
            return Ok(());
        };
        let name = layer.code.to_le_bytes();
        let cell = match &name {
            b"RG16" => 2,
            b"RG24" | b"BG24" => 3,
            _ => 4,
        };
        let mut line = vec![0; layer.shown.0 as usize * cell];
        for row in 0..layer.shown.1 {
            let y = i64::from(layer.at.1) + i64::from(row);
            if !(0..self.height).contains(&y) {
                continue;
            }
            let from = u64::from(layer.from.1 + row) * u64::from(*pitch)
                + u64::from(layer.from.0) * cell as u64;
            bus.read(cookie, offset + from, &mut line)?;
            let pixels = line.chunks_exact(cell).map(|pixel| match (&name, pixel) {
                (b"AR24", &[b, g, r, a]) => ([r, g, b], a),
                (_, &[b, g, r, _]) => ([r, g, b], 255),
                (b"BG24", &[r, g, b]) => ([r, g, b], 255),
                (_, &[b, g, r]) => ([r, g, b], 255),
                (_, &[low, high]) => (from_565(u16::from_le_bytes([low, high])), 255),
                _ => ([0; 3], 0),
            });
            self.put_line(layer.at.0, y, pixels);
        }
        Ok(())
    }

    fn blend_yuv<C>(&mut self, layer: &Layer<C>, bus: &mut dyn Bus<C>) -> Result<(), Trouble> {
        let Some(pixel) = pixel(layer.code) else {
            return Ok(());
        };
        let size = Size::nearest(layer.size.0, layer.size.1);
        let mut frame = Frame::new(pixel, size);
        read(layer, (0, 0), &mut frame, bus)?;
        let (rgb, width) = (frame.to_rgb(), size.width() as usize);
        for row in 0..layer.shown.1 {
            let y = i64::from(layer.at.1) + i64::from(row);
            let line = (layer.from.1 + row).min(size.height().saturating_sub(1)) as usize;
            if !(0..self.height).contains(&y) {
                continue;
            }
            let first = (line * width + layer.from.0 as usize) * 3;
            let last = first
                + (layer.shown.0 as usize).min(width.saturating_sub(layer.from.0 as usize)) * 3;
            let pixels = rgb.get(first..last).unwrap_or_default().as_chunks::<3>().0;
            self.put_line(layer.at.0, y, pixels.iter().map(|pixel| (*pixel, 255)));
        }
        Ok(())
    }

    fn put_line(&mut self, x: i32, y: i64, pixels: impl Iterator<Item = ([u8; 3], u8)>) {
        for (x, (from, alpha)) in (i64::from(x)..).zip(pixels) {
            if !(0..self.width).contains(&x) {
                continue;
            }
            // CAST: inside the canvas.
            let at = (y * self.width + x) as usize * 3;
            let Some(to) = self.rgb.get_mut(at..at + 3) else {
                return;
            };
            if alpha == 255 {
                to.copy_from_slice(&from);
                continue;
            }
            for (to, from) in to.iter_mut().zip(from) {
                let under = u16::from(*to) * (255 - u16::from(alpha)) / 255;
                // CAST: clamped to a byte.
                *to = (u16::from(from) + under).min(255) as u8;
            }
        }
    }
}

fn from_565(pixel: u16) -> [u8; 3] {
    let [r, g, b] = [pixel >> 11, pixel >> 5 & 0x3f, pixel & 0x1f];
    // CAST: at most 255.
    [
        (r << 3 | r >> 2) as u8,
        (g << 2 | g >> 4) as u8,
        (b << 3 | b >> 2) as u8,
    ]
}

#[cfg(test)]
mod tests;
