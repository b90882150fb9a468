//! A node of a run: a video device or subdevice, with its location.

use crate::clock::since_boot_ns;
use crate::hosted::Hosted;
use crate::memory::{DeviceBus, RunMemory};
use crate::needs::Wants;
use crate::watch::{Video, Watch};
use anyhow::{Context as _, Result, anyhow};
use vb3_codec::Codecs;
use vb3_devices::sink::{Shots, Thumbnail};
use vb3_devices::spec::{Allocator, Presence, SourceSpec};
use vb3_devices::{Device, DeviceEvent, Failure, FaultSchedule, HostSettings, Link, NodeSpec};
use vb3_machine::{Demands, Machine, Profile};
use vb3_plane::Cookie;
use vb3_queue::Queue;
use vb3_report::DeviceFailure;
use vb3_sysfs::{Location, Platform, Usb, UsbId, VideoNode, Webcam, simulated_name};
use vb3_v4l2::{
    EntityNode, Error, FileHandle, MediaDevice, MediaFunction, MediaGraph, Opener, Role,
    VideoDevice, VideoDriver,
};

/// Maximum number of pieces that a device still copies if a stream ends in the middle of a picture.
const MAX_PIECES: usize = 4096;

/// Returns the function that makes a driver for each open file of a memory-to-memory or duplex device.
fn opener(spec: &NodeSpec, place: HostSettings) -> Opener<Device<Cookie>> {
    let spec = spec.clone();
    Box::new(move || {
        let made = Device::new(&spec, &place);
        made.map_err(|failure| Error::Driver(failure.errno().into()))
    })
}

/// Returns the location of the device with this node number.
fn locate(spec: &NodeSpec, number: u32) -> Location {
    if spec.is_v4l2loopback() {
        return Location::Virtual(format!("platform:v4l2loopback-{number:03}"));
    }
    match (spec.usb_device(), spec.graph()) {
        (Some(usb), _) => {
            let (vendor, product) = (usb.id.vendor, usb.id.product);
            let own = Usb {
                id: UsbId { vendor, product },
                revision: usb.revision,
                manufacturer: usb.manufacturer,
                product: usb.product,
                serial: usb.serial.unwrap_or_else(|| simulated_name(number)),
            };
            Location::Usb(Webcam::new(own, number))
        }
        (None, Some((graph, _))) => Location::Platform(Platform {
            name: graph.topology().device.to_owned(),
            bus_info: graph.topology().bus_info.to_owned(),
        }),
        (None, None) => Location::simulated(number),
    }
}

/// Returns how many video nodes precede an entity in its graph.
fn video_index(graph: &MediaGraph, entity: usize) -> usize {
    let before = graph.topology().entities.iter().take(entity);
    before
        .filter(|entity| entity.node == EntityNode::Video)
        .count()
}

/// Events that a device has reported since the last call of `take_news`.
pub(super) struct News {
    pub(super) failures: Vec<DeviceFailure>,
    /// Notes on streams that ended as the user asked.
    pub(super) ends: Vec<String>,
    /// Whether the device unplugs itself.
    pub(super) unplugs: bool,
}

/// The first minor number of subdevices. Linux reserves 128 to 191 for them and others.
pub(super) const FIRST_SUBDEVICE: u32 = 128;

/// The part of a device that a node represents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The device itself. For a webcam this is the node for pictures.
    Device,
    /// The metadata node of the webcam with this number.
    Metadata { webcam: u32 },
    /// This entity of a media graph.
    Entity(MediaGraph, usize),
}

/// A device node.
pub(super) struct Node {
    number: u32,
    pub(super) part: Part,
    pub(super) path: String,
    /// `name` in sysfs.
    pub(super) name: String,
    /// The node's number among the video nodes of its device.
    pub(super) index: usize,
    pub(super) location: Location,
    /// When the device was plugged in, in microseconds since boot.
    pub(super) since_us: u64,
    /// The device's kind, such as `camera` or `display`.
    pub(super) kind: String,
    pub(super) allocator: Allocator,
    pub(super) dma: vb3_machine::Device,
    /// How the device's planes are allocated.
    pub(super) planes: vb3_plane::Device<vb3_machine::Device>,
    /// Whether a call that allocates buffers fails unless it gets all of them.
    pub(super) admission: bool,
    /// Alignment of picture lines in bytes.
    pub(super) stride_align: u32,
    /// Size of the device's own memory in bytes.
    pub(super) sram: u64,
    demands: Demands,
    pub(super) video: Video,
    /// What the nodes of a loopback share; `None` for other devices.
    pub(super) loopback: Option<Link>,
    /// The function that the media device of a memory-to-memory device or a webcam reports; `None` for other
    /// nodes.
    function: Option<MediaFunction>,
    /// When frames were completed, and which memory model was used most recently.
    pub(super) watch: Watch,
    /// When the device is plugged and unplugged by its own options.
    pub(super) presence: Presence,
    /// The script's faults for its frames, or `None` if no script affects the device.
    pub(super) faults: Option<FaultSchedule>,
    /// Thumbnails of the frames that the device delivers, if the report has a contact sheet.
    shots: Option<Shots>,
    /// The source with which a camera began.
    pub(super) source: Option<SourceSpec>,
    /// Whether the device completes all its work within a tick.
    at_once: bool,
    /// Whether a client wants events of the device's streams.
    is_watched: bool,
}

