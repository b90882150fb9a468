//! Measures the cost of one reported call: the bare round trip to the supervisor and back, and calls that
//! move bytes. Each result is the median of many calls.
//!
//! `cargo run --release -p vb3-intercept --example roundtrip [COUNT]`.

#![allow(
    clippy::disallowed_methods,
    reason = "the example is an ordinary program, which may block"
)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use vb3_frontend::{
    Call, CallId, CallOutcome, Devices, Errno, FdIdentity, FileId, Map, Mmap, Node, NodeId, Op,
    Origin, Outcome, ProcessFiles, Step, Tag, WakeFd,
};
use vb3_intercept::{Options, Program};

/// Answered without a look at memory: _IO('V', 200).
const NOTHING: u64 = 0x56c8;
/// Reads and writes 104 bytes, as VIDIOC_QUERYCAP does: _IOWR('V', 201, [u8; 104]).
const BYTES: u64 = 0xc068_56c9;

/// A backend that does as little as possible.
struct Null;

impl Devices for Null {
    fn nodes(&self) -> Vec<Node> {
        vec![Node::video(NodeId(0), "/dev/video0", 0)]
    }

    fn open(&mut self, _: NodeId, _: i32, _: Origin) -> Result<FileId, Errno> {
        Ok(FileId(1))
    }

    fn release(&mut self, _: FileId) {}

    fn tag_ended(&mut self, _: Tag) {}

    fn abandon(&mut self, _: FileId, _: CallId) {}

    fn mmap(&mut self, _: FileId, _: &Mmap, _: Origin) -> Result<Map, Errno> {
        Err(Errno(libc::EINVAL))
    }

    fn peek(&mut self, file: FileId, events: i16) -> i16 {
        self.poll(file, events)
    }

    fn poll(&mut self, _: FileId, events: i16) -> i16 {
        events & libc::POLLIN
    }

    fn next_tick(&self) -> Option<Duration> {
        None
    }

    fn tick(&mut self) {}

    fn wake_fds(&self) -> Vec<WakeFd<'_>> {
        Vec::new()
    }

    fn take_changed(&mut self, _: &mut Vec<FileId>) {}

    fn call(&mut self, call: &Call<'_>) -> Outcome {
        let step = Step::new(call);
        let done = match call.op {
            Op::Ioctl { request, .. } if u64::from(request) == NOTHING => CallOutcome::Done(0),
            Op::Ioctl { arg, .. } => {
                let mut bytes = [0; 104];
                let read = step.read(arg, &mut bytes);
                step.write(arg, &bytes);
                read.into()
            }
            _ => CallOutcome::Fail(Errno(libc::EINVAL)),
        };
        step.end(done)
    }
}

impl ProcessFiles for Null {
    fn is_buffer(&self, _: FdIdentity) -> bool {
        false
    }

    fn buffer_len(&self, _: FdIdentity) -> u64 {
        0
    }

    fn files(&self, _: NodeId) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        Vec::new()
    }
}

fn report(name: &str, count: usize, mut call: impl FnMut()) {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let micros = |at: usize| times.get(at).map_or(0.0, |t| t.as_secs_f64() * 1e6);
    println!(
        "{name:24} median {:6.2} µs  p99 {:6.2} µs",
        micros(count / 2),
        micros(count * 99 / 100)
    );
}

fn measure(count: usize) {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/video0")
        .expect("/dev/video0");
    let fd = file.as_raw_fd();
    let mut bytes = [0u8; 104];
    // SAFETY: requests of this example's own backend; `bytes` has the size of the second.
    let mut ioctl = |request| unsafe { libc::ioctl(fd, request, bytes.as_mut_ptr()) };
    report("getppid, not notified", count, || {
        // SAFETY: takes nothing.
        unsafe { libc::getppid() };
    });
    report("ioctl on nothing", count, || {
        // SAFETY: no such descriptor: notified, looked up, left to the kernel.
        unsafe { libc::ioctl(-1, NOTHING) };
    });
    report("ioctl, bare", count, || assert_eq!(ioctl(NOTHING), 0));
    report("ioctl, 104 bytes in, out", count, || {
        assert_eq!(ioctl(BYTES), 0)
    });
    let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
    report("stat of another file", count, || {
        // SAFETY: a NUL-terminated path and a buffer for one structure.
        unsafe { libc::stat(c"/usr/lib".as_ptr(), stat.as_mut_ptr()) };
    });
}

fn main() {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_else(|| "20000".into());
    if first == "--inside" {
        return measure(args.next().and_then(|n| n.parse().ok()).unwrap_or(20_000));
    }
    let program = if first.parse::<usize>().is_ok() {
        let own = std::env::current_exe().expect("own path");
        Program::new(own).arg("--inside").arg(first)
    } else {
        Program::new(first).args(args)
    };
    let mut note = |note| eprintln!("note: {note}");
    let options = Options {
        notes: Some(&mut note),
        ..Options::default()
    };
    match vb3_intercept::run(&program, &mut Null, options) {
        Ok(report) => std::process::exit(report.status),
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(e.exit_status());
        }
    }
}
