//! Display cards: files of `/dev/dri/cardN`, and the scan-out of what programs show.

mod host;
mod scanout;

use super::{FileCall, Kind};
use crate::hosted::Hosted;
use crate::memory::RunMemory;
use crate::program::{Answer, Ioctl};
use crate::refusals::Refused;
use crate::{Run, refusals};
use anyhow::{Result, anyhow};
use host::{CardMemory, Program};
use std::collections::BTreeMap;
use vb3_devices::spec::{DeviceKind, DeviceSpec};
use vb3_devices::{CARD_FORMATS, NodeSpec, Screen};
use vb3_drm::{CallContext, Card, Config, Mode, Outcome};
use vb3_frontend::{CallId, Errno, FileId, Map, Mmap, NodeId, NodeKind, Op, Origin};
use vb3_machine::Profile;
use vb3_report::{DeviceReport, Picture, QueueReport};
use vb3_sysfs::{CardNode, Connector, DRM_MAJOR, Location};
use vb3_v4l2::POLL_IN;

/// Maximum number of cards: the minors of primary nodes.
const MAX_CARDS: usize = 64;

/// Sizes of modes besides the preferred one, the first by default.
const SIZES: [(u32, u32); 5] = [
    (1280, 720),
    (1920, 1080),
    (1024, 768),
    (800, 600),
    (640, 480),
];

/// The driver's name unless the SPEC has one: kmssink tries only the names of some boards' drivers.
const DRIVER: &str = "rockchip";

/// A display card of the run.
pub(crate) struct CardDevice {
    number: u32,
    pub(super) path: String,
    location: Location,
    since_us: u64,
    card: Card,
    screen: Screen,
    memory: CardMemory,
    /// What each CRTC shows, so that its framebuffers stay.
    shown: BTreeMap<usize, scanout::OnScreen>,
    /// Number of pictures that the card could not read.
    faults: u64,
    is_used: bool,
    /// Programs whose imports the card refused, by process id: the program's name, and how many frames it then
    /// showed in buffers of the card.
    refused: BTreeMap<u32, (String, u64)>,
}

/// Maximum number of programs of [`CardDevice::refused`].
const MAX_REFUSED: usize = 64;

/// The cards of a run, and their open files.
#[derive(Default)]
pub(crate) struct Cards {
    pub(crate) all: Vec<CardDevice>,
    files: BTreeMap<FileId, (usize, vb3_drm::FileId)>,
}

impl Cards {
    /// Makes the cards of the SPECs that are cards, and removes these SPECs from the list.
    ///
    /// # Errors
    /// Fails with a message if the machine cannot host a card, or its recording cannot be written.
    pub(crate) fn take(
        memory: &mut RunMemory,
        profile: &Profile,
        specs: &mut Vec<NodeSpec>,
    ) -> Result<Self> {
        let is_card = |spec: &NodeSpec| matches!(spec.kind, DeviceKind::Kms { .. });
        let cards: Vec<_> = specs.extract_if(.., |spec| is_card(spec)).collect();
        if cards.len() > MAX_CARDS {
            return Err(anyhow!(
                "there may be {MAX_CARDS} display cards; leave some out"
            ));
        }
        let all = (0..).zip(&cards);
        let all = all.map(|(number, spec)| CardDevice::new(memory, profile, spec, number));
        let files = BTreeMap::new();
        Ok(Self {
            all: all.collect::<Result<_>>()?,
            files,
        })
    }

    /// Returns descriptors that become readable when a recording has room again.
    pub(crate) fn wake_fds(&self) -> impl Iterator<Item = vb3_v4l2::WakeFd<'_>> {
        self.all.iter().filter_map(|card| card.screen.wake_fd())
    }

    /// Returns the name of the card with this DMA device, such as `card0`.
    pub(crate) fn name_of(&self, dma: vb3_machine::Device) -> Option<String> {
        let card = self.all.iter().find(|card| card.memory.dma() == dma)?;
        Some(card.path.trim_start_matches("/dev/dri/").to_owned())
    }
}

