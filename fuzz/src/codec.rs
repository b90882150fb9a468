//! Simulated codec workers. The fuzzer's input determines whether their answers are right or wrong.
//! They decode nothing, and run in the caller's thread.

use crate::random::Random;
use crate::wire::{CONFIG_WORDS, End, Op, WORDS, taken};
use std::collections::VecDeque;
use vb3_codec::Kind;

/// All started codecs.
#[derive(Debug)]
pub struct Codecs {
    all: Vec<Codec>,
    random: Random,
    /// How many of 256 answers are wrong.
    lies: u8,
}

#[derive(Debug)]
struct Codec {
    end: End,
    jobs: VecDeque<(Op, [u64; WORDS])>,
    encodes: bool,
    jpeg: bool,
    /// Generation of the current output memory, and the memory's free slots.
    generation: u64,
    free: u32,
    format: Option<(u64, u64)>,
    waits: bool,
    dead: bool,
}

impl Codecs {
    /// Makes an empty set.
    #[must_use]
    pub const fn new(random: Random, lies: u8) -> Self {
        Self {
            all: Vec::new(),
            random,
            lies,
        }
    }

    /// Lets each codec process its pending jobs, but at most `most`.
    pub fn work(&mut self, most: usize) {
        let started = taken().into_iter().map(|end| Codec {
            end,
            jobs: VecDeque::new(),
            encodes: false,
            jpeg: false,
            generation: 0,
            free: 0,
            format: None,
            waits: false,
            dead: false,
        });
        self.all.extend(started);
        for codec in &mut self.all {
            codec.hear();
            for _ in 0..most {
                let is_lie = self.random.below(256) < usize::from(self.lies);
                if is_lie && !codec.jobs.is_empty() {
                    codec.lie(&mut self.random);
                }
                if !codec.job(&mut self.random) {
                    break;
                }
            }
        }
        self.all.retain(|codec| !codec.dead);
    }
}

impl Codec {
    fn hear(&mut self) {
        while let Some((op, words)) = self.end.hear() {
            match op {
                Op::Hello => {
                    self.end.say(Op::Version, &words[1..2], b"");
                    let kind = Kind::from_number(words[0]);
                    self.encodes = kind.is_some_and(Kind::encodes);
                    self.jpeg = matches!(kind, Some(Kind::JpegDecoder | Kind::JpegEncoder));
                }
                Op::Release if words[0] == self.generation => self.free |= 1 << (words[1] % 8),
                Op::Release => {}
                Op::Proceed => self.set_ring(words[0]),
                Op::Configure if self.encodes => self.set_ring(words[CONFIG_WORDS]),
                Op::Flush => {
                    // The codec answers earlier jobs, but does not process them.
                    for (op, words) in std::mem::take(&mut self.jobs) {
                        match op {
                            Op::Drain => self.end.say(Op::Drained, &[], b""),
                            _ => self.end.say(Op::Consumed, &words[..2], b""),
                        }
                    }
                    if std::mem::take(&mut self.waits) {
                        self.format = None;
                    }
                    self.end.say(Op::Flushed, &[], b"");
                }
                Op::Decode | Op::Encode | Op::Drain => self.jobs.push_back((op, words)),
                _ => {}
            }
        }
    }

    fn set_ring(&mut self, generation: u64) {
        (self.generation, self.free, self.waits) = (generation, 0xff, false);
    }

    /// Processes one job. Returns false if there is none or it must wait.
    fn job(&mut self, random: &mut Random) -> bool {
        let Some((op, words)) = self.jobs.front().copied() else {
            return false;
        };
        if self.waits {
            return false;
        }
        let (tag, slot) = (words[0], self.free.trailing_zeros());
        match op {
            Op::Drain => self.end.say(Op::Drained, &[], b""),
            Op::Encode => {
                if self.free == 0 {
                    return false;
                }
                self.free &= !(1 << slot);
                let len = random.below(600) as u64;
                let words = [tag, self.generation, slot.into(), len, len % 2];
                self.end.say(Op::Packet, &words, b"");
            }
            _ => {
                let changes = self.format.is_none() || random.below(16) == 0;
                if changes {
                    let size = [(64, 48), (32, 32), (16, 16), (33, 17)][random.below(4)];
                    if self.format != Some(size) {
                        self.format = Some(size);
                        self.waits = true;
                        let (w, h) = size;
                        let coded = (w.next_multiple_of(16), h.next_multiple_of(16));
                        let words = [coded.0, coded.1, 0, 0, w, h, 2, 2, 2, 0, 66, 10, 8];
                        self.end.say(Op::Format, &words, b"");
                        return false;
                    }
                }
                if self.free == 0 {
                    return false;
                }
                if self.jpeg || random.below(8) != 0 {
                    self.free &= !(1 << slot);
                    let damaged = u64::from(random.below(16) == 0);
                    let words = [tag, self.generation, slot.into(), damaged];
                    self.end.say(Op::Picture, &words, b"");
                }
            }
        }
        if op != Op::Drain {
            self.end.say(Op::Consumed, &words[..2], b"");
        }
        self.jobs.pop_front();
        true
    }

    fn lie(&mut self, random: &mut Random) {
        let tag = random.below(40) as u64;
        match random.below(9) {
            0 => self.dead = true,
            1 => self.end.say(Op::Corrupt, &[tag], b"it is broken"),
            2 => {
                for _ in 0..100 {
                    self.end.say(Op::Corrupt, &[tag], b"it is broken");
                }
            }
            3 => {
                self.jobs.pop_front();
            }
            4 => {
                let (w, h) = (1 + random.below(80) as u64, 1 + random.below(80) as u64);
                self.end.say(Op::Format, &[w, h, 0, 0, w, h], b"");
            }
            5 if self.free != 0 && !self.encodes => {
                let slot = self.free.trailing_zeros();
                self.free &= !(1 << slot);
                self.end
                    .say(Op::Picture, &[tag, self.generation, slot.into(), 0], b"");
            }
            6 => self.end.say(Op::Drained, &[], b""),
            7 => self.end.say(Op::Unsupported, &[tag], b"not this"),
            8 => self.end.say_bytes(&[random.below(20) as u8; 140]),
            _ => {}
        }
    }
}
