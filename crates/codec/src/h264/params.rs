//! Parameter sets: what a stream says of itself.

use crate::job::{Colour, Rect, StreamFormat};
use crate::units::Syntax;
use crate::{MAX_HEIGHT, MAX_WIDTH};
use h264_reader::Context;
use h264_reader::nal::pps::{PicParamSetId, PicParameterSet};
use h264_reader::nal::slice::{PicOrderCountLsb, SliceHeader};
use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal as _, NalHeader, RefNal, UnitType};
use h264_reader::rbsp::BitRead as _;
use std::collections::BTreeMap;

/// Bytes of a slice within which lies its type.
const HEAD: usize = 16;
/// Longest parameter set that is kept, in bytes.
const MAX_SET: usize = 4096;

/// The parameter sets of a stream so far, by which it is cut into access units. Ids bound their
/// number: 32 and 256.
#[derive(Debug, Default)]
pub struct Params {
    parsed: Context,
    /// NAL units as they came, for a decoder that begins anew.
    sps: BTreeMap<u8, Vec<u8>>,
    pps: BTreeMap<u8, Vec<u8>>,
    /// A tool of a slice since [`take_inexact`](Self::take_inexact) was called.
    inexact: Option<Tool>,
}

/// What tells slices of one picture from those of the next (H.264 7.4.1.2.4).
#[derive(Debug, PartialEq)]
pub struct SliceId {
    frame_num: u16,
    pps: u8,
    reference: bool,
    idr_pic_id: Option<u32>,
    order: Option<PicOrderCountLsb>,
}

/// A coding tool that openh264 does not decode bit by bit as the standard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// B slices. Direct prediction goes wrong there, and nothing before the macroblocks says whether
    /// they use it.
    BSlices,
    /// SP and SI slices, of the Extended profile.
    SwitchingSlices,
    /// Slices in three partitions, of the Extended profile.
    DataPartitions,
}

impl Tool {
    /// Why a stream that uses it is refused, and what to do.
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::BSlices => {
                "the stream has B pictures, which openh264 does not always decode exactly: it is \
                 refused from the first one on; put vb3-codec (libavcodec) beside vb3, or encode without (x264: bframes=0)"
            }
            Self::SwitchingSlices => {
                "the stream has SP or SI slices, which openh264 does not decode"
            }
            Self::DataPartitions => {
                "the stream has data partitions, which openh264 does not decode"
            }
        }
    }
}

/// The tool in a NAL unit that is not decoded exactly, from its first bytes.
fn inexact(nal: &[u8]) -> Option<Tool> {
    match nal.first()? & 0x1f {
        1 | 5 => {
            let part = RefNal::new(nal, &[], true);
            let mut bits = part.rbsp_bits();
            bits.read_ue("first_mb_in_slice").ok()?;
            match bits.read_ue("slice_type").ok()? % 5 {
                1 => Some(Tool::BSlices),
                3 | 4 => Some(Tool::SwitchingSlices),
                _ => None,
            }
        }
        2..=4 => Some(Tool::DataPartitions),
        _ => None,
    }
}

impl Syntax for Params {
    type SliceId = SliceId;

    fn is_slice(&self, nal: &[u8]) -> bool {
        nal.first()
            .is_some_and(|header| matches!(header & 0x1f, 1..=5))
    }

    fn is_key(&self, nal: &[u8]) -> bool {
        let kind = nal.first().and_then(|header| NalHeader::new(*header).ok());
        kind.is_some_and(|k| k.nal_unit_type() == UnitType::SliceLayerWithoutPartitioningIdr)
    }

    fn slice_id(&self, nal: &[u8]) -> Option<SliceId> {
        self.slice(nal)
    }

