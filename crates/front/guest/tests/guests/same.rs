//! The same programs in a process and in a guest: equal bytes, equal pictures, equal reasons.

use std::mem::offset_of;

use crate::client::{BASE, Client, Mapped};
use crate::guest::{BUFFER, Guest, PLANE, is_multiplanar, u32_at, words};
use crate::process::Process;
use crate::vmm::Server;
use vb3_codec::Launch;
use vb3_machine::Profile;
use vb3_report::Report;
use vb3_run::{Outside, Pace, Run};
use vb3_v4l2::sys;

pub(crate) const CAPTURE: u32 = 1;
pub(crate) const OUTPUT: u32 = 2;
pub(crate) const MMAP: u32 = 1;
pub(crate) const USERPTR: u32 = 2;
/// Where a program keeps structures, planes and user buffers.
const STRUCTURE: u64 = BASE;
const PLANES: u64 = BASE + 0x1000;
const USERS: u64 = BASE + 0x10_0000 + 0x20;
/// Bytes between user buffers, so that they begin in the middle of a page.
const USER_STEP: u64 = 0x8_0040;

/// Makes a run on a clock that stands still, or that jumps to the next frame when all wait.
pub(crate) fn run(specs: &[&str], pace: Pace) -> Run {
    let specs: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    let outside = Outside::new(|| 1_000_000_000, Launch::in_thread());
    let profile = Profile::builtin("pc").unwrap();
    let mut run = Run::with(profile, &specs, 0, outside).unwrap();
    run.set_pace(pace);
    run
}

/// What a program saw.
type Seen = Vec<(String, Vec<u8>)>;

/// A program, and what it has seen.
struct Program<'a> {
    client: &'a mut dyn Client,
    seen: Seen,
}

/// One queue of an open file: file, buffer type, memory type.
#[derive(Clone, Copy)]
struct Queue {
    file: usize,
    type_: u32,
    memory: u32,
}

impl<'a> Program<'a> {
    fn new(client: &'a mut dyn Client) -> Self {
        let seen = Vec::new();
        Self { client, seen }
    }

    /// Opens a device, to use its queue of this buffer type with this memory type.
    fn open(&mut self, device: usize, (type_, memory): (u32, u32)) -> Queue {
        let file = self.client.open(device).unwrap();
        Queue {
            file,
            type_,
            memory,
        }
    }

    /// Opens a codec or converter. Returns its queues, OUTPUT and CAPTURE, which are multi-planar.
    fn open_both(&mut self, device: usize, memory: u32) -> [Queue; 2] {
        let output = self.open(device, (10, memory));
        let capture = Queue { type_: 9, ..output };
        [output, capture]
    }

    fn see(&mut self, what: &str, bytes: Vec<u8>) {
        self.seen.push((what.to_owned(), bytes));
    }

    /// Makes an ioctl, which must succeed, on a structure. Returns the structure afterwards.
    fn ioctl(&mut self, file: usize, request: u32, structure: &[u8]) -> Vec<u8> {
        self.client.poke(STRUCTURE, structure);
        let done = self.client.ioctl(file, request, STRUCTURE);
        assert_eq!(done, Ok(()), "{request:#x} {structure:?}");
        let after = self.client.peek(STRUCTURE, structure.len());
        self.see(&format!("{request:#x}"), after.clone());
        after
    }

    /// Sets a format's size and pixel format. Returns the image's size in bytes.
    fn format(&mut self, q: Queue, width: u32, height: u32, fourcc: &[u8; 4]) -> usize {
        let mut format = vec![0; size_of::<sys::v4l2_format>()];
        format[..4].copy_from_slice(&words(&[q.type_]));
        let picture = words(&[width, height, u32::from_le_bytes(*fourcc)]);
        format[8..20].copy_from_slice(&picture);
        let format = self.ioctl(q.file, sys::VIDIOC_S_FMT, &format);
        // sizeimage of v4l2_pix_format; the first plane's in v4l2_pix_format_mplane lies at the same place.
        u32_at(&format, 28) as usize
    }

    fn request(&mut self, q: Queue, count: u32) -> u32 {
        let structure = words(&[count, q.type_, q.memory, 0, 0]);
        let mut granted = self.ioctl(q.file, sys::VIDIOC_REQBUFS, &structure);
        let (_, last) = self.seen.last_mut().unwrap();
        hide_queue_caps(last, 12);
        hide_queue_caps(&mut granted, 12);
        u32_at(&granted, 0)
    }

