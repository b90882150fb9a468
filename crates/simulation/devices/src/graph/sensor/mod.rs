//! Image sensors behind Qualcomm's camera receiver (CAMSS): topologies, controls and timings.
//!
//! Source: Linux 7.2 drivers/media/platform/qcom/camss. Differs: the device has one line of one VFE; initially,
//! the video node and the pads have the sensor's format; pads accept only what a sensor sends, and keep its
//! colours.
//!
//! docs/exposure.svg shows the mean samples while libcamera 0.4's software ISP sets exposure and gain.

mod imx219;
mod ov5647;
mod raw;
mod receiver;
mod setting;
#[cfg(test)]
mod tests;

pub(super) use raw::Raw;

pub(super) use setting::Setting;
use vb3_v4l2::Topology;

/// Defines the table of sensors: the models' names and topologies. The first model is the default.
macro_rules! sensors {
    ($first:literal = $of_first:expr, $($name:literal = $topology:expr,)* or $last:literal = $of_last:expr) => {
        /// The models of sensors, as the help for a SPEC names them.
        pub(crate) const MODELS: &str = concat!($first, $(", ", $name,)* " or ", $last);
        /// The message about an unknown model.
        pub(crate) const UNKNOWN_MODEL: &str =
            concat!("sensor= takes ", $first, $(", ", $name,)* " or ", $last);

        /// Returns the topology of a model. An empty name stands for the first model.
        pub(crate) fn topology(model: &str) -> Option<&'static Topology> {
            match model {
                "" | $first => Some(&$of_first),
                $($name => Some(&$topology),)*
                $last => Some(&$of_last),
                _ => None,
            }
        }
    };
}

sensors! {
    "imx219" = imx219::TOPOLOGY,
    "imx219-4lane" = imx219::TOPOLOGY_4LANE,
    or "ov5647" = ov5647::TOPOLOGY
}
