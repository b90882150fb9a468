//! What a real camera offers and does: its formats, controls and frame times, which a simulated camera
//! imitates.

use crate::limits::nearest_interval;
use vb3_v4l2::{
    Colorimetry, ControlSpec, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat,
    Port,
};

/// The driver of USB webcams.
pub(crate) const UVC: &str = "uvcvideo";

/// A real camera, as its checked description says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Likeness {
    pub(crate) formats: Vec<Offered>,
    pub(crate) controls: Vec<ControlSpec>,
    pub(crate) ports: Vec<Port>,
    /// Whether the camera's driver is uvcvideo.
    pub(crate) is_uvc: bool,
    /// The camera's mode when it was described.
    pub(crate) initial: Option<InitialMode>,
    /// Measurements of its stream.
    pub(crate) stream: Option<Measured>,
}

/// A camera's format and interval before a program sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialMode {
    pub(crate) fourcc: FourCc,
    pub(crate) size: (u32, u32),
    /// Seconds per frame.
    pub(crate) interval: Fraction,
    /// Bytes of a buffer, if they are known.
    pub(crate) image_bytes: Option<u32>,
}

/// Measurements of a camera's stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) size: (u32, u32),
    /// Seconds per frame, as G_PARM returned them.
    pub(crate) interval: Fraction,
    /// Time from STREAMON to the first frame, in microseconds.
    pub(crate) first_frame_us: u64,
    /// Microseconds from each frame that arrived to the next one that arrived.
    pub(crate) intervals_us: Vec<u64>,
    /// Pairs of an index in `intervals_us` and the number of frames lost in that interval.
    pub(crate) lost: Vec<[u32; 2]>,
    /// Bytes of each compressed picture.
    pub(crate) image_bytes: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) pixel: &'static PixelFormat,
    pub(crate) color: Colorimetry,
    pub(crate) sizes: FrameSizes<'static>,
    /// A row for each discrete size, or one for a range.
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line_bytes: u32,
    pub(crate) image_bytes: u32,
    pub(crate) intervals: FrameIntervals<'static>,
}

impl Likeness {
    pub(crate) fn pixels(&self) -> Vec<&'static PixelFormat> {
        self.formats.iter().map(|format| format.pixel).collect()
    }

    /// Returns a format that the camera offers; the first one for an unknown code.
    fn offered(&self, fourcc: FourCc) -> Option<&Offered> {
        let known = |format: &&Offered| format.pixel.fourcc == fourcc;
        self.formats.iter().find(known).or(self.formats.first())
    }

    fn row(&self, fourcc: FourCc, size: (u32, u32)) -> Option<&Row> {
        let format = self.offered(fourcc)?;
        let at = match format.sizes {
            FrameSizes::Discrete(sizes) => sizes.iter().position(|known| *known == size)?,
            _ => 0,
        };
        format.rows.get(at)
    }

    pub(crate) fn sizes(&self, fourcc: FourCc) -> FrameSizes<'static> {
        let format = self.offered(fourcc);
        format.map_or(FrameSizes::Discrete(&[]), |format| format.sizes)
    }

    pub(crate) fn intervals(&self, fourcc: FourCc, size: (u32, u32)) -> FrameIntervals<'static> {
        let row = self.row(fourcc, size);
        row.map_or(FrameIntervals::Discrete(&[]), |row| row.intervals)
    }

    /// Returns the format and the interval that the camera has at first.
    pub(crate) fn first(&self) -> Option<(Format, Fraction)> {
        let format = self.first_format()?;
        let wanted = self.initial.map_or(Fraction::new(1, 30), |it| it.interval);
        let offered = self.intervals(format.fourcc, (format.width, format.height));
        Some((format, nearest_interval(offered, wanted)?))
    }

    fn first_format(&self) -> Option<Format> {
        let first = self.formats.first()?;
        let (fourcc, size) = match &self.initial {
            Some(initial) => (initial.fourcc, initial.size),
            None => {
                let sizes = self.sizes(first.pixel.fourcc);
                (first.pixel.fourcc, sizes.nearest((640, 480), (2, 2)))
            }
        };
        let mut wanted = Format::new(first.pixel, size.0, size.1)?;
        wanted.fourcc = fourcc;
        let mut format = self.negotiate(&wanted)?;
        let bytes = self.initial.and_then(|initial| initial.image_bytes);
        if let (Some(plane), Some(bytes)) = (format.planes.first_mut(), bytes) {
            plane.sizeimage = plane.sizeimage.max(bytes);
        }
        Some(format)
    }

    pub(crate) fn negotiate(&self, wanted: &Format) -> Option<Format> {
        let offered = self.offered(wanted.fourcc)?;
        let (pixel, fourcc) = (offered.pixel, offered.pixel.fourcc);
        let mut sizes = self.sizes(fourcc);
        if self.is_uvc {
            sizes = uvc_size(sizes, (wanted.width, wanted.height));
        }
        let size = sizes.nearest((wanted.width, wanted.height), pixel.align());
        let row = self.row(fourcc, size)?;
        let mut asked = Format::new(pixel, size.0, size.1)?;
        if let Some(plane) = asked.planes.first_mut() {
            plane.bytesperline = row.line_bytes;
            plane.sizeimage = row.image_bytes;
        }
        let mut format =
            Format::negotiate(&asked, &[pixel], FrameSizes::One(size.0, size.1), false)?;
        if let Some(plane) = format.planes.first_mut() {
            match pixel.is_compressed() {
                true if row.image_bytes > 0 => plane.sizeimage = row.image_bytes,
                _ => plane.sizeimage = plane.sizeimage.max(row.image_bytes),
            }
        }
        format.color = offered.color;
        Some(format)
    }
}

/// Returns the discrete size that uvcvideo would choose: the one that overlaps best with `wanted`, so that
/// the areas of both outside the overlap are smallest. Returns sizes that are not discrete unchanged.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_v4l2_try_format`, with its 32-bit numbers.
pub(crate) fn uvc_size(sizes: FrameSizes<'_>, wanted: (u32, u32)) -> FrameSizes<'_> {
    let FrameSizes::Discrete(all) = sizes else {
        return sizes;
    };
    let outside = |&&(width, height): &&(u32, u32)| {
        let area = |width: u32, height: u32| width.wrapping_mul(height);
        let overlap = area(width.min(wanted.0), height.min(wanted.1));
        let sum = area(width, height).wrapping_add(area(wanted.0, wanted.1));
        sum.wrapping_sub(overlap.wrapping_mul(2))
    };
    let nearest = all.iter().min_by_key(outside);
    nearest.map_or(sizes, |&(width, height)| FrameSizes::One(width, height))
}
