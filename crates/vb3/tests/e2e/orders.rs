//! Orders by a run's socket: sources that change, calls that fail, and clients that misbehave.

use crate::common::{Outcome, Run, expect_pattern, ffmpeg_in, lacks, pattern, size_option};
use std::path::Path;
use vb3_v4l2::pixfmt;

fn camera(clock: &str) -> Run {
    Run::on("pc")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .options(["--clock", clock])
}

fn shell(run: Run, script: &str) -> Outcome {
    let script = format!("VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.program(["sh", "-c", &script]).run()
}

fn make_picture(dir: &Path) {
    let words = "-f lavfi -i color=red:size=64x48 -frames:v 1 red.png";
    ffmpeg_in(dir, words.split(' '));
}

#[test]
fn a_source_changes_at_the_sequence_named() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    for clock in ["virtual", "real"] {
        let run = camera(clock);
        make_picture(run.dir.path());
        let outcome = shell(
            run,
            "$VB3 ctl play video0 red.png --sequence 5
             v4l2-ctl --stream-mmap=4 --stream-count=10 --stream-to=frames.raw",
        );
        outcome.expect_success();
        let bytes = outcome.read("frames.raw");
        let len = pattern(&pixfmt::YUYV, 0).bytes().len();
        let frames: Vec<&[u8]> = bytes.chunks_exact(len).collect();
        assert_eq!(frames.len(), 10);
        let old = frames.partition_point(|frame| frame.get(..64) != frames[9].get(..64));
        assert!(
            frames[old..].iter().all(|frame| *frame == frames[9]),
            "{clock}"
        );
        let shown = expect_pattern(&pixfmt::YUYV, &bytes[..old * len]);
        assert!(shown.iter().all(|number| *number < 5), "{clock}: {shown:?}");
        if clock == "virtual" {
            assert_eq!(shown, [0, 1, 2, 3, 4]);
        }
    }
}

#[test]
fn a_paused_source_shows_one_picture() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        camera("virtual"),
        "$VB3 ctl pause 0; v4l2-ctl --stream-mmap=4 --stream-count=3 --stream-to=frames.raw
         $VB3 ctl resume 0; v4l2-ctl --stream-mmap=4 --stream-count=3 --stream-to=more.raw",
    );
    outcome.expect_success();
    let still = outcome.read("frames.raw");
    let len = pattern(&pixfmt::YUYV, 0).bytes().len();
    for frame in still.chunks_exact(len) {
        assert_eq!(expect_pattern(&pixfmt::YUYV, frame), [0]);
    }
    assert_eq!(
        expect_pattern(&pixfmt::YUYV, &outcome.read("more.raw")),
        [0, 1, 2]
    );
}

#[test]
fn orders_reach_calls_controls_and_the_clock() {
    if lacks("v4l2-ctl") {
        return;
    }
    let outcome = shell(
        camera("virtual"),
        "$VB3 ctl fail video0 STREAMON EIO
         v4l2-ctl --stream-mmap=4 --stream-count=1 2>&1 | grep -o 'STREAMON returned.*'
         $VB3 ctl --json set video0 brightness 7
         v4l2-ctl -C brightness
         $VB3 ctl set video0 shine 1; echo $?
         v4l2-ctl --stream-mmap=4 --stream-count=3 --stream-to=/dev/null
         $VB3 ctl --json wait video0 2
         $VB3 ctl signal video0 lost; v4l2-ctl -I | grep -o 'no signal'; $VB3 ctl signal video0 back
         before=$($VB3 ctl --json list | grep -oE '\"time_ns\":[0-9]+' | cut -d: -f2)
         after=$($VB3 ctl --json advance 2s | grep -oE '\"time_ns\":[0-9]+' | cut -d: -f2)
         test $((after - before)) -ge 2000000000 && $VB3 ctl list",
    );
    outcome.expect_success();
    assert_eq!(
        outcome.stdout,
        "STREAMON returned -1 (Input/output error)\n{\"ok\":true,\"value\":7}\nbrightness: 7\n125\n\
         {\"frames\":3,\"ok\":true}\nno signal\n/dev/video0 plugged camera\n",
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stderr
            .contains("no control \"shine\"; it has brightness"),
        "{}",
        outcome.stderr
    );
}

/// Sends random lines, half lines and unread orders from many clients, and waits beside them.
const HOSTILE: &str = r#"
import json, os, random, socket, sys
random.seed(5)
def client():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(os.environ["VB3_CONTROL"])
    return s
words = [b'{', b'}', b'"do"', b':', b'"state"', b'"wait"', b',', b'"device"', b'0', b'[', b'\xff', b'\n']
held = []
for _ in range(200):
    s = client()
    try:
        for _ in range(50):
            s.sendall(b''.join(random.choice(words) for _ in range(random.randrange(20))) + b'\n')
        s.sendall(b'{"do":"wait","device":0,"frame":4000000}\n{"do":')
    except OSError:
        pass
    held.append(s)
    held = held[-30:]
s = client()
f = s.makefile("rw")
for id in range(1000):
    f.write(json.dumps({"do": "state", "id": id}) + "\n")
    f.flush()
    answer = json.loads(f.readline())
    assert answer["ok"] and answer["id"] == id, answer
f.write('{"do":"state","id":"a"}\n{"do":"fly","id":"b"}\n')
f.flush()
assert json.loads(f.readline())["id"] == "a"
assert json.loads(f.readline())["error"]["field"] == "do"
print("answered")
"#;

#[test]
fn hostile_clients_delay_no_other() {
    if lacks("python3") {
        return;
    }
    let outcome = camera("real").program(["python3", "-c", HOSTILE]).run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, "answered\n", "{}", outcome.stderr);
}
