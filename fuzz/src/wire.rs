//! Messages between codec workers and their owners, for workers that break the rules.

use arbitrary::Arbitrary;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use vb3_codec::Launch;

/// How many numbers a message has.
pub const WORDS: usize = 16;
/// How many numbers a configuration has. The generation of the packets' memory follows them.
pub const CONFIG_WORDS: usize = 13;

/// The kind of a message: its first byte.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    Hello = 1,
    Configure,
    Decode,
    Encode,
    Drain,
    Flush,
    Proceed,
    Release,
    Consumed,
    Format,
    Picture,
    Packet,
    Drained,
    Flushed,
    Corrupt,
    Unsupported,
    Version = 20,
}

const OPS: [Op; 17] = [
    Op::Hello,
    Op::Configure,
    Op::Decode,
    Op::Encode,
    Op::Drain,
    Op::Flush,
    Op::Proceed,
    Op::Release,
    Op::Consumed,
    Op::Format,
    Op::Picture,
    Op::Packet,
    Op::Drained,
    Op::Flushed,
    Op::Corrupt,
    Op::Unsupported,
    Op::Version,
];

/// The worker's end of a socket.
#[derive(Debug)]
pub struct End(pub OwnedFd);

thread_local! {
    static TAKEN: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
}

/// Returns a launcher for workers that this thread simulates. [`taken`] returns the workers' socket ends.
#[must_use]
pub const fn played() -> Launch {
    fn take(end: OwnedFd) {
        TAKEN.with_borrow_mut(|taken| taken.push(end));
    }
    Launch::handed(take)
}

/// Returns the socket ends of the workers that were started since the previous call.
#[must_use]
pub fn taken() -> Vec<End> {
    TAKEN.take().into_iter().map(End).collect()
}

impl End {
    /// Sends a message, or drops it if the socket is full.
    pub fn say(&self, op: Op, words: &[u64], text: &[u8]) {
        let mut bytes = vec![op as u8];
        for at in 0..WORDS {
            bytes.extend(words.get(at).copied().unwrap_or(0).to_le_bytes());
        }
        bytes.extend(text);
        self.say_bytes(&bytes);
    }

    /// Sends any bytes, even if they are no message.
    pub fn say_bytes(&self, bytes: &[u8]) {
        let _ = send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Receives a message, and drops its descriptors.
    #[must_use]
    pub fn hear(&self) -> Option<(Op, [u64; WORDS])> {
        let mut bytes = [0u8; 512];
        let flags = RecvFlags::DONTWAIT;
        let (len, _) = recv(&self.0, &mut bytes[..], flags).ok()?;
        let (first, rest) = bytes[..len].split_first()?;
        let op = OPS.into_iter().find(|op| *op as u8 == *first)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(rest.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        Some((op, words))
    }
}
