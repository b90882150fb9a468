//! The owner of a decoder. It uses the decoder's API correctly, and sends arbitrary streams.

use crate::random::Random;
use arbitrary::Arbitrary;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use vb3_codec::{
    Chroma, Config, Event, Framing, Job, Kind, Launch, MAX_HEIGHT, MAX_WIDTH, Picture, Refused,
    Worker,
};

/// Longest time that a worker may compute without an event.
const WORKER_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// How a stream is submitted.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Plan {
    /// Determines the pieces, the drains and flushes, and the pictures to keep.
    pub random: Random,
    /// Framing, size of pieces, and chroma layout.
    pub manner: u8,
}

/// Sends a stream to a worker in pieces, and checks its events.
///
/// # Panics
/// Panics if the worker sends no event or an invalid one.
pub fn drive(kind: Kind, launch: &Launch, plan: Plan, data: &[u8]) {
    let Plan { mut random, manner } = plan;
    let worker = Worker::spawn(kind, launch).expect("a worker can be started");
    let mut owner = Owner {
        kind,
        worker,
        chroma: if manner >= 128 {
            Chroma::Pairs
        } else {
            Chroma::Planar
        },
        under_way: VecDeque::new(),
        flushed_below: 0,
        drains: 0,
        flushes: 0,
        size: None,
        kept: VecDeque::new(),
        alive: true,
    };
    let framing = match manner % 3 {
        0 => Framing::Auto,
        1 => Framing::AccessUnits,
        _ => Framing::Stream,
    };
    owner.submit(Job::Configure(Config::Decoder(framing)));
    let most = [64, 1024, 1 << 14, 1 << 20][usize::from(manner / 3 % 4)];
    // The maximum grows with the data, because more pieces take longer and show nothing new.
    let pieces = random.pieces(data, most.max(data.len() / 64));
    for (tag, data) in (1..).zip(pieces) {
        if owner.submit(Job::Decode { tag, data }) {
            owner.under_way.push_back(tag);
        }
        match random.below(16) {
            0 => owner.drains += usize::from(owner.submit(Job::Drain)),
            1 if owner.submit(Job::Flush) => {
                owner.flushes += 1;
                owner.flushed_below = tag + 1;
            }
            2 => owner.kept.clear(),
            _ => owner.take(),
        }
    }
    owner.drains += usize::from(owner.submit(Job::Drain));
    while owner.alive && owner.drains + owner.flushes + owner.under_way.len() > 0 {
        owner.wait();
    }
    assert!(owner.alive || owner.worker.poll().is_none());
}

struct Owner {
    kind: Kind,
    worker: Worker,
    chroma: Chroma,
    /// Tags of pieces that the worker has not returned yet.
    under_way: VecDeque<u64>,
    /// Pieces with lower tags were flushed.
    flushed_below: u64,
    drains: usize,
    flushes: usize,
    size: Option<(u32, u32)>,
    /// The newest pictures.
    kept: VecDeque<Picture>,
    alive: bool,
}

impl Owner {
    /// Returns whether the worker accepted the job; otherwise the worker has ended.
    fn submit(&mut self, job: Job<'_>) -> bool {
        while self.alive {
            match self.worker.submit(job) {
                Ok(()) => return true,
                Err(Refused::Full(_)) => self.wait(),
                Err(Refused::Dead) => {
                    self.take();
                    assert!(!self.alive, "no event reports the worker's end");
                }
                Err(e) => panic!("{job:?} was refused: {e}"),
            }
        }
        false
    }

    /// Waits for an event.
    fn wait(&mut self) {
        let fd = self.worker.wake_fd();
        let ready = poll(
            &mut [PollFd::new(&fd, PollFlags::IN)],
            Some(&WORKER_TIMEOUT),
        );
        assert_eq!(ready, Ok(1), "the worker is silent");
        self.take();
    }

    fn take(&mut self) {
        while let Some(event) = self.worker.poll() {
            assert!(self.alive, "an event came after the worker's end");
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Consumed { tag } => {
                // Jobs finish in order.
                assert_eq!(self.under_way.pop_front(), Some(tag));
            }
            Event::Format(format) => {
                assert_eq!(self.flushes, 0, "a format of input that is being flushed");
                let visible = format.visible;
                assert!(format.coded_width <= MAX_WIDTH && format.coded_height <= MAX_HEIGHT);
                assert!(visible.width > 0 && visible.height > 0);
                self.size = Some((visible.width, visible.height));
                self.kept.clear();
                self.submit(Job::Proceed(self.chroma));
            }
            Event::Picture { tag, picture, .. } => {
                assert_eq!(self.flushes, 0, "a picture of input that is being flushed");
                assert!(
                    tag >= self.flushed_below,
                    "a picture of input that was flushed"
                );
                let planes = picture.planes();
                assert_eq!(Some((planes.width, planes.height)), self.size);
                assert_eq!(picture.chroma(), self.chroma);
                let filled = planes.data.iter().filter(|plane| !plane.is_empty());
                let wanted = if self.chroma == Chroma::Pairs { 2 } else { 3 };
                assert_eq!(filled.count(), wanted);
                if self.kept.len() >= 4 {
                    self.kept.pop_front();
                }
                self.kept.push_back(picture);
            }
            Event::Corrupt { sentence, .. } | Event::Unsupported { sentence, .. } => {
                assert!(self.flushes == 0 && !sentence.is_empty());
            }
            Event::Drained => {
                self.drains = self.drains.checked_sub(1).expect("drained unasked");
            }
            Event::Flushed => {
                self.flushes = self.flushes.checked_sub(1).expect("flushed unasked");
                assert!(
                    self.under_way.iter().all(|tag| *tag >= self.flushed_below) || self.flushes > 0
                );
            }
            Event::Died { sentence } => {
                // The H.264 library may fail. Our own code and the JPEG decoder may not.
                assert_eq!(self.kind, Kind::H264Decoder, "{sentence}");
                eprintln!("{sentence}");
                self.alive = false;
            }
            Event::Packet { .. } => panic!("a decoder sent a packet"),
            Event::Filled { .. } => panic!("nothing was lent"),
        }
    }
}
