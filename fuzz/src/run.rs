//! A run of devices, and a program with arbitrary calls.

mod arg;
mod buffer;
mod call;
mod tables;

use arg::{ARG, ARRAY};
pub use call::Call;

use crate::codec::Codecs;
use crate::program::{FIRST_FD, Fake};
use crate::random::{Random, Steps};
use crate::wire::{played, taken};
use arbitrary::Arbitrary;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::{
    CallOutcome, Detail, Devices as _, FileId, Mmap, NodeId, Perform as _, ProcessFiles as _,
    Program as _, Tag,
};
use vb3_machine::Profile;
use vb3_run::{Outside, Run};

/// Maximum number of ticks until all devices of a run must be at rest.
const MAX_TICKS: usize = 256;
const MS: u64 = 1_000_000;

/// One step of the program.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    Open {
        node: u8,
    },
    Close {
        which: u8,
    },
    Call {
        which: u8,
        blocking: bool,
        call: Call,
    },
    Poll {
        which: u8,
        events: u8,
    },
    Map {
        which: u8,
        offset: u8,
        len: u16,
        write: bool,
        seed: u64,
    },
    Unmap {
        which: u8,
    },
    CloseFd {
        which: u8,
    },
    Sync {
        fd: u8,
        flags: u8,
    },
    ReadWrite {
        which: u8,
        write: bool,
        len: u16,
        blocking: bool,
    },
    Time {
        ms: u8,
        jobs: u8,
    },
}

/// The devices, and the steps.
#[derive(Arbitrary, Debug)]
pub struct Input {
    machine: u8,
    devices: [u8; 2],
    lies: u8,
    random: Random,
    steps: Steps<Step>,
}

const MACHINES: [&str; 5] = [
    "coherent = true\ncma = \"16MiB\"",
    "coherent = false\ncma = \"16MiB\"\n[iommu]\npage_sizes = [\"4KiB\", \"2MiB\"]\naperture = 32",
    "coherent = false\nsram = \"8MiB\"\ncma = \"4MiB\"",
    "coherent = true\ncma = \"4MiB\"\nuntrusted = true\n[bounce]\nmode = \"when-needed\"\npool = \"1MiB\"\n\
     [iommu]\nformat = \"vt-d\"\npage_sizes = [\"4KiB\"]\naperture = 39",
    "coherent = true\ncma = \"4MiB\"\nprivate_memory = true\n[bounce]\nmode = \"always\"\npool = \"2MiB\"",
];

const DEVICES: [&str; 15] = [
    "camera,size=64x48",
    "camera,mplane=on,size=64x48,pace=free,format=NV12M",
    "camera,size=64x48,pace=free,alloc=vmalloc,inject=on,min-queued=2",
    "display,size=64x48",
    "display,mplane=on,size=64x48,pace=free",
    "h264dec",
    "h264dec,stride=64,alloc=vmalloc",
    "h264enc",
    "vp8enc,stride=32",
    "hevcenc,alloc=vmalloc",
    "jpegdec",
    "jpegenc,stride=32",
    "convert",
    "convert,alloc=vmalloc,hints=off",
    "display,pace=free,size=64x48,inject=on",
];

struct Bench {
    run: Run,
    program: Fake,
    now: Arc<AtomicU64>,
    codecs: Codecs,
    mplane: [bool; 2],
    files: Vec<(FileId, usize)>,
    maps: Vec<Tag>,
    media: u32,
}

/// Runs a program on a run. At the end, the run may hold no resource.
///
/// # Panics
/// Panics if the run holds a resource at the end, or if an answer is impossible.
pub fn run(input: Input) {
    let machine = MACHINES[usize::from(input.machine) % MACHINES.len()];
    let text = format!("name = \"fuzz\"\nram = \"64MiB\"\ndma_mask = 32\n{machine}\n");
    let profile = Profile::parse(&text).expect("a profile of our own");
    let names = input
        .devices
        .map(|d| DEVICES[usize::from(d) % DEVICES.len()]);
    let specs = names.map(|name| name.parse::<DeviceSpec>().expect("a device of our own"));
    let now = Arc::new(AtomicU64::new(1_000 * MS));
    let told = Arc::clone(&now);
    let outside = Outside::new(move || told.load(Ordering::Relaxed), played());
    let run = Run::with(profile, &specs, 1, outside).expect("a run of our own");
    let media = run.nodes().len() - specs.len();
    let mut bench = Bench {
        run,
        program: Fake::default(),
        now,
        codecs: Codecs::new(input.random, input.lies / 4),
        mplane: [specs[0].mplane, specs[1].mplane],
        files: Vec::new(),
        maps: Vec::new(),
        media: media as u32,
    };
    bench.open(0);
    bench.open(1);
    for step in input.steps.0 {
        bench.step(step);
    }
    bench.finish();
}

impl Bench {
    fn open(&mut self, node: u8) {
        let node = usize::from(node) % (2 + self.media as usize);
        let id = NodeId(node as u32);
        if self.files.len() < 8
            && let Ok(file) = self.run.open(id, 2, self.program.origin())
        {
            self.files.push((file, node));
        }
    }

