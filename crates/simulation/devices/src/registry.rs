//! The kinds of devices: one row each, from which their checks, settings, nodes and constructors follow.
//!
//! This is the only module that knows both what a user writes and how devices are made of it. A new kind needs
//! a module of its own and a row here.

mod formats;
mod make;
mod nodes;
mod settings;

use crate::Failure;
use crate::choice::{CameraInput, CardSpec, ClipEnd, SinkSpec};
use crate::description::Description;
use crate::hosted::HostedDevice;
use crate::m2m::FrameConverter;
use crate::node::NodeSpec;
use crate::settings::{HostSettings, Settings};
use crate::spec::parse::{parse_sink, parse_source, split};
use crate::spec::{DeviceKind, DeviceSpec, SpecError, unknown_kind};
use crate::{graph, hdmi};
#[cfg(test)]
pub(crate) use make::for_tests::*;
use std::str::FromStr;
use std::sync::LazyLock;
use vb3_codec::{CODECS, Kind};
use vb3_v4l2::PixelFormat;

/// A kind of device that a SPEC (the text that requests a device) can name.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind's name in a SPEC.
    pub name: &'static str,
    /// The values that may follow `=`; empty if there are none.
    pub values: &'static str,
    /// The description of the kind.
    pub meaning: &'static str,
    /// Whether the device has both queues, with separate ones for each open file.
    pub is_mem2mem: bool,
    /// Whether the device has the multi-planar API if `mplane=` is not set.
    pub(crate) mplane: bool,
    parse: Parse,
    formats: fn(&DeviceSpec) -> Vec<&'static PixelFormat>,
}

/// Parses a kind's name and the value after `=`.
/// The error has a message only if the list of kinds does not explain the error.
type Parse = fn(&str, &str) -> Result<DeviceKind, Option<&'static str>>;

/// A device that was made for a node.
type Made<C> = Result<Box<dyn HostedDevice<Cookie = C> + Send>, Failure>;

/// Puts a device that was made in a box.
fn boxed<C, D>(made: Result<D, Failure>) -> Made<C>
where
    D: HostedDevice<Cookie = C> + Send + 'static,
{
    Ok(Box::new(made?))
}

/// Refuses to make a device: it has no node of its own, or several.
fn no_node<C>(node: &NodeSpec, _: &Settings) -> Made<C> {
    let kind = node.kind.name();
    let sentence = format!("{kind} is no device with one video node");
    Err(Failure::new(sentence))
}

/// Defines lists of kinds, and the function that makes a device of a kind. Each row has the kind's name, its
/// values, its meaning, whether it has both queues, whether it has the multi-planar API by default, the parser
/// of its value, its pixel formats, and its constructor.
macro_rules! kinds {
    ($($list:ident { $(
        $name:literal = $values:expr, $meaning:literal, $is_mem2mem:literal, $mplane:literal,
        $parse:expr, $formats:expr, $make:expr;
    )* })*) => {
        $(const $list: &[Row] = &[$(Row {
            name: $name,
            values: $values,
            meaning: $meaning,
            is_mem2mem: $is_mem2mem,
            mplane: $mplane,
            parse: $parse,
            formats: $formats,
        },)*];)*

        /// Makes the device of a kind that is no codec.
        fn make_kind<C: Send + 'static>(node: &NodeSpec, settings: &Settings) -> Made<C> {
            match node.kind.name() {
                $($($name => $make(node, settings),)*)*
                _ => Err(Failure::new("there is no such kind of device")),
            }
        }
    };
}

const SOURCES: &str = "pattern or FILE";
const SINKS: &str = "null, FILE.y4m, FILE.raw, FILE.yuv, FILE.rgb or NAME%04d.png";

kinds! {
    FIRST {
        "camera" = SOURCES, "a camera; ffmpeg decodes a FILE (default pattern)", false, false,
            |_, value| parse_camera(value, CameraInput::Sensor), formats::sensor, |node, settings| boxed(make::camera(node, settings));
        "display" = SINKS, "a display that records what it is shown (default null)", false, false,
            |_, value| Ok(DeviceKind::Display { sink: parse_recording(value)? }), formats::display, |node, settings| boxed(make::display(node, settings));
        "kms" = SINKS, "a display card, /dev/dri/card0, that records what it shows (default null)", false, false,
            |_, value| parse_card(value), formats::picture, no_node;
        "loopback" = "", "two nodes: what a program writes to the first, others read from the second", false, false,
            |_, value| bare(value, DeviceKind::Loopback { readers: 1, exclusive: false, placeholder: None }),
            formats::loopback, no_node;
    }
    LAST {
        "capture-convert" = SOURCES, "a camera with a scaler, which crops and scales", false, false,
            |_, value| parse_camera(value, CameraInput::Scaler), formats::scaler, |node, settings| boxed(make::camera(node, settings));
        "hdmi" = SOURCES, "an HDMI capture device with DV timings and EDID (default pattern)", false, false,
            |_, value| parse_camera(value, CameraInput::Hdmi), formats::picture, |node, settings| boxed(make::camera(node, settings));
        "convert" = "", "crops, scales, turns and converts pictures, memory to memory", true, true,
            plain, formats::scaler, |_, settings| boxed(FrameConverter::new(settings));
        "vimc" = "", "Linux's virtual media controller: sensors, debayers, a scaler and three captures", false, false,
            |_, value| bare(value, DeviceKind::Graph(&graph::VIMC)), formats::graph, no_node;
        "sensor" = graph::MODELS, "a raw image sensor behind Qualcomm's camera receiver (default imx219)", false, true,
            |_, value| parse_sensor(value), formats::graph, no_node;
    }
}

