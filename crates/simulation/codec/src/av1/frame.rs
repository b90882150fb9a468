//! Sequence and frame headers (AV1, 5.5 and 5.9.2), followed by tiles.

use super::bits::{DELIMITER, FRAME, SEQUENCE, put_signed, unit};
use super::order::is_skip_mode_allowed;
use super::{
    FrameHeader, Motion, SLOTS, Sequence, frame_flag, frame_type, grain, motion, sequence_flag,
    tiles,
};
use crate::parameter_sets::bits::BitWriter;

/// `PRIMARY_REF_NONE`.
const NO_REFERENCE: u8 = 7;
/// Smallest value of `superres_denom`. The coded width is 8 / `superres_denom` of the full width.
const LEAST_DENOMINATOR: u8 = 9;

/// State that the decoding library keeps from earlier frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The order hint of the frame in each slot; 0 in an empty one.
    pub order_hints: [u32; SLOTS],
    /// The global motion parameters of the frame that `primary_ref_frame` selects; the defaults if it selects
    /// none.
    pub motion: Motion,
}

impl FrameHeader {
    /// Returns whether the frame has no references.
    #[must_use]
    pub const fn is_intra(&self) -> bool {
        matches!(self.frame_type, frame_type::KEY | frame_type::INTRA_ONLY)
    }

    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Returns whether the frame always replaces all reference slots.
    const fn replaces_all(&self) -> bool {
        match self.frame_type {
            frame_type::KEY => self.has(frame_flag::SHOW_FRAME),
            kind => kind == frame_type::SWITCH,
        }
    }

    /// Returns whether the frame can be decoded after earlier frames were lost.
    const fn is_resilient(&self) -> bool {
        self.replaces_all() || self.has(frame_flag::ERROR_RESILIENT_MODE)
    }

    /// Returns whether the frame's parameters start from the defaults, not from those of a reference.
    #[must_use]
    pub const fn has_no_primary(&self) -> bool {
        self.is_intra() || self.is_resilient() || self.primary_ref_frame == NO_REFERENCE
    }

    /// Returns the frame's width before it is scaled up.
    const fn coded_width(&self) -> u32 {
        // CAST: widening.
        let denominator = self.superres_denom as u32;
        if self.has(frame_flag::USE_SUPERRES) && denominator != 0 {
            self.upscaled_width
                .saturating_mul(8)
                .saturating_add(denominator / 2)
                / denominator
        } else {
            self.upscaled_width
        }
    }
}

impl Sequence {
    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn header(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        // Profile 0, no reduced header, no timing, one operating point without limits.
        bits.put(0, 3);
        bits.flag(self.has(sequence_flag::STILL_PICTURE));
        bits.put(0, 3 + 5 + 12);
        bits.put(31, 5);
        bits.put(0, 1);
        // Sizes have 16 bits.
        bits.put(0xff, 8);
        bits.put(self.max_frame_width_minus_1.into(), 16);
        bits.put(self.max_frame_height_minus_1.into(), 16);
        // No frame numbers.
        bits.put(0, 1);
        for flag in [
            sequence_flag::USE_128X128_SUPERBLOCK,
            sequence_flag::ENABLE_FILTER_INTRA,
            sequence_flag::ENABLE_INTRA_EDGE_FILTER,
            sequence_flag::ENABLE_INTERINTRA_COMPOUND,
            sequence_flag::ENABLE_MASKED_COMPOUND,
            sequence_flag::ENABLE_WARPED_MOTION,
            sequence_flag::ENABLE_DUAL_FILTER,
            sequence_flag::ENABLE_ORDER_HINT,
        ] {
            bits.flag(self.has(flag));
        }
        if self.has(sequence_flag::ENABLE_ORDER_HINT) {
            bits.flag(self.has(sequence_flag::ENABLE_JNT_COMP));
            bits.flag(self.has(sequence_flag::ENABLE_REF_FRAME_MVS));
        }
        // Each frame says whether it uses screen content tools, and whether its motion vectors are whole
        // samples.
        bits.put(0b11, 2);
        if self.has(sequence_flag::ENABLE_ORDER_HINT) {
            bits.put(self.order_hint_bits.saturating_sub(1).into(), 3);
        }
        bits.flag(self.has(sequence_flag::ENABLE_SUPERRES));
        bits.flag(self.has(sequence_flag::ENABLE_CDEF));
        bits.flag(self.has(sequence_flag::ENABLE_RESTORATION));
        // 8 bits, with colour, no colour description. The position of chroma is unknown.
        bits.put(0, 3);
        bits.flag(self.has(sequence_flag::COLOR_RANGE));
        bits.put(0, 2);
        bits.flag(self.has(sequence_flag::SEPARATE_UV_DELTA_Q));
        bits.flag(self.has(sequence_flag::FILM_GRAIN_PARAMS_PRESENT));
        bits.flag(true);
        unit(SEQUENCE, &bits.into_bytes())
    }
}

