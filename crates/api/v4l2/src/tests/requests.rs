//! Media requests: content, completion, and when their controls are set.

use super::{
    ARG, ARRAY, Buf, EACCES, EBADR, EBUSY, EINVAL, ENOMEM, ENOTTY, MMAP, TestDriver, TestMemory,
    TestPlane, TestProgram, code, get, record, woken,
};
use crate::bytes::{Image, field};
use crate::requests::MAX_REQUESTS;
use crate::{
    Bus, CallContext, Command, CommandSet, CompoundType, ControlSpec, ControlValue, FileHandle,
    Flow, Format, Fraction, FrameIntervals, FrameSizes, Identity, Opener, POLL_ERR, POLL_IN,
    POLL_PRI, PixelFormat, Planarity, Progress, QueuePolicy, Role, VideoDevice, VideoDriver, sys,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vb3_queue::{Completion, Direction, Driver, DriverError, RequestId, Requests};

mod arrays;
mod stops;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBADF: i32 = 9;

/// The control with a dynamic array.
const TILES: u32 = crate::cid::STATELESS_AV1_TILE_GROUP_ENTRY;

/// A log of the devices' work.
type Story = Arc<Mutex<Vec<String>>>;

/// A driver that processes one buffer in every tick.
struct Worker {
    output: TestDriver,
    capture: TestDriver,
    requests: Requests,
    /// Whether the next CAPTURE buffer is the stream's last.
    last: bool,
    story: Story,
    /// Number of calls of `tick` and `next_tick` of all drivers.
    asked: Arc<AtomicU64>,
}

impl VideoDriver for Worker {
    type Cookie = u64;

    fn identity(&self) -> &Identity {
        self.output.identity()
    }
    fn role(&self) -> Role {
        Role::MemToMem
    }
    fn planarity(&self) -> Planarity {
        Planarity::Single
    }
    fn with_queue_driver(
        &mut self,
        flow: Flow,
        act: &mut dyn FnMut(&mut dyn Driver<Cookie = u64>),
    ) {
        match flow {
            Flow::Capture => act(&mut self.capture),
            Flow::Output => act(&mut self.output),
        }
    }
    fn formats(&self, flow: Flow) -> &[&'static PixelFormat] {
        self.output.formats(flow)
    }
    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_> {
        self.output.frame_sizes(pixel)
    }
    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        None
    }
    fn format(&self, flow: Flow) -> Format {
        self.output.format(flow)
    }
    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        self.output.try_format(flow, wanted)
    }
    fn set_format(&mut self, _: Flow, _: &Format, _: bool) -> Result<(), DriverError> {
        Ok(())
    }
    fn interval(&self, _: Flow) -> Option<Fraction> {
        None
    }
    fn controls(&self) -> Vec<ControlSpec> {
        let kind = CompoundType::Av1TileGroupEntry;
        let mut controls = self.output.controls();
        controls.push(ControlSpec::compound(TILES, "Tiles", kind));
        controls
    }
    fn set_control(&mut self, _: u32, value: &ControlValue) -> Result<(), DriverError> {
        let said = format!("set {}", value.number());
        self.story.lock().unwrap().push(said);
        Ok(())
    }
    fn commands(&self) -> Option<CommandSet> {
        Some(CommandSet::Encoder)
    }
    fn command(&mut self, _: Command) -> Result<(), DriverError> {
        let said = format!("stop behind {}", self.output.held.len());
        self.story.lock().unwrap().push(said);
        Ok(())
    }
    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        QueuePolicy {
            requests: self.requests,
            min_reqbufs: 1,
            ..QueuePolicy::default()
        }
    }
    fn tick(&mut self, _: u64, _: &mut dyn Bus<u64>, progress: &mut Progress<u64>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (&mut self.output.held, &mut self.capture.held);
        if from.is_empty() || to.is_empty() {
            return;
        }
        let completion = Completion {
            outcome: Ok(()),
            payloads: None,
            data_offsets: None,
            timestamp_ns: None,
            sequence: 0,
            field: 1,
            last: self.last,
            timecode: None,
            frame_flags: None,
        };
        let waiting = from.len();
        for (flow, tokens) in [(Flow::Output, from), (Flow::Capture, to)] {
            if let Some(token) = tokens.pop_front() {
                progress.finish(flow, token, completion);
            }
        }
        self.story
            .lock()
            .unwrap()
            .push(format!("work 1 of {waiting}"));
    }
    fn next_tick(&self) -> Option<u64> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (!self.output.held.is_empty() && !self.capture.held.is_empty()).then_some(0)
    }
}

