use super::*;
use crate::parameter_sets::bits::{nal_units, unescape};
use rand_core::Rng as _;
use rand_pcg::Pcg32;

struct Draw(Pcg32);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    fn bits(&mut self, count: u32) -> String {
        (0..count)
            .map(|_| char::from(b'0' + (self.0.next_u32() & 1) as u8))
            .collect()
    }
}

/// Returns an Exp-Golomb code as a string of bits.
fn ue(value: u32) -> String {
    let code = format!("{:b}", value + 1);
    "0".repeat(code.len() - 1) + &code
}

/// Makes a NAL unit, padded to whole bytes.
fn nal(kind: u8, bits: &str) -> Vec<u8> {
    let mut writer = BitWriter::default();
    for bit in bits.bytes() {
        writer.flag(bit == b'1');
    }
    while writer.len() % 8 != 0 {
        writer.flag(false);
    }
    writer.complete(&[kind << 1, 1])
}

fn sps(sets: u8) -> SequenceSet {
    SequenceSet {
        pic_width_in_luma_samples: 64,
        pic_height_in_luma_samples: 64,
        log2_max_pic_order_cnt_lsb_minus4: 4,
        log2_diff_max_min_luma_coding_block_size: 1,
        num_short_term_ref_pic_sets: sets,
        chroma_format_idc: 1,
        ..SequenceSet::default()
    }
}

/// Returns the NAL units of a picture after its three parameter sets.
fn slices(bytes: &[u8]) -> Vec<(u8, String)> {
    let bits = |nal: &[u8]| {
        let payload = unescape(&nal[2..]);
        payload
            .iter()
            .map(|byte| format!("{byte:08b}"))
            .collect::<String>()
    };
    let units: Vec<_> = nal_units(bytes)
        .map(|nal| (nal[0] >> 1, bits(nal)))
        .collect();
    let kinds: Vec<u8> = units.iter().map(|(kind, _)| *kind).take(3).collect();
    assert_eq!(kinds, [32, 33, 34]);
    units.into_iter().skip(3).collect()
}

/// A slice header gets its picture's references, no matter how the original header codes them.
/// The rest of the slice does not change.
#[test]
fn slices_get_the_pictures_references() {
    let mut draw = Draw(Pcg32::new(5, 5));
    for round in 0..2000 {
        let sets = draw.below(65) as u8;
        let order = draw.below(1000).cast_signed() - 500;
        // Display orders before and then after the picture, the nearest first.
        let lists = [draw.below(4), draw.below(4)].map(|count| {
            let mut last = 0;
            let steps = (0..count).map(|_| (draw.below(40), draw.below(2) == 1));
            steps
                .collect::<Vec<_>>()
                .into_iter()
                .map(move |(less, used)| {
                    last += less + 1;
                    (less, last.cast_signed(), used)
                })
                .collect::<Vec<_>>()
        });
        let set: String = ue(lists[0].len() as u32) + &ue(lists[1].len() as u32);
        let entries = lists.iter().flatten();
        let codes: Vec<_> = entries
            .map(|(less, _, used)| ue(*less) + if *used { "1" } else { "0" })
            .collect();
        let set = set + &codes.concat();
        let before = lists[0].iter().map(|(_, far, used)| (order - far, *used));
        let after = lists[1].iter().map(|(_, far, used)| (order + far, *used));
        let num_delta_pocs_of_ref_rps_idx = draw.below(5) as u8;
        let references = References {
            order,
            short_term: after.chain(before).collect(),
            num_delta_pocs_of_ref_rps_idx,
        };
        let old = match draw.below(3) {
            _ if sets == 0 => format!("0{set}"),
            0 => format!("00{set}"),
            1 => {
                let flags: Vec<_> = (0..=num_delta_pocs_of_ref_rps_idx)
                    .map(|_| ["1", "00", "01"][draw.below(3) as usize])
                    .collect();
                format!(
                    "01{}{}{}{}",
                    ue(draw.below(9)),
                    draw.bits(1),
                    ue(draw.below(9)),
                    flags.concat()
                )
            }
            _ => format!(
                "1{}",
                draw.bits(u32::from(sets).next_power_of_two().ilog2())
            ),
        };
        let extra = draw.below(8) as u8;
        let output = draw.below(2) == 1;
        let (id, kind) = (ue(3), draw.below(10) as u8);
        let middle = ue(draw.below(3)) + &draw.bits(u32::from(output)) + &draw.bits(8);
        let head = format!("1{id}{}{middle}", draw.bits(extra.into()));
        // Zeros make emulation prevention necessary.
        let rest = if draw.below(2) == 0 {
            "0".repeat(64)
        } else {
            draw.bits(64)
        };
        let rest = rest + &draw.bits((8 - (head.len() + old.len()) as u32 % 8) % 8);
        let pps = PictureSet {
            pic_parameter_set_id: 3,
            num_extra_slice_header_bits: extra,
            flags: if output {
                pps_flag::OUTPUT_FLAG_PRESENT
            } else {
                0
            },
            ..PictureSet::default()
        };
        let slice = nal(kind, &format!("{head}{old}{rest}"));
        let bytes = picture(&sps(sets), &pps, &references, &slice).unwrap();
        let wanted = (0..8).map(|extra| format!("1{id}{}{middle}0{set}{rest}", "0".repeat(extra)));
        let mut wanted = wanted.filter(|bits| bits.len() % 8 == 0);
        let wanted = match sets {
            0 => format!("{head}{old}{rest}"),
            _ => wanted.next().unwrap(),
        };
        assert_eq!(
            slices(&bytes),
            [(kind, wanted)],
            "{round}: {sets} {references:?}"
        );
    }
}

