//! A socket that carries messages and descriptors.

use crate::wire::{MAX_LEN, Message};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The result of a receive.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message, Option<OwnedFd>),
    /// There is no message yet. Only a call that does not wait returns this.
    Nothing,
    /// The other side has closed its socket.
    Closed,
    /// The other side sent bytes that are no message.
    Nonsense,
}

#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Returns two connected sockets.
    pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
    }

    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends a message. If the socket is full, waits only with `wait`.
    ///
    /// # Errors
    /// EAGAIN if the socket is full; EPIPE or ECONNRESET if the other side has closed.
    pub(crate) fn send(
        &self,
        message: &Message,
        fd: Option<BorrowedFd<'_>>,
        wait: bool,
    ) -> Result<(), Errno> {
        self.send_bytes(&message.to_bytes(), fd, wait)
    }

    pub(crate) fn send_bytes(
        &self,
        bytes: &[u8],
        fd: Option<BorrowedFd<'_>>,
        wait: bool,
    ) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTWAIT, !wait);
        loop {
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Receives the next message. If there is none, waits for it only with `wait`.
    pub(crate) fn receive(&self, wait: bool) -> Received {
        let mut bytes = [0; MAX_LEN + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, !wait);
        let len = loop {
            let mut buffer = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut buffer, &mut ancillary, flags) {
                Ok(got) => break got.bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(_) => return Received::Closed,
            }
        };
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        // No message is empty, so an empty read means that the other side has closed.
        match bytes.get(..len) {
            Some([]) | None => Received::Closed,
            Some(bytes) => match Message::from_bytes(bytes) {
                Some(message) => Received::Message(message, fd),
                None => Received::Nonsense,
            },
        }
    }
}
