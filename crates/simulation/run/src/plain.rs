//! Open files of nodes that are neither video nor media devices.

use vb3_devices::{Link, LoopbackAttribute};
use vb3_dmabuf::fence::{Owner, Timeline};
use vb3_machine::Device;

/// An open file of a node that is neither a video device nor a media device. None has a poll operation.
#[derive(Debug)]
pub(super) enum PlainFile {
    /// The heap with this number.
    Heap(usize),
    /// `/dev/udmabuf`.
    Udmabuf,
    /// A timeline of `sw_sync`.
    Timeline(OpenTimeline),
    /// A file that shows v4l2loopback.
    Attribute(OpenAttribute),
}

/// A timeline, and the program that made it.
#[derive(Debug)]
pub(super) struct OpenTimeline {
    pub(super) timeline: Timeline<Owner<Device>>,
    pub(super) name: String,
}

/// The source of the contents of a file that shows v4l2loopback.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    /// A sysfs file of a v4l2loopback node.
    Loopback(Link, LoopbackAttribute),
    /// `/proc/modules`: v4l2loopback and the system's own modules.
    Modules,
}

/// A file that shows v4l2loopback.
#[derive(Debug)]
pub(super) struct OpenAttribute {
    pub(super) attribute: Attribute,
    /// The text that is not read yet; `None` before the first read.
    pub(super) rest: Option<Vec<u8>>,
}
