use super::*;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::nal::{Nal as _, RefNal};
use rand_core::Rng as _;
use rand_pcg::Pcg32;

/// Draws random numbers to write.
struct Draw(Pcg32);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    fn byte(&mut self, limit: u32) -> u8 {
        u8::try_from(self.below(limit)).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn offset(&mut self) -> i32 {
        // Small values and the largest that the standard allows.
        match self.below(4) {
            0 => i32::MIN + 1,
            1 => i32::MAX,
            _ => self.0.next_u32().cast_signed() % 300,
        }
    }

    fn sps(&mut self) -> Sps {
        let profile_idc = [66, 77, 88, 100][self.below(4) as usize];
        let frame_mbs_only = self.flag();
        // The parser h264_reader refuses sizes that the level does not allow.
        let is_large = self.flag();
        let (level_idc, most) = match is_large {
            true => (52, (255, 143, 2)),
            false => ([30, 51, 52][self.below(3) as usize], (16, 9, 17)),
        };
        Sps {
            profile_idc,
            constraint_set_flags: self.byte(64),
            level_idc,
            seq_parameter_set_id: self.byte(32),
            chroma_format_idc: 1,
            bit_depth_luma_minus8: 0,
            bit_depth_chroma_minus8: 0,
            qpprime_y_zero_transform_bypass: profile_idc == 100 && self.flag(),
            log2_max_frame_num_minus4: self.byte(13),
            order: match self.below(3) {
                0 => PictureOrder::Lsb {
                    log2_max_pic_order_cnt_lsb_minus4: self.byte(13),
                },
                1 => PictureOrder::Expected {
                    delta_pic_order_always_zero: self.flag(),
                    offset_for_non_ref_pic: self.offset(),
                    offset_for_top_to_bottom_field: self.offset(),
                    offset_for_ref_frame: (0..self.below(256)).map(|_| self.offset()).collect(),
                },
                _ => PictureOrder::Decoding,
            },
            max_num_ref_frames: self.byte(most.2),
            gaps_in_frame_num_value_allowed: self.flag(),
            pic_width_in_mbs_minus1: self.byte(most.0).into(),
            pic_height_in_map_units_minus1: self.byte(most.1).into(),
            frame_mbs_only,
            mb_adaptive_frame_field: !frame_mbs_only && self.flag(),
            direct_8x8_inference: self.flag(),
        }
    }

    fn pps(&mut self, sps: &Sps) -> Pps {
        let high = sps.profile_idc == 100;
        let offset = |draw: &mut Self| draw.byte(25).cast_signed() - 12;
        let first = offset(self);
        Pps {
            pic_parameter_set_id: self.byte(256),
            seq_parameter_set_id: sps.seq_parameter_set_id,
            entropy_coding_mode: self.flag(),
            bottom_field_pic_order_in_frame_present: self.flag(),
            num_ref_idx_l0_default_active_minus1: self.byte(32),
            num_ref_idx_l1_default_active_minus1: self.byte(32),
            weighted_pred: self.flag(),
            weighted_bipred_idc: self.byte(3),
            pic_init_qp_minus26: self.byte(52).cast_signed() - 26,
            pic_init_qs_minus26: self.byte(52).cast_signed() - 26,
            chroma_qp_index_offset: first,
            second_chroma_qp_index_offset: if high { offset(self) } else { first },
            deblocking_filter_control_present: self.flag(),
            constrained_intra_pred: self.flag(),
            redundant_pic_cnt_present: self.flag(),
            transform_8x8_mode: high && self.flag(),
            scaling: (high && self.flag()).then(|| ScalingLists {
                lists_4x4: std::array::from_fn(|_| std::array::from_fn(|_| self.byte(255) + 1)),
                lists_8x8: std::array::from_fn(|_| std::array::from_fn(|_| self.byte(255) + 1)),
            }),
        }
    }
}

/// Passes a NAL unit to the parser h264_reader, without the start code.
fn reading(nal: &[u8]) -> RefNal<'_> {
    assert_eq!(nal[..4], [0, 0, 0, 1]);
    let body = &nal[4..];
    let codes = body
        .windows(3)
        .filter(|three| three[..2] == [0, 0] && three[2] < 3);
    assert_eq!(codes.count(), 0, "a start code within {body:x?}");
    RefNal::new(body, &[], true)
}

