//! Loopbacks: an unmodified program reads the bytes that another unmodified program writes.

use crate::common::{
    Run, RunOutput, compiled, expect_pattern, lacks, recording, size_option, version_of,
};
use vb3_v4l2::pixfmt;

/// Number of frames written.
const COUNT: u32 = 40;

/// Bytes of a frame.
const FRAME: u64 = crate::common::SIZE.0 as u64 * crate::common::SIZE.1 as u64 * 2;

/// Asserts that a node copied at least `frames` frames, each `times` times. The count may include frames that
/// were still in the node's buffers at the end.
fn expect_copies(outcome: &RunOutput, node: &str, frames: u64, times: u64) {
    let (copied, most) = (outcome.queue(node).bytes_copied, frames + 5);
    assert!(copied >= frames * times * FRAME, "{node}: {copied}");
    assert!(copied <= most * times * FRAME, "{node}: {copied}");
    assert!(copied.is_multiple_of(FRAME), "{node}: {copied}");
}

/// Runs a shell script on a loopback. `pattern.raw` has a recording of the pattern.
fn script(options: &str, text: &str) -> RunOutput {
    let run = Run::on("pc").device(format!("loopback,{}{options}", size_option()));
    std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    run.program(["sh", "-c", text]).run()
}

/// Returns the command of the writer, at 25 frames per second.
fn ffmpeg() -> String {
    let (width, height) = crate::common::SIZE;
    // From 6.1 on, ffmpeg writes the first half second at once. Its writes then wait for buffers that the reader needs,
    // and vb3 copies these frames once more.
    let steady = match version_of("ffmpeg", "-version") >= (6, 1) {
        true => "-readrate_initial_burst 0.001",
        false => "",
    };
    format!(
        "ffmpeg -v error -re {steady} -f rawvideo -pix_fmt yuyv422 -s {width}x{height} -r 25 \
         -i pattern.raw -c copy -f v4l2 /dev/video0"
    )
}

/// Returns shell commands that wait until a node's reader has buffers. Otherwise a writer may end
/// before a slow reader starts.
fn until_read(node: &str) -> String {
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    format!("until {vb3} ctl buffers | grep -q {node}; do sleep 0.05; done")
}

/// Asserts that a reader's file contains pictures of the recording, in order.
fn expect_frames(outcome: &RunOutput, file: &str, count: usize) {
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read(file));
    assert_eq!(numbers.len(), count, "{file}: {numbers:?}");
    assert!(numbers.iter().all(|number| *number < COUNT), "{numbers:?}");
}

#[test]
fn ffmpeg_to_v4l2_ctl_by_mmap_user_pointers_and_read() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    // Frames reach a program's own memory through vb3's memory, with a second copy.
    for (reading, times) in [("--stream-mmap=4", 1), ("--stream-user=4", 2)] {
        let outcome = script(
            ",userptr=on",
            &format!(
                "v4l2-ctl -d /dev/video1 {reading} --stream-count=8 --stream-to=got.raw & \
                 {}; {}; wait $!",
                until_read("/dev/video1"),
                ffmpeg()
            ),
        );
        outcome.expect_success();
        expect_frames(&outcome, "got.raw", 8);
        // write() copies once, and the reader's buffer is a second copy.
        assert_eq!(
            outcome.queue("/dev/video0").bytes_copied,
            FRAME * u64::from(COUNT)
        );
        expect_copies(&outcome, "/dev/video1", 8, times);
    }
    let bytes = 4 * crate::common::SIZE.0 * crate::common::SIZE.1 * 2;
    let outcome = script(
        "",
        &format!(
            "head -c {bytes} /dev/video1 > got.raw & {}; {}; wait $!",
            until_read("/dev/video1"),
            ffmpeg()
        ),
    );
    outcome.expect_success();
    expect_frames(&outcome, "got.raw", 4);
    // One copy to the buffers of read(), one from there.
    expect_copies(&outcome, "/dev/video1", 4, 2);
}

