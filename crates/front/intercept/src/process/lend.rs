//! Borrows descriptors from a program if pidfd_getfd is refused, as in containers by default: the
//! calling thread sends the descriptors itself.
//!
//! The supervisor answers the thread's call so that the kernel restarts it, and stops the thread before the
//! restart. It then makes the stopped thread perform calls. The thread maps a page with a message, which the
//! supervisor shares with it. The thread sends the message, with the descriptors, over a socket. It unmaps
//! the page and closes the descriptors of page and socket. Then it repeats its call, and the supervisor has
//! the descriptors. The thread's own memory is not changed.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SocketFlags, SocketType};

use crate::kernel::{MayBlock, arch, lock, raw};
use crate::process::rewrite;
use crate::process::{ERESTARTNOINTR, InStead, Listener, Notif, PASS, Reply};
use crate::program::ExitReport;
use vb3_frontend::Errno;

/// Maximum number of descriptors requested from a thread: the kernel's limit for one message.
pub(crate) const MAX_LENT: usize = 253;

/// Address of the temporary page, if free. The address is far from the program's mappings, because another
/// thread may be about to map something in a gap near them.
const PLACE: u64 = 0x2b00_0000_0000;

/// How long a thread may take to repeat its call before its descriptors are dropped.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// Descriptors that a thread sent for one call.
#[derive(Debug)]
pub(crate) struct Lent {
    nr: i64,
    args: [u64; 6],
    pub(crate) fds: Vec<(i32, OwnedFd)>,
    at: Instant,
}

/// Descriptors from threads that have not repeated their calls yet.
#[derive(Debug, Default)]
pub(crate) struct Lending(Mutex<HashMap<u32, Lent>>);

impl Lending {
    /// Stores a thread's descriptors, and drops descriptors of threads that never repeated their calls.
    pub(crate) fn keep(&self, tid: u32, lent: Lent) {
        let mut all = lock(&self.0);
        let is_late = |_: &u32, lent: &mut Lent| lent.at.elapsed() >= REPEAT_TIMEOUT;
        let late: Vec<_> = all.extract_if(is_late).collect();
        let former = all.insert(tid, lent);
        // The descriptors are closed without the lock, which every call takes, because a close may wait.
        drop(all);
        drop((late, former));
    }

    /// Takes the descriptors that the thread sent for this call. Drops descriptors that were sent for
    /// another call. That happens if a signal handler makes a call before the interrupted call is repeated,
    /// or if a new thread has the id of an ended one.
    pub(crate) fn take(&self, n: &Notif) -> Option<Lent> {
        let lent = lock(&self.0).remove(&n.tid)?;
        (lent.nr == n.nr && lent.args == n.args).then_some(lent)
    }
}

/// Requests descriptors from the calling thread, at most [`MAX_LENT`]. Answers the thread's call so that the thread
/// repeats the call later. If the message's page cannot be installed, the call fails instead. `keep` gets the
/// descriptors before the thread continues. `keep` is not called if the call fails, the thread ends, or a signal
/// arrives first. Returns EPERM if the thread cannot be stopped, or the error of a failed system call of the
/// supervisor. The thread's call then still waits for its answer.
pub(crate) fn ask(
    may: &MayBlock,
    listener: &Listener,
    n: &Notif,
    asked: &[i32],
    keep: impl FnOnce(Lent),
) -> Result<Option<ExitReport>, Errno> {
    let (ours, theirs) = raw::socket_pair(SocketType::DGRAM, SocketFlags::NONBLOCK)?;
    let page = raw::memfd(c"vb3-lend")?;
    let len = arch::page_size();
    rustix::fs::ftruncate(&page, len).map_err(raw::err)?;
    let stopped = rewrite::seize(n.tid).map_err(|_| Errno(libc::EPERM))?;
    let install = |fd: &OwnedFd| listener.add_fd(n.id, fd.as_fd(), None, true);
    let installed = install(&page).map(|page| (page, install(&theirs)));
    let lent = |fds| Lent {
        nr: n.nr,
        args: n.args,
        fds,
        at: Instant::now(),
    };
    let (remote_page, remote_socket) = match installed {
        Ok((page, Ok(socket))) => (page, socket),
        Ok((page, Err(_))) => {
            // Without the socket, as in a full descriptor table, the thread can send no descriptors. The
            // repeated call then finds an empty list.
            keep(lent(Vec::new()));
            listener.answer(n.id, Reply::Fail(ERESTARTNOINTR));
            return Ok(stopped.close(may, &[page]));
        }
        Err(e) => {
            listener.answer(n.id, Reply::Fail(e.0));
            return Ok(stopped.release(may));
        }
    };
    drop(theirs);
    if listener.send(n.id, Reply::Fail(ERESTARTNOINTR)).is_err() {
        return Ok(stopped.close(may, &[remote_page, remote_socket]));
    }
    let (_, ended) = stopped.in_its_stead(may, |thread| {
        let sent = send(thread, (remote_page, remote_socket), &page, asked)?;
        let files = sent.then(|| receive(&ours, asked.len())).flatten();
        let files = files.unwrap_or_default();
        keep(lent(asked.iter().copied().zip(files).collect()));
        Some(())
    });
    Ok(ended)
}

