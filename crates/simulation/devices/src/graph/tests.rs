//! Tests vimc's graph under random calls, and its pictures.

use super::develop::Chain;
use super::*;
use crate::hosted::HostedDevice;
use crate::node::NodeSpec;
use crate::registry;
use crate::spec::DeviceSpec;
use crate::tests::bench::{Bench, host};
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::{BTreeMap, BTreeSet};
use vb3_picture::Size;
use vb3_v4l2::{Error, Format, MbusFormat, VideoDriver as _, sys};

const RAW: u32 = sys::MEDIA_BUS_FMT_SRGGB8_1X8;
const RGB: u32 = sys::MEDIA_BUS_FMT_RGB888_1X24;
const SENSOR_A: usize = 0;
const DEBAYER_A: usize = 2;
const RAW_0: usize = 4;
const INPUT: usize = 6;
const SCALER: usize = 7;
const CAPTURE: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Link(usize, u32),
    Format(usize, usize, (u32, u32, usize)),
    Crop([i32; 2], [u32; 2]),
    Video(usize, (u32, u32, usize)),
    /// Sets formats with which every pipeline can stream.
    Agree,
    Start(usize),
    Stop(usize),
}

fn size() -> impl Strategy<Value = (u32, u32, usize)> {
    let edge = || prop_oneof![Just(640_u32), Just(320), any::<u32>()];
    (edge(), edge(), 0..40_usize)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..10_usize, any::<u32>().prop_map(|flags| flags % 8)).prop_map(|(l, f)| Step::Link(l, f)),
        (0..12_usize, 0..3_usize, size()).prop_map(|(e, p, s)| Step::Format(e, p, s)),
        (any::<[i32; 2]>(), any::<[u32; 2]>()).prop_map(|(at, len)| Step::Crop(at, len)),
        (0..3_usize, size()).prop_map(|(video, s)| Step::Video([4, 5, 8][video], s)),
        Just(Step::Agree),
        (0..3_usize).prop_map(|video| Step::Start([4, 5, 8][video])),
        (0..3_usize).prop_map(|video| Step::Stop([4, 5, 8][video])),
    ]
}

/// The effects of calls as in Linux's media controller, independent of the graph's own state.
#[derive(Default)]
struct Model {
    /// Links whose state differs from the topology's.
    changed: BTreeSet<usize>,
    /// For each streaming video node: all entities of its pipeline, and the path of its frames.
    running: BTreeMap<usize, (BTreeSet<usize>, Vec<usize>)>,
}

impl Model {
    fn is_enabled(&self, link: usize) -> bool {
        let at_first = VIMC.links[link].flags & sys::MEDIA_LNK_FL_ENABLED != 0;
        at_first != self.changed.contains(&link)
    }

    /// Returns all entities that enabled links connect with `entity`, directly or through others.
    fn pipeline(&self, entity: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([entity]);
        let mut rest = vec![entity];
        while let Some(here) = rest.pop() {
            let links = (0..VIMC.links.len()).filter(|link| self.is_enabled(*link));
            for spec in links.map(|link| &VIMC.links[link]) {
                let (from, to) = (spec.source.0, spec.sink.0);
                let there = [(from, to), (to, from)];
                let there = there.into_iter().find(|(end, _)| *end == here);
                rest.extend(there.filter(|(_, other)| found.insert(*other)).map(|t| t.1));
            }
        }
        found
    }

    fn link(&mut self, link: usize, flags: u32) -> Result<(), Error> {
        let spec = VIMC.links.get(link).ok_or(Error::Invalid)?;
        let now = u32::from(self.is_enabled(link)) | spec.flags & !sys::MEDIA_LNK_FL_ENABLED;
        if flags == now {
            return Ok(());
        }
        let is_fixed = spec.flags & sys::MEDIA_LNK_FL_IMMUTABLE != 0;
        if is_fixed || flags & !sys::MEDIA_LNK_FL_ENABLED != 0 {
            return Err(Error::Invalid);
        }
        let mut members = self.running.values().map(|(members, _)| members);
        if members.any(|all| all.contains(&spec.source.0) || all.contains(&spec.sink.0)) {
            return Err(Error::Busy);
        }
        if !self.changed.remove(&link) {
            self.changed.insert(link);
        }
        Ok(())
    }

