//! Clips as a camera's source: their ends, exact loops, and files that are not clips.

use crate::common::{Run, RunOutput, compiled, ffmpeg_in, finish, lacks, vb3};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

const FRAME_BYTES: usize = 64 * 48 * 2;

/// Makes a lossless `clip.mkv` of `count` pictures of 64x48, 30 per second.
fn make_clip(dir: &Path, count: usize) {
    let words = format!("-f lavfi -i testsrc2=size=64x48:rate=30 -frames:v {count} -c:v ffv1");
    ffmpeg_in(dir, words.split(' ').chain(["clip.mkv"]));
}

/// Returns the pictures of `clip.mkv` as a camera delivers them.
fn pictures(dir: &Path) -> Vec<u8> {
    let words = "-i clip.mkv -vf scale=64:48:out_color_matrix=bt601:out_range=tv -f rawvideo \
                 -pix_fmt yuyv422 -";
    ffmpeg_in(dir, words.split(' '))
}

/// Lets v4l2-ctl request 50 frames of a clip of 20, with a virtual clock.
fn streamed(options: &str) -> RunOutput {
    let run = Run::on("pc")
        .device(format!("camera=clip.mkv{options}"))
        .options(["--clock", "virtual"]);
    make_clip(run.dir.path(), 20);
    run.program(["v4l2-ctl", "-d", "/dev/video0", "--stream-mmap=4"])
        .and(["--stream-count=50", "--stream-to=frames.raw"])
        .run()
}

#[test]
fn the_end_of_a_clip_is_the_users_choice() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    for (options, frames, wanted) in [
        ("", 50, Some(0)),
        (",end=loop", 50, Some(0)),
        (",end=hold", 50, Some(0)),
        (",end=stop", 20, None),
        (",end=unplug", 20, None),
    ] {
        let outcome = streamed(options);
        outcome.expect_nothing_held();
        let sent = pictures(outcome.dir.path());
        let sent: Vec<&[u8]> = sent.chunks_exact(FRAME_BYTES).collect();
        let bytes = outcome.read("frames.raw");
        assert_eq!(bytes.len(), frames * FRAME_BYTES, "{options}");
        for (number, frame) in bytes.chunks_exact(FRAME_BYTES).enumerate() {
            let picture = match options {
                ",end=hold" => number.min(19),
                _ => number % 20,
            };
            assert!(*frame == *sent[picture], "{options}: frame {number}");
        }
        if let Some(status) = wanted {
            assert_eq!(outcome.status, status, "{options}");
            assert!(!outcome.stderr.contains("vb3:"), "{}", outcome.stderr);
        }
        assert_eq!(outcome.queue("/dev/video0").dropped, 0, "{options}");
    }
}

/// The report waits for ffmpeg, which still runs when the program has ended.
#[test]
#[ignore = "full: twenty runs"]
fn a_clip_that_was_playing_holds_nothing() {
    if lacks("ffmpeg") {
        return;
    }
    for _ in 0..20 {
        let run = Run::on("pc")
            .device("camera=clip.mkv")
            .options(["--clock", "virtual"]);
        make_clip(run.dir.path(), 20);
        let outcome = run.program(["head", "-c", "100", "/dev/video0"]).run();
        outcome.expect_success();
        outcome.expect_nothing_held();
    }
}

#[test]
fn a_stopped_stream_is_eio_and_one_line() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let outcome = streamed(",end=stop");
    assert!(
        outcome.stderr.contains("Input/output error"),
        "{}",
        outcome.stderr
    );
    let lines = outcome.stderr.lines();
    let lines: Vec<&str> = lines.filter(|line| line.starts_with("vb3: ")).collect();
    let [line] = lines[..] else {
        panic!("{lines:?}")
    };
    let wanted = "vb3: /dev/video0: clip.mkv ended after 20 frames, and the stream with it";
    assert!(line.starts_with(wanted), "{line}");
    let outcome = streamed(",end=unplug");
    assert!(
        outcome.stderr.contains("No such device"),
        "{}",
        outcome.stderr
    );
    let notes = &outcome.report.notes;
    let unplugged = |note: &String| note.starts_with("/dev/video0 was unplugged once");
    assert!(notes.iter().any(unplugged), "{notes:?}");
}

