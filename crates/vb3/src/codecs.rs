//! The codecs of `vb3`.

use vb3_codec::{Codecs, Launch};
use vb3_world::Outside;

/// Returns the codecs of `vb3`, which runs itself as `vb3 codec`, and of `vb3-codec` if installed.
pub(crate) fn all() -> Codecs {
    Codecs::with_program(Launch::program("/proc/self/exe", ["codec"]))
}

/// Returns what a world of `vb3` gets from outside: these codecs.
pub(crate) fn outside() -> Outside {
    Outside::with_codecs(all())
}