/// A shell's redirection gives the writer the device as its standard output, and the reader as its
/// standard input. A pipe cuts frames in pieces.
#[test]
#[ignore = "full: further ways to write"]
fn shell_redirections_carry_frames_in_pieces() {
    if lacks("ffmpeg") {
        return;
    }
    let (first, rest) = (100, 6 * FRAME - 100);
    let source = ffmpeg().replace("-f v4l2 /dev/video0", "-f rawvideo -");
    for writer in ["cat", "dd bs=1088 iflag=fullblock status=none"] {
        let outcome = script(
            "",
            &format!(
                "{{ head -c {first}; head -c {rest}; }} </dev/video1 >got.raw & reader=$!; {}; \
                 {source} | {writer} >/dev/video0 || kill $reader; wait $reader",
                until_read("/dev/video1")
            ),
        );
        outcome.expect_success();
        expect_frames(&outcome, "got.raw", 6);
    }
}

/// Each side streams with its own buffers, so each frame is copied once.
#[test]
fn v4l2_ctl_to_v4l2_ctl_by_mmap() {
    if lacks("v4l2-ctl") {
        return;
    }
    // The writer repeats its file, so a reader that starts late could see its end and then its beginning.
    let text = format!(
        "v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=8 --stream-to=got.raw & {}; \
         v4l2-ctl -d /dev/video0 --stream-out-mmap=4 --stream-from=pattern.raw --stream-loop & writer=$!; \
         wait %1; got=$?; kill $writer; exit $got",
        until_read("/dev/video1")
    );
    let outcome = script("", &text);
    outcome.expect_success();
    expect_frames(&outcome, "got.raw", 8);
    // Only a writer that waits for its newest buffer costs a copy, once for a buffer. How often it waits depends on how
    // busy the machine is. When it is killed, up to four buffers are queued.
    let frame = outcome.read("got.raw").len() as u64 / 8;
    let written = outcome.queue("/dev/video0");
    assert!(written.bytes_copied <= (written.frames + 4) * frame);
    expect_copies(&outcome, "/dev/video1", 8, 1);
}

/// The writer uses a camera's buffers; the only copy goes to the reader's buffers.
fn a_cameras_buffers_are_copied_once(machines: &[&str]) {
    if lacks("gst-launch-1.0") || lacks("v4l2-ctl") {
        return;
    }
    for &machine in machines {
        let run = Run::on(machine)
            .real_time("the reader waits for a writer at work")
            .device(format!("loopback,{}", size_option()))
            .device(format!("camera,format=YUYV,{}", size_option()));
        let (width, height) = crate::common::SIZE;
        let caps = format!("video/x-raw,format=YUY2,width={width},height={height}");
        let text = format!(
            "gst-launch-1.0 -q v4l2src device=/dev/video2 io-mode=dmabuf ! {caps} ! v4l2sink \
             device=/dev/video0 io-mode=dmabuf-import sync=false \
             show-preroll-frame=false & writer=$!; \
             v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=8 --stream-to=got.raw; \
             got=$?; kill $writer; wait $writer; exit $got"
        );
        let outcome = run.program(["sh", "-c", &text]).run();
        outcome.expect_success();
        let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("got.raw"));
        assert_eq!(numbers.len(), 8, "{machine}");
        assert_eq!(outcome.queue("/dev/video0").memory, "dmabuf", "{machine}");
        assert_eq!(outcome.queue("/dev/video0").bytes_copied, 0, "{machine}");
        assert_eq!(outcome.queue("/dev/video2").bytes_copied, 0, "{machine}");
        expect_copies(&outcome, "/dev/video1", 8, 1);
        assert_eq!(outcome.report.total(|q| q.bytes_bounced), 0, "{machine}");
    }
}

