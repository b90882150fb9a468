//! Media devices: one beside each memory-to-memory device.

use super::node::Node;
use super::program::Call;
use super::{World, backend};
use std::collections::BTreeMap;
use std::path::PathBuf;
use vb3_intercept::{Caller, Errno, FileId, NodeId, NodeKind, Outcome};
use vb3_v4l2::{MEDIA_MAJOR, MediaDevice};

/// The ids of media nodes begin here, above those of video nodes.
const FIRST_ID: u32 = 1 << 16;
const POLLIN: i16 = 0x041;
const POLLOUT: i16 = 0x104;

/// The media devices of a run, and their open files.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// By number: the N of `/dev/mediaN`.
    devices: Vec<MediaDevice>,
    /// Which device each file is open on.
    files: BTreeMap<FileId, usize>,
}

impl Media {
    /// One for each of the nodes that has one.
    pub(super) fn new(nodes: &[Node]) -> Self {
        let devices = nodes.iter().filter_map(Node::media);
        Self {
            devices: devices.collect(),
            files: BTreeMap::new(),
        }
    }

    /// Open files.
    pub(super) fn open_files(&self) -> usize {
        self.files.len()
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = vb3_intercept::Node> {
        (0..)
            .zip(&self.devices)
            .map(|(minor, device)| vb3_intercept::Node {
                id: NodeId(FIRST_ID + minor),
                kind: NodeKind::Media { major: MEDIA_MAJOR },
                path: PathBuf::from(format!("/dev/media{minor}")),
                minor,
                device: Some(device.place().to_owned()),
            })
    }

    /// Files under /sys.
    pub(super) fn sysfs(&self) -> impl Iterator<Item = (PathBuf, String)> {
        self.devices.iter().enumerate().map(|(number, device)| {
            let place = device.place();
            let path = format!("/sys/devices/platform/{place}/media{number}/model");
            (PathBuf::from(path), format!("{}\n", device.model()))
        })
    }

    /// Opens a node, if it is one of these.
    pub(super) fn open(&mut self, node: NodeId, file: FileId) -> bool {
        let number = node.0.checked_sub(FIRST_ID).map(|n| n as usize);
        let Some(number) = number.filter(|&n| n < self.devices.len()) else {
            return false;
        };
        self.files.insert(file, number);
        true
    }

    /// The last descriptor of a file is gone; whether it was one of these.
    pub(super) fn release(&mut self, file: FileId) -> bool {
        self.files.remove(&file).is_some()
    }

    /// Whether a file is one of these.
    pub(super) fn has(&self, file: FileId) -> bool {
        self.files.contains_key(&file)
    }

    /// Always ready, as files are that know no poll.
    pub(super) const fn poll(events: i16) -> i16 {
        (POLLIN | POLLOUT) & events
    }
}

impl World {
    /// A call on a media device.
    pub(super) fn media_ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> Outcome {
        let device = self.media.files.get(&file);
        let Some(device) = device.and_then(|&number| self.media.devices.get(number)) else {
            return Outcome::Fail(Errno(19));
        };
        let program = Call {
            caller,
            shares: &self.shares,
        };
        backend::outcome(device.ioctl(request, arg, &program))
    }
}
