//! Raw sensors behind a receiver: media-ctl, v4l2-ctl, v4l2-compliance, and libcamera's software ISP.

use crate::common::{Run, RunOutput, lacks};
use crate::compliance::summary;
use crate::libcamera::{expect_lc_compliant, lacks_plugin};
use crate::surroundings::PLUGINS;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Runs a shell script with a sensor.
fn shell(model: &str, script: &str) -> RunOutput {
    Run::on("pc")
        .device(format!("sensor={model}"))
        .program(["bash", "-ec", script])
        .run()
}

/// Sets up all links and pads for a bus code and size, and the video node for a pixel format.
fn set_up(sensor: &str, code: &str, pixel: &str) -> String {
    let mut script = "media-ctl -l '\"msm_csiphy0\":1->\"msm_csid0\":0[1]'
         media-ctl -l '\"msm_csid0\":1->\"msm_vfe0_rdi0\":0[1]'\n"
        .to_owned();
    for entity in [sensor, "msm_csiphy0", "msm_csid0", "msm_vfe0_rdi0"] {
        script += &format!("media-ctl -V '\"{entity}\":0 [fmt:{code}/640x480]'\n");
    }
    script + &format!("v4l2-ctl -d0 -v width=640,height=480,pixelformat={pixel}\n")
}

/// Returns the mean of 16 x 16 samples of a packed frame of 640 x 480, in bar `bar` of 8 and below the
/// moving box.
fn mean(frame: &[u8], bar: usize, (x, y): (usize, usize)) -> u32 {
    let mut sum = 0;
    for line in 0..16 {
        for column in 0..16 {
            let (x, y) = (bar * 80 + 24 + 2 * column + x, 320 + 2 * line + y);
            let five = &frame[y * 800 + x / 4 * 5..][..5];
            let low = five[4] >> (2 * (x % 4)) & 3;
            sum += u32::from(five[x % 4]) << 2 | u32::from(low);
        }
    }
    sum / 256
}

#[test]
fn raw_frames_follow_exposure_and_gain() {
    if lacks("media-ctl") || lacks("v4l2-ctl") {
        return;
    }
    let streams = set_up("imx219 10-0010", "SRGGB10_1X10", "pRAA");
    let outcome = shell(
        "imx219",
        &format!(
            "{streams}
         take() {{
             v4l2-ctl -d /dev/v4l-subdev5 -c exposure=$1,analogue_gain=$2
             v4l2-ctl -d0 --stream-mmap --stream-count=3 --stream-to=$3
         }}
         take 387 0 short.raw; take 774 0 long.raw; take 387 128 gain.raw; take 1703 232 full.raw"
        ),
    );
    outcome.expect_success();
    let last = |name: &str| {
        let frames = outcome.read(name);
        assert_eq!(frames.len(), 3 * 800 * 480, "{name}");
        frames[2 * 800 * 480..].to_vec()
    };
    let green = |name: &str| mean(&last(name), 0, (1, 0)) - 64;
    let short = green("short.raw");
    assert!(short.abs_diff(192) < 8, "{short}");
    assert!(green("long.raw").abs_diff(2 * short) < 8);
    assert!(green("gain.raw").abs_diff(2 * short) < 8);
    let full = last("full.raw");
    assert!(mean(&full, 0, (1, 0)) > 1015, "white is full");
    assert!(mean(&full, 7, (1, 0)).abs_diff(64) < 4, "black is black");
    // The sixth bar is red, and the mosaic begins with red.
    let long = last("long.raw");
    assert!(mean(&long, 5, (0, 0)) > 200 && mean(&long, 5, (1, 1)) < 100);
}

/// Returns the samples of a packed frame.
fn samples(frame: &[u8]) -> Vec<u16> {
    let (fives, rest) = frame.as_chunks::<5>();
    assert!(rest.is_empty());
    let four = |five: &[u8; 5]| {
        [0, 1, 2, 3].map(|at| u16::from(five[at]) << 2 | u16::from(five[4] >> (2 * at) & 3))
    };
    fives.iter().flat_map(four).collect()
}

#[test]
fn flips_turn_the_picture_and_its_mosaic() {
    if lacks("media-ctl") || lacks("v4l2-ctl") {
        return;
    }
    let take = |flip: u32, code: &str, pixel: &str| {
        let streams = set_up("imx219 10-0010", code, pixel);
        let controls = format!("horizontal_flip={flip},vertical_flip={flip}");
        let outcome = shell(
            "imx219",
            &format!(
                "v4l2-ctl -d /dev/v4l-subdev5 -c exposure=774,{controls}
                 {streams}
                 v4l2-ctl -d0 --stream-mmap --stream-count=1 --stream-to=frame.raw"
            ),
        );
        outcome.expect_success();
        samples(&outcome.read("frame.raw"))
    };
    let plain = take(0, "SRGGB10_1X10", "pRAA");
    let mut turned = take(1, "SBGGR10_1X10", "pBAA");
    assert_eq!(turned.len(), 640 * 480);
    assert!(turned != plain);
    turned.reverse();
    assert!(turned == plain);
}

