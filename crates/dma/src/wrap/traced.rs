//! The wrapper that tells.

use super::{Call, Hooked, Hooks, Sink};

/// Tells a sink of every call that changes something or may fail. Queries are not told.
pub type Traced<O, S> = Hooked<O, Tell<S>>;

/// The hook of [`Traced`].
#[derive(Debug)]
pub struct Tell<S>(S);

impl<D, S: Sink<Call<D>>> Hooks<D> for Tell<S> {
    fn after(&mut self, call: Call<D>) {
        self.0.take(call);
    }
}

impl<O, S> Traced<O, S> {
    /// Tells `sink` of the calls to `ops`.
    pub const fn new(ops: O, sink: S) -> Self {
        Self::with(ops, Tell(sink))
    }
}
