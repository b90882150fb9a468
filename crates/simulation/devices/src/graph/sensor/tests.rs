//! Tests sensors behind a receiver: timings, ranges, and the light in raw samples.

use super::receiver::{ENABLED, RAW_COLORS};
use super::*;
use crate::graph::Entity;
use crate::graph::scene::Scene as _;
use crate::streaming::Engine as _;
use proptest::prelude::*;
use std::ops::Range;
use vb3_v4l2::{
    ControlFlags, ControlKind, ControlSpec, Format, MbusFormat, MediaGraph, Port, cid, pixfmt, sys,
};

const VIDEO: usize = 5;
const SENSOR: usize = 6;
/// The entities between sensor and video node, and the links between them that a test enables.
const STAGES: [usize; 3] = [0, 2, 4];
const LINKS: [usize; 2] = [0, 4];

/// Returns a graph with all links enabled, and a mode of the sensor on all pads.
fn linked(topology: &'static Topology, (width, height): (u32, u32)) -> MediaGraph {
    let graph = MediaGraph::new(topology);
    for link in LINKS {
        graph.set_link(link, ENABLED).expect("no stream");
    }
    let wanted = MbusFormat {
        width,
        height,
        ..topology.default
    };
    for entity in [SENSOR].into_iter().chain(STAGES) {
        let mut pads = graph.pads(entity).expect("an entity");
        let set = graph.set_format(entity, &mut pads, (0, wanted));
        assert_eq!(set, Some(wanted));
        graph.set_pads(entity, pads).expect("no stream");
    }
    let pixel = topology.pixel_of(wanted.code).and_then(pixfmt::lookup);
    let format = Format::new(pixel.expect("a pixel format"), width, height);
    let mut format = format.expect("a picture");
    format.color = RAW_COLORS;
    graph.set_video(VIDEO, &format).expect("no stream");
    graph
}

fn streaming(graph: &MediaGraph) -> Raw {
    let path = graph.start(VIDEO).expect("a pipeline that can stream");
    assert_eq!(path, [SENSOR, 0, 2, 4, VIDEO]);
    Raw::new(graph, &path).expect("a sensor")
}

fn begin(raw: &mut Raw, sequence: u32, graph: &MediaGraph) {
    raw.begin(sequence, graph);
    raw.paint();
}

/// Unpacks the samples of these lines.
fn frame(raw: &Raw, lines: Range<u32>) -> Vec<u16> {
    let mut out = Vec::new();
    raw.render(lines, &mut out);
    let unpack = |five: &[u8]| {
        let (four, low) = (&five[..4], five[4]);
        let sample =
            |(at, high): (usize, &u8)| u16::from(*high) << 2 | u16::from(low >> (2 * at) & 3);
        four.iter().enumerate().map(sample).collect::<Vec<_>>()
    };
    out.chunks_exact(5).flat_map(unpack).collect()
}

fn setting(graph: &MediaGraph) -> Setting {
    Setting::of(graph, SENSOR).expect("a sensor")
}

fn range(graph: &MediaGraph, id: u32) -> (i64, ControlSpec) {
    let all = setting(graph).ranges();
    let (spec, value) = all.into_iter().find(|(spec, _)| spec.id == id).expect("it");
    (value, spec)
}

#[test]
fn every_mode_streams_at_the_rate_of_its_driver() {
    for (topology, rates) in [
        (&imx219::TOPOLOGY, vec![15.0, 30.0, 60.0, 60.0]),
        (&imx219::TOPOLOGY_4LANE, vec![23.16, 46.33, 92.68, 92.68]),
        (&ov5647::TOPOLOGY, vec![15.63, 32.8, 32.2, 62.5]),
    ] {
        let sensor = topology.entities[SENSOR].sensor.expect("a sensor");
        assert_eq!(sensor.modes.len(), rates.len());
        for (mode, rate) in sensor.modes.iter().zip(rates) {
            let graph = linked(topology, mode.size);
            graph.set_control(SENSOR, cid::HBLANK, mode.hblank());
            let found = 1e9 / setting(&graph).frame_ns() as f64;
            assert!((found - rate).abs() < 0.1, "{:?}: {found}", mode.size);
            assert_eq!(graph.start(VIDEO).map(|path| path.len()), Ok(5));
            graph.stop(VIDEO);
        }
    }
}

