//! The contexts of a device (driver, queues and controls), and sums over them.
//!
//! Only contexts that were borrowed mutably since the last update are examined again. So the cost of a call does not
//! grow with the number of open files, except on a device whose contexts affect each other (`are_linked`).

use crate::Flow;
use crate::VideoDriver;
use crate::context::Context;
use crate::file::FileHandle;
use crate::refusal::{MAX_REFUSALS, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use vb3_plane::MemOps;
use vb3_queue::Memory;

/// Progress of a device's queues of one direction, summed over all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowProgress {
    /// Finished buffers, including those of closed files.
    pub done: u64,
    /// Queues that stream.
    pub streaming: u32,
    /// Memory model of the latest buffer allocation.
    pub memory: Option<Memory>,
}

/// One context's contribution to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    done: [u64; 2],
    streaming: [bool; 2],
    /// Whether the driver has scheduled work, or waits for an external event.
    at_work: bool,
    /// Whether a queue streams and has buffers that the program has not dequeued.
    holds_back: bool,
}

/// Numbers in ascending order, each once. Unlike a B-tree, this keeps its allocation when it becomes empty.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: u64) {
        if let Err(at) = self.0.binary_search(&number) {
            self.0.insert(at, number);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Ok(at) = self.0.binary_search(&number) {
            self.0.remove(at);
        }
    }

    /// Replaces all numbers by these.
    fn set<'a>(&mut self, numbers: impl Iterator<Item = &'a u64>) {
        self.0.clear();
        self.0.extend(numbers);
    }

    fn has(&self, number: u64) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &u64> {
        self.0.iter()
    }

    /// Removes and returns all numbers.
    fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.0.drain(..)
    }
}

/// A context with its current contribution.
struct Entry<M: MemOps, D> {
    context: Context<M, D>,
    part: Part,
}

/// All contexts by number, with sums over them.
pub(crate) struct Contexts<M: MemOps, D> {
    // Boxed because a context has two kilobytes and a B-tree's node always has room for eleven values: without
    // the box, a device with one context would use twenty-two kilobytes.
    all: BTreeMap<u64, Box<Entry<M, D>>>,
    /// Contexts that were borrowed mutably since the last update of the sums.
    lent: Numbers,
    progress: [FlowProgress; 2],
    /// Contexts whose drivers need ticks.
    at_work: BTreeSet<u64>,
    /// Contexts with a streaming queue whose buffers are not all dequeued.
    holding_back: BTreeSet<u64>,
    /// Contexts that changed since the last [`ask_changed`](Self::ask_changed).
    unasked: Numbers,
    /// Files whose poll states or waiting calls may have changed.
    woken: BTreeSet<FileHandle>,
    refusals: Vec<Refusal>,
    /// Whether a call of one context can cause work in others, as with a duplex device.
    pub(crate) are_linked: bool,
}

impl<M: MemOps, D> Default for Contexts<M, D> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            lent: Numbers::default(),
            progress: [FlowProgress::default(); 2],
            at_work: BTreeSet::new(),
            holding_back: BTreeSet::new(),
            unasked: Numbers::default(),
            woken: BTreeSet::new(),
            refusals: Vec::new(),
            are_linked: false,
        }
    }
}

impl<M: MemOps, D> Contexts<M, D> {
    pub(crate) fn values(&self) -> impl Iterator<Item = &Context<M, D>> {
        self.all.values().map(|entry| &entry.context)
    }

    /// Iterates over all contexts mutably.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Context<M, D>)> {
        self.lent.set(self.all.keys());
        let all = self.all.iter_mut();
        all.map(|(&of, entry)| (of, &mut entry.context))
    }

    /// Returns a context.
    pub(crate) fn get(&self, of: u64) -> Option<&Context<M, D>> {
        self.all.get(&of).map(|entry| &entry.context)
    }

    /// Returns a context mutably.
    pub(crate) fn get_mut(&mut self, of: u64) -> Option<&mut Context<M, D>> {
        let entry = self.all.get_mut(&of)?;
        self.lent.insert(of);
        Some(&mut entry.context)
    }
}

