//! Fences of a run under random calls: each fence that begins also ends.

use super::*;
use crate::summary;
use vb3_dmabuf::fence::Status;
use vb3_v4l2::{POLL_IN, POLL_OUT};

const BUFFERS: u32 = 3;
const EXPORT_SYNC_FILE: u32 = 0xc008_6202;
const IMPORT_SYNC_FILE: u32 = 0x4008_6203;
const SYNC_IOC_MERGE: u32 = 0xc030_3e03;

/// Random numbers that depend only on the seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 33) % u64::from(end)) as u32
    }
}

/// A camera and a display that share buffers, and the program's handles for both.
struct Lab {
    bench: Bench,
    camera: FileId,
    display: FileId,
    /// Exported buffers.
    bufs: Vec<i32>,
    /// Open sync files and their descriptors' numbers.
    files: Vec<(FileId, i32)>,
}

impl Lab {
    fn new(machine: &str) -> Self {
        let shape = "size=64x48,pace=free";
        let specs = [
            format!("camera=pattern,{shape}"),
            format!("display=null,{shape}"),
        ];
        let mut bench = Bench::new(machine, &[&specs[0], &specs[1]]);
        let (camera, display) = (bench.open(0), bench.open(1));
        let mut lab = Self {
            bench,
            camera,
            display,
            bufs: Vec::new(),
            files: Vec::new(),
        };
        lab.make_buffers();
        lab
    }

    fn make_buffers(&mut self) {
        let (camera, display) = (self.camera, self.display);
        self.bench.reqbufs(camera, CAPTURE, MMAP, BUFFERS);
        self.bench.reqbufs(display, OUTPUT, DMABUF, BUFFERS);
        let export = |i| self.bench.export(camera, CAPTURE, i);
        self.bufs = (0..BUFFERS).map(export).collect();
    }

    fn queue(&mut self, file: FileId, index: u32) {
        let mut arg = match file == self.camera {
            true => Bench::buffer(CAPTURE, MMAP, index),
            false => Bench::buffer(OUTPUT, DMABUF, index),
        };
        if file == self.display {
            let fd = self.bufs[index as usize];
            let at = offset_of!(v4l2_buffer, m);
            arg.0[at..at + 4].copy_from_slice(&fd.to_ne_bytes());
        }
        // The buffer may be queued already, or the stream may be in error.
        let _refused = self.bench.try_ioctl(file, VIDIOC_QBUF, &mut arg);
    }

    fn dequeue(&mut self, file: FileId) {
        let mut arg = match file == self.camera {
            true => Bench::buffer(CAPTURE, MMAP, 0),
            false => Bench::buffer(OUTPUT, DMABUF, 0),
        };
        let _nothing = self.bench.try_ioctl(file, VIDIOC_DQBUF, &mut arg);
    }

    fn stream(&mut self, file: FileId, on: bool) {
        let kind = if file == self.camera { CAPTURE } else { OUTPUT };
        self.bench.stream(file, kind, on);
    }

    /// Calls an ioctl on a dma-buf.
    fn call_buf(&mut self, buf: usize, request: u32, arg: &mut [i32; 2]) {
        match self.ask_buf(buf, request, arg) {
            CallOutcome::Done(_) => {}
            other => panic!("{request:#x}: {other:?}"),
        }
    }

    fn ask_buf(&mut self, buf: usize, request: u32, arg: &mut [i32; 2]) -> CallOutcome {
        let id = self.bench.program.identify(self.bufs[buf]).unwrap();
        let addr = arg.as_mut_ptr() as u64;
        let run = &mut self.bench.run;
        run.buffer_ioctl(id, request, addr, &self.bench.program)
    }

    /// Takes the sync file that was made last.
    fn take_made(&mut self) {
        let made = self.bench.program.made.borrow();
        self.files.extend(made.last());
    }

    fn step(&mut self, random: &mut Random) {
        let index = random.below(BUFFERS);
        let file = [self.camera, self.display][random.below(2) as usize];
        let count = self.files.len() as u32;
        match random.below(24) {
            0..6 => self.queue(file, index),
            6..10 => self.dequeue(file),
            10..14 => self.bench.run.tick(),
            14 => self.stream(file, true),
            15 if random.below(2) == 0 => self.stream(file, false),
            16..19 if count < 12 => {
                let flags = 1 + random.below(3) as i32;
                self.call_buf(index as usize, EXPORT_SYNC_FILE, &mut [flags, -1]);
                self.take_made();
            }
            19..22 if count > 0 => {
                let (_, fd) = self.files[random.below(count) as usize];
                let flags = 1 + random.below(3) as i32;
                self.call_buf(index as usize, IMPORT_SYNC_FILE, &mut [flags, fd]);
            }
            22 if count > 1 => {
                let [(of, _), (_, other)] =
                    [0, 1].map(|_| self.files[random.below(count) as usize]);
                let mut arg = Arg::new(48, &[(32, other as u32)]);
                self.bench.try_ioctl(of, SYNC_IOC_MERGE, &mut arg).unwrap();
                self.take_made();
            }
            23 if count > 0 && random.below(3) > 0 => {
                let (file, _) = self.files.swap_remove(random.below(count) as usize);
                self.bench.run.release(file);
            }
            23 => self.kill(),
            _ => {}
        }
    }

    /// Ends the program and starts it again. Another program keeps the sync files of the ended one.
    fn kill(&mut self) {
        self.bench.close_all(&[self.camera, self.display]);
        self.camera = self.bench.open(0);
        self.display = self.bench.open(1);
        self.make_buffers();
    }

