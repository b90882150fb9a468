//! Orders that a run's socket receives: changes of sources, failing calls, and clients that misbehave.

use crate::common::{
    Run, RunOutput, expect_pattern, ffmpeg_in, finish, lacks, pattern, size_option,
};
use crate::swap;
use std::path::Path;
use vb3_v4l2::pixfmt;

fn camera(clock: &str) -> Run {
    Run::on("pc")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .options(["--clock", clock])
}

fn shell(run: Run, script: &str) -> RunOutput {
    let script = format!("VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.program(["sh", "-c", &script]).run()
}

fn make_picture(dir: &Path) {
    let words = "-f lavfi -i color=red:size=64x48 -frames:v 1 red.png";
    ffmpeg_in(dir, words.split(' '));
}

/// Returns the sequence numbers that `v4l2-ctl --verbose` prints.
fn sequences(printed: &str) -> Vec<u32> {
    let after = printed.lines().filter_map(|line| line.split_once("seq:"));
    let numbers = after.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    numbers.collect()
}

/// Checks frames of the pattern up to `first`, and of a still picture from there on.
fn expect_change(outcome: &RunOutput, first: u32) {
    let bytes = outcome.read("frames.raw");
    let len = pattern(&pixfmt::YUYV, 0).bytes().len();
    let frames: Vec<&[u8]> = bytes.chunks_exact(len).collect();
    let sequences = sequences(&String::from_utf8_lossy(&outcome.read("log")));
    // A killed program may not have written its last frame.
    let still = frames.last().unwrap();
    assert!(
        frames.len().abs_diff(sequences.len()) <= 1,
        "{}",
        outcome.stderr
    );
    assert!(sequences[frames.len() - 2] > first, "{sequences:?}");
    for (frame, sequence) in frames.iter().zip(&sequences) {
        if *sequence < first {
            assert_eq!(expect_pattern(&pixfmt::YUYV, frame), [*sequence]);
        } else {
            assert!(frame == still, "frame {sequence} is another picture");
        }
    }
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
             v4l2-ctl --stream-mmap=4 --stream-count=10 --stream-to=frames.raw --verbose >log 2>&1",
        );
        outcome.expect_success();
        expect_change(&outcome, 5);
    }
}

#[test]
fn a_running_source_changes_at_its_sequence() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let run = camera("real");
    make_picture(run.dir.path());
    // A busy machine may open the picture after the frame. Then the order is refused.
    let outcome = shell(
        run,
        "v4l2-ctl --stream-mmap=16 --stream-to=frames.raw --verbose >log 2>&1 &
         $VB3 ctl wait video0 5
         for first in 40 80 160 320 640 1280; do
             $VB3 ctl play video0 red.png --sequence $first && break
         done
         echo $first; $VB3 ctl wait video0 $((first + 40)); kill $!",
    );
    let first = outcome.stdout.trim().parse().expect(&outcome.stderr);
    expect_change(&outcome, first);
}

#[test]
fn a_display_shows_its_last_recorded_picture() {
    if lacks("v4l2-ctl") {
        return;
    }
    let display = format!("display=record.yuv,format=YUYV,{}", size_option());
    let outcome = shell(
        camera("virtual").device(display),
        "$VB3 ctl shown video1; echo $?
         v4l2-ctl -d1 --stream-out-mmap --stream-count=9 >&2
         $VB3 ctl shown video1 shown.raw; $VB3 ctl shown video1 shown.png",
    );
    outcome.expect_success();
    let shown = outcome.read("shown.raw");
    let recorded = outcome.read("record.yuv");
    assert!(recorded.ends_with(&shown) && !shown.is_empty());
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "1", "{}", outcome.stderr);
    assert!(lines[1].contains("format=YUYV"), "{lines:?}");
    assert_eq!(lines[1], lines[2]);
    assert!(outcome.read("shown.png").starts_with(b"\x89PNG"));
    assert!(outcome.stderr.contains("has shown nothing yet"));
}

