//! Runs a program from start to end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::Builder;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::descriptors::{Held, Table};
use crate::error::Error;
use crate::kernel::{MayBlock, Procs, RunLock, raw};
use crate::note::Note;
use crate::process::{Forward, Guard, Inherited, Lending, launch, signal};
use crate::program::{ExitReport, Options, Program};
use crate::service::{Ending, Events, Host, Pool, Server, Supervisor, WakeSet};
use crate::tree::{Monitors, Showing};
use crate::waiting::{Epolls, Pending};
use rustix::event::EventfdFlags;
use rustix::process::{Pid, Resource, Rlimit, child_subreaper, set_child_subreaper, setrlimit};
use vb3_frontend::Backend;

/// Maximum number of notes that wait to be shown.
const REMARKS: usize = 64;

/// Runs a program and answers its calls with the backend's devices, until the program and all its
/// children have ended.
///
/// The program runs with `no_new_privs`, so the set-user-ID bit has no effect. Orphans of the
/// program become children of this process, which reaps them. A process can have one run at a time.
///
/// # Errors
/// Returns [`Error::NotFound`] or [`Error::Exec`] if the program cannot be started,
/// [`Error::Kernel`] if the kernel lacks a feature, and [`Error::System`] otherwise.
pub fn run(
    program: &Program,
    backend: &mut dyn Backend,
    options: Options<'_>,
) -> Result<ExitReport, Error> {
    let mut may = MayBlock::of_this_thread();
    let inherited = Inherited::take(&signal::CAUGHT);
    let nodes = backend.nodes();
    let events = Events::new().map_err(Error::of("epoll_create"))?;
    let references = nodes.iter().map(|_| OnceLock::new()).collect();
    let (limit, range) = launch::limits();
    let _settings = Settings::begin(limit);
    let forward = (!options.keep_signals).then(Forward::begin);
    let forward = forward.and_then(Result::ok);
    let alarm = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let alarm = alarm.map_err(raw::err).map_err(Error::of("eventfd"))?;
    let guard = Guard::new().map_err(Error::of("mmap"))?;
    let (child, powers) = launch::spawn(&may, program, (limit, range), &inherited)?;
    let (notes, remarks) = mpsc::sync_channel(REMARKS);
    let host = Arc::new(Host {
        listener: child.listener,
        events,
        procs: Procs::new(
            powers.getfd.err(),
            limit.maximum.map_or(usize::MAX, |most| most as usize),
        ),
        guard,
        powers,
        held: Arc::new(Held::new().into()),
        range,
        holds: false.into(),
        outside: false.into(),
        closes: 0.into(),
        notes,
        has_notes: false.into(),
        noted: Mutex::default(),
        alarm,
    });
    for note in host.powers.notes() {
        host.note(note);
    }
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = started.map_or(0, |time| time.as_secs());
    let main = child.pid;
    let server = Server {
        host: Arc::clone(&host),
        backend,
        pending: Pending::default(),
        epolls: Epolls::default(),
        table: Table::default(),
        wakes: WakeSet::default(),
        main: (main, child.pidfd),
        ended: None,
        forward,
        undecided: VecDeque::new(),
        swept: Instant::now(),
        answers: Vec::new(),
        wakes_at: None,
        hung_up: false,
        ending: Ending::new(options.leftover),
        gone: VecDeque::new(),
        kept: Vec::new(),
        monitors: Monitors::default(),
        may_have_closed: true,
        hotplug: Vec::new(),
        changed: Vec::new(),
    };
    let supervisor = Supervisor {
        run: RunLock::new(server),
        pool: Pool::new(),
        showing: Showing::default(),
        nodes,
        references,
        main,
        started: started.cast_signed(),
        received: AtomicU64::new(0),
        lent: Lending::default(),
        crowd: Mutex::default(),
        reads_locks: AtomicBool::new(false),
        receive_ends: receive_ends(),
        host,
    };
    std::thread::scope(|scope| {
        let mut unshown = Some((remarks, options.notes));
        let mut show_notes = || {
            if let Some((remarks, notes)) = unshown.take() {
                // A separate thread shows notes, since the user's function may block. If the thread cannot be
                // started, the run shows no notes.
                let says = Builder::new().name("vb3-notes".into());
                says.spawn_scoped(scope, || say(remarks, notes)).ok();
            }
        };
        let served = supervisor.run(&mut may, &mut show_notes);
        let ended = supervisor.server(&mut may).ended;
        if served.is_err() {
            supervisor.host.guard.end_programs();
            if ended.is_none() {
                launch::reap(main);
            }
        }
        // This closes the channel of notes, so that the notes' thread ends.
        drop(supervisor);
        if let Some((remarks, notes)) = unshown {
            say(remarks, notes);
        }
        served.map(|()| ended.unwrap_or_default())
    })
}

/// Passes each note to the user's function until the channel closes.
fn say(remarks: mpsc::Receiver<Note>, mut notes: Option<&mut (dyn FnMut(Note) + Send)>) {
    for note in remarks {
        if let Some(say) = &mut notes {
            say(note);
        }
    }
}

/// Returns whether the kernel ends the supervisor's wait for a further call (`SECCOMP_IOCTL_NOTIF_RECV`) when all
/// programs have ended. Linux does so since 6.11. On older kernels, the wait would never end, so the supervisor asks
/// first whether there is a call.
fn receive_ends() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (number(), number()) >= (6, 11)
}

/// Settings of this process during a run: it becomes the parent of the program's orphans, and may have more
/// descriptors, since it holds some for every program.
struct Settings {
    subreaper: Option<Pid>,
    limit: Rlimit,
}

impl Settings {
    fn begin(limit: Rlimit) -> Self {
        let subreaper = child_subreaper().ok().flatten();
        // The run continues if the kernel refuses these settings. Without the first, orphans are not reaped. Without
        // the second, the supervisor remembers fewer threads, since a descriptor is needed for each.
        set_child_subreaper(Some(rustix::process::getpid())).ok();
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised).ok();
        Self { subreaper, limit }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        set_child_subreaper(self.subreaper).ok();
        setrlimit(Resource::Nofile, self.limit).ok();
    }
}
