//! A world of devices, and a program that does anything to it.

use crate::codec::Codecs;
use crate::program::{BASE, FIRST_FD, Fake};
use crate::random::{Random, Steps};
use crate::wire::{played, taken};
use arbitrary::Arbitrary;
use std::cell::Cell;
use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use vb3::world::{Outside, World};
use vb3_devices::spec::DeviceSpec;
use vb3_intercept::{Backend as _, FileId, Mmap, NodeId, Outcome, Tag};
use vb3_machine::Profile;
use vb3_v4l2::sys::*;

/// Where structures lie, and what they point to.
const ARG: u64 = BASE + 0x100;
const ARRAY: u64 = BASE + 0x1000;
/// Ticks at one time until a world must be at rest.
const MAX_TICKS: usize = 256;
/// Where the ids of media nodes begin.
const MEDIA: u32 = 1 << 16;
const MS: u64 = 1_000_000;

/// Which queue, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Type {
    Capture,
    Output,
    Any(u8),
}

/// A call with its structure mostly right.
#[derive(Arbitrary, Clone, Debug)]
pub enum Call {
    Format {
        ty: Type,
        fourcc: u8,
        width: u16,
        height: u16,
        stride: u16,
        try_only: bool,
    },
    Reqbufs {
        ty: Type,
        memory: u8,
        count: u8,
    },
    Create {
        ty: Type,
        memory: u8,
        count: u8,
        bytes: u16,
    },
    Remove {
        ty: Type,
        index: u8,
        count: u8,
    },
    Query {
        ty: Type,
        index: u8,
    },
    Queue {
        ty: Type,
        index: u8,
        memory: u8,
        used: u16,
        fd: u8,
        flags: u16,
        prepare: bool,
    },
    Dequeue {
        ty: Type,
        memory: u8,
    },
    Export {
        ty: Type,
        index: u8,
        plane: u8,
        flags: u8,
    },
    Stream {
        ty: Type,
        on: bool,
    },
    Select {
        ty: Type,
        target: u16,
        x: u8,
        y: u8,
        width: u8,
        height: u8,
        flags: u8,
        set: bool,
    },
    Command {
        encoder: bool,
        command: u8,
        flags: u8,
        try_only: bool,
    },
    Control {
        id: u8,
        value: i32,
        ext: bool,
    },
    Subscribe {
        kind: u8,
        id: u8,
        flags: u8,
    },
    Event,
    /// Any ioctl with any words.
    Any {
        request: u8,
        words: Vec<(u8, u32)>,
    },
    /// Any number.
    Number {
        request: u32,
        addr: u64,
    },
}

/// One thing that a program does.
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

/// The devices, and what is done to them.
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

const DEVICES: [&str; 13] = [
    "camera,size=64x48",
    "camera-mplane,size=64x48,clock=free,format=NV12M",
    "camera,size=64x48,clock=free,alloc=vmalloc,inject=on,min-queued=2",
    "display,size=64x48",
    "display-mplane,size=64x48,clock=free",
    "h264dec",
    "h264dec,stride=64,alloc=vmalloc",
    "h264enc",
    "jpegdec",
    "jpegenc,stride=32",
    "convert",
    "convert,alloc=vmalloc,hints=off",
    "display,clock=free,size=64x48,inject=on",
];

