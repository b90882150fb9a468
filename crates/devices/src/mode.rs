//! What cameras and displays share: the format and rate that are set.

use crate::picture::{Frame, HEIGHT_MAX, Matrix, SIZE_MIN, Size, WIDTH_MAX};
use crate::spec::{DeviceSpec, MAX_FPS};
use crate::surface::{EINVAL, Surface, Trouble, align_lines};
use vb3_queue::{Active, DriverError, MAX_PLANES, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, Colorimetry, Flow, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat,
    Planarity, pixfmt,
};

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

/// What a display takes pictures for that nobody says anything of.
fn told_nothing(fourcc: FourCc) -> Colorimetry {
    pixfmt::lookup(fourcc).map_or(COLOR, |pixel| Colorimetry::for_model(pixel.model()))
}

/// How Y'CbCr becomes R'G'B'.
pub(crate) const fn matrix_of(color: &Colorimetry) -> Matrix {
    const REC709: u32 = 3;
    const REC2020: u32 = 10;
    const DCI_P3: u32 = 12;
    const ENC_709: u32 = 2;
    const ENC_XV709: u32 = 4;
    const ENC_2020: u32 = 6;
    match (color.ycbcr_enc, color.colorspace) {
        (ENC_709 | ENC_XV709, _) | (0, REC709 | DCI_P3) => Matrix::Bt709,
        (ENC_2020, _) | (0, REC2020) => Matrix::Bt2020,
        _ => Matrix::Bt601,
    }
}

/// The format and rate of a device.
#[derive(Debug)]
pub(crate) struct Mode {
    pub(crate) planarity: Planarity,
    pub(crate) formats: Vec<&'static PixelFormat>,
    pub(crate) format: Format,
    pub(crate) interval: Fraction,
    default_interval: Fraction,
    /// Bytes that lines are multiples of.
    stride: u32,
}

/// The formats of a camera or display, of those that `accepts` takes.
pub(crate) fn formats(
    spec: &DeviceSpec,
    accepts: impl Fn(&PixelFormat) -> bool,
) -> Vec<&'static PixelFormat> {
    pixfmt::TABLE
        .iter()
        .copied()
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .filter(|pixel| !pixel.is_compressed() && accepts(pixel))
        .collect()
}

impl Mode {
    /// The mode a SPEC asks for, with what the source offers for want of it. `None` if it asks
    /// for a format that there is not.
    pub(crate) fn new(
        spec: &DeviceSpec,
        captures: bool,
        native: Option<(Size, Fraction)>,
    ) -> Option<Self> {
        let planarity = if spec.mplane {
            Planarity::Multi
        } else {
            Planarity::Single
        };
        let formats = spec.pixel_formats();
        let (native_size, native_interval) = native.unzip();
        let size = spec.size.or(native_size).unwrap_or(Size::nearest(640, 480));
        let pixel = match spec.format {
            Some(wanted) => formats.iter().find(|pixel| pixel.fourcc == wanted),
            None => formats.first(),
        }?;
        let stride = spec.stride.unwrap_or(1);
        let format = Format::new(pixel, size.width(), size.height())?;
        let mut format = align_lines(format, &formats, stride)?;
        format.color = if captures {
            COLOR
        } else {
            told_nothing(pixel.fourcc)
        };
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
            stride,
        })
    }

    /// The pixel format now.
    pub(crate) fn pixel(&self) -> &'static PixelFormat {
        pixfmt::lookup(self.format.fourcc).unwrap_or(&pixfmt::YUYV)
    }

    /// The size now.
    pub(crate) fn size(&self) -> Size {
        Size::nearest(self.format.width, self.format.height)
    }

    /// How Y'CbCr becomes R'G'B' now.
    pub(crate) const fn matrix(&self) -> Matrix {
        matrix_of(&self.format.color)
    }

    /// Nanoseconds per frame.
    pub(crate) fn interval_ns(&self) -> u64 {
        self.interval.as_nanos().unwrap_or(1).max(1)
    }

    pub(crate) fn try_format(&self, wanted: &Format, keep_color: bool) -> Format {
        let negotiated = Format::negotiate(wanted, &self.formats, SIZES, keep_color)
            .and_then(|format| align_lines(format, &self.formats, self.stride));
        let Some(mut format) = negotiated else {
            return self.format;
        };
        if !keep_color {
            format.color = COLOR;
        } else if wanted.color.colorspace == 0 {
            format.color = told_nothing(format.fourcc);
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

    /// What a buffer of the format holds.
    const fn surface(&self) -> Surface<'_> {
        Surface(&self.format)
    }

    pub(crate) fn queue_setup(
        &self,
        create: Option<&PlaneSizes>,
    ) -> Result<PlaneSizes, DriverError> {
        self.surface().queue_setup(create)
    }

    /// Checks that a buffer can hold a picture, and on CAPTURE sets what it will hold; on OUTPUT
    /// checks that it does.
    pub(crate) fn prepare(&self, buffer: Prepare<'_>, flow: Flow) -> Result<(), DriverError> {
        self.surface().prepare(buffer, flow)
    }

    /// Writes a picture to a buffer; answers the bytes used in each plane.
    pub(crate) fn write<C>(
        &self,
        frame: &Frame,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        self.surface()
            .write(buffer, bus, |component| frame.component(component))
    }

    /// Reads a picture from a buffer.
    pub(crate) fn read<C>(
        &self,
        frame: &mut Frame,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<(), Trouble> {
        self.surface().each_run(buffer, Flow::Output, |run| {
            let bytes = frame
                .component_mut(run.component)
                .get_mut(run.packed)
                .ok_or(Trouble::TooSmall)?;
            bus.read(run.cookie, run.offset, bytes)
                .map_err(|_| Trouble::Fault)
        })
    }
}
