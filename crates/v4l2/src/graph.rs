//! Media graphs that programs change: their tables and their state.

mod pipeline;
mod topology;

pub use pipeline::{MediaGraph, Refused, clamp_colors};
pub use topology::{EntityNode, EntitySpec, Follows, LinkSpec, PadSpec, Topology};
