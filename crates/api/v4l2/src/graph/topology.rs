//! Tables that describe the media graph of a device: its entities, pads, links and formats.

use super::sensor::Sensor;
use crate::ControlSpec;
use crate::pads::MbusFormat;
use crate::pixfmt::FourCc;

/// The media graph of a device. The device's nodes, calls and udev data derive from this table.
#[derive(Debug, PartialEq, Eq)]
pub struct Topology {
    /// Name of the driver.
    pub driver: &'static str,
    /// `card` of the video nodes.
    pub card: &'static str,
    /// `model` of the media device.
    pub model: &'static str,
    /// `bus_info` of the media device and its video nodes.
    pub bus_info: &'static str,
    /// Name of the device on the platform bus.
    pub device: &'static str,
    /// Entities in the order of registration, which determines the object ids.
    pub entities: &'static [EntitySpec],
    /// Data links, in the order of their creation.
    pub links: &'static [LinkSpec],
    /// Whether a pad has at most one enabled link. Enabling another fails with EBUSY.
    pub exclusive_pads: bool,
    /// Ancillary links: indices of the first and of the second entity.
    pub ancillary: &'static [(usize, usize)],
    /// Pixel formats of video nodes, each with the bus codes that it stores.
    pub pixels: &'static [(FourCc, &'static [u32])],
    /// Whether the colours of a video node's format must be those of the pad that a link connects with the node.
    pub compares_colors: bool,
    /// Whether video nodes support read().
    pub file_io: bool,
    /// Whether video nodes support REMOVE_BUFS.
    pub removes_buffers: bool,
    /// Whether formats and crop rectangles of streaming entities are fixed.
    pub fixed_while_streaming: bool,
    /// Smallest and largest width.
    pub width: (u32, u32),
    /// Smallest and largest height.
    pub height: (u32, u32),
    /// Whether all sizes are even.
    pub even: bool,
    /// The initial format of pads and video nodes. Its bus code is not used.
    pub default: MbusFormat,
}

impl Topology {
    /// Returns the pixel format that stores a bus code.
    #[must_use]
    pub fn pixel_of(&self, code: u32) -> Option<FourCc> {
        let found = self.pixels.iter().find(|(_, codes)| codes.contains(&code));
        found.map(|(fourcc, _)| *fourcc)
    }

    /// Returns the nearest allowed size.
    #[must_use]
    pub fn nearest_size(&self, width: u32, height: u32) -> (u32, u32) {
        let odd = u32::from(self.even);
        (
            width.clamp(self.width.0, self.width.1) & !odd,
            height.clamp(self.height.0, self.height.1) & !odd,
        )
    }
}

/// The kind of an entity's device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityNode {
    /// `/dev/videoN`, a CAPTURE device.
    Video,
    /// `/dev/v4l-subdevN`.
    Subdevice,
}

/// An entity of a [`Topology`].
#[derive(Debug, PartialEq, Eq)]
pub struct EntitySpec {
    /// Name, at most 31 bytes.
    pub name: &'static str,
    /// `MEDIA_ENT_F_*`.
    pub function: u32,
    /// The entity's device node.
    pub node: EntityNode,
    /// The entity's pads, by index.
    pub pads: &'static [PadSpec],
    /// Whether pad 0 has a crop rectangle.
    pub crop: bool,
    /// The controls of the entity's node.
    pub controls: &'static [ControlSpec],
    /// The image sensor's modes and timings; `None` for any other entity.
    pub sensor: Option<&'static Sensor>,
}

impl EntitySpec {
    /// Returns an entity with a subdevice node.
    /// The entity has no crop rectangle, no controls and no sensor.
    #[must_use]
    pub const fn subdevice(name: &'static str, function: u32, pads: &'static [PadSpec]) -> Self {
        Self {
            name,
            function,
            node: EntityNode::Subdevice,
            pads,
            crop: false,
            controls: &[],
            sensor: None,
        }
    }
}

/// A pad of an entity.
#[derive(Debug, PartialEq, Eq)]
pub struct PadSpec {
    /// `MEDIA_PAD_FL_*`.
    pub flags: u32,
    /// Bus codes that the pad offers; none for a video node.
    pub codes: &'static [u32],
    /// The initial bus code.
    pub code: u32,
    /// Which parts of the pad's format follow pad 0.
    pub follows: Follows,
}

impl PadSpec {
    /// Returns a pad with `MEDIA_PAD_FL_*` flags, its bus codes, and its initial code.
    #[must_use]
    pub const fn new(flags: u32, codes: &'static [u32], code: u32, follows: Follows) -> Self {
        Self {
            flags,
            codes,
            code,
            follows,
        }
    }
}

/// Which parts of a pad's format follow pad 0 of its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// No part.
    Nothing,
    /// Everything except the code, which never changes.
    Size,
    /// Everything except the size. A change of pad 0 resets the size.
    Code,
    /// The whole format. The pad enumerates only its current code and size.
    Everything,
}

/// A data link of a [`Topology`].
#[derive(Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// Index of the source entity, and index of its pad.
    pub source: (usize, u16),
    /// Index of the sink entity, and index of its pad.
    pub sink: (usize, u16),
    /// The initial `MEDIA_LNK_FL_*`.
    pub flags: u32,
}

impl LinkSpec {
    /// Makes a link from the source's pad to the sink's pad.
    #[must_use]
    pub const fn new(source: (usize, u16), sink: (usize, u16), flags: u32) -> Self {
        Self {
            source,
            sink,
            flags,
        }
    }
}
