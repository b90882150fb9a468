//! Guests' commands on a run's devices, without a VMM.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd as _;
use std::sync::Mutex;

use super::*;
use crate::memory::tests::{list, new_ram};
use crate::shared::lock;
use vb3_frontend::Devices as _;
use vb3_machine::Profile;
use vb3_run::{Outside, Run};
use vm_memory::{Bytes as _, GuestAddress};

/// A run, and a clock that a test moves.
struct Bench {
    run: Arc<Mutex<Run>>,
    shared: Arc<Shared>,
    now_ns: Arc<AtomicU64>,
}

impl Bench {
    fn new(devices: &[&str]) -> Self {
        let now_ns = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&now_ns);
        let now = move || clock.load(Ordering::Relaxed);
        let outside = Outside::new(now, vb3_codec::Launch::in_thread());
        let specs: Vec<_> = devices.iter().map(|spec| spec.parse().unwrap()).collect();
        let profile = Profile::builtin("pc").unwrap();
        let run = Run::with(profile, &specs, 0, outside).unwrap();
        let run = Arc::new(Mutex::new(run));
        let devices = Arc::clone(&run);
        let shared = Arc::new(Shared::new(devices, BTreeMap::new()).unwrap());
        Self {
            run,
            shared,
            now_ns,
        }
    }

    fn pass_ms(&self, ms: u64) {
        self.now_ns.fetch_add(ms * 1_000_000, Ordering::Relaxed);
        lock(&self.run).tick();
    }

    /// Other tests of this process have descriptors, too, so these are not compared.
    fn expect_nothing_held(&self) {
        let held = lock(&self.run).report().held;
        let without_fds = vb3_report::Held { fds: 0, ..held };
        assert!(without_fds.is_empty(), "{without_fds:?}");
    }

    fn device(&self) -> Device {
        let node = lock(&self.run).nodes()[0].id;
        Device::new(Arc::clone(&self.shared), node, Options::default())
    }
}

/// The region, as a VMM would keep it: a file and an offset for each place.
#[derive(Default)]
struct Places {
    all: RefCell<BTreeMap<u64, (std::os::fd::OwnedFd, u64, u64)>>,
    refuses: Cell<bool>,
}

impl Region for Places {
    fn map(&self, at: u64, len: u64, map: &Map, _: bool) -> Result<(), Errno> {
        if self.refuses.get() {
            return Err(Errno::ENOMEM);
        }
        let fd = map.fd.as_fd().try_clone_to_owned().unwrap();
        let size = rustix::fs::fstat(&fd).unwrap().st_size;
        assert!(
            map.offset + len <= u64::try_from(size).unwrap(),
            "whole pages"
        );
        let before = self.all.borrow_mut().insert(at, (fd, map.offset, len));
        assert!(before.is_none());
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) {
        let removed = self.all.borrow_mut().remove(&at);
        assert_eq!(removed.unwrap().2, len);
    }

    fn set_shared(&self, _: Uuid, _: bool) {}
}

impl Places {
    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let all = self.all.borrow();
        let (fd, offset, _) = &all[&at];
        let mut bytes = vec![0; len];
        rustix::io::pread(fd, &mut bytes, *offset).unwrap();
        bytes
    }
}

/// A guest's driver.
struct Driver {
    bench: Bench,
    device: Device,
    ram: GuestMemoryMmap,
    places: Places,
    remarks: Remarks,
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

const CAPTURE: u32 = 1;
const MMAP: u32 = 1;
const USERPTR: u32 = 2;
const DMABUF: u32 = 4;
const WIDTH: usize = 64;
const HEIGHT: usize = 48;
const FRAME: usize = WIDTH * HEIGHT * 2;
const OK: Result<Vec<u8>, u32> = Ok(Vec::new());

impl Driver {
    fn new(spec: &str) -> Self {
        let bench = Bench::new(&[spec]);
        Self {
            device: bench.device(),
            bench,
            ram: new_ram(1 << 20),
            places: Places::default(),
            remarks: Remarks::new().unwrap(),
        }
    }

