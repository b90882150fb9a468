//! A run's socket for orders from other processes.
//!
//! An order is one line of JSON, and so is its answer (docs/control.md). The answer comes when programs
//! see the order's effect. A client may send any number of orders; they are carried out one by one.

mod place;
mod subscription;

pub use place::{directory, living};
pub(crate) use subscription::{EventKind, Subscription};

use anyhow::{Context as _, Result, bail};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use vb3_v4l2::{Wake, WakeFd, WakeId};

/// Longest order in bytes.
const MAX_ORDER: usize = 4096;
/// Maximum number of clients at one time. Further clients are turned away with a message.
const MAX_CLIENTS: usize = 256;
/// Maximum number of attempts to make the socket. Each fails because another run has ended just then, and has removed
/// the socket's directory.
const TRIES: u32 = 1000;

/// Identifies a client of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientId(WakeId);

#[derive(Debug)]
struct Client {
    id: ClientId,
    stream: UnixStream,
    asked: Vec<u8>,
    /// The answer that is sent once programs see the effect of the client's order.
    answer: Option<String>,
    ordered: bool,
    /// Bytes that the socket had no room for: the rest of an answer or of an event's line.
    unsent: Vec<u8>,
    subscription: Subscription,
    /// The subscription that begins when the prepared answer is sent.
    next_subscription: Option<Subscription>,
    /// Number of lost events that are not reported to the client yet.
    lost: u64,
}

/// The socket of a run for orders. It never blocks.
#[derive(Debug)]
pub struct Control {
    listener: Option<Wake<UnixListener>>,
    path: PathBuf,
    /// The socket's directory. This user's last run removes it.
    dir: Option<PathBuf>,
    clients: Vec<Client>,
    /// A descriptor that is closed when no descriptor is free. Its number then serves to accept a client and to tell
    /// the client why it is turned away. `None` while no new descriptor can be made; meanwhile, the listener is not
    /// watched.
    spare: Option<OwnedFd>,
}

impl Control {
    /// Makes the socket of this process in a directory that no other user can enter.
    ///
    /// # Errors
    /// Fails with a message for the user: the directory cannot be made or is not for this user alone, or the
    /// socket cannot be made.
    pub fn open() -> Result<Self> {
        Self::open_in(&directory())
    }

