//! A picture in the planes of a buffer, and a compressed one: sizes, checks, and the way of bytes
//! to and fro by the bus.

use vb3_queue::{Active, DriverError, MAX_PLANES, PlaneSizes, Prepare};
use vb3_v4l2::{Bus, Flow, Format, pixfmt};

/// `V4L2_FIELD_NONE`: progressive.
pub(crate) const FIELD_NONE: u32 = 1;

pub(crate) const EIO: DriverError = DriverError(5);
pub(crate) const EBUSY: DriverError = DriverError(16);
pub(crate) const EINVAL: DriverError = DriverError(22);

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
        let format = self.0;
        let output = flow == Flow::Output;
        let pixel = pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall)?;
        for index in 0..pixel.components.len() {
            let layout = pixel
                .component_layout(index, format.width, format.height, format.layouts())
                .ok_or(Trouble::TooSmall)?;
            let plane = buffer
                .plane(layout.memory_plane)
                .map_err(|_| Trouble::Stale)?
                .ok_or(Trouble::TooSmall)?;
            let start = if output { plane.data_offset } else { 0 };
            let filled = if output {
                plane.payload_bytes
            } else {
                plane.length_bytes
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
            // CAST: widening, on every target there is.
            let (lines, line_bytes) = (layout.lines as usize, layout.line_bytes as usize);
            let first = start + layout.offset;
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
}
