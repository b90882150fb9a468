//! Calls on sockets that receive device events.

use crate::kernel::{MayBlock, raw};
use crate::process::Reply;
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::tree::{
    ADD_MEMBERSHIP, ADDRESS, CREDENTIALS, DROP_MEMBERSHIP, Form, HEADER, Header, MESSAGE, Receive,
    address, field, uevent, word,
};
use crate::waiting::{Kind, MAX_SEGMENTS, Waiting};
use rustix::fs::OFlags;
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{RecvFlags, SocketFlags, SocketType};
use std::os::fd::AsFd;
use std::time::Instant;
use vb3_host::{Caller as _, Errno};

impl Supervisor<'_> {
    /// Serves socket. The filter reports only sockets for device events (NETLINK_KOBJECT_UEVENT).
    pub(crate) fn socket(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let kind = n.int(1);
        if !matches!(kind & 0xf, libc::SOCK_RAW | libc::SOCK_DGRAM) {
            return Ok(Verdict::native());
        }
        let (theirs, ours) = raw::socket_pair(SocketType::DGRAM, SocketFlags::empty())?;
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
        let id = n.identify(n.int(0)).map_err(|_| Reply::Native)?;
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
                    ADD_MEMBERSHIP => monitor.groups |= bit,
                    DROP_MEMBERSHIP => monitor.groups &= !bit,
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
        let receive = asked(n)?;
        let status = raw::status_flags(receive.socket.as_fd())?;
        let waits = (status & libc::O_NONBLOCK) | (receive.flags & libc::MSG_DONTWAIT) == 0;
        match received(n, &receive)? {
            Some(reply) => Ok(Verdict::Reply(reply)),
            None if !waits => Err(Reply::Fail(libc::EAGAIN)),
            None => {
                let (slot, socket) = (self.pending.next_slot(), receive.socket.as_fd());
                self.host.events.add_changes(socket, libc::POLLIN, slot)?;
                let timeout = socket_timeout(socket, Timeout::Recv).ok().flatten();
                let mut waiting = Waiting::new(n, Kind::Receive(receive), None);
                waiting.deadline = timeout.and_then(|time| Instant::now().checked_add(time));
                Ok(Verdict::Wait(Box::new(waiting)))
            }
        }
    }

    /// Retries a waiting receive. `None` without a message; EAGAIN after the timeout (`SO_RCVTIMEO`).
    pub(crate) fn receive_again(
        &self,
        n: &Call<'_>,
        receive: &Receive,
        deadline: Option<Instant>,
    ) -> Option<Reply> {
        let reply = received(n, receive).unwrap_or_else(|e| Some(e.into()));
        let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        reply.or_else(|| late.then_some(Reply::Fail(libc::EAGAIN)))
    }
}

/// Writes a socket address as the kernel does: the bytes that fit, and the address's full length.
fn write_name(call: &Call<'_>, at: u64, len_at: u64, name: &[u8]) -> Result<(), Errno> {
    let room = u32::from_ne_bytes(call.read_bytes(len_at)?) as usize;
    call.write(at, name.get(..room.min(name.len())).unwrap_or_default())?;
    call.write(len_at, &(name.len() as u32).to_ne_bytes())
}

/// Parses the arguments of recvfrom or recvmsg.
fn asked(n: &Call<'_>) -> Result<Receive, Errno> {
    let (segments, flags, form) = if n.nr == libc::SYS_recvfrom {
        let form = Form::From {
            name: n.arg(4),
            len: n.arg(5),
        };
        (vec![(n.arg(1), n.arg(2))], n.int(3), form)
    } else {
        let header: [u8; HEADER] = n.read_bytes(n.arg(1))?;
        let (at, count) = (word(&header, 16), word(&header, 24));
        if count > MAX_SEGMENTS {
            return Err(Errno(libc::EMSGSIZE));
        }
        let segments = n.read_vector(at, count)?;
        let form = Form::Message(Header {
            at: n.arg(1),
            name: word(&header, 0),
            name_len: u32::from_ne_bytes(field(&header, 8)),
            control: word(&header, 32),
            control_len: word(&header, 40),
        });
        (segments, n.int(2), form)
    };
    Ok(Receive {
        socket: n.borrow(n.int(0))?.into(),
        flags,
        segments,
        form,
    })
}

/// Receives a pending message, and writes it as if the kernel or udev had sent it.
fn received(call: &Call<'_>, receive: &Receive) -> Result<Option<Reply>, Errno> {
    let mut bytes = vec![0; MESSAGE];
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    flags.set(RecvFlags::PEEK, receive.flags & libc::MSG_PEEK != 0);
    if let Form::From { len, .. } = receive.form {
        // Checks this address before the receive, so that a fault does not lose the message.
        call.read_bytes::<4>(len)?;
    }
    let len = match rustix::net::recv(&receive.socket, bytes.as_mut_slice(), flags) {
        Ok((len, _)) => len,
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(e) => return Err(raw::err(e)),
    };
    bytes.truncate(len);
    let mut rest = bytes.as_slice();
    for &(at, room) in &receive.segments {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at(rest.len().min(room));
        call.write(at, now)?;
        rest = later;
    }
    let truncated = if rest.is_empty() { 0 } else { libc::MSG_TRUNC };
    let from = address(0, uevent::group_of(&bytes));
    match receive.form {
        Form::From { name, len } => write_name(call, name, len, &from)?,
        Form::Message(header) => write_header(call, receive, header, &from, truncated)?,
    }
    let told = match receive.flags & libc::MSG_TRUNC {
        0 => len - rest.len(),
        _ => len,
    };
    Ok(Some(Reply::Value(told as i64)))
}

/// Writes the parts of recvmsg's header: the sender's address, its credentials, and flags.
fn write_header(
    call: &Call<'_>,
    receive: &Receive,
    header: Header,
    from: &[u8],
    truncated: i32,
) -> Result<(), Errno> {
    let mut flags = truncated | receive.flags & libc::MSG_CMSG_CLOEXEC;
    if header.name != 0 {
        let room = from.len().min(header.name_len as usize);
        call.write(header.name, from.get(..room).unwrap_or_default())?;
        call.write(
            header.at.wrapping_add(8),
            &(from.len() as u32).to_ne_bytes(),
        )?;
    }
    let mut filled = 0;
    if rustix::net::sockopt::socket_passcred(&receive.socket).unwrap_or(false) {
        let (len, space) = CREDENTIALS;
        if header.control_len < len as u64 {
            flags |= libc::MSG_CTRUNC;
        } else {
            let mut message = (len as u64).to_ne_bytes().to_vec();
            message.extend(libc::SOL_SOCKET.to_ne_bytes());
            message.extend(libc::SCM_CREDENTIALS.to_ne_bytes());
            // Programs expect process 0 and user root as the sender, both from the kernel and from udev.
            message.resize(len, 0);
            call.write(header.control, &message)?;
            filled = header.control_len.min(space as u64);
        }
    }
    call.write(header.at.wrapping_add(40), &filled.to_ne_bytes())?;
    call.write(header.at.wrapping_add(48), &flags.to_ne_bytes())
}
