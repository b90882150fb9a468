//! What cameras and displays share: the format that is set, and the way of a picture to and from
//! the planes of a buffer.

use crate::picture::{Frame, HEIGHT_MAX, Layout, Matrix, SIZE_MIN, Size, WIDTH_MAX};
use crate::spec::{DeviceSpec, MAX_FPS};
use vb3_queue::{Active, DriverError, MAX_PLANES, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, Colorimetry, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat, Planarity,
    pixfmt,
};

/// `V4L2_FIELD_NONE`: progressive.
pub(crate) const FIELD_NONE: u32 = 1;

pub(crate) const EIO: DriverError = DriverError(5);
pub(crate) const EINVAL: DriverError = DriverError(22);

/// What devices say of their colours: sRGB primaries, which for Y'CbCr implies BT.601 in limited
/// range, as [`crate::picture`] computes it.
const COLOR: Colorimetry = Colorimetry {
    colorspace: 8,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};

/// Every size there is.
pub(crate) const SIZES: FrameSizes = FrameSizes {
    width: (SIZE_MIN, WIDTH_MAX, SIZE_MIN),
    height: (SIZE_MIN, HEIGHT_MAX, SIZE_MIN),
};

/// Every interval there is.
pub(crate) const INTERVALS: FrameIntervals = FrameIntervals::Continuous {
    min: Fraction::new(1, MAX_FPS),
    max: Fraction::new(1, 1),
};

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

/// The format and rate of a device.
#[derive(Debug)]
pub(crate) struct Mode {
    pub(crate) planarity: Planarity,
    pub(crate) formats: Vec<&'static PixelFormat>,
    pub(crate) format: Format,
    pub(crate) interval: Fraction,
    default_interval: Fraction,
}

impl Mode {
    /// The mode a SPEC asks for, with what the source offers for want of it. `accepts` tells
    /// which layouts the device can take.
    pub(crate) fn new(
        spec: &DeviceSpec,
        native: Option<(Size, Fraction)>,
        accepts: impl Fn(Layout) -> bool,
    ) -> Option<Self> {
        let planarity = if spec.mplane {
            Planarity::Multi
        } else {
            Planarity::Single
        };
        let formats: Vec<&'static PixelFormat> = pixfmt::TABLE
            .iter()
            .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
            .filter(|pixel| Layout::of(pixel.fourcc).is_some_and(&accepts))
            .collect();
        let (native_size, native_interval) = native.unzip();
        let size = spec.size.or(native_size).unwrap_or(Size::nearest(640, 480));
        let wanted = spec.format.unwrap_or(FourCc::YUYV);
        let pixel = formats
            .iter()
            .find(|pixel| pixel.fourcc == wanted)
            .or(formats.first())?;
        let mut format = Format::new(pixel, size.width(), size.height())?;
        format.color = COLOR;
        let interval = spec
            .fps
            .map(|fps| Fraction::new(fps.denominator, fps.numerator))
            .or(native_interval)
            .unwrap_or(Fraction::new(1, 30));
        Some(Self {
            planarity,
            formats,
            format,
            interval,
            default_interval: interval,
        })
    }

    /// The layout of samples now.
    pub(crate) fn layout(&self) -> Layout {
        Layout::of(self.format.fourcc).unwrap_or(Layout::Yuyv)
    }

    /// The size now.
    pub(crate) fn size(&self) -> Size {
        Size::nearest(self.format.width, self.format.height)
    }

    /// How Y'CbCr becomes R'G'B' now.
    pub(crate) const fn matrix(&self) -> Matrix {
        const REC709: u32 = 3;
        const DCI_P3: u32 = 12;
        const ENC_709: u32 = 2;
        const ENC_XV709: u32 = 4;
        match (self.format.color.ycbcr_enc, self.format.color.colorspace) {
            (ENC_709 | ENC_XV709, _) | (0, REC709 | DCI_P3) => Matrix::Bt709,
            _ => Matrix::Bt601,
        }
    }

    /// Nanoseconds per frame.
    pub(crate) fn interval_ns(&self) -> u64 {
        self.interval.as_nanos().unwrap_or(1).max(1)
    }

    pub(crate) fn try_format(&self, wanted: &Format, keep_color: bool) -> Format {
        let Some(mut format) = Format::negotiate(wanted, &self.formats, SIZES, keep_color) else {
            return self.format;
        };
        if !keep_color || wanted.color.colorspace == 0 {
            format.color = COLOR;
        }
        format
    }