const REQUESTS: [u32; 56] = [
    VIDIOC_QUERYCAP,
    VIDIOC_ENUM_FMT,
    VIDIOC_G_FMT,
    VIDIOC_S_FMT,
    VIDIOC_TRY_FMT,
    VIDIOC_ENUM_FRAMESIZES,
    VIDIOC_ENUM_FRAMEINTERVALS,
    VIDIOC_G_PARM,
    VIDIOC_S_PARM,
    VIDIOC_ENUMINPUT,
    VIDIOC_G_INPUT,
    VIDIOC_S_INPUT,
    VIDIOC_ENUMOUTPUT,
    VIDIOC_G_OUTPUT,
    VIDIOC_S_OUTPUT,
    VIDIOC_G_PRIORITY,
    VIDIOC_S_PRIORITY,
    VIDIOC_QUERYCTRL,
    VIDIOC_QUERY_EXT_CTRL,
    VIDIOC_QUERYMENU,
    VIDIOC_G_CTRL,
    VIDIOC_S_CTRL,
    VIDIOC_G_EXT_CTRLS,
    VIDIOC_S_EXT_CTRLS,
    VIDIOC_TRY_EXT_CTRLS,
    VIDIOC_SUBSCRIBE_EVENT,
    VIDIOC_UNSUBSCRIBE_EVENT,
    VIDIOC_DQEVENT,
    VIDIOC_REQBUFS,
    VIDIOC_CREATE_BUFS,
    VIDIOC_REMOVE_BUFS,
    VIDIOC_QUERYBUF,
    VIDIOC_PREPARE_BUF,
    VIDIOC_QBUF,
    VIDIOC_DQBUF,
    VIDIOC_EXPBUF,
    VIDIOC_STREAMON,
    VIDIOC_STREAMOFF,
    VIDIOC_G_SELECTION,
    VIDIOC_S_SELECTION,
    VIDIOC_CROPCAP,
    VIDIOC_G_CROP,
    VIDIOC_S_CROP,
    VIDIOC_DECODER_CMD,
    VIDIOC_TRY_DECODER_CMD,
    VIDIOC_ENCODER_CMD,
    VIDIOC_TRY_ENCODER_CMD,
    MEDIA_IOC_DEVICE_INFO,
    MEDIA_IOC_ENUM_ENTITIES,
    MEDIA_IOC_ENUM_LINKS,
    MEDIA_IOC_SETUP_LINK,
    MEDIA_IOC_G_TOPOLOGY,
    0x8004_7c05,
    0x7c80,
    0x7c81,
    0xc0c0_5640,
];

const CONTROLS: [u32; 20] = [
    0x0098_0900,
    0x0098_0913,
    0x0098_0914,
    0x0098_0915,
    0x0098_0922,
    0x0098_0927,
    0x0098_0928,
    0x0098_f900,
    0x0098_f910,
    0x0098_f911,
    0x0098_f913,
    0x0099_09cb,
    0x0099_09ce,
    0x0099_09cf,
    0x0099_09d8,
    0x0099_09e5,
    0x0099_0a67,
    0x0099_0a6b,
    0x009d_0903,
    0x009f_0903,
];

const FOURCCS: [&[u8; 4]; 10] = [
    b"YUYV", b"NV12", b"NM12", b"YU12", b"YM12", b"RGB3", b"XR24", b"H264", b"JPEG", b"MJPG",
];

struct Bench {
    world: World,
    program: Fake,
    now: Rc<Cell<u64>>,
    codecs: Codecs,
    mplane: [bool; 2],
    files: Vec<(FileId, usize)>,
    maps: Vec<Tag>,
    media: u32,
}

/// A structure of the API.
struct Arg(Vec<u8>);

impl Arg {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn with(mut self, at: usize, value: u32) -> Self {
        if let Some(to) = self.0.get_mut(at..at + 4) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
        self
    }

    fn pointer(self, at: usize, value: u64) -> Self {
        self.with(at, value as u32)
            .with(at + 4, (value >> 32) as u32)
    }
}

