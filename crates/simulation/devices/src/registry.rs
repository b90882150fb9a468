//! The kinds of devices: their names in a SPEC, their options and their constructors. A new kind needs a
//! module of its own and an entry here.

use crate::camera::Camera;
use crate::device::Outside;
use crate::display::Display;
use crate::graph::GraphNode;
use crate::loopback::{LoopbackCapture, LoopbackNode, LoopbackOutput, Placeholder};
use crate::metadata::Metadata;
use crate::node::{NodePart, NodeSpec};
use crate::spec::parse::{parse_sink, parse_source};
use crate::spec::{ClipEnd, DeviceSpec, SinkSpec, SourceSpec};
use crate::{
    Decoder, Encoder, Failure, FrameConverter, HostSettings, StatelessDecoder, graph, loopback,
    m2m, mode,
};
use std::path::PathBuf;
use std::sync::LazyLock;
use vb3_codec::{CODECS, Kind};
use vb3_v4l2::{Flow, PixelFormat, Topology, pixfmt};

/// The part of a camera from which its pictures come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraInput {
    /// A sensor without a scaler.
    Sensor,
    /// A sensor with a scaler between it and the buffer.
    Scaler,
    /// An HDMI receiver.
    Hdmi,
}

/// The planes and connectors of a display card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardSpec {
    /// Number of connectors, 1 to 8; 0 for the default, one.
    pub connectors: usize,
    /// Number of overlay planes of each connector, up to 8.
    pub overlays: usize,
    /// Whether planes scale.
    pub scales: bool,
    /// The file of the monitors' EDID.
    pub edid: Option<PathBuf>,
}

/// The kind of a device, with the kind's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// A CAPTURE device, which plays a source.
    Camera {
        /// The source of its pictures.
        source: SourceSpec,
        /// What the camera does at the end of its clip.
        end: ClipEnd,
        /// The part from which its pictures come.
        input: CameraInput,
    },
    /// An OUTPUT device, which shows pictures.
    Display {
        /// The destination of its recording.
        sink: SinkSpec,
    },
    /// A display card. It is no video node: programs use it by DRM.
    Kms {
        /// The destination of its recording.
        sink: SinkSpec,
        /// Its planes and connectors.
        card: CardSpec,
    },
    /// An OUTPUT node and CAPTURE nodes. Frames written to the OUTPUT node appear at the CAPTURE nodes.
    Loopback {
        /// Number of CAPTURE nodes, 1 to 8.
        readers: u32,
        /// Whether CAPTURE nodes have a format only while a writer streams.
        exclusive: bool,
        /// The pictures that readers get while no writer streams, if any.
        placeholder: Option<Placeholder>,
    },
    /// Decodes or encodes a stream or files, memory to memory.
    Codec(Kind),
    /// Crops, scales, turns and converts pictures, memory to memory.
    #[default]
    Converter,
    /// A device with several nodes, which share a media graph.
    Graph(&'static Topology),
}

const SINKS: &str = "null, FILE.y4m, FILE.raw, FILE.yuv, FILE.rgb or NAME%04d.png";

/// A kind of device that a SPEC can name.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind's name in a SPEC.
    pub name: &'static str,
    /// The values that may follow `=`; empty if there are none.
    pub values: &'static str,
    /// The description of the kind.
    pub meaning: &'static str,
    /// Whether the device has the multi-planar API if `mplane=` is not set.
    pub(crate) mplane: bool,
    pub(crate) parse: Parse,
}

/// Parses a kind's name and the value after `=`.
/// The error has a message only if the list of kinds does not explain the error.
type Parse = fn(&str, &str) -> Result<DeviceKind, Option<&'static str>>;

const fn row(
    name: &'static str,
    values: &'static str,
    meaning: &'static str,
    mplane: bool,
    parse: Parse,
) -> Row {
    Row {
        name,
        values,
        meaning,
        mplane,
        parse,
    }
}

const SOURCES: &str = "pattern or FILE";

/// All kinds of devices, in the order of help texts.
pub static KINDS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let codecs = CODECS
        .iter()
        .map(|it| row(it.word, "", it.meaning, true, codec));
    FIRST
        .iter()
        .copied()
        .chain(codecs)
        .chain(LAST.iter().copied())
        .collect()
});

