//! What parsers of stateless decoders' requests share.

use super::av1;
use std::collections::BTreeMap;
use vb3_picture::{HEIGHT_MAX, WIDTH_MAX};
use vb3_v4l2::{FrameSizes, cid};

/// Columns and lines of a macroblock.
pub(crate) const MACROBLOCK: u32 = 16;

/// What differs between stateless decoders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syntax {
    /// Width and height of a buffer are multiples of this number.
    pub(crate) step: u32,
    /// Checks the value of a control. Fails with a message about unsupported samples.
    pub(crate) check: fn(u32, &[u8]) -> Result<(), String>,
    /// Makes the library's input from the controls, the size of the buffers and the bytes of an OUTPUT
    /// buffer. Fails with a message about a missing, wrong or unsupported part.
    pub(crate) describe: Describe,
}

pub(crate) type Describe = fn(&Parameters, (u32, u32), Vec<u8>) -> Result<Input, String>;

/// A picture as the library gets it.
#[derive(Debug)]
pub(crate) struct Input {
    pub(super) bytes: Vec<u8>,
    /// Timestamps of the CAPTURE buffers with the picture's references, in nanoseconds. Empty for H.264,
    /// where a reference may be missing on purpose (`frame_num` gaps).
    pub(super) references: Vec<u64>,
    /// The picture's effect on AV1's reference slots.
    pub(super) update: Option<av1::Update>,
}

impl Input {
    /// Makes the input of VP8 or VP9, whose references are the last, the golden and the alternate frame.
    pub(super) fn of_frame(frame: Vec<u8>, is_intra: bool, references: [u64; 3]) -> Self {
        let references = if is_intra {
            Vec::new()
        } else {
            references.to_vec()
        };
        Self::new(frame, references)
    }

    /// Makes an input of these bytes. `references` are the timestamps of the references to check.
    pub(super) const fn new(bytes: Vec<u8>, references: Vec<u64>) -> Self {
        Self {
            bytes,
            references,
            update: None,
        }
    }
}

impl Syntax {
    pub(super) const fn sizes(&self) -> FrameSizes<'static> {
        FrameSizes::Stepwise {
            width: (MACROBLOCK, WIDTH_MAX, self.step),
            height: (MACROBLOCK, HEIGHT_MAX, self.step),
        }
    }

    pub(super) fn round_up(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let round = |length: u32, most| length.min(most).next_multiple_of(self.step);
        (round(width, WIDTH_MAX), round(height, HEIGHT_MAX))
    }
}

/// The parameters that a decoder has received before a picture.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    /// The values of controls that are structures, by id. Controls that still have their initial value are
    /// missing, since drivers get only changed values.
    controls: BTreeMap<u32, Vec<u8>>,
    pub(super) slots: av1::Slots,
}

impl Parameters {
    pub(super) fn set(&mut self, id: u32, value: &[u8]) {
        self.controls.insert(id, value.to_vec());
    }

    /// Returns a control's value; `None` if it was never set.
    pub(super) fn get<'a, T>(&'a self, id: u32, read: impl Fn(&'a [u8]) -> Option<T>) -> Option<T> {
        self.controls.get(&id).and_then(|value| read(value))
    }

    /// Returns the value of a control that must have been set.
    /// Fails with a message if the control was never set.
    pub(super) fn need<'a, T>(
        &'a self,
        id: u32,
        read: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<T, String> {
        let missing = || {
            let name = cid::name(id).unwrap_or_default();
            format!("the control V4L2_CID_{name} was never set")
        };
        self.get(id, read).ok_or_else(missing)
    }
}

/// Checks that samples of H.264 or HEVC are 8-bit 4:2:0.
pub(super) fn expect_samples(chroma_format_idc: u8, depths_minus8: [u8; 2]) -> Result<(), String> {
    if chroma_format_idc == 1 && depths_minus8 == [0, 0] {
        return Ok(());
    }
    let [luma, chroma] = depths_minus8.map(|depth| u32::from(depth) + 8);
    Err(format!(
        "the device decodes 8-bit 4:2:0 (chroma_format_idc 1), and the sequence has \
         chroma_format_idc {chroma_format_idc} with {luma} bits of luma and {chroma} of chroma"
    ))
}

/// Checks that the controls' picture size, rounded up to even numbers, is the size of the buffers.
pub(super) fn expect_size(
    (wide, high): (u32, u32),
    (width, height): (u32, u32),
) -> Result<(), String> {
    let even = |length: u32| length.saturating_add(length % 2);
    if (even(wide), even(high)) == (width, height) {
        return Ok(());
    }
    Err(format!(
        "the controls are for pictures of {wide}x{high}, and the buffers are for {width}x{height}; \
         stop both queues and set the format at OUTPUT first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m2m::codecs::{Engine, Row};
    use proptest::prelude::*;
    use vb3_codec::Kind;
    use vb3_v4l2::ControlKind;

    fn stateless() -> Vec<Kind> {
        Kind::all().filter(|kind| kind.is_stateless()).collect()
    }

    proptest! {
        /// Random bytes in controls and buffers cause no panic.
        #[test]
        fn random_controls_and_frames_do_no_harm(
            kind in proptest::sample::select(stateless()),
            changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..12),
            frame in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..80),
            size in proptest::sample::select(&[(0, 0), (2, 2), (16, 32)][..]),
        ) {
            let row = Row::of(kind).unwrap();
            let Engine::Stateless(syntax) = &row.engine else {
                panic!("{kind:?} is stateless");
            };
            let mut parameters = Parameters::default();
            for control in &row.controls {
                let ControlKind::Compound(of) = control.kind else { continue };
                let mut bytes = of.initial();
                for (at, value) in &changes {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] = *value;
                }
                let _ = (syntax.check)(control.id, &bytes);
                parameters.set(control.id, &bytes);
            }
            let _ = (syntax.describe)(&parameters, size, frame);
        }
    }
}