    /// Asserts that a device's fence is pending exactly while the device has the buffer.
    fn check(&self) {
        let memory = &self.bench.run.memory;
        let counts = memory.buffers().fence_counts();
        let all = self.bench.run.nodes.iter().flat_map(summary::queues);
        let active: u32 = all.map(|(_, queue)| queue.active_count()).sum();
        assert_eq!(counts.0 - counts.1, u64::from(active), "{counts:?}");
    }

    fn finish(mut self) -> u64 {
        self.bench.close_all(&[self.camera, self.display]);
        let memory = &self.bench.run.memory;
        let counts = memory.buffers().fence_counts();
        assert_eq!(counts.0, counts.1);
        for (file, _) in core::mem::take(&mut self.files) {
            let ended = self.bench.run.peek(file, 1);
            assert_eq!(ended, 1, "nobody is left who could end it");
            self.bench.run.release(file);
        }
        let memory = &self.bench.run.memory;
        assert!(memory.buffers().with_fences(|fences, _| fences.is_empty()));
        counts.0
    }
}

#[test]
fn every_fence_ends_whatever_a_program_does() {
    let (mut begun, mut most) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut lab = Lab::new(["pc", "soc-iommu"][seed as usize % 2]);
        for _ in 0..400 {
            lab.step(&mut random);
            lab.check();
        }
        let memory = &lab.bench.run.memory;
        most = most.max(memory.buffers().with_fences(|fences, _| fences.len()));
        begun += lab.finish();
    }
    assert!(begun > 1000, "{begun} fences are no test");
    // `most` includes pending fences, and ended fences that programs' sync files still show.
    assert!(most < 100, "{most} at one time");
}

#[test]
fn program_death_fails_its_fences() {
    let mut lab = Lab::new("pc");
    let (camera, display) = (lab.camera, lab.display);
    lab.queue(camera, 0);
    lab.stream(camera, true);
    lab.call_buf(0, EXPORT_SYNC_FILE, &mut [1, -1]);
    lab.take_made();
    let (file, fd) = lab.files[0];
    assert_eq!(lab.bench.run.peek(file, 1), 0);
    // The display's queue holds the buffer until the fence ends. Both end with the program.
    lab.call_buf(0, IMPORT_SYNC_FILE, &mut [2, fd]);
    const SYNC: u32 = 0x4008_6200;
    let waits = lab.ask_buf(0, SYNC, &mut [3, 0]);
    assert!(matches!(waits, CallOutcome::Wait), "{waits:?}");
    for mut flags in [[3 | 0x100, 0], [3, 1]] {
        let refused = lab.ask_buf(0, SYNC, &mut flags);
        assert!(
            matches!(refused, CallOutcome::Fail(Errno::EINVAL)),
            "{refused:?}"
        );
    }
    lab.stream(display, true);
    lab.queue(display, 0);
    let memory = &lab.bench.run.memory;
    let counts = memory.buffers().fence_counts();
    assert_eq!(counts.0, 1);
    lab.kill();
    let canceled = Err(125);
    assert!(matches!(
        lab.bench.run.sync_file_status(file),
        Some(Status::Ended { outcome, .. }) if outcome == canceled
    ));
    lab.finish();
}

/// A loopback keeps the buffer with the newest frame. If a program polls the buffer's dma-buf for writing,
/// the loopback releases the buffer, although the program does not poll the queue.
#[test]
fn loopback_returns_a_buffer_being_polled() {
    let mut bench = Bench::new("pc", &["loopback,size=64x48"]);
    let writer = bench.open(0);
    bench.reqbufs(writer, OUTPUT, MMAP, 2);
    let number = bench.export(writer, OUTPUT, 0);
    let buf = bench.program.identify(number).unwrap();
    bench.stream(writer, OUTPUT, true);
    let mut arg = Bench::buffer(OUTPUT, MMAP, 0);
    let used = offset_of!(v4l2_buffer, bytesused);
    arg.0[used..used + 4].copy_from_slice(&(64u32 * 48 * 2).to_ne_bytes());
    bench.ioctl(writer, VIDIOC_QBUF, arg);
    (0..4).for_each(|_| bench.run.tick());
    // The device reads the buffer. Other readers may read it at the same time.
    assert_eq!(bench.run.buffer_poll(buf, POLL_IN), POLL_IN);
    let copied = bench.run.report().total(|queue| queue.bytes_copied);
    assert_eq!(copied, 0, "nobody wants it back");
    assert_eq!(bench.run.buffer_poll(buf, POLL_OUT), 0);
    assert!(bench.run.next_tick().is_some_and(|due| due.is_zero()));
    (0..2).for_each(|_| bench.run.tick());
    assert_eq!(bench.run.buffer_poll(buf, POLL_OUT), POLL_OUT);
    let copied = bench.run.report().total(|queue| queue.bytes_copied);
    assert_eq!(copied, 64 * 48 * 2);
    bench.close_all(&[writer]);
}

#[test]
fn access_during_a_write_is_reported_as_early() {
    const SYNC: u32 = 0x4008_6200;
    let mut lab = Lab::new("pc");
    lab.queue(lab.camera, 0);
    lab.call_buf(0, SYNC, &mut [1, 0]);
    assert_eq!(lab.bench.run.report().early_accesses, []);
    lab.stream(lab.camera, true);
    (0..2).for_each(|_| lab.call_buf(0, SYNC, &mut [1, 0]));
    let told = lab.bench.run.report().early_accesses;
    let [early] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&*early.device, early.buffer), ("/dev/video0", 0));
    assert_eq!(
        (&*early.owner, &*early.owner_access),
        ("/dev/video0", "write")
    );
    assert_eq!(
        (&*early.access, early.process),
        ("read", std::process::id())
    );
    assert_eq!((&*early.call, early.times), ("DMA_BUF_IOCTL_SYNC", 2));
    lab.finish();
}
