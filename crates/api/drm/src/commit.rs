//! Commits: from a checked state to the screen, at a vblank.

use crate::Error;
use crate::call::{Answer, Ioctl, Step};
use crate::card::Card;
use crate::framebuffer::Framebuffer;
use crate::host::{FenceId, Memory, Program};
use crate::shown::{Layer, Shown, Writeback, gamma_table};
use crate::state::{PlaneState, State};
use crate::vblank::{Due, EVENT_FLIP, OutFence, Pending, Wait};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A change that a call asks for.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) next: State,
    /// The CRTCs that it concerns.
    pub(crate) crtcs: BTreeSet<usize>,
    /// User data of the event that each of these CRTCs sends.
    pub(crate) event: Option<u64>,
    /// Sets of fences, and the plane that waits for each.
    pub(crate) fences: Vec<(usize, FenceId)>,
    /// Where to write the descriptor of a timeline's out fence.
    pub(crate) out_fences: Vec<(usize, u64)>,
    /// Writeback connectors, and the framebuffer that each writes to.
    pub(crate) writebacks: Vec<(usize, Option<Arc<Framebuffer>>)>,
    pub(crate) may_set_mode: bool,
    /// Whether the call fails with EBUSY while an earlier commit is pending, and returns before its own is shown.
    pub(crate) is_nonblocking: bool,
    pub(crate) is_test: bool,
}

impl Change {
    pub(crate) fn of(next: State, crtcs: impl IntoIterator<Item = usize>) -> Self {
        Self {
            next,
            crtcs: crtcs.into_iter().collect(),
            event: None,
            fences: Vec::new(),
            out_fences: Vec::new(),
            writebacks: Vec::new(),
            may_set_mode: true,
            is_nonblocking: false,
            is_test: false,
        }
    }
}

/// Longest delay of a commit in vblanks.
const MAX_DELAY: u64 = 1 << 20;

fn buffers(plane: &PlaneState) -> impl Iterator<Item = crate::host::BufferId> {
    let planes = plane.fb.iter().flat_map(|fb| &fb.planes);
    planes.map(|plane| plane.buffer)
}

impl Card {
    /// Checks a change, and makes it: the state at once, the screen at the next vblank.
    pub(crate) fn commit(&mut self, io: &mut Ioctl<'_>, change: Change) -> Answer {
        change.next.check(self.config.scales)?;
        self.check_change(&change)?;
        self.check_writebacks(&change)?;
        if change.is_test {
            return Ok(Step::Done);
        }
        let is_pending = |crtc: &usize| self.vblanks[*crtc].pending.is_some();
        if change.crtcs.iter().any(is_pending) {
            return match change.is_nonblocking || io.nonblocking {
                true => Err(Error::Busy("an earlier commit is pending")),
                false => {
                    self.waits.insert(io.call, Wait::Turn(io.file));
                    Ok(Step::Wait)
                }
            };
        }
        if change.event.is_some() {
            self.reserve_events(io.file, change.crtcs.len())?;
        }
        let is_blocking = !change.is_nonblocking && !io.nonblocking;
        let fences = self.next_fences(&change);
        if !is_blocking {
            Self::give_fences(&fences, io.program)?;
        }
        let old = core::mem::replace(&mut self.state, change.next.clone());
        let mut waits = false;
        for &crtc in &change.crtcs {
            waits |= self.begin(io, (&change, &old), crtc, &fences);
        }
        drop(old);
        self.collect(io.program.memory());
        if waits && is_blocking {
            // The host drops what a waiting call has written to the program, so the program gets its fences when the call ends.
            self.waits.insert(io.call, Wait::Commit(io.file, fences));
            return Ok(Step::Wait);
        }
        if is_blocking {
            Self::give_fences(&fences, io.program)?;
        }
        Ok(Step::Done)
    }

    /// Returns the framebuffer to which a change wants a CRTC's picture written.
    fn writeback_of(&self, change: &Change, crtc: usize) -> Option<Arc<Framebuffer>> {
        let mut wanted = change.writebacks.iter();
        let found = wanted.find(|(connector, _)| self.connectors[*connector].crtc == crtc);
        found.and_then(|(_, fb)| fb.clone())
    }