#[test]
fn blanking_lengthens_frames_and_extends_exposure() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let kind = |most| ControlSpec::integer(cid::EXPOSURE, "Exposure", (4, most, 1), 1600);
    assert_eq!(range(&graph, cid::EXPOSURE), (1600, kind(1703)));
    graph.set_control(SENSOR, cid::VBLANK, 2 * 1707 - 480);
    assert_eq!(range(&graph, cid::EXPOSURE), (1600, kind(2 * 1707 - 4)));
    let twice = 2 * 1707 * 3560 * 1_000_000_000_u64 / 364_800_000;
    assert_eq!(setting(&graph).frame_ns(), twice);
    graph.set_control(SENSOR, cid::EXPOSURE, 3000);
    graph.set_control(SENSOR, cid::VBLANK, 32);
    let changed = setting(&graph).take_ranges();
    let short = changed
        .into_iter()
        .find(|(spec, _)| spec.id == cid::EXPOSURE);
    let least = ControlSpec::integer(cid::EXPOSURE, "Exposure", (4, 508, 1), 508);
    assert_eq!(short, Some((least, 508)), "the exposure fits the frame");
    assert_eq!(graph.control(SENSOR, cid::EXPOSURE), Some(508));
}

/// Sets the sensor's format, and returns blanking and exposure: vertical, horizontal, lines.
fn after_format(graph: &MediaGraph, (width, height): (u32, u32)) -> [i64; 3] {
    let mut pads = graph.pads(SENSOR).expect("a sensor");
    let wanted = MbusFormat {
        width,
        height,
        ..graph.topology().default
    };
    graph.set_format(SENSOR, &mut pads, (0, wanted));
    graph.set_pads(SENSOR, pads).expect("an entity");
    let ranges = setting(graph).take_ranges();
    [cid::VBLANK, cid::HBLANK, cid::EXPOSURE].map(|id| {
        let mut all = ranges.iter();
        all.find(|(spec, _)| spec.id == id).expect("a control").1
    })
}

/// Source: Linux 7.2 `imx219_set_pad_format`, `ov5647_set_pad_fmt`.
#[test]
fn formats_reset_vertical_blanking_only() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let set = |graph: &MediaGraph, vertical, horizontal| {
        graph.set_control(SENSOR, cid::VBLANK, vertical);
        graph.set_control(SENSOR, cid::HBLANK, horizontal);
        graph.set_control(SENSOR, cid::EXPOSURE, 5000);
    };
    // A line of 6000 pixels stays one. The same mode resets the frame's length, too.
    set(&graph, 9999, 6000 - 640);
    let same = after_format(&graph, (640, 480));
    assert_eq!(same, [1707 - 480, 6000 - 640, 1703]);
    set(&graph, 9999, 6000 - 640);
    let whole = after_format(&graph, (3280, 2464));
    assert_eq!(whole, [3526 - 2464, 6000 - 3280, 3522]);
    // A line that is too short for the mode becomes longer.
    after_format(&graph, (1920, 1080));
    set(&graph, 9999, 3448 - 1920);
    let binned = after_format(&graph, (1640, 1232));
    assert_eq!(binned, [1707 - 1232, 3560 - 1640, 1703]);

    // This sensor keeps the blanking instead.
    let graph = linked(&ov5647::TOPOLOGY, (640, 480));
    set(&graph, 9999, 1300);
    let larger = after_format(&graph, (1296, 972));
    assert_eq!(larger, [1435 - 972, 1300, 1431]);
    set(&graph, 9999, 8000);
    let whole = after_format(&graph, (2592, 1944));
    assert_eq!(whole, [24, 0x1fff - 2592, 1964]);
    let shown = range(&graph, cid::PIXEL_RATE).0;
    assert_eq!((shown, range(&graph, cid::LINK_FREQ).0), (87_500_000, 0));
}

/// Drivers of sensors and of CAMSS set formats at any time.
#[test]
fn a_streaming_sensor_takes_formats() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let mut raw = streaming(&graph);
    begin(&mut raw, 0, &graph);
    let before = frame(&raw, 0..4).len();
    let [vertical, ..] = after_format(&graph, (3280, 2464));
    assert_eq!(vertical, 3526 - 2464);
    begin(&mut raw, 1, &graph);
    assert_eq!(frame(&raw, 0..4).len(), before, "the stream goes on");
}

