//! Mappings of programs whose memory was taken away, where touching them is to be a SIGBUS.
//!
//! All threads of a process that maps a file are stopped, wherever they are; one of them puts a
//! mapping of an empty file in the place of each mapping of it, as long and with the same protection.
//! Whatever it does there is a SIGBUS at that address, as in memory that a kernel's driver has revoked;
//! the range can be protected, moved and unmapped as before.
//!
//! A thread whose call waits for an answer of ours does not stop before it has one, and touches nothing
//! meanwhile. Where all threads of a process wait so, it is left in the hands of a thread of its own,
//! and stops on its way from the first answer, before its own code goes on.
//!
//! Source: Linux 6.12 mm/memory.c `unmap_mapping_range` as drivers use it to revoke; mm/filemap.c and
//! mm/shmem.c: a fault past the end of a file is VM_FAULT_SIGBUS.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crate::descriptors::holders;
use crate::kernel::Mapping;
use crate::kernel::arch;
use crate::kernel::lock;
use crate::kernel::raw;
use crate::kernel::{MayBlock, may_block};
use crate::memory::Way;
use crate::note::Note;
use crate::process::PASS;
use crate::process::reap;
use crate::process::{ERESTARTNOINTR, Notif, Reply};
use crate::process::{Found, InStead, Left, Stopped, rewrite};
use crate::service::supervisor::Supervisor;
use vb3_host::{Errno, FdIdentity};

/// Bytes of stack of a thread that stops others.
const STACK: usize = 256 << 10;
/// How long others may take to stop once one thread has.
const GRACE: Duration = Duration::from_millis(20);
/// After this without a stop, all threads are taken for waiting.
const WAITS: Duration = Duration::from_millis(200);
/// How long a thread may be in a debugger's hands, or in ours for another purpose.
const REFUSED: Duration = Duration::from_millis(500);
/// How often threads are looked at that all wait.
const PAUSE: Duration = Duration::from_millis(1);
/// How often is looked whether their process has the mappings still.
const LOOK: Duration = Duration::from_millis(100);
/// How often processes are looked for that have made or inherited a mapping meanwhile.
const ROUNDS: u32 = 16;

/// `MFD_NOEXEC_SEAL`, since Linux 6.3.
const NOEXEC_SEAL: libc::c_uint = 8;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Revoking {
    /// Threads that are asked to stop, and not let go yet.
    held: Mutex<HashSet<u32>>,
    /// Which files each process is yet to lose that is in a thread's hands.
    owed: Mutex<HashMap<u32, Vec<FdIdentity>>>,
    /// It is said that mappings stay as they are.
    said: AtomicBool,
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It maps them no more.
    Done,
    /// All its threads wait.
    Waits,
    /// It cannot be stopped.
    Refused(Errno),
}

impl Revoking {
    /// Whether a thread is asked to stop.
    pub(crate) fn holds(&self, tid: u32) -> bool {
        lock(&self.held).contains(&tid)
    }
}

/// The threads of a process that were asked to stop.
#[derive(Default)]
struct Threads {
    asked: HashSet<u32>,
    on_their_way: Vec<Stopped>,
    stopped: Vec<Stopped>,
    /// How those were let go, or ended, that are neither.
    gone: Vec<(u32, Left)>,
}

