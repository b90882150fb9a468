//! The sizes, rates and pixel formats that the device of a SPEC offers.

use super::parse::parse_format;
use super::{CameraInput, DeviceKind, DeviceSpec, Profile, SinkSpec, SpecError};
use crate::Failure;
use crate::kms::CARD_FORMATS;
use crate::sink::y4m_holds;
use crate::surface::align_lines;
use std::path::Path;
use vb3_picture::Size;
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{Format, FourCc, Fraction, PixelFormat, Planarity};

impl DeviceSpec {
    /// Returns whether the device has the single-planar or the multi-planar API.
    pub(crate) const fn planarity(&self) -> Planarity {
        match self.mplane {
            true => Planarity::Multi,
            false => Planarity::Single,
        }
    }

    /// Returns the profile of `profile=`, or the default of the device's kind.
    pub(crate) fn profile(&self) -> Profile {
        self.profile.unwrap_or(match self.kind.input() {
            Some(CameraInput::Sensor) => Profile::Webcam,
            _ if matches!(self.kind, DeviceKind::Kms { .. }) => Profile::Webcam,
            _ => Profile::Sensor,
        })
    }

    /// Returns the size of `size=`; 640x480 without it.
    pub(crate) fn first_size(&self) -> Size {
        self.size.unwrap_or(Size::nearest(640, 480))
    }

    /// Returns the initial format, which is one of `formats`. Without `format=`, its pixel format is `default`.
    pub(crate) fn first_format(
        &self,
        formats: &[&'static PixelFormat],
        default: FourCc,
    ) -> Result<Format, Failure> {
        let wanted = self.format.unwrap_or(default);
        let pixel = formats.iter().find(|pixel| pixel.fourcc == wanted);
        let size = self.first_size();
        let format = pixel
            .and_then(|pixel| Format::new(pixel, size.width(), size.height()))
            .and_then(|format| align_lines(format, formats, self.stride.unwrap_or(1)));
        format.ok_or_else(|| self.no_such_format())
    }

    /// Returns the failure for a requested format that the device does not offer.
    pub(crate) fn no_such_format(&self) -> Failure {
        let offered = self.offered();
        match self.format {
            Some(format) => Failure::new(format!(
                "there is no pixel format {}: {offered}",
                name(format)
            )),
            None => Failure::new(format!("no pixel format fits its pictures: {offered}")),
        }
    }

    /// Returns the formats that the device offers to programs.
    ///
    /// A webcam offers only two by default. If it offered all, programs that take the first suitable format
    /// would choose another one, such as GREY.
    pub(crate) fn offered_formats(&self) -> Vec<&'static PixelFormat> {
        const USUAL: [FourCc; 2] = [FourCc::YUYV, FourCc::MJPEG];
        let mut formats = self.pixel_formats();
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
        let formats = self.pixel_formats();
        let names: Vec<&str> = formats.iter().map(|one| one.name).collect();
        names.join(", ")
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

/// Returns a message about the first name of `formats=` that no pixel format has.
pub(super) fn unknown_format(value: &str) -> Option<String> {
    let unknown = value.split(':').find(|name| parse_format(name).is_none())?;
    Some(format!("there is no pixel format \"{unknown}\"; use "))
}

/// Returns whether two fractions have the same value.
pub(crate) fn same(a: Fraction, b: Fraction) -> bool {
    let cross = |a: u32, b: u32| u64::from(a) * u64::from(b);
    cross(a.numerator, b.denominator) == cross(b.numerator, a.denominator)
}

/// Returns a format's name as users write it.
fn name(format: FourCc) -> String {
    pixfmt::lookup(format).map_or_else(|| format.to_string(), |pixel| pixel.name.to_owned())
}

impl SinkSpec {
    /// Returns the recording of a card's connector, counted from zero: `NAME-2` for the second one.
    #[must_use]
    pub fn of_connector(&self, connector: usize) -> Self {
        let number = connector + 1;
        let named = |path: &Path| match (path.file_stem(), path.extension()) {
            (Some(stem), Some(ending)) if connector > 0 => {
                let [stem, ending] = [stem, ending].map(|part| part.to_string_lossy());
                path.with_file_name(format!("{stem}-{number}.{ending}"))
            }
            _ => path.to_owned(),
        };
        match self {
            Self::Null => Self::Null,
            Self::Y4m(path) => Self::Y4m(named(path)),
            Self::Raw(path) => Self::Raw(named(path)),
            Self::Png(name) => Self::Png(named(Path::new(name)).to_string_lossy().into_owned()),
        }
    }

    /// Returns whether this format can be recorded exactly. Compressed and Bayer formats cannot. R'G'B'
    /// formats cannot be recorded as y4m.
    #[must_use]
    pub fn accepts(&self, format: &PixelFormat) -> bool {
        match self {
            _ if format.is_compressed() || format.is_mosaic() => false,
            Self::Y4m(_) => y4m_holds(format),
            Self::Null | Self::Raw(_) | Self::Png(_) => true,
        }
    }
}