fn expect_sps(wanted: &Sps) -> SeqParameterSet {
    let bytes = wanted.write();
    let found = SeqParameterSet::from_bits(reading(&bytes).rbsp_bits()).unwrap();
    assert_eq!(u8::from(found.profile_idc), wanted.profile_idc);
    let constraints = u8::from(found.constraint_flags).reverse_bits();
    assert_eq!(constraints, wanted.constraint_set_flags);
    assert_eq!(found.level_idc, wanted.level_idc);
    assert_eq!(found.id().id(), wanted.seq_parameter_set_id);
    let chroma = &found.chroma_info;
    let bypass = wanted.qpprime_y_zero_transform_bypass;
    assert_eq!(chroma.qpprime_y_zero_transform_bypass_flag, bypass);
    assert_eq!(
        found.log2_max_frame_num_minus4,
        wanted.log2_max_frame_num_minus4
    );
    let order = match found.pic_order_cnt.clone() {
        PicOrderCntType::TypeZero {
            log2_max_pic_order_cnt_lsb_minus4,
        } => PictureOrder::Lsb {
            log2_max_pic_order_cnt_lsb_minus4,
        },
        PicOrderCntType::TypeOne {
            delta_pic_order_always_zero_flag,
            offset_for_non_ref_pic,
            offset_for_top_to_bottom_field,
            offsets_for_ref_frame,
        } => PictureOrder::Expected {
            delta_pic_order_always_zero: delta_pic_order_always_zero_flag,
            offset_for_non_ref_pic,
            offset_for_top_to_bottom_field,
            offset_for_ref_frame: offsets_for_ref_frame,
        },
        PicOrderCntType::TypeTwo => PictureOrder::Decoding,
    };
    assert_eq!(order, wanted.order);
    assert_eq!(found.max_num_ref_frames, wanted.max_num_ref_frames.into());
    let gaps = wanted.gaps_in_frame_num_value_allowed;
    assert_eq!(found.gaps_in_frame_num_value_allowed_flag, gaps);
    assert_eq!(
        found.pic_width_in_mbs_minus1,
        wanted.pic_width_in_mbs_minus1.into()
    );
    let height = wanted.pic_height_in_map_units_minus1.into();
    assert_eq!(found.pic_height_in_map_units_minus1, height);
    let fields = match found.frame_mbs_flags {
        FrameMbsFlags::Frames => (true, false),
        FrameMbsFlags::Fields {
            mb_adaptive_frame_field_flag,
        } => (false, mb_adaptive_frame_field_flag),
    };
    assert_eq!(
        fields,
        (wanted.frame_mbs_only, wanted.mb_adaptive_frame_field)
    );
    assert_eq!(found.direct_8x8_inference_flag, wanted.direct_8x8_inference);
    assert!(found.frame_cropping.is_none());
    let vui = found.vui_parameters.as_ref().unwrap();
    let limits = vui.bitstream_restrictions.as_ref().unwrap();
    assert_eq!(limits.max_num_reorder_frames, 0);
    found
}