#[test]
fn a_still_picture_is_an_endless_camera() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    for name in ["still.png", "still.jpg", "dot.png"] {
        let run = Run::on("pc")
            .device(format!("camera={name}"))
            .options(["--clock", "virtual"]);
        let size = if name == "dot.png" { "1:1" } else { "64:48" };
        let words = format!("-f lavfi -i color=red -vf scale={size} -frames:v 1 {name}");
        ffmpeg_in(run.dir.path(), words.split(' '));
        let outcome = run
            .program(["v4l2-ctl", "-d", "/dev/video0", "--stream-mmap=4"])
            .and(["--stream-count=100", "--stream-to=frames.raw"])
            .run();
        outcome.expect_success();
        let queue = outcome.queue("/dev/video0");
        assert_eq!((queue.frames, queue.dropped), (100, 0), "{name}");
        assert_eq!(queue.span_ns, 99 * 33_333_333, "{name}: 30 a second");
        let frames = outcome.read("frames.raw");
        let len = frames.len() / 100;
        let (first, rest) = frames.split_at(len);
        assert!(rest.chunks_exact(len).all(|frame| frame == first), "{name}");
    }
}

/// Runs `vb3` with a source that it must refuse immediately, and returns its message.
fn refused(dir: &Path, source: &OsStr) -> String {
    let mut device = OsString::from("camera=");
    device.push(source);
    let mut command = vb3(dir);
    command.args(["run", "--device"]).arg(device);
    let (status, _, said) = finish(command.args(["--", "true"]), dir);
    assert!(status == 125 || status == 2, "{source:?}: {status} {said}");
    said
}

#[test]
fn invalid_clips_are_refused_with_allowed_ones() {
    if lacks("ffmpeg") {
        return;
    }
    let dir = crate::common::tempdir();
    let dir = dir.path();
    make_clip(dir, 5);
    ffmpeg_in(dir, "-i clip.mkv -c:v mpeg4 whole.mp4".split(' '));
    let whole = std::fs::read(dir.join("whole.mp4")).unwrap();
    std::fs::write(dir.join("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(dir.join("empty.mp4"), "").unwrap();
    std::fs::write(dir.join("text.mp4"), "not a clip\n").unwrap();
    std::fs::write(dir.join("notes.txt"), "not a clip\n").unwrap();
    ffmpeg_in(dir, "-f lavfi -i sine=duration=1 tone.wav".split(' '));
    std::fs::create_dir(dir.join("clips")).unwrap();
    let made = Command::new("mkfifo").arg(dir.join("pipe")).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("missing.mp4", dir.join("dangling")).unwrap();
    let plays = "camera= plays a local video or picture file";
    for (source, what, allowed) in [
        ("empty.mp4", "empty.mp4 is empty", plays),
        ("text.mp4", "no video in text.mp4 (", plays),
        ("notes.txt", "no video in notes.txt", plays),
        ("cut.mp4", "no video in cut.mp4 (moov atom not found", plays),
        ("tone.wav", "no video in tone.wav", plays),
        ("clips", "clips is a directory", plays),
        (".", ". is a directory", plays),
        ("pipe", "pipe is a named pipe", plays),
        ("/dev/zero", "/dev/zero is a device", plays),
        (
            "missing.mp4",
            "cannot read missing.mp4: No such file",
            "camera=pattern",
        ),
        (
            "dangling",
            "cannot read dangling: No such file",
            "camera=pattern",
        ),
        (
            "empty.mp4/a",
            "cannot read empty.mp4/a: Not a directory",
            "camera=pattern",
        ),
        ("http://host/clip.mp4", "is an address", "download it first"),
        ("https://host/a.png?b", "is an address", "curl -LO"),
        ("rtsp://host:554/cam", "is an address", "ffmpeg -i ADDRESS"),
    ] {
        let said = refused(dir, OsStr::new(source));
        assert_eq!(said.lines().count(), 1, "{source}: {said}");
        assert!(
            said.contains(what) && said.contains(allowed),
            "{source}: {said}"
        );
    }
    // A SPEC must be UTF-8.
    let said = refused(dir, &OsString::from_vec(b"clip\xff.mkv".to_vec()));
    assert!(
        said.contains("clip\\xFF.mkv\" is not UTF-8") && said.contains("ln -s"),
        "{said}"
    );
}

/// The user has no permission to read the file.
#[test]
fn an_unreadable_clip_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = crate::common::tempdir();
    let path = dir.path().join("secret.mp4");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        vb3_skip::elsewhere("this user can read every file");
        return;
    }
    let said = refused(dir.path(), OsStr::new("secret.mp4"));
    assert!(
        said.contains("cannot read secret.mp4: Permission denied"),
        "{said}"
    );
}