    fn open_in(dir: &Path) -> Result<Self> {
        let path = dir.join(std::process::id().to_string());
        for _ in 0..TRIES {
            place::prepare(dir)?;
            match place::listen(&path, place::Old::Replaced) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                listener => {
                    let mut control = Self::new(listener, path)?;
                    control.dir = Some(dir.to_owned());
                    return Ok(control);
                }
            }
        }
        bail!("other runs removed {} {TRIES} times", dir.display())
    }

    /// Makes the socket at a path. Only this user's processes may use it. Replaces the socket of a run
    /// that has ended.
    ///
    /// # Errors
    /// Fails with a message for the user: a socket cannot be made there, or a run listens there.
    pub fn open_at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        Self::new(place::listen(&path, place::Old::Kept), path)
    }

    fn new(listener: io::Result<UnixListener>, path: PathBuf) -> Result<Self> {
        let listener = listener.with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self {
            listener: Some(Wake::new(listener)),
            path,
            dir: None,
            clients: Vec::new(),
            spare: spare(),
        })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes and removes the socket, so that no further orders arrive.
    pub(crate) fn close(&mut self) {
        self.clients.clear();
        if self.listener.take().is_some() {
            let _ = std::fs::remove_file(&self.path);
            // Succeeds only if the directory is empty, so the last run in it removes it.
            let _ = self.dir.as_ref().map(std::fs::remove_dir);
        }
    }

    /// Returns the descriptors that, when readable, require a call of [`orders`](Self::orders).
    pub(crate) fn fds(&self) -> impl Iterator<Item = WakeFd<'_>> {
        let asking = self.clients.iter().filter(|client| client.may_ask());
        let asking = asking.map(|client| WakeFd::new(client.stream.as_fd(), client.id.0));
        let listener = self.listener.iter().filter(|_| self.spare.is_some());
        listener.map(Wake::fd).chain(asking)
    }

    /// Returns whether new clients make the descriptor with this id readable.
    pub(crate) fn listens_at(&self, id: u64) -> bool {
        let listener = self.listener.as_ref();
        listener.is_some_and(|listener| listener.id().number() == id)
    }

    /// Returns the listener if a client waits to be accepted. Without this check, accept() would allocate a
    /// socket even if no client waits.
    fn caller(&self) -> Option<&UnixListener> {
        let listener = self.listener.as_deref()?;
        let mut looked = [PollFd::new(listener, PollFlags::IN)];
        // If poll fails, accept reports the error.
        let called = poll(&mut looked, Some(&Timespec::default()));
        (called != Ok(0)).then_some(listener)
    }

    /// Returns the orders that have arrived: at most one from each client.
    pub(crate) fn orders(&mut self) -> Vec<(ClientId, String)> {
        let mut orders = Vec::new();
        self.clients.retain_mut(|client| match client.read() {
            Ok(Some(line)) => {
                orders.push((client.id, line));
                true
            }
            Ok(None) => true,
            Err(_) => false,
        });
        orders
    }

    /// Accepts new clients. Call it only in a tick: after each tick, the front end asks which descriptors
    /// to watch ([`fds`](Self::fds)).
    pub(crate) fn accept(&mut self) {
        while let Some(listener) = self.caller() {
            match listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(e) if is_exhausted(&e) => {
                    if !self.turn_away() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn add(&mut self, mut stream: UnixStream) {
        let is_own = socket_peercred(&stream).is_ok_and(|peer| peer.uid == geteuid());
        if !is_own || stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.clients.len() >= MAX_CLIENTS {
            self.clients.retain(|client| !client.has_gone());
        }
        if self.clients.len() >= MAX_CLIENTS {
            let reason = format!("{MAX_CLIENTS} clients are connected, which is the limit");
            refuse_client(&mut stream, &reason);
            return;
        }
        self.clients.push(Client {
            id: ClientId(WakeId::new()),
            stream,
            asked: Vec::new(),
            answer: None,
            ordered: false,
            unsent: Vec::new(),
            subscription: Subscription::default(),
            next_subscription: None,
            lost: 0,
        });
    }

    /// Tells a client that no descriptor is free. Without this, the client would wait, and its connection would keep
    /// the listener readable. Returns whether further clients may be accepted.
    fn turn_away(&mut self) -> bool {
        drop(self.spare.take());
        if let Some(Ok((mut stream, _))) = self.listener.as_ref().map(|listener| listener.accept())
        {
            refuse_client(&mut stream, "vb3 has no free descriptor (see ulimit -n)");
        }
        self.spare = spare();
        self.spare.is_some()
    }

    /// Watches the listener again if a descriptor is free.
    pub(crate) fn recover(&mut self) {
        if self.spare.is_none() {
            self.spare = spare();
        }
    }

    /// Stores a client's answer until [`answer`](Self::answer) sends it.
    pub(crate) fn prepare(&mut self, id: ClientId, answer: String) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.answer = Some(answer);
        }
    }

    /// Sets the events that a client gets after its prepared answer.
    pub(crate) fn subscribe(&mut self, id: ClientId, subscription: Subscription) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.next_subscription = Some(subscription);
        }
    }

    /// Returns whether a client wants events of a kind and device.
    pub(crate) fn wants(&self, kind: EventKind, device: Option<usize>) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| client.subscription.has(kind, device))
    }

    /// Sends an event's line to the clients that want it. Counts it as lost for a client whose socket
    /// is full.
    pub(crate) fn send_event(&mut self, kind: EventKind, device: Option<usize>, line: &str) {
        self.clients.retain_mut(|client| {
            !client.subscription.has(kind, device) || client.send_event(line).is_ok()
        });
    }

    /// Sends the bytes that clients' sockets had no room for.
    pub(crate) fn flush(&mut self) {
        self.clients.retain_mut(|client| client.flush().is_ok());
    }

    /// Returns whether bytes or a count of lost events wait for room in a client's socket.
    pub(crate) fn has_backlog(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| !client.unsent.is_empty() || client.lost > 0)
    }

    /// Sends the prepared answers. Returns whether there were any.
    pub(crate) fn answer(&mut self) -> bool {
        let mut any = false;
        self.clients.retain_mut(|client| {
            let Some(answer) = client.answer.take() else {
                return true;
            };
            any = true;
            client.ordered = false;
            if let Some(subscription) = client.next_subscription.take() {
                client.subscription = subscription;
            }
            client.unsent.extend(answer.into_bytes());
            client.flush().is_ok()
        });
        any
    }

    /// Returns whether a client is connected.
    pub(crate) fn has(&self, id: ClientId) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| client.id == id && !client.has_gone())
    }

    /// Returns whether a complete order was received that is not carried out yet.
    pub(crate) fn has_lines(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| client.may_ask() && client.asked.contains(&b'\n'))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.close();
    }
}

