//! The nodes that a backend offers.

use std::path::{Path, PathBuf};

use crate::NodeId;

/// The major number of video devices.
const VIDEO_MAJOR: u32 = 81;

/// A kind of nodes: where it stands in /sys, and its major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `/dev/videoN`, in the class video4linux; the major is 81.
    Video,
    /// `/dev/mediaN`, on the bus of media devices.
    Media {
        /// Major number. Linux hands one out as it starts.
        major: u32,
    },
    /// A node of no device, in a class of its own: `/dev/dma_heap/NAME`.
    Class {
        /// The class, as it is called below `/sys/class`.
        name: &'static str,
        /// Major number.
        major: u32,
    },
    /// A regular file, which nothing in /sys describes: `/sys/kernel/debug/sync/sw_sync`.
    File,
}

/// A node the backend offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// Absolute path, e.g. `/dev/video0`.
    pub path: PathBuf,
    /// Minor number.
    pub minor: u32,
    /// Name under `/sys/devices/platform` of the device it belongs to; by it programs find the
    /// media node of a video node. A media node without has none in /sys.
    pub device: Option<String>,
}

/// A node has come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hotplug {
    /// Which one.
    pub node: NodeId,
    /// Whether it is there now.
    pub present: bool,
}

impl Node {
    /// A video node of no device that programs could look up.
    #[must_use]
    pub fn video(id: NodeId, path: impl Into<PathBuf>, minor: u32) -> Self {
        Self {
            id,
            kind: NodeKind::Video,
            path: path.into(),
            minor,
            device: None,
        }
    }

    /// Major number.
    #[must_use]
    pub const fn major(&self) -> u32 {
        match self.kind {
            NodeKind::Video => VIDEO_MAJOR,
            NodeKind::Media { major } | NodeKind::Class { major, .. } => major,
            NodeKind::File => 0,
        }
    }

    /// Whether `path` names this node.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }
}
