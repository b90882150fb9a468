//! The option `like=`: a camera imitates a real camera by its description.

use super::{DeviceIdentity, DeviceSpec, SpecError, UsbNames};

/// Options that `like=` excludes, since the description has their values.
const DESCRIBED: &[&str] = &[
    "size", "fps", "format", "sizes", "rates", "formats", "profile", "mplane", "stride",
    "identity", "usb",
];

impl DeviceSpec {
    /// Takes over the name and the identity from the description.
    pub(super) fn follow_like(&mut self, seen: &[(&str, &str)]) -> Result<(), SpecError> {
        let Some(like) = self.like.clone() else {
            return Ok(());
        };
        let described = seen.iter().find(|(option, _)| DESCRIBED.contains(option));
        if let Some((option, value)) = described {
            let allowed = format!("the description has it; leave out {option}, or change its file");
            return Err(SpecError::value(option, value, allowed));
        }
        let file = like.file();
        let device = file.device.get_ref();
        let is_webcam = device.driver == "uvcvideo" && file.usb.is_some();
        self.identity = Some(match is_webcam {
            true => DeviceIdentity::Uvc,
            false => DeviceIdentity::Plain,
        });
        self.usb = file
            .usb
            .as_ref()
            .filter(|_| is_webcam)
            .map(|usb| usb.get_ref().id.0);
        self.name.get_or_insert_with(|| device.card.clone());
        self.bus_info.clone_from(&device.bus_info);
        Ok(())
    }

    /// Returns the strings of a USB webcam, from its description if it has one.
    #[must_use]
    pub fn usb_names(&self) -> UsbNames {
        let usb = self.like.as_ref().and_then(|like| like.file().usb.clone());
        usb.map_or_else(UsbNames::default, |usb| {
            let usb = usb.into_inner();
            UsbNames {
                manufacturer: usb.manufacturer,
                product: usb.product,
                revision: usb.revision.unwrap_or_else(|| UsbNames::default().revision),
                serial: usb.serial,
            }
        })
    }
}
