//! Serves read and write of device files.

use crate::descriptors::Target;
use crate::process::Reply;
use crate::service::dispatch::verdict;
use crate::service::host::Call;
use crate::service::serve::{How, Served, Server, Verdict};
use crate::waiting::{Kind, MAX_BYTES, MAX_SEGMENTS, Transfer, Waiting};
use vb3_frontend::{CallOutcome, Errno, On, Op, PIECE_BYTES};

/// The only flag of preadv2 and pwritev2 that the kernel permits for a driver without `read_iter`.
///
/// Source: Linux 7.2 fs/read_write.c `do_loop_readv_writev`.
const RWF_HIPRI: i32 = 1;

#[derive(Clone, Copy)]
pub(crate) struct Moves {
    write: bool,
    is_vectored: bool,
    /// The lowest position that the call permits; `None` if it has none.
    lowest: Option<i64>,
}

/// preadv2 and pwritev2 also permit -1, the current position.
const CURRENT: Option<i64> = Some(-1);

impl Moves {
    /// Returns `None` for a call that neither reads nor writes.
    pub(crate) const fn of(number: i64) -> Option<Self> {
        let (write, is_vectored, lowest) = match number {
            libc::SYS_read => (false, false, None),
            libc::SYS_readv => (false, true, None),
            libc::SYS_pread64 => (false, false, Some(0)),
            libc::SYS_preadv => (false, true, Some(0)),
            libc::SYS_preadv2 => (false, true, CURRENT),
            libc::SYS_write => (true, false, None),
            libc::SYS_writev => (true, true, None),
            libc::SYS_pwrite64 => (true, false, Some(0)),
            libc::SYS_pwritev => (true, true, Some(0)),
            libc::SYS_pwritev2 => (true, true, CURRENT),
            _ => return None,
        };
        Some(Self {
            write,
            is_vectored,
            lowest,
        })
    }
}