/// Writer and reader share buffers, so nothing is copied.
fn shared_buffers_are_passed_on(machines: &[&str]) {
    let Some(program) = compiled("share.c") else {
        return;
    };
    let pattern = recording(&pixfmt::YUYV, COUNT);
    for &machine in machines {
        for owner in ["reader", "writer"] {
            let run = Run::on(machine)
                .real_time("frames pass while both programs wait")
                .device(format!("loopback,{}", size_option()));
            std::fs::write(run.file("pattern.raw"), &pattern).unwrap();
            let run = run.program([&program]);
            let outcome = run.and([owner, &FRAME.to_string()]).run();
            outcome.expect_end();
            // The writer fills buffers that the reader's queue owns, so early accesses are
            // expected.
            let early = &outcome.report.early_accesses;
            let is_meant = |by: &str| ["", "/dev/video0", "/dev/video1"].contains(&by);
            assert!(early.iter().all(|row| is_meant(&row.by)), "{early:?}");
            assert_eq!(
                outcome.stdout,
                format!("{COUNT} frames\n"),
                "{machine}, {owner}"
            );
            assert!(outcome.read("got.raw") == pattern, "{machine}, {owner}");
            let report = &outcome.report;
            assert_eq!(report.total(|q| q.bytes_copied), 0, "{machine}, {owner}");
            assert_eq!(report.total(|q| q.bytes_bounced), 0, "{machine}, {owner}");
            let misses = &report.missing_syncs;
            assert!(misses.is_empty(), "{machine}, {owner}: {misses:?}");
            for node in ["/dev/video0", "/dev/video1"] {
                assert_eq!(
                    outcome.queue(node).frames,
                    u64::from(COUNT),
                    "{machine}, {owner}"
                );
            }
        }
    }
}

/// A reader imports a display's buffers and gets frames in them. The writer's frames are copied
/// there, and the report counts the copies.
#[test]
fn ffmpeg_to_v4l2_ctl_by_dma_buf() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc")
        .device(format!("loopback,{}", size_option()))
        .device(format!("display,format=YUYV,{}", size_option()));
    std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    let text = format!(
        "v4l2-ctl -d /dev/video1 --stream-dmabuf -E /dev/video2 --stream-count=8 \
         --stream-to=got.raw & {}; {}; wait $!",
        until_read("/dev/video1"),
        ffmpeg()
    );
    let outcome = run.program(["sh", "-c", &text]).run();
    outcome.expect_success();
    expect_frames(&outcome, "got.raw", 8);
    expect_copies(&outcome, "/dev/video1", 8, 1);
    assert_eq!(outcome.queue("/dev/video2").bytes_copied, 0);
}

/// Names of formats in ffmpeg. The loopback carries them all, though no other device has most of them.
const FFMPEG_FORMATS: [(&str, &pixfmt::PixelFormat); 12] = [
    ("bgr24", &pixfmt::BGR24),
    ("rgb24", &pixfmt::RGB24),
    ("yuv422p", &pixfmt::YUV422P),
    ("yuv411p", &pixfmt::YUV411P),
    ("yuv410p", &pixfmt::YUV410),
    ("rgb555le", &pixfmt::RGB555),
    ("rgb555be", &pixfmt::RGB555X),
    ("rgb565le", &pixfmt::RGB565),
    ("rgb565be", &pixfmt::RGB565X),
    ("bgra", &pixfmt::ABGR32),
    ("gray", &pixfmt::GREY),
    ("nv12", &pixfmt::NV12),
];

