//! Tests vimc's graph under random calls, and its pictures.

use super::develop::Chain;
use super::*;
use crate::tests::bench::{Bench, place};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use vb3_v4l2::{Error, Format, MbusFormat, Rect, VideoDriver as _, sys};

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
    assert!(spec.graph().is_none() && !spec.is_subdevice());
    let nodes = spec.nodes().expect("a graph");
    let videos = nodes.iter().position(DeviceSpec::is_subdevice);
    let videos = videos.expect("a subdevice");
    assert!(videos > 0 && nodes[videos..].iter().all(DeviceSpec::is_subdevice));
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
fn streaming() -> Bench<GraphNode<u32>> {
    let spec: DeviceSpec = "vimc".parse().expect("a SPEC");
    let nodes = spec.nodes().expect("a graph");
    let is_raw = |node: &&DeviceSpec| node.graph().is_some_and(|(_, entity)| entity == RAW_0);
    let node = nodes.iter().find(is_raw).expect("a video node");
    let (graph, _) = node.graph().expect("a graph");
    for entity in [SENSOR_A, DEBAYER_A] {
        set(graph, entity, RAW, (64, 32));
    }
    set(graph, SCALER, 0x100a, (64, 32));
    set_video(graph, CAPTURE, &pixfmt::RGB24, (64, 32));
    let mut device = GraphNode::new(node, &place(), (graph, RAW_0)).expect("a device");
    let format = Format::new(&pixfmt::SRGGB8, 64, 32).expect("a picture");
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
    let mut bench = streaming();
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
        for what in ["begins", "is rendered"] {
            assert_eq!(
                (bench.tick(now), bench.device.has_begun()),
                (0, true),
                "{what}"
            );
            assert_eq!(bench.device.next_tick(), Some(0), "{what}");
        }
        assert_eq!((bench.tick(now), bench.device.has_begun()), (1, false));
        let info = bench.take().expect("a frame");
        assert_eq!(info.timestamp_ns, now);
        bench.queue(info.index);
        due = if is_kept { due + FRAME } else { now + FRAME };
    }
    bench.stop();
    assert_eq!(bench.device.next_tick(), None);
}

#[test]
fn a_frame_is_finished_before_the_next_begins() {
    let mut bench = streaming();
    assert_eq!((bench.tick(0), bench.device.has_begun()), (0, true));
    // The second frame is due already.
    let finished: Vec<usize> = (0..5).map(|_| bench.tick(40_000_000)).collect();
    assert_eq!(finished, [0, 1, 0, 1, 0]);
}
