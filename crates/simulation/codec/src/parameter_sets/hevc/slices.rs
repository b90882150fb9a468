//! Writes a picture's slices after its parameter sets, with changed headers if necessary.

use super::{PictureSet, References, SequenceSet, pps_flag};
use crate::parameter_sets::bits::{BitWriter, Bits, nal_units, unescape};

/// Types of NAL units (ITU-T H.265, table 7-1): IDR pictures, and pictures that depend on no earlier one.
const IDR: std::ops::RangeInclusive<u8> = 19..=20;
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;

/// Maximum number of slice segments of a picture (ITU-T H.265, table A.8).
const MAX_SEGMENTS: u32 = 600;

/// Returns a picture as a byte stream: its parameter sets, then the slices of `stream`.
///
/// # Errors
/// Fails with a message for the user if the stream contains anything but slices of one picture that name
/// this picture parameter set, or if a parameter has an impossible value.
pub fn picture(
    sps: &SequenceSet,
    pps: &PictureSet,
    references: &References,
    stream: &[u8],
) -> Result<Vec<u8>, String> {
    let mut writer = SliceWriter::new(sps, pps, references)?;
    for nal in nal_units(stream) {
        writer.add(nal)?;
    }
    if writer.first_segments != 1 {
        return Err(match writer.slices.is_empty() {
            true => {
                "the buffer has no slice; each must begin with a start code (Annex B)".to_owned()
            }
            false => format!(
                "the buffer has the first slices of {} pictures, where one is wanted",
                writer.first_segments
            ),
        });
    }
    let extra_bits = writer.extra_bits.unwrap_or(pps.num_extra_slice_header_bits);
    let slices = writer.slices;
    let mut bytes = sps.write_video_set();
    bytes.extend(sps.write());
    bytes.extend(pps.write(sps, extra_bits)?);
    bytes.extend(slices);
    Ok(bytes)
}

/// Writes slices, with their headers changed if necessary.
struct SliceWriter<'a> {
    sps: &'a SequenceSet,
    pps: &'a PictureSet,
    /// The picture's set of references, as slice headers contain it.
    set: BitWriter,
    references: &'a References,
    /// Number of bits of a slice's address, which names its first block.
    address_bits: u32,
    slices: Vec<u8>,
    segments: u32,
    first_segments: u32,
    /// Number of reserved bits in each written header: with them, the header's length changes by whole bytes.
    extra_bits: Option<u8>,
}

impl<'a> SliceWriter<'a> {
    fn new(
        sps: &'a SequenceSet,
        pps: &'a PictureSet,
        references: &'a References,
    ) -> Result<Self, String> {
        let sum = |first: u8, second: u8| u32::from(first) + u32::from(second);
        let block = 3 + sum(
            sps.log2_min_luma_coding_block_size_minus3,
            sps.log2_diff_max_min_luma_coding_block_size,
        );
        if !(4..=6).contains(&block) {
            return Err(format!(
                "the sequence's coding tree blocks have 2^{block} columns; 2^4 to 2^6 are possible"
            ));
        }
        if sps.log2_max_pic_order_cnt_lsb_minus4 > 12 || pps.num_extra_slice_header_bits > 7 {
            return Err(format!(
                "slice headers have at most 16 bits of display order and 7 extra bits, and the \
                 parameter sets say {} and {}",
                sum(sps.log2_max_pic_order_cnt_lsb_minus4, 4),
                pps.num_extra_slice_header_bits
            ));
        }
        let blocks = |length: u16| u32::from(length).div_ceil(1 << block);
        let count = blocks(sps.pic_width_in_luma_samples) * blocks(sps.pic_height_in_luma_samples);
        Ok(Self {
            sps,
            pps,
            set: references.write()?,
            references,
            address_bits: bits_of(count),
            slices: Vec::new(),
            segments: 0,
            first_segments: 0,
            extra_bits: None,
        })
    }

    /// Adds a NAL unit without its start code.
    fn add(&mut self, nal: &[u8]) -> Result<(), String> {
        let kind = nal.first().map_or(0x3f, |header| header >> 1 & 0x3f);
        match kind {
            0..=9 | 16..=21 => {}
            // Delimiters, ends of sequences and streams, filler, and SEI.
            35..=40 => return Ok(()),
            _ => {
                return Err(format!(
                    "the buffer has a NAL unit of type {kind}, where slices (types 0 to 9 and 16 to \
                     21) are wanted"
                ));
            }
        }
        let payload = unescape(nal.get(2..).unwrap_or_default());
        let header = nal.get(..2).unwrap_or_default();
        let parsed = self.parse(kind, &payload);
        let found = parsed.ok_or("a slice ends within its header")?;
        let wanted = self.pps.pic_parameter_set_id;
        if found.pps_id != wanted.into() {
            return Err(format!(
                "a slice uses picture parameter set {}, and the request has number {wanted}: a \
                 decoder of whole frames takes one for all slices of a picture",
                found.pps_id
            ));
        }
        self.first_segments += u32::from(found.is_first);
        self.segments += 1;
        if self.segments > MAX_SEGMENTS {
            return Err(format!(
                "a picture has at most {MAX_SEGMENTS} slice segments"
            ));
        }
        match found
            .set
            .filter(|_| self.sps.num_short_term_ref_pic_sets > 0)
        {
            Some(set) => {
                let slice = self.change(header, &payload, &set)?;
                self.slices.extend(slice);
            }
            None => {
                self.slices.extend([0, 0, 1]);
                self.slices.extend(nal);
            }
        }
        Ok(())
    }

