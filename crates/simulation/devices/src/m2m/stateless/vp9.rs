//! VP9: an OUTPUT buffer has a whole frame, and controls have its headers.

use super::control::{Bytes, fields, structure};
use super::syntax::{Input, Parameters, expect_size};
use vb3_codec::headers::Vp9Header;
use vb3_v4l2::{cid, sys};

structure! {
    /// A frame's header. Timestamps are in nanoseconds.
    FrameControl from v4l2_ctrl_vp9_frame {
        flags: u32,
        compressed_header_size: u16,
        uncompressed_header_size: u16,
        frame_width_minus_1: u16,
        frame_height_minus_1: u16,
        last_frame_ts: u64,
        golden_frame_ts: u64,
        alt_frame_ts: u64,
        profile: u8,
    }
}

pub(crate) fn check(id: u32, value: &[u8]) -> Result<(), String> {
    match FrameControl::read(value).filter(|_| id == cid::STATELESS_VP9_FRAME) {
        Some(frame) if frame.profile != 0 => Err(format!(
            "the device decodes 8-bit 4:2:0 (profile 0), and the frame has profile {}",
            frame.profile
        )),
        _ => Ok(()),
    }
}

/// Checks a frame against its control, and makes the library's input.
pub(crate) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    frame: Vec<u8>,
) -> Result<Input, String> {
    let control = parameters.need(cid::STATELESS_VP9_FRAME, FrameControl::read)?;
    let pixels = |less_one: u16| u32::from(less_one) + 1;
    let found = (
        pixels(control.frame_width_minus_1),
        pixels(control.frame_height_minus_1),
    );
    expect_size(found, size)?;
    let has = |flag: u32| control.flags & flag != 0;
    let control_key = has(sys::V4L2_VP9_FRAME_FLAG_KEY_FRAME);
    let wanted = control_key.then_some(found);
    expect_header(&frame, control.profile, wanted)?;
    let headers =
        usize::from(control.uncompressed_header_size) + usize::from(control.compressed_header_size);
    if frame.len() <= headers {
        return Err(format!(
            "the frame's headers have {headers} bytes by the control, and the buffer has {}",
            frame.len()
        ));
    }
    let is_intra = control_key || has(sys::V4L2_VP9_FRAME_FLAG_INTRA_ONLY);
    let references = [
        control.last_frame_ts,
        control.golden_frame_ts,
        control.alt_frame_ts,
    ];
    Ok(Input::of_frame(frame, is_intra, references))
}

/// Checks a frame's header: its profile, whether it is a key frame, and a key frame's size.
fn expect_header(frame: &[u8], profile: u8, key_size: Option<(u32, u32)>) -> Result<(), String> {
    let name = |profile, key_size: Option<(u32, u32)>| match key_size {
        Some((width, height)) => format!("a key frame of {width}x{height}, profile {profile}"),
        None => format!("no key frame, profile {profile}"),
    };
    let found = match Vp9Header::read(frame) {
        Some(Vp9Header::ShowExisting) => {
            return Err(
                "the frame only shows an earlier one again, which the program must do itself"
                    .to_owned(),
            );
        }
        Some(Vp9Header::Frame {
            profile,
            is_key,
            key_size,
        }) if is_key == key_size.is_some() || profile != 0 => name(profile, key_size),
        _ => return Err("the buffer does not begin with a VP9 frame's header".to_owned()),
    };
    let wanted = name(profile, key_size);
    if found == wanted {
        return Ok(());
    }
    Err(format!(
        "the control is for {wanted}, and the frame's header says {found}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use vb3_v4l2::CompoundType;

    /// A key frame of 63x32 with 9 bytes of headers.
    const FRAME: [u8; 10] = [0b1000_0010, 0x49, 0x83, 0x42, 0, 3, 0xe0, 1, 0xf0, 7];

    fn described(change: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) -> Result<Input, String> {
        let mut control = CompoundType::Vp9Frame.initial();
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, frame_width_minus_1)] = 62;
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, frame_height_minus_1)] = 31;
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, uncompressed_header_size)] = 8;
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, compressed_header_size)] = 1;
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, alt_frame_ts)] = 9;
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, flags)] |= 1;
        let mut frame = FRAME.to_vec();
        change(&mut control, &mut frame);
        let mut parameters = Parameters::default();
        parameters.set(cid::STATELESS_VP9_FRAME, &control);
        describe(&parameters, (64, 32), frame)
    }

    #[test]
    fn vp9_frames_must_match_their_control() {
        let good = described(|_, _| ()).unwrap();
        assert_eq!((good.bytes, good.references), (FRAME.to_vec(), vec![]));
        let refused = |reason: &str, change: fn(&mut Vec<u8>, &mut Vec<u8>)| {
            let said = described(change).unwrap_err();
            assert!(said.contains(reason), "{reason}: {said}");
        };
        refused("66x32", |control, _| {
            control[offset_of!(sys::v4l2_ctrl_vp9_frame, frame_width_minus_1)] = 65;
        });
        refused("says no key frame, profile 0", |_, frame| frame[0] |= 4);
        refused("profile 2", |_, frame| frame[0] |= 0x10);
        refused("says a key frame of 319x32", |_, frame| frame[5] = 0x13);
        refused("shows an earlier one", |_, frame| frame[0] |= 8);
        refused("VP9 frame's header", |_, frame| frame[0] = 0);
        refused(
            "have 9 bytes by the control, and the buffer has 9",
            |_, frame| {
                frame.truncate(9);
            },
        );
    }

    #[test]
    fn vp9_references_are_those_of_control() {
        let other = |flag: u8| {
            let input = described(|control, frame| {
                control[offset_of!(sys::v4l2_ctrl_vp9_frame, flags)] = 0x80 | flag;
                frame[0] |= 4;
            });
            input.unwrap().references
        };
        assert_eq!(other(0), [0, 0, 9]);
        // The header of an intra-only frame.
        assert_eq!(other(8), [0; 0]);
    }

    #[test]
    fn other_vp9_profiles_cannot_be_set() {
        let mut control = CompoundType::Vp9Frame.initial();
        assert_eq!(check(cid::STATELESS_VP9_FRAME, &control), Ok(()));
        control[offset_of!(sys::v4l2_ctrl_vp9_frame, profile)] = 2;
        assert!(check(cid::STATELESS_VP9_FRAME, &control).is_err());
        assert_eq!(check(cid::STATELESS_VP9_COMPRESSED_HDR, &control), Ok(()));
    }
}
