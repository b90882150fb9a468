//! `--report run.html`: a page that a browser shows.

use crate::common::{Run, RunOutput, SIZE, ffmpeg, lacks, pattern};
use crate::surroundings::command;
use std::path::{Path, PathBuf};
use std::process::Command;
use vb3_v4l2::pixfmt;

/// Colour of the plots, and of bars that ended with DQBUF.
const BLUE: [u8; 3] = [20, 80, 160];
/// Colour of problems.
const RED: [u8; 3] = [176, 0, 32];

/// Runs a client. Returns the outcome, which owns the directory, and the path of its page.
fn reported(machine: &str, size: &str, client: &[&str]) -> (RunOutput, PathBuf) {
    let run = Run::on(machine)
        .real_time("the plots show how long each buffer is where")
        .device(format!(
            "camera=pattern,profile=sensor,pace=free,size={size}"
        ))
        .options(["--report", "run.html"]);
    let page = run.file("run.html");
    (run.program(client.iter().copied()).run(), page)
}

/// Prepares a headless browser, which keeps its files in the page's directory.
fn chromium(page: &Path) -> Command {
    let mut chromium = command("chromium", page.parent().unwrap());
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .arg("--disable-background-networking");
    chromium
}

/// Opens the page in headless Chromium. Returns its console output and a screenshot.
fn shown(page: &Path) -> (String, PathBuf) {
    let picture = page.with_extension("png");
    let out = chromium(page)
        .args(["--enable-logging=stderr", "--window-size=1000,2400"])
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    (console.collect::<Vec<_>>().join("\n"), picture)
}

#[test]
fn browser_shows_the_plots_without_errors() {
    if ["v4l2-ctl", "chromium", "ffmpeg"].into_iter().any(lacks) {
        return;
    }
    let client = ["v4l2-ctl", "--stream-mmap=4", "--stream-count=40"];
    let (outcome, page) = reported("pc", "320x240", &client);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("✓ All well"), "{text}");
    assert!(text.contains("Time from frame to frame: median "));
    expect_plots(&page);
}

/// One minute at 30 frames per second, in virtual time.
#[test]
#[ignore = "full: plots of a minute in a browser"]
fn page_of_a_minute_is_small_and_readable() {
    if ["v4l2-ctl", "chromium", "ffmpeg"].into_iter().any(lacks) {
        return;
    }
    let run = Run::on("pc")
        .device("camera=pattern,size=320x240,fps=30,sizes=320x240,formats=YUYV")
        .options(["--clock", "virtual", "--report", "run.html"]);
    let page = run.file("run.html");
    let client = ["v4l2-ctl", "--stream-mmap=4", "--stream-count=1800"];
    let outcome = run.program(client).run();
    outcome.expect_success();
    assert_eq!(outcome.report.duration_ms, 59_966);
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("Time from frame to frame: median "));
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
    expect_plots(&page);
}

/// Asserts that a browser shows the plots of a page without errors.
fn expect_plots(page: &Path) {
    let (console, picture) = shown(page);
    assert_eq!(console, "");
    let blue = pixels(&picture, BLUE);
    // Four buffers' bars, each 10 pixels high over most of the width, and two plots.
    assert!(blue > 10_000, "{blue} pixels of the plots in {picture:?}");
}

/// Counts the pixels of a colour.
fn pixels(picture: &Path, colour: [u8; 3]) -> usize {
    let rgb = ffmpeg([
        "-i",
        picture.to_str().unwrap(),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]);
    rgb.chunks(3).filter(|pixel| **pixel == colour).count()
}

