//! A display card's screen: reads framebuffers by DMA address, puts planes together, and records the picture.

use crate::Failure;
use crate::choice::SinkSpec;
use crate::sink::{Shape, Sink};
use crate::surface::{PIECE, PictureCursor, Trouble, fit, resume};
use std::sync::Arc;
use vb3_picture::convert::{Converter, Job, View, ViewMut};
use vb3_picture::{Color, Frame, Size};
use vb3_v4l2::{Bus, FourCc, Fraction, Lines, PixelFormat, pixfmt};

/// A plane's picture in memory.
#[derive(Clone, Debug)]
pub struct Layer<C> {
    /// Code of the pixel format, as DRM and V4L2 both have it for most formats.
    pub code: u32,
    /// The planes of samples: where each is for the bus, its offset in bytes, and its pitch in bytes.
    pub planes: Vec<(C, u64, u32)>,
    /// The left and upper pixel of the framebuffer that is shown.
    pub from: (u32, u32),
    /// Width and height of the part that is shown, in pixels.
    pub part: (u32, u32),
    /// Left and upper edge on the screen, in pixels.
    pub at: (i32, i32),
    /// Width and height on the screen in pixels.
    pub shown: (u32, u32),
    /// How the part is turned: bits of `DRM_MODE_ROTATE_*` and `DRM_MODE_REFLECT_*`; 1 for not at all.
    pub rotation: u8,
}

/// A picture of all planes.
#[derive(Clone, Debug)]
pub struct Picture<C> {
    /// Width and height of the mode in pixels.
    pub size: (u32, u32),
    /// Time of a frame in nanoseconds.
    pub frame_ns: u64,
    /// The planes, from the lowest to the highest.
    pub layers: Vec<Layer<C>>,
    /// The red, green and blue on the screen for each value of a sample; `None` for the same value.
    pub gamma: Option<Vec<[u8; 3]>>,
    /// Where to write the picture (*writeback*), once it is complete.
    pub writeback: Option<Target<C>>,
    /// Whether a program wants a checksum of the picture in RGB.
    pub wants_crc: bool,
    /// Whether the planes' bytes may change while they are on the screen, so that the next picture may be a repeat.
    pub is_mutable: bool,
    /// Whether the planes were shown before: they are shown again only if their bytes have changed.
    pub is_repeat: bool,
}

impl<C> Picture<C> {
    /// Returns whether the bytes' checksum is needed, by which a repeat finds a change.
    const fn is_watched(&self) -> bool {
        self.is_mutable || self.wants_crc
    }
}

/// A framebuffer of the screen's size, to which a screen writes its picture.
#[derive(Clone, Debug)]
pub struct Target<C> {
    /// Code of the pixel format, one of RGB.
    pub code: u32,
    /// Where it is for the bus, its offset in bytes, and its pitch in bytes.
    pub place: (C, u64, u32),
}

/// A picture that a screen reads, a piece at a time.
#[derive(Debug)]
pub struct Scan<C> {
    picture: Picture<C>,
    frame: Frame,
    /// Index of the layer that is read next, and how much of it has been read.
    layer: usize,
    cursor: PictureCursor,
    /// Bytes of that layer, without padding.
    bytes: Vec<u8>,
    /// The next line of that layer on the screen, once its bytes are read.
    line: u32,
    /// All layers in RGB; `None` if one layer's bytes are the picture.
    canvas: Option<Canvas>,
    /// The whole picture in RGB and the next line of it, while it is written to memory.
    written: Option<(Vec<u8>, u32)>,
    /// A checksum of the layers' bytes, and whether the layers are read only for that.
    digest: crc32fast::Hasher,
    is_check: bool,
}

/// A card's screen, with its recording.
pub struct Screen {
    sink: Sink,
    kind: SinkSpec,
    shape: Option<Shape>,
    converter: Converter,
    last: Option<Arc<Frame>>,
    /// The checksum of the last picture's layers, and that of the picture in RGB, if they were computed.
    digest: Option<u32>,
    crc: Option<u32>,
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
pub const CARD_FORMATS: [[u8; 4]; 14] = [
    *b"AR24", *b"XR24", *b"XR48", *b"AR48", *b"RG16", *b"RG24", *b"BG24", *b"NV12", *b"NV21",
    *b"NV16", *b"YU12", *b"YUYV", *b"UYVY", *b"P010",
];

/// Bytes of a pixel of RGB; `None` for other formats.
fn cell(code: u32) -> Option<usize> {
    match &code.to_le_bytes() {
        b"XR48" | b"AR48" => Some(8),
        b"AR24" | b"XR24" => Some(4),
        b"RG24" | b"BG24" => Some(3),
        b"RG16" => Some(2),
        _ => None,
    }
}

impl Screen {
    /// Makes the screen of a card's connector, counted from zero.
    ///
    /// # Errors
    /// Fails for a recording that cannot be written, with a message for the user.
    pub fn new(sink: &SinkSpec, connector: usize) -> Result<Self, Failure> {
        let kind = sink.of_connector(connector);
        Ok(Self {
            sink: Sink::open(&kind)?,
            kind,
            shape: None,
            converter: Converter::new(),
            last: None,
            digest: None,
            crc: None,
            failure: None,
        })
    }

