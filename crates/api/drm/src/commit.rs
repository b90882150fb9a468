//! Commits: from a checked state to the screen, at a vblank.

use crate::Error;
use crate::card::{CallContext, Card, Step};
use crate::host::{FenceId, Memory, Program};
use crate::shown::{Layer, Shown, gamma_table};
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
    /// Where to write the descriptor of a CRTC's out fence.
    pub(crate) out_fences: Vec<(usize, u64)>,
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
    pub(crate) fn commit(
        &mut self,
        cx: CallContext,
        change: Change,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        change.next.check(self.config.scales)?;
        self.check_change(&change)?;
        if change.is_test {
            return Ok(Step::Done);
        }
        let is_pending =
            |crtc: &usize| self.vblanks.get(*crtc).is_some_and(|v| v.pending.is_some());
        if change.crtcs.iter().any(is_pending) {
            return match change.is_nonblocking || cx.nonblocking {
                true => Err(Error::Busy("an earlier commit is pending")),
                false => {
                    self.waits.insert(cx.call, Wait::Turn(cx.file));
                    Ok(Step::Wait)
                }
            };
        }
        if change.event.is_some() {
            self.reserve_events(cx.file, change.crtcs.len())?;
        }
        let is_blocking = !change.is_nonblocking && !cx.nonblocking;
        let fences = self.next_fences(&change.out_fences);
        if !is_blocking {
            Self::give_fences(&fences, program)?;
        }
        let old = core::mem::replace(&mut self.state, change.next.clone());
        let mut waits = false;
        for &crtc in &change.crtcs {
            let has_fence = fences.iter().any(|fence| fence.crtc == crtc);
            waits |= self.begin(cx, (&change, &old), crtc, has_fence, program);
        }
        drop(old);
        self.collect(program);
        if waits && is_blocking {
            // The host drops what a waiting call has written to the program, so the program gets its fences when the call ends.
            self.waits.insert(cx.call, Wait::Commit(cx.file, fences));
            return Ok(Step::Wait);
        }
        if is_blocking {
            Self::give_fences(&fences, program)?;
        }
        Ok(Step::Done)
    }

    fn check_change(&self, change: &Change) -> Result<(), Error> {
        for &crtc in &change.crtcs {
            if !change.may_set_mode && self.state.needs_modeset(&change.next, crtc) {
                return Err(Error::Invalid(
                    "mode set without ALLOW_MODESET, CRTC",
                    crtc as u64,
                ));
            }
            let is_active = |state: &State| state.crtcs.get(crtc).is_some_and(|crtc| crtc.active);
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

    /// Returns the fences that end when the commit is shown.
    fn next_fences(&mut self, wanted: &[(usize, u64)]) -> Vec<OutFence> {
        let fences = wanted.iter().filter_map(|&(crtc, addr)| {
            let vblank = self.vblanks.get_mut(crtc)?;
            vblank.last_fence += 1;
            let seqno = vblank.last_fence;
            Some(OutFence { crtc, seqno, addr })
        });
        fences.collect()
    }

    /// Gives fences to the program.
    pub(crate) fn give_fences(fences: &[OutFence], program: &mut dyn Program) -> Result<(), Error> {
        for fence in fences {
            let fd = program.out_fence(fence.crtc, fence.seqno, fence.addr)?;
            program.write(fence.addr, &fd.to_ne_bytes())?;
        }
        Ok(())
    }

    /// Begins a change of a CRTC. Returns whether a blocking call waits for its vblank.
    fn begin(
        &mut self,
        cx: CallContext,
        (change, old): (&Change, &State),
        crtc: usize,
        has_fence: bool,
        memory: &mut (impl Program + ?Sized),
    ) -> bool {
        let (Some(before), Some(now)) = (
            old.crtcs.get(crtc).cloned(),
            self.state.crtcs.get(crtc).cloned(),
        ) else {
            return false;
        };
        let Some(vblank) = self.vblanks.get_mut(crtc) else {
            return false;
        };
        let mode = now.mode.filter(|_| now.active).map(|set| set.mode);
        let was = before.mode.filter(|_| before.active).map(|set| set.mode);
        let left = match mode {
            Some(mode) if was != Some(mode) => {
                vblank.start(cx.now_ns, mode.frame_ns());
                Vec::new()
            }
            None if was.is_some() => vblank.stop(cx.now_ns),
            _ => Vec::new(),
        };
        let fence_seqno = has_fence.then_some(vblank.last_fence);
        let sequence = vblank.sequence(cx.now_ns) + 1 + core::mem::take(&mut vblank.delay);
        let event = change.event.map(|user_data| Due {
            sequence,
            file: cx.file,
            kind: EVENT_FLIP,
            user_data,
        });
        if mode.is_none() {
            let at = (sequence - 1, cx.now_ns);
            for due in left.iter().chain(&event) {
                self.send(due, crtc, at);
            }
            if let Some(seqno) = fence_seqno {
                memory.signal(crtc, seqno);
            }
            for (_, fence) in &change.fences {
                memory.release_fence(*fence);
            }
            if was.is_some() {
                self.wake_waits();
            }
            self.latch(crtc, true);
            return false;
        }
        let planes = self.state.planes.iter().enumerate();
        let planes = planes.filter(|(_, plane)| plane.crtc == Some(crtc));
        let explicit = |at: &usize| change.fences.iter().any(|(plane, _)| plane == at);
        let is_new = |at: &usize, plane: &PlaneState| {
            let old = old.planes.get(*at).and_then(|old| old.fb.as_ref());
            old.map(|fb| fb.id) != plane.fb.as_ref().map(|fb| fb.id)
        };
        let implicit = planes.filter(|(at, plane)| is_new(at, plane) && !explicit(at));
        let pending = Pending {
            events: event.into_iter().collect(),
            sequence,
            is_late: false,
            buffers: implicit.flat_map(|(_, plane)| buffers(plane)).collect(),
            fences: change.fences.iter().map(|(_, fence)| *fence).collect(),
            fence_seqno,
            call: (!change.is_nonblocking).then_some(cx.call),
        };
        if let Some(vblank) = self.vblanks.get_mut(crtc) {
            vblank.pending = Some(pending);
        }
        true
    }

    /// Shows the state of a CRTC's planes from now on.
    pub(crate) fn latch(&mut self, crtc: usize, is_new: bool) {
        let state = self.state.crtcs.get(crtc);
        let mode = state
            .filter(|state| state.active)
            .and_then(|state| state.mode.as_ref());
        let mut layers = Vec::new();
        for ((plane, state), shown) in self
            .planes
            .iter()
            .zip(&self.state.planes)
            .zip(&mut self.shown)
        {
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
        let size = mode.map(|set| (set.mode.width(), set.mode.height()));
        let frame_ns = mode.map_or(0, |set| set.mode.frame_ns());
        let gamma = state.and_then(|state| state.gamma.as_ref());
        let gamma = gamma.and_then(|blob| gamma_table(&blob.bytes));
        let is_new = is_new
            || self
                .outputs
                .get(&crtc)
                .is_some_and(|shown: &Shown| shown.is_new);
        self.outputs.insert(
            crtc,
            Shown {
                crtc,
                size,
                frame_ns,
                layers,
                is_new,
                gamma,
            },
        );
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
                let is_held = pending.fences.iter().any(|fence| memory.is_pending(*fence))
                    || pending
                        .buffers
                        .iter()
                        .any(|buffer| memory.is_written(*buffer));
                if is_held || !may_show(crtc) {
                    pending.is_late = true;
                } else if !pending.is_late {
                    at = pending.sequence;
                }
                if !is_held && may_show(crtc) {
                    self.show(crtc, at, memory);
                }
            } else if vblank.is_touched && vblank.pending.is_none() && may_show(crtc) {
                vblank.is_touched = false;
                self.latch(crtc, false);
            }
            for due in due {
                let time_ns = self
                    .vblanks
                    .get(crtc)
                    .map_or(0, |v| v.time_ns(due.sequence));
                self.send(&due, crtc, (due.sequence, time_ns));
            }
        }
        self.wake_waits();
        self.collect(memory);
    }

    /// Completes the pending commit of a CRTC at a vblank.
    fn show(&mut self, crtc: usize, at: u64, memory: &mut dyn Memory) {
        let Some(vblank) = self.vblanks.get_mut(crtc) else {
            return;
        };
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
        self.latch(crtc, true);
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
        let mut pending = self
            .vblanks
            .iter()
            .filter_map(|vblank| vblank.pending.as_ref());
        pending.any(|pending| pending.call == Some(call))
    }

    /// Forgets a waiting call. What it has begun goes on.
    pub fn abandon(&mut self, call: u64) {
        self.waits.remove(&call);
        let pending = self
            .vblanks
            .iter_mut()
            .filter_map(|vblank| vblank.pending.as_mut());
        for pending in pending.filter(|pending| pending.call == Some(call)) {
            pending.call = None;
        }
    }

    /// Returns the time in nanoseconds at which [`advance`](Self::advance) is needed next, or `None`.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        let on = self
            .vblanks
            .iter()
            .enumerate()
            .filter(|(_, vblank)| vblank.is_on);
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
        due.min()
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
        for vblank in &mut self.vblanks {
            for fence in vblank
                .pending
                .take()
                .into_iter()
                .flat_map(|pending| pending.fences)
            {
                memory.release_fence(fence);
            }
        }
        self.outputs.clear();
        self.collect(memory);
    }

    /// Takes a framebuffer from its file and from the screen. CRTCs stay on.
    pub(crate) fn remove_fb(&mut self, id: u32, memory: &mut (impl Memory + ?Sized)) {
        let shows = |plane: &PlaneState| plane.fb.as_ref().is_some_and(|fb| fb.id == id);
        for at in 0..self.planes.len() {
            for list in [&mut self.state.planes, &mut self.shown] {
                if let Some(plane) = list.get_mut(at).filter(|plane| shows(plane)) {
                    *plane = plane.off();
                    let crtc = self.planes.get(at).map_or(0, |plane| plane.crtc);
                    if let Some(vblank) = self.vblanks.get_mut(crtc) {
                        vblank.is_touched = true;
                    }
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