    fn buffer(q: Queue, index: u32) -> Vec<u8> {
        let mut buffer = vec![0; BUFFER];
        let mut set = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
        set(0, &words(&[index, q.type_]));
        set(offset_of!(sys::v4l2_buffer, memory), &words(&[q.memory]));
        if is_multiplanar(q.type_) {
            set(offset_of!(sys::v4l2_buffer, m), &PLANES.to_le_bytes());
            set(offset_of!(sys::v4l2_buffer, length), &words(&[8]));
        }
        buffer
    }

    /// Returns a user buffer's address.
    fn user(index: u32) -> u64 {
        USERS + u64::from(index) * USER_STEP
    }

    /// Maps all planes of a buffer.
    fn map(&mut self, q: Queue, index: u32) -> Vec<(Mapped, usize)> {
        let buffer = self.ioctl(q.file, sys::VIDIOC_QUERYBUF, &Self::buffer(q, index));
        let length = u32_at(&buffer, offset_of!(sys::v4l2_buffer, length));
        let places: Vec<(u32, u32)> = if is_multiplanar(q.type_) {
            let planes = self.client.peek(PLANES, length as usize * PLANE);
            self.see("planes", planes.clone());
            let place = |plane: &[u8]| {
                (
                    u32_at(plane, offset_of!(sys::v4l2_plane, m)),
                    u32_at(plane, 4),
                )
            };
            planes.chunks_exact(PLANE).map(place).collect()
        } else {
            vec![(u32_at(&buffer, offset_of!(sys::v4l2_buffer, m)), length)]
        };
        let map = |(offset, len): (u32, u32)| {
            let mapped = self.client.map(q.file, offset, len.into());
            (mapped.unwrap(), len as usize)
        };
        places.into_iter().map(map).collect()
    }

    /// Queues the only CAPTURE buffer of a codec or converter, whose OUTPUT buffer uses the first user buffer.
    fn queue_capture(&mut self, q: Queue, len: usize) {
        self.queue_with_user(q, 0, Self::user(1), (len, 0));
    }

    /// Queues a buffer. An output buffer holds `used` bytes.
    fn queue(&mut self, q: Queue, index: u32, len: usize, used: usize) {
        self.queue_with_user(q, index, Self::user(index), (len, used));
    }

    /// Queues a buffer, which lies at this address if it is a user buffer.
    fn queue_with_user(&mut self, q: Queue, index: u32, user: u64, (len, used): (usize, usize)) {
        let mut buffer = Self::buffer(q, index);
        let mut set = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
        set(
            offset_of!(sys::v4l2_buffer, bytesused),
            &words(&[used as u32]),
        );
        set(
            offset_of!(sys::v4l2_buffer, timestamp),
            &u64::from(index + 7).to_le_bytes(),
        );
        if is_multiplanar(q.type_) {
            let mut planes = vec![0; 8 * PLANE];
            planes[..8].copy_from_slice(&words(&[used as u32, len as u32]));
            if q.memory == USERPTR {
                let at = offset_of!(sys::v4l2_plane, m);
                planes[at..at + 8].copy_from_slice(&user.to_le_bytes());
            }
            set(offset_of!(sys::v4l2_buffer, length), &words(&[1]));
            self.client.poke(PLANES, &planes);
        } else if q.memory == USERPTR {
            set(offset_of!(sys::v4l2_buffer, m), &user.to_le_bytes());
            set(offset_of!(sys::v4l2_buffer, length), &words(&[len as u32]));
        }
        self.client.poke(STRUCTURE, &buffer);
        let done = self.client.ioctl(q.file, sys::VIDIOC_QBUF, STRUCTURE);
        assert_eq!(done, Ok(()));
        let after = self.client.peek(STRUCTURE, BUFFER);
        self.see("QBUF", after);
    }

