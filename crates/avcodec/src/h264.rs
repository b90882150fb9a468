//! H.264 by x264: one access unit for each picture.

use crate::encoder::Coding;
use crate::encoders::{Codec, Settings, most_pictures};
use vb3_codec::{Config, H264Profile, H264Settings};

impl Coding for H264Settings {
    const CODEC: Codec = Codec::H264;
    const LIBRARY: &str = "x264";

    fn of(config: Config) -> Option<Self> {
        match config {
            Config::H264Encoder(settings) => Some(settings),
            _ => None,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            width: self.width,
            height: self.height,
            frames: self.rate.0,
            seconds: self.rate.1,
            bitrate: self.bitrate,
            gop: most_pictures(self.gop),
            profile: match self.profile {
                H264Profile::ConstrainedBaseline => 0,
                H264Profile::Main => 1,
                H264Profile::High => 2,
            },
            level: self.level.map_or(0, u32::from),
            primaries: self.colour.primaries,
            transfer: self.colour.transfer,
            matrix: self.colour.matrix,
            full_range: self.colour.full_range.into(),
            ..Settings::of(Codec::H264)
        }
    }

    fn new_bitrate(&self, before: &Self) -> Option<u32> {
        let bitrate = self.bitrate;
        (*self == Self { bitrate, ..*before }).then_some(bitrate)
    }
}
