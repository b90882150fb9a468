//! Media graphs that programs change: their tables and their state.

mod pipeline;
mod sensor;
mod topology;

pub use pipeline::{MediaGraph, Refused, clamp_colors};
pub use sensor::{Flipping, Flips, Gain, MOSAICS, Sensor, SensorMode};
pub use topology::{EntityNode, EntitySpec, Follows, LinkSpec, PadSpec, Topology};
