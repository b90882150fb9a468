//! Codecs whose streams have no start codes. A piece of input is one frame, or several that belong together.

use crate::decoder::Cut;
use std::collections::VecDeque;
use std::marker::PhantomData;
use vb3_codec::Framing;
use vb3_codec::units::{Key, Unit};

/// Treats every piece of input as one unit for the decoder.
#[derive(Default)]
pub(crate) struct Frames<K> {
    units: VecDeque<Unit>,
    codec: PhantomData<K>,
}

impl<K: Key> Cut for Frames<K> {
    fn set_framing(&mut self, _: Framing) {}

    fn push(&mut self, tag: u64, data: &[u8]) {
        if !data.is_empty() {
            self.units.push_back(Unit {
                bytes: data.to_vec(),
                tag,
                key: K::is_key(data),
            });
        }
    }

    fn next(&mut self, _: bool) -> Option<Unit> {
        self.units.pop_front()
    }

    fn fault(&mut self) -> Option<(u64, String)> {
        None
    }

    fn clear(&mut self) {
        self.units.clear();
    }
}