/// Returns the mean of a colour's samples in 40 lines of the first bar, which is light grey.
fn mean(samples: &[u16], (x, y): (usize, usize)) -> f64 {
    let lines = (0..20).map(|pair| &samples[(2 * pair + y) * 640..][..640]);
    let of_line = lines.flat_map(|line| line[8..64].iter().skip(x).step_by(2));
    let (sum, count) = of_line.fold((0.0, 0.0), |(sum, count), sample| {
        (sum + f64::from(*sample), count + 1.0)
    });
    sum / count
}

#[test]
fn light_follows_exposure_and_gain_above_black() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    graph.set_control(SENSOR, cid::EXPOSURE, 387);
    let mut raw = streaming(&graph);
    let green = (1, 0);
    let mut above = |sequence: u32| {
        begin(&mut raw, sequence, &graph);
        mean(&frame(&raw, 300..340), green) - 64.0
    };
    let first = above(0);
    // Light grey of 191 is 0.53 of white's light, and 387 lines are 3.78 ms of the 10 ms for white.
    assert!((first - 0.53 * 0.378 * 959.0).abs() < 4.0, "{first}");
    graph.set_control(SENSOR, cid::EXPOSURE, 774);
    assert!((above(1) / first - 1.0).abs() < 0.01, "not yet");
    assert!((above(2) / first - 2.0).abs() < 0.02, "twice the exposure");
    graph.set_control(SENSOR, cid::ANALOGUE_GAIN, 64);
    assert!(
        (above(3) / first - 2.0 * 256.0 / 192.0).abs() < 0.02,
        "gain"
    );
    graph.set_control(SENSOR, cid::DIGITAL_GAIN, 0xfff);
    assert!((above(4) - 959.0).abs() < 3.0, "full");
    graph.set_control(SENSOR, cid::EXPOSURE, 4);
    graph.set_control(SENSOR, cid::DIGITAL_GAIN, 256);
    graph.set_control(SENSOR, cid::ANALOGUE_GAIN, 0);
    above(5);
    assert!(above(6) < 8.0, "dark");
}

#[test]
fn colours_stand_in_the_order_of_the_mosaic() {
    // For each sensor: the positions of red, green and blue in a cell.
    for (topology, colors, lines) in [
        (&imx219::TOPOLOGY, [(0, 0), (1, 0), (1, 1)], 290),
        (&ov5647::TOPOLOGY, [(0, 1), (0, 0), (1, 0)], 150),
    ] {
        let graph = linked(topology, (640, 480));
        let black = f64::from(topology.entities[SENSOR].sensor.expect("a sensor").black);
        let mut raw = streaming(&graph);
        graph.set_control(SENSOR, cid::EXPOSURE, lines);
        begin(&mut raw, 0, &graph);
        begin(&mut raw, 1, &graph);
        let samples = frame(&raw, 300..340);
        let [red, green, blue] = colors.map(|at| mean(&samples, at) - black);
        assert!((red / green - 0.6).abs() < 0.03, "{red} {green}");
        assert!((blue / green - 0.75).abs() < 0.03, "{blue} {green}");
    }
}

#[test]
fn frames_have_noise_that_a_sequence_repeats() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let mut raw = streaming(&graph);
    let mut lines = |sequence| {
        begin(&mut raw, sequence, &graph);
        frame(&raw, 300..304)
    };
    let first = lines(7);
    assert_eq!(first, lines(7));
    let other = lines(8);
    let changed = first.iter().zip(&other).filter(|(a, b)| a != b).count();
    assert!(changed > first.len() / 4, "{changed}");
    let far = first.iter().zip(&other).all(|(a, b)| a.abs_diff(*b) < 40);
    assert!(far, "it is only noise");
}

proptest! {
    /// No control values cause a panic, and all frames end.
    #[test]
    fn any_values_give_frames(values in proptest::collection::vec(any::<i64>(), 9), sequence: u32) {
        let graph = linked(&ov5647::TOPOLOGY, (640, 480));
        let ids = [
            cid::EXPOSURE,
            cid::VBLANK,
            cid::HBLANK,
            cid::ANALOGUE_GAIN,
            cid::DIGITAL_GAIN,
            cid::TEST_PATTERN,
            cid::AUTOGAIN,
            cid::EXPOSURE_AUTO,
            cid::AUTO_WHITE_BALANCE,
        ];
        let mut raw = streaming(&graph);
        for (id, value) in ids.into_iter().zip(values) {
            // Controls hold 32 bits.
            graph.set_control(SENSOR, id, value >> 33);
        }
        begin(&mut raw, sequence, &graph);
        prop_assert!(frame(&raw, 0..2).iter().all(|sample| *sample <= 1023));
        prop_assert!(raw.frame_ns() > Some(0));
    }
}