    fn camera() -> Self {
        Self::new("camera=pattern,size=64x48,format=YUYV,identity=plain")
    }

    /// Sends a command. Returns its response, if it has one.
    fn command(&mut self, sent: &[u8]) -> Option<Vec<u8>> {
        let machine = Machine {
            memory: &self.ram,
            region: &self.places,
            remarks: &self.remarks,
        };
        self.device.command(sent, machine)
    }

    /// Sends a command. Returns what follows the response's header, or the errno.
    fn send(&mut self, sent: &[u8]) -> Result<Vec<u8>, u32> {
        let answer = self.command(sent).unwrap();
        match number(&answer, 0) {
            0 => Ok(answer[8..].to_vec()),
            errno => Err(errno),
        }
    }

    fn open(&mut self) -> u32 {
        number(&self.send(&words(&[1, 0])).unwrap(), 0)
    }

    fn close(&mut self, session: u32) {
        assert_eq!(self.command(&words(&[2, 0, session, 0])), None);
    }

    fn ioctl(&mut self, session: u32, request: u32, payload: &[u8]) -> Result<Vec<u8>, u32> {
        let mut sent = words(&[3, 0, session, request & 0xff]);
        sent.extend_from_slice(payload);
        self.send(&sent)
    }

    fn request_buffers(&mut self, session: u32, memory: u32) -> Result<Vec<u8>, u32> {
        let payload = words(&[4, CAPTURE, memory, 0, 0]);
        self.ioctl(session, sys::VIDIOC_REQBUFS, &payload)
    }

    fn stream_on(&mut self, session: u32) {
        let done = self.ioctl(session, sys::VIDIOC_STREAMON, &words(&[CAPTURE]));
        assert_eq!(done, OK);
    }

