//! Streams of codecs other than H.264, from ffmpeg's encoders with random options.

use super::{Random, expect_same, x264};
use crate::common::{Run, ffmpeg, lacks, lacks_libavcodec, patiently};
use crate::stateless::av1;
use std::process::Command;

/// A codec, and how programs decode it.
struct Codec {
    device: &'static str,
    file: &'static str,
    /// GStreamer's elements up to the decoder.
    elements: &'static str,
    /// ffmpeg's wrapper, if it has one.
    wrapper: Option<&'static str>,
    /// Draws the encoder's options.
    draw: fn(&mut Random) -> String,
}

const CODECS: [Codec; 5] = [
    Codec {
        device: "hevcdec",
        file: "stream.hevc",
        elements: "h265parse ! v4l2h265dec",
        wrapper: Some("hevc_v4l2m2m"),
        draw: hevc,
    },
    Codec {
        device: "vp8dec",
        file: "stream.webm",
        elements: "matroskademux ! v4l2vp8dec",
        wrapper: Some("vp8_v4l2m2m"),
        draw: vp8,
    },
    Codec {
        device: "vp9dec",
        file: "stream.webm",
        elements: "matroskademux ! v4l2vp9dec",
        wrapper: Some("vp9_v4l2m2m"),
        draw: vp9,
    },
    Codec {
        device: "mpeg2dec",
        file: "stream.m2v",
        elements: "mpegvideoparse ! v4l2mpeg2dec",
        wrapper: Some("mpeg2_v4l2m2m"),
        draw: mpeg2,
    },
    Codec {
        device: "mpeg4dec",
        file: "stream.m4v",
        elements: "mpeg4videoparse ! v4l2mpeg4dec",
        wrapper: Some("mpeg4_v4l2m2m"),
        draw: mpeg4,
    },
];

/// Stateless decoders. ffmpeg has no wrapper for them.
const STATELESS: [Codec; 4] = [
    Codec {
        device: "h264dec-stateless",
        file: "stream.h264",
        elements: "h264parse ! v4l2slh264dec",
        wrapper: None,
        draw: h264,
    },
    Codec {
        device: "hevcdec-stateless",
        file: "stream.hevc",
        elements: "h265parse ! v4l2slh265dec",
        wrapper: None,
        draw: hevc,
    },
    Codec {
        device: "vp8dec-stateless",
        file: "stream.webm",
        elements: "matroskademux ! v4l2slvp8dec",
        wrapper: None,
        draw: vp8,
    },
    Codec {
        device: "vp9dec-stateless",
        file: "stream.webm",
        elements: "matroskademux ! vp9parse ! v4l2slvp9dec",
        wrapper: None,
        draw: vp9,
    },
];

/// The tests' own client decodes these streams, and GStreamer does from 1.24 on.
const STATELESS_AV1: Codec = Codec {
    device: "av1dec-stateless",
    file: "stream.ivf",
    elements: "ivfparse ! av1parse ! v4l2slav1dec",
    wrapper: None,
    draw: any_av1,
};

fn h264(random: &mut Random) -> String {
    let options = x264(random);
    format!("libx264 -preset veryfast -x264-params threads=1:{options}")
}

fn hevc(random: &mut Random) -> String {
    let options = [
        "log-level=0:pools=none:frame-threads=1".to_owned(),
        format!("bframes={}", random.one(&[0, 1, 3, 5, 8])),
        format!("b-adapt={}:b-pyramid={}", random.below(3), random.below(2)),
        format!("weightb={}:weightp={}", random.below(2), random.below(2)),
        format!(
            "ref={}:keyint={}",
            1 + random.below(5),
            random.one(&[1, 5, 12, 250])
        ),
        format!(
            "open-gop={}:ctu={}",
            random.below(2),
            random.one(&[16, 32, 64])
        ),
        format!("rect={}:tskip={}", random.below(2), random.below(2)),
        format!("sao={}:deblock={}", random.below(2), random.below(2)),
        format!("crf={}", random.one(&[12, 20, 28, 40])),
    ];
    let options = options.join(":");
    format!("libx265 -preset superfast -x265-params {options}")
}

fn vp8(random: &mut Random) -> String {
    format!(
        "libvpx -cpu-used 8 -b:v {}k -auto-alt-ref {} -lag-in-frames {} -g {} -slices {} -sharpness {}",
        random.one(&[60, 300, 2000]),
        random.below(2),
        random.one(&[0, 4, 16]),
        random.one(&[1, 5, 12, 250]),
        random.one(&[1, 2, 4, 8]),
        random.below(8),
    )
}