    /// Waits for a buffer. Returns its index and the number of bytes in it.
    fn dequeue(&mut self, q: Queue) -> (u32, usize) {
        self.client.poke(STRUCTURE, &Self::buffer(q, 0));
        self.client.dequeue(q.file, sys::VIDIOC_DQBUF, STRUCTURE);
        let buffer = self.client.peek(STRUCTURE, BUFFER);
        self.see("DQBUF", buffer.clone());
        let index = u32_at(&buffer, 0);
        if !is_multiplanar(q.type_) {
            return (
                index,
                u32_at(&buffer, offset_of!(sys::v4l2_buffer, bytesused)) as usize,
            );
        }
        let count = u32_at(&buffer, offset_of!(sys::v4l2_buffer, length)) as usize;
        let planes = self.client.peek(PLANES, count * PLANE);
        let used = u32_at(&planes, 0) as usize;
        self.see("planes", planes);
        (index, used)
    }

    fn stream(&mut self, q: Queue, request: u32) {
        self.ioctl(q.file, request, &words(&[q.type_]));
    }

    fn close(&mut self, q: Queue, mapped: Vec<Vec<(Mapped, usize)>>) {
        for (mapped, _) in mapped.into_iter().flatten() {
            self.client.unmap(mapped);
        }
        self.client.close(q.file);
    }
}

/// Capabilities of a queue that a guest does not have.
pub(crate) fn hide_queue_caps(bytes: &mut [u8], at: usize) {
    let hidden = sys::V4L2_BUF_CAP_SUPPORTS_DMABUF
        | sys::V4L2_BUF_CAP_SUPPORTS_REQUESTS
        | sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS;
    let caps = u32_at(bytes, at) & !hidden;
    bytes[at..at + 4].copy_from_slice(&caps.to_le_bytes());
}

/// Records frames of a camera.
fn capture(client: &mut dyn Client, device: usize, q: (u32, u32), frames: usize) -> Seen {
    let mut program = Program::new(client);
    let q = program.open(device, q);
    let memory = q.memory;
    let len = program.format(q, 64, 48, b"YUYV");
    let count = program.request(q, 4);
    let mut mapped = Vec::new();
    let mut left = frames;
    for index in 0..count {
        if memory == MMAP {
            mapped.push(program.map(q, index));
        }
        program.queue(q, index, len, 0);
        left -= 1;
    }
    program.stream(q, sys::VIDIOC_STREAMON);
    for _ in 0..frames {
        let (index, used) = program.dequeue(q);
        let picture = match memory {
            MMAP => mapped[index as usize]
                .iter()
                .flat_map(|(m, len)| m.read(*len))
                .collect(),
            _ => program.client.peek(Program::user(index), used),
        };
        assert!(picture.iter().any(|byte| *byte != 0), "a picture");
        program.see("picture", picture);
        // Without buffers that it does not wait for: in a guest, time passes for them, too.
        if left > 0 {
            program.queue(q, index, len, 0);
            left -= 1;
        }
    }
    program.stream(q, sys::VIDIOC_STREAMOFF);
    program.close(q, mapped);
    program.seen
}

/// Shows pictures on a display, or writes them to a loopback.
fn show(client: &mut dyn Client, device: usize, q: (u32, u32), frames: u32) -> Seen {
    let mut program = Program::new(client);
    let q = program.open(device, q);
    let memory = q.memory;
    let len = program.format(q, 64, 48, b"YUYV");
    let count = program.request(q, 3);
    let mapped: Vec<_> = (0..count)
        .filter(|_| memory == MMAP)
        .map(|index| program.map(q, index))
        .collect();
    let fill = |program: &mut Program<'_>, index: u32, frame: u32| {
        let picture: Vec<u8> = (0..len)
            .map(|at| (at as u32 * 7 + frame * 13) as u8)
            .collect();
        match memory {
            MMAP => mapped[index as usize][0].0.write(&picture),
            _ => program.client.poke(Program::user(index), &picture),
        }
        program.queue(q, index, len, len);
    };
    for index in 0..count {
        fill(&mut program, index, index);
    }
    program.stream(q, sys::VIDIOC_STREAMON);
    for frame in 0..frames {
        let (index, _) = program.dequeue(q);
        if count + frame < frames {
            fill(&mut program, index, count + frame);
        }
    }
    program.stream(q, sys::VIDIOC_STREAMOFF);
    program.close(q, mapped);
    program.seen
}

