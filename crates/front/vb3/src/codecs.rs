//! The codecs of `vb3`.

use vb3_codec::{Codecs, Launch};
use vb3_run::Outside;

/// Returns all codecs: those built into `vb3`, which run in a child process `vb3 codec`, and those of
/// `vb3-codec` if it is installed.
pub(crate) fn all() -> Codecs {
    Codecs::with_program(Launch::program("/proc/self/exe", ["codec"]))
}

/// Returns all codecs as the argument that [`Run::with`](vb3_run::Run::with) takes.
pub(crate) fn outside() -> Outside {
    Outside::with_codecs(all())
}