    /// Returns what records the pictures.
    #[must_use]
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Returns what records the pictures, to change it.
    pub const fn sink_mut(&mut self) -> &mut Sink {
        &mut self.sink
    }

    /// Returns how many pictures were shown.
    #[must_use]
    pub const fn shown(&self) -> u64 {
        self.sink.shown()
    }

    /// Returns the checksum of the last picture in RGB, if it was wanted.
    #[must_use]
    pub const fn crc(&self) -> Option<u32> {
        self.crc
    }

    /// Returns the picture that was shown last. From the first call on, each picture is read.
    pub fn last_shown(&mut self) -> Option<Arc<Frame>> {
        self.sink.reads_all = true;
        self.last.clone()
    }

    /// Returns the first failure of the recording since the last call.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Finishes the recording, and returns why it is incomplete, if it is.
    pub fn finish(&mut self) -> Option<Failure> {
        self.sink.finish().failure
    }

    /// Begins to show a picture. Returns what [`resume`](Self::resume) continues, or `None` if nothing needs the
    /// picture's bytes.
    pub fn begin<C>(&mut self, picture: Picture<C>) -> Option<Scan<C>> {
        let size = Size::nearest(picture.size.0, picture.size.1);
        let frame_ns = picture.frame_ns.max(1);
        let whole = whole_screen(size, &picture).filter(|pixel| self.kind.accepts(pixel));
        let shape = Shape {
            format: match (whole, &self.kind) {
                (Some(pixel), _) => pixel,
                (None, SinkSpec::Y4m(_)) => &pixfmt::YUV420,
                (None, _) => &pixfmt::RGB24,
            },
            size,
            interval: Fraction {
                numerator: 1,
                // To the nearest whole rate.
                denominator: u32::try_from((1_000_000_000 + frame_ns / 2) / frame_ns)
                    .map_or(60, |fps| fps.max(1)),
            },
            color: Color::default(),
        };
        if self.shape != Some(shape) {
            if let Err(failure) = self.sink.begin(shape) {
                self.failure.get_or_insert(failure);
                return None;
            }
            self.shape = Some(shape);
        }
        self.crc = self.crc.filter(|_| picture.is_repeat);
        if !picture.is_repeat || picture.wants_crc && self.crc.is_none() {
            self.digest = None;
        }
        let frame = match self.sink.take_next(shape.format, size) {
            Some(frame) => frame,
            None if picture.writeback.is_some() || picture.wants_crc => {
                self.sink.take_frame(shape.format, size)
            }
            None if picture.is_repeat => return None,
            None => {
                self.sink.show_unseen();
                return None;
            }
        };
        Some(Scan {
            frame,
            layer: 0,
            cursor: PictureCursor::default(),
            bytes: Vec::new(),
            line: 0,
            canvas: whole.is_none().then(|| Canvas::new(size)),
            written: None,
            digest: crc32fast::Hasher::new(),
            is_check: self.digest.is_some(),
            picture,
        })
    }

