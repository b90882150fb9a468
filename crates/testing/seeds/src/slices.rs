//! An invented format of slices for the stateless decoder, and the codec that decodes these slices.
//!
//! A slice begins like one of H.264, since the device parses the header. Three bytes follow: the picture's
//! width and height in macroblocks, and the picture's number.

use crate::api::Arg;
use crate::memory::PLANES;
use std::mem::{offset_of, size_of};
use vb3_codec::{Codec, Field, Kind, Out, Planes, Stop, StreamFormat};
use vb3_v4l2::cid;
use vb3_v4l2::sys::{
    V4L2_CTRL_WHICH_REQUEST_VAL, V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY, v4l2_ctrl_h264_sps,
    v4l2_ext_control, v4l2_ext_controls,
};

/// The pixel format of slices.
pub(crate) const S264: u32 = u32::from_le_bytes(*b"S264");

/// Start code, the NAL unit's type, and a slice header: macroblock 0, type 7, parameter set 0.
const HEAD: [u8; 6] = [0, 0, 1, 0x65, 0x88, 0x80];

/// Returns the slice of the picture with this size and number.
pub(crate) fn slice(width: u32, height: u32, number: u8) -> Vec<u8> {
    // CAST: the simulation's pictures are small.
    let mut bytes = HEAD.to_vec();
    bytes.extend([(width / 16) as u8, (height / 16) as u8, number]);
    bytes
}

/// Returns the planes of a picture. Samples next to each other always differ.
fn planes(width: u32, height: u32, number: u8) -> [Vec<u8>; 3] {
    [width * height, width * height / 4, width * height / 4].map(|len| {
        let all = (0..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(number));
        all.collect()
    })
}

/// Returns the picture of a slice in NV12.
pub(crate) fn nv12(width: u32, height: u32, number: u8) -> Vec<u8> {
    let [luma, u, v] = planes(width, height, number);
    let pairs = u.into_iter().zip(v).flat_map(|(u, v)| [u, v]);
    luma.into_iter().chain(pairs).collect()
}

/// Makes the codec of a device: the built-in one, or the one for slices.
pub(crate) fn make(kind: Kind) -> Option<Box<dyn Codec>> {
    match kind {
        Kind::H264StatelessDecoder => Some(Box::new(Slices(None))),
        kind => vb3_codec::built_in(kind),
    }
}

/// Decodes slices. The field is the most recently announced picture size.
struct Slices(Option<(u32, u32)>);

impl Codec for Slices {
    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        let at = data.windows(HEAD.len()).position(|bytes| bytes == HEAD);
        let rest = at.and_then(|at| data.get(at + HEAD.len()..));
        let Some(&[wide @ 1..=8, high @ 1..=8, number, ..]) = rest else {
            return out.corrupt(tag, "no slice of the simulation");
        };
        let (width, height) = (u32::from(wide) * 16, u32::from(high) * 16);
        if self.0 != Some((width, height)) {
            out.format(&StreamFormat::of_size(width, height))?;
            self.0 = Some((width, height));
        }
        let [y, u, v] = &planes(width, height, number);
        let [whole, half] = [width as usize, width as usize / 2];
        let picture = Planes {
            width,
            height,
            data: [y, u, v],
            strides: [whole, half, half],
        };
        out.picture(tag, false, &picture, Field::Progressive)
    }
}

/// Returns arguments of an S_EXT_CTRLS that sets, in `request`, the sequence parameters for a picture size.
pub(crate) fn parameters(width: u32, height: u32, request: i32) -> (Arg, Arg) {
    const CONTROL: usize = size_of::<v4l2_ext_control>();
    const SPS: usize = size_of::<v4l2_ctrl_h264_sps>();
    let mut arg = Arg::of::<v4l2_ext_controls>(&[
        (0, V4L2_CTRL_WHICH_REQUEST_VAL),
        (offset_of!(v4l2_ext_controls, count), 1),
        // CAST: keeps the descriptor's bits.
        (offset_of!(v4l2_ext_controls, request_fd), request as u32),
    ]);
    arg.put(
        offset_of!(v4l2_ext_controls, controls),
        &PLANES.to_ne_bytes(),
    );
    let mut control = Arg::new(
        CONTROL + SPS,
        &[
            (offset_of!(v4l2_ext_control, id), cid::STATELESS_H264_SPS),
            // CAST: the structure has about a thousand bytes.
            (offset_of!(v4l2_ext_control, size), SPS as u32),
            (
                CONTROL + offset_of!(v4l2_ctrl_h264_sps, flags),
                V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY,
            ),
        ],
    );
    let value = PLANES + CONTROL as u64;
    control.put(
        offset_of!(v4l2_ext_control, __bindgen_anon_1),
        &value.to_ne_bytes(),
    );
    control.put(CONTROL + offset_of!(v4l2_ctrl_h264_sps, profile_idc), &[66]);
    for (at, side) in [
        (
            offset_of!(v4l2_ctrl_h264_sps, pic_width_in_mbs_minus1),
            width,
        ),
        (
            offset_of!(v4l2_ctrl_h264_sps, pic_height_in_map_units_minus1),
            height,
        ),
    ] {
        // CAST: the simulation's pictures are small.
        let macroblocks = (side / 16).saturating_sub(1) as u16;
        control.put(CONTROL + at, &macroblocks.to_ne_bytes());
    }
    (arg, control)
}

#[cfg(test)]
mod tests;