#[test]
#[ignore = "full: all of ffmpeg's formats"]
fn ffmpeg_formats_arrive_byte_for_byte() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let (width, height) = crate::common::SIZE;
    for (name, format) in FFMPEG_FORMATS {
        let run = Run::on("pc").device(format!("loopback,{}", size_option()));
        let layout = format.plane_layout(0, width, height, 0, u32::MAX).unwrap();
        let len = layout.sizeimage as usize;
        let frames: Vec<u8> = (0..len * 8).map(|at| (at / 7 + at / len) as u8).collect();
        std::fs::write(run.file("frames.raw"), &frames).unwrap();
        let code = format.fourcc;
        let text = format!(
            "v4l2-ctl -d /dev/video0 --set-fmt-video-out=width={width},height={height},pixelformat={code}; \
             v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=4 --stream-to=got.raw & {}; \
             ffmpeg -v error -re -stream_loop -1 -f rawvideo -pix_fmt {name} -s {width}x{height} -r 25 \
             -i frames.raw -c copy -f v4l2 /dev/video0 & writer=$!; wait %1; got=$?; kill $writer; \
             wait $writer; exit $got",
            until_read("/dev/video1")
        );
        let outcome = run.program(["sh", "-c", &text]).run();
        outcome.expect_success();
        let got = outcome.read("got.raw");
        assert_eq!(got.len(), 4 * len, "{name}");
        let mut got = got.chunks(len);
        let is_sent = |frame| frames.chunks(len).any(|sent| sent == frame);
        assert!(got.all(is_sent), "{name}");
    }
}

#[test]
fn ffmpeg_to_opencv() {
    let python = "/usr/bin/python3";
    if lacks("ffmpeg") || lacks(python) || (!crate::media::has_opencv() && lacks("python3-opencv"))
    {
        return;
    }
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/opencv.py");
    let (width, height) = crate::common::SIZE;
    let writer = ffmpeg().replace("-re ", "-re -stream_loop -1 ");
    let outcome = script(
        "",
        &format!(
            "{writer} & writer=$!; {python} {program} 6 got.raw {width} {height} /dev/video1; \
             got=$?; kill $writer; wait $writer; exit $got"
        ),
    );
    outcome.expect_success();
    let len = (width * height * 2) as usize;
    let (got, sent) = (outcome.read("got.raw"), recording(&pixfmt::YUYV, COUNT));
    assert_eq!(got.len(), 6 * len);
    for (place, frame) in got.chunks_exact(len).enumerate() {
        let found = sent.chunks_exact(len).any(|sent| sent == frame);
        assert!(found, "frame {place} is none of the writer's");
    }
}

#[test]
fn gstreamer_to_ffmpeg_and_several_readers() {
    if lacks("ffmpeg") || lacks("gst-launch-1.0") || lacks("v4l2-ctl") {
        return;
    }
    let (width, height) = crate::common::SIZE;
    let caps = format!("rawvideoparse format=yuy2 width={width} height={height} framerate=25/1");
    let outcome = script(
        ",readers=2,fps=25",
        &format!(
            "ffmpeg -v error -f v4l2 -i /dev/video1 -frames:v 6 -fps_mode passthrough -c copy \
             -f rawvideo one.raw & one=$!; \
             v4l2-ctl -d /dev/video2 --stream-mmap=4 --stream-count=6 --stream-to=two.raw & two=$!; \
             {}; {}; gst-launch-1.0 -q filesrc location=pattern.raw ! {caps} ! \
             capssetter caps=video/x-raw,colorimetry=bt601 ! \
             v4l2sink device=/dev/video0 sync=true show-preroll-frame=false; wait $one && wait $two",
            until_read("/dev/video1"),
            until_read("/dev/video2"),
        ),
    );
    outcome.expect_success();
    expect_frames(&outcome, "one.raw", 6);
    expect_frames(&outcome, "two.raw", 6);
}