    /// Continues to read a picture, for one piece of bytes, then to write it. Returns the rest; `None` once the picture
    /// is shown, or is a repeat without a change.
    ///
    /// # Errors
    /// A bus access failed; the picture is not shown.
    pub fn resume<C>(
        &mut self,
        mut scan: Scan<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<Option<Scan<C>>, BusFailed> {
        let done = match scan.written {
            Some(_) => scan.write(bus),
            None => scan.step(bus),
        };
        match done {
            Ok(false) => return Ok(Some(scan)),
            Ok(true) => {}
            Err(_) => {
                self.sink.put_back(Some(scan.frame));
                return Err(BusFailed);
            }
        }
        if scan.written.is_none() {
            if scan.picture.is_watched() {
                let digest = Some(std::mem::take(&mut scan.digest).finalize());
                if scan.is_check && digest == self.digest {
                    self.sink.put_back(Some(scan.frame));
                    return Ok(None);
                }
                self.digest = digest;
            }
            if scan.is_check && scan.canvas.is_some() {
                // The layers are read again, to be drawn.
                (scan.is_check, scan.layer) = (false, 0);
                return Ok(Some(scan));
            }
            if let Some(canvas) = &mut scan.canvas {
                if let Some(table) = &scan.picture.gamma {
                    canvas.correct(table);
                }
                self.convert(canvas, &mut scan.frame);
            }
            let is_written = scan.picture.writeback.is_some();
            let rgb = (is_written || scan.picture.wants_crc).then(|| {
                let canvas = scan.canvas.take();
                canvas.map_or_else(|| scan.frame.to_rgb(), |canvas| canvas.rgb)
            });
            self.crc = rgb.as_deref().map(crc32fast::hash);
            if let Some(rgb) = rgb.filter(|_| is_written) {
                scan.written = Some((rgb, 0));
                return Ok(Some(scan));
            }
        }
        self.last = Some(self.sink.show(scan.frame));
        Ok(None)
    }

    fn convert(&mut self, canvas: &Canvas, frame: &mut Frame) {
        if *frame.format() == pixfmt::RGB24 {
            frame.bytes_mut().copy_from_slice(&canvas.rgb);
            return;
        }
        let (format, size) = (frame.format(), frame.size());
        let pitch = |format| {
            let plane = vb3_picture::convert::plane(format, size, 0);
            plane.map_or(0, |(line_bytes, _)| line_bytes)
        };
        let view = View::contiguous(&pixfmt::RGB24, size, &canvas.rgb, pitch(&pixfmt::RGB24));
        let to = ViewMut::contiguous(format, size, frame.bytes_mut(), pitch(format));
        if let (Ok(view), Ok(mut to)) = (view, to) {
            let job = Job::whole(size, size, Color::default());
            // RGB24 converts to every format that screens record.
            let _ = self.converter.run(&job, &view, &mut to);
        }
    }
}

/// The bus failed while a screen read a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFailed;

/// Returns the format of the layer that alone fills the screen without a change, if there is one.
fn whole_screen<C>(size: Size, picture: &Picture<C>) -> Option<&'static PixelFormat> {
    let [layer] = picture.layers.as_slice() else {
        return None;
    };
    let screen = (size.width(), size.height());
    let is_whole = layer.shown == screen && layer.part == screen && layer.at == (0, 0);
    let is_plain = layer.rotation == 1 && picture.gamma.is_none();
    // A picture that begins between two chroma samples would change.
    let is_aligned = layer.from.0 % 2 == 0 && layer.from.1 % 2 == 0;
    pixel(layer.code).filter(|_| is_whole && is_plain && is_aligned)
}

impl<C> Layer<C> {
    /// Returns the part that is read: with whole chroma samples, and at most as large as a picture.
    fn rect(&self) -> ((u32, u32), (u32, u32)) {
        let (most_x, most_y) = (vb3_picture::WIDTH_MAX, vb3_picture::HEIGHT_MAX);
        if cell(self.code).is_some() {
            return (self.from, (self.part.0.min(8192), self.part.1.min(8192)));
        }
        let even = |from: u32, len: u32, most: u32| (len + from % 2).clamp(2, most) & !1;
        let size = (
            even(self.from.0, self.part.0, most_x),
            even(self.from.1, self.part.1, most_y),
        );
        ((self.from.0 & !1, self.from.1 & !1), size)
    }

