//! Random calls with random structures.
//!
//! At the end of a run, no memory is held, no memory but the program's own was touched, and no failed call
//! has changed visible state.

use super::*;
use crate::request::REQUESTS;
use crate::{POLL_IN, POLL_OUT, sys};

/// A small generator (splitmix64). The same seed gives the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Returns a number that structures often contain: a small number, a limit, flags, or a random one.
    fn word(&mut self) -> u32 {
        match self.below(8) {
            0..=3 => u32::try_from(self.below(12)).unwrap(),
            4 => self.pick(&[
                u32::MAX,
                0x7fff_ffff,
                0x8000_0000,
                4095,
                4096,
                4097,
                0xffff_f000,
            ]),
            5 => 1 << self.below(32),
            6 => self.pick(&[
                sys::V4L2_CID_BRIGHTNESS,
                driver::STRUCTURE,
                driver::WIDE,
                driver::MASK,
            ]),
            _ => u32::try_from(self.next() >> 32).unwrap(),
        }
    }

    fn address(&mut self) -> u64 {
        let near = self.below(0x4000);
        let end = program::BASE + program::SIZE;
        self.pick(&[
            ARRAY + near,
            ARRAY + near,
            end - near,
            program::READ_ONLY - near,
            near,
            u64::MAX - near,
        ])
    }
}

/// Returns the device's state as a program sees it.
fn seen(b: &mut Bench) -> Vec<Vec<u8>> {
    let ty = b.ty();
    let mut all = Vec::new();
    for index in 0..4 {
        let mut buf = b.buf(index, MMAP);
        Image(&mut buf).set_u32(crate::bytes::field!(v4l2_buffer.length), 8);
        Image(&mut buf).set_u64(crate::bytes::field!(v4l2_buffer.m), ARRAY + 0x8000);
        let errno = b.call(sys::VIDIOC_QUERYBUF, &mut buf);
        all.push(if errno == 0 { buf.to_vec() } else { vec![] });
    }
    let mut format = vec![0; size_of::<sys::v4l2_format>()];
    Image(&mut format).set_u32(0, ty);
    b.call(sys::VIDIOC_G_FMT, &mut format);
    all.push(format);
    for id in [
        sys::V4L2_CID_BRIGHTNESS,
        sys::V4L2_CID_CONTRAST,
        sys::V4L2_CID_COLORFX,
    ] {
        let mut control: [u8; 8] = record(&[(0, id)]);
        b.call(sys::VIDIOC_G_CTRL, &mut control);
        all.push(control.to_vec());
    }
    if let Some(queue) = b.device.context().queue(b.flow) {
        all.push(vec![
            u8::from(queue.is_streaming()),
            u8::from(queue.is_busy()),
        ]);
    }
    if let Some((graph, entity)) = &b.device.driver().subdevice {
        all.push(format!("{:?}", graph.pads(*entity)).into_bytes());
    }
    if let Some(receiver) = &b.device.driver().receiver {
        all.push(format!("{receiver:?}").into_bytes());
    }
    all
}

/// Returns whether a failed call may change state.
///
/// REQBUFS frees before it allocates, controls are set one by one, and a blocking call begins to wait. If
/// copying out fails with EFAULT, the work has been done already.
fn may_leave_traces(request: u32, errno: i32) -> bool {
    let several = [sys::VIDIOC_REQBUFS, sys::VIDIOC_S_EXT_CTRLS];
    errno == WAIT || errno == EFAULT || several.contains(&request)
}

fn random_call(b: &mut Bench, random: &mut Random) {
    let request = random.pick(REQUESTS);
    let mut arg = vec![0; request.size()];
    for word in arg.chunks_exact_mut(4) {
        word.copy_from_slice(&random.word().to_ne_bytes());
    }
    let ty = b.ty();
    if random.below(4) != 0 {
        // Sets a likely type, and a pointer at an offset where structures often have one.
        for at in [0, 4, 8] {
            if random.below(3) == 0 && arg.len() >= at + 4 {
                Image(&mut arg).set_u32(at, ty);
            }
        }
        for at in [24, 32, 64] {
            if arg.len() >= at + 8 && random.below(2) == 0 {
                Image(&mut arg).set_u64(at, random.address());
            }
        }
    }
    let number = if random.below(16) == 0 {
        request.number ^ 1 << random.below(32)
    } else {
        request.number
    };
    let addr = if random.below(16) == 0 {
        random.address()
    } else {
        ARG
    };
    let before = seen(b);
    if program::place(addr, arg.len()).is_some() {
        b.program.poke(addr, &arg);
    }
    let retry = random.below(8) == 0;
    let errno = b.call_at(b.file, number, addr, retry);
    assert!(
        (WAIT..4096).contains(&errno),
        "{} said {errno}",
        request.name
    );
    if errno == WAIT {
        let file = b.file;
        b.abandon(file);
    }
    if errno != 0 && !may_leave_traces(number, errno) {
        assert_eq!(
            before,
            seen(b),
            "{} failed with {errno} and left traces",
            request.name
        );
    }
}

fn run(seed: u64, mut b: Bench) {
    let mut random = Random(seed);
    let files = [b.file, b.open()];
    let fds = [
        b.program.open_dmabuf(&mut b.mem, 1024),
        b.program.open_dmabuf(&mut b.mem, 1 << 20),
    ];
    assert_eq!(fds, [3, 4], "small numbers, which random calls hit");
    for _ in 0..300 {
        b.file = random.pick(&files);
        b.nonblocking = random.below(4) != 0;
        match random.below(12) {
            0 => b.tick(),
            1 => {
                let events = random.pick(&[0, POLL_IN, POLL_OUT]);
                let revents = b.device.poll(&mut b.mem, b.file, events, b.now_ns);
                assert_eq!(revents & !0x14f, 0, "seed {seed}");
            }
            2 => {
                let access = Some(Direction::Bidirectional);
                b.mmap(random.next() & 0x3_f000, random.below(8192), access);
            }
            3 if random.below(4) == 0 => {
                let cx = b.cx(b.file, false);
                let (addr, len) = (random.address(), random.below(8192));
                b.device
                    .transfer(&mut b.mem, cx, Flow::Capture, (addr, len), &b.program);
                b.device
                    .transfer(&mut b.mem, cx, Flow::Output, (addr, len), &b.program);
                b.abandon(b.file);
            }
            4 => {
                let count = u32::try_from(random.below(4)).unwrap();
                b.reqbufs(count, random.pick(&[MMAP, USERPTR, DMABUF]));
            }
            5 => {
                b.stream(random.below(2) == 0);
            }
            _ => random_call(&mut b, &mut random),
        }
    }
    b.device.take_refusals();
    b.close();
}

#[test]
fn random_calls_leak_nothing_and_failures_are_clean() {
    for seed in 0..60 {
        for flow in [Flow::Capture, Flow::Output] {
            run(seed, Bench::new(flow, Planarity::Single));
            run(seed, Bench::new(flow, Planarity::Multi));
        }
        run(seed, subdev::scaler());
        run(seed, receiver::bench());
    }
}