/// A device whose driver is [`Worker`], and one program with two open files of the device.
struct Bench {
    mem: TestMemory,
    program: TestProgram,
    device: VideoDevice<TestMemory, Worker>,
    files: [FileHandle; 2],
    story: Story,
    asked: Arc<AtomicU64>,
}

impl Bench {
    fn new(requests: Requests) -> Self {
        let story = Story::default();
        let told = Arc::clone(&story);
        let asked = Arc::default();
        let asks = Arc::clone(&asked);
        let opener: Opener<Worker> = Box::new(move || {
            Ok(Worker {
                output: TestDriver::new(Flow::Output, Planarity::Single),
                capture: TestDriver::new(Flow::Capture, Planarity::Single),
                requests,
                last: false,
                story: Arc::clone(&told),
                asked: Arc::clone(&asks),
            })
        });
        let mem = TestMemory::default();
        let mut device = VideoDevice::per_open(&mem, opener, ()).unwrap();
        let files = [(); 2].map(|()| device.open(&mem).unwrap());
        let mut bench = Self {
            mem,
            program: TestProgram::default(),
            device,
            files,
            story,
            asked,
        };
        for file in files {
            for flow in [Flow::Output, Flow::Capture] {
                let mut arg: [u8; 20] = record(&[(0, 4), (4, kind(flow)), (8, MMAP)]);
                assert_eq!(bench.call(file, sys::VIDIOC_REQBUFS, &mut arg), 0);
            }
        }
        bench
    }

    fn call(&mut self, file: FileHandle, request: u32, arg: &mut [u8]) -> i32 {
        let cx = CallContext {
            file,
            nonblocking: true,
            call: 1,
            now_ns: 1,
            piece_bytes: u64::MAX,
        };
        self.program.poke(ARG, arg);
        let mem = &mut self.mem;
        let outcome = self.device.ioctl(mem, cx, request, ARG, &self.program);
        self.program.peek(ARG, arg);
        code(outcome)
    }

    fn stream(&mut self, file: FileHandle, flow: Flow, on: bool) {
        let call = if on {
            sys::VIDIOC_STREAMON
        } else {
            sys::VIDIOC_STREAMOFF
        };
        assert_eq!(self.call(file, call, &mut kind(flow).to_ne_bytes()), 0);
    }

    /// Makes a request and its descriptor.
    fn alloc(&mut self) -> (RequestId, i32) {
        let id = self.device.alloc_request().unwrap();
        let fd = 100 + i32::try_from(id.0).unwrap();
        self.program.requests.borrow_mut().insert(fd, id);
        (id, fd)
    }

    fn close(&mut self, (id, fd): (RequestId, i32)) {
        self.program.requests.borrow_mut().remove(&fd);
        self.device.close_request(&mut self.mem, id);
    }

    fn qbuf(&mut self, file: FileHandle, flow: Flow, index: u32, request: Option<i32>) -> i32 {
        let mut buf: Buf = record(&[
            (field!(v4l2_buffer.index), index),
            (field!(v4l2_buffer.type_), kind(flow)),
            (field!(v4l2_buffer.memory), MMAP),
        ]);
        if let Some(fd) = request {
            let mut image = Image(&mut buf);
            image.set_u32(field!(v4l2_buffer.flags), sys::V4L2_BUF_FLAG_REQUEST_FD);
            image.set_i32(field!(v4l2_buffer.__bindgen_anon_1), fd);
        }
        self.call(file, sys::VIDIOC_QBUF, &mut buf)
    }

    fn put(&mut self, file: FileHandle, index: u32, fd: i32) -> i32 {
        self.qbuf(file, Flow::Output, index, Some(fd))
    }

