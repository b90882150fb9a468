//! AV1: an OUTPUT buffer has a frame's tiles, and controls have its headers.

mod control;
mod slots;

use super::syntax::{Input, Parameters, expect_size};
use control::{FrameControl, SequenceControl};
pub(super) use slots::{Slots, Update};
use vb3_codec::av1::{FrameHeader, Motion, SLOTS, frame_flag, frame_type, sequence_flag};
use vb3_v4l2::cid;

/// Checks the value of a control. The control's initial value (0 bits per sample) is also accepted.
pub(crate) fn check(id: u32, value: &[u8]) -> Result<(), String> {
    match SequenceControl::read(value).filter(|_| id == cid::STATELESS_AV1_SEQUENCE) {
        Some(sequence) if sequence.bit_depth != 0 => check_samples(&sequence),
        _ => Ok(()),
    }
}

/// Checks that samples are 8-bit 4:2:0.
fn check_samples(sequence: &SequenceControl) -> Result<(), String> {
    let is_mono = sequence.header.flags & sequence_flag::MONO_CHROME != 0;
    if sequence.seq_profile == 0 && sequence.bit_depth == 8 && !is_mono {
        return Ok(());
    }
    Err(format!(
        "the device decodes 8-bit 4:2:0 (profile 0), and the sequence has profile {} with {} bits{}",
        sequence.seq_profile,
        sequence.bit_depth,
        if is_mono { ", without colour" } else { "" }
    ))
}

/// Puts the headers in front of a frame's tiles.
pub(crate) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    content: Vec<u8>,
) -> Result<Input, String> {
    let sequence = parameters.need(cid::STATELESS_AV1_SEQUENCE, SequenceControl::read)?;
    check_samples(&sequence)?;
    let sequence = sequence.header;
    let control = parameters.need(cid::STATELESS_AV1_FRAME, FrameControl::read)?;
    let entries = parameters.need(cid::STATELESS_AV1_TILE_GROUP_ENTRY, control::tile_entries)?;
    let tiles = tiles(control.tile_counts, &entries, &content)?;
    let mut frame = control.header;
    frame.film_grain = parameters.get(cid::STATELESS_AV1_FILM_GRAIN, control::film_grain);
    expect_size((frame.upscaled_width, frame.frame_height), size)?;
    if frame.frame_type > frame_type::SWITCH || frame.primary_ref_frame > 7 {
        return Err(format!(
            "the frame has type {} and parameters of reference {}; the last type is 3, and the last \
             reference is 6, or 7 for none",
            frame.frame_type, frame.primary_ref_frame
        ));
    }

    let slots = &parameters.slots;
    let repeated = slots.shown_again(&sequence, &control.slots);
    let now = repeated.map_or_else(|| slots.of(&sequence), |(key, _)| [Some(key); SLOTS]);
    if !frame.is_intra() {
        slots::expect(&now, &control.slots, &frame.ref_frame_idx)?;
    }
    let primary = frame
        .ref_frame_idx
        .get(usize::from(frame.primary_ref_frame));
    let known = slots::known(&now, primary.filter(|_| !frame.has_no_primary()).copied());

    let again = match is_hidden_key(&frame) {
        true => {
            let mut whole = frame.clone();
            whole.refresh_frame_flags = 0xff;
            Some(vb3_codec::av1::frame(&sequence, &whole, &known, &tiles)?)
        }
        false => None,
    };
    let refreshed = show(&mut frame);
    let input = vb3_codec::av1::frame(&sequence, &frame, &known, &tiles)?;
    let references = match frame.is_intra() {
        true => Vec::new(),
        false => (frame.ref_frame_idx.iter())
            .filter_map(|index| control.slots.get(usize::from(*index)).copied())
            .collect(),
    };
    let has_repeated = repeated.is_some();
    let mut bytes = repeated.map_or_else(Vec::new, |(_, input)| input.to_vec());
    bytes.extend(input);
    let motion = match frame.is_intra() {
        true => Motion::default(),
        false => frame.motion,
    };
    Ok(Input {
        bytes,
        references,
        update: Some(Update {
            refreshed,
            order_hint: frame.order_hint,
            motion,
            sequence,
            again,
            has_repeated,
        }),
    })
}

const fn is_hidden_key(frame: &FrameHeader) -> bool {
    frame.frame_type == frame_type::KEY && frame.flags & frame_flag::SHOW_FRAME == 0
}

/// Marks a hidden frame as shown, so that the library returns it immediately. Returns the refreshed slots.
///
/// Showing a frame changes nothing else, except for a key frame: a shown key frame refreshes all slots. So a
/// hidden key frame that refreshes only some slots becomes an intra-only frame, which is decoded alike.
fn show(frame: &mut FrameHeader) -> u8 {
    let is_partial = is_hidden_key(frame) && frame.refresh_frame_flags != 0xff;
    frame.flags |= frame_flag::SHOW_FRAME;
    match frame.frame_type {
        frame_type::KEY if is_partial => frame.frame_type = frame_type::INTRA_ONLY,
        frame_type::KEY | frame_type::SWITCH => frame.refresh_frame_flags = 0xff,
        _ => {}
    }
    frame.refresh_frame_flags
}

/// Returns the bytes of each tile, or a message about a wrong tile.
fn tiles<'a>(
    (columns, rows): (u8, u8),
    entries: &[[u32; 4]],
    content: &'a [u8],
) -> Result<Vec<&'a [u8]>, String> {
    let wanted = usize::from(columns) * usize::from(rows);
    if entries.len() != wanted {
        return Err(format!(
            "the frame has {columns}x{rows} tiles, and V4L2_CID_STATELESS_AV1_TILE_GROUP_ENTRY has \
             {} entries",
            entries.len()
        ));
    }
    let in_order = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let mut found = Vec::new();
    for ([offset, size, row, column], (wanted_row, wanted_column)) in entries.iter().zip(in_order) {
        if (*row, *column) != (wanted_row.into(), wanted_column.into()) {
            return Err(format!(
                "an entry is for the tile in row {row} and column {column}, and the next tile in \
                 order is in row {wanted_row} and column {wanted_column}"
            ));
        }
        let from = usize::try_from(*offset).ok();
        let end = from.and_then(|from| from.checked_add(usize::try_from(*size).ok()?));
        let tile = from.zip(end).and_then(|(from, end)| content.get(from..end));
        found.push(tile.ok_or_else(|| {
            format!(
                "the tile in row {row} and column {column} has {size} bytes from byte {offset} on, \
                 and the buffer has {}",
                content.len()
            )
        })?);
    }
    // Each tile is copied, so tiles that overlap could take much more memory than the buffer.
    if found.iter().map(|tile| tile.len()).sum::<usize>() > content.len() {
        return Err("tiles overlap: together they are longer than the buffer's content".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
