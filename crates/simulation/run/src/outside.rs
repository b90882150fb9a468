//! The clock and the codec processes that a run gets from its caller.

use crate::clock::Clock;
use vb3_codec::{Codecs, Launch};

/// The parts of a run that its caller chooses: the clock and the codecs.
pub struct Outside {
    pub(crate) clock: Clock,
    pub(crate) codecs: Codecs,
}

impl Default for Outside {
    /// Uses the system's monotonic clock, and runs the built-in codecs in threads of this process.
    fn default() -> Self {
        Self::with_codecs(Launch::in_thread())
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside")
            .field("codecs", &self.codecs)
            .finish_non_exhaustive()
    }
}

impl Outside {
    /// Uses the caller's codecs and the system's monotonic clock.
    pub fn with_codecs(codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::default(),
            codecs: codecs.into(),
        }
    }

    /// Uses the caller's codecs and monotonic clock, in nanoseconds.
    pub fn new(now_ns: impl Fn() -> u64 + Send + 'static, codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::given(now_ns),
            codecs: codecs.into(),
        }
    }
}