/// Sets the flips, and sets the formats of the pads accordingly.
fn flip(graph: &MediaGraph, horizontal: bool, vertical: bool) {
    graph.set_control(SENSOR, cid::HFLIP, horizontal.into());
    graph.set_control(SENSOR, cid::VFLIP, vertical.into());
    let wanted = graph.pads(SENSOR).expect("a sensor").formats[0];
    let mut pads = graph.pads(SENSOR).expect("a sensor");
    let set = graph
        .set_format(SENSOR, &mut pads, (0, wanted))
        .expect("a pad");
    graph.set_pads(SENSOR, pads).expect("no stream");
    for entity in STAGES {
        let mut pads = graph.pads(entity).expect("an entity");
        assert_eq!(graph.set_format(entity, &mut pads, (0, set)), Some(set));
        graph.set_pads(entity, pads).expect("no stream");
    }
    let pixel = graph.topology().pixel_of(set.code).and_then(pixfmt::lookup);
    let format = Format::new(pixel.expect("a pixel format"), set.width, set.height);
    let mut format = format.expect("a picture");
    format.color = RAW_COLORS;
    graph.set_video(VIDEO, &format).expect("no stream");
}

#[test]
fn flips_mirror_each_sample() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let shown = |horizontal, vertical| {
        flip(&graph, horizontal, vertical);
        let mut raw = streaming(&graph);
        begin(&mut raw, 7, &graph);
        graph.stop(VIDEO);
        frame(&raw, 0..480)
    };
    let plain = shown(false, false);
    for (horizontal, vertical, code) in [
        (true, false, sys::MEDIA_BUS_FMT_SGRBG10_1X10),
        (false, true, sys::MEDIA_BUS_FMT_SGBRG10_1X10),
        (true, true, sys::MEDIA_BUS_FMT_SBGGR10_1X10),
    ] {
        let mirrored = shown(horizontal, vertical);
        assert_eq!(graph.pads(SENSOR).expect("a sensor").formats[0].code, code);
        let at = |x, last, is_flipped| if is_flipped { last - x } else { x };
        let wanted: Vec<u16> = (0..480 * 640)
            .map(|index| (index % 640, index / 640))
            .map(|(x, y)| plain[at(y, 479, vertical) * 640 + at(x, 639, horizontal)])
            .collect();
        assert!(mirrored == wanted, "{horizontal} {vertical}");
    }
}

/// The largest mode has more lines than a picture of ours.
#[test]
fn the_largest_mode_shows_the_whole_pattern() {
    const LINE: usize = 3280;
    let graph = linked(&imx219::TOPOLOGY, (3280, 2464));
    let shown = |vertical, lines| {
        flip(&graph, false, vertical);
        let mut raw = streaming(&graph);
        begin(&mut raw, 7, &graph);
        graph.stop(VIDEO);
        frame(&raw, lines)
    };
    let mut end = shown(false, 2462..2464);
    let above = shown(false, 2200..2202);
    let light = |samples: &[u16]| samples.iter().map(|s| u64::from(*s)).sum::<u64>();
    assert!(light(&end) * 10 > light(&above) * 9, "as light as above");
    let (last, first) = end.split_at_mut(LINE);
    last.swap_with_slice(first);
    assert!(shown(true, 0..2) == end, "mirrored");
}

/// Returns two lines with this test pattern.
fn tested(topology: &'static Topology, index: i64, lines: Range<u32>) -> Vec<u16> {
    let graph = linked(topology, (640, 480));
    let mut raw = streaming(&graph);
    graph.set_control(SENSOR, cid::TEST_PATTERN, index);
    for (id, value) in (cid::TEST_PATTERN_GREENR..).zip([100, 200, 300]) {
        graph.set_control(SENSOR, id, value);
    }
    begin(&mut raw, 0, &graph);
    frame(&raw, lines)
}