#[test]
fn another_parser_reads_parameter_sets() {
    let mut draw = Draw(Pcg32::new(1, 1));
    for _ in 0..500 {
        let sps = draw.sps();
        let mut context = h264_reader::Context::default();
        context.put_seq_param_set(expect_sps(&sps));
        let wanted = draw.pps(&sps);
        let bytes = wanted.write().unwrap();
        let found = PicParameterSet::from_bits(&context, reading(&bytes).rbsp_bits()).unwrap();
        let flags = [
            (found.entropy_coding_mode_flag, wanted.entropy_coding_mode),
            (
                found.bottom_field_pic_order_in_frame_present_flag,
                wanted.bottom_field_pic_order_in_frame_present,
            ),
            (found.weighted_pred_flag, wanted.weighted_pred),
            (
                found.deblocking_filter_control_present_flag,
                wanted.deblocking_filter_control_present,
            ),
            (
                found.constrained_intra_pred_flag,
                wanted.constrained_intra_pred,
            ),
            (
                found.redundant_pic_cnt_present_flag,
                wanted.redundant_pic_cnt_present,
            ),
        ];
        assert!(
            flags.iter().all(|(found, wanted)| found == wanted),
            "{wanted:?}"
        );
        assert_eq!(found.pic_parameter_set_id.id(), wanted.pic_parameter_set_id);
        assert_eq!(found.seq_parameter_set_id.id(), wanted.seq_parameter_set_id);
        let numbers = [
            found.num_ref_idx_l0_default_active_minus1,
            found.num_ref_idx_l1_default_active_minus1,
            found.weighted_bipred_idc.into(),
        ];
        let wanted_numbers = [
            wanted.num_ref_idx_l0_default_active_minus1.into(),
            wanted.num_ref_idx_l1_default_active_minus1.into(),
            wanted.weighted_bipred_idc.into(),
        ];
        assert_eq!(numbers, wanted_numbers);
        let signed = [
            found.pic_init_qp_minus26,
            found.pic_init_qs_minus26,
            found.chroma_qp_index_offset,
        ];
        let wanted_signed = [
            wanted.pic_init_qp_minus26.into(),
            wanted.pic_init_qs_minus26.into(),
            wanted.chroma_qp_index_offset.into(),
        ];
        assert_eq!(signed, wanted_signed);
        let (transform, second) =
            found
                .extension
                .as_ref()
                .map_or((false, found.chroma_qp_index_offset), |more| {
                    (
                        more.transform_8x8_mode_flag,
                        more.second_chroma_qp_index_offset,
                    )
                });
        assert_eq!(transform, wanted.transform_8x8_mode);
        assert_eq!(second, i32::from(wanted.second_chroma_qp_index_offset));
    }
}

#[test]
fn scaling_lists_are_in_zigzag_order() {
    let small: Vec<usize> = zigzag(4).collect();
    assert_eq!(
        small,
        [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15]
    );
    let large: Vec<usize> = zigzag(8).collect();
    assert_eq!(large[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
    let mut sorted = large.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..64).collect::<Vec<_>>());
}

#[test]
fn invalid_scaling_lists_are_refused() {
    let mut lists = ScalingLists {
        lists_4x4: [[16; 16]; 6],
        lists_8x8: [[0; 64]; 2],
    };
    let pps = |lists: &ScalingLists, transform_8x8_mode| Pps {
        transform_8x8_mode,
        scaling: Some(lists.clone()),
        ..Pps::default()
    };
    // Lists for 8x8 blocks are ignored if there are no 8x8 transforms.
    assert!(pps(&lists, false).write().is_ok());
    assert!(pps(&lists, true).write().unwrap_err().contains("8x8"));
    lists.lists_4x4[5][15] = 0;
    assert!(pps(&lists, false).write().unwrap_err().contains("4x4"));
}

#[test]
fn only_slices_of_one_picture_are_accepted() {
    let pps = Pps {
        pic_parameter_set_id: 2,
        ..Pps::default()
    };
    // First macroblock 0 (code 1) or 1 (code 010), type P (code 1), parameter set 2 (code 011).
    let first = [0, 0, 1, 0x41, 0b1101_1000];
    let second = [0, 0, 0, 1, 0x41, 0b0101_0110];
    let other = [0, 0, 1, 0x41, 0b1101_0000];
    let check = |parts: &[&[u8]]| check_slices(&parts.concat(), &pps);
    assert_eq!(check(&[&first, &second]), Ok(()));
    assert_eq!(check(&[&[0, 0, 1, 9, 0x10], &first]), Ok(()));
    let refused = |parts: &[&[u8]]| check(parts).unwrap_err();
    assert!(refused(&[&first, &first]).contains("2 pictures"));
    assert!(refused(&[&other]).contains("picture parameter set 1"));
    assert!(refused(&[&first, &[0, 0, 1, 0x67, 1]]).contains("type 7"));
    assert!(refused(&[&[0, 0, 1, 0x41, 0, 0, 0]]).contains("header"));
    assert!(refused(&[]).contains("no slice"));
    assert!(refused(&[&[0x41, 0xff]]).contains("no slice"));
}
