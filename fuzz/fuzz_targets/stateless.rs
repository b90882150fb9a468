//! Stateless decoders: requests with arbitrary controls and bytes, from which the device makes the codec
//! library's input. Each request is refused with a sentence, or its input is well-formed. The first byte
//! selects the codec.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use core::mem::offset_of;
use vb3_codec::Kind;
use vb3_devices::RequestReader;
use vb3_fuzz::random::Steps;
use vb3_v4l2::{CompoundType, sys};

/// Width and height of all pictures, unless a step changes them.
const SIZE: (u32, u32) = (64, 32);

/// Actions of a program.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// Changes a byte of a control.
    Byte { control: u8, at: u16, value: u8 },
    /// Changes a 32-bit number in a control.
    Number { control: u8, at: u16, value: u32 },
    /// Sets another number of elements in AV1's tile entries.
    Entries { count: u8 },
    /// Changes a byte of the OUTPUT buffer.
    Content { at: u16, value: u8 },
    /// Changes the length of the OUTPUT buffer.
    Len { bytes: u16 },
    /// Makes the next frames refer to the most recent picture by all of their references.
    Refer { kind: u8 },
    /// Queues a request.
    Queue,
}

#[derive(Arbitrary, Debug)]
struct Input {
    codec: u8,
    steps: Steps<Step>,
}

const CODECS: [Kind; 5] = [
    Kind::Av1StatelessDecoder,
    Kind::H264StatelessDecoder,
    Kind::HevcStatelessDecoder,
    Kind::Vp8StatelessDecoder,
    Kind::Vp9StatelessDecoder,
];

macro_rules! put {
    ($bytes:ident, $of:ident, $($($field:ident).+ = $value:expr),*) => {
        { $($bytes[offset_of!(sys::$of, $($field).+)] = $value;)* }
    };
}

/// Returns a control's value for a key frame or an intra picture of [`SIZE`].
fn first_value(of: CompoundType) -> Vec<u8> {
    let mut bytes = of.initial();
    match of {
        CompoundType::Av1Sequence => put!(
            bytes,
            v4l2_ctrl_av1_sequence,
            bit_depth = 8,
            order_hint_bits = 7,
            max_frame_width_minus_1 = 63,
            max_frame_height_minus_1 = 31
        ),
        CompoundType::Av1Frame => {
            put!(
                bytes,
                v4l2_ctrl_av1_frame,
                upscaled_width = 64,
                frame_height_minus_1 = 31,
                flags = 1,
                refresh_frame_flags = 0xff,
                primary_ref_frame = 7,
                tile_info.tile_cols = 1,
                tile_info.tile_rows = 1,
                tile_info.flags = 1
            );
            let params = offset_of!(sys::v4l2_ctrl_av1_frame, global_motion.params);
            for (reference, one) in (0..8).flat_map(|of| [(of, 2), (of, 5)]) {
                bytes[params + 24 * reference + 4 * one + 2] = 1;
            }
        }
        CompoundType::Av1TileGroupEntry => {
            put!(bytes, v4l2_ctrl_av1_tile_group_entry, tile_size = 8);
        }
        CompoundType::H264Sps => put!(
            bytes,
            v4l2_ctrl_h264_sps,
            profile_idc = 66,
            level_idc = 10,
            chroma_format_idc = 1,
            pic_width_in_mbs_minus1 = 3,
            pic_height_in_map_units_minus1 = 1,
            flags = sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY as u8
        ),
        CompoundType::HevcSps => put!(
            bytes,
            v4l2_ctrl_hevc_sps,
            chroma_format_idc = 1,
            pic_width_in_luma_samples = 64,
            pic_height_in_luma_samples = 32,
            log2_diff_max_min_luma_coding_block_size = 1
        ),
        CompoundType::Vp8Frame => put!(
            bytes,
            v4l2_ctrl_vp8_frame,
            width = 64,
            height = 32,
            first_part_size = 2,
            dct_part_sizes = 3,
            flags = 1
        ),
        CompoundType::Vp9Frame => put!(
            bytes,
            v4l2_ctrl_vp9_frame,
            frame_width_minus_1 = 63,
            frame_height_minus_1 = 31,
            uncompressed_header_size = 8,
            compressed_header_size = 1,
            flags = 0x81
        ),
        _ => {}
    }
    bytes
}

/// Returns the bytes of a key frame or of a picture's slices.
fn first_content(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::H264StatelessDecoder => vec![0, 0, 1, 0x65, 0x88, 0x84, 0x21, 0xa0, 9, 9, 9],
        Kind::HevcStatelessDecoder => vec![0, 0, 1, 0x26, 1, 0xb5, 0x5a, 9, 9, 9],
        Kind::Vp8StatelessDecoder => vec![0x50, 0, 0, 0x9d, 1, 0x2a, 64, 0, 32, 0, 1, 2, 3, 4, 5],
        Kind::Vp9StatelessDecoder => vec![0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 1, 0xf0, 7],
        _ => (0..16).collect(),
    }
}

