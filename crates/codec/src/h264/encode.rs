//! The encoder.

use super::raw::RawEncoder;
use crate::job::{Config, H264Settings, Planes};
use crate::serve::{Codec, Out, Stop};

/// Pictures to Annex B, one packet for each.
#[derive(Default)]
pub(crate) struct Encoder {
    settings: Option<H264Settings>,
    /// Made at the first picture.
    raw: Option<RawEncoder>,
    /// Pictures since the set-up.
    count: u64,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl Codec for Encoder {
    fn configure(&mut self, config: Config) {
        if let Config::H264Encoder(settings) = config {
            let before = self.settings.replace(settings);
            let bitrate = settings.bitrate;
            let only_that =
                before.is_some_and(|before| settings == H264Settings { bitrate, ..before });
            let raw = self.raw.as_mut().filter(|_| only_that);
            if !raw.is_some_and(|raw| raw.set_bitrate(bitrate)) {
                self.begin_anew();
            }
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some(settings) = self.settings else {
            return out.corrupt(tag, "the encoder is not set up");
        };
        if self.raw.is_none() {
            self.raw = RawEncoder::new(&settings);
        }
        let Some(raw) = self.raw.as_mut() else {
            return out.corrupt(tag, "openh264 does not take these settings");
        };
        let (frames, seconds) = (u64::from(settings.rate.0), u64::from(settings.rate.1));
        let ms = self.count.saturating_mul(1000 * seconds) / frames.max(1);
        self.count += 1;
        let sentence = match raw.encode(picture, force_key, i64::try_from(ms).unwrap_or(i64::MAX)) {
            Ok((parts, key)) => return out.packet(tag, key, &parts),
            Err(sentence) => sentence,
        };
        // The library does not recover from a picture that it had no room for.
        self.begin_anew();
        out.corrupt(tag, &sentence)
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {
        self.begin_anew();
    }
}

impl Encoder {
    /// The next picture begins a new stream.
    fn begin_anew(&mut self) {
        self.raw = None;
        self.count = 0;
    }
}