/// Returns the pictures of a page as R, G, B bytes of `width` x `height` pixels.
fn pictures(outcome: &RunOutput, page: &Path) -> Vec<(String, (u32, u32), Vec<u8>)> {
    let text = std::fs::read_to_string(page).unwrap();
    let images = text.split("<img src=\"data:image/png;base64,").skip(1);
    let found = images.enumerate().map(|(at, image)| {
        let (data, rest) = image.split_once("\" alt=\"").unwrap();
        let (alt, _) = rest.split_once('"').unwrap();
        let encoded = outcome.dir.path().join(format!("{at}.base64"));
        std::fs::write(&encoded, data).unwrap();
        let decoded = Command::new("base64").arg("-d").arg(&encoded).output();
        let png = outcome.dir.path().join(format!("{at}.png"));
        std::fs::write(&png, decoded.unwrap().stdout).unwrap();
        let side = |at: usize| {
            let png = std::fs::read(&png).unwrap();
            u32::from_be_bytes(png[at..at + 4].try_into().unwrap())
        };
        let size = (side(16), side(20));
        let png = png.to_str().unwrap();
        let rgb = ffmpeg(["-i", png, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
        (alt.to_owned(), size, rgb)
    });
    found.collect()
}

#[test]
#[ignore = "full: compares all pictures of a page"]
fn page_shows_pictures_of_camera_and_display() {
    if ["gst-launch-1.0", "ffmpeg", "base64"]
        .into_iter()
        .any(lacks)
    {
        return;
    }
    let run = Run::on("pc")
        .device("camera=pattern,pace=free,sizes=320x240,formats=YUYV")
        .device("display=null,pace=free")
        .options(["--report", "run.html"]);
    let page = run.file("run.html");
    let gst = "gst-launch-1.0 -q v4l2src num-buffers=40 io-mode=dmabuf ! \
               v4l2sink device=/dev/video1 io-mode=dmabuf-import sync=false";
    let outcome = run.program(gst.split_whitespace()).run();
    outcome.expect_success();
    let pictures = pictures(&outcome, &page);
    assert_eq!(pictures.len(), 12);
    // The page has every second pixel of every second line.
    let sent = |number| -> Vec<u8> {
        let sent = pattern(&pixfmt::YUYV, number).to_rgb();
        let lines = sent.chunks(SIZE.0 as usize * 3).step_by(2);
        let pixels = lines.flat_map(|line| line.chunks(3).step_by(2));
        pixels.flatten().copied().collect()
    };
    for (alt, size, rgb) in &pictures {
        let number: u32 = alt.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(*size, (160, 120));
        // The sink may show a picture twice, or leave one out.
        let near = if alt.ends_with("video1") { 8 } else { 0 };
        let mut numbers = number.saturating_sub(near)..=number + near;
        assert!(
            numbers.any(|number| *rgb == sent(number)),
            "{alt} was not sent"
        );
    }
    let of = |device: &str| {
        pictures
            .iter()
            .filter(|(alt, ..)| alt.ends_with(device))
            .count()
    };
    assert_eq!((of("/dev/video0"), of("/dev/video1")), (6, 6));
    assert!(std::fs::metadata(page).unwrap().len() < 2 << 20);
}

/// A decoder's pictures are on the contact sheet, and its queues' formats in the table.
#[test]
fn page_shows_pictures_of_a_decoder() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let Some(stream) = crate::streams::encoded("320x240", 30, "bframes=0") else {
        return;
    };
    let run = Run::on("pc").device("h264dec");
    let run = run.options(["--report", "run.html", "--clock", "virtual"]);
    let page = run.file("run.html");
    std::fs::write(run.file("stream.h264"), stream).unwrap();
    let gst = "gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec ! fakesink";
    let outcome = run.program(gst.split_whitespace()).run();
    outcome.expect_success();
    let text = std::fs::read_to_string(page).unwrap();
    let shown = |number| format!("alt=\"frame {number} of /dev/video0\"");
    assert!(
        text.contains(&shown(0)) && text.contains(&shown(29)),
        "{text}"
    );
    assert!(
        !text.contains(&shown(30)),
        "the empty last buffer is no frame"
    );
    assert!(text.contains("frames of H264 320x240 by mmap"), "{text}");
    assert!(
        text.contains("data-label=\"format\">NM12 320x240<"),
        "{text}"
    );
}

#[test]
fn page_shows_refusals() {
    if lacks("v4l2-ctl") {
        return;
    }
    // 32 buffers of 18 MiB, and 64 MiB of contiguous memory.
    let client = ["v4l2-ctl", "--stream-mmap=32", "--stream-count=2"];
    let (outcome, page) = reported("soc-cma", "4096x2304", &client);
    let text = std::fs::read_to_string(&page).unwrap();
    let [refusal] = outcome.report.refusals.as_slice() else {
        panic!("{:?}", outcome.report.refusals)
    };
    let said = vb3_report::sentence::refusal(refusal, &[]);
    for part in [&said.what, &said.hint] {
        let escaped = part.replace('&', "&amp;").replace('"', "&quot;");
        // Words in backticks are code on the page.
        let mut pieces = escaped.split('`');
        assert!(
            !part.is_empty() && pieces.all(|piece| text.contains(piece)),
            "{part}: {text}"
        );
    }
    assert!(text.contains("✗ Problems"), "{text}");
    assert!(text.contains("REQBUFS refused"), "{text}");
    if lacks("chromium") || lacks("ffmpeg") {
        return;
    }
    expect_fit(&page);
    let (_, picture) = shown(&page);
    // The banner fills the whole width.
    let red = pixels(&picture, RED);
    assert!(red > 40_000, "{red} red pixels in {picture:?}");
}

/// Eleven devices, of which the program uses one, with faults of every kind.
#[test]
#[ignore = "full: plots of eleven devices in a browser"]
fn faults_and_unplugs_stand_on_the_plots() {
    if ["v4l2-ctl", "chromium", "ffmpeg"].into_iter().any(lacks) {
        return;
    }
    let step = |lines: &str| format!("[[step]]\ndevice = \"/dev/video0\"\n{lines}\n");
    let script: String = [
        "frame = 20\nevery = 30\ncount = 4\nshort = 1000",
        "frame = 60\nlate = \"120ms\"",
        "time = \"5s\"\nunplug = true",
    ]
    .map(step)
    .concat();
    let mut run = Run::on("pc").device("camera=pattern,fps=30,sizes=320x240,formats=YUYV");
    for _ in 0..10 {
        run = run.device("display=null");
    }
    std::fs::write(run.file("steps.toml"), script).unwrap();
    let run = run.options(["--clock", "virtual", "--script", "steps.toml"]);
    let run = run.options(["--report", "run.html"]);
    let page = run.file("run.html");
    let client = ["v4l2-ctl", "--stream-mmap=8", "--stream-count=300"];
    let outcome = run.program(client).run();
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("The script injected 6 faults"), "{text}");
    assert!(
        text.contains("Red lines</span>short ×4, late, unplugged."),
        "{text}"
    );
    assert_eq!(text.matches(">unplugged</text>").count(), 3);
    assert!(
        text.contains("<summary>10 queues were not used</summary>"),
        "{text}"
    );
    let footer = format!("<footer><p>vb3 {}, 2", env!("CARGO_PKG_VERSION"));
    assert!(
        text.contains(&footer) && text.contains(" UTC</p></footer>"),
        "{text}"
    );
    // Only the page has the date; the report is equal on every day.
    let report = String::from_utf8(outcome.read("report.json")).unwrap();
    assert!(!report.contains(" UTC"), "{report}");
    expect_plots(&page);
    expect_fit(&page);
    let (_, picture) = shown(&page);
    let red = pixels(&picture, RED);
    assert!(red > 40_000, "{red} red pixels in {picture:?}");
}

/// Asserts that a page fits on a screen and on a phone: only parts that scroll may be wider than
/// the window. The page runs in a frame and reports its width.
fn expect_fit(page: &Path) {
    let says = "<script>parent.postMessage(document.documentElement.scrollWidth,'*')</script>";
    let text = std::fs::read_to_string(page).unwrap();
    let copy = page.with_file_name("inner.html");
    std::fs::write(&copy, text.replace("</body>", &format!("{says}</body>"))).unwrap();
    let outer = page.with_file_name("outer.html");
    for width in [1280, 400] {
        let frame = format!(
            "<script>onmessage=e=>document.body.dataset.wide=e.data</script>\
             <iframe width={width} height=900 src=inner.html></iframe>"
        );
        std::fs::write(&outer, frame).unwrap();
        let out = chromium(&outer)
            .args(["--window-size=1400,1000", "--virtual-time-budget=5000"])
            .arg("--dump-dom")
            .arg(format!("file://{}", outer.display()))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&out.stdout);
        let (_, rest) = dom.split_once("data-wide=\"").expect("the page says");
        let wide: u32 = rest.split_once('"').unwrap().0.parse().unwrap();
        assert!(wide <= width, "{wide} of {width}");
    }
}
