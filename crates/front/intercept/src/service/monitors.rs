//! Calls on sockets that receive device events.

use crate::kernel::{Borrowed, MayBlock, raw};
use crate::process::{Notif, Reply};
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::tree::{field, monitor, uevent, word};
use crate::waiting::{Kind, MAX_SEGMENTS, Waiting};
use rustix::fs::OFlags;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{Timeout, socket_timeout};
use std::os::fd::AsFd;
use std::time::Instant;
use vb3_frontend::Errno;

/// Maximum number of bytes of a received message. The supervisor's messages are smaller.
const MESSAGE: usize = 16 << 10;
/// Size in bytes of `struct sockaddr_nl`.
const ADDRESS: usize = 12;
/// Size in bytes of `struct msghdr`.
const HEADER: usize = 56;
/// Size in bytes of a control message with `struct ucred`, without and with padding.
const CREDENTIALS: (usize, usize) = (28, 32);

impl Supervisor<'_> {
    /// Serves the system call `socket`. The seccomp filter reports this call only for sockets that receive device
    /// events (NETLINK_KOBJECT_UEVENT).
    pub(crate) fn socket(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let kind = n.int(1);
        if !matches!(kind & 0xf, libc::SOCK_RAW | libc::SOCK_DGRAM) {
            return Ok(Verdict::native());
        }
        let (theirs, ours) = monitor::pair()?;
        if kind & libc::SOCK_NONBLOCK != 0 {
            rustix::fs::fcntl_setfl(&theirs, OFlags::NONBLOCK).map_err(raw::err)?;
        }
        let (id, _) = raw::known(theirs.as_fd())?;
        let port = n.pid();
        let added = self.step(may, |server| server.monitors.add(id, ours, port));
        if !added {
            return Ok(Verdict::native());
        }
        self.publish(n, theirs, kind & libc::SOCK_CLOEXEC != 0)
    }
}

impl Server<'_> {
    /// Serves a call on a socket. The kernel executes the call unless the supervisor made the socket.
    pub(crate) fn monitor_call(&mut self, n: &Call<'_>) -> Served {
        let id = n.look(n.int(0)).map_err(|_| Reply::Native)?.id;
        let monitor = self.monitors.all.get_mut(&id).ok_or(Reply::Native)?;
        match n.nr {
            libc::SYS_bind => {
                let bytes: [u8; ADDRESS] = n.read_bytes(n.arg(1))?;
                let family = u16::from_ne_bytes(field(&bytes, 0));
                if i32::from(family) != libc::AF_NETLINK || n.int(2) < ADDRESS as i32 {
                    return Err(Reply::Fail(libc::EINVAL));
                }
                let port = u32::from_ne_bytes(field(&bytes, 4));
                monitor.port = if port == 0 { monitor.port } else { port };
                monitor.groups = u32::from_ne_bytes(field(&bytes, 8));
                Ok(Verdict::value(0))
            }
            libc::SYS_getsockname => {
                let name = address(monitor.port, monitor.groups);
                write_name(n, n.arg(1), n.arg(2), &name)?;
                Ok(Verdict::value(0))
            }
            libc::SYS_setsockopt if n.int(1) == libc::SOL_NETLINK => {
                let group = u32::from_ne_bytes(n.read_bytes(n.arg(3))?);
                let bit = group.checked_sub(1).and_then(|at| 1u32.checked_shl(at));
                let bit = bit.ok_or(Errno(libc::EINVAL))?;
                match n.int(2) {
                    libc::NETLINK_ADD_MEMBERSHIP => monitor.groups |= bit,
                    libc::NETLINK_DROP_MEMBERSHIP => monitor.groups &= !bit,
                    _ => {}
                }
                Ok(Verdict::value(0))
            }
            // On a real socket, only programs with CAP_NET_ADMIN can send.
            libc::SYS_sendto | libc::SYS_sendmsg => Err(Reply::Fail(libc::EPERM)),
            // If the call does not ask for the sender's address, the kernel executes it on the socket pair.
            libc::SYS_recvfrom if n.arg(4) == 0 => Ok(Verdict::native()),
            libc::SYS_recvfrom | libc::SYS_recvmsg => self.receive_event(n),
            _ => Ok(Verdict::native()),
        }
    }

    fn receive_event(&mut self, n: &Call<'_>) -> Served {
        let socket = n.borrow(n.int(0))?;
        if let Some(reply) = received(n, &socket)? {
            return Ok(Verdict::Reply(reply));
        }
        let status = raw::status_flags(socket.as_fd())?;
        if (status & libc::O_NONBLOCK) | (flags_of(n) & libc::MSG_DONTWAIT) != 0 {
            return Err(Reply::Fail(libc::EAGAIN));
        }
        let slot = self.pending.next_slot();
        let events = &self.host.events;
        events.add_changes(socket.as_fd(), libc::POLLIN, slot)?;
        let timeout = socket_timeout(&socket, Timeout::Recv).ok().flatten();
        let mut waiting = Waiting::new(n, Kind::Receive(socket), None);
        waiting.deadline = timeout.and_then(|time| Instant::now().checked_add(time));
        Ok(Verdict::Wait(Box::new(waiting)))
    }

    /// Retries a waiting receive. `None` without a message; EAGAIN after the timeout (`SO_RCVTIMEO`).
    pub(crate) fn receive_again(
        &self,
        n: &Call<'_>,
        socket: &Borrowed,
        deadline: Option<Instant>,
    ) -> Option<Reply> {
        let reply = received(n, socket).unwrap_or_else(|e| Some(e.into()));
        let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        reply.or_else(|| late.then_some(Reply::Fail(libc::EAGAIN)))
    }
}

