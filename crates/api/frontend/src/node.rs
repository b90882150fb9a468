//! The nodes that a backend offers.

use std::path::PathBuf;

use crate::NodeId;

/// The major number of video devices.
const VIDEO_MAJOR: u32 = 81;

/// The kind of a node. It decides the node's place in /sys and the major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `/dev/videoN`, in the class video4linux; the major is 81.
    Video,
    /// `/dev/mediaN`, on the bus of media devices.
    Media {
        /// Major number. Linux assigns it dynamically.
        major: u32,
    },
    /// A node without a device, in a class of its own, such as `/dev/dma_heap/NAME`.
    Class {
        /// Name of the class below `/sys/class`.
        name: &'static str,
        /// Major number.
        major: u32,
    },
    /// A regular file, which no device or class in /sys describes: `/sys/kernel/debug/sync/sw_sync`.
    File,
}

/// A device in /sys with nodes below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusDevice {
    /// The device's directory, such as `/sys/devices/platform/vb3-000`.
    pub path: String,
    /// Name of the bus that the device is on, such as `platform`.
    pub bus: &'static str,
    /// Whether the device stays when its nodes disappear. A USB controller stays when its camera is
    /// unplugged, for example.
    pub stays: bool,
}

impl BusDevice {
    /// Returns a device of the platform bus that disappears with its nodes.
    #[must_use]
    pub fn platform(name: &str) -> Self {
        Self {
            path: format!("/sys/devices/platform/{name}"),
            bus: "platform",
            stays: false,
        }
    }

    /// Returns the device's name on its bus: the last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A node that the backend offers, present or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Id by which the backend's methods name the node.
    pub id: NodeId,
    /// The node's kind, with the major number if the kind does not fix it.
    pub kind: NodeKind,
    /// Absolute path, such as `/dev/video0`.
    pub path: PathBuf,
    /// Minor number.
    pub minor: u32,
    /// The devices above the node in /sys, the outermost first. The last one is the node's own device. A
    /// video node and its media node share it. A media node without devices has no entry in /sys.
    pub devices: Vec<BusDevice>,
}

/// The appearance, disappearance or change of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hotplug {
    /// Id of the node.
    pub node: NodeId,
    /// The event.
    pub change: Change,
}

/// An event of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node has appeared.
    Added,
    /// The node has disappeared.
    Removed,
    /// The files of a present node in sysfs have changed. If a property is given, such as `HOTPLUG=1`, programs
    /// also get a uevent `change` with this property.
    Changed(Option<&'static str>),
}

impl Node {
    /// Returns a video node without a device in /sys.
    #[must_use]
    pub fn video(id: NodeId, path: impl Into<PathBuf>, minor: u32) -> Self {
        Self {
            id,
            kind: NodeKind::Video,
            path: path.into(),
            minor,
            devices: Vec::new(),
        }
    }

    /// Returns the node's major number, 0 for a regular file.
    #[must_use]
    pub const fn major(&self) -> u32 {
        match self.kind {
            NodeKind::Video => VIDEO_MAJOR,
            NodeKind::Media { major } | NodeKind::Class { major, .. } => major,
            NodeKind::File => 0,
        }
    }
}