#[test]
fn a_streaming_sensor_refuses_to_flip() {
    if lacks("media-ctl") || lacks("v4l2-ctl") {
        return;
    }
    let streams = set_up("imx219 10-0010", "SRGGB10_1X10", "pRAA");
    let outcome = shell(
        "imx219",
        &format!(
            "{streams}
             flip() {{ v4l2-ctl -d /dev/v4l-subdev5 -c horizontal_flip=$1 2>&1; }}
             v4l2-ctl -d0 --stream-mmap --verbose >seen.txt 2>&1 & stream=$!
             until grep -q 'seq: ' seen.txt; do kill -0 $stream; sleep 0.05; done
             flip 1 || echo refused
             v4l2-ctl -d /dev/v4l-subdev5 --list-ctrls | grep -o 'horizontal_flip.*grabbed'
             kill $stream; wait $stream || true
             flip 1 && v4l2-ctl -d /dev/v4l-subdev5 --list-subdev-mbus-codes"
        ),
    );
    outcome.expect_success();
    let said = &outcome.stdout;
    for wanted in [
        "Device or resource busy\nrefused\nhorizontal_flip",
        "MEDIA_BUS_FMT_SGRBG10_1X10",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn formats_change_ranges_of_controls() {
    if lacks("media-ctl") || lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        "ov5647",
        "list() { v4l2-ctl -d /dev/v4l-subdev5 -L | grep -E 'exposure|blanking|pixel_rate'; }
         list
         media-ctl -V '\"ov5647 10-0036\":0 [fmt:SGBRG10_1X10/1296x972]'
         list
         v4l2-ctl -d /dev/v4l-subdev5 -c vertical_blanking=5000
         list
         media-ctl -p | grep -A6 ov5647.10",
    );
    outcome.expect_success();
    let said: String = outcome.stdout.split_whitespace().collect();
    for wanted in [
        "exposure0x00980911(int):min=4max=500step=1default=500value=500",
        "vertical_blanking0x009e0901(int):min=24max=32287step=1default=24value=24",
        "pixel_rate0x009f0902(int64):min=58333000max=58333000",
        "exposure0x00980911(int):min=4max=1431step=1default=1000value=500",
        "vertical_blanking0x009e0901(int):min=24max=31795step=1default=463value=463",
        "horizontal_blanking0x009e0902(int):min=600max=6895step=1default=600value=1212",
        "exposure0x00980911(int):min=4max=5968step=1default=1000value=500",
        "crop.bounds:(16,6)/2592x1944",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{}", outcome.stdout);
    }
}

#[test]
fn blanking_sets_the_rate_of_frames() {
    if lacks("media-ctl") || lacks("v4l2-ctl") {
        return;
    }
    let streams = set_up("imx219 10-0010", "SRGGB10_1X10", "pRAA");
    let outcome = Run::on("pc")
        .device("sensor=imx219")
        .options(["--clock", "virtual"])
        .program([
            "bash",
            "-ec",
            &format!(
                "{streams}
             v4l2-ctl -d0 --stream-mmap --stream-count=9 --verbose 2>&1 | grep ' seq: '
             v4l2-ctl -d /dev/v4l-subdev5 -c vertical_blanking=9762
             v4l2-ctl -d0 --stream-mmap --stream-count=9 --verbose 2>&1 | grep ' seq: '"
            ),
        ])
        .run();
    outcome.expect_success();
    let rates = outcome.stdout.lines().filter_map(|line| {
        let (_, rest) = line.split_once("delta: ")?;
        rest.split_once(" ms")?.0.parse::<f64>().ok()
    });
    let rates: Vec<f64> = rates.collect();
    let near = |wanted: f64| {
        rates
            .iter()
            .filter(|ms| (*ms - wanted).abs() < 0.01)
            .count()
    };
    // 1707 lines, then six times as many.
    assert_eq!((near(16.658), near(99.95)), (8, 8), "{}", outcome.stdout);
}

#[test]
fn a_pipeline_without_links_does_not_stream() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        "imx219",
        "v4l2-ctl -d0 --stream-mmap --stream-count=1 2>&1 || true",
    );
    outcome.expect_success();
    assert!(outcome.stdout.contains("Broken pipe"), "{}", outcome.stdout);
    let why = outcome.why();
    assert!(
        why.contains("no enabled link connects it to a source"),
        "{why}"
    );
}