/// Source: Linux 7.2 `imx219_init_controls`: each colour begins with its largest value.
#[test]
fn a_solid_pattern_has_its_controls_colours() {
    let cells = |at: &[u16]| at.chunks_exact(2).all(|pair| pair == [1023, 100]);
    let samples = tested(&imx219::TOPOLOGY, 2, 0..2);
    assert!(cells(&samples[..640]), "red lines");
    assert!(
        samples[640..]
            .chunks_exact(2)
            .all(|pair| pair == [300, 200])
    );
}

/// Source: Linux 7.2 `imx219_test_pattern_menu`, `ov5647_test_pattern_menu`.
#[test]
fn each_test_pattern_has_its_own_samples() {
    for topology in [&imx219::TOPOLOGY, &ov5647::TOPOLOGY] {
        let patterns = topology.entities[SENSOR].sensor.expect("a sensor").patterns;
        assert!(patterns.iter().all(|name| !name.is_empty()));
        let frames: Vec<_> = (0..)
            .zip(patterns)
            .map(|(index, _)| tested(topology, index, 240..242))
            .collect();
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.len(), 1280);
            assert!(!frames[..index].contains(frame), "{}", patterns[index]);
        }
    }
    // Bars fade to grey from top to bottom. The last but one is blue.
    let [top, end] = [0..2, 478..480].map(|lines| tested(&imx219::TOPOLOGY, 3, lines));
    assert!(top[640 + 481] > 1020 && top[480] < 2, "blue");
    assert!(end[640 + 481].abs_diff(511) < 8 && end[480].abs_diff(511) < 8);
    // The generator starts with nine ones.
    let noise = tested(&imx219::TOPOLOGY, 4, 0..1);
    assert_eq!(noise[..2], [0b00_0001_1110, 0b11_1110_0010]);
}

/// Returns a sample of the bar with this number, by the order of EBU's colour bars: green is on in four bars, red in
/// every other two, blue in every other one.
fn bar(number: usize, channel: usize) -> u16 {
    let off = number & [2, 4, 1][channel];
    if off == 0 { 1023 } else { 0 }
}

#[test]
fn bars_and_squares_have_the_places_of_their_colours() {
    // OV5647's cell: green and blue, red and green.
    let channel = |x: usize, y: usize| [[1, 2], [0, 1]][y % 2][x % 2];
    let bars = tested(&ov5647::TOPOLOGY, 1, 0..2);
    for (at, sample) in bars.iter().enumerate() {
        let (x, y) = (at % 640, at / 640);
        assert_eq!(*sample, bar(x / 80, channel(x, y)), "{x} {y}");
    }
    let squares = tested(&ov5647::TOPOLOGY, 2, 62..66);
    for (at, sample) in squares.iter().enumerate() {
        let (x, y) = (at % 640, at / 640 + 62);
        let wanted = bar((x / 64 + y / 64) % 8, channel(x, y));
        assert_eq!(*sample, wanted, "{x} {y}");
    }
}

/// The sum of two dice of four sides.
#[test]
fn noise_is_as_often_up_as_down() {
    let mut state = 1;
    let mut counts = [0_i32; 7];
    for _ in 0..16_000 {
        let noise = raw::noise(&mut state);
        counts[usize::try_from(noise + 3).expect("at least -3")] += 1;
    }
    let wanted = [1, 2, 3, 4, 3, 2, 1].map(|count| 1000 * count);
    let is_near = |(found, wanted): (&i32, &i32)| found.abs_diff(*wanted) < 200;
    assert!(counts.iter().zip(&wanted).all(is_near), "{counts:?}");
}

#[test]
fn a_node_of_eight_bits_has_the_upper_ones() {
    let ten = linked(&imx219::TOPOLOGY, (640, 480));
    let mut raw = streaming(&ten);
    begin(&mut raw, 7, &ten);
    let wanted: Vec<u8> = frame(&raw, 300..304)
        .iter()
        .map(|sample| u8::try_from(sample >> 2).expect("eight bits"))
        .collect();
    ten.stop(VIDEO);
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let code = sys::MEDIA_BUS_FMT_SRGGB8_1X8;
    for entity in [SENSOR].into_iter().chain(STAGES) {
        let mut pads = graph.pads(entity).expect("an entity");
        let wanted = MbusFormat {
            code,
            ..pads.formats[0]
        };
        assert_eq!(
            graph.set_format(entity, &mut pads, (0, wanted)),
            Some(wanted)
        );
        graph.set_pads(entity, pads).expect("no stream");
    }
    let mut format = Format::new(&pixfmt::SRGGB8, 640, 480).expect("a picture");
    format.color = RAW_COLORS;
    graph.set_video(VIDEO, &format).expect("no stream");
    let mut raw = streaming(&graph);
    begin(&mut raw, 7, &graph);
    let mut found = Vec::new();
    raw.render(300..304, &mut found);
    assert!(found == wanted);
}

