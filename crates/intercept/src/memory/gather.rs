//! What a call has of its program's memory: copied in before the call is applied, copied out after.
//!
//! A copy may wait for as long as the program likes (a page that a user-space handler fills, a file
//! on a file system that has stopped), so none is made while the world is locked. A call reads
//! from what was gathered for it; what is missing is noted, the call fails without having changed
//! anything, and is made anew once that is gathered, too. What it writes is kept until it is
//! answered.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use crate::descriptors::Closed;
use crate::kernel::Borrowed;
use crate::kernel::Look;
use crate::kernel::lock;
use crate::kernel::{MayBlock, may_block};
use crate::memory::copies::Way;
use vb3_host::Errno;

/// Bytes gathered for one call, at most.
const MOST: usize = 256 << 20;
/// Times that one call is made anew, at most.
const ROUNDS: u32 = 4096;
/// Read before and after what is needed, within a page: a structure and the array that it points to
/// mostly lie side by side on a stack, and a `v4l2_buffer` with all its planes has 600 bytes.
const AROUND: u64 = 768;
/// No page is smaller.
const PAGE: u64 = 4096;

/// What stands for a value that has not been gathered yet.
const MISSING: Errno = Errno::NOT_GATHERED;

/// A part of a program's memory, as it was.
#[derive(Debug)]
struct Part {
    addr: u64,
    bytes: Vec<u8>,
    /// The byte behind it cannot be read.
    fault: bool,
}

impl Part {
    /// Copies what is needed and what lies around it; EPERM for a program that may not be read.
    fn copied(
        may: &MayBlock,
        way: Way,
        tid: u32,
        addr: u64,
        len: usize,
    ) -> (Self, Result<(), Errno>) {
        let in_page = addr % PAGE;
        let (before, after) = (AROUND.min(in_page), AROUND.min(PAGE - in_page));
        let small = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        let wanted = small(before).saturating_add(len.max(small(after)));
        let mut bytes = vec![0; wanted];
        let got = way.copy_in_some(may, tid, addr - before, &mut bytes);
        bytes.truncate(got.unwrap_or(0));
        let fault = bytes.len() < wanted;
        // Of a page that is not there the fault is what is told, where it was asked for.
        let addr = if bytes.is_empty() {
            addr
        } else {
            addr - before
        };
        let refused = got.err().filter(|e| *e == Errno(libc::EPERM));
        (Self { addr, bytes, fault }, refused.map_or(Ok(()), Err))
    }

    /// Whether it tells of these bytes, or of the first that cannot be read.
    fn answers(&self, addr: u64, len: usize) -> bool {
        let at = addr
            .checked_sub(self.addr)
            .and_then(|at| usize::try_from(at).ok());
        at.is_some_and(|at| {
            let has = self.bytes.len();
            at.checked_add(len).is_some_and(|end| end <= has) || self.fault && at <= has
        })
    }

    fn copy(&self, addr: u64, out: &mut [u8]) -> Option<Result<(), Errno>> {
        let at = usize::try_from(addr.checked_sub(self.addr)?).ok()?;
        let end = at.checked_add(out.len())?;
        if let Some(bytes) = self.bytes.get(at..end) {
            out.copy_from_slice(bytes);
            return Some(Ok(()));
        }
        (self.fault && at <= self.bytes.len()).then_some(Err(Errno(libc::EFAULT)))
    }
}

/// A descriptor's number, and the events asked for.
type Polled = (i32, i16);

#[derive(Debug, Default)]
struct Inner {
    parts: Vec<Part>,
    bytes: usize,
    missing: Vec<(u64, usize)>,
    /// Ranges of which every page is to be there, and those of which it has been.
    absent: Vec<(u64, u64)>,
    touched: Vec<(u64, u64)>,
    rounds: u32,
    writes: Vec<(u64, Vec<u8>)>,
    /// Descriptors that the thread has sent for this call.
    lent: Vec<(i32, OwnedFd)>,
    /// Descriptors that it is to send.
    wanted: Vec<i32>,
    /// It sends none.
    sends_none: bool,
    /// It is to make a userfaultfd and to send that, too.
    wants_watch: bool,
    /// The number of a new descriptor could not be written back: none is installed.
    installs_none: bool,
    /// Files to poll, and what poll said of those that were, by number and events.
    to_poll: Vec<(Polled, Arc<Borrowed>)>,
    polled: HashMap<Polled, i16>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    inner: Mutex<Inner>,
    came: OnceLock<Instant>,
    /// What descriptors name that the call gives, as far as that was asked beside the lock.
    found: Mutex<HashMap<i32, Result<Look, Errno>>>,
    /// Files in epoll sets that end with the call, where that was looked for.
    ends: Mutex<Option<Vec<Closed>>>,
    /// The epoll set that the call names, where that was asked beside the lock.
    set: OnceLock<u64>,
}