/// All kinds of devices, in the order of help texts. Codecs are multi-planar, as most of the kernel's are.
pub static KINDS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let codecs = CODECS.iter().map(|it| Row {
        name: it.word,
        values: "",
        meaning: it.meaning,
        is_mem2mem: true,
        mplane: true,
        parse: parse_codec,
        formats: formats::codec,
    });
    let first = FIRST.iter().copied();
    first.chain(codecs).chain(LAST.iter().copied()).collect()
});

fn parse_codec(name: &str, value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let kind = Kind::from_word(name).ok_or(None)?;
    bare(value, DeviceKind::Codec(kind))
}

fn parse_camera(value: &str, input: CameraInput) -> Result<DeviceKind, Option<&'static str>> {
    Ok(DeviceKind::Camera {
        source: parse_source(value),
        end: ClipEnd::Loop,
        input,
    })
}

fn parse_recording(value: &str) -> Result<SinkSpec, Option<&'static str>> {
    parse_sink(value).map_err(Some)
}

fn parse_sensor(value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let topology = graph::sensor_topology(value);
    let kind = topology.map(DeviceKind::Graph);
    kind.ok_or(Some(graph::UNKNOWN_MODEL))
}

fn parse_card(value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let sink = parse_recording(value)?;
    let card = CardSpec::default();
    Ok(DeviceKind::Kms { sink, card })
}

/// Parses a kind without settings of its own.
fn plain(name: &str, value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let row = KINDS.iter().find(|row| row.name == name).ok_or(None)?;
    bare(value, DeviceKind::Plain(row.name))
}

/// Returns `kind` if `value` is empty. Otherwise fails.
fn bare(value: &str, kind: DeviceKind) -> Result<DeviceKind, Option<&'static str>> {
    match value.is_empty() {
        true => Ok(kind),
        false => Err(None),
    }
}

impl FromStr for DeviceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let words = split(text);
        let mut words = words.iter().map(String::as_str);
        let first = words.next().unwrap_or_default();
        let (kind, value) = first.split_once('=').unwrap_or((first, ""));
        let (kind, like) = match kind.ends_with(".toml") {
            true => ("camera", Some(kind)),
            false => (kind, None),
        };
        let row = KINDS.iter().find(|row| row.name == kind);
        let names = KINDS.iter().map(|known| known.name);
        let row = row.ok_or_else(|| unknown_kind(kind, value, names))?;
        let made = (row.parse)(kind, value).map_err(|why| match why {
            Some(allowed) => SpecError::value(kind, value, allowed),
            None => SpecError(format!(
                "{kind} takes no file; write {kind} without ={value}"
            )),
        })?;
        let mut spec = Self::new(made, row.mplane);
        let mut seen: Vec<(&str, &str)> = Vec::new();
        if let Some(file) = like {
            spec.like = Some(Description::load(file).map_err(SpecError)?);
            seen.push(("like", file));
        }
        for word in words {
            let said = spec.take_word(word, &seen, Self::offered)?;
            seen.push(said);
        }
        spec.follow_like(&seen)?;
        spec.check_format()?;
        spec.check_hdmi_mode()?;
        spec.check_conflicts(&seen)?;
        spec.check_addresses(&seen)?;
        Ok(spec)
    }
}

impl DeviceSpec {
    fn row(&self) -> Option<&'static Row> {
        let name = self.kind.name();
        KINDS.iter().find(|row| row.name == name)
    }

    /// Returns whether the device has both queues, with separate ones for each open file.
    #[must_use]
    pub fn is_mem2mem(&self) -> bool {
        self.row().is_some_and(|row| row.is_mem2mem)
    }

    /// Checks that an HDMI source can have the size and the rate.
    fn check_hdmi_mode(&self) -> Result<(), SpecError> {
        if self.kind.input() != Some(CameraInput::Hdmi) || self.hdmi_mode().is_some() {
            return Ok(());
        }
        let size = self
            .size
            .map_or_else(|| "1920x1080".to_owned(), |size| size.to_string());
        let fps = self.fps.map_or_else(String::new, |fps| {
            format!(",fps={}/{}", fps.numerator, fps.denominator)
        });
        let allowed = format!("hdmi has the modes {}", hdmi::modes_of(&size));
        Err(SpecError::value("size", &format!("{size}{fps}"), allowed))
    }
}

/// Makes the device of a node. For a memory-to-memory device, this is one open file's part.
/// Fails, with a message for the user, if a clip cannot be played or a recording cannot be written.
pub(crate) fn make<C: Send + 'static>(node: &NodeSpec, host: &HostSettings) -> Made<C> {
    let settings = settings::of(node, host);
    if let Some(made) = make::part(node, &settings) {
        return made;
    }
    match &node.kind {
        DeviceKind::Codec(kind) => make::codec(*kind, &settings),
        _ => make_kind(node, &settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name_and_formats() {
        for row in KINDS.iter() {
            let name = row.name;
            let spec: DeviceSpec = name.parse().expect(name);
            assert_eq!((spec.kind.name(), spec.mplane), (name, row.mplane));
            assert!(!spec.pixel_formats().is_empty(), "{name}");
            // Only kinds whose values are documented accept a value.
            let value = match name {
                "sensor" => "ov5647",
                _ => "pattern.y4m",
            };
            let given = format!("{name}={value}").parse::<DeviceSpec>();
            assert_eq!(given.is_ok(), !row.values.is_empty(), "{name}");
        }
    }
}