/// Source: Linux 7.2 `ov5647_init_controls`, `ov5647_common_regs`.
#[test]
fn automatic_modes_reach_the_target_and_grey() {
    let mean = |ids: &[(u32, i64)]| {
        let graph = linked(&ov5647::TOPOLOGY, (640, 480));
        graph.set_control(SENSOR, cid::EXPOSURE, 10);
        ids.iter()
            .for_each(|(id, value)| graph.set_control(SENSOR, *id, *value));
        let mut raw = streaming(&graph);
        for sequence in 0..4 {
            begin(&mut raw, sequence, &graph);
        }
        let light = frame(&raw, 0..480)
            .iter()
            .map(|s| f64::from(*s))
            .sum::<f64>()
            / 640.0
            / 480.0;
        let lines = frame(&raw, 300..340);
        let colors = [(0, 1), (0, 0), (1, 0)].map(|at| super::tests::mean(&lines, at) - 16.0);
        ((light - 16.0) / 1007.0, colors)
    };
    let manual = mean(&[]);
    assert!(manual.0 < 0.1, "{manual:?}");
    for ids in [
        [(cid::EXPOSURE_AUTO, 0)].as_slice(),
        &[(cid::AUTOGAIN, 1)],
        &[(cid::AUTOGAIN, 1), (cid::EXPOSURE_AUTO, 0)],
    ] {
        let (light, _) = mean(ids);
        assert!((0.2..0.4).contains(&light), "{ids:?}: {light}");
    }
    let (_, [red, green, blue]) = mean(&[(cid::AUTO_WHITE_BALANCE, 1), (cid::EXPOSURE, 150)]);
    assert!(
        (red - green).abs() < 6.0 && (blue - green).abs() < 6.0,
        "{red} {green} {blue}"
    );
    let controls = setting(&linked(&ov5647::TOPOLOGY, (640, 480))).controls();
    let find = |id| {
        controls
            .iter()
            .find(|spec| spec.id == id)
            .expect("a control")
            .kind
    };
    let items = &["Auto Mode", "Manual Mode"];
    assert_eq!(
        find(cid::EXPOSURE_AUTO),
        ControlKind::Menu {
            first: 0,
            items,
            default: 1
        }
    );
    assert_eq!(find(cid::AUTOGAIN), ControlKind::Boolean { default: false });
}

/// Source: Linux 7.2 `csid_link_setup`.
#[test]
fn a_second_csid_takes_the_sensors_place() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    assert_eq!(
        graph.set_link(1, ENABLED),
        Err(vb3_v4l2::Error::Busy),
        "one csid at a time"
    );
    assert_eq!(
        graph.set_link(5, ENABLED),
        Err(vb3_v4l2::Error::Busy),
        "one csid at the VFE"
    );
    let set = |links: [usize; 2], flags| {
        links
            .map(|link| graph.set_link(link, flags))
            .map(|set| set.expect("no stream"))
    };
    assert_eq!([set(LINKS, 0), set([1, 5], ENABLED)], [[(); 2]; 2]);
    let sensor = graph.pads(SENSOR).expect("a sensor").formats[0];
    let mut pads = graph.pads(3).expect("a csid");
    graph.set_format(3, &mut pads, (0, sensor));
    graph.set_pads(3, pads).expect("no stream");
    assert_eq!(graph.start(VIDEO), Ok(vec![SENSOR, 0, 3, 4, VIDEO]));
}

/// Source: Linux drivers/media/i2c/imx219.c `imx219_start_streaming`.
#[test]
fn a_streaming_sensor_grabs_its_flips() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    let node = Entity::<u64> {
        graph: graph.clone(),
        index: SENSOR,
        spec: graph.entity(SENSOR).expect("an entity"),
        port: [Port { name: "", kind: 2 }],
        scene: None,
        thread: None,
        gate: None,
        work: None,
        picture: Vec::new(),
        at_once: false,
    };
    let grabbed = || [cid::HFLIP, cid::VFLIP, cid::EXPOSURE].map(|id| node.is_grabbed(id));
    assert_eq!(grabbed(), [false; 3]);
    graph.start(VIDEO).expect("a pipeline that can stream");
    assert_eq!(grabbed(), [true, true, false]);
    graph.stop(VIDEO);
    assert_eq!(grabbed(), [false; 3]);
}

