//! Codecs other than H.264: they are compliant, and the pictures that GStreamer and ffmpeg get from their
//! decoders equal those of ffmpeg's own decoders.

use crate::common::{Run, compiled, ffmpeg, lacks, lacks_libavcodec, vb3};
use crate::compliance::{expect_compliant, summary};
use crate::streams::encoded;

/// A decoder, how to make a stream for it, and how programs decode it.
struct Case {
    device: &'static str,
    /// The encoder and its options.
    encoder: &'static str,
    file: &'static str,
    /// GStreamer's elements up to the decoder, if it has any.
    elements: Option<&'static str>,
    /// ffmpeg's wrapper, if it has one.
    wrapper: Option<&'static str>,
    /// Whether a stream may be cut anywhere, as v4l2-compliance cuts it.
    is_stream: bool,
}

const CASES: [Case; 6] = [
    Case {
        device: "hevcdec",
        encoder: "libx265 -x265-params log-level=0:bframes=3:keyint=12",
        file: "stream.hevc",
        elements: Some("h265parse ! v4l2h265dec"),
        wrapper: Some("hevc_v4l2m2m"),
        is_stream: true,
    },
    Case {
        device: "vp8dec",
        encoder: "libvpx -b:v 500k -auto-alt-ref 1 -lag-in-frames 8 -g 12",
        file: "stream.webm",
        elements: Some("matroskademux ! v4l2vp8dec"),
        wrapper: Some("vp8_v4l2m2m"),
        is_stream: false,
    },
    Case {
        device: "vp9dec",
        encoder: "libvpx-vp9 -b:v 500k -auto-alt-ref 1 -lag-in-frames 8 -g 12",
        file: "stream.webm",
        elements: Some("matroskademux ! v4l2vp9dec"),
        wrapper: Some("vp9_v4l2m2m"),
        is_stream: false,
    },
    Case {
        device: "av1dec",
        encoder: "libaom-av1 -cpu-used 8 -usage realtime -b:v 500k",
        file: "stream.webm",
        elements: None,
        wrapper: None,
        is_stream: false,
    },
    Case {
        device: "mpeg2dec",
        encoder: "mpeg2video -bf 2 -g 12 -b:v 900k",
        file: "stream.m2v",
        elements: Some("mpegvideoparse ! v4l2mpeg2dec"),
        wrapper: Some("mpeg2_v4l2m2m"),
        is_stream: true,
    },
    Case {
        device: "mpeg4dec",
        encoder: "mpeg4 -bf 0 -g 12 -b:v 900k -f m4v",
        file: "stream.m4v",
        elements: Some("mpeg4videoparse ! v4l2mpeg4dec"),
        wrapper: Some("mpeg4_v4l2m2m"),
        is_stream: true,
    },
];

impl Case {
    fn encode(&self, run: &Run, frames: u32) {
        let file = run.file(self.file);
        let frames = frames.to_string();
        let mut words = vec!["-f", "lavfi", "-i", "testsrc2=size=176x144:rate=25"];
        words.extend(["-frames:v", &frames, "-pix_fmt", "yuv420p", "-threads", "1"]);
        words.push("-c:v");
        words.extend(self.encoder.split(' '));
        words.push(file.to_str().unwrap());
        ffmpeg(words);
    }

    /// Returns the pictures of ffmpeg's own decoder.
    fn wanted(&self, run: &Run, format: &str) -> Vec<u8> {
        let file = run.file(self.file);
        let words = ["-threads", "1", "-i", file.to_str().unwrap()];
        let form = [
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            format,
            "-f",
            "rawvideo",
        ];
        ffmpeg(words.into_iter().chain(form).chain(["-"]))
    }