    /// Returns the result that setting an entity's format or crop rectangle must have.
    fn set(&self, entity: usize) -> Result<(), Error> {
        let mut paths = self.running.values().map(|(_, path)| path);
        match paths.any(|path| path.contains(&entity)) {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }

    fn start(&mut self, video: usize, answer: &Result<Vec<usize>, i32>) {
        let members = self.pipeline(video);
        let mut others = self.running.values();
        let is_busy = others.any(|(others, _)| !others.is_disjoint(&members));
        match answer {
            Ok(path) => {
                assert!(!is_busy);
                assert!(members.is_superset(&path.iter().copied().collect()));
                self.running.insert(video, (members, path.clone()));
            }
            Err(errno) => assert_eq!(*errno, if is_busy { 16 } else { 32 }),
        }
    }
}

/// Makes one call on the graph and on the model, and checks that the results agree.
fn make(graph: &MediaGraph, model: &mut Model, step: Step) {
    match step {
        Step::Link(link, flags) => assert_eq!(graph.set_link(link, flags), model.link(link, flags)),
        Step::Format(entity, pad, (width, height, code)) => {
            let Some(mut pads) = graph.pads(entity) else {
                return;
            };
            let codes = graph.entity(entity).and_then(|spec| spec.pads.get(pad));
            let code = codes.and_then(|pad| pad.codes.get(code).copied());
            let wanted = MbusFormat {
                width,
                height,
                code: code.unwrap_or(width),
                color: VIMC.default.color,
            };
            if graph.set_format(entity, &mut pads, (pad, wanted)).is_some() {
                assert_eq!(graph.set_pads(entity, pads), model.set(entity));
            }
        }
        Step::Crop([left, top], [width, height]) => {
            let mut pads = graph.pads(SCALER).expect("a scaler");
            let wanted = Rect {
                left,
                top,
                width,
                height,
            };
            graph.set_crop(&mut pads, wanted);
            assert_eq!(graph.set_pads(SCALER, pads), model.set(SCALER));
        }
        Step::Video(entity, (width, height, pixel)) => {
            let all = formats(&VIMC);
            let (width, height) = VIMC.nearest_size(width, height);
            let format = Format::new(all[pixel % all.len()], width, height);
            let format = format.expect("a small picture");
            assert_eq!(graph.set_video(entity, &format), model.set(entity));
        }
        Step::Agree => {
            for (entity, code) in [(0, RAW), (1, RAW), (2, RAW), (3, RAW), (6, RGB), (7, RGB)] {
                let mut pads = graph.initial(entity).expect("an entity");
                let wanted = MbusFormat {
                    code,
                    ..VIMC.default
                };
                graph.set_format(entity, &mut pads, (0, wanted));
                assert_eq!(graph.set_pads(entity, pads), model.set(entity));
            }
            for (video, pixel) in [
                (4, &pixfmt::SRGGB8),
                (5, &pixfmt::SRGGB8),
                (8, &pixfmt::RGB24),
            ] {
                let format = Format::new(pixel, 640, 480).expect("a small picture");
                assert_eq!(graph.set_video(video, &format), model.set(video));
            }
        }
        Step::Start(entity) => {
            let answer = graph.start(entity);
            let errno = answer.clone().map_err(|refused| refused.errno);
            model.start(entity, &errno);
            if let Ok(path) = answer {
                let mut chain = Chain::new(graph, &path).expect("a sensor");
                chain.begin(1, graph);
                chain.paint();
                let mut out = Vec::new();
                chain.render(0..2, &mut out);
                assert!(!out.is_empty());
            }
        }
        Step::Stop(entity) => {
            graph.stop(entity);
            model.running.remove(&entity);
        }
    }
}

/// Checks the properties that every graph has after any call.
fn check(graph: &MediaGraph) {
    for entity in 0..VIMC.entities.len() {
        let pads = graph.pads(entity).expect("an entity");
        for format in &pads.formats {
            let size = (format.width, format.height);
            assert_eq!(VIMC.nearest_size(size.0, size.1), size);
        }
        if let Some(format) = pads.formats.first().filter(|_| entity == SCALER) {
            let right = pads.crop.left.unsigned_abs() + pads.crop.width;
            let bottom = pads.crop.top.unsigned_abs() + pads.crop.height;
            assert!(pads.crop.left >= 0 && pads.crop.top >= 0, "{pads:?}");
            assert!(right <= format.width && bottom <= format.height, "{pads:?}");
        }
    }
    for (link, spec) in VIMC.links.iter().enumerate() {
        let changed = graph.link_flags(link).expect("a link") ^ spec.flags;
        let is_fixed = spec.flags & sys::MEDIA_LNK_FL_IMMUTABLE != 0;
        assert!(changed == 0 || !is_fixed && changed == sys::MEDIA_LNK_FL_ENABLED);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// After 1,000 calls and the end of all streams, everything can be set again.
    #[test]
    fn random_calls_leave_nothing_held(steps in proptest::collection::vec(step(), 1000)) {
        let graph = MediaGraph::new(&VIMC);
        let mut model = Model::default();
        for step in steps {
            make(&graph, &mut model, step);
            check(&graph);
        }
        for video in [4, 5, 8] {
            graph.stop(video);
        }
        for entity in 0..VIMC.entities.len() {
            let first = graph.initial(entity).expect("an entity");
            prop_assert!(graph.set_pads(entity, first).is_ok());
        }
        for (link, spec) in VIMC.links.iter().enumerate() {
            prop_assert!(graph.set_link(link, spec.flags).is_ok());
        }
        prop_assert!(graph.start(RAW_0).is_err(), "a debayer takes no RGB");
        set(&graph, SENSOR_A, 0x3014, (640, 480));
        set_video(&graph, RAW_0, &pixfmt::SRGGB8, (640, 480));
        prop_assert!(graph.start(CAPTURE).is_ok());
    }
}

/// Sets the format of pad 0.
fn set(graph: &MediaGraph, entity: usize, code: u32, (width, height): (u32, u32)) {
    let mut pads = graph.pads(entity).expect("an entity");
    let wanted = MbusFormat {
        width,
        height,
        code,
        color: VIMC.default.color,
    };
    let set = graph.set_format(entity, &mut pads, (0, wanted));
    assert_eq!(set, Some(wanted));
    graph.set_pads(entity, pads).expect("no stream");
}

fn set_video(graph: &MediaGraph, entity: usize, pixel: &'static PixelFormat, size: (u32, u32)) {
    let format = Format::new(pixel, size.0, size.1).expect("a picture");
    graph.set_video(entity, &format).expect("no stream");
}

/// Returns one frame of a started pipeline.
fn frame(graph: &MediaGraph, video: usize, height: u32) -> Vec<u8> {
    let path = graph.start(video).expect("a pipeline that can stream");
    let mut chain = Chain::new(graph, &path).expect("a sensor");
    chain.begin(5, graph);
    chain.paint();
    let mut out = Vec::new();
    chain.render(0..height, &mut out);
    graph.stop(video);
    out
}

#[test]
fn mosaics_have_one_colour_a_pixel() {
    let size = (64, 32);
    for (code, pixel, bytes) in [
        (0x3014, &pixfmt::SRGGB8, 1),
        (0x300f, &pixfmt::SRGGB10, 2),
        (0x3012, &pixfmt::SRGGB12, 2),
    ] {
        let graph = MediaGraph::new(&VIMC);
        graph.set_control(SENSOR_A, vimc::TEST_PATTERN, 7);
        for entity in [SENSOR_A, DEBAYER_A] {
            set(&graph, entity, code, size);
        }
        set(&graph, SCALER, 0x100a, size);
        set_video(&graph, RAW_0, pixel, size);
        set_video(&graph, CAPTURE, &pixfmt::RGB24, size);
        let raw = frame(&graph, RAW_0, size.1);
        let most = [0, 255, 1023, 4095][pixel.bits as usize / 2 - 3];
        for (at, sample) in raw.chunks_exact(bytes).enumerate() {
            let value = sample
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            let is_red = at % 2 == 0 && at / 64 % 2 == 0;
            assert_eq!(value, if is_red { most } else { 0 }, "{at}");
        }
        assert_eq!(raw.len(), 64 * 32 * bytes);
        let developed = frame(&graph, CAPTURE, size.1);
        assert!(developed.chunks_exact(3).all(|pixel| pixel == [255, 0, 0]));
    }
}

/// The pattern has edges between its bars. The debayer's window ends at the picture's edges.
#[test]
fn the_debayer_takes_means_of_its_window() {
    let size = (64, 32);
    for window in [1, 3, 5] {
        let graph = MediaGraph::new(&VIMC);
        graph.set_control(DEBAYER_A, vimc::MEAN_WINDOW, window);
        for entity in [SENSOR_A, DEBAYER_A] {
            set(&graph, entity, RAW, size);
        }
        set(&graph, SCALER, RGB, size);
        set_video(&graph, RAW_0, &pixfmt::SRGGB8, size);
        set_video(&graph, CAPTURE, &pixfmt::RGB24, size);
        let (raw, found) = (frame(&graph, RAW_0, 32), frame(&graph, CAPTURE, 32));
        let reach = i64::from(i32::try_from(window / 2).unwrap());
        for (at, found) in (0_i64..).zip(found.chunks_exact(3)) {
            let (x, y) = (at % 64, at / 64);
            let mut samples = [const { Vec::new() }; 3];
            for line in (y - reach).max(0)..=(y + reach).min(31) {
                for column in (x - reach).max(0)..=(x + reach).min(63) {
                    let channel = usize::try_from(line % 2 + column % 2).unwrap();
                    let at = usize::try_from(line * 64 + column).unwrap();
                    samples[channel].push(usize::from(raw[at]));
                }
            }
            let means = samples.map(|all| all.iter().sum::<usize>() / all.len().max(1));
            assert_eq!(
                found.iter().map(|b| usize::from(*b)).collect::<Vec<_>>(),
                means,
                "{x} {y}"
            );
        }
    }
}

#[test]
fn the_scaler_takes_the_nearest_pixel_of_its_crop() {
    let graph = MediaGraph::new(&VIMC);
    let large = (64, 32);
    set(&graph, INPUT, 0x100a, large);
    set(&graph, SCALER, 0x100a, large);
    let mut pads = graph.pads(SCALER).expect("a scaler");
    let crop = Rect {
        left: 16,
        top: 8,
        width: 32,
        height: 24,
    };
    assert_eq!(graph.set_crop(&mut pads, crop), Some(crop));
    pads.formats[1].height = 16;
    graph.set_pads(SCALER, pads).expect("no stream");
    graph.set_link(4, 0).expect("no stream");
    graph.set_link(6, 1).expect("no stream");
    set_video(&graph, CAPTURE, &pixfmt::RGB24, (64, 16));
    let found = frame(&graph, CAPTURE, 16);
    let sensed = vb3_picture::render(
        &pixfmt::RGB24,
        Size::nearest(64, 32),
        5,
        vb3_picture::Background::Bars,
        &vb3_picture::Picture::default(),
    );
    for (at, pixel) in found.chunks_exact(3).enumerate() {
        let (x, y) = (at % 64 * 32 / 64 + 16, at / 64 * 24 / 16 + 8);
        let wanted = &sensed.bytes()[(y * 64 + x) * 3..][..3];
        assert_eq!(pixel, wanted, "{at}");
    }
}

/// The numbers of the test patterns are those of Linux's vimc.
#[test]
fn a_sensors_controls_change_its_pictures() {
    use vb3_picture::{Background, Picture, render};
    // In a smaller picture, the bars look the same upside down.
    let size = (160, 120);
    let pictures = |ids: &[(u32, i64)]| {
        let graph = MediaGraph::new(&VIMC);
        ids.iter()
            .for_each(|(id, value)| graph.set_control(INPUT, *id, *value));
        set(&graph, INPUT, 0x100a, size);
        set(&graph, SCALER, 0x100a, size);
        graph.set_link(4, 0).expect("no stream");
        graph.set_link(6, 1).expect("no stream");
        set_video(&graph, CAPTURE, &pixfmt::RGB24, size);
        frame(&graph, CAPTURE, size.1)
    };
    let rendered = |background, picture: &Picture| {
        let size = Size::nearest(size.0, size.1);
        render(&pixfmt::RGB24, size, 5, background, picture)
    };
    let bars = Picture::default();
    for (ids, picture) in [
        (
            [(cid::BRIGHTNESS, 90), (cid::CONTRAST, 60)],
            Picture {
                brightness: 90,
                contrast: 60,
                ..bars
            },
        ),
        (
            [(cid::SATURATION, 30), (cid::HUE, -100)],
            Picture {
                saturation: 30,
                hue: -100,
                ..bars
            },
        ),
        (
            [(cid::HFLIP, 1), (cid::VFLIP, 0)],
            Picture {
                hflip: true,
                ..bars
            },
        ),
        (
            [(cid::HFLIP, 0), (cid::VFLIP, 1)],
            Picture {
                vflip: true,
                ..bars
            },
        ),
    ] {
        let wanted = rendered(Background::Bars, &picture);
        assert!(pictures(&ids) == wanted.bytes(), "{picture:?}");
        let plain = rendered(Background::Bars, &bars);
        assert!(wanted.bytes() != plain.bytes(), "{picture:?}");
    }
    for (index, background) in [
        (0, Background::Bars),
        (10, Background::Checkerboard),
        (20, Background::Ramp),
    ] {
        let found = pictures(&[(vimc::TEST_PATTERN, index)]);
        assert!(
            found == rendered(background, &bars).bytes(),
            "{background:?}"
        );
    }
    for (index, color) in (5..).zip([[0; 3], [255; 3], [255, 0, 0], [0, 255, 0], [0, 0, 255]]) {
        let found = pictures(&[(vimc::TEST_PATTERN, index)]);
        assert!(
            found.chunks_exact(3).all(|pixel| pixel == color),
            "{color:?}"
        );
    }
}

#[test]
fn every_sensor_code_has_a_pixel_format() {
    let sensor = &VIMC.entities[SENSOR_A].pads[0];
    assert_eq!(formats(&VIMC).len(), 23);
    for code in sensor.codes {
        let fourcc = VIMC.pixel_of(*code).expect("a pixel format");
        assert!(pixfmt::lookup(fourcc).is_some());
    }
}

#[test]
fn video_nodes_come_first_and_are_numbered() {
    let spec: DeviceSpec = "vimc,node=video7".parse().expect("a SPEC");
    let nodes = spec.nodes().expect("a graph");
    let videos = nodes.iter().position(NodeSpec::is_subdevice);
    let videos = videos.expect("a subdevice");
    assert!(videos > 0 && nodes[videos..].iter().all(NodeSpec::is_subdevice));
    let mut entities = BTreeSet::new();
    for (number, node) in (0..).zip(&nodes) {
        let is_video = !node.is_subdevice();
        assert_eq!(node.node, is_video.then_some(7 + number));
        let (graph, entity) = node.graph().expect("a graph");
        assert_eq!(graph.entity(entity), node.entity());
        entities.insert(entity);
    }
    assert_eq!(entities.len(), nodes.len());
}

/// Returns a vimc video node with two buffers, which streams.
fn streaming(size: (u32, u32)) -> Bench<GraphNode<u32>> {
    let spec: DeviceSpec = "vimc".parse().expect("a SPEC");
    let nodes = spec.nodes().expect("a graph");
    let is_raw = |node: &&NodeSpec| node.graph().is_some_and(|(_, entity)| entity == RAW_0);
    let node = nodes.iter().find(is_raw).expect("a video node");
    let (graph, _) = node.graph().expect("a graph");
    for entity in [SENSOR_A, DEBAYER_A] {
        set(graph, entity, RAW, size);
    }
    set(graph, SCALER, 0x100a, size);
    set_video(graph, CAPTURE, &pixfmt::RGB24, size);
    let mut device =
        GraphNode::new(&registry::settings(node, &host()), (graph, RAW_0)).expect("a device");
    let format = Format::new(&pixfmt::SRGGB8, size.0, size.1).expect("a picture");
    let set = device.set_format(Flow::Capture, &format, false);
    assert!(set.is_ok(), "{set:?}");
    let mut bench = Bench::new(device, 2);
    (0..2).for_each(|index| bench.queue(index));
    bench.start();
    bench
}

#[test]
fn frames_keep_their_times_unless_they_are_late() {
    const START: u64 = 1_000_000_000;
    const FRAME: u64 = 16_666_666;
    let mut bench = streaming((64, 32));
    assert_eq!(bench.device.next_tick(), Some(0));
    let mut due = START;
    // How late the tick of each frame is, and whether the next frame keeps its time.
    for (late, is_kept) in [
        (0, true),
        (5, true),
        (FRAME - 1, true),
        (FRAME, false),
        (0, true),
    ] {
        if due > START {
            assert_eq!(
                (bench.tick(due - 1), bench.device.next_tick()),
                (0, Some(due))
            );
        }
        let now = due + late;
        assert_eq!((bench.tick(now), bench.device.has_begun()), (0, false));
        assert_eq!(rendered(&mut bench, now), 1);
        let info = bench.take().expect("a frame");
        assert_eq!(info.timestamp_ns, now);
        bench.queue(info.index);
        due = if is_kept { due + FRAME } else { now + FRAME };
    }
    bench.stop();
    assert_eq!(bench.device.next_tick(), None);
}

/// Waits until the thread has rendered a frame, and runs ticks until the frame is in its buffer. Returns the number of
/// finished buffers.
fn rendered(bench: &mut Bench<GraphNode<u32>>, now_ns: u64) -> usize {
    assert_eq!(bench.device.next_tick(), None, "the thread has the frame");
    let wake = bench.device.wake_fd().expect("a frame is being rendered");
    assert_eq!(poll(&mut [PollFd::new(&wake, PollFlags::IN)], None), Ok(1));
    let mut done = 0;
    while done == 0 {
        done = bench.tick(now_ns);
        assert!(done > 0 || bench.device.next_tick() == Some(0));
    }
    done
}

/// Calls of all programs wait for a tick, but not for the thread.
#[test]
fn thread_renders_a_frame() {
    for maps in [false, true] {
        let mut bench = streaming((640, 480));
        bench.memory.maps = maps;
        assert_eq!(bench.tick(0), 0);
        let written: usize = bench.memory.accesses.iter().map(|access| access.2).sum();
        assert_eq!(written, 0);
        assert!(HostedDevice::is_preparing(&bench.device));
        assert_eq!(rendered(&mut bench, 0), 1);
        let by_thread = bench.plane(0, 0).clone();
        bench.stop();
        bench.device.work_at_once();
        bench.queue(0);
        bench.start();
        assert_eq!(bench.tick(0), 1, "within the tick");
        assert!(*bench.plane(0, 0) == by_thread, "the same frame");
    }
}

#[test]
fn streamoff_takes_the_buffer_from_the_thread() {
    let mut bench = streaming((640, 480));
    bench.memory.maps = true;
    assert_eq!(bench.tick(0), 0);
    let gate = bench.device.engine.gate.clone().expect("a lent buffer");
    bench.stop();
    assert!(gate.is_closed());
    assert!(bench.device.wake_fd().is_none());
    bench.queue(0);
    bench.start();
    assert_eq!((bench.tick(0), rendered(&mut bench, 0)), (0, 1));
    assert_eq!(
        bench.take().map(|info| (info.sequence, info.error)),
        Ok((0, false))
    );
}

#[test]
fn a_frame_is_finished_before_the_next_begins() {
    let mut bench = streaming((64, 32));
    assert_eq!(bench.tick(0), 0);
    // The second frame is due already.
    assert_eq!(rendered(&mut bench, 40_000_000), 1);
    assert_eq!(rendered(&mut bench, 40_000_000), 1);
}

/// Returns the nodes of a device, by their entities' names.
fn nodes_of(spec: &str) -> BTreeMap<&'static str, GraphNode<u32>> {
    let spec: DeviceSpec = spec.parse().expect("a SPEC");
    let nodes = spec.nodes().expect("a graph");
    let node = |node: &NodeSpec| {
        let (graph, entity) = node.graph().expect("a graph");
        let name = node.entity().expect("an entity").name;
        (
            name,
            GraphNode::new(&registry::settings(node, &host()), (graph, entity)).expect("a device"),
        )
    };
    nodes.iter().map(node).collect()
}

/// Source: Linux 7.2 drivers/media/test-drivers/vimc.
#[test]
fn each_entity_has_its_own_controls() {
    let mut nodes = nodes_of("vimc");
    for (name, count, of) in [
        ("Sensor A", 8, Some("Test Pattern")),
        ("Debayer B", 1, Some("Debayer Mean Window Size")),
        ("Scaler", 0, None),
        ("Lens A", 1, Some("Focus, Absolute")),
        ("Raw Capture 0", 0, None),
    ] {
        let controls = nodes[name].controls();
        assert_eq!(controls.len(), count, "{name}");
        let found = controls.iter().find(|control| Some(control.name) == of);
        assert_eq!(found.is_some(), of.is_some(), "{name}");
    }
    let debayer = nodes.get_mut("Debayer A").expect("a debayer");
    let value = vb3_v4l2::ControlValue::Number(5);
    assert_eq!(debayer.set_control(vimc::MEAN_WINDOW, &value), Ok(()));
    let graph = &debayer.engine.graph;
    assert_eq!(graph.control(DEBAYER_A, vimc::MEAN_WINDOW), Some(5));
    assert_eq!(debayer.take_ranges(), []);
    let crops = |entity: &EntitySpec| (entity.name == "Scaler") == entity.crop;
    assert!(VIMC.entities.iter().all(crops));

    let mut nodes = nodes_of("sensor");
    let sensor = nodes.get_mut("imx219 10-0010").expect("a sensor");
    let ranges = sensor.take_ranges();
    let controls = sensor.controls();
    for id in [cid::EXPOSURE, cid::VBLANK, cid::HBLANK] {
        assert!(ranges.iter().any(|(spec, _)| spec.id == id));
        assert!(controls.iter().any(|spec| spec.id == id));
    }
}

#[test]
fn only_subdevices_have_pads_for_programs() {
    for (name, node) in nodes_of("vimc") {
        let is_capture = name.ends_with("Capture") || name.starts_with("Raw");
        let subdevice = node
            .subdevice()
            .map(|(_, entity)| VIMC.entities[entity].name);
        assert_eq!(subdevice, (!is_capture).then_some(name));
        let role = if is_capture {
            Role::Capture
        } else {
            Role::Subdevice
        };
        assert_eq!((node.role(), node.ports()[0].name), (role, name));
    }
}

#[test]
fn a_video_node_takes_what_its_format_can_be() {
    let nodes = nodes_of("vimc");
    let node = &nodes["Raw Capture 0"];
    assert_eq!(node.planarity(), Planarity::Single);
    assert_eq!(node.formats(Flow::Capture).len(), 23);
    let sizes = FrameSizes::Stepwise {
        width: (16, 4096, 1),
        height: (16, 2160, 1),
    };
    assert_eq!(node.frame_sizes(&pixfmt::RGB24), sizes);
    for (code, pixel) in [(RAW, FourCc::SRGGB8), (RGB, FourCc::RGB24)] {
        assert_eq!(node.stored_as(code), Some(Some(pixel)));
    }
    assert_eq!(node.stored_as(0x1234), Some(None));
    let mut wanted = Format::new(&pixfmt::SRGGB8, 64, 32).expect("a picture");
    wanted.planes[0].bytesperline = 4096;
    wanted.color.colorspace = 0;
    let found = node.try_format(Flow::Capture, &wanted);
    assert_eq!(
        (found.fourcc, found.planes[0].bytesperline),
        (FourCc::SRGGB8, 64)
    );
    assert_eq!(found.color, VIMC.default.color);
    wanted.color.colorspace = 3;
    let found = node.try_format(Flow::Capture, &wanted);
    assert_eq!(found.color.colorspace, 3);
    (wanted.fourcc, wanted.width, wanted.height) = (FourCc::NV12, 9, 5001);
    let found = node.try_format(Flow::Capture, &wanted);
    let found = (found.fourcc, found.width, found.height);
    assert_eq!(found, (FourCc::RGB24, 16, 2160));
}