#[test]
fn a_watcher_prints_the_frames_of_a_stream() {
    if lacks("v4l2-ctl") {
        return;
    }
    // In real time, frames without a buffer are lost, and the sequence has gaps.
    let outcome = shell(
        camera("virtual"),
        "v4l2-ctl --stream-mmap >/dev/null 2>&1 &
         $VB3 ctl watch frame --device video0 --count 3; $VB3 ctl --json watch --count 1; kill $!",
    );
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [frames @ .., json] = &lines[..] else {
        panic!("{}", outcome.stderr)
    };
    let field = |line: &str, name: &str| -> u64 {
        let (_, value) = line.split_once(&format!(" {name}=")).expect(line);
        value.split(' ').next().unwrap().parse().expect(line)
    };
    let first = field(frames[0], "frame");
    for (line, number) in frames.iter().zip(first..) {
        assert!(line.starts_with("frame device=/dev/video0 "), "{line}");
        assert_eq!(field(line, "frame"), number);
        assert_eq!(field(line, "sequence"), number);
    }
    assert_eq!(frames.len(), 3);
    assert!(
        json.starts_with("{\"device\":\"/dev/video0\",\"event\":\"frame\""),
        "{json}"
    );
}

/// Swaps the picture, lets two seconds pass, unplugs the camera, and prints what the display showed.
const VIEWER: &str = r#"
checksum() { grep -o 'checksum=[0-9a-f]*'; }
$VB3 ctl shown video1 2>/dev/null
gst-launch-1.0 -q v4l2src device=/dev/video0 ! v4l2sink device=/dev/video1 sync=false >&2 &
viewer=$!
$VB3 ctl wait video1 10; before=$($VB3 ctl shown video1 | checksum)
$VB3 ctl play video0 red.png; frames=$($VB3 ctl --json wait video1 0 | grep -o '[0-9]*')
$VB3 ctl wait video1 $((frames + 30)); red=$($VB3 ctl shown video1 shown.raw | checksum)
$VB3 ctl advance 2s; later=$($VB3 ctl shown video1 | checksum)
test "$before" != "$red" && echo swapped
test "$later" = "$red" && echo kept
$VB3 ctl unplug video0; wait $viewer; echo $?
"#;

#[test]
fn a_shell_script_tests_a_viewer() {
    if lacks("ffmpeg") || lacks("gst-launch-1.0") {
        return;
    }
    let run = camera("virtual").device("display=null");
    make_picture(run.dir.path());
    let outcome = shell(run, VIEWER);
    assert_eq!(outcome.stdout, "swapped\nkept\n1\n", "{}", outcome.stderr);
    let shown = outcome.read("shown.raw");
    assert!(!shown.is_empty() && shown.chunks(4).all(|pixels| pixels == &shown[..4]));
}

/// Sends orders that are refused, during a stream. Prints the field and the message of each answer.
const BAD_ORDERS: &str = r#"
import json, os, socket, subprocess
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["VB3_CONTROL"])
f = s.makefile("rw")
def ask(**order):
    f.write(json.dumps({**order, "device": 0} if "do" in order else order) + "\n")
    f.flush()
    return json.loads(f.readline())
open("text", "w").write("no picture\n")
stream = subprocess.Popen(["v4l2-ctl", "--stream-mmap", "--stream-to=/dev/null"], stderr=2, stdout=2)
assert ask(do="wait", frame=5)["ok"]
for order in [
    {"do": "play", "source": os.path.abspath("text")},
    {"do": "play", "source": "/no/such/file"},
    {"do": "play", "source": os.getcwd()},
    {"do": "play", "source": "pattern", "sequence": 2},
    {"do": "play", "source": "pattern", "sequence": -1},
    {"do": "wait", "frame": -5},
    {"do": "fly"},
    {"do": "pause", "version": 2},
]:
    error = ask(**order)["error"]
    print(error["field"], error["message"], sep=": ")
s.sendall(b'{"do":"advance","ns":-1}\n{"do":"advance","ns":0}\nplug\n')
for _ in range(3):
    error = json.loads(f.readline())["error"]
    print(error["field"], error["message"], sep=": ")
# The camera still plays, and takes the next order.
assert ask(do="play", source="pattern")["ok"]
stream.terminate()
stream.wait()
"#;

