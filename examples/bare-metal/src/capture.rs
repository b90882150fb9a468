//! A camera and a display with the crate `vb3-queue`. Frames pass from the camera's memory through
//! dma-bufs, which both devices map, to the display's memory. The devices copy frames in pieces.
//! Each copy ends with an interrupt.

use crate::TestResult;
use crate::edu::{self, Edu, FRAME, Half};
use crate::frames::view;
use crate::irq;
use crate::machine::Dma;
use crate::port::say;
use crate::vtd::Bdf;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use vb3_dma::{Attrs, DmaOps as _};
use vb3_plane::{Device, Planes};
use vb3_queue::{
    BufferInfo, Coherency, Completions, Config, Error, MemOps, Memory, PlaneRequest, PlaneSource,
    Queue, QueueBuffer, QueueType, Session,
};

type Frames = Planes<&'static Dma, ()>;
type Dmabuf = <Frames as MemOps>::DmaBuf;

const CAMERA: usize = 0;
const DISPLAY: usize = 1;
const BUFFERS: u32 = 3;
const COUNT: u32 = 8;

fn failed<E: Debug>(what: &'static str) -> impl Fn(E) -> String {
    move |err| format!("{what}: {err:?}")
}

/// One device, its queue and its driver.
struct Side {
    bdf: Bdf,
    queue: Queue<Frames>,
    half: Half,
    /// Memory at the device's far end: the camera's scene or the display's screen.
    far: vb3_dma::Memory<crate::machine::Machine>,
}

impl Side {
    fn new(dma: &'static Dma, number: usize, kind: QueueType) -> TestResult<Self> {
        let (bdf, edu) = Edu::find(number)?;
        dma.platform()
            .attach(bdf, edu::MASK)
            .map_err(failed("the edu device does not attach"))?;
        let bytes = u64::from(COUNT) * FRAME;
        let far = dma
            .alloc_coherent(bdf, bytes, Attrs::FORCE_CONTIGUOUS)
            .map_err(failed("no memory for the scene"))?;
        let addr = dma.alloc_dma_addr(&far).ok_or("no address for the scene")?;
        let queue = Queue::new(Config::new(Device::contig(bdf), kind));
        let queue: Queue<Frames> = queue.map_err(failed("no queue"))?;
        let finished = Completions::new(queue.config().max_num_buffers);
        let finished = finished.map_err(failed("no list of buffers"))?;
        let half = Half::new(number, edu, addr.get(), finished);
        Ok(Self {
            bdf,
            queue,
            half,
            far,
        })
    }

    fn session<'a>(&'a mut self, frames: &'a Frames) -> Session<'a, Frames> {
        self.queue.session(frames, &mut self.half)
    }

    /// Dequeues a buffer that the device has completed, if there is one.
    fn take(&mut self, number: usize, frames: &Frames) -> TestResult<Option<BufferInfo>> {
        let mut session = self.session(frames);
        session.collect(|| Half::pop(number));
        match session.dqbuf() {
            Ok(info) => Ok(Some(info)),
            Err(Error::WouldBlock) => Ok(None),
            Err(err) => Err(failed("DQBUF")(err)),
        }
    }

    /// Returns the memory at the device's far end.
    fn far_bytes(&mut self) -> &mut [u8] {
        let run = &self.far.segments()[0];
        // SAFETY: the allocation is one run of RAM; the device is idle during every call.
        unsafe { core::slice::from_raw_parts_mut(view(run.addr), run.len as usize) }
    }
}

fn buffer(index: u32, dmabuf: Option<Dmabuf>) -> QueueBuffer<Frames> {
    let (memory, plane) = match dmabuf {
        None => (Memory::Mmap, PlaneRequest::mmap(0)),
        Some(buf) => {
            let (buf, fd) = (Some(buf), 0);
            let plane = PlaneRequest {
                payload_bytes: FRAME,
                length_bytes: 0,
                data_offset: 0,
                source: PlaneSource::DmaBuf { buf, fd },
            };
            (Memory::DmaBuf, plane)
        }
    };
    let mut buffer = QueueBuffer::new(index, memory);
    // The buffer has room for one plane.
    let _ = buffer.push_plane(plane);
    buffer
}

