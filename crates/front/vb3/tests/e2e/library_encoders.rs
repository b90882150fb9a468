//! The encoders that need libavcodec, under unmodified programs. Decoded by ffmpeg, their streams resemble
//! the input.

use crate::common::{Run, compiled, ffmpeg_in, lacks, lacks_libavcodec};
use crate::compliance::expect_compliant;
use crate::encoders::{COUNT, HEIGHT, PICTURE, WIDTH};
use crate::encoders::{decoded, expect_alike, expect_change_of_size, probe, source};

fn lacks_any(programs: &[&str]) -> bool {
    lacks_libavcodec() || programs.iter().any(|program| lacks(program))
}

/// An encoder, and how programs use it.
struct Case {
    device: &'static str,
    /// GStreamer's element, and the muxer after it.
    element: &'static str,
    mux: &'static str,
    /// GStreamer's decoder of the stream.
    decoder: &'static str,
    /// ffmpeg's wrapper.
    wrapper: &'static str,
    /// Name of the file.
    file: &'static str,
}

const VP8: Case = Case {
    device: "vp8enc",
    element: "v4l2vp8enc",
    mux: "! webmmux",
    decoder: "vp8dec",
    wrapper: "vp8_v4l2m2m",
    file: "seen.webm",
};

const HEVC: Case = Case {
    device: "hevcenc",
    element: "v4l2h265enc",
    mux: "! h265parse ! matroskamux",
    decoder: "h265parse ! avdec_h265",
    wrapper: "hevc_v4l2m2m",
    file: "seen.mkv",
};

macro_rules! each {
    ($($module:ident $case:ident)*) => {$(
        mod $module {
            use super::$case as CASE;

            fn it_is_compliant(machines: &[&str]) {
                super::it_is_compliant(&CASE, machines);
            }

            fn gstreamer_encodes(machines: &[&str]) {
                super::gstreamer_encodes(&CASE, machines);
            }

            #[test]
            fn gstreamer_changes_the_size() {
                super::gstreamer_changes_the_size(&CASE);
            }

            #[test]
            fn a_program_changes_size_and_bitrate() {
                super::a_program_changes_size_and_bitrate(&CASE);
            }

            fn ffmpeg_encodes(machines: &[&str]) {
                super::ffmpeg_encodes(&CASE, machines);
            }

            #[test]
            fn killed_codec_is_reported_and_next_stream_works() {
                super::killed_codec_is_reported_and_next_stream_works(&CASE);
            }

            crate::common::on_machines! { gstreamer_encodes }

            crate::common::tiers! {
                it_is_compliant(&["pc"], &["soc-noncoherent", "vm-bounce"])
                ffmpeg_encodes(&["pc"], &["soc-cma", "soc-noncoherent"])
            }
        }
    )*};
}

each! { vp8enc VP8 hevcenc HEVC }

fn it_is_compliant(case: &Case, machines: &[&str]) {
    if lacks_any(&["v4l2-compliance"]) {
        return;
    }
    for &machine in machines {
        expect_compliant(machine, &[&format!("{},size=320x240", case.device)], &[]);
    }
}

fn gstreamer_encodes(case: &Case, machines: &[&str]) {
    if lacks_any(&["gst-launch-1.0", "ffmpeg", "ffprobe"]) {
        return;
    }
    for &machine in machines {
        let run = Run::on(machine).device(case.device);
        let sent = source(&run);
        let words = format!(
            "gst-launch-1.0 -q filesrc location=source.yuv \
             ! rawvideoparse width={WIDTH} height={HEIGHT} format=i420 framerate=30/1 \
             ! {} extra-controls=c,video_bitrate=4000000,video_gop_size=5 \
             {} ! filesink location={}",
            case.element, case.mux, case.file
        );
        let outcome = run.program(words.split_whitespace()).run();
        outcome.expect_success();
        expect_alike(&sent, &decoded(&outcome, case.file), PICTURE);
        let keys = probe(&outcome, case.file, "-show_entries frame=pict_type");
        let wanted: Vec<&str> = (0..COUNT)
            .map(|n| if n % 5 == 0 { "I" } else { "P" })
            .collect();
        assert_eq!(keys, wanted, "{machine}");
    }
}

fn gstreamer_changes_the_size(case: &Case) {
    if !lacks_any(&["gst-launch-1.0"]) {
        let codec = format!("{} ! {}", case.element, case.decoder);
        expect_change_of_size(case.device, &codec);
    }
}

