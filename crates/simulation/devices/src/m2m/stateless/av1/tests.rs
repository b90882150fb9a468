use super::control::at;
use super::*;
use core::mem::offset_of;
use vb3_v4l2::{CompoundType, sys};

/// Controls of a shown key frame of 64x32 with one tile of 3 bytes.
struct Controls {
    sequence: Vec<u8>,
    frame: Vec<u8>,
    entries: Vec<u8>,
    content: Vec<u8>,
    slots: Slots,
}

impl Controls {
    fn new() -> Self {
        use sys::v4l2_ctrl_av1_sequence as Sequence;
        let mut sequence = CompoundType::Av1Sequence.initial();
        sequence[offset_of!(Sequence, bit_depth)] = 8;
        sequence[offset_of!(Sequence, max_frame_width_minus_1)] = 63;
        sequence[offset_of!(Sequence, max_frame_height_minus_1)] = 31;
        sequence[offset_of!(Sequence, order_hint_bits)] = 7;
        let mut frame = CompoundType::Av1Frame.initial();
        frame[at!(upscaled_width)] = 64;
        frame[at!(frame_height_minus_1)] = 31;
        frame[at!(flags)] = 1;
        frame[at!(refresh_frame_flags)] = 0xff;
        frame[at!(tile_info.tile_cols)] = 1;
        frame[at!(tile_info.tile_rows)] = 1;
        frame[at!(tile_info.flags)] = 1;
        for one in [2, 5] {
            for reference in 0..8 {
                frame[at!(global_motion.params) + 24 * reference + 4 * one + 2] = 1;
            }
        }
        let mut entries = CompoundType::Av1TileGroupEntry.initial();
        entries[0] = 1;
        entries[4] = 3;
        Self {
            sequence,
            frame,
            entries,
            content: vec![9, 1, 2, 3],
            slots: Slots::default(),
        }
    }

    /// Makes the controls of an inter frame. All slots have the frame with this timestamp.
    fn after(slots: Slots, timestamp_ns: u8) -> Self {
        let mut controls = Self::new();
        controls.slots = slots;
        controls.frame[at!(frame_type)] = 1;
        controls.frame[at!(primary_ref_frame)] = 7;
        for slot in 0..8 {
            controls.frame[at!(reference_frame_ts) + 8 * slot] = timestamp_ns;
        }
        controls
    }

    fn described(&self) -> Result<Input, String> {
        let mut parameters = Parameters::default();
        parameters.set(cid::STATELESS_AV1_SEQUENCE, &self.sequence);
        parameters.set(cid::STATELESS_AV1_FRAME, &self.frame);
        parameters.set(cid::STATELESS_AV1_TILE_GROUP_ENTRY, &self.entries);
        parameters.slots = self.slots.clone();
        describe(&parameters, (64, 32), self.content.clone())
    }

    /// Returns the slots after this frame, which has the given timestamp.
    fn decoded(&self, timestamp_ns: u64) -> Slots {
        let input = self.described().unwrap();
        let mut slots = self.slots.clone();
        slots.advance(input.update.unwrap(), timestamp_ns);
        slots
    }
}

fn refused(reason: &str, change: impl Fn(&mut Controls)) {
    let mut controls = Controls::new();
    change(&mut controls);
    let said = controls.described().unwrap_err();
    assert!(said.contains(reason), "{reason}: {said}");
}

#[test]
fn av1_headers_precede_tiles() {
    let input = Controls::new().described().unwrap();
    assert!(input.references.is_empty());
    // A temporal delimiter, a sequence header and a frame.
    assert_eq!(input.bytes[..3], [0x12, 0, 0x0a]);
    let frame = 4 + usize::from(input.bytes[3]);
    assert_eq!(input.bytes[frame], 0x32);
    assert_eq!(input.bytes.last_chunk(), Some(&[1, 2, 3]));
}

#[test]
fn av1_controls_must_agree() {
    refused("pictures of 65x32", |controls| {
        controls.frame[at!(upscaled_width)] = 65
    });
    refused("pictures of 4294967295x32", |controls| {
        controls.frame[at!(upscaled_width)..][..4].fill(0xff);
    });
    refused("profile 0 with 10 bits", |controls| {
        controls.sequence[offset_of!(sys::v4l2_ctrl_av1_sequence, bit_depth)] = 10;
    });
    refused("1x2 tiles", |controls| {
        controls.frame[at!(tile_info.tile_rows)] = 2
    });
    refused("2 superblocks together, and the frame has 1", |controls| {
        controls.frame[at!(tile_info.width_in_sbs_minus_1)] = 1;
    });
    refused("row 1 and column 0", |controls| controls.entries[8] = 1);
    refused("has 4 bytes from byte 1 on", |controls| {
        controls.entries[4] = 4
    });
    refused("tile 0 has no bytes", |controls| controls.entries[4] = 0);
    refused("type 4", |controls| controls.frame[at!(frame_type)] = 4);
    refused("reference 8", |controls| {
        controls.frame[at!(primary_ref_frame)] = 8
    });
    refused("slot 0 has no frame", |controls| {
        controls.frame[at!(frame_type)] = 1
    });
    let none = describe(&Parameters::default(), (64, 32), Vec::new());
    assert!(
        none.unwrap_err()
            .contains("V4L2_CID_STATELESS_AV1_SEQUENCE was never set")
    );
}