    /// Checks the framebuffers of writeback connectors (`drm_atomic_connector_check`, `vkms_wb_atomic_check`).
    fn check_writebacks(&self, change: &Change) -> Result<(), Error> {
        for (connector, fb) in &change.writebacks {
            let timeline = self.crtcs.len() + self.connectors[*connector].crtc;
            let Some(fb) = fb else {
                let mut asked = change.out_fences.iter();
                match asked.any(|(of, _)| *of == timeline) {
                    true => return Err(Error::Invalid("WRITEBACK_FB_ID (with a fence)", 0)),
                    false => continue,
                }
            };
            let invalid = |what| Err(Error::Invalid(what, fb.id.into()));
            let Some(crtc) = change.next.connectors[*connector].crtc else {
                return invalid("WRITEBACK_FB_ID (without CRTC_ID)");
            };
            let crtc = &change.next.crtcs[crtc];
            let Some(set) = crtc.mode.as_ref().filter(|_| crtc.active) else {
                return invalid("WRITEBACK_FB_ID (of a CRTC that is off)");
            };
            if (fb.width, fb.height) != (set.mode.width(), set.mode.height()) {
                return invalid("WRITEBACK_FB_ID (not of the mode's size)");
            }
            if !fb.format.is_rgb() {
                return invalid("WRITEBACK_FB_ID (not in WRITEBACK_PIXEL_FORMATS)");
            }
        }
        Ok(())
    }

    fn check_change(&self, change: &Change) -> Result<(), Error> {
        for &crtc in &change.crtcs {
            if !change.may_set_mode && self.state.needs_modeset(&change.next, crtc) {
                return Err(Error::Invalid(
                    "mode set without ALLOW_MODESET, CRTC",
                    crtc as u64,
                ));
            }
            let is_active = |state: &State| state.crtcs[crtc].active;
            if change.event.is_some() && !is_active(&self.state) && !is_active(&change.next) {
                return Err(Error::Invalid("event of a CRTC that is off", crtc as u64));
            }
        }
        match change.event {
            Some(data) if change.crtcs.is_empty() => {
                Err(Error::Invalid("event without a CRTC", data))
            }
            _ => Ok(()),
        }
    }

    /// Returns the fences that end when the commit is shown, or written. As on Linux, a program gets no fence of a
    /// writeback connector that writes nothing.
    fn next_fences(&mut self, change: &Change) -> Vec<OutFence> {
        let crtcs = self.crtcs.len();
        let is_used = |timeline: usize| {
            let connector = timeline.checked_sub(crtcs);
            connector.is_none_or(|crtc| self.writeback_of(change, crtc).is_some())
        };
        let wanted = change.out_fences.iter();
        let wanted: Vec<_> = wanted.filter(|(timeline, _)| is_used(*timeline)).collect();
        let fences = wanted.into_iter().map(|&(timeline, addr)| {
            self.last_fences[timeline] += 1;
            OutFence {
                timeline,
                seqno: self.last_fences[timeline],
                addr,
            }
        });
        fences.collect()
    }

    /// Gives fences to the program.
    pub(crate) fn give_fences(fences: &[OutFence], program: &mut dyn Program) -> Result<(), Error> {
        for fence in fences {
            let fd = program.out_fence(fence.timeline, fence.seqno, fence.addr)?;
            program.write(fence.addr, &fd.to_ne_bytes())?;
        }
        Ok(())
    }

