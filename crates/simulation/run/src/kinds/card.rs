//! Display cards: files of `/dev/dri/cardN`, and the scan-out of what programs show.

mod config;
mod crc;
mod host;
mod rights;
mod scanout;

use super::{FileCall, Kind};
use crate::hosted::Hosted;
use crate::memory::RunMemory;
use crate::program::Answer;
use crate::refusals::Refused;
use crate::{Run, refusals};
use anyhow::{Context as _, Result, anyhow};
pub(super) use crc::CrcFiles;
use host::{CardMemory, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vb3_devices::sink::Sink;
use vb3_devices::spec::{DeviceKind, DeviceSpec, Presence};
use vb3_devices::{FrameFault, NodeSpec, Scan, Screen};
use vb3_drm::{CallContext, Card, Edid, Mode, Outcome};
use vb3_frontend::{
    CallId, Change, Client, Errno, FileId, Hotplug, Ioctl, Map, Mmap, NodeId, NodeKind, Op, Origin,
};
use vb3_machine::Profile;
use vb3_picture::Frame;
use vb3_plane::Cookie;
use vb3_report::{DeviceReport, Picture, QueueReport};
use vb3_sysfs::{CardNode, Connector, DRM_MAJOR, Location};
use vb3_v4l2::POLL_IN;

/// Maximum number of cards: DRM's primary nodes (`/dev/dri/cardN`) have the minor numbers 0 to 63.
const MAX_CARDS: usize = 64;

/// A display card of the run.
pub(crate) struct CardDevice {
    number: u32,
    pub(crate) path: String,
    location: Location,
    since_us: u64,
    card: Card,
    outputs: Vec<Output>,
    memory: CardMemory,
    /// When the monitors are plugged in and unplugged by the card's own options.
    presence: Presence,
    /// Number of pictures that the card could not read.
    faults: u64,
    is_used: bool,
    /// Files from which a checksum can be read now.
    readable: BTreeSet<FileId>,
    /// Programs whose imports the card refused, by process id: the program's name, and how many frames it then
    /// showed in buffers of the card.
    refused: BTreeMap<u32, (String, u64)>,
}

/// A connector's screen, and what its CRTC shows.
struct Output {
    screen: Screen,
    /// What the CRTC shows. This holds the framebuffers, so that they are not freed while they are on the screen.
    shown: Option<scanout::OnScreen>,
    /// The picture that is being read now.
    scan: Option<Scan<Cookie>>,
    /// The framebuffer to which the picture is also written, if the commit has a writeback connector.
    writing: Option<scanout::Writing>,
    /// Whether sysfs says that a CRTC drives the connector.
    is_enabled: bool,
    /// The number of the CRTC's last vblank at the time when the latest read of a picture began.
    seen: u64,
    /// Checksums of the pictures; `None` while no program reads checksums.
    crcs: Option<crc::Crcs>,
}

/// Number of pixels of a screen that are read at each vblank, to find what programs have drawn without a commit.
const LOOKED_AT: u64 = 1 << 20;

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
        let outputs = self.all.iter().flat_map(|card| &card.outputs);
        let sinks = outputs.map(|output| output.screen.sink());
        sinks
            .filter(|sink| !sink.has_room())
            .filter_map(Sink::wake_fd)
    }

    /// Returns when each card's monitors are plugged in and unplugged by its own options.
    pub(crate) fn presences(&self) -> impl Iterator<Item = Presence> {
        self.all.iter().map(|card| card.presence)
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
        let mut config = config::of(spec).with_context(|| path.clone())?;
        let DeviceKind::Kms { sink, .. } = &spec.kind else {
            return Err(anyhow!("{path}: the device is no display card"));
        };
        let connectors = config.connectors;
        let outputs = (0..connectors).map(|connector| {
            let screen = Screen::new(sink, connector);
            let screen = screen.map_err(|failure| anyhow!("{path}: {}", failure.sentence()))?;
            Ok(Output {
                screen,
                shown: None,
                scan: None,
                writing: None,
                is_enabled: false,
                seen: 0,
                crcs: None,
            })
        });
        let outputs = outputs.collect::<Result<_>>()?;
        let device = format!("{}-{number:03}", config.driver);
        config.unique.clone_from(&device);
        let location = Location::Platform(vb3_sysfs::Platform {
            bus_info: format!("platform:{device}"),
            name: device,
        });
        let mut card = Card::new(config);
        if !spec.presence.at_start() {
            for connector in 0..connectors {
                card.plug(connector, false);
            }
        }
        Ok(Self {
            number,
            path,
            location,
            since_us: crate::clock::since_boot_ns() / 1000,
            card,
            outputs,
            memory: CardMemory::new(memory, hosted, connectors),
            presence: spec.presence,
            faults: 0,
            is_used: false,
            readable: BTreeSet::new(),
            refused: BTreeMap::new(),
        })
    }

    fn sysfs(&self) -> CardNode<'_> {
        let config = self.card.config();
        let modes: Vec<String> = config.modes.iter().map(Mode::name).collect();
        let edid = config.edid.as_ref().map(Edid::bytes).unwrap_or_default();
        let connectors = self.card.connectors().zip(&self.outputs);
        let monitors = (1..).zip(connectors);
        let monitors = monitors.map(|(number, ((id, is_connected), output)): (u32, _)| {
            let (mut connector, is_connected) = (Connector::default(), Some(is_connected));
            if is_connected == Some(true) {
                (connector.modes, connector.edid) = (modes.clone(), edid.to_vec());
            }
            Connector {
                name: format!("Virtual-{number}"),
                id,
                is_connected,
                is_enabled: output.is_enabled,
                ..connector
            }
        });
        let writebacks = (1..).zip(self.card.writebacks());
        let writebacks = writebacks.map(|(number, id): (usize, _)| Connector {
            name: format!("Writeback-{number}"),
            id,
            is_enabled: self.card.is_enabled(self.outputs.len() + number - 1),
            ..Connector::default()
        });
        CardNode {
            device: vb3_sysfs::Device {
                location: &self.location,
                driver: &config.driver,
                card: &config.driver,
                since_us: self.since_us,
            },
            number: self.number,
            connectors: monitors.chain(writebacks).collect(),
        }
    }

    /// Returns the card's entry in the report.
    pub(crate) fn report(&self, memory: &RunMemory) -> Option<DeviceReport> {
        let planes = memory.host().counters(self.memory.dma());
        let mapper = memory.ops().counters(self.memory.dma());
        self.is_used.then(|| DeviceReport {
            node: self.path.clone(),
            kind: "kms".to_owned(),
            allocator: "contig".to_owned(),
            queues: vec![QueueReport {
                queue: "scan-out".to_owned(),
                memory: "dmabuf".to_owned(),
                frames: self.frames(),
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

    /// Notes that an import of a program was refused. Most programs then copy their frames into buffers of the card
    /// without telling the user, so [`remarks`](Self::remarks) tells the user.
    fn note_refused(&mut self, client: Client) {
        if self.refused.len() < MAX_REFUSED {
            let name = match client.label {
                label if label.is_empty() => "a program".to_owned(),
                label => label.to_string(),
            };
            self.refused.entry(client.pid()).or_insert((name, 0));
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

    /// Returns whether a monitor is plugged in.
    pub(crate) fn has_monitor(&self) -> bool {
        self.card.connectors().any(|(_, is_connected)| is_connected)
    }

    /// Returns how many pictures all screens have shown.
    pub(crate) fn frames(&self) -> u64 {
        let shown = self.outputs.iter().map(|output| output.screen.shown());
        shown.sum()
    }

    pub(crate) fn keep_thumbnails(&mut self) {
        let outputs = self.outputs.iter_mut();
        outputs.for_each(|output| output.screen.sink_mut().keep_thumbnails());
    }

    /// Returns the number and the picture that the first screen showed last. From the first call on, each picture
    /// is kept.
    pub(crate) fn last_shown(&mut self) -> Option<(u32, Arc<Frame>)> {
        let screen = &mut self.outputs.first_mut()?.screen;
        // CAST: the number wraps around at 32 bits, as V4L2's sequence numbers do.
        Some((
            screen.shown().saturating_sub(1) as u32,
            screen.last_shown()?,
        ))
    }

    /// Delays the next commit, or loses vblanks, on all connectors, as a script's step says.
    pub(crate) fn disturb(&mut self, fault: FrameFault, count: u64) {
        let frame_ns = self.card.config().modes.first().map_or(1, Mode::frame_ns);
        let (lost, delay) = match fault {
            FrameFault::Late { by_ns } => (0, by_ns.div_ceil(frame_ns)),
            _ => (count, 0),
        };
        for crtc in 0..self.outputs.len() {
            self.card.disturb(crtc, lost, delay);
        }
    }

    /// Returns at most `count` small pictures of what was shown.
    pub(crate) fn pictures(&self, count: usize) -> (String, Vec<Picture>) {
        let all = self.outputs.iter();
        let all = all.flat_map(|output| output.screen.sink().thumbnails(count));
        let all = all.map(|frame| Picture {
            number: frame.number,
            png: frame.within(Picture::MAX_EDGE).png(),
        });
        (self.path.clone(), all.collect())
    }
}

impl Cards {
    /// Returns the card of a file, and the id by which the card knows the file.
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
        let own = card.card.open(origin.pid(), rights::is_root(origin.pid()));
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
        let found = card
            .card
            .mmap(own, (args.offset, args.len), args.is_shared());
        let buffer = found.map_err(|e| Errno(e.errno()))?;
        let (memory, map) = card.memory.mmap(&run.memory, buffer, args.len)?;
        let shares = run.shares.get_mut();
        let tag = shares.map(&mut run.memory, memory, origin.client)?;
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
        run.set_now();
        if let Ok((card, own)) = run.cards.of(file) {
            if run.clock.follows_programs() {
                // With this clock, no vblank may have passed since the program drew into the buffer on the screen.
                // So the screen is read once more before the close can take the buffer off the screen.
                card.look_again(&run.memory, true);
                card.finish_reading(&mut run.memory);
            }
            card.card.close(own, &mut card.memory.with(&mut run.memory));
        }
        run.cards.files.remove(&file);
        run.show_cards();
    }
}

impl Run {
    /// Returns when a card's work is due next, by the run's clock in nanoseconds.
    pub(crate) fn next_card_tick(&self) -> Option<u64> {
        let cards = self.cards.all.iter();
        let waits = !self.clock.follows_programs();
        cards.filter_map(|card| card.next_tick(waits)).min()
    }

    /// Lets the cards do the work that is due.
    pub(crate) fn tick_cards(&mut self, now_ns: u64) {
        if self.next_card_tick().is_none_or(|due| due > now_ns) {
            return;
        }
        for at in 0..self.cards.all.len() {
            let Some(card) = self.cards.all.get_mut(at) else {
                return;
            };
            card.read_piece(&mut self.memory);
            let outputs = card.outputs.iter();
            let acknowledged = outputs.inspect(|output| output.screen.sink().acknowledge());
            let rooms: Vec<bool> = acknowledged.map(Output::has_room).collect();
            let memory = &mut card.memory.with(&mut self.memory);
            let has_room = |crtc: usize| rooms.get(crtc).is_some_and(|room| *room);
            card.card.advance(now_ns, memory, &has_room);
        }
        self.show_cards();
        for card in &mut self.cards.all {
            card.look_again(&self.memory, false);
            self.waits.changed.append(&mut card.readable);
        }
        self.after_call();
    }
}

impl Output {
    /// Returns whether the CRTC may show another picture.
    fn has_room(&self) -> bool {
        self.scan.is_none() && self.screen.sink().has_room()
    }

    /// Returns the vblank at which the screen is read again; `None` if it is read only after commits. It is read at each
    /// vblank if a program reads checksums. It is read too, but less often if it is large, if programs may draw into a
    /// buffer on the screen and each picture is kept. In this case, a clock that follows programs does not jump to the
    /// next vblank only to read the screen.
    fn next_look(&self) -> Option<u64> {
        let shown = self.shown.as_ref()?;
        match shown.is_readable && shown.is_mutable && self.screen.sink().keeps_all() {
            _ if self.crcs.is_some() => Some(self.seen + 1),
            true => Some(self.seen + shown.pixels().div_ceil(LOOKED_AT)),
            false => None,
        }
    }
}

impl CardDevice {
    /// Returns when a tick is needed next. `waits` is false with a clock that jumps to the next tick when a program
    /// waits for a device.
    fn next_tick(&self, waits: bool) -> Option<u64> {
        if self.outputs.iter().any(|output| output.scan.is_some()) {
            return Some(0);
        }
        let has_room = self.outputs.iter().all(Output::has_room);
        let due = self.card.next_due_ns().filter(|due| *due > 0 || has_room);
        let outputs = self.outputs.iter().enumerate();
        let watched = outputs.filter(|(_, of)| has_room && (waits || of.crcs.is_some()));
        let dues = watched.filter_map(|(crtc, of)| self.card.vblank_ns(crtc, of.next_look()?));
        dues.chain(due).min()
    }
}

impl Run {
    /// Returns the node of a card's file.
    pub(crate) fn card_node_of(&self, file: FileId) -> Option<NodeId> {
        let (card, _) = self.cards.files.get(&file)?;
        self.kinds.node_id(CardFiles::NAME, *card)
    }

    /// Returns the card with this index among all devices. The index counts the nodes of video devices first, and
    /// then the cards.
    pub(crate) fn card_at(&mut self, at: usize) -> Option<&mut CardDevice> {
        let at = self.nodes.card_number(at)?;
        self.cards.all.get_mut(at)
    }

    /// Returns a card's index among all devices, and the connector if the name has one: `card0`, `/dev/dri/card0`,
    /// or `card0-Virtual-1`.
    pub(crate) fn card_named(&self, name: &str) -> Option<(usize, Option<usize>)> {
        let name = name.trim_start_matches("/dev/").trim_start_matches("dri/");
        let (card, connector) = match name.split_once("-Virtual-") {
            Some((card, number)) => (card, Some(number.parse::<usize>().ok()?.checked_sub(1)?)),
            None => (name, None),
        };
        let number: usize = card.strip_prefix("card")?.parse().ok()?;
        let found = self.cards.all.get(number)?;
        let has_it = connector.is_none_or(|connector| connector < found.outputs.len());
        has_it.then_some((self.nodes.len() + number, connector))
    }

    /// Plugs monitors into a card's connectors, or unplugs them: all, or one. Returns false if this changes nothing.
    pub(crate) fn plug_monitors(
        &mut self,
        card: usize,
        connector: Option<usize>,
        comes: bool,
    ) -> bool {
        let Some(device) = self.cards.all.get_mut(card) else {
            return false;
        };
        let all = 0..device.outputs.len();
        let all = all.filter(|at| connector.is_none_or(|connector| connector == *at));
        let changes = all.fold(false, |changes, at| device.card.plug(at, comes) | changes);
        if changes {
            self.tell_card(card, Some("HOTPLUG=1"));
        }
        changes
    }

    /// Queues a change of a card's files in sysfs, so that programs see the new files. With a property, programs
    /// also get a uevent that has this property.
    fn tell_card(&mut self, card: usize, property: Option<&'static str>) {
        let change = Change::Changed(property);
        let node = self.kinds.node_id(CardFiles::NAME, card);
        let event = node.map(|node| Hotplug { node, change });
        self.nodes.plugs.unseen.extend(event);
    }

    /// Answers an ioctl on a card's file.
    fn card_ioctl(&mut self, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        let now_ns = self.set_now();
        let &(at, own) = self.cards.files.get(&call.file).ok_or(Errno::ENODEV)?;
        // A script counts ioctls by the low 16 bits of their request, which have type and number. The upper bits
        // have the size of the structure, which differs between programs.
        let (device, request) = (self.nodes.len() + at, ioctl.request & 0xffff);
        if let Some(errno) = self.meet_call(device, request, call.caller.call()) {
            return Err(errno.into());
        }
        let cx = CallContext {
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
            sync_files: &mut self.files.sync_files,
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
            Outcome::Fail(e) => Err(self.card_refusal(at, ioctl, Errno(e.errno()), refused)),
        }
    }

    /// Reports a call that failed because the card cannot use the memory (`reason`), with a hint how the call would
    /// succeed. Without a reason, only ENOMEM is reported: programs find out what a card can do by calls that fail,
    /// so all other errors are ordinary answers.
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
        let card = self.cards.all.get_mut(at);
        if let Some(card) = card.filter(|_| name == "PRIME_FD_TO_HANDLE") {
            card.note_refused(call.caller.client());
        }
        let mut told = refusals::for_reason(&path, name, errno, reason);
        if let Some(import) = self
            .memory
            .host()
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

    /// Reads events from a card's file. As on Linux, an address of the kernel is refused before a wait.
    fn card_read(&mut self, call: FileCall<'_>, addr: u64, len: u64) -> Result<Answer, Refused> {
        self.set_now();
        if addr.checked_add(len).is_none_or(|end| end >> 63 != 0) {
            return Err(Errno::EFAULT.into());
        }
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

    /// Scans out what cards have begun to show since the last call, and wakes the programs that wait for events of
    /// cards.
    fn show_cards(&mut self) {
        let Cards { all, files } = &mut self.cards;
        let (mut changed, mut lit) = (Vec::new(), Vec::new());
        for (at, card) in all.iter_mut().enumerate() {
            for shown in card.card.take_shown() {
                card.scan_out(&mut self.memory, shown);
            }
            for (connector, output) in card.outputs.iter_mut().enumerate() {
                let is_enabled = card.card.is_enabled(connector);
                if is_enabled != output.is_enabled && self.nodes.plugs.has_room() {
                    output.is_enabled = is_enabled;
                    lit.push(at);
                }
            }
            card.card.collect(&mut card.memory.with(&mut self.memory));
            let files = card.card.take_changed().into_iter();
            changed.extend(files.map(|file| (at, file)));
        }
        let found = files.iter().filter(|(_, of)| changed.contains(of));
        self.waits.changed.extend(found.map(|(file, _)| *file));
        for card in all {
            let failures = card.outputs.iter_mut();
            for failure in failures.filter_map(|output| output.screen.take_failure()) {
                let failure = crate::node::failure_of(&card.path, &failure);
                self.report.fail(failure);
            }
        }
        lit.into_iter().for_each(|card| self.tell_card(card, None));
    }

    /// Turns the cards off, and finishes their recordings.
    pub(crate) fn finish_cards(&mut self) {
        for card in &mut self.cards.all {
            card.stop_scans(&mut self.memory);
            let memory = &mut card.memory.with(&mut self.memory);
            card.card.turn_off(memory);
            let failures = card.outputs.iter_mut();
            for failure in failures.filter_map(|output| output.screen.finish()) {
                let failure = crate::node::failure_of(&card.path, &failure);
                self.report.fail(failure);
            }
        }
    }
}