    /// G_, S_ or TRY_EXT_CTRLS of one control in a request. Returns the value after it.
    fn control(&mut self, call: u32, file: FileHandle, fd: i32, id: u32, value: i32) -> (i32, u32) {
        let mut one = [0; size_of::<sys::v4l2_ext_control>()];
        Image(&mut one).set_u32(0, id);
        Image(&mut one).set_i32(12, value);
        self.program.poke(ARRAY, &one);
        let mut arg = [0; size_of::<sys::v4l2_ext_controls>()];
        let mut image = Image(&mut arg);
        image.set_u32(0, sys::V4L2_CTRL_WHICH_REQUEST_VAL);
        image.set_u32(field!(v4l2_ext_controls.count), 1);
        image.set_i32(field!(v4l2_ext_controls.request_fd), fd);
        image.set_u64(field!(v4l2_ext_controls.controls), ARRAY);
        let errno = self.call(file, call, &mut arg);
        self.program.peek(ARRAY, &mut one);
        (errno, get(&one, 12))
    }

    fn set(&mut self, file: FileHandle, fd: i32, value: i32) {
        let call = sys::VIDIOC_S_EXT_CTRLS;
        let (errno, _) = self.control(call, file, fd, sys::V4L2_CID_BRIGHTNESS, value);
        assert_eq!(errno, 0);
    }

    fn request(&mut self, id: RequestId, call: u32) -> i32 {
        code(self.device.request_ioctl(&mut self.mem, id, call, 1))
    }

    fn go(&mut self, id: RequestId) -> i32 {
        self.request(id, sys::MEDIA_REQUEST_IOC_QUEUE)
    }

    fn tick(&mut self) {
        self.device.tick(&mut self.mem, 2);
    }

    fn poll(&self, id: RequestId) -> i16 {
        self.device.request_poll(id, POLL_PRI | POLL_IN)
    }

    fn told(&self) -> Vec<String> {
        core::mem::take(&mut self.story.lock().unwrap())
    }

    fn finish(mut self) {
        for file in self.files {
            self.device.release(&mut self.mem, file);
        }
        let ids: Vec<_> = self.program.requests.borrow().values().copied().collect();
        for id in ids {
            self.device.close_request(&mut self.mem, id);
        }
        assert_eq!(self.device.requests.all.len(), 0);
        assert_eq!(self.mem.held(), (0, 0));
    }
}

const fn kind(flow: Flow) -> u32 {
    match flow {
        Flow::Capture => sys::V4L2_BUF_TYPE_VIDEO_CAPTURE,
        Flow::Output => sys::V4L2_BUF_TYPE_VIDEO_OUTPUT,
    }
}

#[test]
fn request_controls_are_set_before_their_work() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let requests: Vec<_> = (0..3).map(|_| b.alloc()).collect();
    for (index, &(id, fd)) in (0..).zip(&requests) {
        if index != 1 {
            b.set(file, fd, 10 + index);
        }
        assert_eq!(b.put(file, index.cast_unsigned(), fd), 0);
        assert_eq!(b.go(id), 0);
    }
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    b.tick();
    assert!(b.told().is_empty(), "nothing to fill");
    assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
    assert_eq!(
        b.told(),
        ["set 10"],
        "the first, as there is a buffer to fill"
    );
    b.tick();
    assert_eq!(b.told(), ["work 1 of 1"], "the second waits for a buffer");
    for (index, story) in [(1, &["work 1 of 1"][..]), (2, &["set 12", "work 1 of 1"])] {
        assert_eq!(b.qbuf(file, Flow::Capture, index, None), 0);
        b.tick();
        assert_eq!(b.told(), story);
    }
    let value = |b: &mut Bench, fd, id| b.control(sys::VIDIOC_G_EXT_CTRLS, file, fd, id, 0);
    for ((id, fd), brightness) in requests.into_iter().zip([10, 10, 12]) {
        assert_eq!(b.poll(id), POLL_PRI);
        assert_eq!(value(&mut b, fd, sys::V4L2_CID_BRIGHTNESS), (0, brightness));
        assert_eq!(
            value(&mut b, fd, sys::V4L2_CID_CONTRAST),
            (0, 50),
            "as it was"
        );
        assert_eq!(value(&mut b, fd, 1).0, EINVAL);
    }
    b.finish();
}