    fn begins(&self, first: Option<&SliceId>, nal: &[u8]) -> bool {
        match nal.first().map_or(0, |header| header & 0x1f) {
            1 | 5 => match (first, self.slice(nal)) {
                (Some(id), Some(other)) => *id != other,
                // The first macroblock's number is 0.
                _ => nal.get(1).is_some_and(|byte| byte & 0x80 != 0),
            },
            6..=9 | 15..=18 => true,
            _ => false,
        }
    }

    fn could_begin(&self, nal: &[u8]) -> bool {
        match nal {
            [header, first, ..] if self.is_slice(&[*header]) => first & 0x80 != 0,
            _ => true,
        }
    }

    fn take(&mut self, nal: &[u8]) -> Result<(), String> {
        let kind = nal.first().map_or(0, |header| header & 0x1f);
        if !matches!(kind, 7 | 8) {
            let head = nal.get(..nal.len().min(HEAD)).unwrap_or_default();
            self.inexact = self.inexact.or_else(|| inexact(head));
            return Ok(());
        }
        if nal.len() > MAX_SET {
            return Err(format!("a parameter set has {} bytes", nal.len()));
        }
        let whole = RefNal::new(nal, &[], true);
        if kind == 7 {
            let sps = SeqParameterSet::from_bits(whole.rbsp_bits())
                .map_err(|e| format!("the sequence parameter set cannot be read: {e:?}"))?;
            self.sps.insert(sps.id().id(), nal.to_vec());
            self.parsed.put_seq_param_set(sps);
        } else {
            let pps = PicParameterSet::from_bits(&self.parsed, whole.rbsp_bits())
                .map_err(|e| format!("the picture parameter set cannot be read: {e:?}"))?;
            self.pps.insert(pps.pic_parameter_set_id.id(), nal.to_vec());
            self.parsed.put_pic_param_set(pps);
        }
        Ok(())
    }
}

impl Params {
    /// The tool that openh264 does not decode exactly in a slice taken since the last call.
    pub(super) fn take_inexact(&mut self) -> Option<Tool> {
        self.inexact.take()
    }

    /// All parameter sets as a byte stream.
    pub(super) fn stream(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for set in self.sps.values().chain(self.pps.values()) {
            stream.extend([0, 0, 0, 1]);
            stream.extend(set);
        }
        stream
    }

    /// What a slice says of its picture, from its first bytes; `None` if it cannot be read or
    /// belongs to a redundant picture.
    fn slice(&self, nal: &[u8]) -> Option<SliceId> {
        let header = NalHeader::new(*nal.first()?).ok()?;
        let part = RefNal::new(nal, &[], true);
        let (slice, _, pps) =
            SliceHeader::from_bits(&self.parsed, &mut part.rbsp_bits(), header, None).ok()?;
        if slice.redundant_pic_cnt.is_some_and(|count| count > 0) {
            return None;
        }
        Some(SliceId {
            frame_num: slice.frame_num,
            pps: pps.pic_parameter_set_id.id(),
            reference: header.nal_ref_idc() != 0,
            idr_pic_id: slice.idr_pic_id,
            order: slice.pic_order_cnt_lsb,
        })
    }

    /// The format of the picture of a slice that begins so, or why openh264 does not decode it;
    /// `None` without its parameter sets.
    #[must_use]
    pub fn format(&self, slice: &[u8]) -> Option<Result<StreamFormat, String>> {
        let (_, sps) = self.of_slice(slice)?;
        Some(format(sps))
    }

    /// The sequence parameter set that a slice uses, as it came and read.
    pub(super) fn of_slice(&self, nal: &[u8]) -> Option<(&[u8], &SeqParameterSet)> {
        let part = RefNal::new(nal, &[], true);
        let mut bits = part.rbsp_bits();
        bits.read_ue("first_mb_in_slice").ok()?;
        bits.read_ue("slice_type").ok()?;
        let id = PicParamSetId::from_u32(bits.read_ue("pic_parameter_set_id").ok()?).ok()?;
        let pps = self.parsed.pps_by_id(id)?;
        let sps = self.parsed.sps_by_id(pps.seq_parameter_set_id)?;
        Some((self.sps.get(&sps.id().id())?, sps))
    }
}

