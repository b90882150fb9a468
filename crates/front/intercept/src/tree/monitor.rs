//! Sockets on which programs receive hotplug events (`NETLINK_KOBJECT_UEVENT`).
//!
//! On a real netlink socket, only the kernel and udev may send, and all programs of the system
//! receive. So a program gets one end of a socket pair instead. The kernel handles poll, epoll, read()
//! and socket filters on the socket. The supervisor handles bind, getsockname and a message's sender,
//! which would show that this is no netlink socket. The socket only announces simulated devices.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use crate::kernel::raw;
use crate::tree::uevent::Uevent;
use rustix::net::{SendFlags, SocketFlags, SocketType};
use vb3_frontend::{Errno, FdIdentity};

/// Maximum number of monitor sockets at one time. Further sockets are real netlink sockets.
pub(crate) const MAX_MONITORS: usize = 1024;

/// Calls on descriptors that may be monitor sockets.
pub(crate) const CALLS: [i64; 7] = [
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
];

/// Makes a socket pair that keeps the borders of messages, and shows when the program has closed its end.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    raw::socket_pair(SocketType::SEQPACKET, SocketFlags::empty())
}

#[derive(Debug)]
pub(crate) struct Monitor {
    /// The supervisor's end of the socket pair.
    pub(crate) ours: OwnedFd,
    pub(crate) groups: u32,
    pub(crate) port: u32,
}

impl Monitor {
    /// Returns whether the program has closed its end.
    fn is_closed(&self) -> bool {
        raw::poll_now(self.ours.as_fd(), 0) & libc::POLLHUP != 0
    }

    pub(crate) fn send(&self, event: &Uevent) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // Ignores errors: a program that does not read misses events, as with a real socket.
        rustix::net::send(&self.ours, &event.bytes, flags).ok();
    }
}

/// All monitor sockets, by the identity of the program's end.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    pub(crate) all: HashMap<FdIdentity, Monitor>,
    /// The sequence number of the last event (SEQNUM).
    pub(crate) number: u64,
}

impl Monitors {
    pub(crate) fn add(&mut self, id: FdIdentity, ours: OwnedFd, port: u32) -> bool {
        self.all.retain(|_, monitor| !monitor.is_closed());
        let monitor = Monitor {
            ours,
            groups: 0,
            port,
        };
        self.all.len() < MAX_MONITORS && self.all.insert(id, monitor).is_none()
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Sends events in this order, each to the sockets that have joined the event's netlink group.
    pub(crate) fn send(&mut self, events: &[Uevent]) {
        self.all.retain(|_, monitor| !monitor.is_closed());
        for monitor in self.all.values() {
            let wanted = events.iter().filter(|e| e.group & monitor.groups != 0);
            wanted.for_each(|event| monitor.send(event));
        }
    }
}

/// Returns the `N` bytes at offset `at` of a structure, or zeros if they are not there.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let part = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    part.copied().unwrap_or([0; N])
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(field(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_sockets_make_room() {
        let mut monitors = Monitors::default();
        for _ in 0..3 {
            let (theirs, ours) = pair().unwrap();
            let (id, _) = raw::known(theirs.as_fd()).unwrap();
            assert!(monitors.add(id, ours, 1));
            assert_eq!(monitors.all.len(), 1, "the program closed the others");
        }
    }
}