#[test]
fn slices_without_references_stay() {
    let pps = PictureSet {
        flags: pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED,
        ..PictureSet::default()
    };
    // An IDR picture, then a dependent segment at block 3 of 4.
    let (first, second) = ("10110101".to_owned(), "01111101".to_owned());
    let stream = [nal(35, "1"), nal(19, &first), nal(19, &second)].concat();
    let bytes = picture(&sps(4), &pps, &References::default(), &stream).unwrap();
    // The first slice ends with the second start code's leading zero.
    let mut slices = slices(&bytes);
    slices[0].1.truncate(first.len());
    assert_eq!(slices, [(19, first), (19, second)]);
}

#[test]
fn a_picture_has_at_most_600_segments() {
    let pps = PictureSet {
        flags: pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED,
        ..PictureSet::default()
    };
    let of = |count: usize| {
        let mut stream = nal(19, "10110101");
        stream.extend(nal(19, "01111101").repeat(count - 1));
        picture(&sps(4), &pps, &References::default(), &stream)
    };
    assert!(of(600).is_ok());
    assert!(of(601).unwrap_err().contains("at most 600"));
}

#[test]
fn what_is_no_hevc_picture_is_named() {
    let good = nal(19, "10110101");
    let with = |sps: &SequenceSet, pps: &PictureSet, references: &References, stream: &[u8]| {
        picture(sps, pps, references, stream).unwrap_err()
    };
    let of = |stream: &[u8]| {
        with(
            &sps(4),
            &PictureSet::default(),
            &References::default(),
            stream,
        )
    };
    assert!(
        picture(
            &sps(4),
            &PictureSet::default(),
            &References::default(),
            &good
        )
        .is_ok()
    );
    for (said, reason) in [
        (of(&[]), "no slice"),
        (of(&[1, 2, 3]), "no slice"),
        (of(&nal(33, "1")), "type 33"),
        (of(&[good.clone(), good.clone()].concat()), "2 pictures"),
        (of(&nal(19, "10001001")), "picture parameter set 3"),
        (of(&nal(1, "11")), "within its header"),
        (
            with(
                &SequenceSet::default(),
                &PictureSet::default(),
                &References::default(),
                &good,
            ),
            "2^3",
        ),
        (
            with(
                &SequenceSet {
                    log2_max_pic_order_cnt_lsb_minus4: 13,
                    ..sps(4)
                },
                &PictureSet::default(),
                &References::default(),
                &good,
            ),
            "17",
        ),
        (
            with(
                &sps(4),
                &PictureSet::default(),
                &References {
                    short_term: vec![(0, true)],
                    ..References::default()
                },
                &good,
            ),
            "0 places",
        ),
        (
            with(
                &sps(4),
                &PictureSet {
                    scaling: Some(ScalingFactors {
                        scaling_list_4x4: [[9; 16]; 6],
                        scaling_list_8x8: [[0; 64]; 6],
                        scaling_list_16x16: [[9; 64]; 6],
                        scaling_list_32x32: [[9; 64]; 2],
                        scaling_list_dc_coef_16x16: [9; 6],
                        scaling_list_dc_coef_32x32: [9; 2],
                    }),
                    ..PictureSet::default()
                },
                &References::default(),
                &good,
            ),
            "8x8 blocks has a 0",
        ),
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
    // Two slices of one picture whose references have 3 and 4 bits.
    let slices = [
        nal(1, "110100000000010011111111"),
        nal(1, "0100010100000000000111111111"),
    ];
    let said = of(&slices.concat());
    assert!(said.contains("different lengths"), "{said}");
}

#[test]
fn random_parameters_and_slices_do_no_harm() {
    let mut draw = Draw(Pcg32::new(7, 7));
    for _ in 0..4000 {
        let mut byte = || (draw.0.next_u32() >> 8) as u8;
        let mut some = sps(byte());
        some.log2_max_pic_order_cnt_lsb_minus4 = byte() % 15;
        some.sps_max_sub_layers_minus1 = byte();
        some.pic_width_in_luma_samples = u16::from(byte()) << 8;
        some.flags = byte().into();
        let pps = PictureSet {
            num_extra_slice_header_bits: byte() % 9,
            init_qp_minus26: byte().cast_signed(),
            flags: u64::from(byte()) << (byte() % 20),
            column_width_minus1: vec![byte(); usize::from(byte() % 20)],
            ..PictureSet::default()
        };
        let references = References {
            order: i32::MIN + i32::from(byte()),
            short_term: vec![(i32::MAX, true), (i32::from(byte()), false)],
            num_delta_pocs_of_ref_rps_idx: byte(),
        };
        let near = References {
            order: 300,
            ..references.clone()
        };
        let mut stream = vec![0, 0, 1, byte() % 44, 1];
        stream.extend((0..byte() % 40).map(|_| byte()));
        let _ = picture(&some, &pps, &references, &stream);
        let _ = picture(&some, &pps, &near, &stream);
    }
}

/// Linux has one more flag of a sequence, in bit 0.
#[test]
fn flags_have_linuxs_numbers() {
    let of_sequence = [
        sps_flag::SCALING_LIST_ENABLED,
        sps_flag::AMP_ENABLED,
        sps_flag::SAMPLE_ADAPTIVE_OFFSET,
        sps_flag::PCM_ENABLED,
        sps_flag::PCM_LOOP_FILTER_DISABLED,
        sps_flag::LONG_TERM_REF_PICS_PRESENT,
        sps_flag::TEMPORAL_MVP_ENABLED,
        sps_flag::STRONG_INTRA_SMOOTHING_ENABLED,
    ];
    assert!((1..).zip(of_sequence).all(|(bit, flag)| flag == 1 << bit));
    let of_picture = [
        pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED,
        pps_flag::OUTPUT_FLAG_PRESENT,
        pps_flag::SIGN_DATA_HIDING_ENABLED,
        pps_flag::CABAC_INIT_PRESENT,
        pps_flag::CONSTRAINED_INTRA_PRED,
        pps_flag::TRANSFORM_SKIP_ENABLED,
        pps_flag::CU_QP_DELTA_ENABLED,
        pps_flag::SLICE_CHROMA_QP_OFFSETS_PRESENT,
        pps_flag::WEIGHTED_PRED,
        pps_flag::WEIGHTED_BIPRED,
        pps_flag::TRANSQUANT_BYPASS_ENABLED,
        pps_flag::TILES_ENABLED,
        pps_flag::ENTROPY_CODING_SYNC_ENABLED,
        pps_flag::LOOP_FILTER_ACROSS_TILES_ENABLED,
        pps_flag::LOOP_FILTER_ACROSS_SLICES_ENABLED,
        pps_flag::DEBLOCKING_FILTER_OVERRIDE_ENABLED,
        pps_flag::DISABLE_DEBLOCKING_FILTER,
        pps_flag::LISTS_MODIFICATION_PRESENT,
        pps_flag::SLICE_SEGMENT_HEADER_EXTENSION_PRESENT,
        pps_flag::DEBLOCKING_FILTER_CONTROL_PRESENT,
        pps_flag::UNIFORM_SPACING,
    ];
    assert!((0..).zip(of_picture).all(|(bit, flag)| flag == 1 << bit));
}