    /// Writes a slice with the picture's own set of references.
    fn change(&mut self, header: &[u8], payload: &[u8], set: &Set) -> Result<Vec<u8>, String> {
        let old = u32::from(self.pps.num_extra_slice_header_bits);
        let removed = set.bits.len();
        // Reserved bits pad the header, so that the rest of the slice can be copied byte by byte.
        let added = self.set.len() + 8 - removed % 8;
        let extra_bits = (old as usize + 8 - added % 8) % 8;
        // CAST: the value is below 8.
        let extra_bits = extra_bits as u8;
        if *self.extra_bits.get_or_insert(extra_bits) != extra_bits {
            return Err(
                "slices of one picture code its references with different lengths".to_owned(),
            );
        }
        let mut bits = BitWriter::default();
        bits.copy(payload, 0..set.extra);
        bits.put(0, extra_bits.into());
        bits.copy(payload, set.extra + old as usize..set.bits.start);
        bits.append(&self.set);
        bits.copy_rest(payload, set.bits.end);
        Ok(bits.complete(header))
    }

    /// Parses a slice header up to its set of short-term references.
    fn parse(&self, kind: u8, payload: &[u8]) -> Option<Head> {
        let has = |flag: u64| self.pps.flags & flag != 0;
        let bits = &mut Bits::new(payload);
        let is_first = bits.bit()?;
        if IRAP.contains(&kind) {
            bits.bit()?;
        }
        let mut head = Head {
            is_first,
            pps_id: bits.ue()?,
            set: None,
        };
        let mut is_dependent = false;
        if !is_first {
            if has(pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED) {
                is_dependent = bits.bit()?;
            }
            bits.skip(self.address_bits);
        }
        if is_dependent || IDR.contains(&kind) {
            return Some(head);
        }
        let extra = bits.at();
        bits.skip(self.pps.num_extra_slice_header_bits.into());
        bits.ue()?;
        if has(pps_flag::OUTPUT_FLAG_PRESENT) {
            bits.bit()?;
        }
        bits.skip(u32::from(self.sps.log2_max_pic_order_cnt_lsb_minus4) + 4);
        let start = bits.at();
        let sets = u32::from(self.sps.num_short_term_ref_pic_sets);
        if bits.bit()? {
            bits.skip(bits_of(sets));
        } else {
            self.skip_set(bits)?;
        }
        head.set = Some(Set {
            extra,
            bits: start..bits.at(),
        });
        Some(head)
    }

    /// Skips a set of references, ITU-T H.265 7.3.7.
    fn skip_set(&self, bits: &mut Bits<'_>) -> Option<()> {
        if self.sps.num_short_term_ref_pic_sets > 0 && bits.bit()? {
            bits.ue()?;
            bits.bit()?;
            bits.ue()?;
            for _ in 0..=self.references.num_delta_pocs_of_ref_rps_idx {
                // A picture that is not used for reference has a second flag.
                if !bits.bit()? {
                    bits.bit()?;
                }
            }
            return Some(());
        }
        let count = bits.ue()?.checked_add(bits.ue()?)?;
        for _ in 0..Some(count).filter(|count| *count <= 32)? {
            bits.ue()?;
            bits.bit()?;
        }
        Some(())
    }
}

/// The beginning of a slice header.
struct Head {
    is_first: bool,
    pps_id: u32,
    set: Option<Set>,
}

/// The bit positions of a slice header's set of short-term references.
struct Set {
    /// Offset of the first reserved bit.
    extra: usize,
    bits: std::ops::Range<usize>,
}

/// Returns the number of bits of a number below `count`.
fn bits_of(count: u32) -> u32 {
    count
        .checked_sub(1)
        .map_or(0, |last| u32::BITS - last.leading_zeros())
}

impl References {
    /// Writes the set as a slice header contains it (ITU-T H.265 7.3.7).
    /// It does not refer to the sets of the sequence parameter set, which are not written.
    fn write(&self) -> Result<BitWriter, String> {
        let distance = |order: i32| i64::from(order) - i64::from(self.order);
        let entries = self.short_term.iter();
        let mut entries: Vec<_> = entries
            .map(|(order, used)| (distance(*order), *used))
            .collect();
        entries.sort_unstable_by_key(|(distance, _)| distance.unsigned_abs());
        let (before, after): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(d, _)| *d < 0);
        let mut bits = BitWriter::default();
        bits.flag(false);
        for list in [&before, &after] {
            // CAST: widening, on all existing targets.
            bits.ue(list.len() as u64);
        }
        for list in [before, after] {
            let mut last = 0;
            for (distance, is_used) in list {
                let step = distance.unsigned_abs() - last;
                last = distance.unsigned_abs();
                let Some(less) = step.checked_sub(1).filter(|less| *less < 1 << 15) else {
                    return Err(format!(
                        "a reference picture is {distance} places from the picture in display \
                         order, and the one before it {step} less; 1 to 32768 are possible"
                    ));
                };
                bits.ue(less);
                bits.flag(is_used);
            }
        }
        Ok(bits)
    }
}
