//! The kind of a device, as a user writes it.

use crate::choice::{CameraInput, CardSpec, ClipEnd, Placeholder, SinkSpec, SourceSpec};
use vb3_codec::Kind;
use vb3_v4l2::Topology;

/// The kind of a device, with the kind's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A device with several nodes, which share a media graph.
    Graph(&'static Topology),
    /// A kind without settings of its own, by its name.
    Plain(&'static str),
}

impl Default for DeviceKind {
    fn default() -> Self {
        Self::Plain("")
    }
}

impl DeviceKind {
    /// Returns the kind's name in a SPEC (the text that requests a device).
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
            Self::Graph(topology) => {
                let mut entities = topology.entities.iter();
                match entities.any(|entity| entity.sensor.is_some()) {
                    true => "sensor",
                    false => topology.driver,
                }
            }
            Self::Plain(name) => name,
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
}
