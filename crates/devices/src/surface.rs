//! A picture in the planes of a buffer, and a compressed one: sizes, checks, and the way of bytes
//! to and fro by the bus.

use vb3_queue::{Active, DriverError, MAX_PLANES, PlaneSizes, PlaneView, Prepare};
use vb3_v4l2::pixfmt::ComponentLayout;
use vb3_v4l2::{Bus, Flow, Format, FrameSizes, Lines, PixelFormat, Rect, Span, pixfmt};

/// `V4L2_FIELD_NONE`: progressive.
pub(crate) const FIELD_NONE: u32 = 1;

pub(crate) const EIO: DriverError = DriverError(5);
pub(crate) const EBUSY: DriverError = DriverError(16);
pub(crate) const EINVAL: DriverError = DriverError(22);
pub(crate) const ERANGE: DriverError = DriverError(34);

/// Why a picture did not reach a buffer, or was not read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The buffer is no longer the device's.
    Stale,
    /// The buffer lacks a plane or is too small for the picture.
    TooSmall,
    /// The bus said no.
    Fault,
}

/// Bytes of a picture that lie together in a buffer and together in its packed component.
pub(crate) struct Run<'a, C> {
    /// The memory plane.
    pub(crate) cookie: &'a C,
    /// Bytes from its start.
    pub(crate) offset: u64,
    /// Which plane of samples.
    pub(crate) component: usize,
    /// Where they lie among its lines, if those had no padding.
    pub(crate) packed: std::ops::Range<usize>,
}

/// A plane of samples in a buffer.
struct Part<'a, C> {
    plane: &'a PlaneView<C>,
    /// Bytes from the start of the memory plane.
    first: u64,
    bytesperline: u32,
    layout: ComponentLayout,
}

/// What a buffer of a format holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface<'a>(pub(crate) &'a Format);

