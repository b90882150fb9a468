//! Pictures in the planes of buffers, raw or compressed: their sizes, checks, and copies through the bus. A
//! component is one plane of samples, such as Y or UV. One memory plane may hold several components.

use crate::lock::lock;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use vb3_queue::{Active, DriverError, MAX_PLANES, PlaneSizes, PlaneView, Prepare};
use vb3_v4l2::{
    Bus, BusFault, Flow, Format, FrameSizes, Lines, PixelFormat, Rect, Span, SpanReader,
    SpanWriter, Statistics, pixfmt,
};

/// `V4L2_FIELD_ANY`: the program did not name a field order.
pub(crate) const FIELD_ANY: u32 = 0;
/// `V4L2_FIELD_NONE`: progressive.
pub(crate) const FIELD_NONE: u32 = 1;

pub(crate) const EIO: DriverError = DriverError::EIO;
pub(crate) const EBUSY: DriverError = DriverError::EBUSY;
pub(crate) const EINVAL: DriverError = DriverError::EINVAL;
pub(crate) const ERANGE: DriverError = DriverError::ERANGE;

/// Why a picture was not moved to or from a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The device has lost the buffer.
    Stale,
    /// The buffer lacks a plane or is too small for the picture.
    TooSmall,
    /// A bus access failed.
    Fault,
}

impl From<BusFault> for Trouble {
    fn from(_: BusFault) -> Self {
        Self::Fault
    }
}

/// The planes of a buffer.
pub type BufferPlanes<C> = [Option<PlaneView<C>>; MAX_PLANES];

/// The bytes used in each plane of a buffer.
pub(crate) type Payloads = [u64; MAX_PLANES];

/// The result of moving a part of a picture to a buffer: the bytes used, once the picture is complete.
pub(crate) type Step = Result<Option<Payloads>, Trouble>;

/// Maximum number of picture bytes in one step of the devices. A larger picture takes several steps. Every
/// call of a program may wait for a step.
pub(crate) const PIECE: usize = 512 << 10;

/// Makes `bytes` this long, with unspecified contents. If it must grow, new memory takes the place of the old. The system
/// fills new memory with zeros page by page, at first use. To fill all of a large picture's memory here would take
/// several milliseconds, for which other calls would wait.
pub(crate) fn fit(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.len() {
        *bytes = vec![0; len];
    }
    bytes.truncate(len);
}

/// Returns the state of a buffer after its picture was moved; `None` if the device has lost the buffer. Counts
/// faults.
pub(crate) fn outcome<T>(
    moved: Result<T, Trouble>,
    statistics: &mut Statistics,
) -> Option<(Result<(), DriverError>, Option<T>)> {
    match moved {
        Ok(moved) => Some((Ok(()), Some(moved))),
        Err(Trouble::Stale) => None,
        Err(Trouble::Fault | Trouble::TooSmall) => {
            statistics.bus_faults = statistics.bus_faults.saturating_add(1);
            Some((Err(DriverError::EIO), None))
        }
    }
}

/// How much of a picture has been moved to or from a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PictureCursor {
    /// Index of the component that is moved next.
    component: usize,
    /// Bytes of this component that have been moved, without padding.
    moved: usize,
    /// Bytes of all earlier components, without padding.
    before: usize,
}

/// Picture bytes that are contiguous both in a buffer and in a component without padding.
pub(crate) struct Run<'a, C> {
    /// The cookie of the memory plane that has the bytes: the name by which the bus finds the plane's memory.
    pub(crate) cookie: &'a C,
    /// Offset of the bytes in the memory plane.
    pub(crate) offset: u64,
    /// Index of the component that has the bytes.
    pub(crate) component: usize,
    /// Range of the bytes in the component without padding.
    pub(crate) packed: Range<usize>,
    /// Bytes of all earlier components, without padding.
    before: usize,
}

impl<C> Run<'_, C> {
    /// Returns the range of the bytes in a picture whose components have no padding.
    pub(crate) const fn in_all(&self) -> Range<usize> {
        self.before + self.packed.start..self.before + self.packed.end
    }
}