/// Makes a device whose request waits for a fence of the first CAPTURE buffer.
fn wait_for_fence(b: &mut Bench) -> RequestId {
    let [file, _] = b.files;
    let (id, fd) = b.alloc();
    let capture = b.device.context().queue(Flow::Capture).unwrap();
    let fence = |plane: &TestPlane| b.mem.fenced.borrow_mut().insert(plane.id);
    assert_eq!(capture.find_plane(fence), Some((0, 0)));
    assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
    b.set(file, fd, 7);
    assert_eq!(b.put(file, 0, fd), 0);
    assert_eq!(b.go(id), 0);
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    b.tick();
    assert!(b.told().is_empty(), "the fence is pending");
    id
}

#[test]
fn a_fences_end_passes_on_a_requests_buffer() {
    let mut b = Bench::new(Requests::Optional);
    let id = wait_for_fence(&mut b);
    b.mem.fenced.borrow_mut().clear();
    b.device.settle_queues(&mut b.mem, 2);
    assert_eq!(b.told(), ["set 7"]);
    assert_eq!(b.device.next_tick(), Some(0), "the driver has work");
    b.tick();
    assert_eq!(b.told(), ["work 1 of 1"]);
    assert_eq!(b.poll(id), POLL_PRI);
    b.finish();
}

#[test]
fn drivers_notice_withdrawn_request_buffers() {
    let mut b = Bench::new(Requests::Optional);
    let id = wait_for_fence(&mut b);
    b.mem.fenced.borrow_mut().clear();
    b.device.settle_queues(&mut b.mem, 2);
    b.device.withdraw(&mut b.mem, 2, |_, _| true);
    let driver = b.device.driver();
    assert_eq!((driver.output.withdrawn, driver.capture.withdrawn), (1, 1));
    assert_eq!(b.poll(id), POLL_PRI);
    b.finish();
}

#[test]
fn dropped_buffers_complete_their_requests() {
    for way in ["settle", "fail", "poll", "mmap"] {
        let mut b = Bench::new(Requests::Optional);
        let [file, _] = b.files;
        let id = wait_for_fence(&mut b);
        b.mem.fenced.borrow_mut().clear();
        b.device.settle_queues(&mut b.mem, 2);
        // Another buffer waits for the fence, so the queue still has to be settled.
        assert_eq!(b.device.driver().capture.held.len(), 1);
        let all = b.device.context().queue(Flow::Capture).unwrap();
        all.find_plane(|plane| !b.mem.fenced.borrow_mut().insert(plane.id));
        assert_eq!(b.qbuf(file, Flow::Capture, 1, None), 0);
        b.device.driver_mut().output.held.clear();
        let access = Some(Direction::Bidirectional);
        match way {
            "settle" => b.device.settle_queues(&mut b.mem, 2),
            "fail" => b.device.fail_queues(&mut b.mem, 2, |_, _| false),
            "poll" => {
                b.device.poll(&mut b.mem, file, POLL_IN, 2);
            }
            _ => {
                let mapped = b.device.mmap(&mut b.mem, file, 0, 1, access, 2);
                assert!(mapped.is_ok());
            }
        }
        assert_eq!(b.poll(id), POLL_PRI, "{way}");
        b.finish();
    }
}

#[test]
fn flags_follow_a_requests_controls() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let is_inactive = |b: &mut Bench| {
        let mut arg = [0; size_of::<sys::v4l2_queryctrl>()];
        Image(&mut arg).set_u32(0, super::driver::GOVERNED);
        assert_eq!(b.call(file, sys::VIDIOC_QUERYCTRL, &mut arg), 0);
        get(&arg, field!(v4l2_queryctrl.flags)) & sys::V4L2_CTRL_FLAG_INACTIVE != 0
    };
    let (id, fd) = b.alloc();
    let auto = super::driver::AUTO;
    let set = b.control(sys::VIDIOC_S_EXT_CTRLS, file, fd, auto, 0);
    assert_eq!(set.0, 0);
    assert_eq!(b.put(file, 0, fd), 0);
    assert_eq!(b.go(id), 0);
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    assert!(
        is_inactive(&mut b),
        "the request waits for a CAPTURE buffer"
    );
    assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
    assert!(!is_inactive(&mut b));
    b.finish();
}

