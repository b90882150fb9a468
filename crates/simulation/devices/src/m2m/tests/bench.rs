//! A test bench for devices with two queues. Its memory is plain, and the worker runs in a thread whose
//! answers the bench waits for.

use crate::hosted::HostedDevice;
use crate::node::NodeSpec;
use crate::registry;
use crate::settings::Settings;
use crate::tests::bench::{BenchMemory, host};
use crate::{Device, Failure, HostSettings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};
use vb3_codec::{Kind, Launch};
use vb3_queue::{
    BufferInfo, Coherency, Config, Driver, DriverError, Error, Memory as Model, PlaneRequest,
    Queue, QueueBuffer, QueueType, Session,
};
use vb3_v4l2::{Command, DriverEvent, Finished, Flow, Format, Progress, with_queue_driver};

/// Longest wait for a worker.
const WORKER_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes the device of a SPEC.
pub(crate) fn device<D>(
    spec: &str,
    launch: Launch,
    make: impl FnOnce(&Settings, Kind) -> Result<D, Failure>,
) -> D {
    let place = HostSettings {
        codecs: launch.into(),
        ..host()
    };
    let spec: NodeSpec = spec.parse().expect("a SPEC");
    let kind = spec.kind.codec().unwrap_or(Kind::Harm);
    make(&registry::settings(&spec, &place), kind).expect("a device")
}

/// Makes a device as hosts do.
pub(crate) fn any_device<C: Send + 'static>(spec: &str, launch: Launch) -> Device<C> {
    let place = HostSettings {
        codecs: launch.into(),
        ..host()
    };
    Device::new(&spec.parse().expect("a SPEC"), &place).expect("a device")
}

/// One queue and its planes.
struct Side {
    queue: Queue<BenchMemory>,
    /// Memory number of the queue's first plane.
    base: u32,
    planes: u32,
}

/// A device with its queues.
pub(crate) struct Bench<D> {
    pub(crate) device: D,
    capture: Side,
    output: Side,
    pub(crate) memory: BenchMemory,
    /// Events since the test last took them.
    pub(crate) events: Vec<DriverEvent>,
    /// The time, in nanoseconds.
    pub(crate) now_ns: u64,
}

impl<D: HostedDevice<Cookie = u32>> Bench<D> {
    /// Makes a bench for a device without buffers.
    pub(crate) fn new(device: D) -> Self {
        let side = |flow: Flow, kind| {
            let policy = device.queue_policy(flow);
            let mut config = Config::new((), kind);
            config.copy_timestamps = true;
            config.min_reqbufs_allocation = policy.min_reqbufs;
            config.allow_zero_bytesused = policy.allow_zero_bytesused;
            config.m2m_capture = flow == Flow::Capture;
            Side {
                queue: Queue::new(config).expect("a valid queue"),
                base: 1,
                planes: 1,
            }
        };
        let capture = side(Flow::Capture, QueueType::Capture);
        let output = side(Flow::Output, QueueType::Output);
        Self {
            device,
            capture,
            output,
            memory: BenchMemory::default(),
            events: Vec::new(),
            now_ns: 0,
        }
    }

    fn side(&mut self, flow: Flow) -> (&mut Side, &mut D, &mut BenchMemory) {
        let side = match flow {
            Flow::Capture => &mut self.capture,
            Flow::Output => &mut self.output,
        };
        (side, &mut self.device, &mut self.memory)
    }

    /// Sets a format as S_FMT does. Returns the format that the device chose.
    pub(crate) fn set_format(&mut self, flow: Flow, wanted: &Format) -> Format {
        let format = self.device.try_format(flow, wanted);
        let busy = match flow {
            Flow::Capture => self.output.queue.is_busy(),
            Flow::Output => self.capture.queue.is_busy(),
        };
        self.device
            .set_format(flow, &format, busy)
            .expect("the format can be set");
        self.device.format(flow)
    }

