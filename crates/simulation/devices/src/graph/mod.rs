//! Devices whose nodes share a media graph: sensors, image processors and captures.
//!
//! A [`Topology`] describes such a device. Each of its video nodes and subdevices becomes a node. A video
//! node makes the frames: a thread renders the picture that the sensor at the start of its pipeline sees, through
//! all entities between the two. In virtual time, ticks (calls by the host) render all frames.

mod develop;
mod scene;
mod sensor;
#[cfg(test)]
mod tests;
mod vimc;

pub(crate) use sensor::{MODELS, UNKNOWN_MODEL, topology as sensor_topology};
pub(crate) use vimc::VIMC;

use crate::Failure;
use crate::convert_thread::ConvertThread;
use crate::settings::Settings;
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::{EBUSY, EINVAL, Gate, LentTarget, PictureCursor, Step, Surface, Trouble};
use develop::Chain;
use scene::{Rendering, Scene};
use sensor::{Raw, Setting};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    ControlSpec, EntityNode, EntitySpec, Flipping, Flow, Format, FourCc, Fraction, FrameSizes,
    MediaGraph, PixelFormat, Planarity, Port, Rect, Role, Topology, WakeFd, cid, pixfmt,
};

/// Seconds per frame of a sensor without timings. Linux's vimc makes about 60 frames per second.
const INTERVAL: Fraction = Fraction::new(1, 60);

/// Returns the pixel formats that a topology's video nodes support.
pub(crate) fn formats(topology: &Topology) -> Vec<&'static PixelFormat> {
    let all = topology.pixels.iter();
    all.filter_map(|(fourcc, _)| pixfmt::lookup(*fourcc))
        .collect()
}

pub(crate) type GraphNode<C> = StreamingDevice<Entity<C>, Video, C>;

/// The current and the supported formats of a video node.
pub(crate) struct Video {
    graph: MediaGraph,
    entity: usize,
    pixels: Vec<&'static PixelFormat>,
    planarity: Planarity,
    format: Format,
}

impl Video {
    fn sizes(&self) -> FrameSizes<'static> {
        let topology = self.graph.topology();
        FrameSizes::Stepwise {
            width: (topology.width.0, topology.width.1, 1),
            height: (topology.height.0, topology.height.1, 1),
        }
    }
}

impl Formats for Video {
    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        &self.pixels
    }

    fn sizes(&self, _: FourCc) -> FrameSizes<'_> {
        self.sizes()
    }

    fn format(&self) -> Format {
        self.format
    }

    fn try_format(&self, wanted: &Format) -> Format {
        let (mut wanted, topology) = (*wanted, self.graph.topology());
        let default = topology.default;
        let mut known = self.pixels.iter();
        if known.all(|pixel| pixel.fourcc != wanted.fourcc) {
            wanted.fourcc = topology.pixel_of(default.code).unwrap_or(wanted.fourcc);
        }
        let size = topology.nearest_size(wanted.width, wanted.height);
        (wanted.width, wanted.height) = size;
        // The width alone determines the line length.
        (wanted.planes.iter_mut()).for_each(|plane| plane.bytesperline = 0);
        let format = Format::negotiate(&wanted, &self.pixels, self.sizes(), false);
        let mut format = format.unwrap_or(self.format);
        format.color = vb3_v4l2::clamp_colors(wanted.color);
        if format.color.colorspace == 0 {
            format.color = default.color;
        }
        format
    }

    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        let set = self.graph.set_video(self.entity, format);
        set.map_err(|_| EBUSY)?;
        self.format = *format;
        Ok(())
    }

    fn interval(&self) -> Fraction {
        INTERVAL
    }
}

/// Makes the scene of a path: raw frames as the sensor sends them, or frames that processing entities have
/// changed. `None` for a path without a sensor.
fn scene_of(graph: &MediaGraph, path: &[usize]) -> Option<Box<dyn Scene>> {
    if let Some(raw) = Raw::new(graph, path) {
        return Some(Box::new(raw));
    }
    Some(Box::new(Chain::new(graph, path)?))
}

/// A frame that is being rendered or written to its buffer.
struct Work<C> {
    token: Active<C>,
    stamp: Stamp,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The thread renders the frame.
    Rendering,
    /// The device writes the rendered frame to the buffer.
    Writing(PictureCursor),
    /// The thread has written the frame to the buffer.
    Written,
    /// The frame could not be rendered or written.
    Failed,
}

/// An entity that has a node. The entity of a video node fills buffers.
pub(crate) struct Entity<C> {
    graph: MediaGraph,
    index: usize,
    spec: &'static EntitySpec,
    port: [Port; 1],
    /// Renders frames while the node streams. The thread has it while it renders a frame.
    scene: Option<Box<dyn Scene>>,
    /// The thread that renders frames. It starts with the first frame of a stream.
    thread: Option<ConvertThread<Rendering>>,
    /// Lets the thread write to the buffer that it got last.
    gate: Option<Gate>,
    work: Option<Work<C>>,
    picture: Vec<u8>,
    /// Whether ticks render all frames, without the thread.
    at_once: bool,
}

