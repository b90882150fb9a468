//! Encodes pictures to an HEVC byte stream, one access unit for each.

use crate::encoders::{Codec, Encoder as Library, Settings, most_pictures};
use vb3_codec::{Config, HevcSettings, Out, Planes, Stop};

/// An encoder.
///
/// The library starts a thread when it is opened, which this process may do only at set-up. So one
/// library instance lives as long as the process.
#[derive(Default)]
pub(crate) struct Encoder {
    library: Option<Library>,
    /// Number of pictures so far.
    count: u64,
    /// Whether the next picture begins a new stream.
    begins: bool,
}

impl Encoder {
    /// Makes an encoder; `None` if the library has none.
    pub(crate) fn new() -> Option<Self> {
        Codec::Hevc.name().map(|_| Self::default())
    }

    fn open(settings: &HevcSettings) -> Option<Library> {
        Library::open(&Settings {
            width: settings.width,
            height: settings.height,
            frames: settings.rate.0,
            seconds: settings.rate.1,
            bitrate: settings.bitrate,
            constant: settings.constant.into(),
            gop: most_pictures(settings.gop),
            level: settings.level.into(),
            most_kilobits: settings.most_kilobits,
            least_quantizer: settings.qp.0.into(),
            greatest_quantizer: settings.qp.1.into(),
            primaries: settings.colour.primaries,
            transfer: settings.colour.transfer,
            matrix: settings.colour.matrix,
            full_range: settings.colour.full_range.into(),
            ..Settings::of(Codec::Hevc)
        })
    }
}

impl vb3_codec::Codec for Encoder {
    fn configure(&mut self, config: Config) {
        if let Config::HevcEncoder(settings) = config {
            self.library = Self::open(&settings);
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some(library) = self.library.as_mut() else {
            return out.corrupt(tag, "x265 does not take these settings");
        };
        let sentence = match library.encode(picture, self.count, force_key || self.begins) {
            Ok(Some((data, key))) => {
                self.count += 1;
                self.begins = false;
                return out.packet(tag, key, &[data]);
            }
            Ok(None) => "x265 made nothing of the picture".to_owned(),
            Err(error) => error.sentence,
        };
        self.count += 1;
        self.begins = true;
        out.corrupt(tag, &sentence)
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {
        self.begins = true;
    }
}