#[test]
fn a_refused_order_names_field_and_values() {
    if lacks("python3") || lacks("v4l2-ctl") || lacks("ffmpeg") {
        return;
    }
    let outcome = camera("virtual")
        .program(["python3", "-c", BAD_ORDERS])
        .run();
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let play = "camera= plays a local video or picture file";
    let expected = [
        ("source: ffmpeg finds no video in ", play),
        ("source: cannot read ", "check the path"),
        ("source: ", play),
        ("sequence: this frame is over", "next frame is "),
        ("sequence: ", "from 0 to 4294967295"),
        ("frame: ", "from 0 to"),
        ("do: there is no order \"fly\"", "state, buffers, plug"),
        ("version: ", "version 1"),
        ("ns: ", "from 1 to"),
        ("ns: ", "from 1 to"),
        (": this is not JSON", ""),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, (field, allowed)) in lines.iter().zip(expected) {
        assert!(line.starts_with(field) && line.contains(allowed), "{line}");
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
fn a_reset_camera_is_as_at_the_start() {
    if lacks("ffmpeg") || lacks("v4l2-ctl") {
        return;
    }
    let run = camera("virtual");
    make_picture(run.dir.path());
    let outcome = shell(
        run,
        "get() { v4l2-ctl -C brightness; v4l2-ctl --stream-mmap --stream-count=1 --stream-to=$1; }
         get before.raw
         $VB3 ctl play video0 red.png; $VB3 ctl pause video0; $VB3 ctl set video0 brightness 7
         $VB3 ctl fail video0 STREAMON EIO 9; $VB3 ctl signal video0 lost; $VB3 ctl unplug video0
         $VB3 ctl reset video0; v4l2-ctl -I | grep -o 'Camera.*'; get after.raw; $VB3 ctl reset video9; echo $?",
    );
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [before, input, after, refused] = lines[..] else {
        panic!("{lines:?} {}", outcome.stderr)
    };
    assert_eq!((before, refused), (after, "1"), "{}", outcome.stderr);
    assert!(!input.contains("no signal"), "{input}");
    for name in ["before.raw", "after.raw"] {
        // A frame of the pattern, not of the picture.
        assert_eq!(expect_pattern(&pixfmt::YUYV, &outcome.read(name)).len(), 1);
    }
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
         $VB3 ctl set --json video0 brightness 7
         $VB3 ctl set video0 brightness 999
         v4l2-ctl -C brightness
         $VB3 ctl set video0 shine 1; echo $?
         $VB3 ctl --json unplug video9 >refused.json; echo $?; grep -c error refused.json
         v4l2-ctl --stream-mmap=4 --stream-count=3 --stream-to=/dev/null
         $VB3 ctl --json wait video0 2
         $VB3 ctl signal video0 lost; v4l2-ctl -I | grep -o 'no signal'; $VB3 ctl signal video0 back
         before=$($VB3 ctl --json state | grep -oE '\"time_ns\":[0-9]+' | cut -d: -f2)
         after=$($VB3 ctl --json advance 2s | grep -oE '\"time_ns\":[0-9]+' | cut -d: -f2)
         test $((after - before)) -ge 2000000000 && $VB3 ctl state",
    );
    outcome.expect_success();
    assert_eq!(
        outcome.stdout,
        "STREAMON returned -1 (Input/output error)\n{\"ok\":true,\"value\":7}\nbrightness is 255, the nearest value to 999\nbrightness: 255\n1\n1\n1\n\
         {\"frames\":3,\"ok\":true}\nno signal\n/dev/video0 plugged camera\n",
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stderr
            .contains("has no control \"shine\". It has brightness"),
        "{}",
        outcome.stderr
    );
}

/// Sends random lines, half lines and unread orders from many clients during a stream. Prints how much memory
/// the run gained, and the number of the frame from which on the stream had priority over all other programs (-1 if
/// the test may not set priorities).
const HOSTILE: &str = r#"
import json, os, random, socket, subprocess, sys
random.seed(5)
def client():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(os.environ["VB3_CONTROL"])
    return s
def pages():
    return int(open(f"/proc/{os.getppid()}/statm").read().split()[1])
words = [b'{', b'}', b'"do"', b':', b'"state"', b'"wait"', b',', b'"device"', b'0', b'[', b'\xff']
def line():
    return b''.join(random.choice(words) for _ in range(random.randrange(20))) + b'\n'
def rude(s):
    # Reads nothing, and breaks off in the middle of a line.
    s.setblocking(False)
    try:
        s.sendall(b'{"do":"state"}\n' * 100)
        s.sendall(b'{"do":"wait","device":0,"frame":4000000}\n{"do":')
    except OSError:
        pass
log = open("log", "w")
stream = subprocess.Popen(["v4l2-ctl", "--stream-mmap=32", "--verbose"], stderr=log, stdout=log)
try:
    # Before all other programs of the machine.
    for task in os.listdir(f"/proc/{os.getppid()}/task") + [stream.pid]:
        os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))
    is_first = True
