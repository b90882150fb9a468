//! Misbehaving workers.

use crate::process;
use crate::tools::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process, pidfd_open};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use vb3_codec::{
    Chroma, Config, Event, Framing, Job, Kind, Launch, Lent, LentPlane, MAX_IN_FLIGHT, Refused,
    Worker, is_worker,
};

fn death(data: &[u8]) -> String {
    let mut driven = Driven::new(Kind::Harm, &process());
    driven.submit(Job::Decode { tag: 1, data });
    driven.wait_for(|event| matches!(event, TestEvent::Died(_)));
    let Some(TestEvent::Died(sentence)) = driven.events.pop() else {
        panic!("something comes after the end");
    };
    assert!(driven.worker.poll().is_none(), "it is told once");
    assert_eq!(driven.worker.submit(Job::Drain), Err(Refused::Dead));
    sentence
}

/// Returns a worker's process id, once it has one. Panics if the worker's program cannot be started.
fn pid_of(worker: &mut Worker) -> Pid {
    loop {
        if let Some(pid) = worker.pid() {
            return Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        }
        if let Some(vb3_codec::Event::Died { sentence }) = worker.poll() {
            panic!("{sentence}");
        }
        std::thread::yield_now();
    }
}

/// Returns a handle of a worker's process, once it has one.
fn process_of(worker: &mut Worker) -> OwnedFd {
    pidfd_open(pid_of(worker), PidfdFlags::empty()).unwrap()
}

/// Waits until a process ends. A killed process that waits for its disk ends after the call that kills it.
fn await_end(process: &OwnedFd) {
    let ended = poll(
        &mut [PollFd::new(process, PollFlags::IN)],
        Some(&EVENT_TIMEOUT),
    );
    assert_eq!(ended, Ok(1), "it was not killed");
}

/// A copy of the worker's program whose opens, and so starts, block until this is dropped.
struct Withheld(File);

impl Withheld {
    /// Returns none if the file system has no leases.
    fn new(path: &Path) -> Option<Self> {
        std::fs::copy(env!("CARGO_BIN_EXE_codec-worker"), path).unwrap();
        let file = File::open(path).unwrap();
        // From asm-generic/fcntl.h.
        const F_SETSIG: i32 = 10;
        // SAFETY: takes numbers. Breaking the lease sends a signal, whose default action is to kill.
        let leased = unsafe {
            libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG)
                | libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        if leased != 0 {
            let why = std::io::Error::last_os_error();
            vb3_skip::skip(format_args!("no lease of {}: {why}", path.display()));
            return None;
        }
        Some(Self(file))
    }

    /// Returns whether the kernel waits for it, for up to 45 s.
    fn is_waited_for(&self) -> bool {
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GETLEASE) != libc::F_WRLCK }
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        // Processes waiting for exec have copies of the descriptor. SAFETY: takes numbers.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