    /// Returns the lines of the part's components in memory, and their bytes.
    fn lines(&self) -> Option<(Vec<Lines<'_, C>>, usize)> {
        let ((left, top), (width, height)) = self.rect();
        let mut all = 0usize;
        let lines = self.planes.iter().enumerate().map(|(index, plane)| {
            let (cookie, offset, pitch) = plane;
            let (cell, pixel) = (cell(self.code), pixel(self.code));
            let bytes = |n: u32| match cell {
                // CAST: at most eight.
                Some(cell) => n.checked_mul(cell as u32),
                None => pixel?.line_bytes(index, n),
            };
            let rows = |n: u32| match cell {
                Some(_) => n,
                None => pixel.map_or(0, |pixel| pixel.lines(index, n)),
            };
            let (line_bytes, count) = (bytes(width)?, rows(height));
            // CAST: bounded by the largest picture.
            all += line_bytes as usize * count as usize;
            let pitch = u64::from(*pitch);
            Some(Lines {
                cookie,
                offset: offset + u64::from(rows(top)) * pitch + u64::from(bytes(left)?),
                line_bytes: line_bytes.into(),
                count: count.into(),
                pitch,
            })
        });
        let lines = lines.collect::<Option<_>>()?;
        Some((lines, all))
    }
}

impl<C> Scan<C> {
    /// Reads a piece, or draws some lines. Returns whether the picture is complete.
    fn step(&mut self, bus: &mut dyn Bus<C>) -> Result<bool, Trouble> {
        let Some(layer) = self.picture.layers.get(self.layer) else {
            return Ok(true);
        };
        if self.line == 0 {
            let (_, len) = layer.lines().ok_or(Trouble::TooSmall)?;
            let to = match self.canvas {
                None => self.frame.bytes_mut(),
                Some(_) => {
                    fit(&mut self.bytes, len);
                    &mut self.bytes
                }
            };
            let digest = self.picture.is_watched().then_some(&mut self.digest);
            if !read(layer, (&mut self.cursor, PIECE), (to, digest), bus)? {
                return Ok(false);
            }
        }
        self.line = match self.canvas.as_mut().filter(|_| !self.is_check) {
            Some(canvas) => {
                if self.line == 0 && cell(layer.code).is_none() {
                    let (_, (width, height)) = layer.rect();
                    let size = Size::nearest(width, height);
                    let (pixel, bytes) = (pixel(layer.code), std::mem::take(&mut self.bytes));
                    let frame = pixel.and_then(|pixel| Frame::from_bytes(pixel, size, bytes));
                    self.bytes = frame.ok_or(Trouble::TooSmall)?.to_rgb();
                }
                canvas.blend(layer, &self.bytes, self.line)
            }
            None => layer.shown.1,
        };
        if self.line >= layer.shown.1 {
            (self.line, self.cursor) = (0, PictureCursor::default());
            self.layer += 1;
        }
        Ok(self.layer == self.picture.layers.len())
    }

    /// Writes some lines of the picture to the framebuffer of its writeback. Returns whether all are written.
    fn write(&mut self, bus: &mut dyn Bus<C>) -> Result<bool, Trouble> {
        let (Some(target), Some((rgb, next))) = (&self.picture.writeback, &mut self.written) else {
            return Ok(true);
        };
        let (cookie, offset, pitch) = &target.place;
        let (width, height) = self.picture.size;
        let line_bytes = width as usize * 3;
        let end = next
            .saturating_add((DRAWN / width.max(1)).max(1))
            .min(height);
        let lines = rgb.chunks_exact(line_bytes.max(1)).enumerate();
        for (at, line) in lines.skip(*next as usize).take((end - *next) as usize) {
            let mut bytes = Vec::with_capacity(width as usize * 4);
            for rgb in line.as_chunks::<3>().0 {
                encode(target.code, *rgb, &mut bytes);
            }
            bus.write(cookie, offset + at as u64 * u64::from(*pitch), &bytes)?;
        }
        *next = end;
        Ok(end == height)
    }
}

/// Appends an opaque pixel.
fn encode(code: u32, [r, g, b]: [u8; 3], to: &mut Vec<u8>) {
    match &code.to_le_bytes() {
        b"XR48" | b"AR48" => to.extend([b, b, g, g, r, r, 255, 255]),
        b"RG24" => to.extend([b, g, r]),
        b"BG24" => to.extend([r, g, b]),
        b"RG16" => {
            // To the nearest value.
            let part = |value: u8, most: u16| (u16::from(value) * most + 127) / 255;
            let word = part(r, 31) << 11 | part(g, 63) << 5 | part(b, 31);
            to.extend(word.to_le_bytes());
        }
        _ => to.extend([b, g, r, 255]),
    }
}

/// Continues to read a layer, and adds what is read to the checksum. Returns whether all its bytes are read.
fn read<C>(
    layer: &Layer<C>,
    (cursor, mut left): (&mut PictureCursor, usize),
    (to, mut digest): (&mut [u8], Option<&mut crc32fast::Hasher>),
    bus: &mut dyn Bus<C>,
) -> Result<bool, Trouble> {
    let (lines, _) = layer.lines().ok_or(Trouble::TooSmall)?;
    resume(&lines, cursor, &mut left, |run| {
        let bytes = to.get_mut(run.in_all()).ok_or(Trouble::TooSmall)?;
        bus.read(run.cookie, run.offset, bytes)?;
        if let Some(digest) = &mut digest {
            digest.update(bytes);
        }
        Ok(())
    })
}

// Bits of `DRM_MODE_ROTATE_*` and `DRM_MODE_REFLECT_*`.
const ROTATE_90: u8 = 1 << 1;
const ROTATE_180: u8 = 1 << 2;
const ROTATE_270: u8 = 1 << 3;
const REFLECT_X: u8 = 1 << 4;
const REFLECT_Y: u8 = 1 << 5;

/// Number of pixels that one step draws.
const DRAWN: u32 = 1 << 15;

/// The whole screen in RGB.
#[derive(Debug)]
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