/// Writes a sequence header, then a frame's header and its tiles in raster order.
///
/// # Errors
/// Returns a message about values that no header can have.
pub fn frame(
    sequence: &Sequence,
    frame: &FrameHeader,
    known: &Known,
    tiles: &[&[u8]],
) -> Result<Vec<u8>, String> {
    let mut bits = BitWriter::default();
    Header {
        sequence,
        frame,
        known,
    }
    .put(&mut bits)?;
    let mut content = bits.into_bytes();
    if tiles.len() > 1 {
        // One tile group with all tiles of the frame.
        content.push(0);
    }
    for (at, tile) in tiles.iter().enumerate() {
        let less_one = u32::try_from(tile.len())
            .ok()
            .and_then(|len| len.checked_sub(1));
        let less_one = less_one.ok_or_else(|| format!("tile {at} has no bytes"))?;
        if at + 1 < tiles.len() {
            content.extend(less_one.to_le_bytes());
        }
        content.extend(*tile);
    }
    Ok([&DELIMITER, &sequence.header()[..], &unit(FRAME, &content)].concat())
}

/// A frame's header.
struct Header<'a> {
    sequence: &'a Sequence,
    frame: &'a FrameHeader,
    known: &'a Known,
}

impl Header<'_> {
    fn put(&self, bits: &mut BitWriter) -> Result<(), String> {
        let (sequence, frame) = (self.sequence, self.frame);
        // This header codes a new frame, and does not show an earlier one again.
        bits.put(0, 1);
        bits.put(frame.frame_type.into(), 2);
        if !bits.flag(frame.has(frame_flag::SHOW_FRAME)) {
            // The frame may be shown later.
            bits.flag(true);
        }
        if !frame.replaces_all() {
            bits.flag(frame.is_resilient());
        }
        bits.flag(frame.has(frame_flag::DISABLE_CDF_UPDATE));
        if bits.flag(frame.has(frame_flag::ALLOW_SCREEN_CONTENT_TOOLS)) {
            bits.flag(frame.has(frame_flag::FORCE_INTEGER_MV));
        }
        let is_other_size = (frame.upscaled_width, frame.frame_height)
            != (
                u32::from(sequence.max_frame_width_minus_1) + 1,
                u32::from(sequence.max_frame_height_minus_1) + 1,
            );
        if frame.frame_type != frame_type::SWITCH {
            bits.flag(is_other_size);
        }
        let is_other_size = is_other_size || frame.frame_type == frame_type::SWITCH;
        self.put_hint(bits, frame.order_hint);
        if !frame.is_intra() && !frame.is_resilient() {
            bits.put(frame.primary_ref_frame.into(), 3);
        }
        if !frame.replaces_all() {
            bits.put(frame.refresh_frame_flags.into(), 8);
        }
        let keeps = !frame.is_intra() || !frame.replaces_all() && frame.refresh_frame_flags != 0xff;
        if keeps && frame.is_resilient() {
            for hint in self.known.order_hints {
                self.put_hint(bits, hint);
            }
        }
        if frame.is_intra() {
            self.put_size(bits, is_other_size)?;
            let is_scaled = frame.coded_width() != frame.upscaled_width;
            if frame.has(frame_flag::ALLOW_SCREEN_CONTENT_TOOLS) && !is_scaled {
                bits.flag(frame.has(frame_flag::ALLOW_INTRABC));
            }
        } else {
            self.put_references(bits, is_other_size)?;
        }
        if !frame.has(frame_flag::DISABLE_CDF_UPDATE) {
            bits.flag(frame.has(frame_flag::DISABLE_FRAME_END_UPDATE_CDF));
        }
        self.put_tiles(bits)?;
        self.put_quantization(bits);
        self.put_segmentation(bits);
        self.put_block_deltas(bits);
        self.put_filters(bits)?;
        self.put_modes(bits);
        if !frame.is_intra() {
            let has_high_precision = frame.has_high_precision();
            motion::put(bits, &frame.motion, &self.known.motion, has_high_precision)?;
        }
        if sequence.has(sequence_flag::FILM_GRAIN_PARAMS_PRESENT) {
            grain::put(
                bits,
                frame.film_grain.as_ref(),
                frame.frame_type == frame_type::INTER,
            );
        }
        Ok(())
    }

    fn put_hint(&self, bits: &mut BitWriter, hint: u32) {
        if self.sequence.has(sequence_flag::ENABLE_ORDER_HINT) {
            let count = self.sequence.order_hint_bits.clamp(1, 8);
            bits.put(hint.into(), count.into());
        }
    }

    /// Writes the size of a frame. Its size for display is the same.
    fn put_size(&self, bits: &mut BitWriter, is_other_size: bool) -> Result<(), String> {
        let frame = self.frame;
        let (width, height) = (frame.upscaled_width, frame.frame_height);
        if !matches!((width, height), (1..=0x1_0000, 1..=0x1_0000)) {
            return Err(format!("frames of {width}x{height} are not possible"));
        }
        if is_other_size {
            bits.put(u64::from(width) - 1, 16);
            bits.put(u64::from(height) - 1, 16);
        }
        let is_scaled = frame.has(frame_flag::USE_SUPERRES);
        let denominator = frame.superres_denom;
        let has_flag = self.sequence.has(sequence_flag::ENABLE_SUPERRES);
        if is_scaled && !(has_flag && matches!(denominator, LEAST_DENOMINATOR..=16)) {
            return Err(format!(
                "the frame's width is scaled up from 8/{denominator}; 8/9 to 8/16 are possible, in \
                 sequences that enable it"
            ));
        }
        if has_flag {
            bits.flag(is_scaled);
        }
        if is_scaled {
            bits.put(u64::from(denominator - LEAST_DENOMINATOR), 3);
        }
        bits.flag(false);
        Ok(())
    }

    fn put_references(&self, bits: &mut BitWriter, is_other_size: bool) -> Result<(), String> {
        let (sequence, frame) = (self.sequence, self.frame);
        if sequence.has(sequence_flag::ENABLE_ORDER_HINT) {
            bits.flag(false);
        }
        for index in frame.ref_frame_idx {
            bits.put(index.into(), 3);
        }
        if is_other_size && !frame.is_resilient() {
            // The size is not copied from any of the seven references.
            bits.put(0, 7);
        }
        self.put_size(bits, is_other_size)?;
        if !frame.has_integer_vectors() {
            bits.flag(frame.has(frame_flag::ALLOW_HIGH_PRECISION_MV));
        }
        match frame.interpolation_filter {
            4 => bits.put(1, 1),
            filter @ 0..4 => bits.put(filter.into(), 3),
            filter => {
                return Err(format!(
                    "there is no interpolation filter {filter}; 4 is the last"
                ));
            }
        }
        bits.flag(frame.has(frame_flag::IS_MOTION_MODE_SWITCHABLE));
        let has_vectors = sequence.has(sequence_flag::ENABLE_ORDER_HINT)
            && sequence.has(sequence_flag::ENABLE_REF_FRAME_MVS);
        if has_vectors && !frame.is_resilient() {
            bits.flag(frame.has(frame_flag::USE_REF_FRAME_MVS));
        }
        Ok(())
    }

    fn put_tiles(&self, bits: &mut BitWriter) -> Result<(), String> {
        let is_large = self.sequence.has(sequence_flag::USE_128X128_SUPERBLOCK);
        let shift = 6 + u32::from(is_large);
        // The size is rounded up to whole blocks of 8x8.
        let count = |length: u32| length.next_multiple_of(8).div_ceil(1 << shift);
        let size = (
            count(self.frame.coded_width()),
            count(self.frame.frame_height),
        );
        tiles::put(bits, &self.frame.tiles, size, shift)
    }

    /// Returns whether V has other quantisers than U.
    const fn is_v_separate(&self) -> bool {
        self.sequence.has(sequence_flag::SEPARATE_UV_DELTA_Q)
            && self.frame.quantization.flags & 1 != 0
    }

    /// Returns whether all segments are lossless.
    fn is_lossless(&self) -> bool {
        let (q, segmentation) = (&self.frame.quantization, &self.frame.segmentation);
        let index = |segment: usize| {
            let base = i16::from(q.base_q_idx);
            let data = segmentation.feature_data[segment][0];
            let is_enabled = segmentation.feature_enabled[segment] & 1 != 0;
            if segmentation.flags & 1 != 0 && is_enabled {
                base.saturating_add(data).clamp(0, 255)
            } else {
                base
            }
        };
        [q.delta_q_y_dc, q.delta_q_u_dc, q.delta_q_u_ac] == [0; 3]
            && (!self.is_v_separate() || [q.delta_q_v_dc, q.delta_q_v_ac] == [0; 2])
            && (0..8).all(|segment| index(segment) == 0)
    }

    fn put_quantization(&self, bits: &mut BitWriter) {
        let q = &self.frame.quantization;
        let delta = |bits: &mut BitWriter, value: i8| {
            if bits.flag(value != 0) {
                put_signed(bits, value.into(), 7);
            }
        };
        bits.put(q.base_q_idx.into(), 8);
        delta(bits, q.delta_q_y_dc);
        let are_separate = self.sequence.has(sequence_flag::SEPARATE_UV_DELTA_Q);
        let differ = self.is_v_separate();
        if are_separate {
            bits.flag(differ);
        }
        delta(bits, q.delta_q_u_dc);
        delta(bits, q.delta_q_u_ac);
        if differ {
            delta(bits, q.delta_q_v_dc);
            delta(bits, q.delta_q_v_ac);
        }
        if bits.flag(q.flags & 2 != 0) {
            bits.put(q.qm[0].into(), 4);
            bits.put(q.qm[1].into(), 4);
            if are_separate {
                bits.put(q.qm[2].into(), 4);
            }
        }
    }

    /// Writes segments with all features, even those that are equal to a reference frame's.
    fn put_segmentation(&self, bits: &mut BitWriter) {
        /// Number of bits of each feature, and whether the feature has a sign.
        const BITS: [(u32, bool); 8] = [
            (8, true),
            (6, true),
            (6, true),
            (6, true),
            (6, true),
            (3, false),
            (0, false),
            (0, false),
        ];
        let segments = &self.frame.segmentation;
        if !bits.flag(segments.flags & 1 != 0) {
            return;
        }
        if !self.frame.has_no_primary() {
            if bits.flag(segments.flags & 2 != 0) {
                bits.flag(segments.flags & 4 != 0);
            }
            bits.flag(true);
        }
        for (enabled, data) in segments.feature_enabled.iter().zip(&segments.feature_data) {
            for (at, ((count, is_signed), value)) in BITS.iter().zip(data).enumerate() {
                if bits.flag(enabled >> at & 1 != 0) {
                    put_signed(bits, (*value).into(), count + u32::from(*is_signed));
                }
            }
        }
    }

    fn put_block_deltas(&self, bits: &mut BitWriter) {
        let (q, filter) = (&self.frame.quantization, &self.frame.loop_filter);
        if q.base_q_idx == 0 {
            return;
        }
        if !bits.flag(q.flags & 4 != 0) {
            return;
        }
        bits.put(q.delta_q_res.into(), 2);
        if self.frame.has_block_copies() {
            return;
        }
        if bits.flag(filter.flags & 4 != 0) {
            bits.put(filter.delta_lf_res.into(), 2);
            bits.flag(filter.flags & 8 != 0);
        }
    }

    /// Writes the filters that run after reconstruction. A lossless frame has no such filters.
    fn put_filters(&self, bits: &mut BitWriter) -> Result<(), String> {
        let frame = self.frame;
        if frame.has_block_copies() {
            return Ok(());
        }
        let is_lossless = self.is_lossless();
        if !is_lossless {
            let filter = &frame.loop_filter;
            bits.put(filter.level[0].into(), 6);
            bits.put(filter.level[1].into(), 6);
            if filter.level[..2] != [0, 0] {
                bits.put(filter.level[2].into(), 6);
                bits.put(filter.level[3].into(), 6);
            }
            bits.put(filter.sharpness.into(), 3);
            if bits.flag(filter.flags & 1 != 0) {
                // Writes all differences, even those that are equal to a reference frame's.
                bits.flag(true);
                for delta in filter.ref_deltas.iter().chain(&filter.mode_deltas) {
                    bits.flag(true);
                    put_signed(bits, (*delta).into(), 7);
                }
            }
            if self.sequence.has(sequence_flag::ENABLE_CDEF) {
                self.put_cdef(bits);
            }
        }
        let is_scaled = frame.coded_width() != frame.upscaled_width;
        if self.sequence.has(sequence_flag::ENABLE_RESTORATION) && (!is_lossless || is_scaled) {
            self.put_restoration(bits)?;
        }
        Ok(())
    }

    fn put_cdef(&self, bits: &mut BitWriter) {
        let cdef = &self.frame.cdef;
        bits.put(cdef.damping_minus_3.into(), 2);
        bits.put(cdef.bits.into(), 2);
        for at in 0..1 << cdef.bits.min(3) {
            for (primary, secondary) in [
                (cdef.y_pri_strength[at], cdef.y_sec_strength[at]),
                (cdef.uv_pri_strength[at], cdef.uv_sec_strength[at]),
            ] {
                bits.put(primary.into(), 4);
                // A strength of 4 is coded as 3.
                bits.put(secondary.min(3).into(), 2);
            }
        }
    }

    fn put_restoration(&self, bits: &mut BitWriter) -> Result<(), String> {
        let Restored { types, sizes } = Restored::of(self.frame)?;
        types.iter().for_each(|code| bits.put(*code, 2));
        if types == [0; 3] {
            return Ok(());
        }
        let is_large = self.sequence.has(sequence_flag::USE_128X128_SUPERBLOCK);
        let [luma, chroma] = sizes;
        let shift = match (luma, is_large) {
            (64, false) => 0,
            (128, _) => 1,
            (256, _) => 2,
            _ => return Err(format!("loop restoration has units of {luma} samples")),
        };
        match (shift, is_large) {
            (_, true) => bits.put(shift - 1, 1),
            (0, false) => bits.put(0, 1),
            (_, false) => bits.put(0b10 | (shift - 1), 2),
        }
        if types[1..] != [0, 0] {
            if chroma != luma && chroma != luma / 2 {
                return Err(format!(
                    "loop restoration has units of {luma} samples, and of {chroma} in chroma"
                ));
            }
            bits.flag(chroma != luma);
        }
        Ok(())
    }

    fn put_modes(&self, bits: &mut BitWriter) {
        let frame = self.frame;
        if !self.is_lossless() {
            // Whether each block selects its transform size. If not, all blocks use the largest size.
            bits.flag(frame.tx_mode == 2);
        }
        if !frame.is_intra() {
            bits.flag(frame.has(frame_flag::REFERENCE_SELECT));
        }
        let hint = |index: u8| self.known.order_hints.get(usize::from(index));
        let hints = (frame.ref_frame_idx).map(|index| hint(index).copied().unwrap_or_default());
        if is_skip_mode_allowed(self.sequence, frame, &hints) {
            bits.flag(frame.has(frame_flag::SKIP_MODE_PRESENT));
        }
        let may_warp = self.sequence.has(sequence_flag::ENABLE_WARPED_MOTION);
        if !frame.is_intra() && !frame.is_resilient() && may_warp {
            bits.flag(frame.has(frame_flag::ALLOW_WARPED_MOTION));
        }
        bits.flag(frame.has(frame_flag::REDUCED_TX_SET));
    }
}