/// A file system that does not answer delays only the worker from there.
#[test]
fn stalled_start_delays_no_other_worker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("worker");
    let Some(withheld) = Withheld::new(&path) else {
        return;
    };
    let launch = Launch::program(&path, [""; 0]);
    let mut stalled = Driven::new(Kind::Harm, &launch);
    while !withheld.is_waited_for() {
        std::thread::yield_now();
    }
    // Meanwhile, others start, work and end, also one that is dropped before its start.
    assert_eq!(death(b"exit"), "the codec process ended with status 7");
    drop(Worker::spawn(Kind::Harm, &launch).unwrap());
    // Signals for programs reach them meanwhile.
    let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    assert!(!is_worker(other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(stalled.worker.pid(), None);
    let data = b"abort";
    stalled.submit(Job::Decode { tag: 1, data });
    assert!(stalled.worker.poll().is_none());
    drop(withheld);
    stalled.wait_for(|event| matches!(event, TestEvent::Died(_)));
    let wanted = TestEvent::Died("the codec process gave up (signal 6)".to_owned());
    assert_eq!(stalled.events, [wanted]);
}

#[test]
fn missing_program_reports_its_death() {
    let launch = Launch::program("/nowhere/codec", [""; 0]);
    let mut driven = Driven::new(Kind::Harm, &launch);
    driven.wait_for(|event| matches!(event, TestEvent::Died(_)));
    let [TestEvent::Died(sentence)] = &driven.events[..] else {
        panic!("{:?}", driven.events);
    };
    assert!(
        sentence.contains("cannot be started: exec: No such file"),
        "{sentence}"
    );
}

#[test]
fn every_kind_of_death_is_reported() {
    assert_eq!(death(b"abort"), "the codec process gave up (signal 6)");
    assert_eq!(death(b"exit"), "the codec process ended with status 7");
    // Files, network, processes, signals and threads were all denied.
    assert_eq!(death(b"escape"), "the codec process ended with status 32");
    assert_eq!(death(b"memory"), "the codec process gave up (signal 6)");
    assert_eq!(
        death(b"nonsense"),
        "the codec process sent nonsense and was ended"
    );
    assert_eq!(
        death(b"lie"),
        "the codec process sent a picture that was not expected and was ended"
    );
}

/// A library has the threads of its set-up, which are confined with it, and cannot start more.
#[test]
fn threads_start_only_at_set_up_and_are_confined() {
    let escape = |is_set_up: bool| {
        let mut driven = Driven::new(Kind::HarmInThread, &process());
        let set_up = Job::Configure(Config::Decoder(Framing::Auto));
        if is_set_up {
            driven.submit(set_up);
            let again = driven.worker.submit(set_up);
            assert!(matches!(again, Err(Refused::Wrong(_))), "{again:?}");
        }
        driven.submit(Job::Decode { tag: 1, data: b"" });
        driven.wait_for(|event| matches!(event, TestEvent::Died(_) | TestEvent::Consumed(_)));
        driven.events
    };
    let sentence = escape(true);
    let status = "the codec process ended with status 32".to_owned();
    assert_eq!(sentence, [TestEvent::Died(status)]);
    let sentence = escape(false);
    assert!(
        matches!(sentence.first(), Some(TestEvent::Corrupt { .. })),
        "{sentence:?}"
    );
}

#[test]
fn killed_worker_with_jobs_is_noticed() {
    let mut driven = Driven::new(Kind::Harm, &process());
    for tag in 0..MAX_IN_FLIGHT as u64 {
        let data = b"hang";
        driven.worker.submit(Job::Decode { tag, data }).unwrap();
    }
    let full = driven.worker.submit(Job::Decode { tag: 9, data: b"" });
    assert_eq!(full, Err(Refused::Full(MAX_IN_FLIGHT)));
    let pid = pid_of(&mut driven.worker);
    kill_process(pid, Signal::KILL).unwrap();
    driven.wait_for(|event| matches!(event, TestEvent::Died(_)));
    assert_eq!(
        driven.events,
        [TestEvent::Died(
            "the codec process was killed (signal 9)".to_owned()
        )]
    );
    assert!(
        kill_process(pid, Signal::KILL).is_err(),
        "it was waited for"
    );
}

/// A program may use its codec after ^C, to complete its file.
#[test]
fn signals_for_programs_do_not_end_a_worker() {
    let mut driven = Driven::new(Kind::Harm, &process());
    let pid = pid_of(&mut driven.worker);
    driven.proceeds = false;
    let data = b"format";
    driven.submit(Job::Decode { tag: 1, data });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    assert_eq!(getpgid(Some(pid)), Ok(pid), "the terminal reaches it");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        kill_process(pid, signal).unwrap();
    }
    driven.submit(Job::Proceed(Chroma::Planar));
    let data = b"exit";
    driven.submit(Job::Decode { tag: 2, data });
    driven.wait_for(|event| matches!(event, TestEvent::Died(_)));
    let wanted = TestEvent::Died("the codec process ended with status 7".to_owned());
    assert_eq!(driven.events.last(), Some(&wanted));
}