    /// Begins a change of a CRTC. Returns whether a blocking call waits for its vblank.
    fn begin(
        &mut self,
        io: &mut Ioctl<'_>,
        (change, old): (&Change, &State),
        crtc: usize,
        fences: &[OutFence],
    ) -> bool {
        let shown = |state: &State| {
            let of = &state.crtcs[crtc];
            of.mode.as_ref().filter(|_| of.active).map(|set| set.mode)
        };
        let (mode, was) = (shown(&self.state), shown(old));
        let vblank = &mut self.vblanks[crtc];
        vblank.ended_ns = vblank.time_ns(vblank.sequence(io.now_ns) + 1);
        let left = match mode {
            Some(mode) if was != Some(mode) => {
                vblank.start(io.now_ns, mode.frame_ns());
                Vec::new()
            }
            None if was.is_some() => vblank.stop(io.now_ns),
            _ => Vec::new(),
        };
        let seqno_of = |timeline: usize| {
            let fence = fences.iter().find(|fence| fence.timeline == timeline);
            fence.map(|fence| fence.seqno)
        };
        let fence_seqno = seqno_of(crtc);
        let sequence = vblank.sequence(io.now_ns) + 1 + core::mem::take(&mut vblank.delay);
        let event = |user_data| Due::new(sequence, io.file, EVENT_FLIP, user_data);
        let event = change.event.map(event);
        if mode.is_none() {
            let at = (sequence - 1, io.now_ns);
            let all = left.into_iter().chain(event);
            vblank.ended.extend(all.map(|due| (due, at)));
            if !change.is_nonblocking || self.config.is_free {
                self.send_ended(crtc);
            }
            if let Some(seqno) = fence_seqno {
                io.program.memory().signal(crtc, seqno);
            }
            for (_, fence) in &change.fences {
                io.program.memory().release_fence(*fence);
            }
            if was.is_some() {
                self.wake_waits();
            }
            self.latch(crtc, true, None);
            return false;
        }
        let planes = self.state.planes.iter().enumerate();
        let planes = planes.filter(|(_, plane)| plane.crtc == Some(crtc));
        let explicit = |at: &usize| change.fences.iter().any(|(plane, _)| plane == at);
        let is_new = |at: &usize, plane: &PlaneState| old.planes[*at].fb_id() != plane.fb_id();
        let implicit = planes.filter(|(at, plane)| is_new(at, plane) && !explicit(at));
        let pending = Pending {
            events: event.into_iter().collect(),
            sequence,
            is_late: false,
            buffers: implicit.flat_map(|(_, plane)| buffers(plane)).collect(),
            fences: change.fences.iter().map(|(_, fence)| *fence).collect(),
            fence_seqno,
            writeback: self.writeback_of(change, crtc).map(|fb| {
                let timeline = self.crtcs.len() + crtc;
                let fence = seqno_of(timeline).map(|seqno| (timeline, seqno));
                Writeback { fb, fence }
            }),
            call: (!change.is_nonblocking).then_some(io.call),
        };
        self.vblanks[crtc].pending = Some(pending);
        true
    }

    /// Shows the state of a CRTC's planes from now on.
    fn latch(&mut self, crtc: usize, is_new: bool, writeback: Option<Writeback>) {
        let state = &self.state.crtcs[crtc];
        let mode = state.mode.as_ref().filter(|_| state.active);
        let mode = mode.map(|set| set.mode);
        let mut layers = Vec::new();
        let planes = self.planes.iter().zip(&self.state.planes);
        for ((plane, state), shown) in planes.zip(&mut self.shown) {
            if plane.crtc != crtc {
                continue;
            }
            *shown = match mode {
                Some(_) if state.crtc == Some(crtc) => state.clone(),
                _ => PlaneState::default(),
            };
            if let Some(fb) = &shown.fb {
                layers.push(Layer {
                    kind: plane.kind,
                    fb: Arc::clone(fb),
                    source: shown.source,
                    target: shown.target,
                    rotation: shown.rotation,
                });
            }
        }
        let gamma = state.gamma.as_ref();
        let last = self.outputs.remove(&crtc);
        let was_new = last.as_ref().is_some_and(|shown| shown.is_new);
        let shown = Shown {
            crtc,
            size: mode.map(|mode| (mode.width(), mode.height())),
            frame_ns: mode.map_or(0, |mode| mode.frame_ns()),
            layers,
            is_new: is_new || was_new,
            gamma: gamma.and_then(|blob| gamma_table(&blob.bytes)),
            writeback: writeback.or_else(|| last?.writeback),
        };
        self.outputs.insert(crtc, shown);
    }

