//! Makes streams with ffmpeg and runs workers to their end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::process::{Command, Stdio};
use vb3_codec::{Chroma, Event, Job, Kind, Launch, Planes, Refused, StreamFormat, Worker};

/// Longest wait for a worker's event.
pub(crate) const EVENT_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Returns whether ffmpeg with libx264 is installed, and prints a note if not.
pub(crate) fn ffmpeg_is_here() -> bool {
    let encoders = Command::new("ffmpeg")
        .args(["-hide_banner", "-encoders"])
        .stderr(Stdio::null())
        .output();
    let here = encoders.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("libx264"));
    if !here {
        vb3_skip::skip("there is no ffmpeg with libx264");
    }
    here
}

/// Runs ffmpeg with `input` and returns its output.
pub(crate) fn ffmpeg(args: &[&str], input: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input");
    std::fs::write(&file, input).unwrap();
    let args = args.iter().map(|arg| {
        if *arg == "INPUT" {
            file.to_str().unwrap()
        } else {
            arg
        }
    });
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(args)
        .arg("-")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    output.stdout
}

/// Returns an IVF file of frames with their times, 25 for a second.
pub(crate) fn ivf(codec: [u8; 4], size: [u16; 2], frames: &[(u64, &[u8])]) -> Vec<u8> {
    let mut file = b"DKIF\0\0\x20\0".to_vec();
    file.extend(codec);
    file.extend(size.map(u16::to_le_bytes).as_flattened());
    for word in [25u32, 1, u32::try_from(frames.len()).unwrap(), 0] {
        file.extend(word.to_le_bytes());
    }
    for (time, bytes) in frames {
        file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        file.extend(time.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

/// One event of a worker, in a comparable form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TestEvent {
    Consumed(u64),
    Format(StreamFormat),
    Picture {
        tag: u64,
        damaged: bool,
        pixels: Vec<u8>,
    },
    Packet {
        tag: u64,
        key: bool,
        bytes: Vec<u8>,
    },
    Drained,
    Flushed,
    Corrupt(u64, String),
    Unsupported(u64, String),
    /// The loan.
    Filled(u64),
    Died(String),
}

impl From<Event> for TestEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Consumed { tag } => Self::Consumed(tag),
            Event::Format(format) => Self::Format(format),
            Event::Picture {
                tag,
                picture,
                damaged,
                ..
            } => Self::Picture {
                tag,
                damaged,
                pixels: match picture.bits() {
                    8 => pixels(&picture.planes()),
                    // Without gaps, as all pictures in slots.
                    _ => picture.planes().data.concat(),
                },
            },
            Event::Packet { tag, data, key } => Self::Packet {
                tag,
                key,
                bytes: data.bytes().to_vec(),
            },
            Event::Drained => Self::Drained,
            Event::Flushed => Self::Flushed,
            Event::Corrupt { tag, sentence } => Self::Corrupt(tag, sentence),
            Event::Unsupported { tag, sentence, .. } => Self::Unsupported(tag, sentence),
            Event::Filled { loan, .. } => Self::Filled(loan),
            Event::Died { sentence } => Self::Died(sentence),
        }
    }
}

/// A picture without gaps.
pub(crate) fn pixels(planes: &Planes<'_>) -> Vec<u8> {
    let half = (planes.width.div_ceil(2), planes.height.div_ceil(2));
    let whole = (planes.width, planes.height);
    let sizes = match planes.strides {
        [_, _, 0] => [whole, (2 * half.0, half.1), (0, 0)],
        _ => [whole, half, half],
    };
    let mut all = Vec::new();
    for ((data, stride), (columns, rows)) in planes.data.iter().zip(planes.strides).zip(sizes) {
        for row in data.chunks(stride.max(1)).take(rows as usize) {
            all.extend_from_slice(&row[..columns as usize]);
        }
    }
    all
}

/// A worker and all its events.
pub(crate) struct Driven {
    pub(crate) worker: Worker,
    pub(crate) events: Vec<TestEvent>,
    /// Whether formats are accepted at once.
    pub(crate) proceeds: bool,
    /// The chroma layout to request.
    pub(crate) chroma: Chroma,
}

impl Driven {
    pub(crate) fn new(kind: Kind, launch: &Launch) -> Self {
        Self {
            worker: Worker::spawn(kind, launch).unwrap(),
            events: Vec::new(),
            proceeds: true,
            chroma: Chroma::Planar,
        }
    }

    /// Collects available events.
    pub(crate) fn take(&mut self) {
        while let Some(event) = self.worker.poll() {
            let format = matches!(event, Event::Format(_));
            self.events.push(event.into());
            if format && self.proceeds {
                let job = Job::Proceed(self.chroma);
                self.worker.submit(job).unwrap();
            }
        }
    }

    /// Waits for an event of the worker.
    pub(crate) fn wait(&mut self) {
        let before = self.events.len();
        while self.events.len() == before {
            assert!(
                !matches!(self.last(), Some(TestEvent::Died(_))),
                "{:?}",
                self.last()
            );
            self.wait_until_ready();
            self.take();
        }
    }

    /// Waits until an event of the worker may be read.
    pub(crate) fn wait_until_ready(&self) {
        let fd = self.worker.wake_fd();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&EVENT_TIMEOUT)).unwrap();
        assert_eq!(ready, 1, "the worker is silent after {:?}", self.last());
    }

    fn last(&self) -> Option<&TestEvent> {
        self.events.last()
    }

    pub(crate) fn wait_for(&mut self, what: impl Fn(&TestEvent) -> bool) {
        let mut seen = 0;
        loop {
            while let Some(event) = self.events.get(seen) {
                seen += 1;
                if what(event) {
                    return;
                }
            }
            self.wait();
        }
    }

    /// Submits a job, waiting as necessary.
    pub(crate) fn submit(&mut self, job: Job<'_>) {
        loop {
            match self.worker.submit(job) {
                Ok(()) => return,
                Err(Refused::Full(_)) => self.wait(),
                Err(e) => panic!("a job was refused: {e}"),
            }
        }
    }

    /// Decodes pieces, tagged 1, 2, …, and drains.
    pub(crate) fn decode<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for (tag, data) in (1..).zip(pieces) {
            self.submit(Job::Decode { tag, data });
            self.take();
        }
        self.submit(Job::Drain);
        let drains = self.count(|event| *event == TestEvent::Drained);
        while self.count(|event| *event == TestEvent::Drained) == drains {
            self.wait();
        }
    }

    pub(crate) fn count(&self, what: impl Fn(&TestEvent) -> bool) -> usize {
        self.events.iter().filter(|event| what(event)).count()
    }

    pub(crate) fn pictures(&self) -> Vec<&[u8]> {
        let pixels = self.events.iter().filter_map(|event| match event {
            TestEvent::Picture { pixels, .. } => Some(pixels.as_slice()),
            _ => None,
        });
        pixels.collect()
    }

    pub(crate) fn formats(&self) -> Vec<StreamFormat> {
        let formats = self.events.iter().filter_map(|event| match event {
            TestEvent::Format(format) => Some(*format),
            _ => None,
        });
        formats.collect()
    }

    pub(crate) fn faults(&self) -> Vec<&TestEvent> {
        let faults = self.events.iter();
        faults
            .filter(|event| {
                matches!(
                    event,
                    TestEvent::Corrupt(..) | TestEvent::Unsupported(..) | TestEvent::Died(_)
                )
            })
            .collect()
    }
}

/// Peak signal-to-noise ratio in dB.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0f64.powi(2) / (sum / a.len() as f64).max(1e-9)).log10()
}