except PermissionError:
    is_first = False
s = client()
s.sendall(b'{"do":"state"}\n')
first = json.loads(s.makefile().readline())["devices"][0]["frames"] + 10
s.sendall(b'{"do":"wait","device":0,"frame":%d}\n' % first)
assert json.loads(s.makefile().readline())["ok"]
held = []
def batch(lines):
    s = client()
    f = s.makefile("rb")
    for _ in range(lines // 100):
        s.sendall(b''.join(line() for _ in range(100)))
        for _ in range(100):
            assert f.readline().endswith(b'\n')
for round in range(int(sys.argv[1])):
    batch(1000)
    s = client()
    rude(s)
    # Every other client disconnects while its order waits.
    held.append(s) if round % 2 else s.close()
    if round == 20:
        before = pages()
everyone = [client() for _ in range(100)]
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
print((pages() - before) * os.sysconf("SC_PAGESIZE"), first if is_first else -1)
stream.terminate()
stream.wait()
"#;

/// Largest growth of the run while most of the hostile clients come and go.
const MAX_GROWTH: i64 = 16 << 20;

#[test]
#[ignore = "full: a storm"]
fn hostile_clients_delay_no_other() {
    if lacks("python3") || lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc").device(format!("camera=pattern,fps=60,{}", size_option()));
    let outcome = run.program(["python3", "-c", HOSTILE, "100"]).run();
    outcome.expect_success();
    let (growth, first) = outcome
        .stdout
        .trim()
        .split_once(' ')
        .expect(&outcome.stderr);
    let (growth, first): (i64, i64) = (growth.parse().unwrap(), first.parse().unwrap());
    assert!(growth < MAX_GROWTH, "{growth} bytes");
    let sequences = sequences(&String::from_utf8_lossy(&outcome.read("log")));
    let Ok(first) = u32::try_from(first) else {
        vb3_skip::skip("only root can keep other programs from delaying the camera");
        return;
    };
    let later: Vec<u32> = sequences.into_iter().filter(|at| *at >= first).collect();
    assert!(later.len() > 10, "{later:?}");
    assert!(
        later.windows(2).all(|two| two[1] == two[0] + 1),
        "{later:?}"
    );
}

/// Connects as another user. Prints the answer, or why there is none.
const OTHER_USER: &str = r#"
import os, socket
path = os.environ["VB3_CONTROL"]
os.chmod(path, 0o777)
os.chmod(os.path.dirname(path), 0o755)
os.setgid(65534)
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
try:
    s.sendall(b'{"do":"state"}\n')
    print("answer", s.recv(100))
except OSError as e:
    print("answer", b"")
"#;

#[test]
fn another_user_gets_no_answer() {
    if lacks("python3") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        vb3_skip::skip("only root can become another user");
        return;
    }
    let run = camera("real");
    let socket = run.file("socket");
    let run = run.options([std::ffi::OsStr::new("--control"), socket.as_os_str()]);
    let outcome = run.program(["python3", "-c", OTHER_USER]).run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, "answer b''\n", "{}", outcome.stderr);
}

#[test]
fn readme_of_the_crate_has_a_test() {
    let readme = include_str!("../../../client/README.md");
    let (_, test) = include_str!("swap.rs").split_once("\n\n").unwrap();
    assert!(readme.contains(&test.replace("pub(crate) fn", "#[test]\nfn")));
    if !lacks("gst-launch-1.0") && !lacks("ffmpeg") {
        let dir = crate::common::tempdir();
        let test = std::env::current_exe().unwrap();
        let mut command = crate::surroundings::command(test, dir.path());
        command
            .args(["orders::test_of_the_readme", "--exact", "--ignored"])
            .env("VB3", env!("CARGO_BIN_EXE_vb3"))
            .env(SURROUNDED, "1");
        let (status, said, _) = finish(&mut command, dir.path());
        assert!(status == 0 && said.contains("1 passed"), "{said}");
    }
}

/// Environment variable that says that the test runs in the environment that another test prepared.
const SURROUNDED: &str = "VB3_SURROUNDED";

#[test]
#[ignore = "the test above runs it in an environment of its own"]
fn test_of_the_readme() {
    if std::env::var_os(SURROUNDED).is_some() {
        swap::viewer_follows_the_camera().unwrap();
    }
}
