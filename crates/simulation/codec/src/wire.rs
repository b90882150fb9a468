//! Messages between a worker and its parent, the process with the `Worker`.
//! A message has an operation, some numbers, and a text for the user.

/// Version of these messages, raised with every change of their meaning.
/// Programs from the time before such versions send 0 or nothing.
pub(crate) const VERSION: u64 = 11;
/// How many numbers a message has.
pub(crate) const WORDS: usize = 16;
/// Longest text, in bytes.
pub(crate) const MAX_TEXT: usize = 300;
/// Longest message, in bytes.
pub(crate) const MAX_LEN: usize = 1 + WORDS * 8 + MAX_TEXT;

/// The operation of a message. Parentheses list the message's numbers.
/// An operation without a direction has the direction of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// To the worker, first, with the memory for input: (kind, version of these messages,
    /// maximum number of threads of a decoder).
    Hello = 1,
    /// (type of settings, settings...); for an encoder also memory for packets, with numbers as in `Proceed`.
    Configure,
    /// (tag, slot, length).
    Decode,
    /// (tag, slot, force key).
    Encode,
    Drain,
    Flush,
    /// With memory for pictures: (generation of the memory, bytes of a slot, chroma layout, whether pictures
    /// wait for a loan). The generation grows with each new memory.
    Proceed,
    /// (generation, slot).
    Release,
    /// To the parent: (tag, slot).
    Consumed,
    /// (the format).
    Format,
    /// (tag, generation, slot, damaged, field, number of the loan).
    Picture,
    /// (tag, generation, slot, length, key).
    Packet,
    Drained,
    Flushed,
    /// (tag), and a text.
    Corrupt,
    /// (tag, number of the loan), and a text.
    Unsupported,
    /// To the worker, with memory to map: (number of the memory).
    Map,
    /// To the worker: a request to unmap all memory except that of loans.
    Unmap,
    /// To the worker: (number of the loan, chroma layout, width, height, and for each of three planes
    /// number of the memory, offset, stride).
    Lend,
    /// To the parent, first: (version of these messages), and the program's version.
    Version,
}

pub(crate) const OPS: [Op; 20] = [
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
    Op::Map,
    Op::Unmap,
    Op::Lend,
    Op::Version,
];

/// One message, without its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) op: Op,
    pub(crate) words: [u64; WORDS],
    pub(crate) text: String,
}

impl Message {
    /// Makes a message; missing words are 0.
    pub(crate) fn new(op: Op, given: &[u64]) -> Self {
        let mut words = [0; WORDS];
        for (word, given) in words.iter_mut().zip(given) {
            *word = *given;
        }
        Self {
            op,
            words,
            text: String::new(),
        }
    }

    /// Adds a text, truncated if it is too long.
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        let end = (0..=MAX_TEXT.min(text.len()))
            .rev()
            .find(|&end| text.is_char_boundary(end));
        self.text = text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned();
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.op as u8];
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(self.text.as_bytes());
        bytes
    }

    /// Parses a message; `None` if it is invalid.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&op, rest) = bytes.split_first()?;
        let op = *OPS.iter().find(|known| **known as u8 == op)?;
        let (numbers, text) = rest.split_at_checked(WORDS * 8)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(numbers.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let text = String::from_utf8(text.to_vec()).ok()?;
        (text.len() <= MAX_TEXT).then_some(Self { op, words, text })
    }
}

#[cfg(test)]
mod tests;