#[test]
fn dropping_kills_a_hanging_worker() {
    let mut driven = Driven::new(Kind::Harm, &process());
    // By then it reads jobs. Before, it ends if its socket is closed.
    driven.decode([&b"nothing"[..]]);
    let data = b"hang";
    driven.submit(Job::Decode { tag: 9, data });
    let process = process_of(&mut driven.worker);
    drop(driven);
    await_end(&process);
}

#[test]
fn worker_that_keeps_a_buffer_is_killed() {
    let file = memfd_create("buffer", MemfdFlags::ALLOW_SEALING).unwrap();
    let file = File::from(file);
    file.set_len(4096).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let first = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    };
    let mut driven = Driven::new(Kind::Harm, &process());
    driven.proceeds = false;
    let data = b"format";
    driven.submit(Job::Decode { tag: 1, data });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    let worker = &mut driven.worker;
    worker.submit(Job::ProceedByLoan(Chroma::Pairs)).unwrap();
    let plane = |offset| LentPlane {
        memory: file.as_fd(),
        number: 7,
        len: 4096,
        offset,
        stride: 32,
    };
    let planes = [plane(0), plane(512)];
    let lent = Lent {
        chroma: Chroma::Pairs,
        planes: &planes,
    };
    assert_eq!(worker.lend(Some(&lent)), Ok(1));
    let data = b"hold";
    worker.submit(Job::Decode { tag: 2, data }).unwrap();
    while first() == 0 {
        std::thread::yield_now();
    }
    let process = process_of(worker);
    worker.take_back();
    await_end(&process);
    let Some(Event::Died { sentence }) = worker.poll() else {
        panic!("its end is told");
    };
    let wanted = "the codec process did not release a buffer and was ended";
    assert_eq!(sentence, wanted);
}

/// Loans that the worker has not received when they are revoked are not kept.
#[test]
fn loans_may_be_revoked_endlessly() {
    let mut driven = Driven::new(Kind::Harm, &process());
    driven.proceeds = false;
    let data = b"format";
    driven.submit(Job::Decode { tag: 1, data });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    let worker = &mut driven.worker;
    worker.submit(Job::ProceedByLoan(Chroma::Pairs)).unwrap();
    let mut lent = 0;
    while lent < 3000 {
        match worker.lend(None) {
            Ok(_) => lent += 1,
            Err(Refused::Full(_)) => std::thread::yield_now(),
            Err(e) => panic!("{e} after {lent} loans"),
        }
        worker.take_all_back();
    }
    driven.submit(Job::Flush);
    driven.wait_for(|event| *event == TestEvent::Flushed);
}

#[test]
fn unsuitable_memory_is_not_lent() {
    let file = memfd_create("buffer", MemfdFlags::ALLOW_SEALING).unwrap();
    let mut driven = Driven::new(Kind::Harm, &process());
    driven.proceeds = false;
    assert!(matches!(driven.worker.lend(None), Err(Refused::Wrong(_))));
    let data = b"format";
    driven.submit(Job::Decode { tag: 1, data });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    let worker = &mut driven.worker;
    worker.submit(Job::ProceedByLoan(Chroma::Pairs)).unwrap();
    // The second plane's last line ends at (offset + 7 * stride + 16).
    for (stride, offset) in [(15, 256), (16, 257), (16, u64::MAX), (u64::MAX, 256)] {
        let plane = |offset| LentPlane {
            memory: file.as_fd(),
            number: 7,
            len: 384,
            offset,
            stride,
        };
        let planes = [plane(0), plane(offset)];
        let lent = Lent {
            chroma: Chroma::Pairs,
            planes: &planes,
        };
        let refused = Refused::Wrong("the memory is too small for the picture");
        assert_eq!(worker.lend(Some(&lent)), Err(refused), "{stride} {offset}");
        let planes = &planes[..1];
        let lent = Lent { planes, ..lent };
        assert!(worker.lend(Some(&lent)).is_err());
    }
}