impl<'a> Supervisor<'a> {
    /// Takes away, beside the clock, what the backend has revoked for programs to fault on.
    pub(crate) fn show_revoked<'scope>(
        &'scope self,
        may: &mut MayBlock,
        scope: &'scope Scope<'scope, '_>,
    ) {
        let files = core::mem::take(&mut self.server(may).revoked);
        if files.is_empty() {
            return;
        }
        let name = Builder::new().name("vb3-revoke".into()).stack_size(STACK);
        let started = name.spawn_scoped(scope, move || {
            let mut may = MayBlock::of_this_thread();
            self.take_mappings(&mut may, scope, &files);
            self.tell_revoked(&mut may);
        });
        if started.is_err() {
            self.say_refused(std::process::id(), Errno(libc::EAGAIN));
            self.tell_revoked(may);
        }
    }

    fn tell_revoked(&self, may: &mut MayBlock) {
        let ((), answers) = self.apply(may, |server| server.backend.revoked_shown());
        self.answer_all(may, answers);
    }

    /// Answers a call whose thread cannot be seized because it is to stop for a revocation: it does so,
    /// and makes its call anew. Whether that is so.
    pub(crate) fn stops_first(&self, n: &Notif) -> bool {
        let held = lock(&self.revoking.held);
        let stops = held.contains(&n.tid);
        if stops {
            self.host.listener.answer(n.id, Reply::Fail(ERESTARTNOINTR));
        }
        stops
    }

    /// Takes files from all programs that map them; those that wait get them taken as they go on.
    fn take_mappings<'scope>(
        &'scope self,
        may: &mut MayBlock,
        scope: &'scope Scope<'scope, '_>,
        files: &[FdIdentity],
    ) {
        let mut left: HashSet<u32> = HashSet::new();
        for _ in 0..ROUNDS {
            let mut pids = holders::descendants(may);
            pids.retain(|pid| !left.contains(pid) && maps_any(*pid, files));
            pids.retain(|pid| !self.server(may).backend.is_own_child(*pid));
            if pids.is_empty() {
                return;
            }
            let (tell, told) = mpsc::channel();
            for &pid in &pids {
                let is_in_hand = {
                    let mut owed = lock(&self.revoking.owed);
                    let is_in_hand = owed.contains_key(&pid);
                    owed.entry(pid).or_default().extend_from_slice(files);
                    is_in_hand
                };
                if is_in_hand {
                    left.insert(pid);
                    continue;
                }
                let tell = tell.clone();
                let name = Builder::new().name("vb3-revoke".into()).stack_size(STACK);
                let take = move || {
                    self.take_from(&mut MayBlock::of_this_thread(), pid, |what| {
                        let _ = tell.send((pid, what));
                    });
                };
                if name.spawn_scoped(scope, take).is_err() {
                    lock(&self.revoking.owed).remove(&pid);
                    left.insert(pid);
                    self.say_refused(pid, Errno(libc::EAGAIN));
                }
            }
            drop(tell);
            let mut open: HashSet<u32> = pids.iter().copied().collect();
            open.retain(|pid| !left.contains(pid));
            while !open.is_empty()
                && let Ok((pid, what)) = told.recv()
            {
                open.remove(&pid);
                match what {
                    Told::Done => {}
                    Told::Waits => drop(left.insert(pid)),
                    Told::Refused(errno) => {
                        left.insert(pid);
                        self.say_refused(pid, errno);
                    }
                }
            }
        }
    }

    fn say_refused(&self, pid: u32, errno: Errno) {
        if !self.revoking.said.swap(true, Ordering::Relaxed) {
            let errno = errno.0;
            self.host.note(Note::MappingsStay { pid, errno });
        }
    }

    /// Takes from one process what it owes.
    fn take_from(&self, may: &mut MayBlock, pid: u32, tell: impl Fn(Told) + Sync) {
        let mut threads = Threads::default();
        let taken = std::thread::scope(|scope| {
            let name = Builder::new().name("vb3-revoke".into()).stack_size(STACK);
            // What it has asked to stop and has not stopped is let go by the kernel when it ends.
            let stops =
                || self.stop_and_take(&MayBlock::of_this_thread(), pid, &mut threads, &tell);
            let stops = name.spawn_scoped(scope, stops);
            let stops = stops.map_err(|_| Errno(libc::EAGAIN))?;
            may_block::join(may, stops).unwrap_or(Err(Errno(libc::EIO)))
        });
        lock(&self.revoking.held).retain(|tid| !threads.asked.contains(tid));
        for (tid, left) in threads.gone {
            self.left(may, tid, left);
        }
        tell(match taken {
            Ok(()) => Told::Done,
            Err(errno) => {
                lock(&self.revoking.owed).remove(&pid);
                Told::Refused(errno)
            }
        });
    }

    /// Stops a process, takes from it what it owes, and lets it go.
    fn stop_and_take(
        &self,
        may: &MayBlock,
        pid: u32,
        threads: &mut Threads,
        tell: &impl Fn(Told),
    ) -> Result<(), Errno> {
        self.host.powers.ptrace?;
        if reap::has_filter_of_its_own(pid) {
            // It may be ended for a call that it does not expect.
            return Err(Errno(libc::EPERM));
        }
        let taken = self.stop(may, pid, threads, tell).and_then(|()| {
            // What comes to be owed later takes another stop.
            let files = lock(&self.revoking.owed).remove(&pid);
            let thread = threads.stopped.first_mut();
            thread.map_or(Ok(()), |thread| {
                take(may, thread, &files.unwrap_or_default())
            })
        });
        for thread in core::mem::take(&mut threads.stopped) {
            threads.gone.push((thread.tid(), thread.free()));
        }
        taken
    }

    /// Asks all threads of a process to stop until one has, and the others had time to.
    fn stop(
        &self,
        may: &MayBlock,
        pid: u32,
        threads: &mut Threads,
        tell: &impl Fn(Told),
    ) -> Result<(), Errno> {
        let began = Instant::now();
        let mut first = None;
        let mut waits = false;
        let mut looked = began;
        loop {
            let seized = self.seize_new(pid, threads);
            threads.look();
            if !threads.stopped.is_empty() {
                let first = *first.get_or_insert_with(Instant::now);
                if threads.on_their_way.is_empty() && seized == Ok(false)
                    || first.elapsed() >= GRACE
                {
                    return Ok(());
                }
            } else if threads.on_their_way.is_empty() {
                match seized {
                    // It has ended.
                    Ok(false) => return Ok(()),
                    Err(errno) if began.elapsed() >= REFUSED => return Err(errno),
                    _ => {}
                }
            }
            if !waits && first.is_none() && began.elapsed() >= WAITS {
                waits = true;
                tell(Told::Waits);
            }
            if self.pool.is_closing() || waits && looked.elapsed() >= LOOK {
                if self.pool.is_closing() || self.has_nothing_to_lose(pid) {
                    return Ok(());
                }
                looked = Instant::now();
            }
            may_block::sleep(may, if waits { PAUSE } else { PAUSE / 10 });
        }
    }

    /// Asks the threads to stop that were not asked yet; whether there were any.
    fn seize_new(&self, pid: u32, threads: &mut Threads) -> Result<bool, Errno> {
        let mut refused = None;
        let mut seized = false;
        for tid in threads_of(pid) {
            if threads.asked.contains(&tid) {
                continue;
            }
            // Whoever finds it in other hands finds it here.
            let mut held = lock(&self.revoking.held);
            match rewrite::seize(tid) {
                Ok(thread) => {
                    held.insert(tid);
                    threads.asked.insert(tid);
                    threads.on_their_way.push(thread);
                    seized = true;
                }
                Err(Errno(libc::ESRCH)) => {}
                Err(errno) => refused = Some(errno),
            }
        }
        refused.filter(|_| !seized).map_or(Ok(seized), Err)
    }

    fn has_nothing_to_lose(&self, pid: u32) -> bool {
        let owed = lock(&self.revoking.owed).get(&pid).cloned();
        !maps_any(pid, &owed.unwrap_or_default())
    }
}

