//! Controls whose values are structures: the headers that stateless decoders get for each picture.

use super::{av1, h264, hevc, vp8, vp9};
use crate::bytes::{Image, field};
use crate::{Error, sys};

/// Checks a structure and clears its meaningless fields. Returns whether a stream may contain it.
type Validate = fn(&mut Image<&mut [u8]>) -> bool;

/// Defines [`CompoundType`] by a row for each structure: its `V4L2_CTRL_TYPE_*`, its name and its check.
macro_rules! compounds {
    ($($(#[$doc:meta])* $name:ident = $type:ident, $of:ident, $validate:expr;)*) => {
        /// Which structure a control holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CompoundType {
            $(
                #[doc = concat!("`struct ", stringify!($of), "`.")]
                $(#[$doc])*
                $name,
            )*
        }

        impl CompoundType {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns `V4L2_CTRL_TYPE_*`, the size in bytes and the check.
            const fn row(self) -> (u32, usize, Validate) {
                match self {
                    $(Self::$name => (sys::$type, size_of::<sys::$of>(), $validate),)*
                }
            }
        }
    };
}

compounds! {
    H264Sps = V4L2_CTRL_TYPE_H264_SPS, v4l2_ctrl_h264_sps, h264::validate_sps;
    H264Pps = V4L2_CTRL_TYPE_H264_PPS, v4l2_ctrl_h264_pps, h264::validate_pps;
    H264ScalingMatrix = V4L2_CTRL_TYPE_H264_SCALING_MATRIX, v4l2_ctrl_h264_scaling_matrix, any;
    H264DecodeParams = V4L2_CTRL_TYPE_H264_DECODE_PARAMS, v4l2_ctrl_h264_decode_params, h264::validate_decode_params;
    Vp8Frame = V4L2_CTRL_TYPE_VP8_FRAME, v4l2_ctrl_vp8_frame, vp8::validate;
    Vp9Frame = V4L2_CTRL_TYPE_VP9_FRAME, v4l2_ctrl_vp9_frame, vp9::validate_frame;
    Vp9CompressedHdr = V4L2_CTRL_TYPE_VP9_COMPRESSED_HDR, v4l2_ctrl_vp9_compressed_hdr, vp9::validate_compressed_header;
    HevcSps = V4L2_CTRL_TYPE_HEVC_SPS, v4l2_ctrl_hevc_sps, hevc::validate_sps;
    HevcPps = V4L2_CTRL_TYPE_HEVC_PPS, v4l2_ctrl_hevc_pps, hevc::validate_pps;
    HevcScalingMatrix = V4L2_CTRL_TYPE_HEVC_SCALING_MATRIX, v4l2_ctrl_hevc_scaling_matrix, any;
    HevcDecodeParams = V4L2_CTRL_TYPE_HEVC_DECODE_PARAMS, v4l2_ctrl_hevc_decode_params, hevc::validate_decode_params;
    Av1Sequence = V4L2_CTRL_TYPE_AV1_SEQUENCE, v4l2_ctrl_av1_sequence, av1::validate_sequence;
    ///
    /// The control holds an array of them.
    Av1TileGroupEntry = V4L2_CTRL_TYPE_AV1_TILE_GROUP_ENTRY, v4l2_ctrl_av1_tile_group_entry, any;
    Av1Frame = V4L2_CTRL_TYPE_AV1_FRAME, v4l2_ctrl_av1_frame, av1::validate_frame;
    Av1FilmGrain = V4L2_CTRL_TYPE_AV1_FILM_GRAIN, v4l2_ctrl_av1_film_grain, av1::validate_film_grain;
}

impl CompoundType {
    /// `V4L2_CTRL_TYPE_*`.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.row().0
    }

    /// Returns the size of the structure in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        self.row().1
    }

    /// Returns the maximum number of structures in a dynamic array; `None` for any other control.
    #[must_use]
    pub const fn most_elements(self) -> Option<u32> {
        match self {
            Self::Av1TileGroupEntry => Some(sys::V4L2_AV1_MAX_TILE_COUNT),
            _ => None,
        }
    }

    /// Returns the initial value. A dynamic array has one element.
    ///
    /// Source: Linux `std_init_compound`, differs: a scaling matrix is zero.
    #[must_use]
    pub fn initial(self) -> Vec<u8> {
        let mut bytes = vec![0; self.size()];
        let image = &mut Image(bytes.as_mut_slice());
        match self {
            Self::Vp8Frame => image.set_u8(field!(v4l2_ctrl_vp8_frame.num_dct_parts), 1),
            Self::Vp9Frame => vp9::initialise(image),
            Self::Av1Sequence => image.set_u8(field!(v4l2_ctrl_av1_sequence.bit_depth), 8),
            _ => {}
        }
        bytes
    }

    /// Checks a structure, and clears fields without meaning.
    ///
    /// # Errors
    /// EINVAL for values that no stream may have.
    ///
    /// Source: Linux 7.2 `std_validate_compound`.
    pub(crate) fn validate(self, bytes: &mut [u8]) -> Result<(), Error> {
        let (_, size, is_valid) = self.row();
        let most = self.most_elements().unwrap_or(1);
        let fits = bytes.len().is_multiple_of(size)
            && u32::try_from(bytes.len() / size).is_ok_and(|count| (1..=most).contains(&count));
        let good = fits && bytes.chunks_mut(size).all(|one| is_valid(&mut Image(one)));
        good.then_some(()).ok_or(Error::Invalid)
    }
}

fn any(_: &mut Image<&mut [u8]>) -> bool {
    true
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Applies `change` to the initial value, and returns the result; `None` if it is invalid.
    pub(in crate::control) fn judged(
        of: CompoundType,
        change: impl Fn(&mut Image<&mut [u8]>),
    ) -> Option<Vec<u8>> {
        let mut bytes = of.initial();
        change(&mut Image(bytes.as_mut_slice()));
        of.validate(&mut bytes).ok().map(|()| bytes)
    }

    /// Sets the byte at each offset in turn, and asserts whether the control accepts it.
    pub(in crate::control) fn expect(of: CompoundType, rows: &[(usize, u8, bool)]) {
        for (at, value, is_good) in rows {
            let found = judged(of, |image| image.set_u8(*at, *value));
            assert_eq!(found.is_some(), *is_good, "{of:?}: {value} at {at}");
        }
    }

    #[test]
    fn initial_values_are_valid() {
        for of in CompoundType::ALL {
            assert!(judged(*of, |_| ()).is_some(), "{of:?}");
        }
    }

    /// Validated values stay valid, and a second validation changes nothing.
    #[test]
    fn random_bytes_are_judged_once() {
        let mut state = 1_u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        for round in 0..4000 {
            let of = CompoundType::ALL[round % CompoundType::ALL.len()];
            let mut bytes = of.initial();
            let end = bytes.len() as u64;
            for _ in 0..draw() % 6 {
                bytes[(draw() % end) as usize] = draw().to_le_bytes()[0];
            }
            if of.validate(&mut bytes).is_ok() {
                let once = bytes.clone();
                assert!(of.validate(&mut bytes).is_ok());
                assert_eq!(once, bytes, "{of:?}");
            }
            bytes.pop();
            assert!(of.validate(&mut bytes).is_err(), "{of:?} is too short");
        }
    }
}