impl Gathered {
    /// When the call was first seen to: what its program knows to have ended has ended before.
    pub(crate) fn came(&self) -> Instant {
        *self.came.get_or_init(Instant::now)
    }

    /// Keeps what a descriptor names for the step under the lock.
    pub(crate) fn keep_look(&self, fd: i32, look: Result<Look, Errno>) {
        lock(&self.found).insert(fd, look);
    }

    /// Keeps which files in epoll sets end with the call.
    pub(crate) fn keep_ends(&self, ends: Vec<Closed>) {
        *lock(&self.ends) = Some(ends);
    }

    /// What was kept of them, once.
    pub(crate) fn take_ends(&self) -> Option<Vec<Closed>> {
        lock(&self.ends).take()
    }

    /// Keeps which epoll set the call names.
    pub(crate) fn keep_set(&self, set: u64) {
        self.set.get_or_init(|| set);
    }

    /// That set.
    pub(crate) fn known_set(&self) -> Option<u64> {
        self.set.get().copied()
    }

    /// What was kept of a descriptor, once.
    pub(crate) fn take_look(&self, fd: i32) -> Option<Result<Look, Errno>> {
        lock(&self.found).remove(&fd)
    }

    /// Notes that the number of a new descriptor could not be written back.
    pub(crate) fn install_none(&self) {
        lock(&self.inner).installs_none = true;
    }

    /// Whether no descriptor may be installed.
    pub(crate) fn installs_none(&self) -> bool {
        lock(&self.inner).installs_none
    }

    /// From now on the program's memory is not touched.
    pub(crate) fn begin(&self) {
        let mut inner = lock(&self.inner);
        inner.writes.clear();
        inner.missing.clear();
        inner.wanted.clear();
        inner.wants_watch = false;
        inner.absent.clear();
        inner.to_poll.clear();
    }

    /// Lets go of what was gathered for a piece that has been moved.
    pub(crate) fn forget_parts(&self) {
        let mut inner = lock(&self.inner);
        inner.parts.clear();
        (inner.bytes, inner.rounds) = (0, 0);
    }

    /// Whether the call has come upon something that was not gathered, and is to be made anew.
    pub(crate) fn lacks(&self) -> bool {
        let inner = lock(&self.inner);
        let asks = !inner.wanted.is_empty() || inner.wants_watch || !inner.to_poll.is_empty();
        asks || !inner.missing.is_empty() || !inner.absent.is_empty()
    }

    /// What poll said of files, once. None where that is not known of each: then all are noted to be
    /// polled.
    pub(crate) fn take_polled<'a>(
        &self,
        files: impl Iterator<Item = (Polled, &'a Arc<Borrowed>)> + Clone,
    ) -> Option<HashMap<Polled, i16>> {
        let mut inner = lock(&self.inner);
        if files.clone().all(|(at, _)| inner.polled.contains_key(&at)) {
            return Some(core::mem::take(&mut inner.polled));
        }
        let files = files.map(|(at, file)| (at, Arc::clone(file)));
        inner.to_poll.extend(files);
        None
    }

    /// Polls the files noted. May wait for whoever serves them.
    fn poll(&self, may: &MayBlock) {
        let asked = core::mem::take(&mut lock(&self.inner).to_poll);
        if asked.is_empty() {
            return;
        }
        let files = asked
            .iter()
            .map(|((_, events), file)| (file.as_fd(), *events));
        let found = may_block::poll(may, &files.collect::<Vec<_>>());
        let found = asked.iter().map(|(at, _)| *at).zip(found);
        lock(&self.inner).polled.extend(found);
    }

    /// Notes that the thread is to make a userfaultfd; the error with which the call ends until then.
    pub(crate) fn want_watch(&self) -> Errno {
        lock(&self.inner).wants_watch = true;
        MISSING
    }

    /// Whether it is to make one.
    pub(crate) fn wants_watch(&self) -> bool {
        lock(&self.inner).wants_watch
    }

    /// Takes descriptors in that the thread has sent; without any, it sends none.
    pub(crate) fn lend(&self, fds: Vec<(i32, OwnedFd)>) {
        let mut inner = lock(&self.inner);
        inner.sends_none = fds.is_empty();
        inner.lent = fds;
        inner.wanted.clear();
    }

