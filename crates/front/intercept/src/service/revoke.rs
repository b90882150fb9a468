//! Replaces programs' mappings of revoked memory, so that an access raises SIGBUS.
//!
//! The supervisor stops all threads of a process that maps a file. One of them replaces each mapping of
//! the file by one of an empty file, with the same length and protection. Every access then raises
//! SIGBUS at its address, as in memory that a kernel driver has revoked. The program can protect, move
//! and unmap the range as before.
//!
//! A thread whose call waits for an answer stops only after the answer, and accesses no memory meanwhile. If
//! all threads of a process wait so, the revocation is reported as done, but a thread of the supervisor
//! remains: it replaces the mappings at the first answer, before the process's own code continues.
//!
//! Source: Linux 6.12 mm/memory.c `unmap_mapping_range` as drivers use it to revoke; mm/filemap.c and
//! mm/shmem.c: a fault past the end of a file is VM_FAULT_SIGBUS.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, mpsc};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crate::kernel::{Mapping, MayBlock, arch, lock, may_block, procs, raw};
use crate::memory::{Copier, CopyMethod};
use crate::note::Note;
use crate::process::{ERESTARTNOINTR, InStead, Notif, PASS, Reply, Stopped, TraceeState, rewrite};
use crate::program::ExitReport;
use crate::service::supervisor::Supervisor;
use vb3_frontend::{Errno, FdIdentity};

const STACK: usize = 256 << 10;
/// Time for other threads to stop after the first one.
const STOP_GRACE: Duration = Duration::from_millis(20);
/// If no thread has stopped after this time, all threads are taken to wait for answers.
const STOP_TIMEOUT: Duration = Duration::from_millis(200);
/// Time limit for seizing a thread that is traced: by a debugger, or by the supervisor for another purpose.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval of checks for a stop while all threads of a process wait.
const STOP_INTERVAL: Duration = Duration::from_millis(1);
/// Interval of checks whether a process whose threads all wait still has the mappings.
const MAPS_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of searches for processes that made or inherited a mapping during the revocation.
const MAX_SEARCHES: u32 = 16;

/// `MFD_NOEXEC_SEAL`, since Linux 6.3.
const NOEXEC_SEAL: libc::c_uint = 8;

#[derive(Debug, Default)]
pub(crate) struct Revoking {
    /// Threads that were asked to stop and are not released yet, with their processes.
    held: Mutex<HashMap<u32, u32>>,
    /// The processes that are being stopped.
    owed: Mutex<HashMap<u32, Owed>>,
}

/// A process that is being stopped.
#[derive(Debug, Default)]
struct Owed {
    /// The files whose mappings must still be replaced.
    files: Vec<FdIdentity>,
    /// Whether all threads of the process wait for answers.
    waits: bool,
    /// The revocations that wait for the result.
    tell: Vec<mpsc::Sender<Outcome>>,
}

/// A process, and whether its mappings stay: it cannot be stopped, or all of its threads wait for answers.
type Outcome = (u32, bool);

impl Owed {
    fn tell(&self, outcome: Outcome) {
        for tell in &self.tell {
            // The receiver of an earlier result has ended.
            let _ = tell.send(outcome);
        }
    }
}

impl Revoking {
    /// Records a revocation in a process. `tell` gets the result. Returns whether a stop is under way.
    fn is_in_hand(&self, pid: u32, files: &[FdIdentity], tell: &mpsc::Sender<Outcome>) -> bool {
        let mut all = lock(&self.owed);
        let is_in_hand = all.contains_key(&pid);
        let owed = all.entry(pid).or_default();
        owed.files.extend_from_slice(files);
        owed.tell.push(tell.clone());
        if owed.waits {
            let _ = tell.send((pid, true));
        }
        is_in_hand
    }

    /// Notifies all revocations that a process waits for answers.
    fn waits(&self, pid: u32) {
        if let Some(owed) = lock(&self.owed).get_mut(&pid) {
            owed.waits = true;
            owed.tell((pid, true));
        }
    }

