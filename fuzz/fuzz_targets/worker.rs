//! Codec workers that send arbitrary messages. The owner of a worker gets only well-formed events:
//! answers to its requests, or the worker's end. There is at most one event per message.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_codec::{
    Chroma, Config, Event, Framing, H264Profile, H264Settings, HevcSettings, Job, Kind, MAX_HEIGHT,
    MAX_IN_FLIGHT, MAX_WIDTH, Packet, Picture, Refused, StreamColor, StreamFormat, StreamSettings,
    Subsampling, Vp8Settings, Worker,
};
use vb3_fuzz::random::Steps;
use vb3_fuzz::wire::{CONFIG_WORDS, End, Op, WORDS, played, taken};

#[derive(Arbitrary, Debug)]
enum Step {
    /// Actions of the owner.
    Configure {
        width: u8,
        height: u8,
        large: bool,
    },
    Input {
        len: u8,
    },
    Drain,
    Flush,
    Proceed {
        pairs: bool,
    },
    Poll,
    Drop {
        which: u8,
    },
    /// Actions of the worker that follow the rules.
    Hear,
    Consume {
        which: u8,
    },
    Format {
        width: u8,
        height: u8,
        crop: [u8; 4],
    },
    Give {
        slot: u8,
        len: u32,
        old: bool,
        other: bool,
    },
    Plain {
        op: Op,
    },
    /// Actions that break the rules.
    Say {
        op: Op,
        words: Vec<u64>,
        text: Vec<u8>,
    },
    Bytes {
        bytes: Vec<u8>,
    },
    Again {
        times: u8,
        op: Op,
        word: u8,
    },
    Die,
}

#[derive(Arbitrary, Debug)]
struct Input {
    kind: u8,
    steps: Steps<Step>,
}

/// Objects that the owner holds.
#[derive(Debug)]
enum Given {
    Picture(Picture),
    Packet(Packet),
}

struct Owner {
    kind: Kind,
    worker: Worker,
    end: Option<End>,
    /// Number of messages to the owner that it has not processed.
    sent: usize,
    /// Tags of input that the worker has not returned yet.
    under_way: Vec<u64>,
    next_tag: u64,
    size: Option<(u32, u32)>,
    drains: usize,
    flushes: usize,
    format: Option<StreamFormat>,
    given: Vec<Given>,
    died: bool,
    /// Input that the worker received (tag and slot), and the generations of its output memory.
    heard: Vec<(u64, u64)>,
    generations: Vec<u64>,
}

impl Owner {
    fn new(kind: Kind) -> Self {
        let worker = Worker::spawn(kind, &played()).expect("memory and a socket");
        Self {
            kind,
            worker,
            end: taken().pop(),
            sent: 0,
            under_way: Vec::new(),
            next_tag: 1,
            size: None,
            drains: 0,
            flushes: 0,
            format: None,
            given: Vec::new(),
            died: false,
            heard: Vec::new(),
            generations: vec![0],
        }
    }