#[test]
fn requests_of_two_files_need_both_buffers() {
    let mut b = Bench::new(Requests::Optional);
    let [one, two] = b.files;
    let (id, fd) = b.alloc();
    assert_eq!(b.put(one, 0, fd), 0);
    b.set(two, fd, 7);
    assert_eq!(b.go(id), ENOENT, "controls of a file without a buffer");
    assert_eq!(b.put(two, 0, fd), 0);
    assert_eq!(b.put(two, 1, fd), EBUSY, "one of a queue");
    assert_eq!(b.go(id), 0);
    for (file, state) in [(one, 0), (two, POLL_PRI)] {
        b.stream(file, Flow::Output, true);
        b.stream(file, Flow::Capture, true);
        assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
        b.tick();
        assert_eq!(b.poll(id), state);
    }
    assert_eq!(b.told(), ["work 1 of 1", "set 7", "work 1 of 1"]);
    b.finish();
}

#[test]
fn closed_files_leave_their_requests() {
    let mut b = Bench::new(Requests::Optional);
    let [one, two] = b.files;
    let (idle, idle_fd) = b.alloc();
    let (queued, queued_fd) = b.alloc();
    for file in [one, two] {
        assert_eq!(b.put(file, 0, idle_fd), 0);
        assert_eq!(b.put(file, 1, queued_fd), 0);
        b.set(file, idle_fd, 3);
    }
    assert_eq!(b.go(queued), 0);
    b.device.release(&mut b.mem, one);
    assert_eq!((b.poll(idle), b.poll(queued)), (POLL_ERR, 0));
    assert_eq!(b.go(idle), 0, "with what the other has in it");
    b.device.release(&mut b.mem, two);
    assert_ne!(woken(&mut b.device), Default::default());
    assert_eq!((b.poll(idle), b.poll(queued)), (POLL_PRI, POLL_PRI));
    b.finish();
}

#[test]
fn closed_queued_requests_end_at_completion() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let request = b.alloc();
    b.set(file, request.1, 9);
    assert_eq!(b.put(file, 0, request.1), 0);
    assert_eq!(b.go(request.0), 0);
    b.close(request);
    assert_eq!(b.device.requests.all.len(), 1);
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
    b.tick();
    assert_eq!(b.told(), ["set 9", "work 1 of 1"]);
    assert_eq!(b.device.requests.all.len(), 0);
    // A request that is closed before it is queued returns its buffer.
    let request = b.alloc();
    assert_eq!(b.put(file, 1, request.1), 0);
    b.close(request);
    assert_eq!(b.device.requests.all.len(), 0);
    let request = b.alloc();
    assert_eq!(b.put(file, 1, request.1), 0);
    // STREAMOFF returns the buffers that are still queued.
    assert_eq!(b.go(request.0), 0);
    b.close(request);
    b.stream(file, Flow::Output, false);
    assert_eq!(b.device.requests.all.len(), 0);
    b.finish();
}

#[test]
fn refusals() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let (id, fd) = b.alloc();
    assert_eq!(b.qbuf(file, Flow::Capture, 0, Some(fd)), EPERM);
    assert_eq!(b.put(file, 0, 99), EINVAL, "no request");
    let (get, set, try_) = (
        sys::VIDIOC_G_EXT_CTRLS,
        sys::VIDIOC_S_EXT_CTRLS,
        sys::VIDIOC_TRY_EXT_CTRLS,
    );
    let brightness = sys::V4L2_CID_BRIGHTNESS;
    for (call, fd, control, value, errno) in [
        (get, fd, brightness, 0, EACCES),
        (set, 99, brightness, 0, EINVAL),
        (set, -1, brightness, 0, EINVAL),
        (set, fd, 1, 0, EINVAL),
        (set, fd, sys::V4L2_CID_EXPOSURE_ABSOLUTE, 1, EACCES),
        (set, fd, super::driver::GRABBED, 0, EBUSY),
        (try_, fd, super::driver::GRABBED, 0, 0),
        (set, fd, sys::V4L2_CID_COLORFX, 9, super::ERANGE),
    ] {
        let found = b.control(call, file, fd, control, value).0;
        assert_eq!(found, errno, "{call:#x} {control:#x}");
    }
    assert_eq!(b.control(try_, file, fd, brightness, 999), (0, 255));
    assert_eq!(b.go(id), ENOENT, "TRY and what failed left nothing");
    assert_eq!(b.put(file, 0, fd), 0);
    assert_eq!(b.go(id), 0);
    assert_eq!(b.control(set, file, fd, brightness, 1).0, EBUSY);
    assert_eq!(b.control(get, file, fd, brightness, 1).0, EACCES);
    assert_eq!(b.request(id, sys::MEDIA_REQUEST_IOC_REINIT), EBUSY);
    assert_eq!(b.request(id, sys::MEDIA_IOC_REQUEST_ALLOC), ENOTTY);
    assert_eq!(b.go(RequestId(999)), EBADF);
    b.finish();
}

