//! A VMM without a virtual machine, and the virtio part of a guest's driver.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Result as IoResult;
use std::os::fd::{AsFd as _, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;
use vb3_guest::{Event, Note, Options};
use vb3_report::Report;
use vb3_run::Run;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserMMap, VhostUserProtocolFeatures,
    VhostUserSharedMsg,
};
use vhost::vhost_user::{
    Frontend, FrontendReqHandler, VhostUserFrontend as _, VhostUserFrontendReqHandlerMut,
};
use vhost::{VhostBackend as _, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::mock::{AvailRing, DescriptorTable, UsedRing};
use vm_memory::{Bytes as _, FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Bytes of guest RAM.
pub(crate) const RAM_BYTES: usize = 64 << 20;
/// Descriptors of a ring.
pub(crate) const RING: u16 = 256;
/// Where a device's rings, commands, answers and event buffers lie in its part of guest RAM, and how long parts are.
pub(crate) const RINGS: [u64; 2] = [0x1_0000, 0x2_0000];
pub(crate) const COMMAND: u64 = 0x10_0000;
pub(crate) const ANSWER: u64 = 0x20_0000;
const EVENTS: u64 = 0x30_0000;
const PART: u64 = 0x40_0000;
const EVENT_BYTES: u32 = 1024;
/// How many event buffers the published driver gives.
const EVENT_BUFFERS: u16 = 16;
/// After this time without an answer, a test fails.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(20);
/// What descriptors' flags say: another follows; the device writes.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// A run that serves guests in a thread.
pub(crate) struct Server {
    pub(crate) dir: PathBuf,
    stop: Option<UnixStream>,
    notes: Arc<Mutex<Vec<Note>>>,
    thread: Option<JoinHandle<Report>>,
}

impl Server {
    pub(crate) fn new(make: impl FnOnce() -> Run + Send + 'static) -> Self {
        Self::with(Options::default(), make)
    }

    pub(crate) fn with(options: Options, make: impl FnOnce() -> Run + Send + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = format!("vb3-guests-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        std::fs::create_dir(&dir).unwrap();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let (path, heard) = (dir.clone(), Arc::clone(&notes));
        let thread = std::thread::spawn(move || {
            let run = Arc::new(Mutex::new(make()));
            let note = |note| heard.lock().unwrap().push(note);
            let devices = Arc::clone(&run);
            vb3_guest::serve(devices, &path, options, stopped.as_fd(), &note).unwrap();
            run.lock().unwrap().report()
        });
        let server = Self {
            dir,
            stop: Some(stop),
            notes,
            thread: Some(thread),
        };
        server.wait_for(|note| matches!(note.event, Event::Listening(_)));
        server
    }

    /// Waits for a note.
    pub(crate) fn wait_for(&self, is_wanted: impl Fn(&Note) -> bool) -> Note {
        self.wait_for_after(0, is_wanted)
    }

    /// Waits for a note after the first `count` ones.
    pub(crate) fn wait_for_after(&self, count: usize, is_wanted: impl Fn(&Note) -> bool) -> Note {
        let until = Instant::now() + MAX_ANSWER_TIME;
        loop {
            let notes = self.notes();
            if let Some(note) = notes.iter().skip(count).find(|note| is_wanted(note)) {
                return note.clone();
            }
            assert!(Instant::now() < until, "{notes:?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        self.notes.lock().unwrap().clone()
    }

    /// Waits for a remark that contains a text.
    pub(crate) fn wait_for_remark(&self, text: &str) {
        self.wait_for(|note| matches!(&note.event, Event::Remark(told) if told.contains(text)));
    }

    /// Ends the run. Returns its report.
    pub(crate) fn end(mut self) -> Report {
        self.stop = None;
        let report = self.thread.take().unwrap().join().unwrap();
        std::fs::remove_dir(&self.dir).expect("no socket remains");
        report
    }
}

/// What a VMM maps into the shared memory region: file, offset in it and length, by the place.
#[derive(Default)]
pub(crate) struct Region {
    pub(crate) maps: BTreeMap<u64, (File, u64, u64)>,
    /// Length of the region in bytes.
    pub(crate) len: u64,
    /// Buffers that other devices can ask for.
    pub(crate) objects: BTreeSet<Uuid>,
}

impl VhostUserFrontendReqHandlerMut for Region {
    fn shared_object_add(&mut self, object: &VhostUserSharedMsg) -> IoResult<u64> {
        assert!(self.objects.insert(object.uuid));
        Ok(0)
    }

    fn shared_object_remove(&mut self, object: &VhostUserSharedMsg) -> IoResult<u64> {
        assert!(self.objects.remove(&object.uuid));
        Ok(0)
    }

    fn shmem_map(&mut self, map: &VhostUserMMap, fd: &dyn AsRawFd) -> IoResult<u64> {
        let (at, len, offset) = (map.shm_offset, map.len, map.fd_offset);
        let is_taken = |(start, (_, _, long)): (&u64, &(File, u64, u64))| {
            at < start + long && *start < at + len
        };
        if at + len > self.len || self.maps.iter().any(is_taken) {
            return Err(rustix::io::Errno::INVAL.into());
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        self.maps.insert(at, (file, offset, len));
        Ok(0)
    }

    fn shmem_unmap(&mut self, map: &VhostUserMMap) -> IoResult<u64> {
        let at = map.shm_offset;
        self.maps
            .remove(&at)
            .map(|_| 0)
            .ok_or_else(|| rustix::io::Errno::INVAL.into())
    }
}

/// One of the driver's queues.
struct Ring {
    table: DescriptorTable<'static, GuestMemoryMmap>,
    avail: AvailRing<'static, GuestMemoryMmap>,
    used: UsedRing<'static, GuestMemoryMmap>,
    seen: u16,
    kick: EventFd,
    call: EventFd,
    epoll: Epoll,
}

impl Ring {
    fn new(ram: &'static GuestMemoryMmap, base: u64) -> Self {
        let (call, epoll) = (EventFd::new(EFD_NONBLOCK).unwrap(), Epoll::new().unwrap());
        let event = EpollEvent::new(EventSet::IN, 0);
        epoll
            .ctl(ControlOperation::Add, call.as_raw_fd(), event)
            .unwrap();
        Self {
            table: DescriptorTable::new(ram, GuestAddress(base), RING),
            avail: AvailRing::new(ram, GuestAddress(base + 0x1000), RING),
            used: UsedRing::new(ram, GuestAddress(base + 0x2000), RING),
            seen: 0,
            kick: EventFd::new(EFD_NONBLOCK).unwrap(),
            call,
            epoll,
        }
    }

    fn offer(&self, head: u16) {
        let at = self.avail.idx().load();
        let place = self.avail.ring().ref_at(usize::from(at % RING)).unwrap();
        place.store(head);
        std::sync::atomic::fence(Ordering::SeqCst);
        self.avail.idx().store(at.wrapping_add(1));
    }

    /// Returns the next used chain's head and length.
    fn take_used(&mut self) -> Option<(u16, u32)> {
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.used.idx().load() == self.seen {
            return None;
        }
        let place = usize::from(self.seen % RING);
        let used = self.used.ring().ref_at(place).unwrap().load();
        self.seen = self.seen.wrapping_add(1);
        Some((used.id().try_into().unwrap(), used.len()))
    }

    fn wait_used(&mut self, patience: Duration) -> Option<(u16, u32)> {
        let until = Instant::now() + patience;
        loop {
            if let Some(used) = self.take_used() {
                return Some(used);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let left = i32::try_from(left.as_millis() + 1).unwrap();
            let _ = self.epoll.wait(left, &mut [EpollEvent::default()]);
            let _ = self.call.read();
        }
    }
}

/// A VMM and its guest's virtio driver.
pub(crate) struct Vmm {
    pub(crate) frontend: Frontend,
    pub(crate) ram: &'static GuestMemoryMmap,
    /// Where the device's part of guest RAM begins.
    part: u64,
    rings: [Ring; 2],
    pub(crate) region: Arc<Mutex<Region>>,
}

/// How a VMM connects.
pub(crate) struct Setup {
    pub(crate) protocol: VhostUserProtocolFeatures,
    pub(crate) features: Option<u64>,
    pub(crate) region_bytes: u64,
    /// Which part of guest RAM the device gets.
    pub(crate) part: u64,
    /// Whether the VMM answers requests.
    pub(crate) answers: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            protocol: VhostUserProtocolFeatures::all(),
            features: None,
            region_bytes: 4 << 30,
            part: 0,
            answers: true,
        }
    }
}

/// Makes guest RAM. It stays until the end of the test.
pub(crate) fn new_ram() -> &'static GuestMemoryMmap {
    let file = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, RAM_BYTES as u64).unwrap();
    let file = Some(FileOffset::new(File::from(file), 0));
    let ram = GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), RAM_BYTES, file)]);
    Box::leak(Box::new(ram.unwrap()))
}