/// Returns a `struct sockaddr_nl`. The family has 16 bits, followed by 16 bits of padding.
fn address(port: u32, groups: u32) -> Vec<u8> {
    let words = [libc::AF_NETLINK.cast_unsigned(), port, groups];
    words.map(u32::to_ne_bytes).concat()
}

fn flags_of(n: &Notif) -> i32 {
    n.int(if n.nr == libc::SYS_recvfrom { 3 } else { 2 })
}

/// Writes a socket address as the kernel does: the bytes that fit, and the address's full length.
fn write_name(call: &Call<'_>, at: u64, len_at: u64, name: &[u8]) -> Result<(), Errno> {
    let room = u32::from_ne_bytes(call.read_bytes(len_at)?) as usize;
    call.gathered
        .write(at, name.get(..room.min(name.len())).unwrap_or_default());
    call.gathered
        .write(len_at, &(name.len() as u32).to_ne_bytes());
    Ok(())
}

/// Receives a pending message for recvfrom or recvmsg, and writes it as if the kernel or udev had sent it.
fn received(n: &Call<'_>, socket: &Borrowed) -> Result<Option<Reply>, Errno> {
    let mut header = None;
    let segments = if n.nr == libc::SYS_recvfrom {
        // Checks the address before the receive, so that a fault does not lose the message.
        n.read_bytes::<4>(n.arg(5))?;
        vec![(n.arg(1), n.arg(2))]
    } else {
        let bytes = header.insert(n.read_bytes::<HEADER>(n.arg(1))?);
        let (at, count) = (word(bytes, 16), word(bytes, 24));
        if count > MAX_SEGMENTS {
            return Err(Errno(libc::EMSGSIZE));
        }
        n.read_vector(at, count)?
    };
    let mut bytes = vec![0; MESSAGE];
    let asked = flags_of(n);
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    flags.set(RecvFlags::PEEK, asked & libc::MSG_PEEK != 0);
    let len = match rustix::net::recv(socket, bytes.as_mut_slice(), flags) {
        Ok((len, _)) => len,
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(e) => return Err(raw::err(e)),
    };
    bytes.truncate(len);
    let mut rest = bytes.as_slice();
    for (at, room) in segments {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at(rest.len().min(room));
        n.gathered.write(at, now);
        rest = later;
    }
    let from = address(0, uevent::group_of(&bytes));
    match header {
        None => write_name(n, n.arg(4), n.arg(5), &from)?,
        Some(header) => {
            let truncated = if rest.is_empty() { 0 } else { libc::MSG_TRUNC };
            let flags = truncated | asked & libc::MSG_CMSG_CLOEXEC;
            write_header(n, socket, &header, &from, flags)?;
        }
    }
    let told = match asked & libc::MSG_TRUNC {
        0 => len - rest.len(),
        _ => len,
    };
    Ok(Some(Reply::Value(told as i64)))
}

/// Writes the parts of recvmsg's header: the sender's address, its credentials, and flags.
fn write_header(
    n: &Call<'_>,
    socket: &Borrowed,
    header: &[u8; HEADER],
    from: &[u8],
    mut flags: i32,
) -> Result<(), Errno> {
    let (at, name) = (n.arg(1), word(header, 0));
    if name != 0 {
        let room = u32::from_ne_bytes(field(header, 8)) as usize;
        n.gathered
            .write(name, from.get(..room.min(from.len())).unwrap_or_default());
        n.gathered
            .write(at.wrapping_add(8), &(from.len() as u32).to_ne_bytes());
    }
    let mut filled = 0;
    if rustix::net::sockopt::socket_passcred(socket).unwrap_or(false) {
        let (len, space) = CREDENTIALS;
        let room = word(header, 40);
        if room < len as u64 {
            flags |= libc::MSG_CTRUNC;
        } else {
            let mut message = (len as u64).to_ne_bytes().to_vec();
            message.extend(libc::SOL_SOCKET.to_ne_bytes());
            message.extend(libc::SCM_CREDENTIALS.to_ne_bytes());
            // Programs expect process 0 and user root as the sender, both from the kernel and from udev.
            message.resize(len, 0);
            n.gathered.write(word(header, 32), &message);
            filled = room.min(space as u64);
        }
    }
    n.gathered.write(at.wrapping_add(40), &filled.to_ne_bytes());
    n.gathered.write(at.wrapping_add(48), &flags.to_ne_bytes());
    Ok(())
}