/// A program, and the decoder that gets its requests.
struct Program {
    kind: Kind,
    reader: RequestReader,
    controls: Vec<(u32, CompoundType, Vec<u8>)>,
    content: Vec<u8>,
    /// Number of decoded pictures, which is also the timestamp of the latest one in nanoseconds.
    pictures: u64,
}

impl Program {
    fn new(kind: Kind) -> Self {
        let reader = RequestReader::new(kind).expect("a stateless codec");
        let controls = reader.controls().map(|(id, of)| (id, of, first_value(of)));
        Self {
            kind,
            controls: controls.collect(),
            reader,
            content: first_content(kind),
            pictures: 0,
        }
    }

    fn change(&mut self, control: u8, at: u16, bytes: &[u8]) {
        let which = usize::from(control) % self.controls.len();
        let value = &mut self.controls[which].2;
        let at = usize::from(at) % value.len();
        for (to, from) in value[at..].iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Byte { control, at, value } => self.change(control, at, &[value]),
            Step::Number { control, at, value } => {
                self.change(control, at, &value.to_ne_bytes());
            }
            Step::Entries { count } => self.set_entries(count.max(1).into()),
            Step::Content { at, value } => {
                let at = usize::from(at) % self.content.len().max(1);
                if let Some(byte) = self.content.get_mut(at) {
                    *byte = value;
                }
            }
            Step::Len { bytes } => self.content.resize(usize::from(bytes % 1024), 0),
            Step::Refer { kind } => self.refer(kind),
            Step::Queue => self.queue(),
        }
    }

    /// Makes `count` AV1 tiles. Each is a column of one superblock, and has the first bytes of the buffer.
    fn set_entries(&mut self, count: usize) {
        for (_, of, value) in &mut self.controls {
            if *of == CompoundType::Av1TileGroupEntry {
                let size = of.size();
                value.truncate(size);
                *value = value.repeat(count);
                for (column, entry) in value.chunks_mut(size).enumerate() {
                    entry[offset_of!(sys::v4l2_ctrl_av1_tile_group_entry, tile_col)] = column as u8;
                }
            }
        }
    }

    fn refer(&mut self, kind: u8) {
        let last = self.pictures.to_ne_bytes();
        for (_, of, value) in &mut self.controls {
            let (stamps, count) = match of {
                CompoundType::Av1Frame => {
                    put!(value, v4l2_ctrl_av1_frame, frame_type = kind % 4);
                    (offset_of!(sys::v4l2_ctrl_av1_frame, reference_frame_ts), 8)
                }
                CompoundType::Vp9Frame => (offset_of!(sys::v4l2_ctrl_vp9_frame, last_frame_ts), 3),
                CompoundType::Vp8Frame => (offset_of!(sys::v4l2_ctrl_vp8_frame, last_frame_ts), 3),
                _ => continue,
            };
            for at in 0..count {
                value[stamps + 8 * at..][..8].copy_from_slice(&last);
            }
        }
    }

    fn queue(&mut self) {
        for (id, _, value) in &self.controls {
            if let Err(sentence) = self.reader.set(*id, value) {
                assert!(!sentence.is_empty());
            }
        }
        let timestamp_ns = self.pictures + 1;
        match self.reader.read(SIZE, self.content.clone(), timestamp_ns) {
            Ok(input) => {
                self.pictures = timestamp_ns;
                self.check(&input);
            }
            Err(sentence) => assert!(!sentence.is_empty()),
        }
    }

    fn check(&self, input: &[u8]) {
        match self.kind {
            Kind::Av1StatelessDecoder => check_units(input),
            Kind::Vp8StatelessDecoder | Kind::Vp9StatelessDecoder => {
                assert_eq!(input, self.content, "the frame itself");
            }
            _ => {
                assert_eq!(input[..4], [0, 0, 0, 1], "parameter sets come first");
                assert!(input.len() > self.content.len());
            }
        }
    }
}

/// Checks that all bytes are units with lengths: a delimiter, a sequence and a frame, once or twice.
fn check_units(mut rest: &[u8]) {
    let mut kinds = Vec::new();
    while let [head, tail @ ..] = rest {
        assert_eq!(head & 0x87, 2, "a unit with its length and no extension");
        kinds.push(head >> 3);
        let end = tail
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .expect("a length")
            + 1;
        let bits = |len, (at, byte): (usize, &u8)| len | usize::from(byte & 0x7f) << (7 * at);
        let len = tail[..end].iter().enumerate().fold(0, bits);
        assert!(len <= tail.len() - end, "a unit longer than the input");
        rest = &tail[end + len..];
    }
    assert!(
        [&[2, 1, 6][..], &[2, 1, 6, 2, 1, 6]].contains(&&kinds[..]),
        "{kinds:?}"
    );
}

vb3_fuzz::target!(|input: Input| {
    let mut program = Program::new(CODECS[usize::from(input.codec) % CODECS.len()]);
    for step in input.steps.0 {
        program.step(step);
    }
    program.queue();
});