/// Gives inputs to a codec or converter one after another. Returns its results, too.
fn convert(
    client: &mut dyn Client,
    device: usize,
    memory: u32,
    formats: [&[u8; 4]; 2],
    inputs: &[Vec<u8>],
) -> (Seen, Vec<Vec<u8>>) {
    let mut program = Program::new(client);
    let [output, capture] = program.open_both(device, memory);
    let out_len = program.format(output, 64, 48, formats[0]).max(1 << 16);
    let len = program.format(capture, 64, 48, formats[1]);
    let mut mapped = Vec::new();
    for q in [output, capture] {
        assert!(program.request(q, 1) > 0);
        if memory == MMAP {
            mapped.push(program.map(q, 0));
        }
    }
    program.stream(output, sys::VIDIOC_STREAMON);
    program.stream(capture, sys::VIDIOC_STREAMON);
    let mut results = Vec::new();
    for input in inputs {
        match memory {
            MMAP => mapped[0][0].0.write(input),
            _ => program.client.poke(Program::user(0), input),
        }
        program.queue(output, 0, out_len, input.len());
        // The CAPTURE buffer lies at another user address.
        program.queue_capture(capture, len);
        program.dequeue(output);
        let (_, used) = program.dequeue(capture);
        let result = match memory {
            MMAP => mapped[1][0].0.read(used),
            _ => program.client.peek(Program::user(1), used),
        };
        program.see("result", result.clone());
        results.push(result);
    }
    program.close(output, mapped);
    (program.seen, results)
}

/// Runs a program in a process and in a guest.
fn compare(specs: &'static [&'static str], names: &[&str], play: impl Fn(&mut dyn Client) -> Seen) {
    compare_on(|| run(specs, Pace::Virtual), names, play);
}

/// Runs a program in a process and in a guest. Each gets a run of its own.
fn compare_on(
    make: impl Fn() -> Run + Copy + Send + 'static,
    names: &[&str],
    play: impl Fn(&mut dyn Client) -> Seen,
) {
    let mut process = Process::new(make());
    let wanted = play(&mut process);
    let wanted_report = process.run.report();
    let server = Server::new(make);
    let mut guest = Guest::new(&server, names);
    let found = play(&mut guest);
    drop(guest);
    let report = server.end();
    for (at, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        assert!(wanted == found, "{at}: {wanted:?}\n{found:?}");
    }
    assert_eq!(wanted.len(), found.len());
    assert_eq!(why(&wanted_report), why(&report));
    let copied = |report: &Report| -> Vec<u64> {
        let queues = report.devices.iter().flat_map(|device| &device.queues);
        queues.map(|queue| queue.bytes_copied).collect()
    };
    assert_eq!(copied(&wanted_report), copied(&report), "no further copy");
}