fn number(fd: i32) -> u64 {
    u64::from(fd.cast_unsigned())
}

/// Makes the thread map the page, send the page's message, and close the descriptors of page and socket.
/// Returns whether the message was sent, or `None` if the thread ended.
fn send(
    thread: &mut InStead<'_>,
    (remote_page, remote_socket): (i32, i32),
    page: &OwnedFd,
    fds: &[i32],
) -> Option<bool> {
    let rw = u64::from((libc::PROT_READ | libc::PROT_WRITE).cast_unsigned());
    let shared = u64::from(libc::MAP_SHARED.cast_unsigned());
    let (file, len) = (
        number(remote_page) | u64::from(PASS) << 32,
        arch::page_size(),
    );
    let mut sent = false;
    if let Ok(at) = thread.call(libc::SYS_mmap, [PLACE, len, rw, shared, file, 0])? {
        let message = message(at, fds);
        if rustix::io::pwrite(page, &message, 0) == Ok(message.len()) {
            let flags = u64::from(libc::MSG_NOSIGNAL.cast_unsigned());
            let args = [number(remote_socket), at, flags, 0, 0, 0];
            sent = thread.call(libc::SYS_sendmsg, args)?.is_ok();
        }
        thread.call(libc::SYS_munmap, [at, len, 0, 0, 0, 0])?.ok();
    }
    thread.close(number(remote_page))?;
    thread.close(number(remote_socket))?;
    Some(sent)
}

/// Offsets of the message's parts in the page.
const VECTOR: usize = 64;
const BYTE: usize = 96;
const CONTROL: usize = 128;

/// Builds a page for address `at`: a `struct msghdr` with its parts (one byte, and the descriptors).
fn message(at: u64, fds: &[i32]) -> Vec<u8> {
    let word = |value: u64| value.to_ne_bytes();
    let place = |offset: usize| word(at + offset as u64);
    let len = (size_of::<libc::cmsghdr>() + size_of_val(fds)) as u64;
    let mut out = Vec::new();
    // msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags.
    for part in [word(0), word(0), place(VECTOR), word(1), place(CONTROL)] {
        out.extend(part);
    }
    out.extend(word(len.next_multiple_of(8)));
    out.resize(VECTOR, 0);
    out.extend(place(BYTE));
    out.extend(word(1));
    out.resize(CONTROL, 0);
    out.extend(word(len));
    out.extend(libc::SOL_SOCKET.to_ne_bytes());
    out.extend(libc::SCM_RIGHTS.to_ne_bytes());
    fds.iter().for_each(|fd| out.extend(fd.to_ne_bytes()));
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// Receives the descriptors of one message, or `None` if their count is not `wanted`.
fn receive(socket: &OwnedFd, wanted: usize) -> Option<Vec<OwnedFd>> {
    let fds = raw::receive(socket.as_fd(), &mut [0], MAX_LENT, RecvFlags::DONTWAIT);
    let (_, fds) = fds.ok()?;
    (fds.len() == wanted).then_some(fds)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_message_is_one_that_the_kernel_takes() {
        let pair = raw::socket_pair(SocketType::DGRAM, SocketFlags::NONBLOCK);
        let (ours, theirs) = pair.expect("sockets");
        let files = [raw::memfd(c"a").expect("a"), raw::memfd(c"b").expect("b")];
        let fds: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let mut page = vec![0u64; 512];
        let at = page.as_mut_ptr().expose_provenance() as u64;
        for (word, bytes) in page.iter_mut().zip(message(at, &fds).chunks(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().expect("whole words"));
        }
        // SAFETY: the page holds a message that names parts of the page.
        let n = unsafe { libc::sendmsg(theirs.as_raw_fd(), page.as_ptr().cast(), 0) };
        assert_eq!(n, 1);
        let got = receive(&ours, 2).expect("two descriptors");
        for (got, sent) in got.iter().zip(&files) {
            let id = |fd: &OwnedFd| raw::identity(&raw::fstat(fd.as_fd()).expect("stat"));
            assert_eq!(id(got), id(sent));
        }
        assert!(receive(&ours, 0).is_none());
    }
}