impl<C> GraphNode<C> {
    /// Makes the node of the entity `index`.
    /// Fails with a message for the user if there is no such entity.
    pub(crate) fn new(
        settings: &Settings,
        (graph, index): (&MediaGraph, usize),
    ) -> Result<Self, Failure> {
        let entity = graph
            .entity(index)
            .ok_or_else(|| settings.no_such_format())?;
        let topology = graph.topology();
        let default = topology.default;
        let pixel = topology.pixel_of(default.code).and_then(pixfmt::lookup);
        let format = pixel.and_then(|pixel| Format::new(pixel, default.width, default.height));
        let mut format = format.ok_or_else(|| settings.no_such_format())?;
        format.color = default.color;
        let video = Video {
            graph: graph.clone(),
            entity: index,
            pixels: settings.pixels.clone(),
            planarity: settings.planarity,
            format,
        };
        let engine = Entity {
            graph: graph.clone(),
            index,
            spec: entity,
            port: [Port {
                name: entity.name,
                kind: 2,
            }],
            scene: None,
            thread: None,
            gate: None,
            work: None,
            picture: Vec::new(),
            at_once: false,
        };
        // Sets the exposure's initial value.
        Setting::of(graph, index).map(|setting| setting.take_ranges());
        let mut node = Self::with_engine(settings, topology.card, video, engine);
        node.policy.file_io = topology.file_io;
        node.policy.removes_buffers = topology.removes_buffers;
        Ok(node)
    }
}

impl<C> Entity<C> {
    /// Renders a frame: on the thread, or within this call in virtual time and if no thread can be started.
    fn render(&mut self, mut rendering: Rendering) {
        if self.thread.is_none() && !self.at_once {
            self.thread = ConvertThread::start(Rendering::run);
        }
        self.gate = rendering.buffer.as_ref().map(LentTarget::gate);
        if let Some(thread) = &mut self.thread {
            match thread.give(rendering) {
                Ok(()) => return,
                Err(refused) => rendering = refused,
            }
        }
        rendering.run();
        self.take_rendered(rendering, true);
    }

    /// Takes a frame that was rendered. `ran` is whether this ended without a panic.
    fn take_rendered(&mut self, rendering: Rendering, ran: bool) {
        if let Some(work) = &mut self.work {
            work.stage = match (&rendering.buffer, rendering.done && ran) {
                (_, false) => Stage::Failed,
                (Some(_), true) => Stage::Written,
                (None, true) => Stage::Writing(PictureCursor::default()),
            };
        }
        (self.scene, self.picture) = (Some(rendering.scene), rendering.picture);
    }

    /// Continues to write a frame. Returns the buffer's result when the frame is complete.
    fn resume(&mut self, tick: &mut Tick<'_, Video, C>) -> Step {
        if let Some((rendering, ran)) = self.thread.as_mut().and_then(ConvertThread::take) {
            self.take_rendered(rendering, ran);
        }
        let Some(work) = &mut self.work else {
            return Ok(None);
        };
        let format = tick.stream.formats.format;
        match &mut work.stage {
            Stage::Rendering => Ok(None),
            _ if work.token.is_stale() => Err(Trouble::Stale),
            Stage::Failed => Err(Trouble::Fault),
            Stage::Written => {
                let place = (&work.token, Rect::whole(format.width, format.height));
                Surface(&format).note_written(place, tick.bus).map(Some)
            }
            Stage::Writing(cursor) => {
                let going = (cursor, &mut tick.stream.left);
                let bytes_of = |_, range| self.picture.get(range);
                Surface(&format).resume_write(&work.token, going, tick.bus, bytes_of)
            }
        }
    }

    fn is_rendering(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.is_busy)
    }

    /// Takes the buffer back from the thread, which does not write to it any more.
    fn close_gate(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.close();
        }
    }
}

impl<C> Drop for Entity<C> {
    fn drop(&mut self) {
        self.close_gate();
    }
}

impl<C> Engine<C> for Entity<C> {
    type Formats = Video;

    const FLOW: Flow = Flow::Capture;
    const PORTS: &'static [Port] = &[];
    const TIMED: bool = false;

    fn role(&self) -> Role {
        match self.spec.node {
            EntityNode::Video => Role::Capture,
            EntityNode::Subdevice => Role::Subdevice,
        }
    }

    fn ports(&self) -> &[Port] {
        &self.port
    }

    fn stored_as(&self, code: u32) -> Option<Option<FourCc>> {
        Some(self.graph.topology().pixel_of(code))
    }