    fn event(&mut self) -> Option<Vec<u8>> {
        self.device.next_event(&self.ram)
    }
}

/// Returns a `struct v4l2_buffer` of a capture queue.
fn buffer(index: u32, memory: u32, user: u64) -> Vec<u8> {
    let mut bytes = vec![0; BUFFER_BYTES];
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(0, &index.to_le_bytes());
    set(4, &CAPTURE.to_le_bytes());
    set(60, &memory.to_le_bytes());
    set(64, &user.to_le_bytes());
    if user != 0 {
        set(72, &(FRAME as u32).to_le_bytes());
    }
    bytes
}

#[test]
fn the_configuration_hides_read_and_write() {
    let driver = Driver::camera();
    let config = driver.device.config().unwrap();
    let caps = number(&config, 0);
    assert_eq!(caps & sys::V4L2_CAP_READWRITE, 0);
    assert_ne!(caps & sys::V4L2_CAP_STREAMING, 0);
    assert!(config[8..].starts_with(b"Test Pattern"), "{config:?}");
    driver.bench.expect_nothing_held();
}

#[test]
fn mapped_buffers_are_the_runs_memory() {
    let mut driver = Driver::camera();
    let session = driver.open();
    let granted = driver.request_buffers(session, MMAP).unwrap();
    let caps = number(&granted, 12);
    assert_eq!(number(&granted, 0), 4);
    assert_eq!(caps & sys::V4L2_BUF_CAP_SUPPORTS_DMABUF, 0);
    let mut places = Vec::new();
    for index in 0..4 {
        let told = driver.ioctl(session, sys::VIDIOC_QUERYBUF, &buffer(index, MMAP, 0));
        let offset = number(&told.unwrap(), 64);
        let mapped = driver.send(&words(&[4, 0, session, 1, offset])).unwrap();
        assert_eq!(number(&mapped, 8) as usize, FRAME, "the buffer's length");
        places.push(u64::from(number(&mapped, 0)));
        let queued = driver.ioctl(session, sys::VIDIOC_QBUF, &buffer(index, MMAP, 0));
        queued.unwrap();
    }
    driver.stream_on(session);
    let event = driver.event().unwrap();
    assert_eq!(
        (event.len(), number(&event, 0)),
        (608, 1),
        "a dequeued buffer"
    );
    assert_eq!((number(&event, 4), number(&event, 8)), (session, 0));
    let shown = driver.places.read(places[0], FRAME);
    assert!(shown.iter().any(|byte| *byte != 0), "the test pattern");
    assert_eq!(driver.event(), None, "the next frame comes later");
    driver.close(session);
    assert_eq!(
        driver.places.all.borrow().len(),
        4,
        "mappings outlive the session"
    );
    for at in places {
        let unmap = [words(&[5, 0]), at.to_le_bytes().to_vec()].concat();
        assert_eq!(driver.send(&unmap), OK);
        assert_eq!(driver.send(&unmap), Err(22), "once");
    }
    driver.bench.expect_nothing_held();
    let report = driver.bench.run.lock().unwrap().report();
    assert_eq!(report.devices[0].queues[0].bytes_copied, 0);
}

#[test]
fn user_memory_gets_the_frame_at_the_end() {
    let mut driver = Driver::camera();
    let session = driver.open();
    driver.request_buffers(session, USERPTR).unwrap();
    // Two runs of guest RAM, in the other order.
    let half = (FRAME / 2) as u32;
    let entries = list(&[(0x40_000, half), (0x10_000, half)]);
    let sent = [buffer(0, USERPTR, 0x7f00_0000_0000), entries].concat();
    let queued = driver.ioctl(session, sys::VIDIOC_QBUF, &sent).unwrap();
    assert_eq!(queued[64..72], 0x7f00_0000_0000_u64.to_le_bytes());
    driver.stream_on(session);
    driver.bench.pass_ms(50);
    assert!(driver.event().is_some());
    let mut ram = vec![0; 1 << 20];
    driver.ram.read_slice(&mut ram, GuestAddress(0)).unwrap();
    let (half, is_set) = (FRAME / 2, |byte: &u8| *byte != 0);
    assert!(ram[0x40_000..0x40_000 + half].iter().any(is_set));
    assert!(ram[0x10_000..0x10_000 + half].iter().any(is_set));
    assert!(!ram[0x10_000 + half..0x40_000].iter().any(is_set));
}

#[test]
fn what_virtio_media_does_not_carry_is_refused() {
    let mut driver = Driver::camera();
    let session = driver.open();
    assert_eq!(driver.request_buffers(session, DMABUF), Err(22));
    for request in [
        sys::VIDIOC_QUERYCAP,
        sys::VIDIOC_DQBUF,
        sys::VIDIOC_DQEVENT,
        sys::VIDIOC_EXPBUF,
        sys::VIDIOC_LOG_STATUS,
        255,
    ] {
        let done = driver.ioctl(session, request, &[0; 256]);
        assert_eq!(done, Err(25), "{request:#x}");
    }
    assert_eq!(
        driver.ioctl(session, sys::VIDIOC_G_FMT, &[0; 4]),
        Err(22),
        "too short"
    );
    assert_eq!(
        driver.ioctl(99, sys::VIDIOC_G_FMT, &[0; 256]),
        Err(22),
        "no session"
    );
    assert_eq!(
        driver.send(&words(&[4, 0, session, 1, 0])),
        Err(22),
        "no such offset"
    );
    driver.close(99);
}

#[test]
fn a_refused_mapping_leaves_nothing() {
    let mut driver = Driver::camera();
    let session = driver.open();
    driver.request_buffers(session, MMAP).unwrap();
    let told = driver.ioctl(session, sys::VIDIOC_QUERYBUF, &buffer(0, MMAP, 0));
    let offset = number(&told.unwrap(), 64);
    driver.places.refuses.set(true);
    let map = words(&[4, 0, session, 1, offset]);
    assert_eq!(driver.send(&map), Err(12));
    driver.places.refuses.set(false);
    assert_eq!(driver.send(&map).map(|mapped| number(&mapped, 0)), Ok(0));
    driver.device.reset(&driver.places);
    driver.bench.expect_nothing_held();
}

#[test]
fn controls_return_their_array_and_the_wrong_one() {
    let mut driver = Driver::camera();
    let session = driver.open();
    let brightness = 0x0098_0900_u32;
    // which, count, error_idx, request_fd, reserved, padding, pointer; then id, size, reserved, value.
    let controls = |id: u32| {
        let mut bytes = words(&[0, 1, 0, 0, 0, 0]);
        bytes.extend(0xffff_9000_0000_0000_u64.to_le_bytes());
        bytes.extend(words(&[id, 0, 0, 0, 0]));
        bytes
    };
    let told = driver.ioctl(session, sys::VIDIOC_G_EXT_CTRLS, &controls(brightness));
    let told = told.unwrap();
    assert_eq!(told.len(), 52);
    assert_eq!(told[24..32], 0xffff_9000_0000_0000_u64.to_le_bytes());
    assert_eq!(number(&told, 32), brightness);
    let mut sent = words(&[3, 0, session, sys::VIDIOC_G_EXT_CTRLS & 0xff]);
    sent.extend(controls(0x1234_5678));
    let answer = driver.command(&sent).unwrap();
    assert_eq!(
        (number(&answer, 0), answer.len()),
        (22, 8 + 52),
        "also after an error"
    );
}

#[test]
fn an_export_ends_with_its_session() {
    let mut driver = Driver::camera();
    driver.device.options.dma_bufs = true;
    let session = driver.open();
    driver.request_buffers(session, 1).unwrap();
    let mut export = words(&[CAPTURE, 0, 0, 2, 0]);
    export.resize(64 + 16, 0);
    let back = driver.ioctl(session, sys::VIDIOC_EXPBUF, &export).unwrap();
    assert_ne!(back[64..], [0; 16]);
    driver.close(session);
    driver.bench.expect_nothing_held();
}

#[test]
fn sessions_are_bounded_and_reset_releases_them() {
    let mut driver = Driver::camera();
    let mut count = 0;
    while driver.send(&words(&[1, 0])).is_ok() {
        count += 1;
        assert!(count <= MAX_SESSIONS);
    }
    assert_eq!(count, MAX_SESSIONS);
    driver.device.reset(&driver.places);
    assert_eq!(driver.open(), 1);
}

/// A driver that sends anything: no command panics, and after a reset, nothing is held.
#[test]
fn random_commands_are_answered() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let codes: Vec<u32> = (0..256).filter_map(vb3_v4l2::ioctl_of_code).collect();
    let mut driver = Driver::camera();
    driver.device.options.dma_bufs = true;
    for _ in 0..20_000 {
        let session = random(4) as u32;
        let mut sent = match random(8) {
            0 => words(&[1, 0]),
            1 => words(&[4, 0, session, random(2) as u32, (random(8) * 4096) as u32]),
            2 => words(&[5, 0, (random(8) * 4096) as u32, 0]),
            _ => {
                let code = codes[random(codes.len() as u64) as usize];
                words(&[3, 0, session, code & 0xff])
            }
        };
        let small = |random: &mut dyn FnMut(u64) -> u64| match random(4) {
            0 => random(u64::MAX) as u32,
            1 => 0,
            _ => random(5) as u32,
        };
        for _ in 0..random(80) {
            sent.extend(small(&mut random).to_le_bytes());
        }
        let len = sent.len() - random(4) as usize;
        driver.command(&sent[..len]);
        driver.event();
        if random(50) == 0 {
            driver.bench.pass_ms(random(100));
        }
        if random(500) == 0 {
            driver.close(session);
        }
    }
    driver.device.reset(&driver.places);
    driver.bench.expect_nothing_held();
}