impl Surface<'_> {
    /// Whether it holds a codec's bytes instead of lines.
    fn is_compressed(self) -> bool {
        pixfmt::lookup(self.0.fourcc).is_some_and(vb3_v4l2::PixelFormat::is_compressed)
    }

    /// Bytes of a picture in memory plane `index`, with its padding but nothing a program asked
    /// for on top.
    pub(crate) fn picture_bytes(self, index: usize) -> Option<u64> {
        let pixel = pixfmt::lookup(self.0.fourcc)?;
        let line = self.0.layouts().get(index)?.bytesperline;
        let layout = pixel.plane_layout(index, self.0.width, self.0.height, line, line)?;
        Some(u64::from(layout.sizeimage))
    }

    pub(crate) fn queue_setup(
        self,
        create: Option<&PlaneSizes>,
    ) -> Result<PlaneSizes, DriverError> {
        let mut sizes = [0; MAX_PLANES];
        for (to, layout) in sizes.iter_mut().zip(self.0.layouts()) {
            *to = u64::from(layout.sizeimage);
        }
        let needed = sizes.get(..self.0.num_planes).unwrap_or(&[]);
        match create {
            None => PlaneSizes::new(needed).ok_or(EINVAL),
            Some(asked) => {
                let asked_sizes = asked.as_slice();
                let fits = asked_sizes.len() == needed.len()
                    && asked_sizes
                        .iter()
                        .zip(needed)
                        .all(|(asked, needed)| asked >= needed);
                if fits { Ok(*asked) } else { Err(EINVAL) }
            }
        }
    }

    /// Checks that a buffer can hold a picture, and on CAPTURE sets what it will hold; on OUTPUT
    /// checks that it does. A compressed one may be of any length.
    pub(crate) fn prepare(self, buffer: Prepare<'_>, flow: Flow) -> Result<(), DriverError> {
        *buffer.field = FIELD_NONE;
        let compressed = self.is_compressed();
        let planes = buffer.lengths.iter().zip(buffer.payloads.iter_mut());
        let mut checked = 0;
        for (index, (length, payload)) in planes.enumerate().take(self.0.num_planes) {
            if compressed {
                if flow == Flow::Capture {
                    *payload = 0;
                }
            } else {
                let needed = self.picture_bytes(index).ok_or(EINVAL)?;
                if flow == Flow::Capture {
                    *payload = needed;
                }
                if *length < needed || *payload < needed {
                    return Err(EINVAL);
                }
            }
            checked += 1;
        }
        if checked == self.0.num_planes {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Takes a short payload for a whole picture, as converters in the kernel do: a program that
    /// has only a part of the picture cropped need not tell of the rest.
    pub(crate) fn extend_payloads(self, buffer: &mut Prepare<'_>) {
        if self.is_compressed() {
            return;
        }
        for (index, payload) in buffer.payloads.iter_mut().enumerate() {
            *payload = self.picture_bytes(index).unwrap_or(0).max(*payload);
        }
    }

    /// Writes a picture, given as the packed lines of each component, to a buffer, line by line
    /// where lines are padded; answers the bytes used in each plane. Padding is not touched.
    pub(crate) fn write<'p, C>(
        self,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
        component: impl Fn(usize) -> &'p [u8],
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        self.each_run(buffer, Flow::Capture, |run| {
            let bytes = component(run.component)
                .get(run.packed)
                .ok_or(Trouble::TooSmall)?;
            bus.write(run.cookie, run.offset, bytes)
                .map_err(|_| Trouble::Fault)
        })?;
        self.payloads()
    }

    /// The bytes that a picture uses in each plane.
    pub(crate) fn payloads(self) -> Result<[u64; MAX_PLANES], Trouble> {
        let mut payloads = [0; MAX_PLANES];
        for (index, payload) in payloads.iter_mut().enumerate().take(self.0.num_planes) {
            *payload = self.picture_bytes(index).ok_or(Trouble::TooSmall)?;
        }
        Ok(payloads)
    }

    /// Calls `copy` with each run of bytes that lie together in the buffer.
    pub(crate) fn each_run<C>(
        self,
        buffer: &Active<C>,
        flow: Flow,
        mut copy: impl FnMut(Run<'_, C>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let pixel = pixfmt::lookup(self.0.fourcc).ok_or(Trouble::TooSmall)?;
        for index in 0..pixel.components.len() {
            let part = self.part(pixel, buffer, flow, index)?;
            let (layout, plane, first) = (part.layout, part.plane, part.first);
            // CAST: widening, on every target there is.
            let (lines, line_bytes) = (layout.lines as usize, layout.line_bytes as usize);
            if layout.bytesperline == layout.line_bytes {
                copy(Run {
                    cookie: &plane.cookie,
                    offset: first,
                    component: index,
                    packed: 0..lines * line_bytes,
                })?;
                continue;
            }
            for line in 0..lines {
                let offset = first + line as u64 * u64::from(layout.bytesperline);
                copy(Run {
                    cookie: &plane.cookie,
                    offset,
                    component: index,
                    packed: line * line_bytes..(line + 1) * line_bytes,
                })?;
            }
        }
        Ok(())
    }

    /// Where the components lie in a CAPTURE buffer, padding between their lines included, and the
    /// bytes from one line to the next.
    pub(crate) fn component_spans<C>(
        self,
        buffer: &Active<C>,
    ) -> Result<Vec<(Span<'_, C>, u64)>, Trouble> {
        let pixel = pixfmt::lookup(self.0.fourcc).ok_or(Trouble::TooSmall)?;
        let spans = (0..pixel.components.len()).map(|index| {
            let part = self.part(pixel, buffer, Flow::Capture, index)?;
            let stride = u64::from(part.bytesperline);
            let before = u64::from(part.layout.lines.saturating_sub(1)) * stride;
            let span = Span {
                cookie: &part.plane.cookie,
                offset: part.first,
                len: before + u64::from(part.layout.line_bytes),
            };
            Ok((span, stride))
        });
        spans.collect()
    }

    /// Where a component lies in a buffer that holds the whole picture.
    fn part<'b, C>(
        self,
        pixel: &PixelFormat,
        buffer: &'b Active<C>,
        flow: Flow,
        index: usize,
    ) -> Result<Part<'b, C>, Trouble> {
        let layout = pixel
            .component_layout(index, self.0.width, self.0.height, self.0.layouts())
            .ok_or(Trouble::TooSmall)?;
        let plane = buffer
            .plane(layout.memory_plane)
            .map_err(|_| Trouble::Stale)?
            .ok_or(Trouble::TooSmall)?;
        let (start, filled) = match flow {
            Flow::Output => (plane.data_offset, plane.payload_bytes),
            Flow::Capture => (0, plane.length_bytes),
        };
        let bytes = self
            .picture_bytes(layout.memory_plane)
            .ok_or(Trouble::TooSmall)?;
        if start
            .checked_add(bytes)
            .is_none_or(|end| end > filled.min(plane.length_bytes))
        {
            return Err(Trouble::TooSmall);
        }
        Ok(Part {
            plane,
            first: start + layout.offset,
            bytesperline: layout.bytesperline,
            layout,
        })
    }

    /// Bytes of the packed lines of all components inside a rectangle of whole pairs.
    pub(crate) fn rect_bytes(self, rect: Rect) -> Option<usize> {
        let pixel = pixfmt::lookup(self.0.fourcc)?;
        let mut sum = 0_usize;
        for index in 0..pixel.components.len() {
            sum = sum.checked_add(pixel.component_bytes(index, rect.width, rect.height)?)?;
        }
        Some(sum)
    }

    /// Reads what is inside a rectangle of whole pairs; `to` then holds its components one after
    /// the other, their lines without padding.
    pub(crate) fn read_rect<C>(
        self,
        buffer: &Active<C>,
        rect: Rect,
        bus: &mut dyn Bus<C>,
        to: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        to.resize(self.rect_bytes(rect).ok_or(Trouble::TooSmall)?, 0);
        self.each_run_in(buffer, Flow::Output, rect, |run| {
            let bytes = to.get_mut(run.packed).ok_or(Trouble::TooSmall)?;
            bus.read(run.cookie, run.offset, bytes)
                .map_err(|_| Trouble::Fault)
        })
    }

    /// Writes the inside of a rectangle, laid out as [`read_rect`](Self::read_rect) does it.
    pub(crate) fn write_rect<C>(
        self,
        buffer: &Active<C>,
        rect: Rect,
        bus: &mut dyn Bus<C>,
        from: &[u8],
    ) -> Result<(), Trouble> {
        self.each_run_in(buffer, Flow::Capture, rect, |run| {
            let bytes = from.get(run.packed).ok_or(Trouble::TooSmall)?;
            bus.write(run.cookie, run.offset, bytes)
                .map_err(|_| Trouble::Fault)
        })
    }

    /// Where the lines of each component inside a rectangle of whole pairs lie.
    pub(crate) fn rect_lines<'b, C>(
        self,
        buffer: &'b Active<C>,
        flow: Flow,
        rect: Rect,
    ) -> Result<Vec<Lines<'b, C>>, Trouble> {
        let pixel = pixfmt::lookup(self.0.fourcc).ok_or(Trouble::TooSmall)?;
        let (left, top) = (rect.left.unsigned_abs(), rect.top.unsigned_abs());
        let ends_within =
            |from: u32, by: u32, end| from.checked_add(by).is_some_and(|to| to <= end);
        if !ends_within(left, rect.width, self.0.width)
            || !ends_within(top, rect.height, self.0.height)
        {
            return Err(Trouble::TooSmall);
        }
        let lines = (0..pixel.components.len()).map(|index| {
            let part = self.part(pixel, buffer, flow, index)?;
            let bytes = |columns| pixel.line_bytes(index, columns).ok_or(Trouble::TooSmall);
            let above = u64::from(pixel.lines(index, top));
            let pitch = u64::from(part.bytesperline);
            Ok(Lines {
                cookie: &part.plane.cookie,
                offset: part.first + above * pitch + u64::from(bytes(left)?),
                line_bytes: u64::from(bytes(rect.width)?),
                count: u64::from(pixel.lines(index, rect.height)),
                pitch,
            })
        });
        lines.collect()
    }

    /// As [`each_run`](Self::each_run) for a part of the picture: `packed` counts from the start
    /// of the first component's lines, and goes on through all components.
    pub(crate) fn each_run_in<'b, C>(
        self,
        buffer: &'b Active<C>,
        flow: Flow,
        rect: Rect,
        mut copy: impl FnMut(Run<'b, C>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut packed = 0_usize;
        for (component, lines) in self.rect_lines(buffer, flow, rect)?.iter().enumerate() {
            let (runs, bytes) = if lines.pitch == lines.line_bytes {
                (1, lines.line_bytes * lines.count)
            } else {
                (lines.count, lines.line_bytes)
            };
            // CAST: widening, on every target there is.
            let bytes = bytes as usize;
            for run in 0..runs {
                copy(Run {
                    cookie: lines.cookie,
                    offset: lines.offset + run * lines.pitch,
                    component,
                    packed: packed..packed + bytes,
                })?;
                packed += bytes;
            }
        }
        Ok(())
    }
}

/// A format with lines that are multiples of `stride` bytes; `None` where they would be too long.
pub(crate) fn align_lines(
    format: Format,
    formats: &[&'static PixelFormat],
    stride: u32,
) -> Option<Format> {
    if stride <= 1 {
        return Some(format);
    }
    let mut wanted = format;
    for plane in &mut wanted.planes {
        plane.bytesperline = plane.bytesperline.checked_next_multiple_of(stride)?;
    }
    let exactly = FrameSizes::Stepwise {
        width: (format.width, format.width, 1),
        height: (format.height, format.height, 1),
    };
    let mut aligned = Format::negotiate(&wanted, formats, exactly, false)?;
    aligned.color = format.color;
    Some(aligned)
}