    fn subdevice(&self) -> Option<(&MediaGraph, usize)> {
        let is_subdevice = self.spec.node == EntityNode::Subdevice;
        is_subdevice.then_some((&self.graph, self.index))
    }

    fn controls(&self) -> Vec<ControlSpec> {
        let setting = Setting::of(&self.graph, self.index);
        setting.map_or_else(|| self.spec.controls.to_vec(), |now| now.controls())
    }

    fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)> {
        let setting = Setting::of(&self.graph, self.index);
        setting.map_or_else(Vec::new, |setting| setting.take_ranges())
    }

    fn is_grabbed(&self, id: u32) -> bool {
        let sensor = self.spec.sensor;
        sensor.is_some_and(|sensor| sensor.flipping == Flipping::AtFormat)
            && matches!(id, cid::HFLIP | cid::VFLIP)
            && self.graph.is_streaming(self.index)
    }

    fn set_control(&mut self, id: u32, value: i64) -> Result<(), DriverError> {
        self.graph.set_control(self.index, id, value);
        Ok(())
    }

    fn start(&mut self, stream: &mut Stream<Video, C>) -> Result<(), DriverError> {
        let path = self.graph.start(self.index).map_err(|refused| {
            stream.failure = Some(Failure::asked_for(refused.sentence));
            DriverError::from(refused.errno)
        })?;
        self.scene = scene_of(&self.graph, &path);
        if self.scene.is_none() {
            self.graph.stop(self.index);
            return Err(EINVAL);
        }
        stream.failure = None;
        Ok(())
    }

    fn stop(&mut self, _: &mut Stream<Video, C>) {
        self.graph.stop(self.index);
        self.close_gate();
        // The thread ends once it has rendered its frame.
        (self.scene, self.work, self.thread) = (None, None, None);
        self.picture = Vec::new();
    }

    fn recall(&mut self) {
        let work = self.work.as_ref();
        if work.is_some_and(|work| work.token.is_stale()) {
            self.close_gate();
        }
    }

    fn work_at_once(&mut self) {
        self.at_once = true;
    }

    fn begin_tick(&mut self, tick: &mut Tick<'_, Video, C>) {
        let step = self.resume(tick);
        if step != Ok(None)
            && let Some(work) = self.work.take()
        {
            let moved = step.map(Option::unwrap_or_default);
            tick.complete(work.stamp, work.token, moved);
        }
    }

    /// Begins the next frame if it is due. Renders nothing without a buffer.
    fn step(&mut self, tick: &mut Tick<'_, Video, C>) -> bool {
        let is_due = tick.stream.due_ns.is_none_or(|due| due <= tick.now_ns);
        if !is_due || self.work.is_some() || tick.stream.tokens.is_empty() {
            return false;
        }
        let Some(mut scene) = self.scene.take() else {
            return false;
        };
        let Some(token) = tick.stream.tokens.pop_front() else {
            return false;
        };
        let stamp = Stamp::new(tick.stream.next_sequence(), tick.now_ns);
        let format = tick.stream.formats.format;
        scene.begin(stamp.sequence, &self.graph);
        let interval_ns = scene
            .frame_ns()
            .unwrap_or_else(|| tick.stream.interval_ns());
        // If a frame is late by less than an interval, the next frames keep their times.
        let is_late = |due: &u64| tick.now_ns.saturating_sub(*due) < interval_ns;
        let from_ns = tick.stream.due_ns.filter(is_late).unwrap_or(tick.now_ns);
        tick.stream.due_ns = Some(from_ns.saturating_add(interval_ns));
        let rect = Rect::whole(format.width, format.height);
        let buffer = match self.at_once {
            true => None,
            false => Surface(&format).lend_target(&token, rect, tick.bus),
        };
        let pixel = pixfmt::lookup(format.fourcc);
        let line_bytes = pixel.and_then(|pixel| pixel.line_bytes(0, format.width));
        self.work = Some(Work {
            token,
            stamp,
            stage: Stage::Rendering,
        });
        let picture = std::mem::take(&mut self.picture);
        self.render(Rendering {
            scene,
            // CAST: widening, on every target there is.
            lines: (format.height, line_bytes.unwrap_or_default() as usize),
            picture,
            buffer,
            done: false,
        });
        if !self.is_rendering() {
            self.begin_tick(tick);
        }
        false
    }

    fn next_step(&self, stream: &Stream<Video, C>) -> Option<u64> {
        let can_begin = self.work.is_none() && !stream.tokens.is_empty();
        can_begin.then(|| stream.due_ns.unwrap_or(0))
    }

    fn has_begun(&self) -> bool {
        self.work.is_some() && !self.is_rendering()
    }

    fn is_preparing(&self) -> bool {
        self.is_rendering()
    }

    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.thread.as_ref()?.wake_fd()
    }
}