impl Node {
    /// Adds a device's node with this number to the machine.
    pub(super) fn new(
        memory: &mut RunMemory,
        profile: &Profile,
        (spec, number, part): (&NodeSpec, u32, Part),
        codecs: Codecs,
    ) -> Result<Self> {
        let file_name = match number.checked_sub(FIRST_SUBDEVICE) {
            Some(number) => format!("v4l-subdev{number}"),
            None => format!("video{number}"),
        };
        let path = format!("/dev/{file_name}");
        let Hosted {
            allocator,
            dma,
            planes: plane_device,
            demands,
            sram,
        } = Hosted::new(memory, profile, spec, (&file_name, &path))?;
        let location = match part {
            Part::Metadata { webcam } => locate(spec, webcam),
            Part::Device | Part::Entity(..) => locate(spec, number),
        };
        let place = HostSettings {
            bus_info: location.bus_info(),
            usb: location.usb(),
            userptr: profile.userptr.unwrap_or(allocator != Allocator::Contig),
            codecs,
        };
        let device = Device::new(spec, &place)
            .map_err(|failure| anyhow!("{path}: {}", failure.sentence()))?;
        let function = match (device.role(), &location) {
            (Role::MemToMem, _) => Some(MediaFunction::of(&device)),
            (_, Location::Usb(_)) if part == Part::Device => Some(MediaFunction::Webcam),
            _ => None,
        };
        let video = match device.role() {
            Role::MemToMem | Role::Duplex => {
                VideoDevice::per_open(memory, opener(spec, place), plane_device)
            }
            Role::Capture | Role::Output | Role::Subdevice => {
                VideoDevice::new(memory, device, plane_device)
            }
        };
        let video = video.with_context(|| format!("{path}: no queue can be made"))?;
        let name = spec.entity().map(|entity| entity.name);
        let index = match &part {
            Part::Device => 0,
            Part::Metadata { .. } => 1,
            Part::Entity(graph, entity) => video_index(graph, *entity),
        };
        Ok(Self {
            number,
            part,
            path,
            name: name.map_or_else(|| video.identity().card.clone(), str::to_owned),
            index,
            location,
            since_us: since_boot_ns() / 1000,
            kind: spec.name_of_kind().to_owned(),
            allocator,
            dma,
            planes: plane_device,
            admission: spec.admission,
            stride_align: spec.stride.unwrap_or(1),
            sram,
            demands,
            video,
            loopback: spec.loopback().cloned(),
            function,
            watch: Watch::default(),
            presence: spec.presence,
            source: spec.source().cloned(),
            faults: None,
            shots: None,
            at_once: false,
            is_watched: false,
        })
    }

    /// Returns what the device needs of memory.
    pub(super) const fn wants(&self) -> Wants {
        Wants {
            dma: self.dma,
            allocator: self.allocator,
            stride_align: self.stride_align,
            demands: self.demands,
        }
    }

    /// Returns the name of the heap that allocates from the device's own memory.
    pub(super) fn sram_heap(&self) -> String {
        format!("video{}-sram", self.number)
    }

    /// Returns the N of `/dev/videoN`, which is also the minor number.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Returns the name of the node's file in /dev.
    pub(super) fn file_name(&self) -> &str {
        self.path.trim_start_matches("/dev/")
    }