impl<M, D> Contexts<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    pub(crate) fn insert(&mut self, of: u64, context: Context<M, D>) {
        let part = Part::default();
        self.all.insert(of, Box::new(Entry { context, part }));
        self.lent.insert(of);
    }

    /// Removes a context. Its finished buffers stay counted.
    pub(crate) fn remove(&mut self, of: u64) -> Option<Context<M, D>> {
        self.update_sums();
        let Entry { context, part } = *self.all.remove(&of)?;
        let rest = Part {
            done: part.done,
            ..Part::default()
        };
        self.change(of, part, rest);
        self.unasked.remove(of);
        Some(context)
    }

    /// Iterates over the contexts whose drivers have scheduled work or wait for an external event.
    pub(crate) fn at_work(&self) -> impl Iterator<Item = &Context<M, D>> {
        let lent = &self.lent;
        let known = self.at_work.iter().filter(|of| !lent.has(**of));
        let known = known.chain(lent.iter());
        let contexts = known.filter_map(|of| Some(&self.all.get(of)?.context));
        contexts.filter(|context| is_at_work(&context.driver))
    }

    /// Lists, by number, the contexts at work and those that may have begun to work.
    pub(crate) fn to_tick(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .at_work
            .iter()
            .chain(self.lent.iter())
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Lists, by number, the contexts with a streaming queue whose buffers are not all dequeued.
    /// Only these can have buffers that wait for fences.
    pub(crate) fn holding_back(&mut self) -> Vec<u64> {
        self.update_sums();
        self.holding_back.iter().copied().collect()
    }

    /// Calls `each` with every driver that may have changed since this method was last called.
    pub(crate) fn ask_changed(&mut self, mut each: impl FnMut(&mut D)) {
        self.update_sums();
        for of in self.unasked.drain() {
            if let Some(entry) = self.all.get_mut(&of) {
                each(&mut entry.context.driver);
            }
        }
    }

    /// Returns the progress of all queues of one direction.
    pub(crate) fn progress(&mut self, flow: Flow) -> FlowProgress {
        self.update_sums();
        self.progress[flow.index()]
    }

    /// Calls `each` with files whose poll states or waiting calls may have changed since this method was last called.
    pub(crate) fn take_woken(&mut self, mut each: impl FnMut(FileHandle)) {
        self.update_sums();
        // Unlike a new set, an emptied one need not be allocated again.
        while let Some(file) = self.woken.pop_first() {
            each(file);
        }
    }

    /// Returns the refusals since this method was last called, at most 256.
    pub(crate) fn take_refusals(&mut self) -> Vec<Refusal> {
        self.update_sums();
        core::mem::take(&mut self.refusals)
    }

    /// Updates the sums for contexts that were borrowed mutably.
    fn update_sums(&mut self) {
        // Returns early: each call of a program leads to several updates, and often no context was borrowed.
        if self.lent.is_empty() {
            return;
        }
        let mut lent = core::mem::take(&mut self.lent);
        for of in lent.drain() {
            let Some(Entry { context, part }) = self.all.get_mut(&of).map(Box::as_mut) else {
                continue;
            };
            let mut now = Part {
                at_work: is_at_work(&context.driver),
                ..Part::default()
            };
            self.unasked.insert(of);
            for flow in Flow::ALL {
                let Some(queue) = context.queue(flow) else {
                    continue;
                };
                let at = flow.index();
                now.done[at] = queue.statistics().done;
                now.streaming[at] = queue.is_streaming();
                now.holds_back |= queue.is_streaming() && queue.queued_count() > 0;
                let memory = &mut self.progress[at].memory;
                *memory = queue.memory().or(*memory);
            }
            if context.take_wake() {
                self.woken.extend(context.files.keys());
            }
            let room = MAX_REFUSALS.saturating_sub(self.refusals.len());
            self.refusals
                .extend(context.take_refusals().into_iter().take(room));
            let before = core::mem::replace(part, now);
            self.change(of, before, now);
        }
        // Puts the empty list back, to use its allocation again.
        self.lent = lent;
        if self.are_linked {
            self.lent.set(self.all.keys());
        }
    }

    /// Replaces one context's contribution to the sums.
    fn change(&mut self, of: u64, before: Part, now: Part) {
        if before.at_work != now.at_work {
            keep(&mut self.at_work, of, now.at_work);
        }
        if before.holds_back != now.holds_back {
            keep(&mut self.holding_back, of, now.holds_back);
        }
        for (at, sum) in self.progress.iter_mut().enumerate() {
            let done = now.done[at].saturating_sub(before.done[at]);
            sum.done = sum.done.saturating_add(done);
            match (before.streaming[at], now.streaming[at]) {
                (false, true) => sum.streaming = sum.streaming.saturating_add(1),
                (true, false) => sum.streaming = sum.streaming.saturating_sub(1),
                _ => {}
            }
        }
    }
}

/// Returns whether a driver needs ticks, now or later.
fn is_at_work<D: VideoDriver>(driver: &D) -> bool {
    driver.next_tick().is_some() || driver.wake_fd().is_some()
}

fn keep(set: &mut BTreeSet<u64>, of: u64, is_in: bool) {
    if is_in {
        set.insert(of);
    } else {
        set.remove(&of);
    }
}