#[test]
fn a_clip_that_ends_early_plays_what_it_has() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc")
        .device("camera=cut.mkv,end=stop")
        .options(["--clock", "virtual"]);
    let dir = run.dir.path();
    make_clip(dir, 50);
    let whole = std::fs::read(dir.join("clip.mkv")).unwrap();
    std::fs::write(dir.join("cut.mkv"), &whole[..whole.len() / 2]).unwrap();
    let outcome = run
        .program(["v4l2-ctl", "-d", "/dev/video0", "--stream-mmap=4"])
        .and(["--stream-count=50", "--stream-to=frames.raw"])
        .run();
    let frames = outcome.read("frames.raw").len() / FRAME_BYTES;
    assert!((5..50).contains(&frames), "{frames}");
    assert!(outcome.stderr.contains("cut.mkv"), "{}", outcome.stderr);
}

/// Returns the lines of the small client: for each frame its sequence, bytes, error and time since
/// the first frame.
fn seen(outcome: &RunOutput) -> Vec<String> {
    let mut start = None;
    let mut line = |line: &str| {
        let Some(frame) = line.strip_prefix("frame ") else {
            return line.to_owned();
        };
        let numbers: Vec<i64> = frame.split(' ').map(|n| n.parse().unwrap()).collect();
        let time = numbers[4] - *start.get_or_insert(numbers[4]);
        format!("frame {:?} {time}", &numbers[..3])
    };
    // "silence" depends on the system's clock, so it is left out.
    let lines = outcome.stdout.lines().filter(|line| *line != "silence");
    let mut lines: Vec<String> = lines.map(&mut line).collect();
    lines.dedup();
    lines
}

/// Each shipped script delivers the same frames with a clip as with the pattern, and each run is
/// equal byte for byte.
#[test]
#[ignore = "full: plays all scripts again"]
fn shipped_scripts_are_the_same_with_a_clip() {
    if lacks("ffmpeg") {
        return;
    }
    let Some(client) = compiled("frames.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let clip = dir.path().join("clip.mkv");
    make_clip(dir.path(), 25);
    for (script, _) in vb3_run::script::SHIPPED {
        let run = |source: &str| {
            let run = Run::on("soc-cma")
                .device(format!("camera={source},size=64x48,fps=30"))
                .options(["--clock", "virtual", "--script", script]);
            let run = run.program([client.as_os_str()]);
            run.and(["360", "/dev/null"]).run()
        };
        let wanted = seen(&run("pattern"));
        assert!(wanted.len() > 250, "{script}: {wanted:?}");
        let clip = clip.to_str().unwrap();
        let mut report: Option<String> = None;
        for number in 0..4 {
            let outcome = run(clip);
            assert_eq!(seen(&outcome), wanted, "{script}, run {number}");
            let text = String::from_utf8(outcome.read("report.json")).unwrap();
            // The path of the run's directory differs.
            let own = outcome.dir.path().to_str().unwrap();
            let text = text.replace(own, "DIR");
            let first = report.get_or_insert_with(|| text.clone());
            assert!(*first == text, "{script}, run {number}: {first}\n{text}");
        }
    }
}