/// Returns what `vb3 why` says, without times and places.
pub(crate) fn why(report: &Report) -> String {
    let mut text = Vec::new();
    let mut report = report.clone();
    // Other tests of this process have descriptors, too.
    report.held.fds = 0;
    vb3_report::why::print(&report, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_camera_gives_both_the_same_frames() {
    const CAMERA: &[&str] = &["camera=pattern,size=64x48,format=YUYV"];
    for memory in [MMAP, USERPTR] {
        compare(CAMERA, &["video0"], |client| {
            capture(client, 0, (CAPTURE, memory), 6)
        });
    }
}

#[test]
fn a_multiplanar_camera_gives_both_the_same_frames() {
    const CAMERA: &[&str] = &["camera=pattern,size=64x48,format=NV12,mplane=on"];
    compare(CAMERA, &["video0"], |client| {
        capture(client, 0, (9, MMAP), 6)
    });
}

#[test]
fn a_display_shows_both_the_same() {
    const DISPLAY: &[&str] = &["display,size=64x48,format=YUYV"];
    for memory in [MMAP, USERPTR] {
        compare(DISPLAY, &["video0"], |client| {
            show(client, 0, (OUTPUT, memory), 5)
        });
    }
}

#[test]
fn codecs_and_a_converter_give_both_the_same() {
    const DEVICES: &[&str] = &[
        "jpegenc,size=64x48",
        "jpegdec,size=64x48",
        "convert,size=64x48",
    ];
    let pictures: Vec<Vec<u8>> = (0..3)
        .map(|frame| {
            (0..64 * 48 * 3 / 2)
                .map(|at| (at / 5 + frame * 40) as u8)
                .collect()
        })
        .collect();
    for memory in [MMAP, USERPTR] {
        compare(DEVICES, &["video0", "video1", "video2"], |client| {
            let (mut seen, coded) = convert(client, 0, memory, [b"NV12", b"JPEG"], &pictures);
            let (more, decoded) = convert(client, 1, memory, [b"JPEG", b"NV12"], &coded);
            seen.extend(more);
            seen.extend(convert(client, 2, memory, [b"NV12", b"YUYV"], &decoded).0);
            seen
        });
    }
}

#[test]
fn a_loopback_gives_both_the_same() {
    const LOOPBACK: &[&str] = &["loopback,size=64x48,format=YUYV"];
    compare(LOOPBACK, &["video0", "video1"], |client| {
        let mut program = Program::new(client);
        let writer = program.open(0, (OUTPUT, MMAP));
        let len = program.format(writer, 64, 48, b"YUYV");
        assert_eq!(program.request(writer, 2), 2);
        let written: Vec<_> = (0..2).map(|index| program.map(writer, index)).collect();
        program.stream(writer, sys::VIDIOC_STREAMON);
        let reader = program.open(1, (CAPTURE, USERPTR));
        program.format(reader, 64, 48, b"YUYV");
        assert_eq!(program.request(reader, 2), 2);
        program.stream(reader, sys::VIDIOC_STREAMON);
        for frame in 0..4_u8 {
            let picture: Vec<u8> = (0..len)
                .map(|at| (at as u8).wrapping_mul(frame + 1))
                .collect();
            program.queue(reader, u32::from(frame % 2), len, 0);
            written[usize::from(frame % 2)][0].0.write(&picture);
            program.queue(writer, u32::from(frame % 2), len, len);
            let (index, used) = program.dequeue(reader);
            let read = program.client.peek(Program::user(index), used);
            assert!(read == picture, "the reader gets what was written");
            program.see("read", read);
            program.dequeue(writer);
        }
        program.close(reader, Vec::new());
        program.close(writer, written);
        program.seen
    });
}

/// A script whose lines `vb3 why` names.
const SCRIPT: &str = r#"
name = "bad"
description = "a bad camera"

[[step]]
device = "/dev/video0"
frame = 1
every = 2
count = 2
lose = true
"#;

#[test]
fn a_script_goes_wrong_for_both_the_same() {
    let make = || {
        let mut run = run(&["camera=pattern,size=64x48,format=YUYV"], Pace::Virtual);
        let script = vb3_run::script::Script::parse(SCRIPT).unwrap();
        run.play(&script).unwrap();
        run
    };
    compare_on(make, &["video0"], |client| {
        let mut seen = capture(client, 0, (CAPTURE, MMAP), 6);
        // Buffers' numbers depend on how many are queued when a frame is lost, and time passes for all of a guest's.
        seen.retain(|(what, _)| what == "picture");
        seen
    });
}

/// Two programs of a guest can have memory at the same address.
#[test]
fn sessions_do_not_share_user_memory() {
    let server = Server::new(|| run(&["convert,size=64x48"], Pace::Virtual));
    let mut guest = Guest::new(&server, &["video0"]);
    let mut program = Program::new(&mut guest);
    let input = |value: u8| vec![value; 64 * 48 * 2];
    let open = |program: &mut Program<'_>| {
        let [output, capture] = program.open_both(0, USERPTR);
        program.format(output, 64, 48, b"YUYV");
        let len = program.format(capture, 64, 48, b"YUYV");
        program.request(output, 1);
        program.request(capture, 1);
        (output, capture, len)
    };
    let both = [open(&mut program), open(&mut program)];
    for ((output, _, len), value) in both.iter().zip([40, 200]) {
        program.client.poke(Program::user(0), &input(value));
        program.queue(*output, 0, *len, *len);
    }
    for ((output, capture, len), value) in both.into_iter().zip([40, 200]) {
        program.client.poke(Program::user(1), &input(0));
        program.queue_capture(capture, len);
        program.stream(output, sys::VIDIOC_STREAMON);
        program.stream(capture, sys::VIDIOC_STREAMON);
        program.dequeue(output);
        program.dequeue(capture);
        let result = program.client.peek(Program::user(1), len);
        assert_eq!(
            result,
            input(value),
            "each session converts its own picture"
        );
    }
    drop(guest);
    server.end();
}