impl FrameHeader {
    /// Returns whether blocks may be copies of other blocks in the frame. Such frames are not filtered.
    const fn has_block_copies(&self) -> bool {
        self.is_intra()
            && self.has(frame_flag::ALLOW_SCREEN_CONTENT_TOOLS)
            && self.has(frame_flag::ALLOW_INTRABC)
            && self.coded_width() == self.upscaled_width
    }

    const fn has_integer_vectors(&self) -> bool {
        self.has(frame_flag::ALLOW_SCREEN_CONTENT_TOOLS) && self.has(frame_flag::FORCE_INTEGER_MV)
    }

    const fn has_high_precision(&self) -> bool {
        self.has(frame_flag::ALLOW_HIGH_PRECISION_MV) && !self.has_integer_vectors()
    }
}

/// Loop restoration as the header codes it.
struct Restored {
    types: [u64; 3],
    /// Sides of the units of luma and of chroma.
    sizes: [u32; 2],
}

impl Restored {
    fn of(frame: &FrameHeader) -> Result<Self, String> {
        let of = &frame.restoration;
        let code = |kind: u32| [0, 2, 3, 1].get(usize::try_from(kind).ok()?).copied();
        let [y, u, v] = of.types.map(code);
        let types = y.zip(u).zip(v).map(|((y, u), v)| [y, u, v]);
        let types = types
            .ok_or_else(|| format!("loop restoration has types {:?}; 3 is the last", of.types))?;
        let luma = of.sizes[0];
        // U and V have units of one size. If U is not restored, only V's entry has the valid size.
        let chroma = if types[1] == 0 {
            of.sizes[2]
        } else {
            of.sizes[1]
        };
        Ok(Self {
            types,
            sizes: [luma, chroma],
        })
    }
}