fn vp9(random: &mut Random) -> String {
    format!(
        "libvpx-vp9 -cpu-used 8 -b:v {}k -auto-alt-ref {} -lag-in-frames {} -g {} \
         -tile-columns {} -tile-rows {} -frame-parallel {} -aq-mode {} -lossless {}",
        random.one(&[60, 300, 2000]),
        random.below(2),
        random.one(&[0, 4, 16]),
        random.one(&[1, 5, 12, 250]),
        random.below(3),
        random.below(3),
        random.below(2),
        random.below(4),
        u8::from(random.below(6) == 0),
    )
}

fn any_av1(random: &mut Random) -> String {
    match random.below(4) {
        0 => svt(random),
        1 => format!(
            "librav1e -speed 10 -qp {} -g {} -tiles {} -rav1e-params low_latency={}",
            random.one(&[40, 100, 200]),
            random.one(&[5, 12, 60]),
            random.one(&[1, 2, 4]),
            random.one(&["true", "false"]),
        ),
        _ => aom(random),
    }
}

fn svt(random: &mut Random) -> String {
    let structure = 1 + random.below(2);
    let denominator = 8 + random.below(9);
    // Streams with low delay cannot have these.
    let further = match random.below(3) * (structure - 1) {
        0 => String::new(),
        1 => format!(
            ":enable-overlays=1:superres-mode=1:superres-denom={denominator}:superres-kf-denom=9"
        ),
        _ => ":superres-mode=2".to_owned(),
    };
    format!(
        "libsvtav1 -crf {} -g {} -svtav1-params lp=1:preset={}:film-grain={}:tile-columns={}:\
         tile-rows={}:irefresh-type={}:enable-qm={}:pred-struct={structure}:scm={}{further}",
        random.one(&[15, 35, 55]),
        random.one(&[5, 12, 60]),
        random.one(&[8, 10, 12]),
        random.one(&[0, 8, 30]),
        random.below(3),
        random.below(2),
        1 + random.below(2),
        random.below(2),
        random.below(3),
    )
}

fn aom(random: &mut Random) -> String {
    let is_lossless = random.below(6) == 0;
    format!(
        "libaom-av1 -cpu-used 8 -usage {} -crf {} -b:v 0 -g {} -lag-in-frames {} -auto-alt-ref {} \
         -error-resilience {} -aom-params tile-columns={}:tile-rows={}:sb-size={}:enable-qm={}:\
         deltaq-mode={}:aq-mode={}:tune-content={}:enable-order-hint={}:reduced-tx-type-set={}:\
         film-grain-test={}:lossless={}:num-tile-groups={}",
        random.one(&["good", "realtime"]),
        random.one(&[10, 25, 40, 60]),
        random.one(&[1, 5, 12, 250]),
        random.one(&[0, 4, 19]),
        random.below(2),
        random.below(2),
        random.below(3),
        random.below(3),
        random.one(&[64, 128]),
        random.below(2),
        random.below(4),
        // Lossless streams must not have others.
        if is_lossless { 0 } else { random.below(4) },
        random.one(&["default", "screen"]),
        random.below(2),
        random.below(2),
        random.one(&[0, 0, 3, 9]),
        u8::from(is_lossless),
        random.one(&[1, 1, 3]),
    )
}

fn mpeg2(random: &mut Random) -> String {
    format!(
        "mpeg2video -qmax 28 -bf {} -g {} -q:v {} -intra_vlc {} -non_linear_quant {} -dc {}",
        random.below(3),
        random.one(&[1, 5, 12]),
        random.one(&[2, 6, 15, 28]),
        random.below(2),
        random.below(2),
        8 + random.below(3),
    )
}

fn mpeg4(random: &mut Random) -> String {
    format!(
        "mpeg4 -bf 0 -g {} -q:v {} -mpeg_quant {} -flags {} -f m4v",
        random.one(&[1, 5, 12]),
        random.one(&[2, 6, 15, 28]),
        random.below(2),
        random.one(&["+mv4", "+qpel", "+mv4+qpel", "-mv4"]),
    )
}

