//! The library decodes directly into the host's memory, which the host displays, lends again and takes
//! away.

use crate::others::{CASES, encoded, frames};
use crate::tools::*;
use crate::{launch, library};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use vb3_codec::{
    Chroma, Config, Event, Framing, Job, Kind, Lent, LentPlane, Refused, StreamFormat, Worker,
};

/// Longest wait for a worker's event.
const EVENT_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// A host with buffers.
struct Host {
    worker: Worker,
    chroma: Chroma,
    /// Whether each plane has separate memory.
    is_separate: bool,
    /// The memory of each buffer.
    buffers: Vec<Vec<File>>,
    size: (u64, u64),
    /// Unused buffers.
    free: VecDeque<usize>,
    /// Loans with their buffers.
    lent: BTreeMap<u64, usize>,
    /// Buffers on display. If there are more than `keeps`, the oldest becomes unused.
    shown: VecDeque<usize>,
    keeps: usize,
    pictures: Vec<Vec<u8>>,
    /// Bytes copied to the buffers, for each picture.
    copied: Vec<u64>,
    /// Part of the numbers of lent memory. It increases when the host has taken all memory back.
    generation: u64,
    /// Pieces that the worker has not consumed.
    under_way: usize,
    is_over: bool,
    format: Option<StreamFormat>,
}

impl Host {
    fn new(kind: Kind, chroma: Chroma, buffers: usize, keeps: usize) -> Self {
        let mut worker = Worker::spawn(kind, &launch()).unwrap();
        let framing = Config::Decoder(Framing::AccessUnits);
        worker.submit(Job::Configure(framing)).unwrap();
        Self {
            worker,
            chroma,
            is_separate: false,
            buffers: Vec::new(),
            size: (0, 0),
            free: (0..buffers).collect(),
            lent: BTreeMap::new(),
            shown: VecDeque::new(),
            keeps,
            pictures: Vec::new(),
            copied: Vec::new(),
            generation: 0,
            under_way: 0,
            is_over: false,
            format: None,
        }
    }

    fn with_separate_planes(mut self) -> Self {
        self.is_separate = true;
        self
    }

    /// Returns for each plane of a picture: the buffer's memory, offset, row bytes and total bytes.
    fn planes(&self) -> Vec<(usize, u64, u64, u64)> {
        let (width, luma) = (self.size.0, self.size.0 * self.size.1);
        let shapes = match self.chroma {
            Chroma::Planar => vec![(width, luma), (width / 2, luma / 4), (width / 2, luma / 4)],
            Chroma::Pairs => vec![(width, luma), (width, luma / 2)],
        };
        let mut offset = 0;
        let planes = shapes
            .into_iter()
            .enumerate()
            .map(|(index, (stride, len))| {
                let before = offset;
                offset += len;
                match self.is_separate {
                    true => (index, 0, stride, len),
                    false => (0, before, stride, len),
                }
            });
        planes.collect()
    }

    /// Memory for one picture.
    fn make(&self) -> Vec<File> {
        let mut lens = vec![0; 1];
        for (memory, offset, _, len) in self.planes() {
            lens.resize(memory + 1, 0);
            lens[memory] = offset + len;
        }
        let make = |len: u64| {
            let file = memfd_create("buffer", MemfdFlags::ALLOW_SEALING).unwrap();
            let file = File::from(file);
            file.set_len(len.next_multiple_of(4096)).unwrap();
            fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
            file
        };
        lens.into_iter().map(make).collect()
    }

    fn proceed(&mut self, format: &StreamFormat) {
        self.size = (format.visible.width.into(), format.visible.height.into());
        self.format = Some(*format);
        if self.buffers.is_empty() {
            self.buffers = self.free.iter().map(|_| self.make()).collect();
        }
        self.worker.submit(Job::ProceedByLoan(self.chroma)).unwrap();
    }

    fn len(&self) -> u64 {
        self.size.0 * self.size.1 * 3 / 2
    }