    fn expect_exact(&self, line: &str) {
        let run = Run::on("soc-noncoherent").device(self.device);
        self.encode(&run, 25);
        let wanted = self.wanted(&run, "nv12");
        assert_eq!(wanted.len(), 25 * 176 * 144 * 3 / 2, "{}", self.device);
        let outcome = run.program(["sh", "-c", line]).run();
        outcome.expect_success();
        let found = outcome.read("pictures.raw");
        assert_eq!(found.len(), wanted.len(), "{}: {line}", self.device);
        assert!(found == wanted, "{}: {line}", self.device);
        assert_eq!(outcome.report.total(|q| q.bytes_copied), 0);
        let copied = outcome.report.total(|q| q.bytes_copied_by_codec);
        assert_eq!(copied, wanted.len() as u64, "{}", self.device);
    }
}

#[test]
fn gstreamer_gets_ffmpegs_pictures() {
    if lacks("ffmpeg") || lacks("gst-launch-1.0") || lacks_libavcodec() {
        return;
    }
    for case in &CASES {
        let Some(elements) = case.elements else {
            continue;
        };
        case.expect_exact(&format!(
            "gst-launch-1.0 -q filesrc location={} ! {elements} \
             ! video/x-raw,format=NV12 ! filesink location=pictures.raw",
            case.file
        ));
    }
}

#[test]
fn ffmpegs_wrappers_get_ffmpegs_pictures() {
    if lacks("ffmpeg") || lacks_libavcodec() {
        return;
    }
    for case in &CASES {
        let Some(wrapper) = case.wrapper else {
            continue;
        };
        case.expect_exact(&format!(
            "ffmpeg -nostdin -v error -c:v {wrapper} -i {} -fps_mode passthrough \
             -pix_fmt nv12 -f rawvideo pictures.raw",
            case.file
        ));
    }
}

/// Returns whether v4l2-compliance 1.32.0 tested the AV1 decoder. This version does not recognise the device
/// as a decoder and rejects its control. Source: v4l-utils 8d92b9bf, which fixes this.
fn takes_av1_for_no_codec(stdout: &str) -> bool {
    const CONTROL: &str = "node->controls.find(V4L2_CID_MIN_BUFFERS_FOR_CAPTURE) != \
                           node->controls.end()";
    let found = stdout
        .lines()
        .filter(|line| line.contains("fail: "))
        .collect::<Vec<_>>();
    stdout.contains(": AV1 Decoder") && matches!(found[..], [line] if line.ends_with(CONTROL))
}

#[test]
#[ignore = "full: v4l2-compliance for further codecs"]
fn every_decoder_is_compliant() {
    if lacks("ffmpeg") || lacks("v4l2-compliance") || lacks_libavcodec() {
        return;
    }
    for case in &CASES {
        let run = Run::on("pc").device(case.device);
        let outcome = run.program(["v4l2-compliance", "-d", "/dev/video0"]).run();
        let found = summary(&outcome.stdout);
        let stdout = &outcome.stdout;
        let wanted = if takes_av1_for_no_codec(stdout) {
            (1, 0)
        } else {
            (0, 0)
        };
        assert_eq!(found, Some(wanted), "{}\n{stdout}", case.device);
        if case.is_stream {
            let run = Run::on("pc");
            case.encode(&run, 150);
            let file = run.file(case.file);
            let words = ["--stream-from", file.to_str().unwrap()];
            let device = format!("{},size=176x144", case.device);
            expect_compliant("pc", &[&device], &words);
        }
    }
}