/// Streams frames, and compares the display's pictures with the camera's scene.
pub(crate) fn stream(dma: &'static Dma) -> TestResult {
    let mut camera = Side::new(dma, CAMERA, QueueType::Capture)?;
    let mut display = Side::new(dma, DISPLAY, QueueType::Output)?;
    let mut state = 0x2545_f491_u32;
    for byte in camera.far_bytes() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *byte = state as u8;
    }
    irq::start();

    let frames = Planes::new(dma, ());
    let mut dmabufs = Vec::new();
    let mut session = camera.session(&frames);
    session
        .reqbufs(Memory::Mmap, BUFFERS, Coherency::Coherent)
        .map_err(failed("REQBUFS"))?;
    for index in 0..BUFFERS {
        let exported = session.expbuf(index, 0);
        dmabufs.push(exported.map_err(failed("EXPBUF"))?);
        session.qbuf(buffer(index, None)).map_err(failed("QBUF"))?;
    }
    session.streamon().map_err(failed("STREAMON"))?;
    let mut session = display.session(&frames);
    session
        .reqbufs(Memory::DmaBuf, BUFFERS, Coherency::Coherent)
        .map_err(failed("REQBUFS"))?;
    session.streamon().map_err(failed("STREAMON"))?;

    let (mut asked, mut shown) = (BUFFERS, 0);
    while shown < COUNT {
        let mut is_idle = true;
        if let Some(info) = camera.take(CAMERA, &frames)? {
            is_idle = false;
            let dmabuf = frames.clone_dmabuf(&dmabufs[info.index as usize]);
            let dmabuf = dmabuf.map_err(failed("no reference"))?;
            let queued = display
                .session(&frames)
                .qbuf(buffer(info.index, Some(dmabuf)));
            queued.map_err(failed("QBUF at the display"))?;
        }
        if let Some(info) = display.take(DISPLAY, &frames)? {
            is_idle = false;
            shown += 1;
            if asked < COUNT {
                asked += 1;
                let queued = camera.session(&frames).qbuf(buffer(info.index, None));
                queued.map_err(failed("QBUF"))?;
            }
        }
        if is_idle {
            let waits = (camera.queue.wait(), display.queue.wait());
            if let (Ok(camera), Ok(display)) = waits {
                irq::wait_until(|| camera.is_over() || display.is_over());
            }
        }
    }
    finish(dma, (camera, display), frames, dmabufs)
}

fn finish(
    dma: &'static Dma,
    (mut camera, mut display): (Side, Side),
    frames: Frames,
    dmabufs: Vec<Dmabuf>,
) -> TestResult {
    if camera.far_bytes() != display.far_bytes() {
        return Err("the display shows other bytes than the camera's scene".into());
    }
    display.session(&frames).release();
    camera.session(&frames).release();
    dmabufs.into_iter().for_each(|buf| frames.put_dmabuf(buf));
    let errors = camera.queue.statistics().errors + display.queue.statistics().errors;
    let (maps, live) = (dma.counters(display.bdf).maps, frames.live());
    for side in [camera, display] {
        drop(side.half);
        dma.free(side.far);
    }
    crate::faults::none(dma)?;
    if errors != 0 || !live.is_empty() || !dma.live().is_empty() {
        return Err(format!("{errors} errors; left: {live:?}, {:?}", dma.live()));
    }
    let interrupts = edu::interrupts();
    say!(
        "queue: {COUNT} frames of {FRAME} bytes from camera to display, by {maps} maps of \
         {BUFFERS} dma-bufs and {interrupts} interrupts"
    );
    Ok(())
}
