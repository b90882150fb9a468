//! Limits of H.264's and HEVC's levels, and the lowest level that allows a stream.

use crate::StreamSettings;

/// Names of H.264's levels, the lowest first.
pub const H264: &[&str] = &[
    "1", "1b", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2", "5",
    "5.1", "5.2",
];
/// Names of HEVC's levels, the lowest first.
pub const HEVC: &[&str] = &[
    "1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2",
];

/// Limits of a level of H.264 (ITU-T H.264, table A-1) or HEVC (ITU-T H.265, tables A.8 and A.9).
/// Units are macroblocks in H.264, and luma samples in HEVC.
struct Limits {
    /// `level_idc` of H.264; the level of HEVC times 10.
    level: u8,
    /// Maximum number of units in a picture.
    picture: u64,
    /// Maximum number of units per second.
    rate: u64,
    /// Maximum bitrates of the tiers Main and High in kbit/s. They are equal if the level has no High tier.
    kilobits: [u32; 2],
}

const fn limits(level: u8, picture: u64, rate: u64, kilobits: [u32; 2]) -> Limits {
    Limits {
        level,
        picture,
        rate,
        kilobits,
    }
}

/// Returns the limits of the lowest level from index `wanted` on that allows the stream, or of the highest level if
/// none does. The stream's pictures have `wide` times `high` units.
fn lowest<'a>(
    all: &'a [Limits],
    wanted: usize,
    tier: usize,
    (wide, high): (u64, u64),
    stream: &StreamSettings,
) -> Option<&'a Limits> {
    let (frames, seconds) = stream.rate;
    let picture = wide * high;
    let rate = picture * u64::from(frames) / u64::from(seconds.max(1));
    let longest = wide.max(high).pow(2);
    let allows = |limits: &&Limits| {
        limits.picture >= picture
            && limits.picture * 8 >= longest
            && limits.rate >= rate
            && u64::from(limits.kilobits[tier]) * 1000 >= u64::from(stream.bitrate)
    };
    all.iter().skip(wanted).find(allows).or(all.last())
}

/// The limits of each level in [`H264`].
const H264_LIMITS: [Limits; 17] = [
    limits(10, 99, 1485, [64; 2]),
    limits(9, 99, 1485, [128; 2]),
    limits(11, 396, 3000, [192; 2]),
    limits(12, 396, 6000, [384; 2]),
    limits(13, 396, 11_880, [768; 2]),
    limits(20, 396, 11_880, [2000; 2]),
    limits(21, 792, 19_800, [4000; 2]),
    limits(22, 1620, 20_250, [4000; 2]),
    limits(30, 1620, 40_500, [10_000; 2]),
    limits(31, 3600, 108_000, [14_000; 2]),
    limits(32, 5120, 216_000, [20_000; 2]),
    limits(40, 8192, 245_760, [20_000; 2]),
    limits(41, 8192, 245_760, [50_000; 2]),
    limits(42, 8704, 522_240, [50_000; 2]),
    limits(50, 22_080, 589_824, [135_000; 2]),
    limits(51, 36_864, 983_040, [240_000; 2]),
    limits(52, 36_864, 2_073_600, [240_000; 2]),
];

/// Returns the `level_idc` of the lowest level that allows the stream, or of the highest level if none does.
/// The search begins at index `wanted` of [`H264`].
#[must_use]
pub fn h264(wanted: usize, stream: &StreamSettings) -> u8 {
    let blocks = |pixels: u32| u64::from(pixels.div_ceil(16));
    let size = (blocks(stream.width), blocks(stream.height));
    lowest(&H264_LIMITS, wanted, 0, size, stream).map_or(0, |limits| limits.level)
}