/// Returns `count` JPEG files of one size. Three successive ones differ.
fn files(count: usize) -> Vec<Vec<u8>> {
    let files = ["2", "8", "24"].map(|quality| crate::jpeg::file("64x64", "yuvj420p", quality));
    files.into_iter().cycle().take(count).collect()
}

#[test]
fn pictures_outlive_their_worker() {
    if !ffmpeg_is_here() {
        return;
    }
    let files = files(3);
    let mut driven = Driven::new(Kind::JpegDecoder, &process());
    driven.proceeds = true;
    let mut kept = Vec::new();
    for (tag, data) in (1..).zip(&files) {
        driven.submit(Job::Decode { tag, data });
    }
    driven.submit(Job::Drain);
    let mut drained = false;
    while !drained {
        while let Some(event) = driven.worker.poll() {
            match event {
                vb3_codec::Event::Format(_) => driven
                    .worker
                    .submit(Job::Proceed(vb3_codec::Chroma::Planar))
                    .unwrap(),
                vb3_codec::Event::Picture { picture, .. } => kept.push(picture),
                vb3_codec::Event::Drained => drained = true,
                vb3_codec::Event::Died { sentence } => panic!("{sentence}"),
                _ => {}
            }
        }
        std::thread::yield_now();
    }
    drop(driven);
    let pictures: Vec<Vec<u8>> = kept.iter().map(|p| pixels(&p.planes())).collect();
    let mut again = Driven::new(Kind::JpegDecoder, &process());
    again.decode(files.iter().map(Vec::as_slice));
    assert_eq!(pictures.len(), 3);
    assert!(pictures[0] != pictures[1], "they differ");
    assert!(pictures == again.pictures());
}

/// A host that keeps all pictures makes the worker wait, not the other way round.
#[test]
fn flush_frees_a_worker_waiting_for_slots() {
    if !ffmpeg_is_here() {
        return;
    }
    let files = files(24);
    let mut driven = Driven::new(Kind::JpegDecoder, &process());
    let mut kept = Vec::new();
    let mut next = 0;
    let mut tags = Vec::new();
    while kept.len() < vb3_codec::OUTPUT_SLOTS || driven.worker.room() > 0 {
        if let Some(data) = files.get(next) {
            let tag = next as u64;
            next += usize::from(driven.worker.submit(Job::Decode { tag, data }).is_ok());
        }
        while let Some(event) = driven.worker.poll() {
            match event {
                vb3_codec::Event::Format(_) => driven
                    .worker
                    .submit(Job::Proceed(vb3_codec::Chroma::Planar))
                    .unwrap(),
                vb3_codec::Event::Picture { picture, tag, .. } => {
                    tags.push(tag);
                    kept.push(picture);
                }
                vb3_codec::Event::Died { sentence } => panic!("{sentence}"),
                _ => {}
            }
        }
        std::thread::yield_now();
    }
    assert_eq!(kept.len(), vb3_codec::OUTPUT_SLOTS);
    driven.submit(Job::Flush);
    driven.wait_for(|event| *event == TestEvent::Flushed);
    assert_eq!(driven.pictures().len(), 0);
    drop(kept);
    driven.events.clear();
    driven.decode(files[20..].iter().map(Vec::as_slice));
    assert_eq!(driven.pictures().len(), 4);
}

/// A host may start a worker in a pool thread that ends when idle.
#[test]
fn worker_outlives_its_starting_thread() {
    let start = std::thread::spawn(|| {
        let mut driven = Driven::new(Kind::Harm, &process());
        // By then it has limited itself.
        driven.decode([&b"nothing"[..]]);
        driven
    });
    let mut driven = start.join().unwrap();
    driven.events.clear();
    driven.submit(Job::Drain);
    driven.wait_for(|event| matches!(event, TestEvent::Drained | TestEvent::Died(_)));
    assert_eq!(driven.events, [TestEvent::Drained]);
    // And no longer than its owner.
    let process = process_of(&mut driven.worker);
    drop(driven);
    await_end(&process);
}