/// Kinds that precede the codecs.
#[rustfmt::skip]
const FIRST: &[Row] = &[
    row("camera", SOURCES, "a camera; ffmpeg decodes a FILE (default pattern)", false,
        |_, value| camera(value, CameraInput::Sensor)),
    row("display", SINKS, "a display that records what it is shown (default null)", false,
        |_, value| display(value)),
    row("kms", SINKS, "a display card, /dev/dri/card0, that records what it shows (default null)", false,
        |_, value| card(value)),
    row("loopback", "", "two nodes: what a program writes to the first, others read from the second", false,
        |_, value| bare(value, DeviceKind::Loopback { readers: 1, exclusive: false, placeholder: None })),
];

/// Kinds that follow the codecs.
#[rustfmt::skip]
const LAST: &[Row] = &[
    row("capture-convert", SOURCES, "a camera with a scaler, which crops and scales", false,
        |_, value| camera(value, CameraInput::Scaler)),
    row("hdmi", SOURCES, "an HDMI capture device with DV timings and EDID (default pattern)", false,
        |_, value| camera(value, CameraInput::Hdmi)),
    row("convert", "", "crops, scales, turns and converts pictures, memory to memory", true,
        |_, value| bare(value, DeviceKind::Converter)),
    row("vimc", "", "Linux's virtual media controller: sensors, debayers, a scaler and three captures", false,
        |_, value| bare(value, DeviceKind::Graph(&graph::VIMC))),
    row("sensor", graph::MODELS, "a raw image sensor behind Qualcomm's camera receiver (default imx219)", true,
        |_, value| sensor(value)),
];

/// Codecs are multi-planar, as most of the kernel's codecs are.
fn codec(name: &str, value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let kind = Kind::from_word(name).ok_or(None)?;
    bare(value, DeviceKind::Codec(kind))
}

fn camera(value: &str, input: CameraInput) -> Result<DeviceKind, Option<&'static str>> {
    Ok(DeviceKind::Camera {
        source: parse_source(value),
        end: ClipEnd::Loop,
        input,
    })
}

fn display(value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let sink = parse_sink(value).map_err(Some)?;
    Ok(DeviceKind::Display { sink })
}

fn card(value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let sink = parse_sink(value).map_err(Some)?;
    let card = CardSpec::default();
    Ok(DeviceKind::Kms { sink, card })
}

fn sensor(value: &str) -> Result<DeviceKind, Option<&'static str>> {
    let unknown = Some("sensor= takes imx219, imx219-4lane or ov5647");
    let topology = graph::sensor_topology(value);
    topology.map(DeviceKind::Graph).ok_or(unknown)
}

/// Returns `kind` if `value` is empty. Otherwise fails.
fn bare(value: &str, kind: DeviceKind) -> Result<DeviceKind, Option<&'static str>> {
    match value.is_empty() {
        true => Ok(kind),
        false => Err(None),
    }
}

impl DeviceKind {
    /// Returns the kind's name in a SPEC.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Camera { input, .. } => match input {
                CameraInput::Sensor => "camera",
                CameraInput::Scaler => "capture-convert",
                CameraInput::Hdmi => "hdmi",
            },
            Self::Display { .. } => "display",
            Self::Kms { .. } => "kms",
            Self::Loopback { .. } => "loopback",
            Self::Codec(kind) => kind.word(),
            Self::Converter => "convert",
            Self::Graph(topology) => graph::kind(topology),
        }
    }

    /// Returns the codec's own kind; `None` for other devices.
    pub(crate) const fn codec(&self) -> Option<Kind> {
        match self {
            Self::Codec(kind) => Some(*kind),
            _ => None,
        }
    }

    /// Returns a camera's input; `None` for other devices.
    pub(crate) const fn input(&self) -> Option<CameraInput> {
        match self {
            Self::Camera { input, .. } => Some(*input),
            _ => None,
        }
    }

    /// Returns whether the device has both queues, with separate ones for each open file.
    #[must_use]
    pub const fn is_mem2mem(&self) -> bool {
        matches!(self, Self::Codec(_) | Self::Converter)
    }
}