    /// Draws some lines of a layer from `first` on, scaled to the nearest sample, and by its alpha if it has one
    /// (premultiplied, as DRM's default). Returns the next line.
    fn blend<C>(&mut self, layer: &Layer<C>, bytes: &[u8], first: u32) -> u32 {
        let (shown_x, shown_y) = layer.shown;
        let next = first.saturating_add((DRAWN / shown_x.max(1)).max(1));
        let (near, (width, height)) = layer.rect();
        let (left, top) = (layer.from.0 - near.0, layer.from.1 - near.1);
        let cell = cell(layer.code).unwrap_or(3);
        let turns = |bits: u8| layer.rotation & bits != 0;
        let swaps = turns(ROTATE_90 | ROTATE_270);
        let mirrors_x = turns(ROTATE_90 | ROTATE_180) != turns(REFLECT_X);
        let mirrors_y = turns(ROTATE_180 | ROTATE_270) != turns(REFLECT_Y);
        // The column, or the index of the line's first pixel, that is shown at position `n` of `of`.
        let column = |n: u32, of: u32| {
            let at = left + scaled((n, of), layer.part.0, mirrors_x);
            at.min(width.saturating_sub(1)) as usize
        };
        let row = |n: u32, of: u32| {
            let at = top + scaled((n, of), layer.part.1, mirrors_y);
            at.min(height.saturating_sub(1)) as usize * width as usize
        };
        let across = (0..shown_x).map(|n| match swaps {
            true => row(n, shown_x),
            false => column(n, shown_x),
        });
        let across: Vec<usize> = across.take(self.rgb.len()).collect();
        for line in first..next.min(shown_y) {
            let y = i64::from(layer.at.1) + i64::from(line);
            if !(0..self.height).contains(&y) {
                continue;
            }
            let down = match swaps {
                true => column(line, shown_y),
                false => row(line, shown_y),
            };
            for (x, from) in (i64::from(layer.at.0)..).zip(&across) {
                if !(0..self.width).contains(&x) {
                    continue;
                }
                let at = (down + from) * cell;
                let Some(pixel) = bytes.get(at..at + cell) else {
                    continue;
                };
                let (color, alpha) = decode(layer.code, pixel);
                // CAST: inside the canvas.
                self.put((y * self.width + x) as usize * 3, color, alpha);
            }
        }
        next
    }

    fn put(&mut self, at: usize, from: [u8; 3], alpha: u8) {
        let Some(to) = self.rgb.get_mut(at..at + 3) else {
            return;
        };
        if alpha == 255 {
            to.copy_from_slice(&from);
            return;
        }
        for (to, from) in to.iter_mut().zip(from) {
            let under = u16::from(*to) * (255 - u16::from(alpha)) / 255;
            // CAST: clamped to a byte.
            *to = (u16::from(from) + under).min(255) as u8;
        }
    }

    /// Applies a gamma table.
    fn correct(&mut self, table: &[[u8; 3]]) {
        for (at, sample) in self.rgb.iter_mut().enumerate() {
            let entry = table.get(usize::from(*sample));
            *sample = entry.map_or(*sample, |entry| entry[at % 3]);
        }
    }
}

/// Returns the sample that is shown at position `n` of `of`, for a part of `len` samples.
fn scaled((n, of): (u32, u32), len: u32, is_mirrored: bool) -> u32 {
    // CAST: less than `len`.
    let at = (u64::from(n) * u64::from(len) / u64::from(of.max(1))) as u32;
    match is_mirrored {
        true => len.saturating_sub(at + 1),
        false => at,
    }
}

/// Returns the red, green and blue of a pixel, and its alpha. Pixels of Y'CbCr have become RGB24.
fn decode(code: u32, pixel: &[u8]) -> ([u8; 3], u8) {
    match (&code.to_le_bytes(), pixel) {
        (b"AR24", &[b, g, r, a]) | (b"AR48", &[_, b, _, g, _, r, _, a]) => ([r, g, b], a),
        (_, &[b, g, r, _] | &[_, b, _, g, _, r, _, _]) => ([r, g, b], 255),
        (b"RG24", &[b, g, r]) => ([r, g, b], 255),
        (_, &[r, g, b]) => ([r, g, b], 255),
        (_, &[low, high]) => (from_565(u16::from_le_bytes([low, high])), 255),
        _ => ([0; 3], 0),
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
