//! Media devices, one for each memory-to-memory device and each webcam, and the media requests of
//! programs. Each request is a file.

use crate::Run;
use crate::node::Node;
use crate::program::{Call, Ioctl, Names, outcome};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use vb3_frontend::{CallOutcome, Errno, FdIdentity, FileId, NodeId, NodeKind};
use vb3_queue::RequestId;
use vb3_sysfs::Location;
use vb3_v4l2::{MEDIA_MAJOR, MediaDevice, POLL_ERR, POLL_IN, POLL_OUT, sys};

/// First id of media nodes, above those of video nodes.
const FIRST_ID: u32 = 1 << 16;

/// A media device, and its video device's index among the nodes.
#[derive(Debug)]
struct Entry {
    at: usize,
    location: Location,
    device: MediaDevice,
}

impl Entry {
    /// Returns the device in sysfs, plugged in at `since_us`.
    fn sysfs(&self, since_us: u64) -> vb3_sysfs::Device<'_> {
        let identity = self.device.identity();
        vb3_sysfs::Device {
            location: &self.location,
            driver: &identity.driver,
            card: &identity.card,
            since_us,
        }
    }
}

/// The object behind an open file.
#[derive(Clone, Copy, Debug)]
enum Opened {
    /// The media device with this number.
    Device(usize),
    /// A request of the video device with this index among the nodes.
    Request {
        at: usize,
        id: RequestId,
        identity: FdIdentity,
    },
}

/// The media devices of a run, and the files open on them.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// By number, which is the N of `/dev/mediaN`.
    devices: Vec<Entry>,
    files: BTreeMap<FileId, Opened>,
    /// Requests by file identity: the video device's index among the nodes, and the request.
    requests: HashMap<FdIdentity, (usize, RequestId)>,
}

impl Media {
    /// Makes a media device for each node that needs one.
    pub(super) fn new(nodes: &[Node]) -> Self {
        let devices = nodes.iter().enumerate().filter_map(|(at, node)| {
            Some(Entry {
                at,
                location: node.location.clone(),
                device: node.media(nodes)?,
            })
        });
        Self {
            devices: devices.collect(),
            files: BTreeMap::new(),
            requests: HashMap::new(),
        }
    }

    /// Returns the number of open files of media devices and of requests.
    pub(super) fn open_files(&self) -> usize {
        self.files.len()
    }

    /// Returns a node `/dev/mediaN` for each media device.
    pub(super) fn nodes(&self) -> impl Iterator<Item = vb3_frontend::Node> {
        let all = (0..).zip(&self.devices);
        all.map(|(minor, entry)| vb3_frontend::Node {
            id: NodeId(FIRST_ID + minor),
            kind: NodeKind::Media { major: MEDIA_MAJOR },
            path: PathBuf::from(format!("/dev/media{minor}")),
            minor,
            devices: entry.location.devices(),
        })
    }

    /// Returns the number of a media node, or `None` for other nodes.
    fn number(&self, node: NodeId) -> Option<usize> {
        let number = node.0.checked_sub(FIRST_ID)? as usize;
        (number < self.devices.len()).then_some(number)
    }

    /// Returns the media node of the video device with this index.
    pub(super) fn node_of(&self, device: usize) -> Option<NodeId> {
        let mut all = (FIRST_ID..).zip(&self.devices);
        all.find(|(_, entry)| entry.at == device)
            .map(|(id, _)| NodeId(id))
    }

    /// Returns the N of a media node's `/dev/mediaN`, and its entry; `None` for other nodes.
    fn entry(&self, node: NodeId) -> Option<(u32, &Entry)> {
        let number = node.0.checked_sub(FIRST_ID)?;
        Some((number, self.devices.get(number as usize)?))
    }

    /// Returns the links in sysfs between a media node's device and its driver; empty for other nodes.
    pub(super) fn links(&self, node: NodeId) -> Vec<vb3_sysfs::Link> {
        self.entry(node)
            .map_or_else(Vec::new, |(_, entry)| entry.sysfs(0).links())
    }

    /// Returns a media node's files under /sys and in udev's database; empty for other nodes.
    pub(super) fn files(&self, nodes: &[Node], node: NodeId) -> Vec<vb3_sysfs::File> {
        let Some((number, entry)) = self.entry(node) else {
            return Vec::new();
        };
        let since_us = nodes.get(entry.at).map_or(0, |node| node.since_us);
        entry.sysfs(since_us).media_files(MEDIA_MAJOR, number)
    }

    /// Returns the open files of an unplugged media device, by the index of the video device. No buffer can
    /// join the device's requests any more.
    pub(super) fn disconnect(&mut self, device: usize) -> Vec<FileId> {
        self.requests.retain(|_, (at, _)| *at != device);
        let is_of = |opened: &Opened| match opened {
            Opened::Device(number) => (self.devices.get(*number)).is_some_and(|of| of.at == device),
            Opened::Request { .. } => false,
        };
        let files = self.files.iter().filter(|(_, opened)| is_of(opened));
        files.map(|(id, _)| *id).collect()
    }

    /// Returns the index of the video device that a media node belongs to.
    pub(super) fn device_at(&self, node: NodeId) -> Option<usize> {
        self.devices.get(self.number(node)?).map(|entry| entry.at)
    }