/// Runs a program on a world; at its end nothing may be held.
///
/// # Panics
/// Something is, or an answer is none that there can be.
pub fn run(input: Input) {
    let machine = MACHINES[usize::from(input.machine) % MACHINES.len()];
    let text = format!("name = \"fuzz\"\nram = \"64MiB\"\ndma_mask = 32\n{machine}\n");
    let profile = Profile::parse(&text).expect("a profile of our own");
    let names = input
        .devices
        .map(|d| DEVICES[usize::from(d) % DEVICES.len()]);
    let specs = names.map(|name| name.parse::<DeviceSpec>().expect("a device of our own"));
    let now = Rc::new(Cell::new(1_000 * MS));
    let told = Rc::clone(&now);
    let outside = Outside::new(move || told.get(), played());
    let world = World::with(profile, &specs, 1, outside).expect("a world of our own");
    let media = world.nodes().len() - specs.len();
    let mut bench = Bench {
        world,
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
        let id = match node {
            0 | 1 => NodeId(node as u32),
            media => NodeId(MEDIA + media as u32 - 2),
        };
        if self.files.len() < 8
            && let Ok(file) = self.world.open(id, 2, &self.program)
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
                    self.world.release(file);
                }
            }
            Step::Call {
                which,
                blocking,
                call,
            } => {
                if let Some((file, node)) = self.file(which) {
                    self.call(file, node, blocking, call);
                }
            }
            Step::Poll { which, events } => {
                if let Some((file, _)) = self.file(which) {
                    let found = self.world.poll(file, (events & 7).into());
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
                    self.world.gone(tag);
                }
            }
            Step::CloseFd { which } => {
                if let Some(tag) = self.program.close(usize::from(which % 16)) {
                    self.world.gone(tag);
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
                    self.world.write(file, ARRAY, len, ask, &self.program)
                } else {
                    self.world.read(file, ARRAY, len, ask, &self.program)
                };
                self.judge(outcome, blocking, "read or write");
                self.world.abandon(file, call);
            }
            Step::Time { ms, jobs } => self.time(ms, jobs),
        }
        let _ = self.world.take_changed();
    }

    fn judge(&self, outcome: Outcome, blocking: bool, what: &str) {
        match outcome {
            Outcome::Done(value) => assert!(value >= 0, "{what} gave {value}"),
            Outcome::Fail(e) => assert!((1..4096).contains(&e.0), "{what}: errno {}", e.0),
            Outcome::Wait => assert!(blocking, "{what} waits although it may not"),
        }
    }

    /// Time passes; whoever is due works, and then all are at rest.
    fn time(&mut self, ms: u8, jobs: u8) {
        self.now.set(self.now.get() + u64::from(ms) * MS);
        self.codecs.work(usize::from(jobs % 8));
        self.world.tick();
        let mut ticks = 0;
        while self.world.next_tick().is_some_and(|left| left.is_zero()) {
            ticks += 1;
            assert!(ticks < MAX_TICKS, "ticks that get nothing done");
            self.world.tick();
        }
        let _ = self.world.wake_fds().len();
    }

    fn map(&mut self, which: u8, offset: u8, len: u16, write: bool, seed: u64) {
        let Some((file, _)) = self.file(which) else {
            return;
        };
        // Offsets as QUERYBUF gives them are pages; capture of two queues begins at 1 GiB.
        let base = if offset & 0x80 != 0 { 1 << 30 } else { 0 };
        let args = Mmap {
            offset: base + u64::from(offset & 0x7f) * 4096,
            len: len.into(),
            prot: if write { 3 } else { 1 },
            flags: 1,
        };
        let Ok(map) = self.world.mmap(file, &args, &self.program) else {
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
            self.world.gone(map.tag);
        }
    }

    fn sync(&mut self, fd: u8, flags: u8) {
        use vb3_intercept::Caller as _;
        let fd = i32::from(fd % 16) + FIRST_FD as i32;
        let Ok(id) = self.program.identify(fd) else {
            return;
        };
        if self.world.is_buffer(id) {
            let _ = self.world.buffer_len(id);
            self.program.poke(ARG, &u64::from(flags).to_ne_bytes());
            self.program.begin_call();
            let outcome = self.world.buffer_ioctl(id, 0x4008_6200, ARG, &self.program);
            self.judge(outcome, false, "SYNC");
        }
    }

    fn call(&mut self, file: FileId, node: usize, blocking: bool, call: Call) {
        let mplane = self.mplane.get(node).copied().unwrap_or(false);
        let (request, arg) = match call {
            Call::Number { request, addr } => {
                let id = self.program.begin_call();
                let outcome = self
                    .world
                    .ioctl(file, request, addr, !blocking, &self.program);
                self.judge(outcome, blocking, "an unknown call");
                self.world.abandon(file, id);
                return;
            }
            Call::Any { request, words } => {
                let request = REQUESTS[usize::from(request) % REQUESTS.len()];
                let mut arg = Arg::new((request >> 16 & 0x3fff) as usize);
                for (at, value) in words.into_iter().take(16) {
                    let value = match value {
                        // A place where arrays are.
                        0xffff_0000.. => ARRAY as u32 + (value & 0xfff),
                        other => other,
                    };
                    arg = arg.with(usize::from(at % 64) * 4, value);
                }
                (request, arg)
            }
            call => structure(call, mplane),
        };
        let id = self.program.begin_call();
        self.program.poke(ARG, &arg.0);
        let outcome = self
            .world
            .ioctl(file, request, ARG, !blocking, &self.program);
        let waits = matches!(outcome, Outcome::Wait);
        self.judge(outcome, blocking, &format!("request {request:#x}"));
        if waits {
            self.world.tick();
            let again = self.world.ioctl(file, request, ARG, false, &self.program);
            self.judge(again, true, "the same call again");
            self.world.abandon(file, id);
        }
    }

    fn finish(mut self) {
        for tag in self.program.close_all() {
            self.world.gone(tag);
        }
        for tag in std::mem::take(&mut self.maps) {
            self.world.gone(tag);
        }
        for (file, _) in std::mem::take(&mut self.files) {
            self.world.release(file);
        }
        drop(self.codecs);
        drop(taken());
        self.now.set(self.now.get() + 1_000 * MS);
        self.world.tick();
        let report = self.world.report();
        assert!(report.held.is_empty(), "{:?}", report.held);
    }
}

