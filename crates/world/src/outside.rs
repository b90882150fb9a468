//! The clock and the codec processes that a world gets from its caller.

use crate::clock::Clock;
use vb3_codec::{Codecs, Launch};

/// Returns the codecs of `vb3`, which runs itself as `vb3 codec`, and of `vb3-codec` if installed.
#[must_use]
pub fn codecs() -> Codecs {
    Codecs::with_program(Launch::program("/proc/self/exe", ["codec"]))
}

/// The clock and the codecs of a world.
pub struct Outside {
    pub(crate) clock: Clock,
    pub(crate) codecs: Codecs,
}

impl Default for Outside {
    /// The system's monotonic clock, and [`codecs`].
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
    /// Takes the caller's clock, in nanoseconds, which must be monotonic, and the codecs.
    pub fn new(now_ns: impl Fn() -> u64 + Send + 'static, codecs: impl Into<Codecs>) -> Self {
        Self {
            clock: Clock::given(now_ns),
            codecs: codecs.into(),
        }
    }
}