impl DeviceSpec {
    /// Returns the pixel formats that devices of this kind support.
    pub(crate) fn pixel_formats(&self) -> Vec<&'static PixelFormat> {
        match &self.kind {
            DeviceKind::Camera { input, .. } => match (input, &self.like) {
                (CameraInput::Sensor, Some(like)) => like.pixels(),
                (CameraInput::Sensor, None) => mode::formats(self, |pixel| {
                    !pixel.is_compressed() || *pixel == pixfmt::MJPEG
                }),
                (CameraInput::Scaler, _) => mode::formats(self, vb3_picture::convert::converts),
                (CameraInput::Hdmi, _) => {
                    mode::formats(self, |pixel| SinkSpec::Null.accepts(pixel))
                }
            },
            DeviceKind::Display { sink } => mode::formats(self, |pixel| sink.accepts(pixel)),
            DeviceKind::Kms { .. } => mode::formats(self, |pixel| SinkSpec::Null.accepts(pixel)),
            DeviceKind::Loopback { .. } => loopback::formats(),
            DeviceKind::Converter => m2m::converter_formats(self),
            DeviceKind::Codec(kind) => m2m::codec_formats(*kind, self.mplane),
            DeviceKind::Graph(topology) => graph::formats(topology),
        }
    }

    /// Returns a device's nodes: itself, a loopback's OUTPUT and CAPTURE nodes, or a graph's nodes.
    ///
    /// # Errors
    /// Fails for an unsupported format, with a message for the user.
    pub fn nodes(&self) -> Result<Vec<NodeSpec>, Failure> {
        match &self.kind {
            DeviceKind::Loopback {
                readers,
                placeholder,
                ..
            } => loopback::nodes(self, *readers, placeholder.as_ref()),
            DeviceKind::Graph(topology) => Ok(graph::nodes(self, topology)),
            _ => Ok(vec![self.clone().into()]),
        }
    }
}

impl NodeSpec {
    /// Makes the device. For a memory-to-memory device, this is one open file's part.
    /// Fails, with a message for the user, if a clip cannot be played or a recording cannot be written.
    pub(crate) fn make<C: Send + 'static>(
        &self,
        place: &HostSettings,
    ) -> Result<Box<dyn Outside<Cookie = C> + Send>, Failure> {
        Ok(match (&self.part, &self.kind) {
            (NodePart::Metadata(link), _) => Box::new(Metadata::new(self, place, link)),
            (NodePart::Loopback(link, flow), kind) => {
                let exclusive = matches!(
                    kind,
                    DeviceKind::Loopback {
                        exclusive: true,
                        ..
                    }
                );
                match flow {
                    Some(Flow::Output) => Box::new(LoopbackOutput::new(self, place, link)),
                    Some(Flow::Capture) => {
                        Box::new(LoopbackCapture::new(self, place, link, exclusive))
                    }
                    None => Box::new(LoopbackNode::new(self, place, link, exclusive)?),
                }
            }
            (NodePart::Entity(graph, entity), _) => {
                Box::new(GraphNode::new(self, place, (graph, *entity))?)
            }
            (_, DeviceKind::Camera { .. }) => Box::new(Camera::new(self, place)?),
            (_, DeviceKind::Display { .. }) => Box::new(Display::new(self, place)?),
            (_, DeviceKind::Codec(kind)) if kind.encodes() => Box::new(Encoder::new(self, place)?),
            (_, DeviceKind::Codec(kind)) if kind.is_stateless() => {
                Box::new(StatelessDecoder::new(self, place)?)
            }
            (_, DeviceKind::Codec(_)) => Box::new(Decoder::new(self, place)?),
            (_, DeviceKind::Converter) => Box::new(FrameConverter::new(self, place)?),
            (_, DeviceKind::Loopback { .. } | DeviceKind::Graph(_)) => {
                return Err(Failure::new("the device has several nodes"));
            }
            (_, DeviceKind::Kms { .. }) => {
                return Err(Failure::new("a card is no video device"));
            }
        })
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