impl Threads {
    /// Looks which have stopped by now, or ended.
    fn look(&mut self) {
        for mut thread in core::mem::take(&mut self.on_their_way) {
            match thread.find() {
                Found::OnItsWay => self.on_their_way.push(thread),
                Found::Stopped => self.stopped.push(thread),
                Found::Gone(how) => self.gone.push((thread.tid(), Left::Free(how))),
            }
        }
    }
}

/// Has a stopped thread map nothing in the place of all mappings of some files.
fn take(may: &MayBlock, thread: &mut Stopped, files: &[FdIdentity]) -> Result<(), Errno> {
    let maps = raw::proc_text(&format!("/proc/{}/maps", thread.tid()));
    let maps = maps.map_err(|_| Errno(libc::ESRCH))?;
    let all = || maps.split(|&b| b == b'\n').filter_map(Mapping::parse);
    let lost: Vec<Mapping<'_>> = all().filter(|map| is_of(map, files)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let code = all().find(|map| map.name == b"[vdso]");
    let (call, empty) = code
        .and_then(|code| tools(may, thread.tid(), &code))
        .ok_or(Errno(libc::ENOSYS))?;
    let taken = thread.aside(may, call, |thread| map_nothing(thread, &lost, empty));
    // A thread that has ended takes no more part; others of the process are found in the next round.
    taken.unwrap_or(Ok(()))
}

