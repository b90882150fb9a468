//! Finds the end of an H.264 access unit (ITU-T H.264, 7.4.1.2.3).

use super::Syntax;
use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::slice::{PicOrderCountLsb, SliceHeader};
use h264_reader::nal::sps::{FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal as _, NalHeader, RefNal, UnitType};

/// Length of the longest parameter set that is stored, in bytes.
const MAX_SET: usize = 4096;

/// The stream's parameter sets, which are needed to find the end of a picture.
/// Their ids allow at most 32 sequence and 256 picture parameter sets.
#[derive(Debug, Default)]
pub struct H264 {
    parsed: Context,
    /// Whether one of the sequence parameter sets allows fields.
    has_fields: bool,
}

/// A picture's id: equal in slices of one picture, different in the next picture (H.264 7.4.1.2.4).
#[derive(Debug, Default, PartialEq)]
pub struct SliceId {
    frame_num: u16,
    pps: u8,
    reference: bool,
    idr_pic_id: Option<u32>,
    order: Option<PicOrderCountLsb>,
}

impl Syntax for H264 {
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
                // If the bit is set, `first_mb_in_slice` is 0, so the slice is the first of its picture.
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

    fn has_fields(&self) -> bool {
        self.has_fields
    }

    fn take(&mut self, nal: &[u8]) -> Result<(), String> {
        let kind = nal.first().map_or(0, |header| header & 0x1f);
        if !matches!(kind, 7 | 8) {
            return Ok(());
        }
        if nal.len() > MAX_SET {
            return Err(format!("a parameter set has {} bytes", nal.len()));
        }
        let whole = RefNal::new(nal, &[], true);
        if kind == 7 {
            let sps = SeqParameterSet::from_bits(whole.rbsp_bits())
                .map_err(|e| format!("the sequence parameter set cannot be read: {e:?}"))?;
            self.has_fields |= matches!(sps.frame_mbs_flags, FrameMbsFlags::Fields { .. });
            self.parsed.put_seq_param_set(sps);
        } else {
            let pps = PicParameterSet::from_bits(&self.parsed, whole.rbsp_bits())
                .map_err(|e| format!("the picture parameter set cannot be read: {e:?}"))?;
            self.parsed.put_pic_param_set(pps);
        }
        Ok(())
    }
}

impl H264 {
    /// Returns the picture id in a slice's first bytes.
    /// `None` if the id is unreadable, or the slice belongs to a redundant coded picture.
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
}