/// A stream of 10 bits is decoded as P010, with ffmpeg's pictures. The test does without v4l2-ctl, which
/// takes half a second without a picture for the end of the stream.
#[test]
#[ignore = "full: three machines"]
fn ten_bits_come_as_p010() {
    let decode = compiled("decode.c");
    let (false, Some(decode)) = (lacks("ffmpeg") || lacks_libavcodec(), decode) else {
        return;
    };
    let case = Case {
        encoder: "libx265 -pix_fmt yuv420p10le -profile:v main10 -x265-params log-level=0:bframes=3",
        ..CASES[0]
    };
    for (machine, options) in [
        ("pc", ""),
        ("soc-noncoherent", ",align=8192"),
        ("vm-bounce", ",alloc=vmalloc"),
    ] {
        let device = format!("hevcdec{options}");
        let run = Run::on(machine).device(device);
        case.encode(&run, 25);
        let wanted = case.wanted(&run, "p010le");
        assert_eq!(wanted.len(), 25 * 176 * 144 * 3);
        let bytes = std::fs::metadata(run.file(case.file)).unwrap().len();
        std::fs::write(
            run.file("commands"),
            format!("feed {bytes}\nready\ndrain\n"),
        )
        .unwrap();
        let files = [case.file, "pictures.raw", "commands"];
        let run = run.program([decode.as_os_str()]);
        let outcome = run.and(["P010"]).and(files).and(["HEVC"]).run();
        outcome.expect_success();
        let found = outcome.read("pictures.raw");
        assert_eq!(found.len(), wanted.len(), "{machine}");
        assert!(found == wanted, "{machine}");
    }
}

/// Without libavcodec, `vb3` refuses the device, and its message says what to do.
#[test]
fn without_the_library_it_is_refused_with_the_reason() {
    let devices = [
        ("h264dec", "decoding H.264"),
        ("h264enc", "encoding H.264"),
        ("hevcdec", "HEVC"),
        ("hevcenc", "encoding HEVC"),
        ("vp8enc", "encoding VP8"),
        ("h264dec-stateless", "H.264 by requests"),
        ("vp9dec-stateless", "VP9 by requests"),
    ];
    for (device, codec) in devices {
        let dir = crate::common::tempdir();
        let mut command = vb3(dir.path());
        let out = command
            .env("VB3_CODEC", "none")
            .args(["run", "-d", device, "--", "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(125), "{said}");
        assert!(
            said.contains(codec) && said.contains("libavcodec-dev"),
            "{said}"
        );
    }
}

/// Shell commands that stop in the middle of a stream and list the memory that the codec process maps. The
/// process's own memory is named vb3-codec; buffers are named vb3.
const LOOK: &str = r#"
mkfifo pictures
gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec \
  ! video/x-raw,format=NV12 ! filesink location=pictures &
exec 3< pictures
head -c 1000 <&3 > /dev/null
for process in /proc/[0-9]*; do
  grep -q "^PPid:[[:space:]]*$PPID\$" $process/status 2> /dev/null || continue
  grep -q 'memfd:vb3-codec' $process/maps 2> /dev/null || continue
  echo "buffers $(grep -c 'memfd:vb3 ' $process/maps)"
done
cat <&3 > /dev/null
wait
"#;

/// Returns whether the codec process of a SPEC's device maps the program's buffers.
fn has_buffers(machine: &str, spec: &str, stream: &[u8]) -> bool {
    let run = Run::on(machine).device(spec);
    std::fs::write(run.file("stream.h264"), stream).unwrap();
    let outcome = run.program(["sh", "-c", LOOK]).run();
    outcome.expect_success();
    let buffers = outcome.stdout.trim().strip_prefix("buffers ");
    let buffers: u32 = buffers.expect("a codec process").parse().unwrap();
    buffers > 0
}

/// The codec process writes pictures directly into buffers. If a buffer's memory is scattered or only the CPU
/// reaches it, the simulated bus copies the pictures.
#[test]
#[ignore = "full: five machines"]
fn the_process_has_the_buffers_that_it_can_have() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let Some(stream) = encoded("320x240", 60, "bframes=0") else {
        return;
    };
    for machine in [
        "pc",
        "pc-untrusted",
        "soc-cma",
        "soc-noncoherent",
        "vm-bounce",
    ] {
        assert!(has_buffers(machine, "h264dec", &stream), "{machine}");
    }
    for alloc in ["sg", "vmalloc"] {
        let spec = format!("h264dec,alloc={alloc}");
        assert!(!has_buffers("pc", &spec, &stream), "{spec}");
    }
}
