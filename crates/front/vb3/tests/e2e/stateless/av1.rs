//! AV1, by a client that parses streams itself. GStreamer's element, which other tests run, needs
//! GStreamer 1.24.

use super::{Path, lacks};
use crate::common::{Run, RunOutput, ffmpeg, lacks_libavcodec};

pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// 20 frames of 64x64 by `aomenc --enable-fwd-kf=1`: hidden key frames, which are shown later and then
/// fill all reference slots.
const HIDDEN_KEYS: &[u8] = include_bytes!("hidden_keys.ivf");

fn lacks_programs() -> bool {
    lacks(PYTHON) || lacks("ffmpeg") || lacks_libavcodec()
}

/// Returns the command by which the client decodes a file to `pictures.raw`.
pub(crate) fn client(file: &str) -> String {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let client = programs.join("stateless_av1.py");
    let client = client.display();
    format!("{PYTHON} -B {client} /dev/video0 /dev/media0 {file} pictures.raw")
}

/// Makes a stream of 16 frames.
fn encoded(size: &str, encoder: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let head = "-f lavfi -i SOURCE -frames:v 16 -pix_fmt yuv420p -threads 1 -c:v";
    let words = head.split(' ').map(|word| word.replace("SOURCE", &source));
    let words: Vec<String> = words.chain(encoder.split(' ').map(str::to_owned)).collect();
    ffmpeg(words.iter().map(String::as_str).chain(["-f", "ivf", "-"]))
}

/// Asserts that the client gets ffmpeg's pictures of a stream.
fn expect_exact(machine: &str, stream: &[u8], seed: &[&str]) -> RunOutput {
    let run = Run::on(machine).device("av1dec-stateless");
    let path = run.file("stream.ivf");
    std::fs::write(&path, stream).unwrap();
    let raw = "-fps_mode passthrough -pix_fmt nv12 -f rawvideo -".split(' ');
    let pictures = ffmpeg(["-i", path.to_str().unwrap()].into_iter().chain(raw));
    assert!(!pictures.is_empty(), "ffmpeg gives no pictures");
    let line = [&[&*client("stream.ivf")], seed].concat().join(" ");
    let outcome = run.program(["sh", "-c", &line]).run();
    outcome.expect_success();
    assert!(outcome.read("pictures.raw") == pictures, "{machine}");
    outcome
}

/// Together they have hidden frames, all kinds of references, tiles, film grain, quantiser matrices,
/// segments, restoration, scaled widths, screen content and both sizes of superblocks.
const STREAMS: [(&str, &str); 6] = [
    (
        "176x144",
        "libaom-av1 -cpu-used 8 -crf 20 -b:v 0 -lag-in-frames 19 -auto-alt-ref 1 -aom-params \
         film-grain-test=3:sb-size=64",
    ),
    (
        "352x288",
        "libaom-av1 -cpu-used 8 -crf 40 -b:v 0 -aom-params \
         enable-qm=1:deltaq-mode=1:aq-mode=1:sb-size=128:tile-columns=1:tile-rows=1",
    ),
    (
        "132x90",
        "libaom-av1 -cpu-used 8 -crf 30 -b:v 0 -error-resilience 1 -aom-params \
         tune-content=screen:enable-order-hint=0",
    ),
    (
        "192x128",
        "libsvtav1 -crf 30 -g 8 -svtav1-params \
         lp=1:preset=10:film-grain=8:superres-mode=1:superres-denom=12:superres-kf-denom=9",
    ),
    (
        "176x144",
        "libsvtav1 -crf 40 -g 5 -svtav1-params lp=1:preset=8:irefresh-type=1",
    ),
    ("176x144", "librav1e -speed 10 -qp 80 -tiles 4"),
];

#[test]
#[ignore = "full: encodes AV1, which is slow"]
fn av1_client_gets_ffmpegs_pictures() {
    if lacks_programs() {
        return;
    }
    let machines = ["pc", "soc-cma", "soc-noncoherent", "vm-bounce"];
    for ((size, encoder), machine) in STREAMS.into_iter().zip(machines.into_iter().cycle()) {
        println!("{machine}: {encoder}");
        expect_exact(machine, &encoded(size, encoder), &[]);
    }
    expect_exact("pc", HIDDEN_KEYS, &[]);
}

/// Key frames between the wrong ones stay exact.
#[test]
#[ignore = "full: a storm"]
fn random_av1_requests_do_no_harm() {
    if lacks_programs() {
        return;
    }
    let encoder = "libaom-av1 -cpu-used 8 -crf 30 -b:v 0 -g 1 -aom-params tile-columns=1";
    let stream = encoded("192x128", encoder);
    for seed in ["1", "2", "3"] {
        let said = expect_exact("pc", &stream, &[seed]).stdout;
        assert!(
            said.contains("16 frames") && said.contains("EINVAL"),
            "{said}"
        );
    }
}