fn number(ty: Type, mplane: bool) -> u32 {
    match (ty, mplane) {
        (Type::Capture, false) => V4L2_BUF_TYPE_VIDEO_CAPTURE,
        (Type::Output, false) => V4L2_BUF_TYPE_VIDEO_OUTPUT,
        (Type::Capture, true) => V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        (Type::Output, true) => V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
        (Type::Any(n), _) => n.into(),
    }
}

/// MMAP mostly, and DMABUF.
fn memory(n: u8) -> u32 {
    match n {
        0..160 => 1,
        160..240 => 4,
        n => u32::from(n % 8),
    }
}

fn format(call: &Call, mplane: bool, at: usize, arg: Arg) -> Arg {
    let Call::Format {
        ty,
        fourcc,
        width,
        height,
        stride,
        ..
    } = call
    else {
        return arg;
    };
    let pix = at + offset_of!(v4l2_format, fmt);
    let fourcc = u32::from_le_bytes(*FOURCCS[usize::from(*fourcc) % FOURCCS.len()]);
    let arg = arg
        .with(at, number(*ty, mplane))
        .with(pix, (*width % 0x180).into())
        .with(pix + 4, (*height % 0x180).into())
        .with(pix + 8, fourcc);
    if mplane {
        let planes = offset_of!(v4l2_pix_format_mplane, plane_fmt);
        let count = offset_of!(v4l2_pix_format_mplane, num_planes);
        arg.with(pix + planes + 4, (*stride).into())
            .with(pix + count, u32::from(*stride % 4))
    } else {
        arg.with(
            pix + offset_of!(v4l2_pix_format, bytesperline),
            (*stride).into(),
        )
    }
}