impl Vmm {
    pub(crate) fn connect(socket: &Path) -> Self {
        Self::try_connect(socket, new_ram(), &Setup::default()).expect("the device is there")
    }

    pub(crate) fn try_connect(
        socket: &Path,
        ram: &'static GuestMemoryMmap,
        setup: &Setup,
    ) -> vhost::Result<Self> {
        let mut frontend = Frontend::connect(socket, 2).unwrap();
        frontend.set_owner()?;
        let offered = frontend.get_features()?;
        frontend.set_hdr_flags(VhostUserHeaderFlag::empty());
        let protocol = frontend.get_protocol_features()? & setup.protocol;
        frontend.set_protocol_features(protocol)?;
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_features(setup.features.unwrap_or(offered))?;
        let region = Region {
            len: setup.region_bytes,
            ..Region::default()
        };
        let region = Arc::new(Mutex::new(region));
        let mut requests = FrontendReqHandler::new(Arc::clone(&region)).unwrap();
        requests.set_reply_ack_flag(true);
        frontend.set_backend_request_fd(&requests.get_tx_raw_fd())?;
        let answers = setup.answers;
        std::thread::spawn(move || {
            if !answers {
                // Keeps its end open, and never reads.
                std::thread::park();
            }
            while requests.handle_request().is_ok() {}
        });
        let part = setup.part * PART;
        let rings = RINGS.map(|base| Ring::new(ram, part + base));
        let mut vmm = Self {
            frontend,
            ram,
            part,
            rings,
            region,
        };
        vmm.start()?;
        for number in 0..EVENT_BUFFERS {
            vmm.give_event_buffer(number);
        }
        Ok(vmm)
    }