#[test]
fn v4l2_compliance_finds_no_failure() {
    if lacks("v4l2-compliance") {
        return;
    }
    for model in ["imx219", "ov5647"] {
        let script = "for node in {0..5}; do v4l2-compliance -u /dev/v4l-subdev$node || true; done
                      v4l2-compliance -d /dev/video0 || true; v4l2-compliance -M /dev/media0 || true";
        let outcome = shell(model, script);
        outcome.expect_success();
        let totals: Vec<_> = outcome.stdout.lines().filter_map(summary).collect();
        // As drivers of sensors on Linux, this one has no S_SELECTION, which gives two warnings.
        let mut wanted = [(0, 0); 8];
        wanted[5] = (0, 2);
        assert_eq!(totals, wanted, "{}", outcome.stdout);
    }
}

/// Returns M of the version 0.M of libcamera.
fn libcamera_minor() -> u32 {
    let listed = shell("imx219", "cam -l 2>&1").stdout;
    let minor = listed
        .split_once("libcamera v0.")
        .and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    minor.unwrap_or_else(|| panic!("no version 0.M: {listed}"))
}

/// Returns whether `cam` is missing, or of a libcamera without software ISP.
pub(crate) fn lacks_software_isp() -> bool {
    if lacks("cam") {
        return true;
    }
    let is_old = libcamera_minor() == 0;
    if is_old {
        vb3_skip::elsewhere(
            "this libcamera has no software ISP; `cargo xtask conform programs` has one",
        );
    }
    is_old
}

#[test]
fn cam_lists_the_sensor() {
    if lacks_software_isp() {
        return;
    }
    for model in ["imx219", "ov5647"] {
        let outcome = shell(
            model,
            "cam -l; cam -c1 -I --list-controls --list-properties",
        );
        outcome.expect_success();
        let said = &outcome.stdout;
        let id = format!("1: Internal back camera (platform/ac6a000.camss {model})");
        assert!(said.contains(&id), "{said}");
        assert!(said.contains(&format!("Model = {model}")), "{said}");
    }
}

#[test]
fn cam_develops_the_pattern() {
    if lacks_software_isp() {
        return;
    }
    for model in ["imx219", "ov5647"] {
        let outcome = shell(
            model,
            // By default, libcamera 0.7 uses OpenGL, which has no BGR888.
            "v4l2-ctl -d /dev/v4l-subdev5 -c exposure=400
             LIBCAMERA_SOFTISP_MODE=cpu cam -c1 -C30 -Fx-#.bin -s width=632,height=480,pixelformat=BGR888",
        );
        outcome.expect_success();
        // A busy computer may lose frames, and then the last number is larger.
        let numbers = outcome.stdout.split(" seq: ").skip(1);
        let numbers: Vec<_> = numbers.filter_map(|rest| rest.get(..6)).collect();
        assert_eq!(numbers.len(), 30, "{}", outcome.stdout);
        let frame = outcome.read(&format!("x-cam0-stream0-{}.bin", numbers[29]));
        let stride = frame.len() / 480;
        // Libcamera's BGR888 is V4L2's RGB24. Bars: grey, yellow, cyan, green, magenta, red, blue, black.
        let pixel = |bar: usize| {
            let pixel = &frame[400 * stride + (bar * 80 + 40) * 3..][..3];
            [pixel[0], pixel[1], pixel[2]]
        };
        let grey = pixel(0);
        let spread = grey.iter().max().unwrap() - grey.iter().min().unwrap();
        assert!(grey[1] > 100 && spread < 50, "white balance: {grey:?}");
        for (bar, lit) in [
            (1, [true, true, false]),
            (2, [false, true, true]),
            (3, [false, true, false]),
            (4, [true, false, true]),
            (5, [true, false, false]),
            (6, [false, false, true]),
            (7, [false, false, false]),
        ] {
            let seen = pixel(bar);
            for (value, lit) in seen.into_iter().zip(lit) {
                assert_eq!(value > 75, lit, "{model}, bar {bar}: {seen:?}");
            }
        }
    }
}

/// Returns mean sample values, exposures and gains that libcamera's automatic exposure logs, such as
/// `exposureMSV 2.5 exp 1540 again 1`. libcamera 0.7 logs two more values behind the first.
fn exposures(said: &str) -> Vec<(f64, u32, f64)> {
    let all = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once("exposureMSV ")?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [mean, .., "exp", lines, "again", gain] = words[..] else {
            return None;
        };
        Some((mean.parse().ok()?, lines.parse().ok()?, gain.parse().ok()?))
    });
    all.collect()
}

