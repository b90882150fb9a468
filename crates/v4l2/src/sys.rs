//! Structures, numbers and constants of `linux/videodev2.h`, `linux/dma-buf.h` and `linux/media.h`,
//! as bindgen sees them in Linux 6.12's user headers.
//!
//! `bindings.rs` is checked in, so that a build needs no libclang; `BINDGEN.args` beside it holds
//! the exact arguments. Nothing here is ever cast to or from a program's bytes: the structures give
//! sizes and offsets (`offset_of!`), and bytes are read by offset.

#[allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::cast_lossless,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
#[rustfmt::skip]
mod bindings;

pub use bindings::*;

/// The arguments of bindgen, one per line; lines that begin with `#` are comments.
pub const BINDGEN_ARGS: &str = include_str!("sys/BINDGEN.args");

/// The version QUERYCAP answers: that of the headers, 6.12.0.
pub const API_VERSION: u32 = 6 << 16 | 12 << 8;