/// In the code that the kernel gives every program: an instruction that makes a call, and a zero byte,
/// which is a string without a letter.
fn tools(may: &MayBlock, tid: u32, code: &Mapping<'_>) -> Option<(u64, u64)> {
    let len = usize::try_from(code.end.checked_sub(code.start)?).ok()?;
    let mut bytes = vec![0; len.min(64 << 10)];
    Way::Files.copy_in(may, tid, code.start, &mut bytes).ok()?;
    let call = arch::find_call(&bytes)?;
    let zero = bytes.iter().position(|&byte| byte == 0)?;
    Some((code.start + call as u64, code.start + zero as u64))
}

fn map_nothing(
    thread: &mut InStead<'_>,
    lost: &[Mapping<'_>],
    name: u64,
) -> Option<Result<(), Errno>> {
    let mut create = |flags: libc::c_uint| {
        let args = [name, u64::from(flags), 0, 0, 0, 0];
        thread.call(libc::SYS_memfd_create, args).map(result)
    };
    let made = match create(libc::MFD_CLOEXEC | NOEXEC_SEAL)? {
        Err(Errno(libc::EINVAL)) => create(libc::MFD_CLOEXEC)?,
        made => made,
    };
    let file = match made {
        Ok(file) => file,
        Err(errno) => return Some(Err(errno)),
    };
    let mut mapped = Ok(());
    for map in lost {
        let prot = u64::from(map.prot().cast_unsigned());
        let kind = u64::from((map.kind() | libc::MAP_FIXED).cast_unsigned());
        let fd = file | u64::from(PASS) << 32;
        let args = [map.start, map.end - map.start, prot, kind, fd, 0];
        mapped = mapped.and(result(thread.call(libc::SYS_mmap, args)?).map(drop));
    }
    thread.call(libc::SYS_close, [file, 0, 0, 0, 0, 0])?;
    Some(mapped)
}

fn result(value: u64) -> Result<u64, Errno> {
    match value.cast_signed() {
        // CAST: an errno is small.
        error @ -4095..0 => Err(Errno((-error) as i32)),
        _ => Ok(value),
    }
}

fn is_of(map: &Mapping<'_>, files: &[FdIdentity]) -> bool {
    let is = |file: &FdIdentity| (file.dev, file.ino) == (map.dev, map.ino);
    files.iter().any(is)
}

fn threads_of(pid: u32) -> Vec<u32> {
    raw::proc_numbers(&format!("/proc/{pid}/task"))
}

/// Whether a process has a mapping of one of these files.
fn maps_any(pid: u32, files: &[FdIdentity]) -> bool {
    // A leader that has ended has none, and others of its threads have.
    let maps = threads_of(pid).into_iter().find_map(|tid| {
        let maps = raw::proc_text(&format!("/proc/{tid}/maps")).ok()?;
        (!maps.is_empty()).then_some(maps)
    });
    let maps = maps.unwrap_or_default();
    let mut all = maps.split(|&b| b == b'\n').filter_map(Mapping::parse);
    all.any(|map| is_of(&map, files))
}
