//! One file's event subscriptions and pending events.

use crate::Error;
use std::collections::VecDeque;

/// Maximum number of subscriptions of one file.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 512;

/// Bytes of the payload (`u`) of a `v4l2_event`.
pub(crate) const PAYLOAD: usize = 64;

/// An event's payload, as in the union of `v4l2_event`.
pub(crate) type Payload = [u8; PAYLOAD];

/// The subject of an event: `V4L2_EVENT_*` and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) kind: u32,
    pub(crate) id: u32,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    topic: Topic,
    feedback: bool,
    /// Maximum number of events kept.
    depth: usize,
    /// Number of events kept now.
    kept: usize,
    /// Whether the payload's first 32 bits are flags, which are ORed if an event replaces another.
    merges: bool,
}

/// A pending event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
    pub(crate) timestamp_ns: u64,
    pub(crate) sequence: u32,
}

/// Subscriptions and pending events of one file.
///
/// Each subscription keeps a bounded number of events. If it is full, a new event replaces the oldest. The
/// oldest event's flags for changes are ORed into the next event, so no flag is lost.
///
/// Source: Linux `v4l2-event.c`.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    subscriptions: Vec<Subscription>,
    pending: VecDeque<Event>,
    sequence: u32,
}

impl EventQueue {
    /// Subscribes. Returns whether the subscription is new.
    ///
    /// # Errors
    /// ENOMEM when there are too many.
    pub(crate) fn subscribe(
        &mut self,
        topic: Topic,
        depth: usize,
        feedback: bool,
        merges: bool,
    ) -> Result<bool, Error> {
        if self.has(topic) {
            return Ok(false);
        }
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(Error::Full);
        }
        let depth = depth.max(1);
        self.subscriptions.push(Subscription {
            topic,
            feedback,
            depth,
            kept: 0,
            merges,
        });
        Ok(true)
    }

    /// Returns whether the file has subscribed to an event.
    pub(crate) fn has(&self, topic: Topic) -> bool {
        self.subscriptions.iter().any(|s| s.topic == topic)
    }

    /// Ends a subscription and drops its pending events.
    pub(crate) fn unsubscribe(&mut self, topic: Topic) {
        self.subscriptions.retain(|s| s.topic != topic);
        self.pending.retain(|e| e.topic != topic);
    }

    /// Ends all subscriptions.
    pub(crate) fn unsubscribe_all(&mut self) {
        self.subscriptions.clear();
        self.pending.clear();
    }

    /// Raises an event for this file, if it has subscribed. Returns whether the event was queued.
    ///
    /// An event that the file itself caused (`own`) is queued only if the subscription has
    /// `V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK`.
    pub(crate) fn raise(&mut self, topic: Topic, payload: Payload, now_ns: u64, own: bool) -> bool {
        let Some(sub) = self.subscriptions.iter_mut().find(|s| s.topic == topic) else {
            return false;
        };
        if own && !sub.feedback {
            return false;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut event = Event {
            topic,
            payload,
            timestamp_ns: now_ns,
            sequence: self.sequence.wrapping_sub(1),
        };
        if sub.kept < sub.depth {
            sub.kept += 1;
        } else if let Some(at) = self.pending.iter().position(|e| e.topic == topic) {
            let oldest = self.pending.remove(at);
            if let (true, Some(oldest)) = (sub.merges, oldest) {
                let next = self.pending.iter_mut().find(|e| e.topic == topic);
                merge(next.unwrap_or(&mut event), &oldest.payload);
            }
        }
        self.pending.push_back(event);
        true
    }

    /// Takes the oldest event, and returns it with the number of remaining events.
    pub(crate) fn take(&mut self) -> Option<(Event, u32)> {
        let event = self.pending.pop_front()?;
        if let Some(sub) = self
            .subscriptions
            .iter_mut()
            .find(|s| s.topic == event.topic)
        {
            sub.kept = sub.kept.saturating_sub(1);
        }
        Some((event, u32::try_from(self.pending.len()).unwrap_or(u32::MAX)))
    }

    /// Returns whether an event is pending.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// ORs the first 32 bits of an older payload into those of an event.
fn merge(event: &mut Event, older: &Payload) {
    let first = |p: &Payload| p.first_chunk::<4>().map_or(0, |b| u32::from_ne_bytes(*b));
    let bits = first(&event.payload) | first(older);
    if let Some(slot) = event.payload.first_chunk_mut::<4>() {
        *slot = bits.to_ne_bytes();
    }
}

#[cfg(test)]
mod tests;