    /// A duplicate of a descriptor that the thread has sent; notes one that it is to send.
    ///
    /// # Errors
    /// EPERM where it sends none; ENOMEM for too many.
    pub(crate) fn lent(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let mut inner = lock(&self.inner);
        if let Some((_, file)) = inner.lent.iter().find(|(number, _)| *number == fd) {
            return file.try_clone().map_err(|_| Errno(libc::EMFILE));
        }
        if inner.sends_none {
            return Err(Errno(libc::EPERM));
        }
        if !inner.wanted.contains(&fd) {
            inner.wanted.push(fd);
        }
        Err(MISSING)
    }

    /// The descriptors that the thread is to send, those that it has sent among them.
    pub(crate) fn wanted(&self) -> Vec<i32> {
        let inner = lock(&self.inner);
        if inner.wanted.is_empty() {
            return Vec::new();
        }
        let lent = inner.lent.iter().map(|(number, _)| *number);
        lent.chain(inner.wanted.iter().copied()).collect()
    }

    /// Copies from what was gathered; notes what is missing.
    pub(crate) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        if out.is_empty() {
            return Ok(());
        }
        let mut inner = lock(&self.inner);
        if let Some(done) = inner.parts.iter().find_map(|part| part.copy(addr, out)) {
            return done;
        }
        if inner.bytes.saturating_add(out.len()) > MOST || inner.rounds >= ROUNDS {
            return Err(Errno(libc::ENOMEM));
        }
        inner.missing.push((addr, out.len()));
        Err(MISSING)
    }

    /// Notes what will be read, in pieces, unless it is gathered. What is too much is left to be
    /// gathered by the piece.
    ///
    /// # Errors
    /// It is missing.
    pub(crate) fn prepare(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let Ok(len) = usize::try_from(len) else {
            return Ok(());
        };
        let mut inner = lock(&self.inner);
        let noted = inner.missing.iter().map(|&(_, len)| len);
        let bytes = noted.fold(inner.bytes.saturating_add(len), usize::saturating_add);
        let fits = bytes <= MOST && inner.rounds < ROUNDS;
        if len == 0 || !fits || inner.parts.iter().any(|p| p.answers(addr, len)) {
            return Ok(());
        }
        inner.missing.push((addr, len));
        Err(MISSING)
    }

    /// Notes a range that a device will use, unless its pages have been seen to: one that nobody has
    /// filled would keep the device, and all programs, waiting. What is too much is left as it is.
    ///
    /// # Errors
    /// They have not.
    pub(crate) fn touch(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let mut inner = lock(&self.inner);
        let range = (addr, len);
        if len > MOST as u64 || inner.touched.contains(&range) {
            return Ok(());
        }
        inner.absent.push(range);
        Err(MISSING)
    }

    /// Keeps what is to be copied to the program's memory.
    pub(crate) fn write(&self, addr: u64, data: &[u8]) {
        lock(&self.inner).writes.push((addr, data.to_vec()));
    }

    /// Copies in what a call will read, or has missed. May wait for the program.
    ///
    /// # Errors
    /// EPERM for a program that may not be read at all: to the call, nothing is there.
    pub(crate) fn gather(
        &self,
        may: &MayBlock,
        way: Way,
        tid: u32,
        expected: Option<(u64, usize)>,
    ) -> Result<(), Errno> {
        let wanted = {
            self.poll(may);
            let mut inner = lock(&self.inner);
            let copies = !inner.missing.is_empty() || !inner.absent.is_empty();
            inner.rounds += u32::from(copies || expected.is_some());
            // Where it could have been asked, it has been.
            inner.sends_none |= !inner.wanted.is_empty();
            inner.wanted.clear();
            let mut wanted = core::mem::take(&mut inner.missing);
            wanted.extend(expected);
            wanted
        };
        let absent = core::mem::take(&mut lock(&self.inner).absent);
        for &(addr, len) in &absent {
            way.touch(may, tid, addr, len);
        }
        lock(&self.inner).touched.extend(absent);
        let mut refused = Ok(());
        for (addr, len) in wanted {
            let (part, got) = Part::copied(may, way, tid, addr, len);
            refused = refused.and(got);
            let mut inner = lock(&self.inner);
            inner.bytes = inner.bytes.saturating_add(part.bytes.len());
            inner.parts.push(part);
        }
        refused
    }

    /// Copies out what the call has written. May wait for the program.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn copy_out(&self, may: &MayBlock, way: Way, tid: u32) -> Result<(), Errno> {
        let writes = core::mem::take(&mut lock(&self.inner).writes);
        if writes.is_empty() || way.copy_all_out(may, tid, &writes) {
            return Ok(());
        }
        let mut done = Ok(());
        // All that can be written is, as the kernel does.
        for (addr, data) in writes {
            done = done.and(way.copy_out(may, tid, addr, &data));
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(data: &[u8]) -> u64 {
        data.as_ptr().expose_provenance() as u64
    }

    #[test]
    fn what_is_missing_is_gathered_and_then_there() {
        let (tid, data) = (std::process::id(), *b"0123456789");
        let may = MayBlock::of_this_thread();
        let gathered = Gathered::default();
        gathered.begin();
        let mut out = [0; 4];
        assert_eq!(gathered.read(addr(&data) + 2, &mut out), Err(MISSING));
        assert!(gathered.lacks());
        gathered
            .gather(&may, Way::Calls, tid, None)
            .expect("readable");
        gathered.begin();
        assert_eq!(gathered.read(addr(&data) + 2, &mut out), Ok(()));
        assert_eq!((out, gathered.lacks()), (*b"2345", false));
        assert_eq!(gathered.read(8, &mut out), Err(MISSING));
        gathered
            .gather(&may, Way::Calls, tid, None)
            .expect("readable");
        gathered.begin();
        let fault = Err(Errno(libc::EFAULT));
        assert_eq!(gathered.read(8, &mut out), fault);
        assert!(!gathered.lacks());
    }

    #[test]
    fn writes_come_at_the_end_and_only_those_of_the_last_round() {
        let may = MayBlock::of_this_thread();
        let tid = std::process::id();
        let mut data = [0u8; 4];
        let at = data.as_mut_ptr().expose_provenance() as u64;
        let gathered = Gathered::default();
        gathered.begin();
        gathered.write(at, &[1]);
        gathered.begin();
        gathered.write(at + 1, &[2, 3]);
        assert_eq!(std::hint::black_box(data), [0; 4]);
        assert_eq!(gathered.copy_out(&may, Way::Calls, tid), Ok(()));
        assert_eq!(std::hint::black_box(&data), &[0, 2, 3, 0]);
        gathered.write(8, &[1]);
        assert_eq!(
            gathered.copy_out(&may, Way::Calls, tid),
            Err(Errno(libc::EFAULT))
        );
    }

    #[test]
    fn what_lies_beside_it_is_gathered_with_it_as_far_as_there_is_any() {
        // SAFETY: a new mapping at an address of the kernel's choice, whose second page cannot be read.
        let pages = unsafe {
            let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let two = 2 * PAGE as usize;
            let at = libc::mmap(std::ptr::null_mut(), two, prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            libc::mprotect(at.byte_add(PAGE as usize), PAGE as usize, libc::PROT_NONE);
            at.expose_provenance() as u64
        };
        let tid = std::process::id();
        let read = |gathered: &Gathered, addr| {
            let mut out = [9; 2];
            gathered.read(addr, &mut out).map(|()| out)
        };
        let may = MayBlock::of_this_thread();
        let gathered = Gathered::default();
        gathered.begin();
        let middle = pages + 1000;
        assert_eq!(read(&gathered, middle), Err(MISSING));
        gathered
            .gather(&may, Way::Calls, tid, None)
            .expect("readable");
        gathered.begin();
        for near in [middle - AROUND, middle, middle + AROUND - 2] {
            assert_eq!(read(&gathered, near), Ok([0; 2]));
        }
        assert_eq!(read(&gathered, middle - AROUND - 1), Err(MISSING));
        gathered.begin();
        let fault = Err(Errno(libc::EFAULT));
        for beyond in [pages + PAGE, pages + PAGE + 100, pages + PAGE - 1] {
            assert_eq!(read(&gathered, beyond), Err(MISSING));
            gathered
                .gather(&may, Way::Calls, tid, None)
                .expect("readable");
            gathered.begin();
            assert_eq!(read(&gathered, beyond), fault);
            assert!(!gathered.lacks());
        }
        assert_eq!(read(&gathered, pages + PAGE - 2), Ok([0; 2]));
    }

    #[test]
    fn of_several_writes_all_are_made_that_can_be() {
        let may = MayBlock::of_this_thread();
        let tid = std::process::id();
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
            // Of two in one place the later counts.
            write(at + 1, &[3, 4]);
            assert_eq!(gathered.copy_out(&may, Way::Calls, tid), wanted);
            assert_eq!(std::hint::black_box(&data), &[1, 3, 4, 0]);
            data = [0; 4];
        }
    }
}