/// The mean sample value that libcamera's automatic exposure wants, and how far off it accepts.
///
/// Source: libcamera 0.4 src/ipa/simple/algorithms/agc.cpp `kExposureOptimal`, `kExposureSatisfactory`.
const TARGET: (f64, f64) = (2.5, 0.2);

/// Draws mean sample values over frame numbers, and the target that they should reach.
fn plot_exposure(path: &Path, curves: &[(&'static str, Vec<f64>)]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (720, 260)).into_drawing_area();
    area.fill(&WHITE)?;
    let frames = curves.iter().map(|(_, means)| means.len()).max();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0..frames.unwrap_or(1), 0.0..5.0)?;
    chart
        .configure_mesh()
        .x_desc("frame")
        .y_desc("mean sample (green: target)")
        .draw()?;
    chart.draw_series([Rectangle::new(
        [
            (0, TARGET.0 - TARGET.1),
            (frames.unwrap_or(1), TARGET.0 + TARGET.1),
        ],
        GREEN.mix(0.15).filled(),
    )])?;
    for ((name, means), color) in curves.iter().zip([BLUE, RED]) {
        let points = means.iter().copied().enumerate();
        chart.draw_series(LineSeries::new(points, color))?;
        let style = ("sans-serif", 13, &color).into_text_style(&area);
        let first = means.first().copied();
        chart.draw_series(first.map(|mean| Text::new(*name, (2, mean + 0.35), style)))?;
    }
    Ok(area.present()?)
}

/// Draws `exposure.svg`, too, in Cargo's directory for tests. docs/exposure.svg has the same curves, redrawn for small
/// and dark screens.
#[test]
fn exposure_settles_from_dark_and_from_light() {
    if lacks_software_isp() {
        return;
    }
    // libcamera 0.7 changes the exposure less often, and by smaller steps. Once it accepts the mean, it logs nothing.
    let is_gentle = libcamera_minor() >= 7;
    let frames = if is_gentle { 600 } else { 120 };
    let mut curves = Vec::new();
    for (name, lines, code) in [("from dark", 193, 0), ("from light", 1703, 232)] {
        let outcome = shell(
            "imx219",
            &format!(
                "v4l2-ctl -d /dev/v4l-subdev5 -c exposure={lines},analogue_gain={code}
                 LIBCAMERA_SOFTISP_MODE=cpu LIBCAMERA_LOG_LEVELS=IPASoftExposure:0 \
                     cam -c1 -C{frames} -s width=632,height=480 2>&1"
            ),
        );
        outcome.expect_success();
        let all = exposures(&outcome.stdout);
        let series: Vec<_> = all.iter().step_by(6).collect();
        println!("from {lines} lines, gain code {code}: {series:?}");
        assert!(all.len() > 30, "{}", outcome.stdout);
        let (first, last) = (all[0], &all[all.len() - 12..]);
        assert!((first.0 - TARGET.0).abs() > 0.5, "{first:?}");
        curves.push((name, all.iter().map(|now| now.0).collect()));
        if is_gentle {
            let (_, after) = outcome.stdout.rsplit_once("exposureMSV").unwrap();
            assert!(after.matches(" seq: ").count() > 50, "{last:?}");
            continue;
        }
        // One step changes the exposure by a tenth of the larger value. Two neighbours may both be near enough.
        let lines = last.iter().map(|now| now.1);
        let (least, most) = (lines.clone().min().unwrap(), lines.max().unwrap());
        assert!(most * 9 <= least * 10 + 10, "{last:?}");
        assert!(
            last.iter()
                .all(|now| (now.0 - TARGET.0).abs() < TARGET.1 + 0.01),
            "{last:?}"
        );
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exposure.svg");
    plot_exposure(&path, &curves).unwrap();
}

#[test]
fn libcamerasrc_streams_the_sensor() {
    if lacks_plugin() || lacks_software_isp() {
        return;
    }
    // As with vimc, the test ends with the pictures.
    let len = 632 * 480 * 4 * 5;
    let script = format!(
        "unset {PLUGINS}; gst-launch-1.0 -q --no-fault libcamerasrc ! \
         video/x-raw,format=BGRx,width=632,height=480 ! fdsink | head -c {len} >frames.raw"
    );
    let outcome = shell("imx219", &script);
    outcome.expect_success();
    assert_eq!(outcome.read("frames.raw").len(), len, "{}", outcome.stderr);
}

/// It streams the largest mode, which takes long.
#[test]
fn lc_compliance_accepts_the_sensor() {
    if lacks("lc-compliance") || lacks_software_isp() {
        return;
    }
    let id = "platform/ac6a000.camss ov5647";
    expect_lc_compliant("sensor=ov5647", id, "*.Capture/Viewfinder*_5");
}