/// The reader has buffers of the first writer's size when the second one sets another.
#[test]
fn a_reader_survives_a_writer_of_another_size() {
    let Some(program) = compiled("frames.c") else {
        return;
    };
    if lacks("ffmpeg") {
        return;
    }
    let writer = |more: &str, size: &str| {
        format!(
            "ffmpeg -v error -re {more} -f rawvideo -pix_fmt bgr24 -s {size} -r 25 -i frames.raw \
             -c copy -f v4l2 /dev/video0"
        )
    };
    let run = Run::on("pc").device("loopback,size=64x48,format=BGR24");
    std::fs::write(run.file("frames.raw"), vec![7; 32 * 24 * 3 * 100]).unwrap();
    let text = format!(
        "{} 40 got.raw /dev/video1 & {}; {}; {} & writer=$!; wait %1; got=$?; kill $writer; \
         wait $writer; exit $got",
        program.display(),
        until_read("/dev/video1"),
        writer("", "64x48"),
        writer("-stream_loop -1", "32x24"),
    );
    let outcome = run.program(["sh", "-c", &text]).run();
    outcome.expect_success();
    let lines = |start: &str| -> Vec<String> {
        let lines = outcome.stdout.lines();
        let found = lines.filter_map(|line| line.strip_prefix(start));
        found.map(str::to_owned).collect()
    };
    assert_eq!(lines("format "), ["64 48", "32 24"], "{}", outcome.stdout);
    assert_eq!(lines("event "), ["5 1 0"], "{}", outcome.stdout);
    let frames = lines("frame ");
    let is_large = |frame: &&String| frame.contains(&format!(" {} 0 ", 64 * 48 * 3));
    let large = frames.iter().take_while(is_large).count();
    assert!((1..=25).contains(&large), "{}", outcome.stdout);
    let small = format!(" {} 0 ", 32 * 24 * 3);
    let all_small = frames[large..].iter().all(|frame| frame.contains(&small));
    assert!(all_small, "{}", outcome.stdout);
}

#[test]
fn a_reader_alone_gets_black_frames() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = script(
        ",placeholder=black",
        "v4l2-ctl -d /dev/video1 --stream-mmap=4 --stream-count=5 --stream-to=got.raw",
    );
    outcome.expect_success();
    let got = outcome.read("got.raw");
    assert_eq!(got.len() as u64, 5 * FRAME);
    assert!(got.chunks(2).all(|bytes| bytes == [16, 128]));
}

#[test]
fn the_writers_format_is_the_readers() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let outcome = script(
        "",
        "v4l2-ctl -d /dev/video0 --set-fmt-video-out=width=64,height=48,pixelformat=MJPG && \
         v4l2-ctl -d /dev/video1 --list-formats-ext",
    );
    outcome.expect_success();
    for wanted in ["'MJPG'", "Size: Discrete 64x48", "(30.000 fps)"] {
        assert!(outcome.stdout.contains(wanted), "{}", outcome.stdout);
    }
    let outcome = script(
        ",exclusive-caps=on",
        "v4l2-ctl -d /dev/video1 --list-formats",
    );
    outcome.expect_success();
    assert!(!outcome.stdout.contains("[0]"), "{}", outcome.stdout);
}

/// Kills each side 200 times, after random numbers of transferred bytes. The other side continues, every
/// frame is complete, and nothing stays held.
#[test]
#[ignore = "full: a storm"]
fn kills_of_either_side() {
    const KILLS: usize = 200;
    let python = "/usr/bin/python3";
    if lacks(python) || lacks("v4l2-ctl") {
        return;
    }
    let frame = crate::common::SIZE.0 * crate::common::SIZE.1 * 2;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/kills.py");
    let run = Run::on("pc").device(format!("loopback,{}", size_option()));
    std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
    let outcome = run
        .program([python, script])
        .and([&KILLS.to_string(), "11", &frame.to_string()])
        .run();
    outcome.expect_success();
    let number = |name: &str| -> usize {
        let mut words = outcome.stdout.split_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap()
    };
    assert_eq!(
        (number("kills"), number("torn")),
        (KILLS, 0),
        "{}",
        outcome.stdout
    );
    assert!(number("writer") > KILLS / 4 && number("reader") > KILLS / 4);
    assert!(number("frames") >= KILLS / 4, "{}", outcome.stdout);
}