/// A call's number and structure.
fn structure(call: Call, mplane: bool) -> (u32, Arg) {
    match call {
        Call::Format { try_only, .. } => {
            let arg = format(&call, mplane, 0, Arg::new(size_of::<v4l2_format>()));
            (
                if try_only {
                    VIDIOC_TRY_FMT
                } else {
                    VIDIOC_S_FMT
                },
                arg,
            )
        }
        Call::Reqbufs {
            ty,
            memory: m,
            count,
        } => {
            let arg = Arg::new(size_of::<v4l2_requestbuffers>())
                .with(0, (count % 8).into())
                .with(4, number(ty, mplane))
                .with(8, memory(m));
            (VIDIOC_REQBUFS, arg)
        }
        Call::Create {
            ty,
            memory: m,
            count,
            bytes,
        } => {
            let at = offset_of!(v4l2_create_buffers, format);
            let pix = at + offset_of!(v4l2_format, fmt);
            let arg = Arg::new(size_of::<v4l2_create_buffers>())
                .with(4, (count % 4).into())
                .with(8, memory(m))
                .with(at, number(ty, mplane))
                .with(pix, 64)
                .with(pix + 4, 48);
            let arg = if mplane {
                let planes = pix + offset_of!(v4l2_pix_format_mplane, plane_fmt);
                arg.with(planes, bytes.into())
                    .with(pix + offset_of!(v4l2_pix_format_mplane, num_planes), 1)
            } else {
                arg.with(pix + offset_of!(v4l2_pix_format, sizeimage), bytes.into())
            };
            (VIDIOC_CREATE_BUFS, arg)
        }
        Call::Remove { ty, index, count } => {
            let arg = Arg::new(size_of::<v4l2_remove_buffers>())
                .with(0, (index % 16).into())
                .with(4, (count % 8).into())
                .with(8, number(ty, mplane));
            (VIDIOC_REMOVE_BUFS, arg)
        }
        Call::Query { ty, index } => (VIDIOC_QUERYBUF, buffer(ty, mplane, index, 1)),
        Call::Queue {
            ty,
            index,
            memory: m,
            used,
            fd,
            flags,
            prepare,
        } => {
            let m = memory(m);
            let fd = u32::from(fd % 16) + FIRST_FD as u32;
            let arg = buffer(ty, mplane, index, m);
            let arg = arg
                .with(offset_of!(v4l2_buffer, flags), u32::from(flags) << 8)
                .with(offset_of!(v4l2_buffer, field), u32::from(used % 3 == 1));
            let arg = if mplane {
                arg
            } else {
                let arg = arg.with(offset_of!(v4l2_buffer, bytesused), used.into());
                if m == 4 {
                    arg.with(offset_of!(v4l2_buffer, m), fd)
                } else {
                    arg
                }
            };
            // The planes go before the structure, in the same piece of memory.
            (
                if prepare {
                    VIDIOC_PREPARE_BUF
                } else {
                    VIDIOC_QBUF
                },
                planes(arg, mplane, used, fd),
            )
        }
        Call::Dequeue { ty, memory: m } => (VIDIOC_DQBUF, buffer(ty, mplane, 0, memory(m))),
        Call::Export {
            ty,
            index,
            plane,
            flags,
        } => {
            let arg = Arg::new(size_of::<v4l2_exportbuffer>())
                .with(0, number(ty, mplane))
                .with(4, (index % 16).into())
                .with(8, (plane % 4).into())
                .with(12, (flags % 3).into());
            (VIDIOC_EXPBUF, arg)
        }
        Call::Stream { ty, on } => {
            let request = if on {
                VIDIOC_STREAMON
            } else {
                VIDIOC_STREAMOFF
            };
            (request, Arg::new(4).with(0, number(ty, mplane)))
        }
        Call::Select {
            ty,
            target,
            x,
            y,
            width,
            height,
            flags,
            set,
        } => {
            // The older types without planes are right for both.
            let arg = Arg::new(size_of::<v4l2_selection>())
                .with(0, number(ty, flags & 0x80 != 0))
                .with(4, u32::from(target) % 0x104)
                .with(8, (flags & 3).into())
                .with(12, x.into())
                .with(16, y.into())
                .with(20, width.into())
                .with(24, height.into());
            (
                if set {
                    VIDIOC_S_SELECTION
                } else {
                    VIDIOC_G_SELECTION
                },
                arg,
            )
        }
        Call::Command {
            encoder,
            command,
            flags,
            try_only,
        } => {
            let request = match (encoder, try_only) {
                (true, false) => VIDIOC_ENCODER_CMD,
                (true, true) => VIDIOC_TRY_ENCODER_CMD,
                (false, false) => VIDIOC_DECODER_CMD,
                (false, true) => VIDIOC_TRY_DECODER_CMD,
            };
            let arg = Arg::new((request >> 16 & 0x3fff) as usize)
                .with(0, (command % 6).into())
                .with(4, (flags % 4).into());
            (request, arg)
        }
        Call::Control { id, value, ext } => {
            let id = CONTROLS[usize::from(id) % CONTROLS.len()];
            if ext {
                let arg = Arg::new(size_of::<v4l2_ext_controls>())
                    .with(offset_of!(v4l2_ext_controls, count), 1)
                    .pointer(
                        offset_of!(v4l2_ext_controls, controls),
                        ARG + size_of::<v4l2_ext_controls>() as u64,
                    );
                let control = Arg::new(size_of::<v4l2_ext_control>())
                    .with(0, id)
                    .with(offset_of!(v4l2_ext_control, __bindgen_anon_1), value as u32);
                (VIDIOC_S_EXT_CTRLS, Arg([arg.0, control.0].concat()))
            } else {
                let arg = Arg::new(size_of::<v4l2_control>()).with(0, id);
                (VIDIOC_S_CTRL, arg.with(4, value as u32))
            }
        }
        Call::Subscribe { kind, id, flags } => {
            let id = CONTROLS[usize::from(id) % CONTROLS.len()];
            let arg = Arg::new(size_of::<v4l2_event_subscription>())
                .with(0, (kind % 8).into())
                .with(4, if kind % 8 == 3 { id } else { 0 })
                .with(8, (flags % 4).into());
            let request = match flags & 0x40 {
                0 => VIDIOC_SUBSCRIBE_EVENT,
                _ => VIDIOC_UNSUBSCRIBE_EVENT,
            };
            (request, arg)
        }
        Call::Event => (VIDIOC_DQEVENT, Arg::new(size_of::<v4l2_event>())),
        Call::Any { .. } | Call::Number { .. } => (0, Arg::new(0)),
    }
}

fn buffer(ty: Type, mplane: bool, index: u8, memory: u32) -> Arg {
    let arg = Arg::new(size_of::<v4l2_buffer>())
        .with(offset_of!(v4l2_buffer, index), (index % 16).into())
        .with(offset_of!(v4l2_buffer, type_), number(ty, mplane))
        .with(offset_of!(v4l2_buffer, memory), memory);
    planes(arg, mplane, 0, 0)
}

/// Points a buffer to planes that lie behind it.
fn planes(arg: Arg, mplane: bool, used: u16, fd: u32) -> Arg {
    if !mplane {
        return arg;
    }
    let each = size_of::<v4l2_plane>();
    let mut arg = arg
        .pointer(
            offset_of!(v4l2_buffer, m),
            ARG + size_of::<v4l2_buffer>() as u64,
        )
        .with(offset_of!(v4l2_buffer, length), 3);
    arg.0.resize(size_of::<v4l2_buffer>() + 3 * each, 0);
    for plane in 0..3 {
        let at = size_of::<v4l2_buffer>() + plane * each;
        arg = arg
            .with(at + offset_of!(v4l2_plane, bytesused), used.into())
            .with(at + offset_of!(v4l2_plane, m), fd);
    }
    arg
}
