//! H.264 by openh264.

use crate::job::Config;
use crate::serve::{Codec, Out, Stop};

pub(crate) struct Decoder;
pub(crate) struct Encoder;

impl Decoder {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl Codec for Decoder {
    fn configure(&mut self, _: Config) {}
    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }
    fn flush(&mut self) {}
}

impl Codec for Encoder {
    fn configure(&mut self, _: Config) {}
    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }
    fn flush(&mut self) {}
}