    fn say(&mut self, op: Op, words: &[u64], text: &[u8]) {
        if let Some(end) = &self.end {
            end.say(op, words, text);
            self.sent += 1;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Configure {
                width,
                height,
                large,
            } => self.configure(width.into(), height.into(), large),
            Step::Input { len } => self.input(len.into()),
            Step::Drain => {
                let done = self.worker.submit(Job::Drain);
                self.drains += usize::from(self.took(done));
            }
            Step::Flush => {
                let done = self.worker.submit(Job::Flush);
                if self.took(done) {
                    self.worker.take_back();
                    self.flushes += 1;
                    self.format = None;
                }
            }
            Step::Proceed { pairs } => {
                let chroma = if pairs { Chroma::Pairs } else { Chroma::Planar };
                let job = match pairs {
                    true => Job::ProceedByLoan(chroma),
                    false => Job::Proceed(chroma),
                };
                let done = self.worker.submit(job);
                let format = self.format;
                if self.took(done) {
                    // Makes a loan without memory, so the picture uses a slot.
                    let _ = self.worker.lend(None);
                    let visible = format.expect("a format to go on with").visible;
                    self.size = Some((visible.width, visible.height));
                    self.format = None;
                }
            }
            Step::Poll => self.poll(),
            Step::Drop { which } => {
                if !self.given.is_empty() {
                    let at = usize::from(which) % self.given.len();
                    self.given.swap_remove(at);
                }
            }
            Step::Hear => {
                while let Some((op, words)) = self.end.as_ref().and_then(End::hear) {
                    match op {
                        Op::Decode | Op::Encode => self.heard.push((words[0], words[1])),
                        Op::Proceed => self.generations.push(words[0]),
                        Op::Configure if words[CONFIG_WORDS] != 0 => {
                            self.generations.push(words[CONFIG_WORDS]);
                        }
                        _ => {}
                    }
                }
            }
            Step::Consume { which } => {
                if !self.heard.is_empty() {
                    let at = usize::from(which) % self.heard.len();
                    let (tag, slot) = self.heard.remove(at);
                    self.say(Op::Consumed, &[tag, slot], b"");
                }
            }
            Step::Format {
                width,
                height,
                crop,
            } => {
                let [left, top, right, bottom] = crop.map(u64::from);
                let (width, height) = (u64::from(width) * 17, u64::from(height) * 10);
                let inner = (
                    width.wrapping_sub(left + right),
                    height.wrapping_sub(top + bottom),
                );
                let words = [
                    width, height, left, top, inner.0, inner.1, 1, 1, 1, 0, 66, 10, 8,
                ];
                self.say(Op::Format, &words, b"");
            }
            Step::Give {
                slot,
                len,
                old,
                other,
            } => {
                let tag = self.heard.first().map_or(1, |(tag, _)| *tag);
                let at = self.generations.len() - 1;
                let at = if old { at.saturating_sub(1) } else { at };
                let generation = self.generations[at];
                if self.kind.encodes() != other {
                    let len = len.into();
                    self.say(
                        Op::Packet,
                        &[tag, generation, (slot % 9).into(), len, 1],
                        b"",
                    );
                } else {
                    self.say(Op::Picture, &[tag, generation, (slot % 9).into(), 0], b"");
                }
            }
            Step::Plain { op } => self.say(op, &[], b"a sentence"),
            Step::Say { op, words, text } => {
                self.say(op, &words[..words.len().min(WORDS)], &text);
            }
            Step::Bytes { bytes } => {
                if let Some(end) = &self.end {
                    end.say_bytes(&bytes);
                    self.sent += 1;
                }
            }
            Step::Again { times, op, word } => {
                for _ in 0..times {
                    self.say(op, &[word.into(), 1, 0, 1], b"");
                }
            }
            Step::Die => self.end = None,
        }
    }

    /// Returns whether the worker accepted a job. After its end, it must not accept any.
    fn took(&self, done: Result<(), Refused>) -> bool {
        assert!(
            !self.died || done != Ok(()),
            "a worker that has ended accepted a job"
        );
        done.is_ok()
    }

    fn configure(&mut self, width: u32, height: u32, large: bool) {
        let (width, height) = match large {
            true => (width * 16, height * 16),
            false => (width, height),
        };
        let stream = StreamSettings {
            width,
            height,
            rate: (25, 1),
            bitrate: 1_000_000,
            gop: 10,
        };
        let config = match self.kind {
            Kind::H264Encoder => Config::H264Encoder(H264Settings {
                stream,
                profile: H264Profile::Main,
                level: None,
                color: StreamColor::default(),
            }),
            Kind::Vp8Encoder => Config::Vp8Encoder(Vp8Settings {
                stream,
                constant: false,
                profile: 0,
                qp: (0, 127),
            }),
            Kind::HevcEncoder => Config::HevcEncoder(HevcSettings {
                stream,
                constant: false,
                level: 31,
                most_kilobits: 10_000,
                qp: (0, 51),
                color: StreamColor::default(),
            }),
            Kind::JpegEncoder => Config::JpegEncoder {
                width,
                height,
                quality: 50,
                sampling: Subsampling::default(),
                has_limited_range: false,
            },
            _ => Config::Decoder(Framing::Auto),
        };
        let done = self.worker.submit(Job::Configure(config));
        if self.took(done) && self.kind.encodes() {
            self.size = Some((width, height));
        }
    }

    fn input(&mut self, len: usize) {
        let tag = self.next_tag;
        let room = self.worker.room();
        assert!(self.died || room == MAX_IN_FLIGHT - self.under_way.len());
        let done = if self.kind.encodes() {
            self.worker.begin_picture().and_then(|()| {
                let to = self.worker.picture().expect("it was begun");
                assert_eq!(Some((to.width, to.height)), self.size);
                to.data.into_iter().for_each(|plane| plane[0] = 1);
                self.worker.encode_picture(tag, len.is_multiple_of(2))
            })
        } else {
            let data = vec![0x5a; len];
            self.worker.submit(Job::Decode { tag, data: &data })
        };
        assert!(room > 0 || done.is_err());
        if self.took(done) {
            self.under_way.push(tag);
            self.next_tag += 1;
        }
    }