impl Codec {
    /// Returns the commands that decode the file to `pictures.raw`.
    fn players(&self, form: &str) -> Vec<String> {
        let (file, elements) = (self.file, self.elements);
        // A buffered sink keeps small pictures, and then the stateless decoder waits for one forever.
        let gstreamer = format!(
            "gst-launch-1.0 -q filesrc location={file} ! {elements} \
             ! video/x-raw,format=NV12 ! filesink buffer-mode=unbuffered location=pictures.raw"
        );
        let is_av1 = self.device == STATELESS_AV1.device;
        let gstreamer = (!is_av1 || has_gstreamer_for_av1()).then_some(gstreamer);
        let by_ffmpeg = self.wrapper.map(|wrapper| {
            format!("ffmpeg -nostdin -v error -c:v {wrapper} -i {file} {form} pictures.raw")
        });
        let client = is_av1.then(|| av1::client(file));
        [client, gstreamer, by_ffmpeg]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Asserts that programs get ffmpeg's own pictures. Returns their number.
fn expect_exact(codec: &Codec, random: &mut Random, stream: u64) -> u64 {
    let mut side = |least, most| least + random.below(most);
    // GStreamer pads lines of other widths.
    let width = side(64, 300).next_multiple_of(4);
    let height = side(64, 200).next_multiple_of(2);
    let frames = 5 + random.below(26);
    let (pattern, noise) = random.one(&[
        ("testsrc2", ""),
        ("testsrc2", ",noise=alls=12:allf=t"),
        ("mandelbrot", ""),
    ]);
    let encoder = (codec.draw)(random);
    let name = format!(
        "stream {stream}: {} {pattern}{noise} {width}x{height}: {encoder}",
        codec.device
    );
    let dir = crate::common::tempdir();
    let path = dir.path().join(codec.file);
    let file = path.to_str().unwrap();
    let (source, count) = (
        format!("{pattern}=size={width}x{height}:rate=25{noise}"),
        frames.to_string(),
    );
    let mut words = vec!["-f", "lavfi", "-i", &source, "-frames:v", &count];
    words.extend(["-pix_fmt", "yuv420p", "-threads", "1", "-c:v"]);
    words.extend(encoder.split(' ').chain([file]));
    ffmpeg(words);
    let form = "-fps_mode passthrough -pix_fmt nv12 -f rawvideo";
    let words = ["-threads", "1", "-i", file].into_iter();
    let wanted = ffmpeg(words.chain(form.split(' ')).chain(["-"]));
    // SVT-AV1 1.4 rounds the heights of streams with scaled widths up to 8 lines.
    let picture = wanted.len() / frames as usize;
    assert_eq!(wanted.len() % frames as usize, 0, "{name}");
    assert!(picture as u64 >= width * height * 3 / 2, "{name}");
    let file = codec.file;
    for line in codec.players(form) {
        let run = Run::on("pc").device(codec.device);
        std::fs::copy(&path, run.file(file)).unwrap();
        let outcome = run.program(patiently(&line)).run();
        outcome.expect_success();
        let player = line.split(' ').next().unwrap();
        let name = format!("{name}: {player}");
        expect_same(&name, &outcome.read("pictures.raw"), &wanted, picture);
    }
    println!("{name}: {frames} pictures");
    frames
}

fn expect_all_exact(codecs: &[Codec], streams: u64) {
    let seed = super::seed();
    println!("VB3_EXACT_SEED={seed} VB3_EXACT_STREAMS={streams}");
    let mut pictures = 0;
    for n in 0..streams {
        let mut random = Random::new(seed.wrapping_mul(1_000_033) + n);
        let codec = &codecs[n as usize % codecs.len()];
        pictures += expect_exact(codec, &mut random, n);
    }
    let devices: Vec<&str> = codecs.iter().map(|codec| codec.device).collect();
    let devices = devices.join(", ");
    println!("{devices}: {streams} streams, {pictures} pictures, each exact");
}

fn lacks_programs() -> bool {
    lacks_libavcodec() || lacks("ffmpeg") || lacks("gst-launch-1.0")
}

/// Returns whether GStreamer decodes AV1 by media requests.
fn has_gstreamer_for_av1() -> bool {
    let said = Command::new("gst-launch-1.0").arg("--version").output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    let version = said.split("version 1.").nth(1).unwrap_or_default();
    let minor: String = version.chars().take_while(char::is_ascii_digit).collect();
    minor.parse::<u32>().is_ok_and(|minor| minor >= 24)
}

#[test]
#[ignore = "full: random streams of further codecs"]
fn streams_of_other_codecs_at_random_are_exact() {
    if !lacks_programs() {
        expect_all_exact(&CODECS, super::streams());
    }
}

#[test]
#[ignore = "full: random streams of further codecs"]
fn random_streams_by_requests_are_exact() {
    if !lacks_programs() {
        expect_all_exact(&STATELESS, super::streams());
    }
}

#[test]
#[ignore = "full: random streams of further codecs"]
fn random_av1_streams_by_requests_are_exact() {
    if !lacks_programs() && !lacks(av1::PYTHON) {
        expect_all_exact(&[STATELESS_AV1], super::streams());
    }
}

#[test]
#[ignore = "full: 100 streams of each codec take minutes"]
fn a_hundred_streams_by_requests_are_exact() {
    if lacks_programs() {
        return;
    }
    for codec in &STATELESS {
        expect_all_exact(std::slice::from_ref(codec), 100);
    }
    if !lacks(av1::PYTHON) {
        expect_all_exact(&[STATELESS_AV1], 100);
    }
}