impl CardDevice {
    fn new(
        memory: &mut RunMemory,
        profile: &Profile,
        spec: &DeviceSpec,
        number: u32,
    ) -> Result<Self> {
        let name = format!("card{number}");
        let path = format!("/dev/dri/{name}");
        let hosted = Hosted::new(memory, profile, spec, (&name, &path))?;
        let screen =
            Screen::new(spec).map_err(|failure| anyhow!("{path}: {}", failure.sentence()))?;
        let mut config = config(spec);
        let connectors = config.connectors;
        let device = format!("{}-{number:03}", config.driver);
        config.unique.clone_from(&device);
        let location = Location::Platform(vb3_sysfs::Platform {
            bus_info: format!("platform:{device}"),
            name: device,
        });
        Ok(Self {
            number,
            path,
            location,
            since_us: crate::clock::since_boot_ns() / 1000,
            card: Card::new(config),
            screen,
            memory: CardMemory::new(memory, hosted, connectors),
            shown: BTreeMap::new(),
            faults: 0,
            is_used: false,
            refused: BTreeMap::new(),
        })
    }

    fn sysfs(&self) -> CardNode<'_> {
        let config = self.card.config();
        let modes: Vec<String> = config.modes.iter().map(Mode::name).collect();
        let connectors = (1..).zip(self.card.connector_ids());
        CardNode {
            device: vb3_sysfs::Device {
                location: &self.location,
                driver: &config.driver,
                card: &config.driver,
                since_us: self.since_us,
            },
            number: self.number,
            connectors: connectors
                .map(|(number, id): (u32, u32)| Connector {
                    name: format!("Virtual-{number}"),
                    id,
                    is_connected: true,
                    modes: modes.clone(),
                })
                .collect(),
        }
    }

    /// Returns the card's entry in the report.
    pub(crate) fn report(&self, memory: &RunMemory) -> Option<DeviceReport> {
        let planes = memory.counters(self.memory.dma());
        let mapper = memory.ops().counters(self.memory.dma());
        self.is_used.then(|| DeviceReport {
            node: self.path.clone(),
            kind: "kms".to_owned(),
            allocator: "contig".to_owned(),
            queues: vec![QueueReport {
                queue: "scan-out".to_owned(),
                memory: "dmabuf".to_owned(),
                frames: self.screen.shown(),
                lost: self.faults,
                bytes_copied: planes.copied_bytes,
                bytes_bounced: mapper.bytes_bounced,
                maps: planes.maps,
                unmaps: planes.unmaps,
                peak_bytes: planes.peak_bytes,
                ..QueueReport::default()
            }],
        })
    }

    /// Notes that an import of a program was refused. Such programs copy their frames, and mostly say nothing.
    fn note_refused(&mut self, pid: u32) {
        if self.refused.len() < MAX_REFUSED {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            let name = name.map_or_else(|_| "a program".to_owned(), |name| name.trim().to_owned());
            self.refused.entry(pid).or_insert((name, 0));
        }
    }

    /// Returns a sentence for each program that copied frames because an import was refused.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = String> {
        let copied = self.refused.values().filter(|(_, frames)| *frames > 0);
        copied.map(|(name, frames)| {
            let path = &self.path;
            format!(
                "{name} copied {frames} frames into buffers of {path}, because {path} refused to \
                 import its own (PRIME_FD_TO_HANDLE)"
            )
        })
    }

    pub(crate) fn keep_thumbnails(&mut self) {
        self.screen.keep_thumbnails();
    }

    /// Returns at most `count` small pictures of what was shown.
    pub(crate) fn pictures(&self, count: usize) -> (String, Vec<Picture>) {
        let all = self.screen.thumbnails(count).into_iter();
        let all = all.map(|frame| Picture {
            number: frame.number,
            png: frame.within(Picture::MAX_EDGE).png(),
        });
        (self.path.clone(), all.collect())
    }
}

/// Returns the properties of a SPEC's card.
fn config(spec: &DeviceSpec) -> Config {
    let fps = spec
        .fps
        .map_or(60, |fps| fps.denominator.div_ceil(fps.numerator.max(1)));
    let of = |size: &vb3_picture::Size| (size.width(), size.height());
    let mut sizes: Vec<(u32, u32)> = spec
        .size
        .iter()
        .map(of)
        .chain(spec.sizes.iter().map(of))
        .collect();
    if spec.sizes.is_empty() {
        sizes.extend(SIZES);
    }
    let mut seen = std::collections::BTreeSet::new();
    sizes.retain(|size| seen.insert(*size));
    let modes = sizes.iter().enumerate();
    let modes = modes.map(|(at, (width, height))| Mode::new(*width, *height, fps, at == 0));
    let driver = spec.driver.clone().unwrap_or_else(|| DRIVER.to_owned());
    Config {
        description: match &spec.name {
            Some(name) => name.clone(),
            None => format!("Simulated {driver} display"),
        },
        driver,
        unique: String::new(),
        formats: CARD_FORMATS.map(u32::from_le_bytes).to_vec(),
        modes: modes.collect(),
        connectors: 1,
        overlays: 0,
    }
}

