//! The data that is collected for one call of a program: what is read from the program before the devices' step,
//! and what is written to the program after the step.
//!
//! A copy may block for as long as the program likes. A user-space handler may fill the page late, or a file
//! system may have stopped. So no copy is made under the one lock of all devices. The step reads only what was
//! gathered for the call. If the step lacks a part, it records this part, and ends without changing anything. The
//! supervisor then gathers the missing part and repeats the call. What remains to be done in the program is stored
//! until the call is answered.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::descriptors::{Closed, KnownSets, Sought};
use crate::kernel::{Borrowed, MayBlock, lock, may_block};
use crate::memory::copies::Copier;
use vb3_frontend::{Bytes, Errno, FdIdentity, MAX_GATHERED, Need, NumberAt, Write};

/// Maximum number of bytes copied for one call.
const MAX_BYTES: usize = MAX_GATHERED as usize;
/// Maximum number of times that memory is copied for one call.
const ROUNDS: u32 = 64;
/// If a call's data had more bytes than this, its memory is freed when the call is over, instead of kept for the
/// next call.
const MAX_KEPT: usize = 16 << 10;
/// Bytes read before and after the needed address, within its page. A structure and the array that it
/// points to are usually adjacent on a stack. A `v4l2_buffer` with all its planes has 600 bytes.
const AROUND: u64 = 768;
/// The smallest page size.
const PAGE: u64 = 4096;

const MISSING: Errno = Errno::NOT_GATHERED;

/// A descriptor's number, and the requested events.
type Polled = (i32, i16);

/// A file to install in the program when its call is answered. Dropping it ends the file, which is reported.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) fd: OwnedFd,
    pub(crate) cloexec: bool,
    pub(crate) number: NumberAt,
    /// Whether the file is a device's, which should have a reserved number.
    pub(crate) is_device: bool,
}

/// A file of a poll that is not the supervisor's.
#[derive(Clone, Debug)]
pub(crate) enum Foreign {
    /// A file that is always ready.
    Ready,
    /// A borrowed file that the kernel polls.
    Other(Arc<Borrowed>),
    /// A borrowed regular file, directory, epoll set or CUSE device. It is polled without the lock: a program may
    /// serve the file (FUSE, CUSE), and an epoll_wait may hold the set's own lock for long.
    Slow(Arc<Borrowed>),
    /// A signalfd with these signals. The kernel would poll it for the supervisor's own signals.
    Signals(u64),
    /// A file that could not be borrowed. The calling thread must send the descriptor; if it cannot, the entry
    /// is never ready.
    Unknown,
}

/// Files behind a poll's descriptors. `Foreign` says how to poll a file that is not the supervisor's.
type Found = BTreeMap<i32, Result<(FdIdentity, Foreign), Errno>>;

/// The data collected for one call, and the requests for more.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// When the supervisor first processed the call.
    came: Option<Instant>,
    pub(crate) found: Found,
    /// Descriptors of a poll that must be looked up before the call is repeated.
    pub(crate) to_look: Vec<i32>,
    /// Files that are in epoll sets and whose last descriptor the call closes, if they were looked up.
    pub(crate) ends: Option<Vec<Closed>>,
    /// The epoll set that the call names, if it was sought.
    pub(crate) set: Option<Result<Sought, Errno>>,
    /// The sets among which the call's set must be sought before the call is repeated.
    pub(crate) to_seek: Option<KnownSets>,
    /// The program's data that was gathered for the devices.
    pub(crate) have: vb3_frontend::Gathered,
    bytes: usize,
    /// What the devices lacked in the last step.
    pub(crate) need: Need,
    rounds: u32,
    pub(crate) writes: Vec<Write>,
    pub(crate) installs: Vec<Ready>,
    /// Descriptors that the thread sent for this call (see `process::lend`).
    lent: Vec<(i32, Borrowed)>,
    wanted: Vec<i32>,
    sends_none: bool,
    /// Files that must be polled before the call is repeated.
    to_poll: Vec<(Polled, Arc<Borrowed>)>,
    polled: BTreeMap<Polled, i16>,
}