#[test]
#[ignore = "full: v4l2-compliance for further nodes"]
fn both_nodes_comply() {
    if lacks("ffmpeg") || lacks("v4l2-compliance") {
        return;
    }
    let total = |outcome: &RunOutput| {
        let line = outcome
            .stdout
            .lines()
            .rfind(|line| line.starts_with("Total for"));
        line.unwrap_or_else(|| panic!("no summary: {}", outcome.stdout))
            .to_owned()
    };
    let run = |device: &str, text: String| {
        let run = Run::on("pc").device(device);
        std::fs::write(run.file("pattern.raw"), recording(&pixfmt::YUYV, COUNT)).unwrap();
        let outcome = run.program(["sh", "-c", &text]).run();
        outcome.expect_nothing_held();
        let total = total(&outcome);
        // On a busy machine, the reader may miss frames.
        let lines = outcome.stdout.lines();
        let missed = lines
            .filter(|line| line.contains("): got sequence number"))
            .count();
        assert!(
            total.contains(&format!("Failed: 0, Warnings: {missed}")),
            "{total}: {}",
            outcome.stdout
        );
    };
    let device = format!("loopback,{}", size_option());
    run(&device, "v4l2-compliance -d /dev/video0 -s".to_owned());
    let writer = ffmpeg().replace("-re ", "-re -stream_loop -1 ");
    run(
        &device,
        format!(
            "{writer} & until v4l2-ctl -d /dev/video1 --stream-mmap --stream-count=1; do :; done; \
             v4l2-compliance -d /dev/video1 -s; kill $!; wait"
        ),
    );
}

crate::common::on_machines! {
    a_cameras_buffers_are_copied_once
    shared_buffers_are_passed_on
}

/// With `pace=real`, a writer that never waits is held to the loopback's rate, also in virtual time.
#[test]
fn a_paced_writer_is_held_to_its_rate() {
    let frame = 64 * 48;
    let text = format!(
        "head -c {} /dev/zero >frames; from=$(date +%s%N); cat frames >/dev/video0; \
         echo $(( ($(date +%s%N) - from) / 1000000 ))",
        40 * frame
    );
    let loopback = "loopback,size=64x48,format=GREY,fps=20";
    let run = |pace: &str, clock: &str| {
        let run = Run::on("pc").device(format!("{loopback}{pace}"));
        let run = run.options(["--clock", clock]);
        let outcome = run.program(["sh", "-c", &text]).run();
        outcome.expect_success();
        let ms: u64 = outcome.stdout.trim().parse().expect("milliseconds");
        (ms, outcome.queue("/dev/video0").span_ns / 1_000_000)
    };
    // The writer does not wait for the last of 40 frames.
    let (ms, _) = run(",pace=real", "real");
    assert!(ms >= 36 * 50, "{ms} ms for 40 frames");
    let (_, span_ms) = run(",pace=real", "virtual");
    assert!((36 * 50..=39 * 50).contains(&span_ms), "{span_ms} ms");
    let (_, span_ms) = run("", "virtual");
    assert!(span_ms < 50, "{span_ms} ms for 40 frames without a pace");
}

/// Frames that a slow reader misses count as lost, so a strict run fails.
#[test]
fn frames_missed_by_a_slow_reader_are_lost() {
    if lacks("v4l2-ctl") {
        return;
    }
    for clock in ["real", "virtual"] {
        // A pipe that nobody reads from takes 21 frames from the reader.
        let text = format!(
            "mkfifo got; exec 3<>got; \
             v4l2-ctl -d /dev/video1 --stream-mmap=1 --stream-to=got 2>/dev/null & \
             {}; head -c {} /dev/zero >/dev/video0; kill $!; wait; true",
            until_read("/dev/video1"),
            100 * 64 * 48
        );
        let run = Run::on("pc").device("loopback,size=64x48,format=GREY");
        let run = run.options(["--clock", clock, "--strict"]);
        let outcome = run.program(["timeout", "60", "sh", "-c", &text]).run();
        let lost = outcome.queue("/dev/video1").lost;
        assert_eq!(outcome.status, 123, "{clock}: {lost} {}", outcome.stderr);
        assert!(lost > 40, "{clock}: {lost}");
        let why = outcome.why();
        assert!(why.contains(&format!("{lost} lost")), "{why}");
    }
}
