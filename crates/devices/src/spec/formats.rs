//! Which pixel formats the device of a SPEC offers.

use super::parse::format_name;
use super::{DeviceKind, DeviceSpec, SinkSpec, SpecError};
use crate::picture::Layout;
use crate::{Failure, m2m, mode};
use vb3_v4l2::{FourCc, PixelFormat};

impl DeviceSpec {
    /// The formats of its pictures.
    pub(crate) fn pixel_formats(&self) -> Vec<&'static PixelFormat> {
        match &self.kind {
            DeviceKind::Camera { .. } => mode::formats(self, |_| true),
            DeviceKind::Display { sink } => mode::formats(self, |layout| sink.accepts(layout)),
            DeviceKind::Converter => m2m::converter_formats(self),
            DeviceKind::H264Decoder
            | DeviceKind::JpegDecoder
            | DeviceKind::H264Encoder
            | DeviceKind::JpegEncoder => m2m::codec_formats(self),
        }
    }

    /// What to say where the device does not offer the format that is asked for.
    pub(crate) fn no_such_format(&self) -> Failure {
        let offered = self.offered();
        match self.format {
            Some(format) => Failure::new(format!(
                "there is no pixel format {}: {offered}",
                format_name(format)
            )),
            None => Failure::new(format!("no pixel format fits its pictures: {offered}")),
        }
    }

    fn offered(&self) -> String {
        let formats = self.pixel_formats();
        let names: Vec<&str> = formats.iter().map(|one| format_name(one.fourcc)).collect();
        let several = match self.kind {
            DeviceKind::Camera { .. } | DeviceKind::Display { .. } if self.mplane => "-mplane",
            _ => "",
        };
        let name = self.kind.name();
        format!("{name}{several} offers {}", names.join(", "))
    }

    /// Checks the format against what the device offers.
    pub(super) fn check_format(&self) -> Result<(), SpecError> {
        let Some(format) = self.format else {
            return Ok(());
        };
        if self.pixel_formats().iter().any(|one| one.fourcc == format) {
            return Ok(());
        }
        let hint = match &self.kind {
            DeviceKind::Camera { .. } | DeviceKind::Display { .. }
                if format == FourCc::NV12M && !self.mplane =>
            {
                "; it has two planes: ask for camera-mplane or display-mplane"
            }
            DeviceKind::Display {
                sink: SinkSpec::Y4m(_),
            } if format == FourCc::RGB24 => {
                "; y4m holds no RGB: record to NAME%04d.png or FILE.rgb"
            }
            _ => "",
        };
        Err(SpecError {
            option: "format".to_owned(),
            value: format_name(format).to_owned(),
            allowed: format!("{}{hint}", self.offered()),
        })
    }
}

impl SinkSpec {
    /// Whether pictures of this layout can be recorded exactly.
    #[must_use]
    pub const fn accepts(&self, layout: Layout) -> bool {
        !matches!((self, layout), (Self::Y4m(_), Layout::Rgb24))
    }
}