/// The limits of each level in [`HEVC`].
const HEVC_LIMITS: [Limits; 13] = [
    limits(10, 36_864, 552_960, [128; 2]),
    limits(20, 122_880, 3_686_400, [1500; 2]),
    limits(21, 245_760, 7_372_800, [3000; 2]),
    limits(30, 552_960, 16_588_800, [6000; 2]),
    limits(31, 983_040, 33_177_600, [10_000; 2]),
    limits(40, 2_228_224, 66_846_720, [12_000, 30_000]),
    limits(41, 2_228_224, 133_693_440, [20_000, 50_000]),
    limits(50, 8_912_896, 267_386_880, [25_000, 100_000]),
    limits(51, 8_912_896, 534_773_760, [40_000, 160_000]),
    limits(52, 8_912_896, 1_069_547_520, [60_000, 240_000]),
    limits(60, 35_651_584, 1_069_547_520, [60_000, 240_000]),
    limits(61, 35_651_584, 2_139_095_040, [120_000, 480_000]),
    limits(62, 35_651_584, 4_278_190_080, [240_000, 800_000]),
];

/// Returns the lowest level that allows the stream, times 10, and its maximum bitrate in kbit/s in the tier.
/// Returns the highest level if none allows the stream. The search begins at index `wanted` of [`HEVC`].
#[must_use]
pub fn hevc(wanted: usize, is_high_tier: bool, stream: &StreamSettings) -> (u8, u32) {
    let size = (stream.width.into(), stream.height.into());
    let tier = usize::from(is_high_tier);
    let found = lowest(&HEVC_LIMITS, wanted, tier, size, stream);
    found.map_or((0, 0), |limits| (limits.level, limits.kilobits[tier]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stream(size: (u32, u32), frames: u32, bitrate: u32) -> StreamSettings {
        StreamSettings {
            width: size.0,
            height: size.1,
            rate: (frames, 1),
            bitrate,
            gop: 0,
        }
    }

    #[test]
    fn every_level_has_its_limits() {
        assert_eq!(H264.len(), H264_LIMITS.len());
        assert_eq!(HEVC.len(), HEVC_LIMITS.len());
        for (name, limits) in HEVC.iter().zip(&HEVC_LIMITS) {
            let level = f64::from(limits.level) / 10.0;
            assert_eq!(name.parse(), Ok(level));
        }
    }

    #[test]
    fn level_is_lowest_that_allows_the_stream() {
        // Sizes and rates of annex A of H.265 (table A.11).
        let cases = [
            ((176, 144), 15, 100_000, 10),
            ((352, 288), 30, 1_000_000, 20),
            ((640, 360), 30, 2_000_000, 21),
            ((1280, 720), 33, 4_000_000, 31),
            ((1280, 720), 60, 4_000_000, 40),
            ((1920, 1080), 30, 12_000_000, 40),
            ((1920, 1080), 60, 12_000_000, 41),
            ((3840, 2160), 30, 20_000_000, 50),
            ((4096, 2304), 30, 20_000_000, 60),
            // The width determines this level, since the area would allow a lower one.
            ((4096, 16), 1, 100_000, 40),
        ];
        for (size, frames, bitrate, level) in cases {
            let found = hevc(0, false, &stream(size, frames, bitrate)).0;
            assert_eq!(found, level, "{size:?} at {frames}");
        }
    }

    #[test]
    fn the_wanted_level_and_tier_count() {
        let small = stream((176, 144), 15, 100_000);
        assert_eq!(hevc(5, false, &small), (40, 12_000));
        assert_eq!(hevc(5, true, &small), (40, 30_000));
        assert_eq!(hevc(3, true, &small), (30, 6_000), "has no high tier");
        let fast = stream((1920, 1080), 30, 28_000_000);
        assert_eq!(hevc(0, false, &fast), (51, 40_000));
        assert_eq!(hevc(0, true, &fast), (40, 30_000));
        assert_eq!(h264(11, &small), 40);
        let too_fast = stream((4096, 2304), 1000, 1_000_000);
        assert_eq!(hevc(0, true, &too_fast), (62, 800_000), "the highest");
        assert_eq!(h264(0, &too_fast), 52, "the highest");
    }
}