    /// Returns whether a thread was asked to stop for a revocation, and is not released yet.
    pub(crate) fn holds(&self, tid: u32) -> bool {
        lock(&self.held).contains_key(&tid)
    }
}

/// The threads of a process that were asked to stop.
#[derive(Default)]
struct Threads {
    on_their_way: Vec<Stopped>,
    stopped: Vec<Stopped>,
    /// The threads that were released, and how those ended that did.
    gone: Vec<(u32, Option<ExitReport>)>,
    /// The process's entry in `Revoking::owed`, once it is taken out. Later revocations need another stop.
    owed: Option<Owed>,
}

impl<'a> Supervisor<'a> {
    /// Starts a thread that replaces the mappings of revoked files, and then notifies the backend.
    pub(crate) fn show_revoked<'scope>(
        &'scope self,
        may: &mut MayBlock,
        scope: &'scope Scope<'scope, '_>,
    ) {
        let files = core::mem::take(&mut self.server(may).revoked);
        if files.is_empty() {
            return;
        }
        let count = files.len();
        let started = thread().spawn_scoped(scope, move || {
            let mut may = MayBlock::of_this_thread();
            self.take_mappings(&mut may, scope, &files);
            self.tell_revoked(&mut may, count);
        });
        if started.is_err() {
            self.say_refused(std::process::id(), Errno(libc::EAGAIN));
            self.tell_revoked(may, count);
        }
    }

    fn tell_revoked(&self, may: &mut MayBlock, count: usize) {
        self.step(may, |server| server.backend.revoked_shown(count));
    }

    /// Returns true if the call's thread could not be seized because it must stop for a revocation. In that
    /// case this function also answers the call: the thread stops, and then repeats the call.
    pub(crate) fn stops_first(&self, n: &Notif) -> bool {
        let held = lock(&self.revoking.held);
        let stops = held.contains_key(&n.tid);
        if stops {
            self.host.listener.answer(n.id, Reply::Fail(ERESTARTNOINTR));
        }
        stops
    }

    /// Replaces mappings of the files in all programs. If all threads of a program wait in calls, its
    /// mappings are replaced later, before it continues.
    fn take_mappings<'scope>(
        &'scope self,
        may: &mut MayBlock,
        scope: &'scope Scope<'scope, '_>,
        files: &[FdIdentity],
    ) {
        let mut left: HashSet<u32> = HashSet::new();
        for _ in 0..MAX_SEARCHES {
            let mut pids = procs::descendants(|_| true);
            pids.retain(|pid| !left.contains(pid) && maps_any(*pid, files));
            pids.retain(|pid| !self.server(may).backend.is_own_child(*pid));
            if pids.is_empty() {
                return;
            }
            let (tell, told) = mpsc::channel();
            for &pid in &pids {
                if self.revoking.is_in_hand(pid, files, &tell) {
                    continue;
                }
                let take = move || self.take_from(&mut MayBlock::of_this_thread(), pid);
                if thread().spawn_scoped(scope, take).is_err() {
                    lock(&self.revoking.owed).remove(&pid);
                    left.insert(pid);
                    self.say_refused(pid, Errno(libc::EAGAIN));
                }
            }
            drop(tell);
            let mut open: HashSet<u32> = pids.iter().copied().collect();
            open.retain(|pid| !left.contains(pid));
            while !open.is_empty()
                && let Ok((pid, stays)) = told.recv()
            {
                open.remove(&pid);
                left.extend(stays.then_some(pid));
            }
        }
    }

    fn say_refused(&self, pid: u32, errno: Errno) {
        self.host.note_once(Note::MappingsStay { pid, errno });
    }

    /// Replaces the mappings of one process, and notifies the revocations that wait for it.
    fn take_from(&self, may: &mut MayBlock, pid: u32) {
        let mut threads = Threads::default();
        let taken = std::thread::scope(|scope| {
            // Seizes in a separate thread: when that thread ends, the kernel releases the seized threads
            // that have not stopped.
            let stops = || self.stop_and_take(&MayBlock::of_this_thread(), pid, &mut threads);
            let stops = thread().spawn_scoped(scope, stops);
            let stops = stops.map_err(|_| Errno(libc::EAGAIN))?;
            may_block::join(may, stops).unwrap_or(Err(Errno(libc::EIO)))
        });
        lock(&self.revoking.held).retain(|_, of| *of != pid);
        for (tid, ended) in threads.gone {
            self.left(may, tid, ended);
        }
        let owed = threads.owed;
        let owed = owed.or_else(|| lock(&self.revoking.owed).remove(&pid));
        let refused = taken.inspect_err(|errno| self.say_refused(pid, *errno));
        owed.unwrap_or_default().tell((pid, refused.is_err()));
    }

    /// Stops a process, replaces its mappings of the files in `owed`, and releases it. Fails with EPERM if all
    /// stopped threads have their own seccomp filters.
    fn stop_and_take(&self, may: &MayBlock, pid: u32, threads: &mut Threads) -> Result<(), Errno> {
        let may_direct = |tid| self.host.may_direct(tid);
        let all = threads_of(pid).into_iter();
        all.fold(may_direct(pid), |any, tid| any.or_else(|_| may_direct(tid)))?;
        let taken = self.stop(may, pid, threads).and_then(|()| {
            threads.owed = lock(&self.revoking.owed).remove(&pid);
            if threads.stopped.is_empty() {
                return Ok(());
            }
            let mut stopped = threads.stopped.iter();
            let at = stopped.position(|thread| may_direct(thread.tid()).is_ok());
            // Moved to the end: the release of this thread may wait for a stop, and would delay later ones.
            let thread = threads.stopped.remove(at.ok_or(Errno(libc::EPERM))?);
            threads.stopped.push(thread);
            let thread = threads.stopped.last_mut().ok_or(Errno(libc::EPERM))?;
            (threads.owed.as_ref()).map_or(Ok(()), |owed| take(may, thread, &owed.files))
        });
        for thread in core::mem::take(&mut threads.stopped) {
            threads.gone.push((thread.tid(), thread.free(may)));
        }
        taken
    }

    /// Asks all threads of a process to stop. Waits until one has stopped and the others had time to stop.
    fn stop(&self, may: &MayBlock, pid: u32, threads: &mut Threads) -> Result<(), Errno> {
        let began = Instant::now();
        let mut first = None;
        let mut waits = false;
        let mut looked = began;
        loop {
            let seized = self.seize_new(pid, threads);
            threads.look(may);
            if !threads.stopped.is_empty() {
                let first = *first.get_or_insert_with(Instant::now);
                if threads.on_their_way.is_empty() && seized == Ok(false)
                    || first.elapsed() >= STOP_GRACE
                {
                    return Ok(());
                }
            } else if threads.on_their_way.is_empty() {
                match seized {
                    // The process has ended.
                    Ok(false) => return Ok(()),
                    Err(errno) if began.elapsed() >= BUSY_TIMEOUT => return Err(errno),
                    _ => {}
                }
            }
            if !waits && first.is_none() && began.elapsed() >= STOP_TIMEOUT {
                waits = true;
                self.revoking.waits(pid);
            }
            if self.pool.is_closing() || waits && looked.elapsed() >= MAPS_INTERVAL {
                if self.pool.is_closing() || self.has_nothing_to_lose(pid) {
                    return Ok(());
                }
                looked = Instant::now();
            }
            let share = if waits { 1 } else { 10 };
            may_block::sleep(may, STOP_INTERVAL / share);
        }
    }

    /// Asks all threads to stop that have not been asked yet. Returns whether there were any.
    fn seize_new(&self, pid: u32, threads: &mut Threads) -> Result<bool, Errno> {
        let mut refused = None;
        let mut seized = false;
        for tid in threads_of(pid) {
            // Locked until the insertion: a call that cannot seize the thread must find it in this table.
            let mut held = lock(&self.revoking.held);
            if held.contains_key(&tid) {
                continue;
            }
            match rewrite::seize(tid) {
                Ok(thread) => {
                    held.insert(tid, pid);
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
        let owed = lock(&self.revoking.owed);
        let files = owed.get(&pid).map(|owed| owed.files.clone());
        drop(owed);
        !maps_any(pid, &files.unwrap_or_default())
    }
}

impl Threads {
    /// Moves threads that have stopped or ended to the corresponding lists.
    fn look(&mut self, may: &MayBlock) {
        for mut thread in core::mem::take(&mut self.on_their_way) {
            match thread.find() {
                TraceeState::OnItsWay => self.on_their_way.push(thread),
                TraceeState::Stop(_) => self.stopped.push(thread),
                TraceeState::Gone => self.gone.push((thread.tid(), thread.free(may))),
            }
        }
    }
}

/// Makes a stopped thread replace all mappings of some files.
fn take(may: &MayBlock, thread: &mut Stopped, files: &[FdIdentity]) -> Result<(), Errno> {
    let maps = raw::proc_text(&format!("/proc/{}/maps", thread.tid()));
    let maps = maps.map_err(|_| Errno(libc::ESRCH))?;
    let all = || maps.split(|&b| b == b'\n').filter_map(Mapping::parse);
    let lost: Vec<Mapping<'_>> = all().filter(|map| files.contains(&map.file)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let code = all().find(|map| map.name == b"[vdso]");
    let (call, empty) = code
        .and_then(|code| tools(may, thread.tid(), &code))
        .ok_or(Errno(libc::ENOSYS))?;
    let taken = thread.aside(may, call, |thread| map_nothing(thread, &lost, empty));
    // If the thread ended meanwhile, the next search finds the process's other threads.
    taken.unwrap_or(Ok(()))
}

/// Returns two addresses in the code that the kernel maps into every program (vDSO): a system call
/// instruction, and a zero byte, which serves as an empty string.
fn tools(may: &MayBlock, tid: u32, code: &Mapping<'_>) -> Option<(u64, u64)> {
    let len = usize::try_from(code.end.checked_sub(code.start)?).ok()?;
    let mut bytes = vec![0; len.min(64 << 10)];
    let memory = Copier::new(may, CopyMethod::Files, tid);
    memory.copy_in(code.start, &mut bytes).ok()?;
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
        thread.call(libc::SYS_memfd_create, args)
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
        let prot = u64::from(map.prot.cast_unsigned());
        let kind = u64::from((map.kind | libc::MAP_FIXED).cast_unsigned());
        let fd = file | u64::from(PASS) << 32;
        let args = [map.start, map.end - map.start, prot, kind, fd, 0];
        mapped = mapped.and(thread.call(libc::SYS_mmap, args)?.map(drop));
    }
    thread.close(file)?;
    Some(mapped)
}

/// Returns the settings of a supervisor thread that stops a program's threads.
fn thread() -> Builder {
    Builder::new().name("vb3-revoke".into()).stack_size(STACK)
}

fn threads_of(pid: u32) -> Vec<u32> {
    raw::proc_numbers(&format!("/proc/{pid}/task"))
}

fn maps_any(pid: u32, files: &[FdIdentity]) -> bool {
    // A leader thread that has ended shows no mappings, but the process's other threads show them.
    let maps = threads_of(pid).into_iter().find_map(|tid| {
        let maps = raw::proc_text(&format!("/proc/{tid}/maps")).ok()?;
        (!maps.is_empty()).then_some(maps)
    });
    let maps = maps.unwrap_or_default();
    let mut all = maps.split(|&b| b == b'\n').filter_map(Mapping::parse);
    all.any(|map| files.contains(&map.file))
}
