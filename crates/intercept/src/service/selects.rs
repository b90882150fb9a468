//! Serves select and pselect6.

use super::polls;
use crate::kernel::{nr, procs};
use crate::process::{Notif, Reply};
use crate::service::host::Call;
use crate::service::serve::{Served, Server, Verdict};
use crate::waiting::{
    Entry, FD_SETSIZE, Form, MAX_SELECTED, REPORTED, Sets, Source, Wait, concerns_us,
};
use std::time::Duration;
use vb3_host::{Caller, Errno};

/// The events that each of the three sets asks for.
const ASKED: [i16; 3] = [
    libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND,
    libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND,
    libc::POLLPRI,
];

impl Server<'_> {
    pub(crate) fn select(&mut self, n: &Notif) -> Served {
        let Ok(count) = usize::try_from(n.int(0)) else {
            return Err(Reply::Fail(libc::EINVAL));
        };
        if self.holds_nothing() {
            return Ok(Verdict::native());
        }
        let call = Call::new(&self.host, n);
        // Bits beyond the thread's descriptor table are neither read nor written.
        let mut count = match count {
            0..=FD_SETSIZE => count,
            _ => count.min(table_size(n.tid)?),
        };
        let bytes = count.div_ceil(64) * 8;
        let addrs = [n.arg(1), n.arg(2), n.arg(3)];
        let mut sets = [const { Vec::new() }; 3];
        for (set, addr) in sets.iter_mut().zip(addrs) {
            *set = vec![0u8; bytes];
            if addr != 0 && call.read(addr, set).is_err() {
                return Ok(Verdict::native());
            }
        }
        let (mut entries, mut fds, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for fd in 0.. {
            if fd >= count {
                break;
            }
            let has = |set: &Vec<u8>| set.get(fd / 8).is_some_and(|b| b & (1 << (fd % 8)) != 0);
            let wanted = [0, 1, 2].map(|i: usize| sets.get(i).is_some_and(has));
            if wanted == [false; 3] {
                continue;
            }
            let number = i32::try_from(fd).unwrap_or(-1);
            let source = self.source(&call, number);
            if matches!(source, Source::Bad) {
                count = count.min(table_size(n.tid)?);
                if fd < count {
                    return Err(Reply::Fail(libc::EBADF));
                }
                break;
            }
            let union = |of: [i16; 3]| {
                let of = wanted.into_iter().zip(of).filter(|(is_in, _)| *is_in);
                of.fold(0, |all, (_, bits)| all | bits)
            };
            entries.push(Entry {
                fd: number,
                events: union(ASKED),
                ends_at: union(REPORTED),
                source,
                revents: 0,
            });
            fds.push(fd);
            asked.push(wanted);
        }
        if !concerns_us(&entries) {
            return Ok(Verdict::native());
        }
        let wait = select_wait(&call)?;
        let sets = Sets {
            addrs,
            bytes: count.div_ceil(64) * 8,
            fds,
            asked,
        };
        self.poll_entries(n, entries, Form::Select(sets), wait)
    }
}

/// Returns the size of a thread's descriptor table, in descriptors.
///
/// Source: Linux 7.2 fs/select.c `core_sys_select`, fs/proc/array.c `task_state`.
fn table_size(tid: u32) -> Result<usize, Errno> {
    let size = procs::status(tid, "FDSize:")?;
    Ok(usize::try_from(size)
        .unwrap_or(MAX_SELECTED)
        .min(MAX_SELECTED))
}

fn select_wait(call: &Call<'_>) -> Result<Wait, Errno> {
    let n = call.notif;
    let at = n.arg(4);
    if n.nr == nr::SELECT {
        // The kernel accepts any number of microseconds here.
        let time = polls::time(call, at, i64::from(u32::MAX))?;
        let time = time.and_then(|(secs, micros)| {
            Duration::from_secs(secs).checked_add(Duration::from_micros(micros.into()))
        });
        return Ok(Wait {
            time,
            remaining: (at != 0).then_some((at, true)),
            mask: None,
        });
    }
    let mask = if n.arg(5) == 0 {
        None
    } else {
        let [addr, size]: [[u8; 8]; 2] = [
            call.read_bytes(n.arg(5))?,
            call.read_bytes(n.arg(5).wrapping_add(8))?,
        ];
        polls::mask(call, u64::from_ne_bytes(addr), u64::from_ne_bytes(size))?
    };
    let time = polls::timespec(call, at)?;
    Ok(Wait {
        time,
        remaining: (at != 0).then_some((at, false)),
        mask,
    })
}
