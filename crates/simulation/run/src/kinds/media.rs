//! Media devices, one for each memory-to-memory device and each webcam, and the media requests of
//! programs. Each request is a file.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::node::Node;
use crate::program::{Call, Names, answer};
use crate::refusals::{Refused, short_name};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use vb3_frontend::{Errno, FileId, Install, Ioctl, Made, NodeId, NodeKind, NumberAt, Origin};
use vb3_queue::RequestId;
use vb3_sysfs::{File, Link, Location};
use vb3_v4l2::{MEDIA_MAJOR, MediaDevice, POLL_ERR, POLL_IN, POLL_OUT, sys};

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
    Request { at: usize, id: RequestId },
}

/// The media devices of a run, and the files open on them.
#[derive(Debug, Default)]
pub(crate) struct Media {
    /// By number, which is the N of `/dev/mediaN`.
    devices: Vec<Entry>,
    files: BTreeMap<FileId, Opened>,
    /// Requests by file: the video device's index among the nodes, and the request.
    requests: HashMap<FileId, (usize, RequestId)>,
}

impl Media {
    /// Makes a media device for each node that needs one.
    pub(crate) fn new(nodes: &[Node]) -> Self {
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

    /// Returns the number of the media device of the video device with this index.
    pub(crate) fn number_of(&self, device: usize) -> Option<usize> {
        self.devices.iter().position(|entry| entry.at == device)
    }

    /// Returns the open files of an unplugged media device, by the index of the video device. No buffer can
    /// join the device's requests any more.
    pub(crate) fn disconnect(&mut self, device: usize) -> Vec<FileId> {
        self.requests.retain(|_, (at, _)| *at != device);
        let is_of = |opened: &Opened| match opened {
            Opened::Device(number) => (self.devices.get(*number)).is_some_and(|of| of.at == device),
            Opened::Request { .. } => false,
        };
        let files = self.files.iter().filter(|(_, opened)| is_of(opened));
        files.map(|(id, _)| *id).collect()
    }

    /// Returns the requests of the device with this index, by file.
    pub(crate) const fn names(&self, at: usize) -> Names<'_> {
        Names {
            requests: &self.requests,
            at,
        }
    }

    /// Returns the files of a device's requests, by the device's index.
    pub(crate) fn requests_of(&self, device: usize) -> impl Iterator<Item = FileId> {
        let all = self.files.iter();
        all.filter(move |(_, opened)| matches!(opened, Opened::Request { at, .. } if *at == device))
            .map(|(file, _)| *file)
    }
}

/// The kind of media devices and requests. Their state is in [`OpenFiles::media`](super::OpenFiles).
pub(crate) struct MediaFiles;

impl MediaFiles {
    pub(crate) const NAME: &str = "media";
}

impl Kind for MediaFiles {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn nodes(&self, run: &Run) -> Vec<vb3_frontend::Node> {
        let node = |(minor, entry): (u32, &Entry)| vb3_frontend::Node {
            id: NodeId(0),
            kind: NodeKind::Media { major: MEDIA_MAJOR },
            path: PathBuf::from(format!("/dev/media{minor}")),
            minor,
            devices: entry.location.devices(),
        };
        (0..).zip(&run.files.media.devices).map(node).collect()
    }

    fn is_present(&self, run: &Run, node: usize) -> bool {
        let entry = run.files.media.devices.get(node);
        entry.is_some_and(|entry| run.nodes.plugs.is_present(entry.at))
    }

    fn files(&self, run: &Run, node: usize) -> Vec<File> {
        let Some((entry, number)) = run
            .files
            .media
            .devices
            .get(node)
            .zip(u32::try_from(node).ok())
        else {
            return Vec::new();
        };
        let since_us = run.nodes.get(entry.at).map_or(0, |node| node.since_us);
        entry.sysfs(since_us).media_files(MEDIA_MAJOR, number)
    }

    fn links(&self, run: &Run, node: usize) -> Vec<Link> {
        let entry = run.files.media.devices.get(node);
        entry.map_or_else(Vec::new, |entry| entry.sysfs(0).links())
    }

    fn open(&mut self, run: &mut Run, node: usize, file: FileId, _: Origin) -> Result<(), Refused> {
        run.files.media.files.insert(file, Opened::Device(node));
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        let opened = run.files.media.files.get(&call.file).copied();
        let (device, done) = match opened.ok_or(Errno::ENODEV)? {
            Opened::Device(number) => (None, run.media_ioctl((number, call.file), ioctl)),
            Opened::Request { at, id, .. } => (Some(at), run.request_ioctl(at, id, ioctl)),
        };
        done.map_err(|errno| {
            let path = || match (opened, device) {
                (Some(Opened::Device(number)), _) => format!("/dev/media{number}"),
                (_, at) => run.path_of(at.unwrap_or_default()),
            };
            Refused::from(errno).by(path, short_name(ioctl.request))
        })
    }

    /// A media device, unlike a request, is always ready, as files without a poll operation are.
    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, _: bool) -> i16 {
        match run.files.media.files.get(&file) {
            Some(Opened::Device(_)) => (POLL_IN | POLL_OUT) & events,
            Some(&Opened::Request { at, id, .. }) => {
                let node = run.nodes.get(at);
                node.map_or(POLL_ERR, |node| node.video.request_poll(id, events))
            }
            None => POLL_ERR,
        }
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        if let Some(Opened::Request { at, id }) = run.files.media.files.remove(&file)
            && let Some(node) = run.nodes.get_mut(at)
        {
            run.files.media.requests.remove(&file);
            node.video.close_request(&mut run.memory, id);
        }
    }
}

impl Run {
    /// Answers an ioctl on a media device.
    fn media_ioctl(
        &mut self,
        (number, file): (usize, FileId),
        call: Ioctl<'_>,
    ) -> Result<Answer, Errno> {
        if call.request == sys::MEDIA_IOC_REQUEST_ALLOC {
            return self.alloc_request(number, call).map(Answer::from);
        }
        let entry = self.files.media.devices.get(number).ok_or(Errno::ENODEV)?;
        let requests = self.files.media.names(entry.at);
        let program = Call::new(call.caller, file, &self.shares, requests);
        answer(entry.device.ioctl(call.request, call.arg, &program))
    }

    /// Answers an ioctl on a request of the video device with this index.
    fn request_ioctl(
        &mut self,
        at: usize,
        id: RequestId,
        call: Ioctl<'_>,
    ) -> Result<Answer, Errno> {
        let now_ns = self.set_now();
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        answer((node.video).request_ioctl(&mut self.memory, id, call.request, now_ns))
    }

    /// Answers `MEDIA_IOC_REQUEST_ALLOC`: makes a request, whose descriptor's number goes to `arg`.
    fn alloc_request(&mut self, number: usize, call: Ioctl<'_>) -> Result<(), Errno> {
        let Ioctl { arg, caller, .. } = call;
        let entry = self.files.media.devices.get(number).ok_or(Errno::ENODEV)?;
        let at = entry.at;
        let video = &mut self.nodes.get_mut(at).ok_or(Errno::ENODEV)?.video;
        if !video.offers_requests() {
            return Err(Errno::ENOTTY);
        }
        let id = video.alloc_request().map_err(|e| Errno(e.errno()))?;
        let file = self.kinds.new_file();
        self.files
            .media
            .files
            .insert(file, Opened::Request { at, id });
        self.kinds.add(file, MediaFiles::NAME);
        self.files.media.requests.insert(file, (at, id));
        caller.install(Install {
            made: Made::File {
                file,
                name: c"request",
            },
            cloexec: true,
            number: NumberAt::Address(arg),
        });
        Ok(())
    }
}