/// Calls `copy` with contiguous runs of a buffer, from `cursor` on, for at most `left` bytes. Subtracts the
/// moved bytes from `left`. Returns whether the picture is complete.
pub(crate) fn resume<'b, C>(
    all: &[Lines<'b, C>],
    cursor: &mut PictureCursor,
    left: &mut usize,
    mut copy: impl FnMut(Run<'b, C>) -> Result<(), Trouble>,
) -> Result<bool, Trouble> {
    while let Some(lines) = all.get(cursor.component) {
        // CAST: widening, on every target there is.
        let (line_bytes, pitch) = (lines.line_bytes as usize, lines.pitch as usize);
        let bytes = line_bytes.saturating_mul(lines.count as usize);
        let there = bytes.saturating_sub(cursor.moved);
        if there == 0 {
            cursor.before = cursor.before.saturating_add(bytes);
            (cursor.component, cursor.moved) = (cursor.component + 1, 0);
            continue;
        }
        if *left == 0 {
            return Ok(false);
        }
        let (line, column) = (cursor.moved / line_bytes, cursor.moved % line_bytes);
        let together = match pitch == line_bytes {
            true => there,
            false => line_bytes - column,
        };
        let len = together.min(*left);
        copy(Run {
            cookie: lines.cookie,
            offset: lines.offset + (line * pitch + column) as u64,
            component: cursor.component,
            packed: cursor.moved..cursor.moved + len,
            before: cursor.before,
        })?;
        cursor.moved += len;
        *left -= len;
    }
    Ok(true)
}

/// Calls `copy` with each contiguous run of a buffer.
pub(crate) fn each_run<'b, C>(
    all: &[Lines<'b, C>],
    copy: impl FnMut(Run<'b, C>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let (mut cursor, mut left) = (PictureCursor::default(), usize::MAX);
    resume(all, &mut cursor, &mut left, copy).map(drop)
}

/// Lines of a component in a buffer, which another thread can read.
pub(crate) struct LentLines {
    reader: SpanReader,
    line_bytes: usize,
    pitch: usize,
}

impl LentLines {
    /// Reads lines without padding to `out`, from line `first` on. Returns false beyond the last line.
    pub(crate) fn read(&self, first: usize, out: &mut [u8]) -> bool {
        let start = first * self.pitch;
        if self.pitch == self.line_bytes {
            return (self.reader)(start as u64, out);
        }
        let lines = out.chunks_mut(self.line_bytes.max(1)).enumerate();
        let mut lines = lines.map(|(line, out)| ((start + line * self.pitch) as u64, out));
        lines.all(|(at, out)| (self.reader)(at, out))
    }
}

/// Decides whether another thread may write to a lent buffer. It is open at first.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Mutex<bool>>);

impl Gate {
    /// Ends the loan. When this returns, the thread writes nothing more. Waits for at most [`STRIPE`] bytes.
    pub(crate) fn close(&self) {
        *lock(&self.0) = false;
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        !*lock(&self.0)
    }
}

/// Number of bytes that another thread converts in one step, and the maximum that it writes to a lent buffer in one
/// step, unless a line is longer. They fit into a core's cache.
pub(crate) const STRIPE: usize = 256 << 10;

/// The components of a picture in a CAPTURE buffer, which another thread can write.
pub(crate) struct LentTarget {
    /// The writer of each component, the bytes of its lines, and the bytes from one line to the next.
    components: Vec<(SpanWriter, usize, usize)>,
    gate: Gate,
}

impl LentTarget {
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Writes a component's lines without padding, from line `first` on. Returns false beyond the last line, or if
    /// the loan has ended.
    pub(crate) fn write(&self, component: usize, first: usize, bytes: &[u8]) -> bool {
        let Some((writer, line_bytes, pitch)) = self.components.get(component) else {
            return false;
        };
        let line_bytes = (*line_bytes).max(1);
        let together = (STRIPE / line_bytes).max(1) * line_bytes;
        let write_lines = |(number, lines): (usize, &[u8])| {
            let start = (first + number * (together / line_bytes)) * pitch;
            let is_open = lock(&self.gate.0);
            if *pitch == line_bytes {
                return *is_open && writer(start as u64, lines);
            }
            let mut lines = lines.chunks(line_bytes).enumerate();
            *is_open && lines.all(|(line, bytes)| writer((start + line * pitch) as u64, bytes))
        };
        bytes.chunks(together).enumerate().all(write_lines)
    }
}

/// The layout of buffers of a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface<'a>(pub(crate) &'a Format);

impl Surface<'_> {
    /// Returns whether a buffer has a codec's bytes or metadata instead of lines.
    fn is_compressed(self) -> bool {
        pixfmt::lookup(self.0.fourcc).is_none_or(vb3_v4l2::PixelFormat::is_compressed)
    }

    /// Returns the bytes that a picture needs in memory plane `index`, including line padding. The program
    /// may have requested larger planes.
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
                let sizes = asked.as_slice();
                let mut pairs = sizes.iter().zip(needed);
                let is_large = pairs.all(|(asked, needed)| asked >= needed);
                let fits = is_large && sizes.len() == needed.len();
                if fits { Ok(*asked) } else { Err(EINVAL) }
            }
        }
    }

    /// Checks that a buffer is large enough for a picture. Sets the payloads of a CAPTURE buffer, and checks
    /// those of an OUTPUT buffer. A compressed picture may have any length.
    pub(crate) fn prepare(self, buffer: &mut Prepare<'_>, flow: Flow) -> Result<(), DriverError> {
        *buffer.field = FIELD_NONE;
        if buffer.lengths.len() < self.0.num_planes {
            return Err(EINVAL);
        }
        let compressed = self.is_compressed();
        let used = buffer.payloads.iter_mut().zip(buffer.data_offsets.iter());
        let planes = buffer.lengths.iter().zip(used);
        for (index, (length, (payload, offset))) in planes.enumerate().take(self.0.num_planes) {
            if compressed {
                if flow == Flow::Capture {
                    *payload = 0;
                }
            } else {
                let needed = self.picture_bytes(index).ok_or(EINVAL)?;
                // Source: Linux 7.2 drivers/media/test-drivers/vivid/vivid-vid-out.c `vid_out_buf_prepare`.
                let filled = match flow {
                    Flow::Capture => {
                        *payload = needed;
                        *length
                    }
                    Flow::Output => (*payload).min(*length).saturating_sub(*offset),
                };
                if filled < needed {
                    return Err(EINVAL);
                }
            }
        }
        Ok(())
    }

    /// Limits the payloads of an OUTPUT buffer to whole pictures.
    pub(crate) fn limit_payloads(self, buffer: &mut Prepare<'_>) {
        *buffer.field = FIELD_NONE;
        if self.is_compressed() {
            return;
        }
        let planes = buffer.payloads.iter_mut().zip(self.0.layouts());
        planes.for_each(|(payload, layout)| *payload = (*payload).min(layout.sizeimage.into()));
    }

    /// Extends a payload that is too short to a whole picture, as the kernel's converters do.
    /// So a program that crops the picture need not fill the rest.
    pub(crate) fn extend_payloads(self, buffer: &mut Prepare<'_>) {
        if self.is_compressed() {
            return;
        }
        let planes = buffer.payloads.iter_mut().zip(buffer.data_offsets.iter());
        for (index, (payload, offset)) in planes.enumerate() {
            let whole = self
                .picture_bytes(index)
                .map(|bytes| bytes.saturating_add(*offset));
            *payload = whole.unwrap_or(0).max(*payload);
        }
    }

    /// Continues to write a picture, at most `left` bytes. Does not touch padding.
    ///
    /// `bytes_of` returns bytes of a component without padding: all bytes of the given range, or only its first
    /// ones, but at least one. If they are not all, `bytes_of` is called again for the rest.
    pub(crate) fn resume_write<'p, C>(
        self,
        buffer: &Active<C>,
        (cursor, left): (&mut PictureCursor, &mut usize),
        bus: &mut dyn Bus<C>,
        bytes_of: impl Fn(usize, Range<usize>) -> Option<&'p [u8]>,
    ) -> Step {
        let all = self.lines(buffer, Flow::Capture)?;
        let is_complete = resume(&all, cursor, left, |run| {
            let mut offset = run.offset;
            let mut range = run.packed;
            while !range.is_empty() {
                let bytes = bytes_of(run.component, range.clone());
                let bytes = bytes.filter(|bytes| !bytes.is_empty());
                let bytes = bytes.ok_or(Trouble::TooSmall)?;
                bus.write(run.cookie, offset, bytes)?;
                offset += bytes.len() as u64;
                range.start += bytes.len();
            }
            Ok(())
        })?;
        self.step(is_complete)
    }

    /// Returns the result of a step: the bytes used in each plane if the picture is complete after the step, else
    /// `None`.
    pub(crate) fn step(self, is_complete: bool) -> Step {
        match is_complete {
            true => self.payloads().map(Some),
            false => Ok(None),
        }
    }

    /// Returns the bytes that a picture uses in each plane of a buffer.
    pub(crate) fn payloads(self) -> Result<Payloads, Trouble> {
        let mut payloads = [0; MAX_PLANES];
        for (index, payload) in payloads.iter_mut().enumerate().take(self.0.num_planes) {
            *payload = self.picture_bytes(index).ok_or(Trouble::TooSmall)?;
        }
        Ok(payloads)
    }

    /// Returns the location of each component's lines in a buffer.
    pub(crate) fn lines<C>(
        self,
        buffer: &Active<C>,
        flow: Flow,
    ) -> Result<Vec<Lines<'_, C>>, Trouble> {
        self.rect_lines(buffer, flow, Rect::whole(self.0.width, self.0.height))
    }

    /// Returns the location of each component's lines inside a rectangle with even edges.
    pub(crate) fn rect_lines<'b, C>(
        self,
        buffer: &'b Active<C>,
        flow: Flow,
        rect: Rect,
    ) -> Result<Vec<Lines<'b, C>>, Trouble> {
        let plane_of = |index| buffer.plane(index).map_err(|_| Trouble::Stale);
        self.rect_lines_in(plane_of, flow, rect)
    }

    /// Returns the same as [`rect_lines`](Self::rect_lines). `plane_of` finds a plane of the buffer, which must
    /// have room for the whole picture.
    pub(crate) fn rect_lines_in<'b, C: 'b>(
        self,
        plane_of: impl Fn(usize) -> Result<Option<&'b PlaneView<C>>, Trouble>,
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
            let layout =
                pixel.component_layout(index, self.0.width, self.0.height, self.0.layouts());
            let layout = layout.ok_or(Trouble::TooSmall)?;
            let plane = plane_of(layout.memory_plane)?.ok_or(Trouble::TooSmall)?;
            let (start, filled) = match flow {
                Flow::Output => (plane.data_offset, plane.payload_bytes),
                Flow::Capture => (0, plane.length_bytes),
            };
            let whole = self.picture_bytes(layout.memory_plane);
            let end = whole.and_then(|whole| start.checked_add(whole));
            if end.is_none_or(|end| end > filled.min(plane.length_bytes)) {
                return Err(Trouble::TooSmall);
            }
            let bytes = |columns| pixel.line_bytes(index, columns).ok_or(Trouble::TooSmall);
            let above = u64::from(pixel.lines(index, top));
            let pitch = u64::from(layout.bytesperline);
            Ok(Lines {
                cookie: &plane.cookie,
                offset: start + layout.offset + above * pitch + u64::from(bytes(left)?),
                line_bytes: u64::from(bytes(rect.width)?),
                count: u64::from(pixel.lines(index, rect.height)),
                pitch,
            })
        });
        lines.collect()
    }

    /// Returns the bytes of all components inside a rectangle with even edges, without padding.
    pub(crate) fn rect_bytes(self, rect: Rect) -> Option<usize> {
        let pixel = pixfmt::lookup(self.0.fourcc)?;
        let mut sum = 0_usize;
        for index in 0..pixel.components.len() {
            sum = sum.checked_add(pixel.component_bytes(index, rect.width, rect.height)?)?;
        }
        Some(sum)
    }

    /// Continues to read a rectangle with even edges, at most `left` bytes.
    /// Returns whether everything is read. `to` then has the components one after the other, without padding.
    pub(crate) fn read_rect_on<C>(
        self,
        (buffer, rect): (&Active<C>, Rect),
        (cursor, left): (&mut PictureCursor, &mut usize),
        bus: &mut dyn Bus<C>,
        to: &mut Vec<u8>,
    ) -> Result<bool, Trouble> {
        fit(to, self.rect_bytes(rect).ok_or(Trouble::TooSmall)?);
        let all = self.rect_lines(buffer, Flow::Output, rect)?;
        resume(&all, cursor, left, |run| {
            let bytes = to.get_mut(run.in_all()).ok_or(Trouble::TooSmall)?;
            Ok(bus.read(run.cookie, run.offset, bytes)?)
        })
    }

    /// Returns each component's lines inside a rectangle, for a thread to read, and counts them as read.
    /// `None` if no thread can read them.
    pub(crate) fn lend_rect<C>(
        self,
        buffer: &Active<C>,
        rect: Rect,
        bus: &mut dyn Bus<C>,
    ) -> Result<Option<Vec<LentLines>>, Trouble> {
        let all = self.rect_lines(buffer, Flow::Output, rect)?;
        let Some(readers) = spans(&all).and_then(|spans| bus.readers(&spans)) else {
            return Ok(None);
        };
        each_run(&all, |run| {
            // CAST: widening, on every target there is.
            Ok(bus.note_read(run.cookie, run.offset, run.packed.len() as u64)?)
        })?;
        let lent = readers
            .into_iter()
            .zip(&all)
            .map(|(reader, lines)| LentLines {
                reader,
                // CAST: widening, on every target there is.
                line_bytes: lines.line_bytes as usize,
                pitch: lines.pitch as usize,
            });
        Ok(Some(lent.collect()))
    }

    /// Lends a rectangle's components to another thread, which writes them. `None` if no thread can write them.
    /// After the writes, call [`note_written`](Self::note_written).
    pub(crate) fn lend_target<C>(
        self,
        buffer: &Active<C>,
        rect: Rect,
        bus: &mut dyn Bus<C>,
    ) -> Option<LentTarget> {
        let all = self.rect_lines(buffer, Flow::Capture, rect).ok()?;
        let writers = bus.writers(&spans(&all)?)?;
        // CAST: widening, on every target there is.
        let measures = all
            .iter()
            .map(|lines| (lines.line_bytes as usize, lines.pitch as usize));
        let components = writers.into_iter().zip(measures);
        Some(LentTarget {
            components: components
                .map(|(to, (line, pitch))| (to, line, pitch))
                .collect(),
            gate: Gate(Arc::new(Mutex::new(true))),
        })
    }

    /// Counts a rectangle as written by another thread or process. Returns the bytes used in each plane.
    pub(crate) fn note_written<C>(
        self,
        (buffer, rect): (&Active<C>, Rect),
        bus: &mut dyn Bus<C>,
    ) -> Result<Payloads, Trouble> {
        each_run(&self.rect_lines(buffer, Flow::Capture, rect)?, |run| {
            // CAST: widening, on every target there is.
            Ok(bus.note_written(run.cookie, run.offset, run.packed.len() as u64)?)
        })?;
        self.payloads()
    }

    /// Continues to write a rectangle that is laid out as by [`read_rect_on`](Self::read_rect_on).
    pub(crate) fn write_rect_on<C>(
        self,
        (buffer, rect): (&Active<C>, Rect),
        (cursor, left): (&mut PictureCursor, &mut usize),
        bus: &mut dyn Bus<C>,
        from: &[u8],
    ) -> Step {
        let all = self.rect_lines(buffer, Flow::Capture, rect)?;
        let is_complete = resume(&all, cursor, left, |run| {
            let bytes = from.get(run.in_all()).ok_or(Trouble::TooSmall)?;
            Ok(bus.write(run.cookie, run.offset, bytes)?)
        })?;
        self.step(is_complete)
    }
}