impl Client {
    /// Returns whether the client has closed its connection, even while it waits for an answer.
    fn has_gone(&self) -> bool {
        let mut looked = [PollFd::new(&self.stream, PollFlags::empty())];
        let found = poll(&mut looked, Some(&Timespec::default()));
        found == Ok(1) && looked[0].revents().contains(PollFlags::HUP)
    }

    /// Returns whether the client's next order may be read: no answer is due and no bytes wait to be sent.
    const fn may_ask(&self) -> bool {
        !self.ordered && self.unsent.is_empty()
    }

    /// Sends waiting bytes, then the number of lost events, as far as the socket has room.
    ///
    /// # Errors
    /// The client has closed the connection.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            if self.unsent.is_empty() {
                match std::mem::take(&mut self.lost) {
                    0 => return Ok(()),
                    lost => {
                        self.unsent =
                            format!("{{\"event\":\"lost\",\"count\":{lost}}}\n").into_bytes()
                    }
                }
            }
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends an event's line, or counts it as lost.
    ///
    /// # Errors
    /// Fails as [`flush`](Self::flush) does.
    fn send_event(&mut self, line: &str) -> io::Result<()> {
        self.flush()?;
        if !self.unsent.is_empty() {
            self.lost = self.lost.saturating_add(1);
            return Ok(());
        }
        self.unsent.extend_from_slice(line.as_bytes());
        self.flush()
    }

    /// Returns the client's next order once it is complete and the previous one is answered.
    ///
    /// # Errors
    /// The client has closed the connection, or a line is too long.
    fn read(&mut self) -> io::Result<Option<String>> {
        if !self.may_ask() {
            return Ok(None);
        }
        let mut line = self.next_line();
        if line.is_none() {
            let mut bytes = [0; MAX_ORDER];
            let len = match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                Err(e) => return Err(e),
            };
            self.asked.extend(bytes.iter().take(len));
            line = self.next_line();
        }
        if line.is_none() && self.asked.len() >= MAX_ORDER {
            return Err(ErrorKind::InvalidData.into());
        }
        self.ordered = line.is_some();
        Ok(line)
    }

    /// Takes a complete line from the bytes that were read before.
    fn next_line(&mut self) -> Option<String> {
        let end = self.asked.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.asked.drain(..=end).take(end).collect();
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

/// Makes a descriptor that can be given up later.
fn spare() -> Option<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC).ok()
}

/// Returns whether a call failed because no descriptor or memory is free.
fn is_exhausted(e: &io::Error) -> bool {
    let errno = Errno::from_io_error(e);
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    errno.is_some_and(|errno| exhausted.contains(&errno))
}

