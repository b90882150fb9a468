//! AV1's reference slots in the codec library.
//!
//! A program names the frame in each slot by its timestamp. The library fills its slots as the headers of
//! earlier frames say. Program and library agree unless the program makes a mistake, or shows a hidden key
//! frame again (show_existing_frame). The program needs no device to show a frame again, so the device does
//! not learn that the frame now fills all slots.

use vb3_codec::av1::{Known, Motion, SLOTS, Sequence};

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The timestamp of the frame's CAPTURE buffer in nanoseconds.
    timestamp_ns: u64,
    order_hint: u32,
    motion: Motion,
}

/// A frame's effect on the slots.
#[derive(Clone, Debug)]
pub(in super::super) struct Update {
    /// The slots that receive the frame, one bit each.
    pub(super) refreshed: u8,
    pub(super) order_hint: u32,
    pub(super) motion: Motion,
    /// The sequence that the frame belongs to.
    pub(super) sequence: Sequence,
    /// For a hidden key frame: the input that decodes it into all slots.
    pub(super) again: Option<Vec<u8>>,
    /// Whether the last hidden key frame was decoded into all slots before this frame.
    pub(super) has_repeated: bool,
}

#[derive(Clone, Debug, Default)]
pub(in super::super) struct Slots {
    sequence: Sequence,
    slots: [Option<Slot>; SLOTS],
    /// The last hidden key frame, and input that decodes it into all slots.
    hidden_key: Option<(Slot, Vec<u8>)>,
}

impl Slots {
    /// Returns the slots as they are before a frame of `sequence` is decoded: empty for a new sequence.
    pub(super) fn of(&self, sequence: &Sequence) -> [Option<Slot>; SLOTS] {
        match self.sequence == *sequence {
            true => self.slots,
            false => [None; SLOTS],
        }
    }

    /// Returns the hidden key frame if the program names it in all slots, and so has shown it again.
    pub(super) fn shown_again(
        &self,
        sequence: &Sequence,
        named: &[u64; SLOTS],
    ) -> Option<(Slot, &[u8])> {
        let (key, input) = self.hidden_key.as_ref()?;
        let is_it =
            |slot: &Option<Slot>| slot.is_some_and(|slot| slot.timestamp_ns == key.timestamp_ns);
        let is_new = !self.slots.iter().all(is_it);
        (is_new && self.sequence == *sequence && *named == [key.timestamp_ns; SLOTS])
            .then_some((*key, input))
    }

    /// Updates the slots after a decoded frame.
    pub(in super::super) fn advance(&mut self, update: Update, timestamp_ns: u64) {
        if self.sequence != update.sequence {
            *self = Self {
                sequence: update.sequence,
                ..Self::default()
            };
        }
        if let Some((key, _)) = self.hidden_key.as_ref().filter(|_| update.has_repeated) {
            self.slots = [Some(*key); SLOTS];
        }
        let slot = Slot {
            timestamp_ns,
            order_hint: update.order_hint,
            motion: update.motion,
        };
        for (at, to) in self.slots.iter_mut().enumerate() {
            if update.refreshed >> at & 1 != 0 {
                *to = Some(slot);
            }
        }
        if let Some(input) = update.again {
            self.hidden_key = Some((slot, input));
        }
    }

    /// Empties the slots that hold a frame, because this frame could not be decoded.
    pub(in super::super) fn forget(&mut self, timestamp_ns: u64) {
        let is_it = |slot: &Slot| slot.timestamp_ns == timestamp_ns;
        self.slots.iter_mut().for_each(|slot| {
            slot.take_if(|slot| is_it(slot));
        });
        self.hidden_key.take_if(|(slot, _)| is_it(slot));
    }
}

/// Checks that the slots in use have the frames that a program names.
/// Fails with a message about the first difference.
pub(super) fn expect(
    slots: &[Option<Slot>; SLOTS],
    named: &[u64; SLOTS],
    used: &[u8; 7],
) -> Result<(), String> {
    for index in used {
        let at = usize::from(*index);
        let (Some(slot), Some(named)) = (slots.get(at), named.get(at)) else {
            return Err(format!(
                "a reference is in slot {}; the slots have numbers 0 to 7",
                index.cast_signed()
            ));
        };
        match slot {
            Some(slot) if slot.timestamp_ns == *named => {}
            Some(slot) => {
                return Err(format!(
                    "slot {at} has the frame with timestamp {} ns by the earlier frames' \
                     refresh_frame_flags, and the control names {named} ns",
                    slot.timestamp_ns
                ));
            }
            None => {
                return Err(format!(
                    "slot {at} has no frame: none was decoded into it since the sequence began, a \
                     queue stopped, or decoding failed"
                ));
            }
        }
    }
    Ok(())
}

/// Returns the facts about the slots that headers need. `primary` is the slot with the frame's parameters.
pub(super) fn known(slots: &[Option<Slot>; SLOTS], primary: Option<u8>) -> Known {
    let primary = primary.and_then(|index| slots.get(usize::from(index)));
    Known {
        order_hints: slots.map(|slot| slot.map_or(0, |slot| slot.order_hint)),
        motion: (primary.copied().flatten()).map_or_else(Motion::default, |slot| slot.motion),
    }
}