#[test]
fn a_device_without_requests() {
    let mut b = Bench::new(Requests::None);
    let [file, _] = b.files;
    assert!(!b.device.offers_requests());
    let (_, fd) = b.alloc();
    assert_eq!(b.put(file, 0, fd), EBADR);
    let control = b.control(
        sys::VIDIOC_G_EXT_CTRLS,
        file,
        fd,
        sys::V4L2_CID_BRIGHTNESS,
        0,
    );
    assert_eq!(control.0, EBADR);
    b.finish();
}

#[test]
fn requests_are_bounded() {
    let mut b = Bench::new(Requests::Required);
    let [file, _] = b.files;
    assert_eq!(b.qbuf(file, Flow::Output, 0, None), EBADR);
    let made: Vec<_> = (0..MAX_REQUESTS).map(|_| b.alloc()).collect();
    let refused = b.device.alloc_request().map_err(crate::Error::errno);
    assert_eq!(refused, Err(ENOMEM));
    for request in made {
        b.close(request);
    }
    assert!(b.device.alloc_request().is_ok());
    b.device
        .close_request(&mut b.mem, RequestId(MAX_REQUESTS as u64 + 1));
    b.finish();
}

#[test]
fn failed_start_keeps_waiting_buffers_queued() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let (id, fd) = b.alloc();
    assert_eq!(b.put(file, 0, fd), 0);
    assert_eq!(b.go(id), 0);
    b.device.driver_mut().output.start_errno = 5;
    let mut ty = kind(Flow::Output).to_ne_bytes();
    assert_eq!(b.call(file, sys::VIDIOC_STREAMON, &mut ty), super::EIO);
    assert_eq!(b.poll(id), 0);
    b.device.driver_mut().output.start_errno = 0;
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    assert_eq!(b.qbuf(file, Flow::Capture, 0, None), 0);
    b.tick();
    assert_eq!(b.told(), ["work 1 of 1"]);
    assert_eq!(b.poll(id), POLL_PRI);
    b.finish();
}

#[test]
fn a_device_has_one_request_at_a_time() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    for index in 0..2 {
        let (id, fd) = b.alloc();
        b.set(file, fd, 10 + index);
        assert_eq!(b.put(file, index.cast_unsigned(), fd), 0);
        assert_eq!(b.go(id), 0);
        let buffer = index.cast_unsigned();
        assert_eq!(b.qbuf(file, Flow::Capture, buffer, None), 0);
    }
    b.stream(file, Flow::Output, true);
    b.stream(file, Flow::Capture, true);
    assert_eq!(b.qbuf(file, Flow::Capture, 2, None), 0);
    assert_eq!(b.told(), ["set 10"], "whatever is called meanwhile");
    b.tick();
    assert_eq!(b.told(), ["work 1 of 1", "set 11"]);
    b.tick();
    assert_eq!(b.told(), ["work 1 of 1"]);
    b.finish();
}

#[test]
fn cancelled_requests_keep_their_controls() {
    let mut b = Bench::new(Requests::Optional);
    let [file, _] = b.files;
    let (id, fd) = b.alloc();
    b.set(file, fd, 7);
    assert_eq!(b.put(file, 0, fd), 0);
    assert_eq!(b.go(id), 0);
    b.stream(file, Flow::Output, false);
    assert_eq!(b.poll(id), POLL_PRI);
    for (control, value) in [(sys::V4L2_CID_BRIGHTNESS, 7), (sys::V4L2_CID_CONTRAST, 50)] {
        let found = b.control(sys::VIDIOC_G_EXT_CTRLS, file, fd, control, 0);
        assert_eq!(found, (0, value));
    }
    assert!(b.told().is_empty());
    b.finish();
}