/// Tells a client why it is turned away, as the answer to its first order.
fn refuse_client(stream: &mut UnixStream, message: &str) {
    let error = serde_json::json!({ "field": "", "message": message });
    let line = format!("{}\n", serde_json::json!({ "ok": false, "error": error }));
    // An empty socket has room for a line, so the write fails only if the client has gone. This needs no reaction.
    let _ = stream.write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> (tempfile::TempDir, Control) {
        let dir = tempfile::tempdir().expect("a directory");
        let control = Control::open_in(&dir.path().join("runs")).expect("a socket");
        (dir, control)
    }

    fn come(control: &mut Control) -> Vec<(ClientId, String)> {
        control.accept();
        control.orders()
    }

    fn ask(control: &Control, text: &str) -> UnixStream {
        let mut stream = UnixStream::connect(control.path()).expect("connected");
        stream.write_all(text.as_bytes()).expect("written");
        stream
    }

    #[test]
    fn an_order_is_answered_when_it_is_shown() {
        let (_dir, mut control) = control();
        let mut client = ask(&control, "unplug video0\n");
        let orders = come(&mut control);
        let [(id, order)] = &orders[..] else {
            panic!("{orders:?}")
        };
        assert_eq!(order, "unplug video0");
        control.prepare(*id, "ok\n".to_owned());
        assert!(come(&mut control).is_empty());
        control.answer();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"ok\n");
    }

    #[test]
    fn who_says_too_much_or_nothing_holds_nothing() {
        let (_dir, mut control) = control();
        let _long = ask(&control, &"x".repeat(MAX_ORDER));
        assert!(come(&mut control).is_empty());
        assert_eq!(control.clients.len(), 0);
        let silent: Vec<UnixStream> = (0..MAX_CLIENTS + 3).map(|_| ask(&control, "")).collect();
        assert!(come(&mut control).is_empty());
        assert_eq!(control.clients.len(), MAX_CLIENTS);
        drop(silent);
        assert!(come(&mut control).is_empty());
        assert_eq!(control.clients.len(), 0);
    }

    #[test]
    fn a_socket_at_a_path_leaves_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("own");
        std::fs::create_dir(&own).expect("made");
        let path = own.join("socket");
        // A run that was killed leaves its socket.
        drop(UnixListener::bind(&path).expect("bound"));
        let control = Control::open_at(&path).expect("a socket");
        assert!(Control::open_at(&path).is_err(), "a run listens there");
        drop(control);
        assert!(own.is_dir() && !path.exists());
    }

    fn said(client: &mut UnixStream) -> String {
        let mut answer = String::new();
        let timeout = Some(std::time::Duration::from_secs(60));
        client.set_read_timeout(timeout).expect("set");
        client
            .read_to_string(&mut answer)
            .expect("a closed connection");
        answer
    }

    #[test]
    fn a_full_run_keeps_its_clients_and_refuses_the_next() {
        let (_dir, mut control) = control();
        let mut clients: Vec<UnixStream> = (0..MAX_CLIENTS).map(|_| ask(&control, "")).collect();
        assert!(come(&mut control).is_empty());
        let mut refused = ask(&control, "");
        assert!(come(&mut control).is_empty());
        assert!(said(&mut refused).contains("256 clients are connected"));
        assert_eq!(control.clients.len(), MAX_CLIENTS);
        clients.pop();
        let _next = ask(&control, "wait\n");
        assert_eq!(come(&mut control).len(), 1);
    }

    #[test]
    fn a_client_hears_that_no_descriptor_is_free() {
        let (_dir, mut control) = control();
        let mut client = ask(&control, "");
        assert!(control.turn_away());
        assert!(said(&mut client).contains("no free descriptor"));
        control.spare = None;
        assert_eq!(control.fds().count(), 0);
        control.recover();
        assert_eq!(control.fds().count(), 1);
    }
}