    fn lend(&mut self) {
        while self.format.is_some()
            && let Some(buffer) = self.free.pop_front()
        {
            let files = &self.buffers[buffer];
            let number = self.generation * 1000 + buffer as u64 * 10;
            let plane = |(memory, offset, stride, _): (usize, u64, u64, u64)| LentPlane {
                memory: files[memory].as_fd(),
                number: number + memory as u64,
                len: files[memory].metadata().unwrap().len(),
                offset,
                stride,
            };
            let planes: Vec<_> = self.planes().into_iter().map(plane).collect();
            let lent = Lent {
                chroma: self.chroma,
                planes: &planes,
            };
            match self.worker.lend(Some(&lent)) {
                Ok(loan) => _ = self.lent.insert(loan, buffer),
                Err(Refused::Full(_)) => return self.free.push_front(buffer),
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn take(&mut self) {
        while let Some(event) = self.worker.poll() {
            match event {
                Event::Format(format) => self.proceed(&format),
                Event::Filled {
                    loan,
                    copied,
                    damaged,
                    ..
                } => {
                    assert!(!damaged);
                    let buffer = self.lent.remove(&loan).unwrap();
                    self.pictures.push(self.look(buffer));
                    self.copied.push(copied);
                    self.shown.push_back(buffer);
                    if self.shown.len() > self.keeps {
                        self.free.extend(self.shown.pop_front());
                    }
                }
                Event::Drained => self.is_over = true,
                Event::Consumed { .. } => self.under_way -= 1,
                Event::Flushed => {}
                other => panic!("{other:?}"),
            }
        }
        self.lend();
    }

    /// A buffer's picture as I420.
    fn look(&self, buffer: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (memory, offset, _, len) in self.planes() {
            let mut plane = vec![0; usize::try_from(len).unwrap()];
            let file = &self.buffers[buffer][memory];
            file.read_exact_at(&mut plane, offset).unwrap();
            bytes.extend(plane);
        }
        if self.chroma == Chroma::Pairs {
            let pairs = bytes.split_off(bytes.len() / 3 * 2);
            bytes.extend(pairs.iter().step_by(2));
            bytes.extend(pairs.iter().skip(1).step_by(2));
        }
        bytes
    }

    fn wait(&mut self) {
        let fd = self.worker.wake_fd();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&EVENT_TIMEOUT)).unwrap();
        assert_eq!(ready, 1, "silent after {} pictures", self.pictures.len());
        self.take();
    }

    fn submit(&mut self, job: Job<'_>) {
        loop {
            match self.worker.submit(job) {
                Ok(()) => return self.take(),
                Err(Refused::Full(_)) => self.wait(),
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Decodes units. Waits after each one until the format is known, so that the host lends buffers early.
    fn decode(&mut self, units: &[&[u8]]) {
        for data in units {
            self.under_way += 1;
            self.submit(Job::Decode { tag: 1, data });
            // The unit's end may be known only when the next one begins.
            while self.buffers.is_empty() && self.under_way > 0 {
                self.wait();
            }
        }
        while self.under_way > 0 {
            self.wait();
        }
    }

    fn drain(&mut self) {
        self.submit(Job::Drain);
        while !self.is_over {
            self.wait();
        }
    }

    /// Replaces all buffers, as a program that restarts streaming. Returns the old ones.
    fn replace_buffers(&mut self) -> Vec<File> {
        self.worker.take_all_back();
        self.take_late();
        let old = std::mem::take(&mut self.buffers);
        self.free = (0..old.len()).collect();
        self.lent.clear();
        self.shown.clear();
        self.generation += 1;
        self.buffers = old.iter().map(|_| self.make()).collect();
        old.into_iter().flatten().collect()
    }

    /// Drops events that were reported before all loans were revoked. None of them may be a filled buffer.
    fn take_late(&mut self) {
        while let Some(event) = self.worker.poll() {
            assert!(!matches!(event, Event::Filled { .. }), "it was taken back");
        }
    }

    /// Decodes a whole stream, and checks that its pictures equal ffmpeg's.
    fn expect_exact(&mut self, name: &str, pieces: &[&[u8]], (stream, format): (&[u8], &str)) {
        self.decode(pieces);
        self.drain();
        let pictures: Vec<&[u8]> = self.pictures.iter().map(Vec::as_slice).collect();
        assert_same_pictures(name, &pictures, &decoded_by_ffmpeg(stream, format));
    }
}

/// The library decodes all pictures except the first, which gave the format, into buffers. Only the end of a
/// plane that shares its page with another plane is copied, and chroma for UV pairs.
#[test]
fn library_decodes_into_host_buffers() {
    if library().is_none() {
        return;
    }
    for (size, options) in [
        ("640x480", "bframes=3:direct=auto:b-pyramid=normal:ref=4"),
        ("640x360", "bframes=2:weightp=2:8x8dct=1:slices=3"),
        ("1280x720", "bframes=0:ref=3"),
        ("256x136", "bframes=16:b-adapt=0:b-pyramid=normal:ref=16"),
    ] {
        let stream = x264(size, 40, "high", options);
        let units = access_units(&stream);
        for chroma in [Chroma::Planar, Chroma::Pairs] {
            let name = format!("{size} {chroma:?} {options}");
            let mut host = Host::new(Kind::H264Decoder, chroma, 26, 2);
            host.expect_exact(&name, &units, (&stream, "h264"));
            let most = match chroma {
                // The end of each plane, if this is not the end of a page.
                Chroma::Planar => 3 * 4095,
                Chroma::Pairs => 4095 + host.len() / 3,
            };
            let by_copy = host.copied.iter().filter(|bytes| **bytes > most).count();
            assert!(by_copy <= 1, "{name}: {:?}", host.copied);
            if size == "1280x720" && chroma == Chroma::Planar {
                let least = host.copied.iter().min().unwrap();
                // Luma is whole pages. U ends a quarter into a page, and V a half.
                assert_eq!(*least, 1024 + 2048, "{:?}", host.copied);
            }
        }
    }
}

/// The end of each plane is copied, since it is not the end of a page, and chroma for UV pairs. The first
/// picture, which gave the format, is copied whole.
#[test]
fn pictures_of_1080_lines_lie_in_separate_planes() {
    if library().is_none() {
        return;
    }
    let stream = x264("1920x1080", 16, "high", "bframes=2:b-pyramid=normal:ref=3");
    let units = access_units(&stream);
    for (chroma, copied) in [
        (Chroma::Planar, 1024 + 2 * 2304),
        (Chroma::Pairs, 1024 + 1920 * 540),
    ] {
        let mut host = Host::new(Kind::H264Decoder, chroma, 12, 2).with_separate_planes();
        host.expect_exact(&format!("{chroma:?}"), &units, (&stream, "h264"));
        let (first, rest) = host.copied.split_first().unwrap();
        assert_eq!(*first, host.len(), "{chroma:?}");
        assert_eq!(rest, [copied; 15], "{chroma:?}");
    }
}

/// Lists the codecs whose pictures need no copy, and checks that pictures are not confused.
#[test]
#[ignore = "full: further codecs"]
fn other_codecs_fill_lent_buffers() {
    if library().is_none() {
        return;
    }
    for (kind, words, container) in CASES {
        let stream = encoded(words, "640x368", container);
        let pieces = match container {
            "ivf" => frames(&stream),
            _ => stream.chunks(4000).collect(),
        };
        for buffers in [3, 24] {
            let mut host = Host::new(kind, Chroma::Planar, buffers, 1);
            if container != "ivf" {
                let framing = Config::Decoder(Framing::Stream);
                host.worker.submit(Job::Configure(framing)).unwrap();
            }
            host.expect_exact(words, &pieces, (&stream, container));
            let whole = host.len();
            let by_copy = host.copied.iter().filter(|bytes| **bytes == whole).count();
            // AV1's library uses its own memory, and fields are always copied.
            let is_there = kind != Kind::Av1Decoder && !words.contains("ildct");
            println!("{words}: {by_copy} of {} copied", host.copied.len());
            if is_there && buffers == 24 {
                assert!(by_copy <= 10, "{words}: {by_copy} by copy");
            }
            if !is_there {
                assert_eq!(by_copy, host.copied.len(), "{words}");
            }
        }
    }
}

/// With fewer buffers than references, a buffer with a reference is lent again.
#[test]
fn references_lent_again_are_not_overwritten() {
    if library().is_none() {
        return;
    }
    let options = "bframes=3:b-pyramid=normal:ref=8:keyint=250:scenecut=0";
    let stream = x264("320x240", 60, "high", options);
    let units = access_units(&stream);
    for chroma in [Chroma::Planar, Chroma::Pairs] {
        for (buffers, keeps) in [(1, 0), (2, 0), (3, 1), (5, 0), (8, 2), (12, 0)] {
            let mut host = Host::new(Kind::H264Decoder, chroma, buffers, keeps);
            host.expect_exact(&format!("{buffers} {keeps}"), &units, (&stream, "h264"));
        }
    }
}

/// Units decoded after the buffers were taken away refer to pictures in them.
#[test]
fn revoked_buffers_stay_references_unwritten() {
    if library().is_none() {
        return;
    }
    let options = "bframes=2:b-pyramid=normal:ref=4:keyint=250:scenecut=0";
    let stream = x264("640x480", 60, "high", options);
    let units = access_units(&stream);
    let wanted = decoded_by_ffmpeg(&stream, "h264");
    let wanted: Vec<&[u8]> = wanted.chunks(640 * 480 * 3 / 2).collect();
    for at in [1, 2, 9, 30] {
        let mut host = Host::new(Kind::H264Decoder, Chroma::Planar, 12, 1);
        host.decode(&units[..at]);
        let old = host.replace_buffers();
        // The new owner writes to them at once.
        let scribble = vec![0x55; usize::try_from(host.len()).unwrap()];
        for file in &old {
            file.write_all_at(&scribble, 0).unwrap();
        }
        let before = host.pictures.len();
        host.lend();
        host.decode(&units[at..]);
        host.drain();
        // Pictures in transit are lost.
        let after = host.pictures[before..].iter().map(Vec::as_slice);
        let skipped = wanted.len() - after.len();
        assert!(skipped <= at, "{at}: {skipped}");
        let after: Vec<&[u8]> = after.collect();
        assert!(after == wanted[skipped..], "after {at}");
        let mut now = scribble.clone();
        for file in &old {
            file.read_exact_at(&mut now, 0).unwrap();
            assert!(now == scribble, "after {at}: it was written later");
        }
    }
}

/// Pictures of two fields are copied when the library returns them. So the library never writes to a buffer
/// after that.
#[test]
fn seeks_sizes_and_fields_work_with_loans() {
    if library().is_none() {
        return;
    }
    let fields = x264("640x480", 30, "high", "bframes=3:interlaced=1");
    let mut host = Host::new(Kind::H264Decoder, Chroma::Planar, 12, 1);
    host.expect_exact("fields", &access_units(&fields), (&fields, "h264"));
    let all = host.len();
    assert!(host.copied.iter().all(|bytes| *bytes == all));

    let stream = x264("640x480", 40, "high", "bframes=3:keyint=10:scenecut=0");
    let units = access_units(&stream);
    let mut host = Host::new(Kind::H264Decoder, Chroma::Pairs, 12, 1);
    for to in [3, 17, 26, 38] {
        host.decode(&units[..to]);
        host.worker.take_back();
        host.take_late();
        let lent = std::mem::take(&mut host.lent);
        host.free.extend(lent.into_values());
        host.submit(Job::Flush);
    }
    host.pictures.clear();
    host.expect_exact("after seeks", &units, (&stream, "h264"));
}
