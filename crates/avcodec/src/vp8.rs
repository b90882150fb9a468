//! Pictures to VP8 frames, one for each.

use crate::encoders::{Codec, Encoder as Library, Settings, most_pictures};
use vb3_codec::{Config, Out, Planes, Stop, Vp8Settings};

/// The quantizer's index in the stream for each that libvpx counts.
///
/// Source: libvpx `vp8/encoder/onyx_if.c` `q_trans`.
const QUANTIZERS: [u8; 64] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 64, 67, 70, 73, 76, 79, 82, 85,
    88, 91, 94, 97, 100, 103, 106, 109, 112, 115, 118, 121, 124, 127,
];

/// The library's quantizers that are no less and no greater than those of the stream that are
/// wanted; where there is none between them, the next greater one for both.
fn quantizers((least, greatest): (u8, u8)) -> (u32, u32) {
    let below = |limit: u8| QUANTIZERS.partition_point(|index| *index < limit);
    let first = below(least).min(QUANTIZERS.len() - 1);
    let last = below(greatest.saturating_add(1)).saturating_sub(1);
    let small = |value: usize| u32::try_from(value).unwrap_or(0);
    (small(first), small(last.max(first)))
}

/// An encoder.
#[derive(Default)]
pub(crate) struct Encoder {
    settings: Option<Vp8Settings>,
    /// Made at the first picture.
    library: Option<Library>,
    /// Pictures since then.
    count: u64,
}

impl Encoder {
    /// `None` if the library has no encoder.
    pub(crate) fn new() -> Option<Self> {
        Codec::Vp8.name().map(|_| Self::default())
    }

    fn open(settings: &Vp8Settings) -> Option<Library> {
        let (least_quantizer, greatest_quantizer) = quantizers(settings.qp);
        Library::open(&Settings {
            width: settings.width,
            height: settings.height,
            frames: settings.rate.0,
            seconds: settings.rate.1,
            bitrate: settings.bitrate,
            constant: settings.constant.into(),
            gop: most_pictures(settings.gop),
            profile: settings.profile.into(),
            least_quantizer,
            greatest_quantizer,
            ..Settings::of(Codec::Vp8)
        })
    }

    /// The next picture begins a new stream.
    fn begin_anew(&mut self) {
        self.library = None;
        self.count = 0;
    }
}

impl vb3_codec::Codec for Encoder {
    fn configure(&mut self, config: Config) {
        if let Config::Vp8Encoder(settings) = config
            && self.settings.replace(settings) != Some(settings)
        {
            self.begin_anew();
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
        if self.library.is_none() {
            self.library = Self::open(&settings);
        }
        let Some(library) = self.library.as_mut() else {
            return out.corrupt(tag, "libvpx does not take these settings");
        };
        let sentence = match library.encode(picture, self.count, force_key) {
            Ok(Some((data, key))) => {
                self.count += 1;
                return out.packet(tag, key, &[data]);
            }
            Ok(None) => "libvpx made nothing of the picture".to_owned(),
            Err(error) => error.sentence,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizers_stay_in_the_range_that_is_wanted() {
        assert_eq!(quantizers((0, 127)), (0, 63));
        assert_eq!(quantizers((6, 11)), (6, 9));
        assert_eq!(quantizers((6, 6)), (6, 6));
        assert_eq!(quantizers((127, 127)), (63, 63));
        for least in 0..=127 {
            let (first, last) = quantizers((least, 127));
            assert!(QUANTIZERS[first as usize] >= least && first <= last);
        }
    }
}