    /// Calls `act` with a session of a queue.
    fn in_session<T>(&mut self, flow: Flow, act: impl FnOnce(Session<'_, BenchMemory>) -> T) -> T {
        let (side, device, memory) = self.side(flow);
        let queue = &mut side.queue;
        let act = |driver: &mut dyn Driver<Cookie = u32>| act(queue.session(memory, driver));
        with_queue_driver(device, flow, act).expect("it acts")
    }

    /// Makes `count` buffers of the current format; 0 frees them.
    pub(crate) fn make(&mut self, flow: Flow, count: u32) -> u32 {
        let planes = self.device.format(flow).num_planes;
        let base = self.memory.made() + 1;
        let made = self.in_session(flow, |mut session| {
            session.reqbufs(Model::Mmap, count, Coherency::Coherent)
        });
        let (made, _) = made.expect("memory enough");
        let (side, ..) = self.side(flow);
        side.base = base;
        side.planes = u32::try_from(planes).expect("a few planes");
        made.end
    }

    pub(crate) fn start(&mut self, flow: Flow) {
        self.in_session(flow, |mut session| session.streamon())
            .expect("streaming starts");
    }

    pub(crate) fn stop(&mut self, flow: Flow) {
        self.in_session(flow, |mut session| session.streamoff())
            .expect("streaming ends");
    }

    /// Takes a CAPTURE buffer's memory away from the device.
    pub(crate) fn withdraw(&mut self, index: u32) {
        let lost = self.cookie(Flow::Capture, index);
        self.in_session(Flow::Capture, |mut session| {
            session.withdraw(|_, plane| *plane == lost)
        });
    }

    /// Makes buffers for both queues, starts the queues and queues all CAPTURE buffers.
    pub(crate) fn begin(&mut self, outputs: u32, captures: u32) {
        self.make(Flow::Output, outputs);
        let captures = self.make(Flow::Capture, captures);
        self.start(Flow::Output);
        self.start(Flow::Capture);
        (0..captures).for_each(|index| self.queue_empty(index));
    }

    /// Returns the memory of a buffer's plane.
    pub(crate) fn plane(&mut self, flow: Flow, index: u32, plane: u32) -> &mut Vec<u8> {
        let (side, _, memory) = self.side(flow);
        let cookie = side.base + index * side.planes + plane;
        memory.planes.get_mut().get_mut(&cookie).expect("a plane")
    }

    /// Returns the memory number of a buffer's first plane.
    pub(crate) fn cookie(&mut self, flow: Flow, index: u32) -> u32 {
        let (side, ..) = self.side(flow);
        side.base + index * side.planes
    }

    /// Returns the memory numbers of all planes of a queue's buffers.
    pub(crate) fn cookies(&mut self, flow: Flow) -> std::ops::Range<u32> {
        let (side, ..) = self.side(flow);
        side.base..side.base + side.queue.num_buffers() * side.planes
    }

    /// Queues a buffer that has this description and these payloads in bytes.
    pub(crate) fn queue(
        &mut self,
        flow: Flow,
        index: u32,
        payloads: &[u64],
        describe: impl FnOnce(&mut QueueBuffer<BenchMemory>),
    ) -> Result<BufferInfo, Error> {
        let mut request = QueueBuffer::new(index, Model::Mmap);
        for payload in payloads {
            let plane = PlaneRequest::mmap(*payload);
            assert!(request.push_plane(plane).is_ok(), "too many planes");
        }
        describe(&mut request);
        self.in_session(flow, |mut session| session.qbuf(request))
    }

    /// Queues a CAPTURE buffer.
    pub(crate) fn queue_empty(&mut self, index: u32) {
        let payloads = vec![0; self.device.format(Flow::Capture).num_planes];
        self.queue(Flow::Capture, index, &payloads, |_| {})
            .expect("the buffer can be queued");
    }

    /// Fills an OUTPUT buffer and queues it with a timestamp.
    pub(crate) fn send(&mut self, index: u32, planes: &[&[u8]], timestamp_ns: u64) {
        for (plane, bytes) in planes.iter().enumerate() {
            let plane = u32::try_from(plane).expect("a few planes");
            self.plane(Flow::Output, index, plane)[..bytes.len()].copy_from_slice(bytes);
        }
        let payloads: Vec<u64> = planes.iter().map(|bytes| bytes.len() as u64).collect();
        self.queue(Flow::Output, index, &payloads, |request| {
            request.timestamp_ns = timestamp_ns;
        })
        .expect("the buffer can be queued");
    }

    /// Dequeues a finished buffer.
    pub(crate) fn try_take(&mut self, flow: Flow) -> Result<BufferInfo, Error> {
        self.in_session(flow, |mut session| session.dqbuf())
    }

    /// Waits for the next finished buffer and dequeues it.
    pub(crate) fn take(&mut self, flow: Flow) -> BufferInfo {
        let mut taken = None;
        self.until("a buffer", |bench| match bench.try_take(flow) {
            Err(Error::WouldBlock) => false,
            other => {
                taken = Some(other);
                true
            }
        });
        taken.expect("until saw it").expect("a buffer")
    }

    /// Waits for the next CAPTURE buffer, which has one plane. Returns it with its bytes.
    pub(crate) fn receive(&mut self) -> (BufferInfo, Vec<u8>) {
        let info = self.take(Flow::Capture);
        let used = info.planes[0].expect("a plane").payload_bytes;
        let used = usize::try_from(used).expect("a short plane");
        let bytes = self.plane(Flow::Capture, info.index, 0)[..used].to_vec();
        (info, bytes)
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), i32> {
        let done = self.device.command(command).map_err(DriverError::errno);
        if done.is_ok() && command == Command::Start {
            self.capture.queue.clear_last_buffer();
        }
        done
    }

    /// Runs the device while it has work.
    pub(crate) fn work(&mut self) {
        for _ in 0..1000 {
            let due = self.device.next_tick();
            if due.is_none_or(|due| due > self.now_ns) {
                return;
            }
            self.tick();
        }
        panic!("the device never has enough");
    }

    /// Lets the device work once.
    pub(crate) fn tick(&mut self) {
        let mut progress = Progress::default();
        let (now_ns, memory) = (self.now_ns, &mut self.memory);
        self.device.tick(now_ns, memory, &mut progress);
        for Finished {
            flow,
            token,
            completion,
        } in progress.finished
        {
            self.in_session(flow, |mut session| session.complete(token, completion))
                .expect("a token that counts");
        }
        self.events.append(&mut progress.events);
        if progress.broken {
            self.capture.queue.set_error();
            self.output.queue.set_error();
        }
    }

    /// Runs the device and waits for the worker until `done` returns true.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + WORKER_TIMEOUT;
        loop {
            self.work();
            if done(self) {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come in {WORKER_TIMEOUT:?}");
            let fd = self.device.wake_fd();
            let fd = fd.unwrap_or_else(|| panic!("nothing is under way, and {what} did not come"));
            let left = Timespec::try_from(left).expect("a short time");
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)).expect("poll works");
            self.tick();
        }
    }
}