    /// Returns the node as sysfs and udev describe it.
    pub(super) fn sysfs(&self) -> VideoNode<'_> {
        let identity = self.video.identity();
        VideoNode {
            device: vb3_sysfs::Device {
                location: &self.location,
                driver: &identity.driver,
                card: &identity.card,
                since_us: self.since_us,
            },
            path: &self.path,
            number: self.number,
            name: &self.name,
            index: self.index,
            capabilities: match self.video.role() {
                Role::Subdevice => None,
                _ if matches!(self.part, Part::Metadata { .. }) => Some(":"),
                Role::Capture => Some(":capture:"),
                Role::Output => Some(":video_output:"),
                Role::Duplex => Some(":capture:video_output:"),
                Role::MemToMem => Some(":"),
            },
        }
    }

    /// Returns whether the node is a subdevice, which has no buffers.
    pub(super) fn is_subdevice(&self) -> bool {
        self.video.role() == Role::Subdevice
    }

    /// Returns whether lists of devices name the node: it is neither a metadata node nor a subdevice.
    pub(super) fn is_listed(&self) -> bool {
        !matches!(self.part, Part::Metadata { .. }) && !self.is_subdevice()
    }

    /// Makes all nodes of a device share the priorities of open files.
    pub(super) fn share_priorities(nodes: &mut [Self]) {
        for at in 1..nodes.len() {
            let (before, rest) = nodes.split_at_mut(at);
            let Some(node) = rest.first_mut() else {
                continue;
            };
            if let Some(first) = before.iter().find(|other| other.shares_device(node)) {
                node.video.share_priorities(&first.video);
            }
        }
    }

    /// Returns whether both nodes belong to one device.
    pub(super) fn shares_device(&self, other: &Self) -> bool {
        match (&self.part, &other.part) {
            (Part::Entity(graph, _), Part::Entity(of_other, _)) => graph == of_other,
            _ => self.device() == other.device(),
        }
    }

    /// Returns the number of its device's first node.
    const fn device(&self) -> u32 {
        match self.part {
            Part::Metadata { webcam } => webcam,
            Part::Device | Part::Entity(..) => self.number,
        }
    }

    /// Returns whether the device is behind an IOMMU.
    pub(super) fn has_iommu(&self, machine: &Machine) -> bool {
        machine.iommu_root(self.dma).is_some()
    }

    /// Returns the media device to make for this node: only the first node of a device has one.
    pub(super) fn media(&self, nodes: &[Self]) -> Option<MediaDevice> {
        let all = nodes.iter().filter(|node| node.shares_device(self));
        let minors: Vec<u32> = all.map(Self::number).collect();
        if minors.first() != Some(&self.number) {
            return None;
        }
        if let Part::Entity(graph, _) = &self.part {
            return Some(MediaDevice::of_graph(graph.clone(), minors));
        }
        let identity = self.video.identity();
        Some(MediaDevice::new(identity, self.function?, minors))
    }

    /// Returns when virtual time must stop for the device: now if its work is due, or when it next fills or
    /// shows a buffer. Frames without a buffer do not advance time.
    pub(super) fn next_event(&self, now_ns: u64) -> Option<u64> {
        let flows = self.video.role().flows();
        let due = self.video.contexts_at_work().filter_map(|context| {
            let due = context.driver().next_tick()?;
            let queues = flows.iter().filter_map(|flow| context.queue(*flow));
            let has_buffer = queues.map(Queue::active_count).any(|count| count > 0);
            let late = context.driver().next_late_frame();
            match due <= now_ns || has_buffer {
                true => Some(due),
                false => late,
            }
        });
        due.min()
    }

    /// Returns whether the device's work can change without a call on this node: the device shares state with
    /// other nodes, with the script, or with a thread or process.
    pub(super) fn is_restless(&self) -> bool {
        let mut contexts = self.video.contexts_at_work();
        self.part != Part::Device
            || self.loopback.is_some()
            || self.faults.is_some()
            || contexts.any(|context| context.driver().wake_fd().is_some())
    }

    /// Returns whether a process or thread of the device still prepares data.
    pub(super) fn is_preparing(&self) -> bool {
        let mut contexts = self.video.contexts_at_work();
        contexts.any(|context| context.driver().is_preparing())
    }

    /// Prepares the device for a script's faults, for its open files and those opened later. Returns the
    /// faults' schedule.
    pub(super) fn disturb(&mut self) -> &FaultSchedule {
        let schedule = &*self.faults.get_or_insert_with(FaultSchedule::default);
        for context in self.video.contexts_mut() {
            context.driver_mut().disturb(schedule);
        }
        schedule
    }

    /// Makes the device complete all its work within a tick if it can, so that virtual time
    /// advances in the same steps in every run.
    pub(super) fn work_at_once(&mut self) {
        self.at_once = true;
        for context in self.video.contexts_mut() {
            context.driver_mut().work_at_once();
        }
    }

    /// Keeps thumbnails of what the device delivers or shows from now on.
    pub(super) fn keep_thumbnails(&mut self) {
        let shots = &*self.shots.get_or_insert_with(Shots::default);
        for context in self.video.contexts_mut() {
            context.driver_mut().keep_thumbnails(shots);
        }
    }

    /// Returns thumbnails of at most `count` frames.
    pub(super) fn thumbnails(&mut self, count: usize) -> Vec<Thumbnail> {
        let contexts = self.video.contexts_mut();
        let shown = contexts.flat_map(|context| context.driver_mut().shown_thumbnails(count));
        let delivered = self.shots.iter().flat_map(|shots| shots.spread(count));
        delivered.chain(shown).collect()
    }

    /// Opens the device.
    ///
    /// # Errors
    /// Fails as [`VideoDevice::open`] does.
    pub(super) fn open(&mut self, memory: &RunMemory) -> std::result::Result<FileHandle, Error> {
        let handle = self.video.open(memory)?;
        if self.faults.is_some() {
            self.disturb();
        }
        if self.at_once {
            self.work_at_once();
        }
        if self.shots.is_some() {
            self.keep_thumbnails();
        }
        if self.is_watched {
            self.record_events(true);
        }
        Ok(handle)
    }

    /// Returns whether a client wants events of the device's streams and frames.
    pub(super) const fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Makes the device record events of its streams and frames, or stop recording.
    pub(super) fn set_watched(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
        self.record_events(is_watched);
    }

    fn record_events(&mut self, begins: bool) {
        for context in self.video.contexts_mut() {
            context.driver_mut().record_events(begins);
        }
    }

    /// Returns the events that the device has recorded since the last call.
    pub(super) fn take_events(&mut self) -> Vec<DeviceEvent> {
        let contexts = self.video.contexts_mut();
        contexts
            .flat_map(|context| context.driver_mut().take_events())
            .collect()
    }

    /// Lets the device work while `has_time` returns true. Returns whether all its files had their
    /// turn.
    pub(super) fn tick(
        &mut self,
        memory: &mut RunMemory,
        now_ns: u64,
        has_time: &dyn Fn() -> bool,
    ) -> bool {
        let (dev, video) = (self.dma, &mut self.video);
        let all = video.tick_through(memory, now_ns, has_time, |memory, work| {
            work(&mut DeviceBus { memory, dev })
        });
        self.watch.look(&mut self.video, now_ns);
        all
    }

    /// Lets the device copy the rest of a picture if it has begun one.
    pub(super) fn finish_begun(&mut self, memory: &mut RunMemory, now_ns: u64) {
        for _ in 0..MAX_PIECES {
            if !self.video.has_begun() {
                return;
            }
            self.tick(memory, now_ns, &|| true);
        }
    }

    /// Finishes the device's recording. Returns the failure if this fails.
    pub(super) fn finish(&mut self) -> Option<DeviceFailure> {
        let failure = self.ask(Device::finish)?;
        Some(DeviceFailure {
            recording: true,
            ..self.tell(&failure)
        })
    }

    /// Returns failures and ended streams since the last call, and whether the device must be unplugged now.
    pub(super) fn take_news(&mut self) -> News {
        let (mut failures, mut unplugs) = (Vec::new(), false);
        self.video.ask_drivers(|device| {
            failures.extend(device.take_failure());
            unplugs |= device.take_unplug();
        });
        let (ends, failures): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(Failure::is_asked_for);
        let told = |end: &Failure| format!("{}: {}", self.path, end.sentence());
        News {
            failures: failures.iter().map(|failure| self.tell(failure)).collect(),
            ends: ends.iter().map(told).collect(),
            unplugs,
        }
    }

    /// Returns the first `Some` that `question` returns for the drivers of open files.
    fn ask<T>(&mut self, question: impl Fn(&mut Device<Cookie>) -> Option<T>) -> Option<T> {
        let mut contexts = self.video.contexts_mut();
        contexts.find_map(|context| question(context.driver_mut()))
    }

    fn tell(&self, failure: &Failure) -> DeviceFailure {
        DeviceFailure {
            recording: false,
            ..failure_of(&self.path, failure)
        }
    }
}

/// Returns the report's entry of a failed recording.
pub(super) fn failure_of(path: &str, failure: &Failure) -> DeviceFailure {
    DeviceFailure {
        device: path.to_owned(),
        sentence: failure.sentence().to_owned(),
        recording: true,
        times: 1,
    }
}

/// Returns a note naming the devices that programs only listed, if no program used any device.
pub(super) fn listed(nodes: &[Node]) -> Option<String> {
    let interests = || {
        let nodes = nodes.iter().filter(|node| node.is_listed());
        nodes.map(|node| (node, node.video.interest()))
    };
    if interests().any(|(_, interest)| interest.buffer_calls > 0) {
        return None;
    }
    let listed = interests().filter(|(_, interest)| interest.format_calls > 0);
    let listed: Vec<&str> = listed.map(|(node, _)| &*node.path).collect();
    let was = if listed.len() == 1 { "was" } else { "were" };
    (!listed.is_empty()).then(|| format!("{} {was} listed but not used", listed.join(", ")))
}