    fn start(&mut self) -> vhost::Result<()> {
        let region = self.ram.iter().next().unwrap();
        let info = VhostUserMemoryRegionInfo::from_guest_region(region)?;
        self.frontend.set_mem_table(&[info])?;
        let host = |at: u64| info.userspace_addr + self.part + at;
        for (index, (ring, base)) in self.rings.iter().zip(RINGS).enumerate() {
            self.frontend.set_vring_num(index, RING)?;
            self.frontend.set_vring_base(index, 0)?;
            let config = VringConfigData {
                queue_max_size: RING,
                queue_size: RING,
                flags: 0,
                desc_table_addr: host(base),
                avail_ring_addr: host(base + 0x1000),
                used_ring_addr: host(base + 0x2000),
                log_addr: None,
            };
            self.frontend.set_vring_addr(index, &config)?;
            self.frontend.set_vring_call(index, &ring.call)?;
            self.frontend.set_vring_kick(index, &ring.kick)?;
            self.frontend.set_vring_enable(index, true)?;
        }
        Ok(())
    }

    /// Resets the device as a guest's driver does at its start.
    pub(crate) fn reset(&mut self) {
        self.frontend.reset_device().unwrap();
        for index in 0..2 {
            self.frontend.get_vring_base(index).unwrap();
        }
        self.rings = RINGS.map(|base| Ring::new(self.ram, self.part + base));
        self.region.lock().unwrap().maps.clear();
        let features = self.frontend.get_features().unwrap();
        self.frontend.set_features(features).unwrap();
        self.start().unwrap();
        for number in 0..EVENT_BUFFERS {
            self.give_event_buffer(number);
        }
    }