/// The format of pictures, or why they cannot be decoded.
pub(super) fn format(sps: &SeqParameterSet) -> Result<StreamFormat, String> {
    let macroblocks = |minus1: u32| minus1.checked_add(1).and_then(|n| n.checked_mul(16));
    let width = macroblocks(sps.pic_width_in_mbs_minus1).unwrap_or(u32::MAX);
    let height = macroblocks(sps.pic_height_in_map_units_minus1).unwrap_or(u32::MAX);
    if width > MAX_WIDTH || height > MAX_HEIGHT {
        return Err(format!(
            "pictures of {width}x{height} are larger than {MAX_WIDTH}x{MAX_HEIGHT}"
        ));
    }
    if !matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames) {
        return Err("openh264 does not decode interlaced pictures".to_owned());
    }
    let profile = u8::from(sps.profile_idc);
    if !matches!(profile, 66 | 77 | 100) {
        return Err(format!(
            "openh264 decodes the Baseline, Main and High profiles, not profile_idc {profile}"
        ));
    }
    let chroma = &sps.chroma_info;
    let deep = chroma.bit_depth_luma_minus8 != 0 || chroma.bit_depth_chroma_minus8 != 0;
    if chroma.chroma_format != ChromaFormat::YUV420 || deep {
        return Err(format!(
            "openh264 decodes 8-bit 4:2:0 only, not {:?} with {} bits",
            chroma.chroma_format,
            u32::from(chroma.bit_depth_luma_minus8) + 8,
        ));
    }
    let visible = visible(sps, width, height).ok_or_else(|| {
        let crop = &sps.frame_cropping;
        format!("the cropping {crop:?} leaves nothing of {width}x{height}")
    })?;
    Ok(StreamFormat {
        coded_width: width,
        coded_height: height,
        visible,
        colour: colour(sps),
        held_back: held_back(sps),
        bits: 8,
        profile: sps.profile_idc.into(),
        level: sps.level_idc,
    })
}

fn visible(sps: &SeqParameterSet, width: u32, height: u32) -> Option<Rect> {
    let Some(crop) = &sps.frame_cropping else {
        return Some(Rect {
            left: 0,
            top: 0,
            width,
            height,
        });
    };
    // 4:2:0 frames are cropped in steps of two.
    let left = crop.left_offset.checked_mul(2)?;
    let right = crop.right_offset.checked_mul(2)?;
    let top = crop.top_offset.checked_mul(2)?;
    let bottom = crop.bottom_offset.checked_mul(2)?;
    let width = width.checked_sub(left)?.checked_sub(right)?;
    let height = height.checked_sub(top)?.checked_sub(bottom)?;
    (width > 0 && height > 0).then_some(Rect {
        left,
        top,
        width,
        height,
    })
}

fn colour(sps: &SeqParameterSet) -> Colour {
    let vui = sps.vui_parameters.as_ref();
    let Some(signal) = vui.and_then(|vui| vui.video_signal_type.as_ref()) else {
        return Colour::default();
    };
    let mut colour = Colour {
        full_range: signal.video_full_range_flag,
        ..Colour::default()
    };
    if let Some(points) = &signal.colour_description {
        colour.primaries = points.colour_primaries;
        colour.transfer = points.transfer_characteristics;
        colour.matrix = points.matrix_coefficients;
    }
    colour
}

/// openh264 gives pictures of the baseline profile at once, and holds at least one of the others.
fn held_back(sps: &SeqParameterSet) -> u32 {
    if u8::from(sps.profile_idc) == 66 {
        return 0;
    }
    let vui = sps.vui_parameters.as_ref();
    let said = vui
        .and_then(|vui| vui.bitstream_restrictions.as_ref())
        .map(|limits| limits.max_num_reorder_frames);
    said.unwrap_or(sps.max_num_ref_frames).clamp(1, 16)
}