impl Data {
    /// Empties all lists, but keeps their memory.
    fn clear(&mut self) {
        self.end_attempt();
        self.have.clear();
        self.installs.clear();
        self.lent.clear();
        self.found.clear();
        self.polled.clear();
        (self.came, self.ends, self.set) = (None, None, None);
        (self.bytes, self.rounds, self.sends_none) = (0, 0, false);
    }

    /// Drops what an attempt of the step has requested and written.
    fn end_attempt(&mut self) {
        self.writes.clear();
        self.need.bytes.clear();
        self.need.descriptors.clear();
        self.need.ranges.clear();
        self.wanted.clear();
        self.to_poll.clear();
        self.to_look.clear();
        self.to_seek = None;
    }

    fn lacks(&self) -> bool {
        !(self.wanted.is_empty()
            && self.to_poll.is_empty()
            && self.to_look.is_empty()
            && self.to_seek.is_none()
            && self.need.is_empty())
    }
}

/// A copy of a part of a program's memory.
struct Part {
    addr: u64,
    bytes: Vec<u8>,
    /// Whether the byte after the part cannot be read.
    ends: bool,
}

impl Part {
    /// Copies `len` bytes at `addr`, and bytes around them, to `bytes`. Also returns EPERM if the kernel forbids
    /// reads of the program's memory.
    fn copied(
        memory: Copier<'_>,
        (addr, len): (u64, usize),
        mut bytes: Vec<u8>,
    ) -> (Self, Result<(), Errno>) {
        let in_page = addr % PAGE;
        let (before, after) = (AROUND.min(in_page), AROUND.min(PAGE - in_page));
        let small = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        let wanted = small(before).saturating_add(len.max(small(after)));
        bytes.clear();
        bytes.resize(wanted, 0);
        let got = memory.copy_in_some(addr - before, &mut bytes);
        bytes.truncate(got.unwrap_or(0));
        let ends = bytes.len() < wanted;
        // For a missing page, reports the fault at the requested address.
        let addr = addr - if bytes.is_empty() { 0 } else { before };
        let refused = got.err().filter(|e| *e == Errno(libc::EPERM));
        (Self { addr, bytes, ends }, refused.map_or(Ok(()), Err))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gathered(Mutex<Data>);

impl Gathered {
    /// Empties the data of a call that is over, and keeps the allocated memory, so that the next call need not
    /// allocate any. Returns `None` if other threads still use the data, or if the call had so much of it that its
    /// memory should be freed.
    pub(crate) fn emptied(mut this: Arc<Self>) -> Option<Arc<Self>> {
        let data = Arc::get_mut(&mut this)?.0.get_mut().ok()?;
        if data.bytes > MAX_KEPT {
            return None;
        }
        data.clear();
        Some(this)
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        lock(&self.0)
    }

    /// Returns when the supervisor first processed the call. If the program saw a file's end before it made
    /// the call, the file has ended by this time.
    pub(crate) fn came(&self) -> Instant {
        *self.data().came.get_or_insert_with(Instant::now)
    }

    /// Clears the recorded requests and writes, because a new attempt of the step under the lock begins.
    pub(crate) fn begin(&self) {
        self.data().end_attempt();
    }

    /// Drops all copies, since the call has transferred a piece. The next piece gets the full limits again.
    pub(crate) fn forget_parts(&self) {
        let mut inner = self.data();
        inner.have.forget_bytes();
        (inner.bytes, inner.rounds) = (0, 0);
    }

    /// Returns whether the call missed something and must be repeated.
    pub(crate) fn lacks(&self) -> bool {
        self.data().lacks()
    }

    /// Takes the poll results of these files: a result is used only once. If the result of one file is missing,
    /// returns `None`, and records that all these files must be polled before the call is repeated.
    pub(crate) fn take_polled<'a>(
        &self,
        files: impl Iterator<Item = (Polled, &'a Arc<Borrowed>)> + Clone,
    ) -> Option<BTreeMap<Polled, i16>> {
        let mut inner = self.data();
        if files.clone().all(|(at, _)| inner.polled.contains_key(&at)) {
            return Some(core::mem::take(&mut inner.polled));
        }
        let files = files.map(|(at, file)| (at, Arc::clone(file)));
        inner.to_poll.extend(files);
        None
    }

    /// Stores descriptors that the thread has sent. An empty list means that it cannot send descriptors.
    pub(crate) fn lend(&self, fds: Vec<(i32, OwnedFd)>) {
        let mut inner = self.data();
        inner.sends_none = fds.is_empty();
        let borrowed = fds.into_iter().map(|(number, fd)| (number, fd.into()));
        inner.lent = borrowed.collect();
        inner.wanted.clear();
    }

    pub(crate) fn has_lent(&self) -> bool {
        !self.data().lent.is_empty()
    }

    /// Duplicates a descriptor that the thread has sent, or records that the thread must send it. Returns EPERM
    /// if the thread cannot send descriptors, EMFILE if the supervisor has no number left, and `MISSING` until
    /// the thread has sent this descriptor.
    pub(crate) fn lent(&self, fd: i32) -> Result<Borrowed, Errno> {
        let mut inner = self.data();
        if let Some((_, file)) = inner.lent.iter().find(|(number, _)| *number == fd) {
            return file.try_clone();
        }
        if inner.sends_none {
            return Err(Errno(libc::EPERM));
        }
        if !inner.wanted.contains(&fd) {
            inner.wanted.push(fd);
        }
        Err(MISSING)
    }

    /// Duplicates a descriptor that the thread has sent.
    pub(crate) fn lent_already(&self, fd: i32) -> Option<Borrowed> {
        let inner = self.data();
        let lent = inner.lent.iter().find(|(number, _)| *number == fd);
        lent.and_then(|(_, file)| file.try_clone().ok())
    }

    /// Returns all descriptors to request, including those already sent; empty if no more are needed.
    pub(crate) fn wanted(&self) -> Vec<i32> {
        let inner = self.data();
        if inner.wanted.is_empty() {
            return Vec::new();
        }
        let lent = inner.lent.iter().map(|(number, _)| *number);
        lent.chain(inner.wanted.iter().copied()).collect()
    }

    /// Reads from the copies. Records a range that is not copied yet, and fails with `MISSING`.
    pub(crate) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let mut inner = self.data();
        if let Some(bytes) = inner.have.bytes(addr, out.len()) {
            out.copy_from_slice(bytes?);
            return Ok(());
        }
        if inner.bytes.saturating_add(out.len()) > MAX_BYTES || inner.rounds >= ROUNDS {
            return Err(Errno(libc::ENOMEM));
        }
        inner.need.bytes.push((addr, out.len() as u64));
        Err(MISSING)
    }

    /// Records a range that the call will read in pieces, so that one copy serves them all. Ignores a range
    /// that is too large: its pieces are copied one by one. Fails with `MISSING` if the range is not copied
    /// yet.
    pub(crate) fn prepare(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let mut inner = self.data();
        let noted = inner.need.bytes.iter().map(|&(_, len)| len);
        let bytes = noted.fold(
            (inner.bytes as u64).saturating_add(len),
            u64::saturating_add,
        );
        let fits = bytes <= MAX_GATHERED && inner.rounds < ROUNDS;
        let is_known = |len| inner.have.bytes(addr, len).is_some();
        if !fits || usize::try_from(len).is_ok_and(is_known) {
            return Ok(());
        }
        inner.need.bytes.push((addr, len));
        Err(MISSING)
    }

    /// Records what the devices lack. Returns false if this cannot be gathered: it is too much.
    pub(crate) fn ask(&self, need: Need) -> bool {
        let mut inner = self.data();
        let bytes = need.bytes.iter().chain(&need.ranges).map(|&(_, len)| len);
        let bytes = bytes.fold(inner.bytes as u64, u64::saturating_add);
        let is_possible = inner.rounds < ROUNDS && (need.bytes.is_empty() || bytes <= MAX_GATHERED);
        if is_possible {
            inner.need = need;
        }
        is_possible
    }

    /// Stores data that `copy_out` later writes to the program's memory.
    pub(crate) fn write(&self, addr: u64, data: &[u8]) {
        self.data().writes.push(Write {
            addr,
            bytes: Bytes::copy(data),
            is_needed: true,
        });
    }

    /// Stores data that `copy_out` later writes to the program's memory. If this write fails, the call does not
    /// fail.
    pub(crate) fn try_write(&self, addr: u64, data: Vec<u8>) {
        self.data().writes.push(Write {
            addr,
            bytes: Bytes::Own(data),
            is_needed: false,
        });
    }

    /// Takes the descriptors of a poll that must be looked up, and the sets among which a set must be sought. Returns
    /// what the devices lack besides memory.
    pub(crate) fn other_needs(&self) -> (Vec<i32>, Option<KnownSets>, Need) {
        let mut inner = self.data();
        let to_look = core::mem::take(&mut inner.to_look);
        (to_look, inner.to_seek.take(), inner.need.clone())
    }

    /// If the call's last step lacked nothing, returns the files of a poll that were looked up for it.
    pub(crate) fn end_step(&self) -> Option<Found> {
        let mut inner = self.data();
        (!inner.lacks()).then(|| core::mem::take(&mut inner.found))
    }

    /// Copies the `expected` range and all recorded ranges, and polls files. May block on the program. Returns
    /// EPERM if the kernel forbids reads of the program's memory: the call then treats this memory as missing.
    pub(crate) fn gather(
        &self,
        may: &MayBlock,
        memory: Copier<'_>,
        expected: impl IntoIterator<Item = (u64, usize)>,
    ) -> Result<(), Errno> {
        let mut inner = self.data();
        inner.rounds += u32::from(!inner.need.is_empty());
        // The thread was already asked if possible, so descriptors still wanted will never come.
        inner.sends_none |= !inner.wanted.is_empty();
        inner.wanted.clear();
        let asked = core::mem::take(&mut inner.to_poll);
        let wanted = core::mem::take(&mut inner.need.bytes);
        if !asked.is_empty() {
            drop(inner);
            let files = asked.iter().map(|((_, events), file)| (file, *events));
            let found = may_block::poll(may, &files.collect::<Vec<_>>());
            let found = asked.iter().map(|(at, _)| *at).zip(found);
            inner = self.data();
            inner.polled.extend(found);
        }
        let small = |(addr, len)| Some((addr, usize::try_from(len).ok()?));
        let wanted = wanted.into_iter().filter_map(small).chain(expected);
        let mut refused = Ok(());
        for (addr, len) in wanted {
            if inner.have.bytes(addr, len).is_some() {
                continue;
            }
            let room = inner.have.take_room();
            drop(inner);
            let (part, got) = Part::copied(memory, (addr, len), room);
            refused = refused.and(got);
            inner = self.data();
            inner.bytes = inner.bytes.saturating_add(part.bytes.len());
            inner.have.add_bytes(part.addr, part.bytes, part.ends);
        }
        refused
    }

    /// Writes the stored data to the program's memory. May block on the program. Fails with EFAULT or EPERM if
    /// some could not be written.
    pub(crate) fn copy_out(&self, memory: Copier<'_>) -> Result<(), Errno> {
        let mut writes = core::mem::take(&mut self.data().writes);
        if writes.is_empty() {
            return Ok(());
        }
        let mut done = Ok(());
        if !memory.copy_all_out(&writes) {
            // As the kernel does, writes everything that is writable.
            for write in &writes {
                let made = memory.copy_out(write.addr, &write.bytes);
                done = done.and(if write.is_needed { made } else { Ok(()) });
            }
        }
        writes.clear();
        self.data().have.give_room(writes);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::CopyMethod;

    fn own(may: &MayBlock) -> Copier<'_> {
        Copier::new(may, CopyMethod::Calls, std::process::id())
    }

    fn addr(data: &[u8]) -> u64 {
        data.as_ptr().expose_provenance() as u64
    }

    #[test]
    fn what_is_missing_is_gathered_and_then_there() {
        let data = *b"0123456789";
        let may = MayBlock::of_this_thread();
        let gathered = Gathered::default();
        gathered.begin();
        let mut out = [0; 4];
        assert_eq!(gathered.read(addr(&data) + 2, &mut out), Err(MISSING));
        assert!(gathered.lacks());
        gathered.gather(&may, own(&may), None).expect("readable");
        gathered.begin();
        assert_eq!(gathered.read(addr(&data) + 2, &mut out), Ok(()));
        assert_eq!((out, gathered.lacks()), (*b"2345", false));
        assert_eq!(gathered.read(8, &mut out), Err(MISSING));
        gathered.gather(&may, own(&may), None).expect("readable");
        gathered.begin();
        let fault = Err(Errno(libc::EFAULT));
        assert_eq!(gathered.read(8, &mut out), fault);
        assert!(!gathered.lacks());
    }

    #[test]
    fn only_last_round_writes_are_copied_out() {
        let may = MayBlock::of_this_thread();
        let mut data = [0u8; 4];
        let at = data.as_mut_ptr().expose_provenance() as u64;
        let gathered = Gathered::default();
        gathered.begin();
        gathered.write(at, &[1]);
        gathered.begin();
        gathered.write(at + 1, &[2, 3]);
        assert_eq!(std::hint::black_box(data), [0; 4]);
        assert_eq!(gathered.copy_out(own(&may)), Ok(()));
        assert_eq!(std::hint::black_box(&data), &[0, 2, 3, 0]);
        gathered.write(8, &[1]);
        assert_eq!(gathered.copy_out(own(&may)), Err(Errno(libc::EFAULT)));
    }

    #[test]
    fn adjoining_bytes_are_gathered_too() {
        // SAFETY: a new mapping at an address that the kernel chooses, whose second page cannot be
        // read.
        let pages = unsafe {
            let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let two = 2 * PAGE as usize;
            let at = libc::mmap(std::ptr::null_mut(), two, prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            libc::mprotect(at.byte_add(PAGE as usize), PAGE as usize, libc::PROT_NONE);
            at.expose_provenance() as u64
        };
        let read = |gathered: &Gathered, addr| {
            let mut out = [9; 2];
            gathered.read(addr, &mut out).map(|()| out)
        };
        let may = MayBlock::of_this_thread();
        let gathered = Gathered::default();
        gathered.begin();
        let middle = pages + 1000;
        assert_eq!(read(&gathered, middle), Err(MISSING));
        gathered.gather(&may, own(&may), None).expect("readable");
        gathered.begin();
        for near in [middle - AROUND, middle, middle + AROUND - 2] {
            assert_eq!(read(&gathered, near), Ok([0; 2]));
        }
        assert_eq!(read(&gathered, middle - AROUND - 1), Err(MISSING));
        gathered.begin();
        let fault = Err(Errno(libc::EFAULT));
        for beyond in [pages + PAGE, pages + PAGE + 100, pages + PAGE - 1] {
            assert_eq!(read(&gathered, beyond), Err(MISSING));
            gathered.gather(&may, own(&may), None).expect("readable");
            gathered.begin();
            assert_eq!(read(&gathered, beyond), fault);
            assert!(!gathered.lacks());
        }
        assert_eq!(read(&gathered, pages + PAGE - 2), Ok([0; 2]));
    }

    #[test]
    fn of_several_writes_all_are_made_that_can_be() {
        let may = MayBlock::of_this_thread();
        let mut data = [0u8; 4];
        let at = data.as_mut_ptr().expose_provenance() as u64;
        for (bad, wanted) in [(None, Ok(())), (Some(8), Err(Errno(libc::EFAULT)))] {
            let gathered = Gathered::default();
            gathered.begin();
            let write = |addr, bytes: &[u8]| gathered.write(addr, bytes);
            write(at, &[1, 2]);
            if let Some(bad) = bad {
                write(bad, &[7]);
            }
            // Of two writes to one place, the later one counts.
            write(at + 1, &[3, 4]);
            assert_eq!(gathered.copy_out(own(&may)), wanted);
            assert_eq!(std::hint::black_box(&data), &[1, 3, 4, 0]);
            data = [0; 4];
        }
    }
}
