//! The bit sets of select and pselect6.

use crate::waiting::poll::Entry;
use vb3_host::{Caller, Errno};

/// Maximum number of descriptors in a set: the kernel's NR_OPEN.
pub(crate) const MAX_SELECTED: usize = 1 << 20;
/// Bits in a program's usual `fd_set`.
pub(crate) const FD_SETSIZE: usize = 1024;

const IN: i16 = libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLHUP | libc::POLLERR;
const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND | libc::POLLERR;
const PRI: i16 = libc::POLLPRI;
/// The events that each of the three sets reports.
pub(crate) const REPORTED: [i16; 3] = [IN, OUT, PRI];

/// The sets' addresses, and the descriptor of each polled entry.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) addrs: [u64; 3],
    pub(crate) bytes: usize,
    pub(crate) fds: Vec<usize>,
    /// For each entry, in which of the three sets it is.
    pub(crate) asked: Vec<[bool; 3]>,
}

impl Sets {
    /// Writes the three result sets. Returns the number of bits set in them.
    pub(crate) fn write(&self, call: &impl Caller, entries: &[Entry]) -> Result<usize, Errno> {
        let mut count = 0;
        for (i, (&addr, bits)) in self.addrs.iter().zip(REPORTED).enumerate() {
            let mut set = vec![0u8; self.bytes];
            for ((entry, &fd), asked) in entries.iter().zip(&self.fds).zip(&self.asked) {
                let asked = asked.get(i).copied().unwrap_or(false);
                if asked
                    && entry.revents & bits != 0
                    && let Some(byte) = set.get_mut(fd / 8)
                {
                    *byte |= 1 << (fd % 8);
                    count += 1;
                }
            }
            if addr != 0 {
                call.write(addr, &set)?;
            }
        }
        Ok(count)
    }
}
