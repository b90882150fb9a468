//! Vertical blanks: their times, and the events and calls that wait for them.

use crate::bytes::{Image, MAX_ARG, set};
use crate::host::FileId;

/// Types of events (`DRM_EVENT_*`).
pub(crate) const EVENT_VBLANK: u32 = 1;
pub(crate) const EVENT_FLIP: u32 = 2;
pub(crate) const EVENT_SEQUENCE: u32 = 3;

/// An event that a file gets at a vblank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) sequence: u64,
    pub(crate) file: FileId,
    pub(crate) kind: u32,
    pub(crate) user_data: u64,
}

impl Due {
    pub(crate) const fn new(sequence: u64, file: FileId, kind: u32, user_data: u64) -> Self {
        Self {
            sequence,
            file,
            kind,
            user_data,
        }
    }
}

/// A fence that a program gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutFence {
    /// Its timeline: those of CRTCs come first, then those of their writeback connectors.
    pub(crate) timeline: usize,
    pub(crate) seqno: u64,
    /// The address for the descriptor.
    pub(crate) addr: u64,
}

/// What a waiting call waits for.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    /// The waiting call's own commit: the call waits until each CRTC has shown it. The call then gives the
    /// program these fences.
    Commit(FileId, Vec<OutFence>),
    /// The end of an earlier commit on the same CRTCs.
    Turn(FileId),
    /// A vblank of a CRTC.
    Vblank(FileId, usize, u64),
}

/// A commit that a CRTC has not shown yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) events: Vec<Due>,
    /// The vblank at which it is shown, unless something delays it.
    pub(crate) sequence: u64,
    /// Whether a vblank has passed at which it could not be shown.
    pub(crate) is_late: bool,
    /// Sets of fences to wait for.
    pub(crate) fences: Vec<crate::host::FenceId>,
    /// Buffers whose writers must end first.
    pub(crate) buffers: Vec<crate::host::BufferId>,
    /// Sequence number of the fence on the CRTC's timeline that signals when the commit is shown.
    pub(crate) fence_seqno: Option<u64>,
    /// Where to write the picture.
    pub(crate) writeback: Option<crate::shown::Writeback>,
    /// The call that made the commit, if the call may wait until the commit is shown.
    pub(crate) call: Option<u64>,
}

/// The vblanks of a CRTC.
#[derive(Debug, Default)]
pub(crate) struct Vblank {
    pub(crate) is_on: bool,
    /// Time and number of a vblank, and the time between two.
    base_ns: u64,
    base: u64,
    frame_ns: u64,
    pub(crate) due: Vec<Due>,
    pub(crate) pending: Option<Pending>,
    /// Events of a nonblocking commit that switched the CRTC off, with their sequence number and time. Programs get them
    /// at the end of the last frame, and not during the call.
    pub(crate) ended: Vec<(Due, (u64, u64))>,
    pub(crate) ended_ns: u64,
    /// Whether the screen changes at the next vblank, without a pending commit.
    pub(crate) is_touched: bool,
    /// The vblank up to which everything is done.
    pub(crate) seen: u64,
    /// Number of vblanks to lose, and of vblanks by which the next commit is late.
    pub(crate) lost: u64,
    pub(crate) delay: u64,
}

impl Vblank {
    /// Returns the number of the last vblank.
    pub(crate) fn sequence(&self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.base_ns);
        self.base + passed.checked_div(self.frame_ns).unwrap_or(0)
    }

    /// Returns the time of a vblank in nanoseconds.
    pub(crate) fn time_ns(&self, sequence: u64) -> u64 {
        let frames = sequence.saturating_sub(self.base);
        self.base_ns
            .saturating_add(frames.saturating_mul(self.frame_ns))
    }

    /// Starts vblanks, or changes their rate. The first one is a frame later.
    pub(crate) fn start(&mut self, now_ns: u64, frame_ns: u64) {
        self.base = if self.is_on {
            self.sequence(now_ns)
        } else {
            self.base
        };
        (self.base_ns, self.frame_ns, self.is_on) = (now_ns, frame_ns, true);
        self.seen = self.base;
    }

    /// Moves a vblank to the present time, unless it has already passed.
    pub(crate) fn reach(&mut self, sequence: u64, now_ns: u64) {
        if sequence > self.sequence(now_ns) {
            (self.base, self.base_ns) = (sequence, now_ns);
        }
    }

    /// Stops vblanks. Returns the events that waited for one.
    pub(crate) fn stop(&mut self, now_ns: u64) -> Vec<Due> {
        self.base = self.sequence(now_ns);
        (self.base_ns, self.frame_ns, self.is_on) = (now_ns, 0, false);
        core::mem::take(&mut self.due)
    }

    /// Forgets the events of a file that was closed.
    pub(crate) fn forget(&mut self, file: FileId) {
        self.due.retain(|due| due.file != file);
        self.ended.retain(|(due, _)| due.file != file);
        if let Some(pending) = &mut self.pending {
            pending.events.retain(|due| due.file != file);
        }
    }
}

/// Returns an event: `drm_event_vblank`, or `drm_event_crtc_sequence`.
pub(crate) fn event(due: &Due, crtc: u32, (sequence, time_ns): (u64, u64)) -> [u8; 32] {
    let mut arg = Image([0; MAX_ARG]);
    set!(arg, drm_event: type_ = due.kind, length = 32);
    set!(arg, drm_event_vblank: user_data = due.user_data);
    if due.kind == EVENT_SEQUENCE {
        set!(arg, drm_event_crtc_sequence: time_ns = time_ns.cast_signed(), sequence = sequence);
    } else {
        // CAST: as the kernel truncates them.
        let (sec, usec) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000 / 1000);
        set!(arg, drm_event_vblank: tv_sec = sec as u32, tv_usec = usec as u32,
            sequence = sequence as u32, crtc_id = crtc);
    }
    arg.bytes(0)
}
