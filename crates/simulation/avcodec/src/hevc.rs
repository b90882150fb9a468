//! HEVC by x265: one access unit for each picture.

use crate::encoder::Coding;
use crate::encoders::{Codec, Settings};
use vb3_codec::{Config, HevcSettings};

impl Coding for HevcSettings {
    const LIBRARY: &str = "x265";
    const OPENS_AT_SET_UP: bool = true;

    fn of(config: Config) -> Option<Self> {
        match config {
            Config::HevcEncoder(settings) => Some(settings),
            _ => None,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            constant: self.constant.into(),
            level: self.level.into(),
            most_kilobits: self.most_kilobits,
            least_quantizer: self.qp.0.into(),
            greatest_quantizer: self.qp.1.into(),
            ..Settings::of(Codec::Hevc, &self.stream, self.color)
        }
    }
}