/// One open file encodes streams of several sizes; the bitrate changes in the middle of a stream.
fn a_program_changes_size_and_bitrate(case: &Case) {
    let Some(program) = compiled("encode.c") else {
        return;
    };
    if lacks_any(&["ffmpeg"]) {
        return;
    }
    let sizes = [(WIDTH, HEIGHT), (176, 144), (WIDTH, HEIGHT)];
    let run = Run::on("soc-cma").device(case.device);
    source(&run);
    for (part, (width, height)) in sizes.into_iter().enumerate() {
        let words = format!(
            "-f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} -i source.yuv -s {width}x{height} \
             source-{part}.yuv"
        );
        ffmpeg_in(run.dir.path(), words.split_whitespace());
    }
    let words = |(part, (width, height)): (usize, (usize, usize))| {
        let bitrate = [4_000_000, 0, 4_000_000][part];
        format!("{width} {height} {COUNT} {bitrate} source-{part}.yuv stream-{part} ")
    };
    let words: String = sizes.into_iter().enumerate().map(words).collect();
    let outcome = run
        .program([program.as_os_str()])
        .and(words.split_whitespace())
        .run();
    outcome.expect_success();
    for (part, (width, height)) in sizes.into_iter().enumerate() {
        let packets = packets(&outcome.read(&format!("stream-{part}")));
        assert_eq!(packets.len(), COUNT, "part {part}");
        let stream = match case.device {
            "vp8enc" => ivf(&packets),
            _ => packets.concat(),
        };
        std::fs::write(outcome.dir.path().join("part"), stream).unwrap();
        let sent = outcome.read(&format!("source-{part}.yuv"));
        expect_alike(&sent, &decoded(&outcome, "part"), width * height * 3 / 2);
    }
}

/// Splits bytes into packets; each begins with its length.
fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let (packet, rest) = rest.split_at(u32::from_le_bytes(*head) as usize);
        packets.push(packet.to_vec());
        bytes = rest;
    }
    packets
}

/// Writes VP8 frames as an IVF file, with the size of the first frame.
fn ivf(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
    // RFC 6386, section 9.1: the size follows three bytes and a start code.
    file.extend(&frames[0][6..10]);
    for word in [30u32, 1, u32::try_from(frames.len()).unwrap(), 0] {
        file.extend(word.to_le_bytes());
    }
    for (stamp, bytes) in (0u64..).zip(frames) {
        file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        file.extend(stamp.to_le_bytes());
        file.extend(bytes);
    }
    file
}

fn ffmpeg_encodes(case: &Case, machines: &[&str]) {
    if lacks_any(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for &machine in machines {
        let run = Run::on(machine).device(case.device);
        let sent = source(&run);
        let outcome = run
            .program(["sh", "-c", &by_ffmpeg(case, "source.yuv")])
            .run();
        outcome.expect_success();
        expect_alike(&sent, &decoded(&outcome, "seen.nut"), PICTURE);
        let stamps = probe(&outcome, "seen.nut", "-show_entries packet=pts_time");
        assert_eq!(stamps.len(), COUNT);
        for (number, stamp) in stamps.iter().enumerate() {
            let late = stamp.parse::<f64>().unwrap() - number as f64 / 30.0;
            assert!(late.abs() < 0.001, "picture {number} at {stamp}");
        }
    }
}

/// Encodes a file or a pipe to `seen.nut`, which needs no header of the codec.
fn by_ffmpeg(case: &Case, from: &str) -> String {
    format!(
        "ffmpeg -nostdin -v error -y -f rawvideo -pix_fmt yuv420p -r 30 -s {WIDTH}x{HEIGHT} \
         -i {from} -c:v {} -b:v 4M seen.nut",
        case.wrapper
    )
}

/// Kills the codec process in the middle of a stream, then encodes another.
fn killed_codec_is_reported_and_next_stream_works(case: &Case) {
    if lacks_any(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let script = format!(
        r#"
mkfifo pipe
{} &
exec 3> pipe
head -c {} source.yuv >&3
killed=
while [ -z "$killed" ]; do
  kill -0 $! || exit 9
  for process in /proc/[0-9]*; do
    grep -q "^PPid:[[:space:]]*$PPID\$" $process/status 2> /dev/null || continue
    grep -q '^Name:[[:space:]]*vb3-codec' $process/status 2> /dev/null || continue
    kill -9 ${{process#/proc/}} && killed=1
  done
done
cat source.yuv source.yuv >&3
exec 3>&-
wait $! && exit 8
{}
"#,
        by_ffmpeg(case, "pipe"),
        10 * PICTURE,
        by_ffmpeg(case, "source.yuv"),
    );
    let run = Run::on("pc").device(case.device);
    let sent = source(&run);
    let outcome = run.program(["bash", "-c", &script]).run();
    outcome.expect_end();
    expect_alike(&sent, &decoded(&outcome, "seen.nut"), PICTURE);
    let why = outcome.why();
    assert!(why.contains("signal 9") || why.contains("SIGKILL"), "{why}");
}
