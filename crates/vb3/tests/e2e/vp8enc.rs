//! The VP8 encoder under programs that were not written for it: what ffmpeg decodes of its streams
//! is what went in.

use crate::common::{MACHINES, Run, lacks, lacks_libavcodec};
use crate::compliance::expect_compliant;
use crate::encoders::{COUNT, HEIGHT, PICTURE, WIDTH, decoded, expect_alike, probe, source};

fn lacks_any(programs: &[&str]) -> bool {
    lacks_libavcodec() || programs.iter().any(|program| lacks(program))
}

#[test]
fn it_is_compliant() {
    if lacks_any(&["v4l2-compliance"]) {
        return;
    }
    for machine in ["pc", "soc-noncoherent", "vm-bounce"] {
        expect_compliant(machine, &["vp8enc,size=320x240"], &[]);
    }
}

#[test]
fn gstreamer_encodes() {
    if lacks_any(&["gst-launch-1.0", "ffmpeg", "ffprobe"]) {
        return;
    }
    for machine in MACHINES {
        let run = Run::on(machine).device("vp8enc");
        let sent = source(&run);
        let words = format!(
            "env GST_REGISTRY=registry.bin gst-launch-1.0 -q filesrc location=source.yuv \
             ! rawvideoparse width={WIDTH} height={HEIGHT} format=i420 framerate=30/1 \
             ! v4l2vp8enc extra-controls=c,video_bitrate=4000000,video_gop_size=5 \
             ! webmmux ! filesink location=seen.webm"
        );
        let outcome = run.program(words.split_whitespace()).run();
        outcome.expect_success();
        expect_alike(&sent, &decoded(&outcome, "seen.webm"), PICTURE);
        let keys = probe(&outcome, "seen.webm", "-show_entries frame=pict_type");
        let wanted: Vec<&str> = (0..COUNT)
            .map(|n| if n % 5 == 0 { "I" } else { "P" })
            .collect();
        assert_eq!(keys, wanted, "{machine}");
    }
}

#[test]
fn ffmpeg_encodes() {
    if lacks_any(&["ffmpeg", "ffprobe"]) {
        return;
    }
    for machine in ["pc", "soc-cma", "soc-noncoherent"] {
        let run = Run::on(machine).device("vp8enc");
        let sent = source(&run);
        let outcome = run.program(["sh", "-c", &by_ffmpeg("source.yuv")]).run();
        outcome.expect_success();
        expect_alike(&sent, &decoded(&outcome, "seen.ivf"), PICTURE);
        let stamps = probe(&outcome, "seen.ivf", "-show_entries packet=pts_time");
        assert_eq!(stamps.len(), COUNT);
        for (number, stamp) in stamps.iter().enumerate() {
            let late = stamp.parse::<f64>().unwrap() - number as f64 / 30.0;
            assert!(late.abs() < 0.001, "picture {number} at {stamp}");
        }
    }
}

/// Encodes a file or a pipe to `seen.ivf`.
fn by_ffmpeg(from: &str) -> String {
    format!(
        "ffmpeg -nostdin -v error -y -f rawvideo -pix_fmt yuv420p -r 30 -s {WIDTH}x{HEIGHT} \
         -i {from} -c:v vp8_v4l2m2m -b:v 4M seen.ivf"
    )
}

/// Kills the codec process of a stream that is under way, then encodes another.
#[test]
fn a_killed_process_is_told_and_the_next_stream_works() {
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
        by_ffmpeg("pipe"),
        10 * PICTURE,
        by_ffmpeg("source.yuv"),
    );
    let run = Run::on("pc").device("vp8enc").patience(240);
    let sent = source(&run);
    let outcome = run.program(["bash", "-c", &script]).run();
    outcome.expect_end();
    expect_alike(&sent, &decoded(&outcome, "seen.ivf"), PICTURE);
    let why = outcome.why();
    assert!(why.contains("signal 9") || why.contains("SIGKILL"), "{why}");
}
