//! The clock and the codec processes that a world gets from its caller.

use crate::clock::Clock;
use vb3_codec::{Codecs, Launch};

/// The codecs of this program, in processes of it, and of `vb3-codec` where that is.
#[must_use]
pub fn codecs() -> Codecs {
    Codecs::with_program(Launch::program("/proc/self/exe", ["codec"]))
}

/// What a world has from outside.
pub struct Outside {
    pub(crate) clock: Clock,
    pub(crate) codecs: Codecs,
}

impl Default for Outside {
    /// The system's monotonic clock; codecs are processes, started from this program by a command
    /// that only it knows of.
    fn default() -> Self {
        let codecs = if cfg!(test) {
            Launch::in_thread().into()
        } else {
            codecs()
        };
        Self {
            clock: Clock::default(),
            codecs,
        }
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
    /// A clock of the caller's, in nanoseconds, that must never go back; and how codecs start.
    pub fn new(now_ns: impl Fn() -> u64 + Send + 'static, codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::given(now_ns),
            codecs: codecs.into(),
        }
    }
}
