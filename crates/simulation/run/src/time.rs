//! Advances time: finds due work, and the programs that wait for it.

use crate::Run;
use crate::control::Control;
use std::time::Duration;
use vb3_frontend::FileId;

/// Interval of checks whether the kernel's dma-bufs still exist, since the kernel does not report their end.
pub(super) const LOOK_NS: u64 = 50_000_000;

/// How often the host polls other drivers' buffers for finished work.
const ASK: Duration = Duration::from_millis(1);

/// Maximum number of pieces of pictures that [`Run::move_pieces`] moves for each device.
const MAX_CONTINUED: usize = 8;

/// How often the host tries to send lines to clients whose sockets were full.
const FLUSH: Duration = Duration::from_millis(50);

impl Run {
    /// Passes the current time to all parts that need it.
    pub(super) fn set_now(&mut self) -> u64 {
        let now = self.clock.now_ns();
        self.memory.buffers().set_now(now);
        self.memory.ops_mut().platform_mut().set_now_ns(now);
        now
    }

    /// Returns when the next event in virtual time is due.
    fn next_event(&self) -> Option<u64> {
        let now = self.clock.now_ns();
        let ticks = self.nodes.iter().filter_map(|node| node.next_event(now));
        ticks.chain(self.other_dues()).min()
    }

    /// Returns when steps of the script, plugs and cards are due next.
    fn other_dues(&self) -> impl Iterator<Item = u64> {
        let dues = [
            self.play.next_ns(),
            self.nodes.plugs.next_due(),
            self.next_card_tick(),
        ];
        dues.into_iter().flatten()
    }

    /// Records whether a program found nothing on a file, and therefore waits for time to advance.
    pub(super) fn note_wait(&mut self, file: FileId, found_nothing: bool) {
        match found_nothing && self.clock.follows_programs() {
            true => self.waits.files.insert(file),
            false => self.waits.files.remove(&file),
        };
    }

    /// Returns the time until the next tick, or `None` if no work is planned.
    pub(super) fn until_next_tick(&self) -> Option<Duration> {
        let shares = self.shares.borrow();
        let looks = shares.wants_looks() || self.fences.deadlocks.is_watching();
        let look = looks.then(|| {
            let left = shares.next_look_ns.saturating_sub(self.clock.real_ns());
            Duration::from_nanos(left)
        });
        let due = if self.clock.is_virtual() {
            let now = self.clock.now_ns();
            let standstill = self.standstill();
            let waits = self.waits.is_any() && self.clock.follows_programs();
            let due = self.next_event();
            match due.filter(|due| waits && standstill.is_none() || *due <= now) {
                Some(_) => Some(Duration::ZERO),
                None => standstill.filter(|_| waits),
            }
        } else {
            let ticks = self.nodes.next_tick().into_iter();
            let due = ticks.chain(self.other_dues()).min();
            due.map(|due| Duration::from_nanos(self.clock.until(due)))
        };
        // Only polling shows whether another driver's work has ended.
        let asks = shares.imports.has_pending();
        let ask = asks.then_some(ASK);
        let order = self.has_orders().then_some(Duration::ZERO);
        let advances = self.clock.is_virtual() && self.orders.next_time().is_some();
        let advance = advances.then(|| self.standstill().unwrap_or(Duration::ZERO));
        let has_backlog = self
            .orders
            .control
            .as_ref()
            .is_some_and(Control::has_backlog);
        let flush = has_backlog.then_some(FLUSH);
        let others = [look, ask, order, advance, flush];
        due.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Returns whether a tick must run before the next call.
    pub(super) fn is_tick_due(&self) -> bool {
        if self.clock.is_virtual() {
            return self.until_next_tick().is_some_and(|due| due.is_zero());
        }
        let due = self.other_dues().chain(self.nodes.next_beginning()).min();
        due.is_some_and(|due| self.clock.until(due) == 0)
    }

    /// Moves further pieces of unfinished pictures, until a frame is complete, other work is due or `is_wanted`
    /// returns true.
    pub(super) fn move_pieces(&mut self, is_wanted: &dyn Fn() -> bool) {
        let now = self.set_now();
        let done = |run: &Self| -> u64 { run.nodes.iter().map(|node| node.watch.done()).sum() };
        let before = done(self);
        for _ in 0..MAX_CONTINUED {
            self.nodes.tick(&mut self.memory, now, &self.clock);
            let has_begun = self.nodes.iter().any(|node| node.video.has_begun());
            if !has_begun || done(self) != before || self.is_tick_due() || is_wanted() {
                break;
            }
        }
        self.after_call();
    }

    /// Runs a tick: does all work that is due.
    pub(super) fn pass_time(&mut self) {
        if self.clock.follows_programs() && self.waits.is_any() {
            if self.may_pass()
                && let Some(due) = self.next_event()
            {
                self.clock.jump(due);
            }
            self.waits.wake_all();
        }
        if let Some(target) = self.orders.next_time()
            && self.may_pass()
        {
            let due = self.next_event().filter(|due| *due < target);
            self.clock.jump(due.unwrap_or(target));
        }
        let now = self.set_now();
        self.memory.ops_mut().tick(now);
        self.nodes.tick(&mut self.memory, now, &self.clock);
        self.tick_cards(now);
        let real = self.clock.real_ns();
        let shares = self.shares.get_mut();
        if real >= shares.next_look_ns {
            shares.next_look_ns = real.saturating_add(LOOK_NS);
            shares.look_at_some(&mut self.memory);
            self.name_deadlocks(real);
            if self.fences.deadlocks.is_watching() {
                self.want_buffers_back();
            }
        }
        self.plug_on_time(now);
        self.serve_control();
        self.after_call();
    }
}
