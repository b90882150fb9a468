//! The nodes that a backend offers.

use std::path::{Path, PathBuf};

use crate::NodeId;

/// The major number of video devices.
const VIDEO_MAJOR: u32 = 81;

/// The kind of a node, which decides its place in /sys and its major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `/dev/videoN`, in the class video4linux; the major is 81.
    Video,
    /// `/dev/mediaN`, on the bus of media devices.
    Media {
        /// Major number. Linux assigns it dynamically.
        major: u32,
    },
    /// A node without a device, in a separate class: `/dev/dma_heap/NAME`.
    Class {
        /// Name of the class below `/sys/class`.
        name: &'static str,
        /// Major number.
        major: u32,
    },
    /// A regular file without an entry in /sys: `/sys/kernel/debug/sync/sw_sync`.
    File,
}

/// A device in /sys that nodes lie below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusDevice {
    /// Its directory, e.g. `/sys/devices/platform/vb3-000`.
    pub path: String,
    /// Its bus, e.g. `platform`.
    pub bus: &'static str,
    /// Whether it stays when its nodes disappear, like a USB controller without cameras.
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

    /// Returns its name on its bus.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A node the backend offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its kind.
    pub kind: NodeKind,
    /// Absolute path, e.g. `/dev/video0`.
    pub path: PathBuf,
    /// Minor number.
    pub minor: u32,
    /// The devices above it in /sys, the outermost first. The last one is its own, which connects a
    /// video node with its media node. A media node without devices has no entry in /sys.
    pub devices: Vec<BusDevice>,
}

/// A node has appeared or disappeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hotplug {
    /// The node.
    pub node: NodeId,
    /// Whether it is present now.
    pub present: bool,
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

    /// Returns its major number.
    #[must_use]
    pub const fn major(&self) -> u32 {
        match self.kind {
            NodeKind::Video => VIDEO_MAJOR,
            NodeKind::Media { major } | NodeKind::Class { major, .. } => major,
            NodeKind::File => 0,
        }
    }

    /// Returns whether `path` names this node.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }
}
