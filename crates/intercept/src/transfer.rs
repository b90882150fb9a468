//! read and write in all their forms. Devices have no position: pread is read.

use crate::dispatch::verdict;
use crate::files::Target;
use crate::host::Call;
use crate::listener::{Notif, Reply};
use crate::pending::{Kind, Waiting};
use crate::serve::{Server, Verdict};
use vb3_host::{Caller as _, Errno, FileId, Outcome};

/// UIO_MAXIOV.
const SEGMENTS: u64 = 1024;
/// MAX_RW_COUNT: what one call moves at most.
const MOST: u64 = 0x7fff_f000;

/// A read or write of a device file.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) file: FileId,
    write: bool,
    segments: Vec<(u64, u64)>,
    nonblocking: bool,
}

impl Transfer {
    /// Has all of a vector gathered before any of it is used: a call that came upon something
    /// missing in a later segment would write the first ones twice.
    fn prepare(&self, call: &Call<'_>) -> Result<(), Errno> {
        let mut missing = Ok(());
        for &(addr, len) in &self.segments {
            missing = missing.and(call.prepare_read(addr, len));
        }
        missing
    }
}

impl Server<'_> {
    pub(crate) fn transfer(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        if self.holds_nothing() {
            return Ok(Verdict::native());
        }
        let write = matches!(
            n.nr,
            libc::SYS_write
                | libc::SYS_writev
                | libc::SYS_pwrite64
                | libc::SYS_pwritev
                | libc::SYS_pwritev2
        );
        let call = Call::new(&self.host, n);
        let Ok(look) = call.look(n.int(0)) else {
            return Ok(Verdict::native());
        };
        let file = match self.target(look.id) {
            Target::Other => return Ok(Verdict::native()),
            Target::Node(_) => return Err(Errno(libc::EBADF)),
            Target::Device(file) => file,
            Target::Buffer(_) => return Err(Errno(libc::EINVAL)),
        };
        let unwanted = if write {
            libc::O_RDONLY
        } else {
            libc::O_WRONLY
        };
        let flags = look.flags()?;
        if flags & libc::O_ACCMODE == unwanted {
            return Err(Errno(libc::EBADF));
        }
        let positioned = matches!(
            n.nr,
            libc::SYS_pread64 | libc::SYS_pwrite64 | libc::SYS_preadv | libc::SYS_pwritev
        );
        if positioned && n.arg(3).cast_signed() < 0 {
            return Err(Errno(libc::EINVAL));
        }
        let segments = segments(&call)?;
        let nonblocking = flags & libc::O_NONBLOCK != 0;
        let transfer = Transfer {
            file,
            write,
            segments,
            nonblocking,
        };
        let done = self.move_once(n, &transfer);
        Ok(verdict(done, || {
            Waiting::new(n, Kind::Transfer(transfer), look.fd)
        }))
    }

    /// Segment by segment, as the kernel does for files that know no vectors: a short one ends it.
    fn move_once(&mut self, n: &Notif, t: &Transfer) -> Outcome {
        let call = Call::new(&self.host, n);
        if t.write
            && t.segments.len() > 1
            && let Err(missing) = t.prepare(&call)
        {
            return Outcome::Fail(missing);
        }
        let mut done = 0i64;
        for (i, &(addr, len)) in t.segments.iter().enumerate() {
            let outcome = if t.write {
                self.backend.write(t.file, addr, len, t.nonblocking, &call)
            } else {
                self.backend.read(t.file, addr, len, t.nonblocking, &call)
            };
            match outcome {
                Outcome::Done(part) => {
                    done = done.saturating_add(part);
                    if u64::try_from(part) != Ok(len) {
                        break;
                    }
                }
                Outcome::Fail(_) | Outcome::Wait if i > 0 && done > 0 => break,
                refused => {
                    self.refresh(t.file);
                    return refused;
                }
            }
        }
        self.refresh(t.file);
        Outcome::Done(done)
    }

    /// Tries a waiting read or write once more.
    pub(crate) fn transfer_again(&mut self, n: &Notif, t: &Transfer) -> Option<Reply> {
        crate::dispatch::reply(self.move_once(n, t))
    }
}

/// The memory that a call names.
fn segments(call: &Call<'_>) -> Result<Vec<(u64, u64)>, Errno> {
    let n = call.notif;
    if matches!(
        n.nr,
        libc::SYS_read | libc::SYS_write | libc::SYS_pread64 | libc::SYS_pwrite64
    ) {
        if n.arg(2).cast_signed() < 0 {
            return Err(Errno(libc::EINVAL));
        }
        return Ok(vec![(n.arg(1), n.arg(2).min(MOST))]);
    }
    let count = n.arg(2);
    if count > SEGMENTS {
        return Err(Errno(libc::EINVAL));
    }
    let mut out = Vec::new();
    let mut left = MOST;
    for i in 0..count {
        let at = n.arg(1).checked_add(i * 16).ok_or(Errno(libc::EFAULT))?;
        let [a, b]: [[u8; 8]; 2] = [call.read_bytes(at)?, call.read_bytes(at + 8)?];
        let (addr, len) = (u64::from_ne_bytes(a), u64::from_ne_bytes(b));
        if len.cast_signed() < 0 {
            return Err(Errno(libc::EINVAL));
        }
        let len = len.min(left);
        left -= len;
        out.push((addr, len));
    }
    Ok(out)
}