#[test]
fn calls_wake_only_waiters_of_their_queues() {
    let mut b = Bench::new(Requests::Optional);
    let [one, two] = b.files;
    woken(&mut b.device);
    for flow in [Flow::Output, Flow::Capture] {
        b.stream(one, flow, true);
        assert_eq!(b.qbuf(one, flow, 0, None), 0);
    }
    b.tick();
    assert_eq!(woken(&mut b.device).0, [one].into());
    assert_eq!(woken(&mut b.device), Default::default(), "they were told");
    b.stream(two, Flow::Output, true);
    assert_eq!(woken(&mut b.device).0, [two].into());
    b.device.release(&mut b.mem, two);
    assert!(woken(&mut b.device).0.is_empty(), "closed");
    b.finish();
}

#[test]
fn progress_is_the_sum_over_files() {
    let mut b = Bench::new(Requests::Optional);
    let [one, two] = b.files;
    let is_sum = |b: &mut Bench, streaming| {
        for flow in [Flow::Output, Flow::Capture] {
            let sum = b.device.progress(flow);
            assert_eq!(sum.done, b.device.statistics(flow).queue.done, "{flow:?}");
            assert_eq!(sum.streaming, streaming, "{flow:?}");
        }
    };
    is_sum(&mut b, 0);
    for (file, streaming) in [(one, 1), (two, 2)] {
        for index in 0..2 {
            for flow in [Flow::Output, Flow::Capture] {
                b.stream(file, flow, true);
                assert_eq!(b.qbuf(file, flow, index, None), 0);
            }
            b.tick();
            is_sum(&mut b, streaming);
        }
    }
    assert_eq!(b.device.progress(Flow::Capture).done, 4);
    b.device.release(&mut b.mem, one);
    is_sum(&mut b, 1);
    assert_eq!(b.device.progress(Flow::Capture).done, 4, "closed ones too");
    b.finish();
}

#[test]
fn priority_lasts_until_lowered_or_closed() {
    let mut b = Bench::new(Requests::Optional);
    let [one, two] = b.files;
    let set = |b: &mut Bench, file, priority: u32| {
        b.call(file, sys::VIDIOC_S_PRIORITY, &mut priority.to_ne_bytes())
    };
    let get = |b: &mut Bench, file| {
        let mut arg = [0; 4];
        assert_eq!(b.call(file, sys::VIDIOC_G_PRIORITY, &mut arg), 0);
        u32::from_ne_bytes(arg)
    };
    let [usual, most] = [sys::V4L2_PRIORITY_INTERACTIVE, sys::V4L2_PRIORITY_RECORD];
    assert_eq!(set(&mut b, two, most), 0);
    assert_eq!(get(&mut b, one), most);
    assert_eq!(set(&mut b, two, usual), 0);
    assert_eq!(get(&mut b, one), usual);
    assert_eq!(set(&mut b, two, most), 0);
    b.device.release(&mut b.mem, two);
    assert_eq!(get(&mut b, one), usual);
    b.finish();
}

#[test]
fn idle_files_are_not_polled_in_each_call() {
    let mut bench = Bench::new(Requests::None);
    let [file, _] = bench.files;
    let idle: Vec<FileHandle> = (0..100)
        .map(|_| bench.device.open(&bench.mem).unwrap())
        .collect();
    for flow in [Flow::Output, Flow::Capture] {
        bench.stream(file, flow, true);
        assert_eq!(bench.qbuf(file, flow, 0, None), 0);
    }
    // This examines all contexts that have changed so far, so that they count as unchanged.
    woken(&mut bench.device);
    let asked = |bench: &Bench| bench.asked.swap(0, Ordering::Relaxed);
    asked(&bench);
    assert_eq!(bench.device.next_tick(), Some(0));
    bench.tick();
    woken(&mut bench.device);
    assert_eq!(bench.told(), ["work 1 of 1"]);
    let with_work = asked(&bench);
    assert!((2..20).contains(&with_work), "{with_work}");
    assert_eq!(bench.device.next_tick(), None);
    bench.tick();
    let mut drivers = 0;
    bench.device.ask_drivers(|_| drivers += 1);
    bench.device.ask_drivers(|_| drivers += 1);
    // Every driver has changed since the beginning, and is visited once.
    assert_eq!((asked(&bench), drivers), (0, 102));
    for flow in [Flow::Output, Flow::Capture] {
        bench.stream(file, flow, false);
    }
    idle.iter()
        .for_each(|file| bench.device.release(&mut bench.mem, *file));
    bench.finish();
}
