//! VP8: an OUTPUT buffer has a whole frame, and a control has the frame's header.

use super::control::{Bytes, fields, structure};
use super::syntax::{Input, Parameters, expect_size};
use vb3_codec::headers::Vp8Header;
use vb3_v4l2::{cid, sys};

structure! {
    /// A frame's header. Timestamps are in nanoseconds.
    FrameControl from v4l2_ctrl_vp8_frame {
        width: u16,
        height: u16,
        num_dct_parts: u8,
        first_part_size: u32,
        last_frame_ts: u64,
        golden_frame_ts: u64,
        alt_frame_ts: u64,
        flags: u64,
        dct_part_sizes: [u32; 8],
    }
}

/// Checks a frame against its control, and makes the library's input.
pub(crate) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    frame: Vec<u8>,
) -> Result<Input, String> {
    let control = parameters.need(cid::STATELESS_VP8_FRAME, FrameControl::read)?;
    expect_size((control.width.into(), control.height.into()), size)?;
    let header = Vp8Header::read(&frame);
    let header = header.ok_or("the buffer does not begin with a VP8 frame's header")?;
    let is_key = control.flags & u64::from(sys::V4L2_VP8_FRAME_FLAG_KEY_FRAME) != 0;
    let control_key = is_key.then_some((control.width, control.height));
    if header.key_size != control_key {
        let name = |key: Option<(u16, u16)>| match key {
            Some((width, height)) => format!("a key frame of {width}x{height}"),
            None => "no key frame".to_owned(),
        };
        return Err(format!(
            "the control is for {}, and the frame's header says {}",
            name(control_key),
            name(header.key_size)
        ));
    }
    if control.first_part_size != header.first_part_size {
        return Err(format!(
            "the first partition has {} bytes by the control, and {} by the frame's header",
            control.first_part_size, header.first_part_size
        ));
    }
    let count = usize::from(control.num_dct_parts);
    let parts = control
        .dct_part_sizes
        .iter()
        .take(count)
        .map(|bytes| u64::from(*bytes));
    let sizes = 3 * (u64::from(control.num_dct_parts).saturating_sub(1));
    let first = u64::from(header.len) + u64::from(header.first_part_size);
    let wanted = first + sizes + parts.sum::<u64>();
    // CAST: widening.
    let found = frame.len() as u64;
    if found < wanted {
        return Err(format!(
            "the frame has {wanted} bytes by its header and control, and the buffer has {found}"
        ));
    }
    let references = [
        control.last_frame_ts,
        control.golden_frame_ts,
        control.alt_frame_ts,
    ];
    Ok(Input::of_frame(frame, is_key, references))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use vb3_v4l2::CompoundType;

    /// A key frame of 64x32 with two partitions, of 2 and 3 bytes.
    const FRAME: [u8; 15] = [0x50, 0, 0, 0x9d, 1, 0x2a, 64, 0, 32, 0, 1, 2, 3, 4, 5];

    fn described(change: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) -> Result<Input, String> {
        let mut control = CompoundType::Vp8Frame.initial();
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, width)] = 64;
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, height)] = 32;
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, first_part_size)] = 2;
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, dct_part_sizes)] = 3;
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, golden_frame_ts)] = 9;
        control[offset_of!(sys::v4l2_ctrl_vp8_frame, flags)] = 1;
        let mut frame = FRAME.to_vec();
        change(&mut control, &mut frame);
        let mut parameters = Parameters::default();
        parameters.set(cid::STATELESS_VP8_FRAME, &control);
        describe(&parameters, (64, 32), frame)
    }

    #[test]
    fn vp8_frames_must_match_their_control() {
        let good = described(|_, _| ()).unwrap();
        assert_eq!((good.bytes, good.references), (FRAME.to_vec(), vec![]));
        let refused = |reason: &str, change: fn(&mut Vec<u8>, &mut Vec<u8>)| {
            let said = described(change).unwrap_err();
            assert!(said.contains(reason), "{reason}: {said}");
        };
        refused("says a key frame of 65x32", |_, frame| frame[6] = 65);
        refused("66x32", |control, _| {
            control[offset_of!(sys::v4l2_ctrl_vp8_frame, width)] = 66;
        });
        refused("no key frame", |control, _| {
            control[offset_of!(sys::v4l2_ctrl_vp8_frame, flags)] = 0;
        });
        refused("3 bytes by the control, and 2", |control, _| {
            control[offset_of!(sys::v4l2_ctrl_vp8_frame, first_part_size)] = 3;
        });
        refused(
            "15 bytes by its header and control, and the buffer has 14",
            |_, frame| {
                frame.truncate(14);
            },
        );
        refused("VP8 frame's header", |_, frame| frame.truncate(9));
        let none = describe(&Parameters::default(), (64, 32), FRAME.to_vec());
        assert!(
            none.unwrap_err()
                .contains("V4L2_CID_STATELESS_VP8_FRAME was never set")
        );
    }

    #[test]
    fn vp8_references_are_those_of_control() {
        let other = described(|control, frame| {
            control[offset_of!(sys::v4l2_ctrl_vp8_frame, flags)] = 0;
            frame[0] |= 1;
        });
        assert_eq!(other.unwrap().references, [0, 9, 0]);
    }
}