impl Server<'_> {
    pub(crate) fn transfer(&mut self, n: &Call<'_>, moves: Moves) -> Served {
        let file = match self.named(n, 0).ok_or(Reply::Native)? {
            Target::Other => return Ok(Verdict::native()),
            Target::Node(_) => return Err(Reply::Fail(libc::EBADF)),
            Target::Device(file) => file,
            Target::Buffer(_) => return Err(Reply::Fail(libc::EINVAL)),
        };
        let unwanted = match moves.write {
            true => libc::O_RDONLY,
            false => libc::O_WRONLY,
        };
        let flags = self.flags_of(n, (file, n.int(0)))?;
        if flags & libc::O_ACCMODE == unwanted {
            return Err(Reply::Fail(libc::EBADF));
        }
        let position = n.arg(3).cast_signed();
        if moves.lowest.is_some_and(|lowest| position < lowest) {
            return Err(Reply::Fail(libc::EINVAL));
        }
        let segments = segments(n, moves.is_vectored)?;
        let is_empty = segments.iter().all(|(_, len)| *len == 0);
        if is_empty && moves.is_vectored {
            // Unlike read(), these calls do not reach a driver without a byte to move.
            return Ok(Verdict::value(0));
        }
        if moves.lowest == CURRENT && n.int(5) & !RWF_HIPRI != 0 {
            return Err(Reply::Fail(libc::EOPNOTSUPP));
        }
        let nonblocking = flags & libc::O_NONBLOCK != 0;
        let mut transfer = Transfer {
            file,
            write: moves.write,
            segments,
            nonblocking,
            progress: None,
        };
        let done = self.move_some(n, &mut transfer);
        Ok(verdict(done, || {
            Waiting::new(n, Kind::Transfer(transfer), None)
        }))
    }

    /// Moves the segments in order, as the kernel does for drivers without `read_iter`: a segment that is
    /// moved only in part ends the call. Moves at most one step's bytes, and records the position in `t`.
    pub(crate) fn move_some(&mut self, n: &Call<'_>, t: &mut Transfer) -> CallOutcome {
        let mut at = t.progress.unwrap_or_default();
        if t.write
            && t.segments.len() > 1
            && at.moved == 0
            && let Err(missing) = t.prepare(n)
        {
            return CallOutcome::Fail(missing);
        }
        let mut step = 0u64;
        for (i, &(addr, len)) in t.segments.iter().enumerate().skip(at.segment) {
            at.segment = i;
            let op = match (at.moved, t.write) {
                (moved @ 1.., _) => Op::Resume {
                    addr: addr.saturating_add(moved),
                },
                (0, true) => Op::Write { addr, len },
                (0, false) => Op::Read { addr, len },
            };
            let outcome = self.make_step(n, On::File(t.file), op, t.nonblocking);
            match outcome {
                CallOutcome::Part(bytes) => {
                    at.moved = at.moved.saturating_add(bytes.unsigned_abs());
                    t.progress = Some(at);
                    self.refresh(t.file);
                    return outcome;
                }
                CallOutcome::Done(part) => {
                    let part = part.saturating_add(at.moved.cast_signed());
                    at.moved = 0;
                    at.done = at.done.saturating_add(part);
                    step = step.saturating_add(part.unsigned_abs());
                    if u64::try_from(part) != Ok(len) {
                        break;
                    }
                    if step >= PIECE_BYTES && i + 1 < t.segments.len() {
                        at.segment = i + 1;
                        t.progress = Some(at);
                        self.refresh(t.file);
                        return CallOutcome::Part(part);
                    }
                }
                CallOutcome::Fail(_) if t.is_under_way() && n.gathered.lacks() => {
                    t.progress = Some(at);
                    return outcome;
                }
                // Repeating the whole call would write the earlier segments twice, so the call continues
                // at this segment.
                CallOutcome::Fail(_) if at.done > 0 && n.gathered.lacks() => {
                    n.gathered.begin();
                    t.progress = Some(at);
                    self.refresh(t.file);
                    return CallOutcome::Part(at.done);
                }
                CallOutcome::Fail(_) if i > 0 && at.done > 0 => break,
                CallOutcome::Wait if i > 0 && at.done > 0 => {
                    // The backend has recorded that the call waits. But the call returns now, with what it
                    // has moved, so the backend must forget the wait.
                    self.backend.abandon(t.file, n.call());
                    break;
                }
                refused => {
                    t.progress = None;
                    self.refresh(t.file);
                    return refused;
                }
            }
        }
        t.progress = None;
        self.refresh(t.file);
        CallOutcome::Done(at.done)
    }

    /// Continues a call with its next piece. Returns whether the call needs another round.
    /// `copied` is the result of copying the last piece, or of gathering missing memory.
    pub(crate) fn next_piece(&mut self, slot: u32, copied: Result<(), Errno>) -> bool {
        // The call is missing if its thread has ended meanwhile.
        let waiting = self.pending.slots.get(&slot);
        let Some((n, t)) = waiting.and_then(|waiting| match &waiting.kind {
            Kind::Transfer(t) if t.is_under_way() => Some((waiting.notif.clone(), t)),
            _ => None,
        }) else {
            return false;
        };
        let done = t.progress.unwrap_or_default().done;
        let tried = match copied {
            Ok(()) => self.try_once(slot),
            Err(e) => {
                self.give_up(slot);
                let reply = if done > 0 {
                    Reply::Value(done)
                } else {
                    e.into()
                };
                self.answer(&n, How::Reply(reply));
                None
            }
        };
        if let Some(How::Part(_)) = tried {
            n.gathered.forget_parts();
        }
        self.retry_changed();
        tried.is_some()
    }
}

/// Returns the memory segments (address, length) of a read or write call. Fails with EINVAL like the kernel.
fn segments(n: &Call<'_>, is_vectored: bool) -> Result<Vec<(u64, u64)>, Errno> {
    if !is_vectored {
        if n.arg(2).cast_signed() < 0 {
            return Err(Errno(libc::EINVAL));
        }
        return Ok(vec![(n.arg(1), n.arg(2).min(MAX_BYTES))]);
    }
    let count = n.arg(2);
    if count > MAX_SEGMENTS {
        return Err(Errno(libc::EINVAL));
    }
    let mut segments = n.read_vector(n.arg(1), count)?;
    let mut left = MAX_BYTES;
    for (_, len) in &mut segments {
        if len.cast_signed() < 0 {
            return Err(Errno(libc::EINVAL));
        }
        *len = (*len).min(left);
        left -= *len;
    }
    Ok(segments)
}
