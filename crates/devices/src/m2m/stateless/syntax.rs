//! The codecs of stateless decoders, one row each.

use super::{h264, hevc, vp8, vp9};
use crate::picture::{HEIGHT_MAX, WIDTH_MAX};
use std::collections::BTreeMap;
use vb3_codec::Kind;
use vb3_v4l2::FrameSizes;

/// A codec.
#[derive(Debug)]
pub(super) struct Syntax {
    kind: Kind,
    /// Columns and lines of a buffer are multiples of this number.
    pub(super) step: u32,
    /// Checks the value of a control. Fails with a sentence about an unsupported value.
    pub(super) check: fn(u32, &[u8]) -> Result<(), String>,
    /// Makes the library's input from the controls, the size of the buffers and the bytes of an OUTPUT
    /// buffer. Fails with a sentence about a missing, wrong or unsupported part.
    pub(super) describe: Describe,
}

type Describe = fn(&Parameters, (u32, u32), Vec<u8>) -> Result<Input, String>;

/// A picture for the library.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    /// Timestamps of the CAPTURE buffers with its reference pictures, in nanoseconds. Empty for
    /// H.264, where a reference may be missing on purpose (`frame_num` gaps).
    pub(super) references: Vec<u64>,
}

/// Side of a macroblock.
const MACROBLOCK: u32 = 16;

static ROWS: [Syntax; 4] = [
    Syntax {
        kind: Kind::H264StatelessDecoder,
        step: MACROBLOCK,
        check: h264::check,
        describe: h264::describe,
    },
    Syntax {
        kind: Kind::HevcStatelessDecoder,
        step: hevc::SMALLEST_BLOCK,
        check: hevc::check,
        describe: hevc::describe,
    },
    Syntax {
        kind: Kind::Vp8StatelessDecoder,
        step: 2,
        check: |_, _| Ok(()),
        describe: vp8::describe,
    },
    Syntax {
        kind: Kind::Vp9StatelessDecoder,
        step: 2,
        check: vp9::check,
        describe: vp9::describe,
    },
];

impl Syntax {
    /// Returns the row of a codec.
    pub(super) fn of(kind: Kind) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.kind == kind)
    }

    pub(super) const fn sizes(&self) -> FrameSizes<'static> {
        FrameSizes::Stepwise {
            width: (MACROBLOCK, WIDTH_MAX, self.step),
            height: (MACROBLOCK, HEIGHT_MAX, self.step),
        }
    }

    /// Returns the size in pixels, rounded up to whole steps.
    pub(super) fn round_up(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let round = |length: u32, most| length.min(most).next_multiple_of(self.step);
        (round(width, WIDTH_MAX), round(height, HEIGHT_MAX))
    }
}

/// The values of the controls that are structures, by id. A control with its initial value is
/// missing: drivers get only changed values.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<u32, Vec<u8>>);

impl Parameters {
    /// Stores the new value of a control.
    pub(super) fn set(&mut self, id: u32, value: &[u8]) {
        self.0.insert(id, value.to_vec());
    }

    /// Returns a control's value; `None` if it was never set.
    pub(super) fn get<T>(&self, id: u32, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        self.0.get(&id).and_then(|value| read(value))
    }

    /// Returns the value of a control that must have been set.
    ///
    /// # Errors
    /// A sentence if the control was never set.
    pub(super) fn need<T>(
        &self,
        id: u32,
        name: &str,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, String> {
        let missing = || format!("the control {name} was never set");
        self.get(id, read).ok_or_else(missing)
    }
}

/// Checks that pictures have the size of their buffers, once odd sides are rounded up.
pub(super) fn expect_size(
    (wide, high): (u32, u32),
    (width, height): (u32, u32),
) -> Result<(), String> {
    let even = |length: u32| length.next_multiple_of(2);
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
    use crate::m2m::decoder::table::{is_stateless, row_of};
    use proptest::prelude::*;
    use vb3_v4l2::ControlKind;

    #[test]
    fn each_stateless_decoder_has_a_row() {
        for kind in Kind::all() {
            assert_eq!(Syntax::of(kind).is_some(), is_stateless(kind), "{kind:?}");
        }
    }

    proptest! {
        /// Random bytes in controls and buffers cause no panic.
        #[test]
        fn random_controls_and_frames_do_no_harm(
            kind in 0..ROWS.len(),
            changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..12),
            frame in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..80),
            size in proptest::sample::select(&[(0, 0), (2, 2), (16, 32)][..]),
        ) {
            let row = &ROWS[kind];
            let mut parameters = Parameters::default();
            for control in row_of(row.kind).map_or(&[][..], |row| row.controls) {
                let ControlKind::Compound(of) = control.kind else { continue };
                let mut bytes = of.initial();
                for (at, value) in &changes {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] = *value;
                }
                let _ = (row.check)(control.id, &bytes);
                parameters.set(control.id, &bytes);
            }
            let _ = (row.describe)(&parameters, size, frame);
        }
    }
}