#[test]
fn flips_change_the_codes_that_a_sensor_offers() {
    let graph = linked(&imx219::TOPOLOGY, (640, 480));
    graph.set_control(SENSOR, cid::HFLIP, 1);
    let code = |graph: &MediaGraph, wanted| {
        let mut pads = graph.initial(SENSOR).expect("a sensor");
        let wanted = MbusFormat {
            code: wanted,
            ..pads.formats[0]
        };
        graph
            .set_format(SENSOR, &mut pads, (0, wanted))
            .map(|set| set.code)
    };
    let initial = graph.initial(SENSOR).expect("a sensor").formats[0].code;
    assert_eq!(initial, sys::MEDIA_BUS_FMT_SGRBG10_1X10);
    // The width is the wanted one, and the flips determine the order of colours.
    let eight = Some(sys::MEDIA_BUS_FMT_SGRBG8_1X8);
    assert_eq!(code(&graph, sys::MEDIA_BUS_FMT_SBGGR8_1X8), eight);
    assert_eq!(code(&graph, sys::MEDIA_BUS_FMT_RGB888_1X24), Some(initial));
}

/// Source: Linux `csiphy_try_format`.
#[test]
fn a_receiver_takes_odd_sizes() {
    let graph = MediaGraph::new(&imx219::TOPOLOGY);
    for (asked, given) in [((321, 201), (321, 201)), ((0, 9000), (1, 8191))] {
        let mut pads = graph.pads(0).expect("a receiver");
        let wanted = MbusFormat {
            width: asked.0,
            height: asked.1,
            ..imx219::TOPOLOGY.default
        };
        let set = graph.set_format(0, &mut pads, (0, wanted));
        assert_eq!(set.map(|set| (set.width, set.height)), Some(given));
    }
}

/// Source: Linux 7.2 `ov5647_get_mbus_code`.
#[test]
fn an_ov5647_flips_its_code_at_once() {
    let graph = linked(&ov5647::TOPOLOGY, (640, 480));
    let code = || graph.pads(SENSOR).expect("a sensor").formats[0].code;
    assert_eq!(code(), sys::MEDIA_BUS_FMT_SGBRG10_1X10);
    for (horizontal, vertical, wanted) in [
        (1, 0, sys::MEDIA_BUS_FMT_SBGGR10_1X10),
        (0, 1, sys::MEDIA_BUS_FMT_SRGGB10_1X10),
        (1, 1, sys::MEDIA_BUS_FMT_SGRBG10_1X10),
    ] {
        graph.set_control(SENSOR, cid::HFLIP, horizontal);
        graph.set_control(SENSOR, cid::VFLIP, vertical);
        assert_eq!(code(), wanted);
        let refused = graph
            .start(VIDEO)
            .expect_err("the receiver has another code");
        assert_eq!(refused.errno, 32);
        // Another code than the sensor's changes nothing.
        after_format(&graph, (640, 480));
        assert_eq!(code(), wanted);
    }
    let controls = setting(&graph).controls();
    let mut flips = (controls.iter()).filter(|spec| matches!(spec.id, cid::HFLIP | cid::VFLIP));
    assert!(flips.all(|spec| spec.flags == ControlFlags::empty()));
}

#[test]
fn models_are_found_by_name() {
    assert_eq!(topology("imx219"), Some(&imx219::TOPOLOGY));
    assert_eq!(topology("imx219-4lane"), Some(&imx219::TOPOLOGY_4LANE));
    assert_eq!(topology("ov5647"), Some(&ov5647::TOPOLOGY));
    assert_eq!(topology(""), Some(&imx219::TOPOLOGY));
    assert!(topology("imx").is_none());
    for topology in [&imx219::TOPOLOGY, &ov5647::TOPOLOGY] {
        let graph = MediaGraph::new(topology);
        for link in LINKS {
            graph.set_link(link, ENABLED).expect("no stream");
        }
        assert!(graph.start(VIDEO).is_ok(), "all formats are alike at first");
        for (fourcc, codes) in topology.pixels {
            assert!(pixfmt::lookup(*fourcc).is_some());
            assert_eq!(codes.len(), 1);
        }
    }
}
