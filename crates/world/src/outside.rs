//! The clock and the codec processes that a world gets from its caller.

use crate::clock::Clock;
use vb3_codec::{Codecs, Launch};

/// The clock and the codecs of a world.
pub struct Outside {
    pub(crate) clock: Clock,
    pub(crate) codecs: Codecs,
}

impl Default for Outside {
    /// The system's monotonic clock, and the codecs built into this process, in threads of it.
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
    /// Takes the caller's codecs, with the system's monotonic clock.
    pub fn with_codecs(codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::default(),
            codecs: codecs.into(),
        }
    }

    /// Takes the caller's clock, in nanoseconds, which must be monotonic, and the codecs.
    pub fn new(now_ns: impl Fn() -> u64 + Send + 'static, codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::given(now_ns),
            codecs: codecs.into(),
        }
    }
}