    /// Receives all events: at most one per message, and one for the end.
    fn poll(&mut self) {
        let most = self.sent + 1;
        let (mut events, mut silences) = (0, 0);
        // One poll skips at most 64 messages without an event, so the owner polls several times.
        while silences <= most / 64 {
            let Some(event) = self.worker.poll() else {
                silences += 1;
                continue;
            };
            events += 1;
            assert!(events <= most, "there are more events than messages");
            assert!(!self.died, "an event came after the worker's end");
            self.event(event);
        }
        self.sent = 0;
        if self.end.is_none() {
            assert!(self.died, "no event reports the worker's end");
        }
    }

    fn event(&mut self, event: Event) {
        let unasked = |what: &str| panic!("{what} unasked");
        let forgotten = self.flushes > 0;
        match event {
            Event::Consumed { tag } => {
                let at = self.under_way.iter().position(|known| *known == tag);
                self.under_way
                    .remove(at.expect("input came back that the worker did not have"));
            }
            Event::Format(format) => {
                assert!(!self.kind.encodes() && !forgotten, "a format");
                let visible = format.visible;
                assert!(visible.width > 0 && visible.height > 0);
                assert!(format.coded_width <= MAX_WIDTH && format.coded_height <= MAX_HEIGHT);
                assert!(visible.left + visible.width <= format.coded_width);
                assert!(visible.top + visible.height <= format.coded_height);
                self.format = Some(format);
            }
            Event::Picture { picture, .. } => {
                assert!(!self.kind.encodes() && !forgotten, "a picture");
                {
                    let planes = picture.planes();
                    assert_eq!(Some((planes.width, planes.height)), self.size);
                    let half = (planes.width.div_ceil(2) * planes.height.div_ceil(2)) as usize;
                    let sizes = planes.data.map(<[u8]>::len);
                    let luma = (planes.width * planes.height) as usize;
                    match picture.chroma() {
                        Chroma::Planar => assert_eq!(sizes, [luma, half, half]),
                        Chroma::Pairs => assert_eq!(sizes, [luma, 2 * half, 0]),
                    }
                    assert!(
                        planes
                            .data
                            .iter()
                            .all(|plane| plane.last().is_none_or(|byte| *byte == 0))
                    );
                }
                self.given.push(Given::Picture(picture));
            }
            Event::Filled { .. } => panic!("memory was not lent"),
            Event::Packet { data, .. } => {
                assert!(self.kind.encodes() && !forgotten, "a packet");
                assert!(data.bytes().iter().rev().take(4).all(|byte| *byte == 0));
                self.given.push(Given::Packet(data));
            }
            Event::Drained => {
                self.drains = self
                    .drains
                    .checked_sub(1)
                    .unwrap_or_else(|| unasked("drained"));
            }
            Event::Flushed => {
                self.flushes = self
                    .flushes
                    .checked_sub(1)
                    .unwrap_or_else(|| unasked("flushed"));
            }
            Event::Corrupt { sentence, .. } | Event::Unsupported { sentence, .. } => {
                assert!(!forgotten && sentence.len() <= 300);
            }
            Event::Died { sentence } => {
                assert!(!sentence.is_empty());
                self.died = true;
            }
        }
        assert!(self.given.len() <= 4 * vb3_codec::OUTPUT_SLOTS * 8);
    }
}

vb3_fuzz::target!(|input: Input| {
    let kinds = [
        Kind::H264Decoder,
        Kind::JpegDecoder,
        Kind::H264Encoder,
        Kind::JpegEncoder,
        Kind::Vp8Encoder,
        Kind::HevcEncoder,
    ];
    let mut owner = Owner::new(kinds[usize::from(input.kind) % kinds.len()]);
    for step in input.steps.0 {
        owner.step(step);
    }
    owner.poll();
    // Pictures stay valid after their worker was dropped.
    drop(owner.worker);
    for given in &owner.given {
        match given {
            Given::Picture(picture) => assert!(!picture.planes().data[0].is_empty()),
            Given::Packet(packet) => assert!(packet.bytes().len() < 1 << 26),
        }
    }
});