    /// Lets time pass: shows commits, sends events and wakes calls. `may_show` is false while the host cannot
    /// take another picture of a CRTC; its commits then wait for a later vblank.
    pub fn advance(
        &mut self,
        now_ns: u64,
        memory: &mut dyn Memory,
        may_show: &dyn Fn(usize) -> bool,
    ) {
        for crtc in 0..self.vblanks.len() {
            if self.vblanks[crtc].ended_ns <= now_ns {
                self.send_ended(crtc);
            }
            let Some(vblank) = self.vblanks.get_mut(crtc).filter(|vblank| vblank.is_on) else {
                continue;
            };
            let at_once = vblank.pending.as_ref().filter(|_| self.config.is_free);
            if let Some(sequence) = at_once.map(|pending| pending.sequence) {
                vblank.reach(sequence, now_ns);
            }
            let now = vblank.sequence(now_ns);
            if now <= vblank.seen {
                continue;
            }
            vblank.seen = now;
            if vblank.lost > 0 {
                vblank.lost -= 1;
                if let Some(pending) = &mut vblank.pending {
                    pending.is_late |= pending.sequence <= now;
                }
                continue;
            }
            let (due, later) = vblank.due.iter().partition(|due| due.sequence <= now);
            vblank.due = later;
            let due: Vec<Due> = due;
            let mut at = now;
            if let Some(pending) = vblank.pending.as_mut().filter(|p| p.sequence <= now) {
                let mut buffers = pending.buffers.iter();
                let is_held = pending.fences.iter().any(|fence| memory.is_pending(*fence))
                    || buffers.any(|buffer| memory.is_written(*buffer));
                if is_held || !may_show(crtc) {
                    pending.is_late = true;
                } else {
                    if !pending.is_late {
                        at = pending.sequence;
                    }
                    self.show(crtc, at, memory);
                }
            } else if vblank.is_touched && vblank.pending.is_none() && may_show(crtc) {
                vblank.is_touched = false;
                self.latch(crtc, false, None);
            }
            for due in due {
                let time_ns = self.vblanks[crtc].time_ns(due.sequence);
                self.send(&due, crtc, (due.sequence, time_ns));
            }
        }
        self.wake_waits();
        self.collect(memory);
    }

    /// Returns the number of the last vblank of a CRTC up to which [`advance`](Self::advance) has come; `None` if the
    /// CRTC is off.
    #[must_use]
    pub fn vblank(&self, crtc: usize) -> Option<u64> {
        let vblank = self.vblanks.get(crtc).filter(|vblank| vblank.is_on)?;
        Some(vblank.seen)
    }

    /// Returns the time of a vblank in nanoseconds; `None` if the CRTC is off.
    #[must_use]
    pub fn vblank_ns(&self, crtc: usize, sequence: u64) -> Option<u64> {
        let vblank = self.vblanks.get(crtc).filter(|vblank| vblank.is_on)?;
        Some(vblank.time_ns(sequence))
    }

    /// Sends the events of a commit that switched a CRTC off.
    fn send_ended(&mut self, crtc: usize) {
        for (due, at) in core::mem::take(&mut self.vblanks[crtc].ended) {
            self.send(&due, crtc, at);
        }
    }

    /// Completes the pending commit of a CRTC at a vblank.
    fn show(&mut self, crtc: usize, at: u64, memory: &mut dyn Memory) {
        let vblank = &mut self.vblanks[crtc];
        vblank.is_touched = false;
        let Some(pending) = vblank.pending.take() else {
            return;
        };
        let time_ns = vblank.time_ns(at);
        for due in &pending.events {
            self.send(due, crtc, (at, time_ns));
        }
        for fence in pending.fences {
            memory.release_fence(fence);
        }
        if let Some(seqno) = pending.fence_seqno {
            memory.signal(crtc, seqno);
        }
        self.latch(crtc, true, pending.writeback);
    }