    fn file(&self, which: u8) -> Option<(FileId, usize)> {
        let at = usize::from(which) % self.files.len().max(1);
        self.files.get(at).copied()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open { node } => self.open(node),
            Step::Close { which } => {
                if !self.files.is_empty() {
                    let at = usize::from(which) % self.files.len();
                    let (file, _) = self.files.swap_remove(at);
                    self.run.release(file);
                }
            }
            Step::Call {
                which,
                blocking,
                call,
            } => {
                if let Some((file, node)) = self.file(which) {
                    self.call(file, node, blocking, &call);
                }
            }
            Step::Poll { which, events } => {
                if let Some((file, _)) = self.file(which) {
                    let found = self.run.poll(file, (events & 7).into());
                    assert_eq!(found & !0x15f, 0, "poll said {found:#x}");
                }
            }
            Step::Map {
                which,
                offset,
                len,
                write,
                seed,
            } => self.map(which, offset, len, write, seed),
            Step::Unmap { which } => {
                if !self.maps.is_empty() {
                    let tag = self.maps.swap_remove(usize::from(which) % self.maps.len());
                    self.run.tag_ended(tag);
                }
            }
            Step::CloseFd { which } => {
                if let Some(tag) = self.program.close(usize::from(which % 16)) {
                    self.run.tag_ended(tag);
                }
            }
            Step::Sync { fd, flags } => self.sync(fd, flags),
            Step::ReadWrite {
                which,
                write,
                len,
                blocking,
            } => {
                let Some((file, _)) = self.file(which) else {
                    return;
                };
                let call = self.program.begin_call();
                let (len, ask) = (len.into(), !blocking);
                let outcome = if write {
                    self.run.write(file, ARRAY, len, ask, &self.program)
                } else {
                    self.run.read(file, ARRAY, len, ask, &self.program)
                };
                self.judge(outcome, blocking, "read or write");
                self.run.abandon(file, call);
            }
            Step::Time { ms, jobs } => self.time(ms, jobs),
        }
        self.run.take_changed(&mut Vec::new());
    }

    fn judge(&self, outcome: CallOutcome, blocking: bool, what: &str) {
        match outcome {
            CallOutcome::Done(value) => assert!(value >= 0, "{what} gave {value}"),
            CallOutcome::Fail(e) => assert!((1..4096).contains(&e.0), "{what}: errno {}", e.0),
            CallOutcome::Wait => assert!(blocking, "{what} waits although it may not"),
            CallOutcome::Part(bytes) => {
                panic!("{what}: a piece of {bytes} bytes, although the transfer is short")
            }
        }
    }

    /// Advances time. Devices work until all are at rest.
    fn time(&mut self, ms: u8, jobs: u8) {
        self.now.fetch_add(u64::from(ms) * MS, Ordering::Relaxed);
        self.codecs.work(usize::from(jobs % 8));
        self.run.tick();
        let mut ticks = 0;
        while self.run.next_tick().is_some_and(|left| left.is_zero()) {
            ticks += 1;
            assert!(ticks < MAX_TICKS, "the devices do not come to rest");
            self.run.tick();
        }
        let _ = self.run.wake_fds().len();
    }

    fn map(&mut self, which: u8, offset: u8, len: u16, write: bool, seed: u64) {
        let Some((file, _)) = self.file(which) else {
            return;
        };
        // QUERYBUF returns offsets in pages. The capture queue of a device with two queues begins
        // at 1 GiB.
        let base = if offset & 0x80 != 0 { 1 << 30 } else { 0 };
        let args = Mmap {
            offset: base + u64::from(offset & 0x7f) * 4096,
            len: len.into(),
            prot: if write { 3 } else { 1 },
            flags: 1,
        };
        let Ok(map) = self.run.mmap(file, &args, self.program.origin()) else {
            return;
        };
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..random.below(512))
            .map(|_| random.next() as u8)
            .collect();
        let memory = std::fs::File::from(map.fd);
        if write {
            let inside = bytes.len().min(usize::from(len));
            let _ = memory.write_all_at(&bytes[..inside], map.offset);
        }
        if self.maps.len() < 32 {
            self.maps.push(map.tag);
        } else {
            self.run.tag_ended(map.tag);
        }
    }

    fn sync(&mut self, fd: u8, flags: u8) {
        let fd = i32::from(fd % 16) + FIRST_FD as i32;
        let Ok(known) = self.program.descriptor(fd, Detail::Name) else {
            return;
        };
        let id = known.id;
        if self.run.is_buffer(id) {
            let _ = self.run.buffer_len(id);
            self.program.poke(ARG, &u64::from(flags).to_ne_bytes());
            self.program.begin_call();
            let outcome = self.run.buffer_ioctl(id, 0x4008_6200, ARG, &self.program);
            self.judge(outcome, false, "SYNC");
        }
    }

    fn call(&mut self, file: FileId, node: usize, blocking: bool, call: &Call) {
        let mplane = self.mplane.get(node).copied().unwrap_or(false);
        let (request, arg) = call.structure(mplane);
        let id = self.program.begin_call();
        let addr = match arg {
            Ok(arg) => {
                self.program.poke(ARG, &arg.0);
                ARG
            }
            Err(addr) => addr,
        };
        let outcome = self
            .run
            .ioctl(file, request, addr, !blocking, &self.program);
        let waits = matches!(outcome, CallOutcome::Wait);
        self.judge(outcome, blocking, &format!("request {request:#x}"));
        if waits {
            self.run.tick();
            let again = self.run.ioctl(file, request, addr, false, &self.program);
            self.judge(again, true, "the same call again");
            self.run.abandon(file, id);
        }
    }

    fn finish(mut self) {
        for tag in self.program.close_all() {
            self.run.tag_ended(tag);
        }
        for tag in std::mem::take(&mut self.maps) {
            self.run.tag_ended(tag);
        }
        for (file, _) in std::mem::take(&mut self.files) {
            self.run.release(file);
        }
        drop(self.codecs);
        drop(taken());
        self.now.fetch_add(1_000 * MS, Ordering::Relaxed);
        self.run.tick();
        let report = self.run.report();
        assert!(report.held.is_empty(), "{:?}", report.held);
    }
}