/// Returns the span of each component's lines, including line padding. `None` on overflow, or without lines.
pub(crate) fn spans<'b, C>(all: &[Lines<'b, C>]) -> Option<Vec<Span<'b, C>>> {
    let spans = all.iter().map(|lines| {
        Some(Span {
            cookie: lines.cookie,
            offset: lines.offset,
            len: lines.extent()?,
        })
    });
    spans.collect()
}

/// Returns the plane of a buffer that has one plane.
pub(crate) fn only_plane<C>(token: &Active<C>) -> Result<&PlaneView<C>, Trouble> {
    let plane = token.plane(0).map_err(|_| Trouble::Stale)?;
    plane.ok_or(Trouble::TooSmall)
}

/// Returns the plane that has a buffer's data, and the length of the data in bytes.
pub(crate) fn extent<C>(token: &Active<C>) -> Result<(&PlaneView<C>, u64), Trouble> {
    let plane = only_plane(token)?;
    let end = plane.payload_bytes.min(plane.length_bytes);
    let len = end.checked_sub(plane.data_offset);
    Ok((plane, len.ok_or(Trouble::TooSmall)?))
}

/// Writes bytes to a buffer that has one plane. Returns the bytes used in each plane.
pub(crate) fn write_bytes<C>(
    token: &Active<C>,
    bytes: &[u8],
    bus: &mut dyn Bus<C>,
) -> Result<Payloads, Trouble> {
    let plane = only_plane(token)?;
    // CAST: widening, on every target there is.
    let len = bytes.len() as u64;
    if len > plane.length_bytes {
        return Err(Trouble::TooSmall);
    }
    bus.write(&plane.cookie, 0, bytes)?;
    let mut payloads = [0; MAX_PLANES];
    payloads[0] = len;
    Ok(payloads)
}

/// Returns a format whose line lengths are multiples of `stride` bytes; `None` if they become too long.
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
    let exactly = FrameSizes::One(format.width, format.height);
    let mut aligned = Format::negotiate(&wanted, formats, exactly, false)?;
    aligned.color = format.color;
    Some(aligned)
}

#[cfg(test)]
mod tests;