    /// Opens a media node's file. Returns false if the node is not a media node.
    pub(super) fn open(&mut self, node: NodeId, file: FileId) -> bool {
        let Some(number) = self.number(node) else {
            return false;
        };
        self.files.insert(file, Opened::Device(number));
        true
    }

    /// Returns whether a file is a media device's own, and not a request.
    pub(super) fn is_device(&self, file: FileId) -> bool {
        matches!(self.files.get(&file), Some(Opened::Device(_)))
    }

    /// Returns whether a file belongs to a media device.
    pub(super) fn has(&self, file: FileId) -> bool {
        self.files.contains_key(&file)
    }

    /// Returns the requests of the device with this index, by file identity.
    pub(super) const fn names(&self, at: usize) -> Names<'_> {
        Names {
            requests: &self.requests,
            at,
        }
    }

    /// Returns the files of a device's requests, by the device's index.
    pub(super) fn requests_of(&self, device: usize) -> impl Iterator<Item = FileId> {
        let all = self.files.iter();
        all.filter(move |(_, opened)| matches!(opened, Opened::Request { at, .. } if *at == device))
            .map(|(file, _)| *file)
    }
}

impl Run {
    /// Releases a file whose last descriptor was closed. Returns whether it was a media device's.
    pub(super) fn release_media(&mut self, file: FileId) -> bool {
        let Some(opened) = self.media.files.remove(&file) else {
            return false;
        };
        self.changed.remove(&file);
        self.waiting.remove(&file);
        if let Opened::Request { at, id, identity } = opened
            && let Some(node) = self.nodes.get_mut(at)
        {
            self.media.requests.remove(&identity);
            node.video.close_request(&mut self.memory, id);
            self.after_call();
        }
        true
    }

    /// Returns the poll events of a media file. A media device, unlike a request, is always ready, as files
    /// without a poll operation are.
    pub(super) fn media_poll(&self, file: FileId, events: i16) -> i16 {
        match self.media.files.get(&file) {
            Some(Opened::Device(_)) => (POLL_IN | POLL_OUT) & events,
            Some(&Opened::Request { at, id, .. }) => self
                .nodes
                .get(at)
                .map_or(POLL_ERR, |node| node.video.request_poll(id, events)),
            None => POLL_ERR,
        }
    }

    /// Returns the path of a file's media device, or of the video device if the file is a request.
    pub(super) fn media_path(&self, file: FileId) -> Option<String> {
        match *self.media.files.get(&file)? {
            Opened::Device(number) => Some(format!("/dev/media{number}")),
            Opened::Request { at, .. } => Some(self.nodes.get(at)?.path.clone()),
        }
    }

    /// Answers an ioctl on a file of a media device or of a request.
    pub(super) fn media_ioctl(&mut self, file: FileId, call: Ioctl<'_>) -> CallOutcome {
        let Ioctl { request, arg, .. } = call;
        match self.media.files.get(&file).copied() {
            Some(Opened::Device(number)) if request == sys::MEDIA_IOC_REQUEST_ALLOC => {
                self.alloc_request(number, call).into()
            }
            Some(Opened::Device(number)) => {
                let Some(entry) = self.media.devices.get(number) else {
                    return CallOutcome::Fail(Errno::ENODEV);
                };
                let requests = self.media.names(entry.at);
                let program = Call::new(call.caller, &self.shares, requests);
                outcome(entry.device.ioctl(request, arg, &program))
            }
            Some(Opened::Request { at, id, .. }) => {
                let now_ns = self.set_now();
                let Some(node) = self.nodes.get_mut(at) else {
                    return CallOutcome::Fail(Errno::ENODEV);
                };
                let memory = &mut self.memory;
                let done = node.video.request_ioctl(memory, id, request, now_ns);
                self.after_call();
                outcome(done)
            }
            None => CallOutcome::Fail(Errno::ENODEV),
        }
    }

    /// Answers `MEDIA_IOC_REQUEST_ALLOC`: makes a request, and writes its descriptor's number to `arg`.
    fn alloc_request(&mut self, number: usize, call: Ioctl<'_>) -> Result<(), Errno> {
        let Ioctl { arg, caller, .. } = call;
        let entry = self.media.devices.get(number).ok_or(Errno::ENODEV)?;
        let at = entry.at;
        let video = &mut self.nodes.get_mut(at).ok_or(Errno::ENODEV)?.video;
        if !video.offers_requests() {
            return Err(Errno::ENOTTY);
        }
        // Checks that the descriptor's number can be written before the call makes the descriptor.
        caller.write(arg, &0i32.to_ne_bytes())?;
        let id = video.alloc_request().map_err(|e| Errno(e.errno()))?;
        let file = self.new_file();
        let (fd, identity) = match caller.install_file(file, c"request", true) {
            Ok(made) => made,
            Err(e) => {
                let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
                node.video.close_request(&mut self.memory, id);
                return Err(e);
            }
        };
        let opened = Opened::Request { at, id, identity };
        self.media.files.insert(file, opened);
        self.media.requests.insert(identity, (at, id));
        caller.write(arg, &fd.to_ne_bytes())
    }
}
