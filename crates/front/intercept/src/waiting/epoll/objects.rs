//! The objects that replace files in programs' epoll sets. See the parent module.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendFlags, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use vb3_frontend::Errno;

use super::ONESHOT;
use crate::descriptors::{ERR, HUP};
use crate::kernel::raw;

/// Files that poll as readable, writable, urgent and in error, until read through the same open file.
const IN_ERROR: [&CStr; 3] = [
    c"/sys/kernel/uevent_seqnum",
    c"/sys/devices/system/cpu/online",
    c"/proc/pressure/cpu",
];

/// The objects that the kernel watches instead of devices.
#[derive(Debug)]
pub(super) struct Objects {
    /// A socket that is always readable and writable and has urgent data.
    pub(super) ready: OwnedFd,
    /// The socket's other end, which has sent the urgent byte.
    _peer: OwnedFd,
    /// A file of `IN_ERROR`, or without these a pipe that is only writable and in error.
    error: OwnedFd,
    /// A socket that meets the same conditions as `ready`, and is in error and hung up.
    hung_up: OwnedFd,
}

/// The kind of object that replaces a device at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Ready,
    Error,
    HungUp,
    /// A socket of one entry alone, which is readable only while the supervisor lets it be.
    Switch,
}

/// Conditions of a socket with data.
const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM).cast_unsigned();

impl Object {
    /// Returns the kind of object that can report these conditions for an entry with these events.
    pub(super) const fn of(mask: u32, events: u32) -> Self {
        if mask & HUP != 0 {
            Self::HungUp
        } else if mask & ERR != 0 {
            Self::Error
        } else if events & ONESHOT != 0 && mask & !READABLE == 0 {
            Self::Switch
        } else {
            Self::Ready
        }
    }
}

/// The other end of a [`Switch`](Object::Switch).
#[derive(Debug)]
pub(super) struct Switch {
    peer: OwnedFd,
    is_on: bool,
}

impl Switch {
    /// Makes the socket readable, or not. If this fails, the socket stays as it is.
    pub(super) fn set(&mut self, socket: &OwnedFd, is_on: bool) {
        if self.is_on == is_on {
            return;
        }
        let done = match is_on {
            true => send(&self.peer, SendFlags::empty()),
            false => raw::read(socket.as_fd(), &mut [0]).map(drop),
        };
        self.is_on = is_on == done.is_ok();
    }
}

/// Makes a socket pair whose first socket has urgent data.
fn urgent_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ready, peer) = raw::socket_pair(SocketType::STREAM, SocketFlags::NONBLOCK)?;
    send(&peer, SendFlags::OOB)?;
    Ok((ready, peer))
}

fn send(socket: &OwnedFd, flags: SendFlags) -> Result<(), Errno> {
    let flags = flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = rustix::net::send(socket, b"!", flags);
    sent.map(drop).map_err(raw::err)
}

/// Makes a socket that is hung up and in error: its other end was closed with unread data.
///
/// Source: Linux 7.2 net/unix/af_unix.c `unix_release_sock`.
fn reset_socket() -> Result<OwnedFd, Errno> {
    let (socket, peer) = urgent_pair()?;
    send(&socket, SendFlags::empty())?;
    drop(peer);
    Ok(socket)
}

impl Objects {
    pub(super) fn new() -> Result<Self, Errno> {
        let (ready, peer) = urgent_pair()?;
        let file = IN_ERROR.iter().find_map(|path| {
            let fd = raw::open(*path, libc::O_RDONLY).ok()?;
            let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLERR;
            (raw::poll_now(fd.as_fd(), all) & all == all).then_some(fd)
        });
        // The pipe's reading end is closed: it polls as writable and in error.
        let pipe = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map(|(_, writer)| writer);
        let error = file.map_or_else(pipe, Ok).map_err(raw::err)?;
        Ok(Self {
            ready,
            _peer: peer,
            error,
            hung_up: reset_socket()?,
        })
    }

    /// Returns a new descriptor of an object. The descriptor's number identifies one entry.
    pub(super) fn one(&self, object: Object) -> Result<(OwnedFd, Option<Switch>), Errno> {
        let of = match object {
            Object::Ready => &self.ready,
            Object::Error => &self.error,
            Object::HungUp => &self.hung_up,
            Object::Switch => {
                let (socket, peer) = raw::socket_pair(SocketType::STREAM, SocketFlags::NONBLOCK)?;
                let is_on = false;
                return Ok((socket, Some(Switch { peer, is_on })));
            }
        };
        let copy = of.try_clone().map_err(|e| raw::of_io(&e))?;
        Ok((copy, None))
    }
}