    /// Returns the configuration space.
    pub(crate) fn config(&mut self) -> Vec<u8> {
        let flags = VhostUserConfigFlags::empty();
        let config = self.frontend.get_config(0, 40, flags, &[0; 40]);
        config.unwrap().1
    }

    /// Offers a chain of descriptors (address, length, flags) as they are, from a place in the table on.
    pub(crate) fn offer(&self, first: u16, chain: &[(u64, u32, u16)]) {
        for (number, &(addr, len, flags)) in chain.iter().enumerate() {
            let at = first + number as u16;
            let descriptor = Descriptor::new(addr, len, flags, at.wrapping_add(1));
            let descriptor = RawDescriptor::from(descriptor);
            self.rings[0].table.store(at % RING, descriptor).unwrap();
        }
        self.rings[0].offer(first);
    }

    /// Writes any number as the index of available chains.
    pub(crate) fn spoil_index(&self, ahead: u16) {
        let idx = self.rings[0].avail.idx();
        idx.store(idx.load().wrapping_add(ahead));
    }

    /// Offers a chain by any number as its head.
    pub(crate) fn offer_head(&self, head: u16) {
        self.rings[0].offer(head);
    }

    pub(crate) fn kick(&self) {
        self.rings[0].kick.write(1).unwrap();
    }

    /// Waits until the device has used a chain. Returns the number of bytes that it wrote.
    pub(crate) fn used(&mut self) -> u32 {
        let used = self.rings[0].wait_used(MAX_ANSWER_TIME);
        used.expect("the device answers").1
    }

    /// Sends a command in two pieces.
    pub(crate) fn send(&mut self, sent: &[u8]) {
        let (command, answers) = (self.part + COMMAND, self.part + ANSWER);
        self.ram.write_slice(sent, GuestAddress(command)).unwrap();
        let first = (sent.len() / 2) as u32;
        let second = sent.len() as u32 - first;
        self.offer(
            0,
            &[
                (command, first, NEXT),
                (command + u64::from(first), second, NEXT),
                (answers, 12, WRITE | NEXT),
                (answers + 12, 0x8_0000, WRITE),
            ],
        );
        self.kick();
    }

    /// Sends a command, and returns its answer.
    pub(crate) fn command(&mut self, sent: &[u8]) -> Vec<u8> {
        self.send(sent);
        let answers = self.part + ANSWER;
        let mut answer = vec![0; self.used() as usize];
        self.ram
            .read_slice(&mut answer, GuestAddress(answers))
            .unwrap();
        answer
    }

    fn give_event_buffer(&self, number: u16) {
        let at = self.part + EVENTS + u64::from(number) * u64::from(EVENT_BYTES);
        let descriptor = Descriptor::new(at, EVENT_BYTES, WRITE, 0);
        let ring = &self.rings[1];
        ring.table
            .store(number, RawDescriptor::from(descriptor))
            .unwrap();
        ring.offer(number);
        ring.kick.write(1).unwrap();
    }

    /// Waits for an event.
    pub(crate) fn event(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let (number, len) = self.rings[1].wait_used(patience)?;
        let mut event = vec![0; len as usize];
        let at = self.part + EVENTS + u64::from(number) * u64::from(EVENT_BYTES);
        self.ram.read_slice(&mut event, GuestAddress(at)).unwrap();
        self.give_event_buffer(number);
        Some(event)
    }
}
