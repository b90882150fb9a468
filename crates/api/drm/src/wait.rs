//! Calls that wait for vertical blanks, and events.

use crate::Error;
use crate::bytes::{get, set};
use crate::call::{Answer, Ioctl, Step};
use crate::card::Card;
use crate::file::EVENT_BYTES;
use crate::host::FileId;
use crate::vblank::{Due, EVENT_SEQUENCE, EVENT_VBLANK, Vblank, Wait, event};

/// Bits of `_DRM_VBLANK_*`.
const ABSOLUTE: u32 = 0;
const RELATIVE: u32 = 1;
const HIGH_CRTC: u32 = 0x3e;
const EVENT: u32 = 0x400_0000;
const NEXT_ON_MISS: u32 = 0x1000_0000;
const SECONDARY: u32 = 0x2000_0000;
const KNOWN: u32 = RELATIVE | HIGH_CRTC | EVENT | NEXT_ON_MISS | SECONDARY;

impl Card {
    /// Takes room for events of a file, 32 bytes each.
    pub(crate) fn reserve_events(&mut self, file: FileId, count: usize) -> Result<(), Error> {
        let file = self.file_mut(file)?;
        let full = Error::Full("bytes of events of a file", EVENT_BYTES as u64);
        file.event_room = file.event_room.checked_sub(32 * count).ok_or(full)?;
        Ok(())
    }

    /// Gives a file an event for which room was taken.
    pub(crate) fn send(&mut self, due: &Due, crtc: usize, at: (u64, u64)) {
        let id = self.crtcs.get(crtc).copied().unwrap_or(0);
        if let Some(file) = self.files.get_mut(&due.file) {
            file.events.push_back(event(due, id, at));
            self.changed.insert(due.file);
        }
    }

    fn vblank_mut(&mut self, crtc: usize) -> Result<&mut Vblank, Error> {
        let vblank = self.vblanks.get_mut(crtc).filter(|vblank| vblank.is_on);
        vblank.ok_or(Error::Invalid("vblank of a CRTC that is off", crtc as u64))
    }

    /// Answers WAIT_VBLANK.
    pub(crate) fn wait_vblank(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (kind, asked) = get!(io.arg, drm_wait_vblank_request: type_, sequence);
        if kind & !KNOWN != 0 {
            return Err(Error::Invalid("type", kind.into()));
        }
        let crtc = match kind & HIGH_CRTC {
            0 => usize::from(kind & SECONDARY != 0),
            high => (high >> 1) as usize,
        };
        if crtc >= self.crtcs.len() {
            return Err(Error::Invalid("number of the CRTC", crtc as u64));
        }
        let vblank = self.vblank_mut(crtc)?;
        let now = vblank.sequence(io.now_ns);
        let waiting = match self.waits.get(&io.call) {
            Some(&Wait::Vblank(_, _, sequence)) => Some(sequence),
            _ => None,
        };
        let wanted = waiting.unwrap_or_else(|| {
            let wanted = match kind & RELATIVE {
                ABSOLUTE => widen(asked, now),
                _ => now.saturating_add(asked.into()),
            };
            // A wanted vblank that has passed is replaced by the next one, if the program asks so.
            let is_missed = kind & NEXT_ON_MISS != 0 && wanted <= now;
            if is_missed { now + 1 } else { wanted }
        });
        // The reply keeps the type without its relative bit.
        let (type_, sequence) = (kind & !(RELATIVE | NEXT_ON_MISS), wanted as u32); // CAST: wraps.
        if kind & EVENT != 0 {
            self.reserve_events(io.file, 1)?;
            let user_data = get!(io.arg, drm_wait_vblank_request: signal);
            let due = Due::new(wanted, io.file, EVENT_VBLANK, user_data);
            self.queue_event(crtc, due, io.now_ns)?;
            let told = if wanted <= now { now as u32 } else { sequence }; // CAST: wraps.
            set!(io.arg, drm_wait_vblank_reply: sequence = told, type_ = type_);
            return Ok(Step::Done);
        }
        if now < wanted && !io.nonblocking && wanted - now < 1 << 23 {
            let wait = Wait::Vblank(io.file, crtc, wanted);
            self.waits.insert(io.call, wait);
            return Ok(Step::Wait);
        }
        let time = self.vblank_mut(crtc)?.time_ns(now).cast_signed();
        let (sec, usec) = (time / 1_000_000_000, time % 1_000_000_000 / 1000);
        set!(io.arg, drm_wait_vblank_reply: type_ = type_, sequence = now as u32, // CAST: wraps.
            tval_sec = sec, tval_usec = usec);
        Ok(Step::Done)
    }

    /// Sends an event now if its vblank has passed, or later.
    fn queue_event(&mut self, crtc: usize, due: Due, now_ns: u64) -> Result<(), Error> {
        let vblank = self.vblank_mut(crtc)?;
        let now = vblank.sequence(now_ns);
        if due.sequence <= now {
            let time_ns = vblank.time_ns(now);
            self.send(&due, crtc, (now, time_ns));
        } else {
            vblank.due.push(due);
        }
        Ok(())
    }

    /// Answers CRTC_GET_SEQUENCE.
    pub(crate) fn get_sequence(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let crtc = self.find_crtc(io.file, get!(io.arg, drm_crtc_get_sequence: crtc_id))?;
        let vblank = self.vblank_mut(crtc)?;
        let now = vblank.sequence(io.now_ns);
        let time_ns = vblank.time_ns(now);
        set!(io.arg, drm_crtc_get_sequence: active = 1, sequence = now,
            sequence_ns = time_ns.cast_signed());
        Ok(Step::Done)
    }

    /// Answers CRTC_QUEUE_SEQUENCE.
    pub(crate) fn queue_sequence(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, flags, asked) = get!(io.arg, drm_crtc_queue_sequence: crtc_id, flags, sequence);
        let crtc = self.find_crtc(io.file, id)?;
        if flags & !3 != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let now = self.vblank_mut(crtc)?.sequence(io.now_ns);
        let from = if flags & 1 != 0 { now } else { 0 };
        let wanted = from.saturating_add(asked);
        let is_missed = flags & 2 != 0 && wanted <= now;
        let wanted = if is_missed { now + 1 } else { wanted };
        self.reserve_events(io.file, 1)?;
        let user_data = get!(io.arg, drm_crtc_queue_sequence: user_data);
        let due = Due::new(wanted, io.file, EVENT_SEQUENCE, user_data);
        self.queue_event(crtc, due, io.now_ns)?;
        set!(io.arg, drm_crtc_queue_sequence: sequence = wanted.max(now));
        Ok(Step::Done)
    }
}

/// Returns the 64-bit number nearest to `near` whose lower half is `low`.
fn widen(low: u32, near: u64) -> u64 {
    // CAST: the difference of the lower halves, as the kernel's `widen_32_to_64`.
    let difference = i64::from(low.wrapping_sub(near as u32).cast_signed());
    near.saturating_add_signed(difference)
}