impl Cards {
    /// Returns a file's card and the card's number of the file.
    fn of(&mut self, file: FileId) -> Result<(&mut CardDevice, vb3_drm::FileId), Errno> {
        let &(at, own) = self.files.get(&file).ok_or(Errno::ENODEV)?;
        Ok((self.all.get_mut(at).ok_or(Errno::ENODEV)?, own))
    }
}

/// The kind of cards' files. Their state is in [`Run::cards`].
pub(super) struct CardFiles;

impl CardFiles {
    const NAME: &str = "card";
}

impl Kind for CardFiles {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn nodes(&self, run: &Run) -> Vec<vb3_frontend::Node> {
        let cards = run.cards.all.iter();
        let nodes = cards.map(|card| vb3_frontend::Node {
            kind: NodeKind::Class {
                name: "drm",
                major: DRM_MAJOR,
            },
            devices: card.location.devices(),
            ..vb3_frontend::Node::video(NodeId(0), &card.path, card.number)
        });
        nodes.collect()
    }

    fn files(&self, run: &Run, node: usize) -> Vec<vb3_sysfs::File> {
        let card = run.cards.all.get(node);
        card.map_or_else(Vec::new, |card| card.sysfs().files())
    }

    fn links(&self, run: &Run, node: usize) -> Vec<vb3_sysfs::Link> {
        let card = run.cards.all.get(node);
        card.map_or_else(Vec::new, |card| card.sysfs().links())
    }

    fn open(
        &mut self,
        run: &mut Run,
        node: usize,
        file: FileId,
        origin: Origin,
    ) -> Result<(), Refused> {
        let card = run.cards.all.get_mut(node).ok_or(Errno::ENODEV)?;
        let is_root = rustix::process::geteuid().is_root();
        let own = card.card.open(origin.pid, is_root);
        let own = own.map_err(|e| Errno(e.errno()))?;
        card.is_used = true;
        run.cards.files.insert(file, (node, own));
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        match call.op {
            Op::Ioctl { .. } => run.card_ioctl(call),
            Op::Read { addr, len } => run.card_read(call, addr, len),
            Op::Write { .. } | Op::Resume { .. } => Err(Errno::EINVAL.into()),
        }
    }

    fn map(
        &mut self,
        run: &mut Run,
        file: FileId,
        args: &Mmap,
        origin: Origin,
    ) -> Result<Map, Refused> {
        let (card, own) = run.cards.of(file)?;
        let is_shared = args.flags & 0xf & 1 != 0;
        let found = card.card.mmap(own, (args.offset, args.len), is_shared);
        let buffer = found.map_err(|e| Errno(e.errno()))?;
        let (memory, map) = card.memory.mmap(&run.memory, buffer, args.len)?;
        let tag = run
            .shares
            .get_mut()
            .map(&mut run.memory, memory, origin.pid)?;
        Ok(Map {
            fd: map.fd,
            offset: map.offset,
            tag,
        })
    }

    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, _: bool) -> i16 {
        let ready = run
            .cards
            .of(file)
            .is_ok_and(|(card, own)| card.card.has_events(own));
        if ready { POLL_IN & events } else { 0 }
    }

    fn abandon(&mut self, run: &mut Run, file: FileId, call: CallId) {
        if let Ok((card, _)) = run.cards.of(file) {
            card.card.abandon(call.0);
        }
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        let now_ns = run.set_now();
        if let Ok((card, own)) = run.cards.of(file) {
            card.card
                .close(own, now_ns, &mut card.memory.with(&mut run.memory));
        }
        run.cards.files.remove(&file);
        run.show_cards();
    }

    fn next_tick(&self, run: &Run) -> Option<u64> {
        let cards = run.cards.all.iter();
        cards.filter_map(|card| card.card.next_due_ns()).min()
    }

    fn tick(&mut self, run: &mut Run, now_ns: u64) {
        for card in &mut run.cards.all {
            card.screen.acknowledge();
            let has_room = card.screen.has_room();
            let memory = &mut card.memory.with(&mut run.memory);
            card.card.advance(now_ns, memory, &|_| has_room);
        }
        run.show_cards();
    }
}