#[test]
fn av1_tiles_do_not_overlap() {
    let (content, entry) = ([0; 8], |column| [0, 8, 0, column]);
    assert!(tiles((1, 1), &[entry(0)], &content).is_ok());
    let said = tiles((2, 1), &[entry(0), entry(1)], &content).unwrap_err();
    assert!(said.starts_with("tiles overlap"), "{said}");
}

#[test]
fn av1_slots_follow_decoded_frames() {
    let slots = Controls::new().decoded(5);
    let mut next = Controls::after(slots, 5);
    next.frame[at!(ref_frame_idx) + 6] = 4;
    assert_eq!(next.described().unwrap().references, [5; 7]);
    // The frame refreshes one slot.
    next.frame[at!(refresh_frame_flags)] = 1 << 4;
    let slots = next.decoded(6);
    let mut last = Controls::after(slots.clone(), 5);
    last.frame[at!(ref_frame_idx) + 6] = 4;
    let said = last.described().unwrap_err();
    assert!(
        said.contains("slot 4 has the frame with timestamp 6 ns"),
        "{said}"
    );
    last.frame[at!(reference_frame_ts) + 8 * 4] = 6;
    assert_eq!(last.described().unwrap().references[6], 6);
    last.frame[at!(ref_frame_idx)] = 9;
    assert!(last.described().unwrap_err().contains("is in slot 9"));
    last.frame[at!(ref_frame_idx)] = 0;
    last.slots.forget(6);
    assert!(
        last.described()
            .unwrap_err()
            .contains("slot 4 has no frame")
    );
    // A frame of another sequence has no references.
    last.slots = slots;
    last.sequence[0] = 1;
    assert!(
        last.described()
            .unwrap_err()
            .contains("slot 0 has no frame")
    );
}

/// The program shows a hidden key frame again without the device. Only the next frame's references reveal it.
#[test]
fn av1_key_frame_shown_again_fills_all_slots() {
    let slots = Controls::new().decoded(5);
    let mut hidden = Controls::new();
    hidden.slots = slots;
    hidden.frame[at!(flags)] = 0;
    hidden.frame[at!(refresh_frame_flags)] = 1;
    let slots = hidden.decoded(6);
    let next = Controls::after(slots.clone(), 6);
    let input = next.described().unwrap();
    // The input begins with the key frame.
    let delimiters = input
        .bytes
        .windows(3)
        .filter(|bytes| bytes == &[0x12, 0, 0x0a]);
    assert_eq!(delimiters.count(), 2);
    let slots = next.decoded(7);
    let after = Controls::after(slots, 7).described().unwrap();
    assert_eq!(after.references, [7; 7]);
    // If it is not shown again, the key frame is only in its own slot.
    let mut other = Controls::after(hidden.decoded(6), 5);
    other.frame[at!(reference_frame_ts)] = 6;
    assert_eq!(other.described().unwrap().references, [6; 7]);
}

#[test]
fn other_av1_samples_cannot_be_set() {
    let mut sequence = Controls::new().sequence;
    assert_eq!(check(cid::STATELESS_AV1_SEQUENCE, &sequence), Ok(()));
    sequence[offset_of!(sys::v4l2_ctrl_av1_sequence, bit_depth)] = 10;
    assert!(check(cid::STATELESS_AV1_SEQUENCE, &sequence).is_err());
    let initial = CompoundType::Av1Sequence.initial();
    assert_eq!(
        initial[offset_of!(sys::v4l2_ctrl_av1_sequence, bit_depth)],
        8
    );
    assert_eq!(check(cid::STATELESS_AV1_SEQUENCE, &initial), Ok(()));
    assert_eq!(check(cid::STATELESS_AV1_FILM_GRAIN, &[0; 12]), Ok(()));
}

proptest::proptest! {
    /// Random changes of good controls cause no panic, even if Linux would refuse the values.
    #[test]
    fn random_av1_controls_do_no_harm(
        changes in proptest::collection::vec((0..2000_usize, proptest::num::u8::ANY), 0..20),
        grain in proptest::collection::vec(proptest::num::u8::ANY, 194),
        is_inter in proptest::bool::ANY,
        flags in proptest::num::u32::ANY,
    ) {
        let mut controls = match is_inter {
            true => Controls::after(Controls::new().decoded(5), 5),
            false => Controls::new(),
        };
        let sequence_flags = flags & 0xf_bfff;
        controls.sequence[..4].copy_from_slice(&sequence_flags.to_ne_bytes());
        controls.slots.advance(
            Controls { sequence: controls.sequence.clone(), ..Controls::new() }
                .described().unwrap().update.unwrap(),
            5,
        );
        for (at, value) in changes {
            let len = controls.frame.len();
            controls.frame[at % len] = value;
        }
        let mut parameters = Parameters::default();
        parameters.set(cid::STATELESS_AV1_SEQUENCE, &controls.sequence);
        parameters.set(cid::STATELESS_AV1_FRAME, &controls.frame);
        parameters.set(cid::STATELESS_AV1_TILE_GROUP_ENTRY, &controls.entries);
        parameters.set(cid::STATELESS_AV1_FILM_GRAIN, &grain);
        parameters.slots = controls.slots;
        let _ = describe(&parameters, (64, 32), controls.content);
    }
}