    /// Reports the files whose calls wait, so that the host repeats these calls.
    fn wake_waits(&mut self) {
        for wait in self.waits.values() {
            let (Wait::Commit(file, _) | Wait::Turn(file) | Wait::Vblank(file, ..)) = wait;
            self.changed.insert(*file);
        }
    }

    /// Returns whether the commit of a waiting call is still pending.
    pub(crate) fn is_call_pending(&self, call: u64) -> bool {
        let mut pending = self.vblanks.iter().filter_map(|of| of.pending.as_ref());
        pending.any(|pending| pending.call == Some(call))
    }

    /// Forgets a waiting call. What it has begun goes on.
    pub fn abandon(&mut self, call: u64) {
        self.waits.remove(&call);
        let pending = self.vblanks.iter_mut().filter_map(|of| of.pending.as_mut());
        for pending in pending.filter(|pending| pending.call == Some(call)) {
            pending.call = None;
        }
    }

    /// Returns the time in nanoseconds at which [`advance`](Self::advance) is needed next, or `None`.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        let all = self.vblanks.iter().enumerate();
        let on = all.filter(|(_, vblank)| vblank.is_on);
        let due = on.filter_map(|(crtc, vblank)| {
            let events = vblank.due.iter().map(|due| due.sequence);
            let pending = vblank.pending.iter().map(|pending| pending.sequence);
            let touched = vblank.is_touched.then_some(0);
            let waits = self.waits.values().filter_map(|wait| match wait {
                Wait::Vblank(_, of, sequence) if *of == crtc => Some(*sequence),
                _ => None,
            });
            let is_at_once = |pending: &Pending| pending.sequence > vblank.seen;
            if self.config.is_free && vblank.pending.as_ref().is_some_and(is_at_once) {
                return Some(0);
            }
            let first = events.chain(pending).chain(touched).chain(waits).min()?;
            Some(vblank.time_ns(first.max(vblank.seen + 1)))
        });
        let ended = self.vblanks.iter().filter(|of| !of.ended.is_empty());
        due.chain(ended.map(|vblank| vblank.ended_ns)).min()
    }

    /// Drops the next `lost` vblanks of a CRTC: their flips and events come with a later vblank. Delays the next commit
    /// by `delay` vblanks. For tests of programs.
    pub fn disturb(&mut self, crtc: usize, lost: u64, delay: u64) {
        if let Some(vblank) = self.vblanks.get_mut(crtc) {
            vblank.lost = vblank.lost.saturating_add(lost);
            vblank.delay = vblank.delay.saturating_add(delay).min(MAX_DELAY);
        }
    }

    /// Returns the CRTCs whose picture changed since the last call, with what they show now.
    pub fn take_shown(&mut self) -> Vec<Shown> {
        core::mem::take(&mut self.outputs).into_values().collect()
    }

    /// Returns files whose poll state or waiting call may have changed since the last call.
    pub fn take_changed(&mut self) -> Vec<crate::FileId> {
        core::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Turns everything off at the end of a run, so that all memory goes back.
    pub fn turn_off(&mut self, memory: &mut dyn Memory) {
        for plane in self.state.planes.iter_mut().chain(&mut self.shown) {
            *plane = PlaneState::default();
        }
        let pending = self.vblanks.iter_mut().filter_map(|of| of.pending.take());
        for fence in pending.flat_map(|pending| pending.fences) {
            memory.release_fence(fence);
        }
        self.outputs.clear();
        self.collect(memory);
    }

    /// Takes a framebuffer from its file and from the screen. CRTCs stay on.
    pub(crate) fn remove_fb(&mut self, id: u32, memory: &mut dyn Memory) {
        for at in 0..self.planes.len() {
            for list in [&mut self.state.planes, &mut self.shown] {
                if list[at].fb_id() == id {
                    list[at] = list[at].off();
                    self.vblanks[self.planes[at].crtc].is_touched = true;
                }
            }
        }
        if let Some((_, of)) = self.framebuffers.get_mut(&id) {
            *of = None;
            self.orphans.insert(id);
        }
        self.collect(memory);
    }
}