impl Run {
    /// Answers an ioctl on a card's file.
    fn card_ioctl(&mut self, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        let now_ns = self.set_now();
        let &(at, own) = self.cards.files.get(&call.file).ok_or(Errno::ENODEV)?;
        let cx = CallContext {
            arg: 0,
            file: own,
            call: call.caller.call().0,
            now_ns,
            nonblocking: call.nonblocking,
        };
        let card = self.cards.all.get_mut(at).ok_or(Errno::ENODEV)?;
        let mut program = Program {
            memory: card.memory.with(&mut self.memory),
            caller: call.caller,
            shares: self.shares.get_mut(),
            sync_files: &mut self.sync_files,
            kinds: &mut self.kinds,
            made: Vec::new(),
            refused: None,
        };
        let outcome = card.card.ioctl(cx, ioctl.request, ioctl.arg, &mut program);
        let (refused, made) = (program.refused, program.made);
        let made = made.into_iter().map(|(id, own)| (id, (at, own)));
        self.cards.files.extend(made);
        self.show_cards();
        match outcome {
            Outcome::Done(value) => Ok(Answer::Done(value)),
            Outcome::Wait => Ok(Answer::Wait),
            Outcome::Fail(e) if e == vb3_drm::Errno::NOT_GATHERED.into() => {
                Err(Errno::NOT_GATHERED.into())
            }
            Outcome::Fail(e) => Err(self.card_refusal(at, ioctl, Errno(e.errno()), refused)),
        }
    }

    /// Reports a refused call: memory that the card cannot reach, with a heap that would work. Programs probe a
    /// card by calls that fail, so other errors are ordinary answers, except for want of memory.
    fn card_refusal(
        &mut self,
        at: usize,
        call: Ioctl<'_>,
        errno: Errno,
        reason: Option<vb3_dma::Reason>,
    ) -> Refused {
        let name = vb3_drm::name(call.request).unwrap_or("ioctl");
        let name = name.trim_start_matches("MODE_");
        let Some(card) = self.cards.all.get(at).filter(|_| !call.caller.lacks()) else {
            return errno.into();
        };
        let (path, wants) = (card.path.clone(), card.memory.wants());
        let Some(reason) = reason else {
            let call = (errno == Errno::ENOMEM).then_some(name);
            return Refused::from(errno).by(|| path, call);
        };
        if let Some(card) = self
            .cards
            .all
            .get_mut(at)
            .filter(|_| name == "PRIME_FD_TO_HANDLE")
        {
            card.note_refused(call.caller.pid());
        }
        let mut told = refusals::for_reason(&path, name, errno, reason);
        if let Some(import) = self
            .memory
            .take_refused_import()
            .filter(|_| !self.report.has(&told))
        {
            let importer = Some((path.as_str(), wants));
            told.remedy =
                crate::remedy::find_for(&self.nodes, &self.memory, import, (&told, importer));
        }
        self.refuse(told);
        errno.into()
    }

    /// Reads events from a card's file.
    fn card_read(&mut self, call: FileCall<'_>, addr: u64, len: u64) -> Result<Answer, Refused> {
        self.set_now();
        let (card, own) = self.cards.of(call.file)?;
        if !card.card.has_events(own) && !call.nonblocking {
            return Ok(Answer::Wait);
        }
        let room = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = card.card.read_events(own, room);
        let bytes = bytes.map_err(|e| Errno(e.errno()))?;
        call.caller.write(addr, &bytes);
        // CAST: at most 4096 bytes are outstanding.
        Ok(Answer::Done(bytes.len() as i64))
    }

    /// Shows what cards show since the last call, and wakes the programs that wait for them.
    fn show_cards(&mut self) {
        let Cards { all, files } = &mut self.cards;
        let mut changed = Vec::new();
        for (at, card) in all.iter_mut().enumerate() {
            for shown in card.card.take_shown() {
                card.scan_out(&mut self.memory, shown);
            }
            card.card.collect(&mut card.memory.with(&mut self.memory));
            let files = card.card.take_changed().into_iter();
            changed.extend(files.map(|file| (at, file)));
        }
        let found = files.iter().filter(|(_, of)| changed.contains(of));
        self.changed.extend(found.map(|(file, _)| *file));
        for card in all {
            if let Some(failure) = card.screen.take_failure() {
                let failure = crate::node::failure_of(&card.path, &failure);
                self.report.fail(failure);
            }
        }
    }

    /// Turns the cards off, and finishes their recordings.
    pub(crate) fn finish_cards(&mut self) {
        for card in &mut self.cards.all {
            card.stop_scans(&self.memory);
            let memory = &mut card.memory.with(&mut self.memory);
            card.card.turn_off(memory);
            if let Some(failure) = card.screen.finish() {
                let failure = crate::node::failure_of(&card.path, &failure);
                self.report.fail(failure);
            }
        }
    }
}
