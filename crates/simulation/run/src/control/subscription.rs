//! The events that a client wants.

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A device finished a frame.
    Frame,
    /// A program opened a device.
    Open,
    /// A stream started.
    Start,
    /// A call was refused.
    Refusal,
}

impl EventKind {
    pub(crate) const ALL: [Self; 4] = [Self::Frame, Self::Open, Self::Start, Self::Refusal];

    /// Returns the kind's name, as the socket's orders and events contain it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Open => "open",
            Self::Start => "start",
            Self::Refusal => "refusal",
        }
    }
}

/// Events that a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) kinds: Vec<EventKind>,
    /// The index of the device whose events are wanted; if `None`, those of all devices.
    pub(crate) device: Option<usize>,
}

impl Subscription {
    /// Returns whether the subscription contains events of a kind and device.
    pub(crate) fn has(&self, kind: EventKind, device: Option<usize>) -> bool {
        self.kinds.contains(&kind) && (self.device.is_none() || self.device == device)
    }
}
