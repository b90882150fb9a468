//! The party that makes a call.

use std::fmt;

/// The party whose memory and descriptors a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A process. The number is the process id that the front end sees, in its own pid namespace.
    Process(u32),
    /// A session of a guest. No other open session of the run has this number.
    Session(u32),
}

impl Owner {
    /// Returns a number that no other owner has.
    #[must_use]
    pub const fn number(self) -> u64 {
        // CAST: widening.
        match self {
            Self::Process(pid) => pid as u64,
            Self::Session(number) => 1 << 32 | number as u64,
        }
    }

    /// Returns the owner with this [`number`](Self::number).
    #[must_use]
    pub const fn of_number(number: u64) -> Self {
        // CAST: the lower half.
        match number >> 32 {
            0 => Self::Process(number as u32),
            _ => Self::Session(number as u32),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Session(number) => write!(f, "session {number} of a guest"),
        }
    }
}

/// The name of an owner, for reports: a process's is what `/proc/PID/comm` shows. Empty if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label([u8; 16]);

impl Label {
    /// Makes a label of the first 16 bytes before a NUL.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut label = [0; 16];
        let text = text.iter().take_while(|byte| **byte != 0);
        for (to, from) in label.iter_mut().zip(text) {
            *to = *from;
        }
        Self(label)
    }

    /// Returns whether the name is not known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

/// Shows control characters as `?`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = self
            .0
            .get(..end.unwrap_or(self.0.len()))
            .unwrap_or_default();
        for c in String::from_utf8_lossy(text).chars() {
            fmt::Write::write_char(f, if c.is_control() { '?' } else { c })?;
        }
        Ok(())
    }
}

/// An owner and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// The owner.
    pub owner: Owner,
    /// Its name.
    pub label: Label,
}

impl Client {
    /// Returns the id of the process, or 0 if a guest makes the call.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        match self.owner {
            Owner::Process(pid) => pid,
            Owner::Session(_) => 0,
        }
    }
}

/// The owner, with the name in brackets if it is known: `process 7 (cat)`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f)?;
        match self.label.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.label),
        }
    }
}

/// The party that makes a call. Reports and traces name it, and devices distinguish address spaces by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The process or the guest's session.
    pub client: Client,
    /// The process's thread; 0 for a guest.
    pub thread: u32,
}

impl Origin {
    /// Returns the origin that stands for a thread of a process. The process's name is unknown.
    #[must_use]
    pub const fn process(pid: u32, thread: u32) -> Self {
        Self::of(Owner::Process(pid), thread)
    }

    /// Returns the origin that stands for a session of a guest. The session's name is unknown.
    #[must_use]
    pub const fn session(number: u32) -> Self {
        Self::of(Owner::Session(number), 0)
    }

    const fn of(owner: Owner, thread: u32) -> Self {
        let label = Label([0; 16]);
        Self {
            client: Client { owner, label },
            thread,
        }
    }

    /// Returns the same origin with this name.
    #[must_use]
    pub const fn named(self, label: Label) -> Self {
        let owner = self.client.owner;
        Self {
            client: Client { owner, label },
            ..self
        }
    }

    /// Returns the id of the process, or 0 if a guest makes the call.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.client.pid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_with_their_names() {
        let process = Origin::process(7, 8);
        assert_eq!(process.client.to_string(), "process 7");
        let named = process.named(Label::new(b"a\nb\0c"));
        assert_eq!(named.client.to_string(), "process 7 (a?b)");
        let session = Origin::session(3).named(Label::new(b"0123456789abcdefg"));
        let shown = "session 3 of a guest (0123456789abcdef)";
        assert_eq!(session.client.to_string(), shown);
        assert_eq!((process.pid(), session.pid()), (7, 0));
    }

    #[test]
    fn numbers_tell_owners_apart() {
        for owner in [
            Owner::Process(0),
            Owner::Process(u32::MAX),
            Owner::Session(0),
            Owner::Session(9),
        ] {
            assert_eq!(Owner::of_number(owner.number()), owner);
        }
    }
}
