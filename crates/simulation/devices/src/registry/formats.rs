//! The pixel formats that the device of a SPEC (the text that requests a device) offers.

use crate::choice::{CameraInput, Profile, SinkSpec};
use crate::kms::CARD_FORMATS;
use crate::settings::{name, names};
use crate::spec::{DeviceKind, DeviceSpec, SpecError};
use crate::{graph as graphs, loopback as loopbacks, m2m};
use vb3_picture::convert::converts;
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{FourCc, PixelFormat};

/// Returns the formats of a camera or display, or those of `formats=`, that `accepts` allows.
fn those(spec: &DeviceSpec, accepts: impl Fn(&PixelFormat) -> bool) -> Vec<&'static PixelFormat> {
    let wanted = spec.formats.iter();
    let all: Vec<_> = match spec.formats.is_empty() {
        true => pixfmt::TABLE.to_vec(),
        // A loopback's further formats have no samples to paint.
        false => wanted
            .filter_map(|fourcc| pixfmt::TABLE.iter().find(|pixel| pixel.fourcc == *fourcc))
            .copied()
            .collect(),
    };
    all.into_iter()
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .filter(|pixel| accepts(pixel))
        .collect()
}

pub(super) fn sensor(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    match &spec.like {
        Some(like) => like.likeness.pixels(),
        None => those(spec, |pixel| {
            !pixel.is_compressed() || *pixel == pixfmt::MJPEG
        }),
    }
}

pub(super) fn scaler(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    those(spec, converts)
}

/// Returns the formats of pictures that can be recorded in some way.
pub(super) fn picture(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    those(spec, |pixel| SinkSpec::Null.accepts(pixel))
}

pub(super) fn display(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    match &spec.kind {
        DeviceKind::Display { sink } => those(spec, |pixel| sink.accepts(pixel)),
        _ => Vec::new(),
    }
}

pub(super) fn loopback(_: &DeviceSpec) -> Vec<&'static PixelFormat> {
    loopbacks::formats()
}

pub(super) fn codec(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    let kind = spec.kind.codec();
    kind.map_or_else(Vec::new, |kind| m2m::codec_formats(kind, spec.mplane))
}

pub(super) fn graph(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    match &spec.kind {
        DeviceKind::Graph(topology) => graphs::formats(topology),
        _ => Vec::new(),
    }
}

impl DeviceSpec {
    /// Returns the pixel formats that devices of this kind support.
    pub(super) fn pixel_formats(&self) -> Vec<&'static PixelFormat> {
        let row = self.row();
        row.map_or_else(Vec::new, |row| (row.formats)(self))
    }

    /// Returns those of the supported formats that the device offers to programs.
    ///
    /// A webcam offers only two by default. If it offered all, programs that take the first suitable format
    /// would choose another one, such as GREY.
    pub(super) fn offered_formats(
        &self,
        mut formats: Vec<&'static PixelFormat>,
    ) -> Vec<&'static PixelFormat> {
        const USUAL: [FourCc; 2] = [FourCc::YUYV, FourCc::MJPEG];
        if self.like.is_some() {
            return formats;
        }
        let is_camera = self.kind.input() == Some(CameraInput::Sensor);
        if is_camera && self.profile() == Profile::Webcam && self.formats.is_empty() {
            formats.retain(|pixel| match self.format {
                Some(only) => pixel.fourcc == only,
                None => USUAL.contains(&pixel.fourcc),
            });
        }
        formats
    }

    /// Returns the names of the pixel formats that `format=` may choose, separated by commas.
    #[must_use]
    pub fn format_names(&self) -> String {
        if matches!(self.kind, DeviceKind::Kms { .. }) {
            let names = CARD_FORMATS
                .iter()
                .map(|name| String::from_utf8_lossy(name));
            return names.collect::<Vec<_>>().join(", ");
        }
        names(&self.pixel_formats())
    }

    pub(super) fn offered(&self) -> String {
        format!("{} offers {}", self.kind.name(), self.format_names())
    }

    /// Checks that the device offers the formats that the SPEC names.
    pub(super) fn check_format(&self) -> Result<(), SpecError> {
        if matches!(self.kind, DeviceKind::Kms { .. }) {
            return Ok(());
        }
        let found = self.pixel_formats();
        let is_missing = |format: &FourCc| found.iter().all(|one| one.fourcc != *format);
        if let Some(format) = self.formats.iter().find(|format| is_missing(format)) {
            let all = Self {
                formats: Vec::new(),
                ..self.clone()
            };
            return Err(SpecError::value("formats", &name(*format), all.offered()));
        }
        let Some(format) = self.format.filter(is_missing) else {
            return Ok(());
        };
        let hint = match &self.kind {
            DeviceKind::Camera { .. } | DeviceKind::Display { .. }
                if format == FourCc::NV12M && !self.mplane =>
            {
                "; it has two planes: add mplane=on"
            }
            DeviceKind::Display {
                sink: SinkSpec::Y4m(_),
            } if pixfmt::lookup(format).is_some_and(|pixel| pixel.model() == ColorModel::Rgb) => {
                "; y4m holds no RGB: record to NAME%04d.png or FILE.rgb"
            }
            _ => "",
        };
        let allowed = format!("{}{hint}", self.offered());
        Err(SpecError::value("format", &name(format), allowed))
    }
}