    pub(crate) fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        let known = self
            .formats
            .iter()
            .any(|pixel| pixel.fourcc == format.fourcc);
        if !known || Size::new(format.width, format.height).is_none() {
            return Err(EINVAL);
        }
        self.format = *format;
        Ok(())
    }

    pub(crate) fn set_interval(&mut self, wanted: Fraction) -> Fraction {
        let (seconds, frames) = (u64::from(wanted.numerator), u64::from(wanted.denominator));
        self.interval = if seconds == 0 || frames == 0 {
            self.default_interval
        } else if seconds >= frames {
            Fraction::new(1, 1)
        } else if frames > seconds * u64::from(MAX_FPS) {
            Fraction::new(1, MAX_FPS)
        } else {
            wanted
        };
        self.interval
    }

    /// Bytes of a picture in memory plane `index`, with its padding but nothing a program asked
    /// for on top.
    fn picture_bytes(&self, index: usize) -> Option<u64> {
        let pixel = pixfmt::lookup(self.format.fourcc)?;
        let line = self.format.layouts().get(index)?.bytesperline;
        let (width, height) = (self.format.width, self.format.height);
        let layout = pixel.plane_layout(index, width, height, line, line)?;
        Some(u64::from(layout.sizeimage))
    }

    pub(crate) fn queue_setup(
        &self,
        create: Option<&PlaneSizes>,
    ) -> Result<PlaneSizes, DriverError> {
        let mut sizes = [0; MAX_PLANES];
        for (to, layout) in sizes.iter_mut().zip(self.format.layouts()) {
            *to = u64::from(layout.sizeimage);
        }
        let needed = sizes.get(..self.format.num_planes).unwrap_or(&[]);
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
    /// checks that it does.
    pub(crate) fn prepare(&self, buffer: Prepare<'_>, capture: bool) -> Result<(), DriverError> {
        *buffer.field = FIELD_NONE;
        let planes = buffer.lengths.iter().zip(buffer.payloads.iter_mut());
        let mut checked = 0;
        for (index, (length, payload)) in planes.enumerate().take(self.format.num_planes) {
            let needed = self.picture_bytes(index).ok_or(EINVAL)?;
            if capture {
                *payload = needed;
            }
            if *length < needed || *payload < needed {
                return Err(EINVAL);
            }
            checked += 1;
        }
        if checked == self.format.num_planes {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Writes a picture to a buffer, line by line where lines are padded; answers the bytes used
    /// in each plane. Padding is not touched.
    pub(crate) fn write<C>(
        &self,
        frame: &Frame,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        self.each_run(buffer, false, |cookie, offset, component, range| {
            let bytes = frame
                .component(component)
                .get(range)
                .ok_or(Trouble::TooSmall)?;
            bus.write(cookie, offset, bytes).map_err(|_| Trouble::Fault)
        })?;
        let mut payloads = [0; MAX_PLANES];
        for (index, payload) in payloads.iter_mut().enumerate().take(self.format.num_planes) {
            *payload = self.picture_bytes(index).ok_or(Trouble::TooSmall)?;
        }
        Ok(payloads)
    }

    /// Reads a picture from a buffer.
    pub(crate) fn read<C>(
        &self,
        frame: &mut Frame,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<(), Trouble> {
        self.each_run(buffer, true, |cookie, offset, component, range| {
            let bytes = frame
                .component_mut(component)
                .get_mut(range)
                .ok_or(Trouble::TooSmall)?;
            bus.read(cookie, offset, bytes).map_err(|_| Trouble::Fault)
        })
    }

    /// Calls `copy` with each run of bytes that lie together in the buffer: cookie, offset in
    /// the plane, component, and range of its packed lines.
    fn each_run<C>(
        &self,
        buffer: &Active<C>,
        output: bool,
        mut copy: impl FnMut(&C, u64, usize, std::ops::Range<usize>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let format = &self.format;
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
                copy(&plane.cookie, first, index, 0..lines * line_bytes)?;
                continue;
            }
            for line in 0..lines {
                let offset = first + line as u64 * u64::from(layout.bytesperline);
                copy(
                    &plane.cookie,
                    offset,
                    index,
                    line * line_bytes..(line + 1) * line_bytes,
                )?;
            }
        }
        Ok(())
    }
}
