//! Tests orders and events by a client of the socket.

use super::*;
use crate::control::Control;
use crate::orders::schema::check;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

/// Bytes of a picture of 16x8 pixels in YUYV.
const BYTES: u32 = 16 * 8 * 2;
const DISPLAY: &str = "display,size=16x8,format=YUYV,pace=free";
const MAX_TICKS: u32 = 10_000;
const POLLIN: i16 = 1;

pub(super) struct Client {
    lines: BufReader<UnixStream>,
}

impl Client {
    pub(super) fn new(bench: &mut Bench) -> Self {
        let stream =
            UnixStream::connect(bench.run.orders.control.as_ref().unwrap().path()).unwrap();
        stream.set_nonblocking(true).unwrap();
        bench.run.orders.may_accept = true;
        bench.run.tick();
        let lines = BufReader::new(stream);
        Self { lines }
    }

    /// Ends the connection, also if a process that is just being started has a copy of the socket.
    pub(super) fn hang_up(self) {
        let stream = self.lines.into_inner();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    pub(super) fn send(&mut self, order: &Value) {
        writeln!(self.lines.get_mut(), "{order}").unwrap();
    }

    /// Returns the next line that has come.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(_) => {
                let line = serde_json::from_str(&line).unwrap();
                let is_event = Value::get(&line, "event").is_some();
                check(&line, if is_event { "event" } else { "answer" }).unwrap();
                Some(line)
            }
            Err(_) => None,
        }
    }

    fn ask(&mut self, bench: &mut Bench, order: &Value) -> Value {
        self.send(order);
        let answer = self.answer(bench);
        if answer["ok"] == true {
            check(order, "order").unwrap();
            check(
                &answer,
                &format!("answer.{}", order["do"].as_str().unwrap()),
            )
            .unwrap();
        }
        answer
    }

    /// Ticks until the next line comes.
    fn answer(&mut self, bench: &mut Bench) -> Value {
        for _ in 0..MAX_TICKS {
            bench.run.tick();
            if let Some(line) = self.line() {
                return line;
            }
            std::thread::yield_now();
        }
        panic!("no line came");
    }
}

/// A run with a socket.
fn controlled(specs: &[&str]) -> (Bench, tempfile::TempDir) {
    let mut bench = Bench::new("pc", specs);
    let dir = control(&mut bench);
    (bench, dir)
}

/// Opens the run's socket.
pub(super) fn control(bench: &mut Bench) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let control = Control::open_at(&dir.path().join("socket")).unwrap();
    bench.run.set_control(control);
    dir
}

/// Writes one byte all over a buffer of a display.
fn fill(bench: &mut Bench, display: FileId, index: u32, byte: u8) {
    let mut arg = Bench::buffer(OUTPUT, MMAP, index);
    bench.try_ioctl(display, VIDIOC_QUERYBUF, &mut arg).unwrap();
    let args = Mmap {
        offset: arg.u32(offset_of!(v4l2_buffer, m)).into(),
        len: PAGE_SIZE,
        prot: 3,
        flags: 1,
    };
    let map = bench
        .run
        .mmap(display, &args, bench.program.origin())
        .unwrap();
    let file = File::from(map.fd);
    file.write_all_at(&[byte; BYTES as usize], map.offset)
        .unwrap();
    bench.run.tag_ended(map.tag);
}

fn queue(bench: &mut Bench, display: FileId, index: u32) {
    let mut arg = Bench::buffer(OUTPUT, MMAP, index);
    let at = offset_of!(v4l2_buffer, bytesused);
    arg.0[at..at + 4].copy_from_slice(&BYTES.to_ne_bytes());
    bench.ioctl(display, VIDIOC_QBUF, arg);
}

fn checksum(byte: u8) -> String {
    let frame = vb3_picture::Frame::from_bytes(
        &vb3_v4l2::pixfmt::YUYV,
        vb3_picture::Size::new(16, 8).unwrap(),
        vec![byte; BYTES as usize],
    );
    format!("{:08x}", frame.unwrap().checksum())
}

fn picture(sequence: u32, byte: u8) -> Value {
    json!({
        "ok": true, "sequence": sequence, "width": 16, "height": 8, "format": "YUYV",
        "checksum": checksum(byte),
    })
}

#[test]
fn only_cameras_pause() {
    let (mut bench, _dir) = controlled(&["convert", "camera,size=16x8"]);
    let mut client = Client::new(&mut bench);
    for (device, is_ok) in [(0, false), (1, true)] {
        let order = json!({"do": "pause", "device": device});
        assert_eq!(client.ask(&mut bench, &order)["ok"], is_ok, "{device}");
    }
}

#[test]
fn two_orders_fail_two_calls() {
    let (mut bench, _dir) = controlled(&["camera,size=16x8"]);
    let mut client = Client::new(&mut bench);
    for errno in ["EIO", "EALREADY"] {
        let order = json!({"do": "fail", "device": 0, "call": "REQBUFS", "errno": errno});
        assert_eq!(client.ask(&mut bench, &order)["ok"], true, "{errno}");
    }
    let camera = bench.open(0);
    let mut request = || {
        let mut arg = Arg::new(size_of::<v4l2_requestbuffers>(), &[(4, CAPTURE), (8, MMAP)]);
        bench.try_ioctl(camera, VIDIOC_REQBUFS, &mut arg)
    };
    assert_eq!([request(), request(), request()], [Err(5), Err(114), Ok(0)]);
}

#[test]
fn a_display_tells_its_last_picture() {
    let (mut bench, dir) = controlled(&[DISPLAY, "camera,size=16x8"]);
    let mut client = Client::new(&mut bench);
    let shown = json!({"do": "shown", "device": 0});
    let display = bench.open(0);
    bench.reqbufs(display, OUTPUT, MMAP, 2);
    for (index, byte) in [(0, 7), (1, 8)] {
        fill(&mut bench, display, index, byte);
    }
    queue(&mut bench, display, 0);
    bench.stream(display, OUTPUT, true);
    bench.dequeue(display, OUTPUT, MMAP);
    // The display has not read the picture, which is still in its buffer.
    assert_eq!(client.ask(&mut bench, &shown), picture(0, 7));
    // From now on, the display reads each picture. The program may fill the buffer again.
    queue(&mut bench, display, 1);
    bench.dequeue(display, OUTPUT, MMAP);
    fill(&mut bench, display, 1, 9);
    assert_eq!(client.ask(&mut bench, &shown), picture(1, 8));
    bench.stream(display, OUTPUT, false);
    bench.reqbufs(display, OUTPUT, MMAP, 0);
    let path = dir.path().join("out");
    let raw = json!({"do": "shown", "device": 0, "path": path, "format": "raw"});
    assert_eq!(client.ask(&mut bench, &raw), picture(1, 8));
    assert_eq!(std::fs::read(&path).unwrap(), [8; BYTES as usize]);
    let png = json!({"do": "shown", "device": 0, "path": path});
    assert_eq!(client.ask(&mut bench, &png), picture(1, 8));
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    bench.close_all(&[display]);
}

#[test]
fn a_picture_in_a_reused_buffer_is_the_next() {
    let (mut bench, _dir) = controlled(&["display,size=16x8,format=YUYV,fps=1"]);
    let mut client = Client::new(&mut bench);
    let shown = json!({"do": "shown", "device": 0});
    let display = bench.open(0);
    bench.reqbufs(display, OUTPUT, MMAP, 2);
    queue(&mut bench, display, 0);
    bench.stream(display, OUTPUT, true);
    bench.dequeue(display, OUTPUT, MMAP);
    fill(&mut bench, display, 0, 5);
    // The display shows the buffer a second later.
    queue(&mut bench, display, 0);
    client.send(&shown);
    bench.run.tick();
    assert_eq!(client.line(), None);
    bench.stream(display, OUTPUT, false);
    let answer = client.answer(&mut bench);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("before the stream begins"), "{message}");
    bench.close_all(&[display]);
}

#[test]
fn answers_have_the_fields_of_the_schema() {
    let mut bench = Bench::new("pc", &[DISPLAY, "camera,size=16x8"]);
    bench.run.set_pace(crate::Pace::Virtual);
    let dir = control(&mut bench);
    let mut client = Client::new(&mut bench);
    let camera = bench.open(1);
    bench.reqbufs(camera, CAPTURE, MMAP, 1);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    for order in [
        json!({"do": "state", "id": [1]}),
        json!({"do": "buffers"}),
        json!({"do": "set", "device": 1, "control": "brightness", "value": 3}),
        json!({"do": "advance", "ns": 1_000_000_000}),
        json!({"do": "wait", "device": 1, "frame": 0}),
        json!({"do": "pause", "device": 1}),
    ] {
        assert_eq!(client.ask(&mut bench, &order)["ok"], true, "{order}");
    }
    let late = json!({"do": "play", "device": 1, "source": "pattern", "sequence": 0});
    let answer = client.ask(&mut bench, &late);
    assert_eq!(answer["error"]["field"], "sequence", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("this frame is over"), "{message}");
    let next = json!({"do": "play", "device": 1, "source": "pattern"});
    assert_eq!(client.ask(&mut bench, &next)["ok"], true);
    bench.close_all(&[camera]);
    drop(dir);
}

#[test]
fn a_picture_that_cannot_be_had_has_a_reason() {
    let (mut bench, dir) = controlled(&[DISPLAY, "camera,size=16x8"]);
    let mut client = Client::new(&mut bench);
    for (order, field, part) in [
        (json!({"device": 0}), "device", "has shown nothing yet"),
        (json!({"device": 1}), "device", "only a display"),
        (json!({"device": 7}), "device", "not a device"),
        (json!({"device": 0, "path": "a.png"}), "path", "absolute"),
        (json!({"device": 0, "format": "png"}), "format", "path"),
    ] {
        let mut order = order;
        order["do"] = "shown".into();
        let answer = client.ask(&mut bench, &order);
        assert_eq!(answer["error"]["field"], field, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    let display = bench.open(0);
    bench.reqbufs(display, OUTPUT, MMAP, 2);
    queue(&mut bench, display, 0);
    bench.stream(display, OUTPUT, true);
    bench.dequeue(display, OUTPUT, MMAP);
    let fifo = dir.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    for (path, part) in [
        (fifo, "cannot write"),
        (dir.path().to_owned(), "cannot write"),
    ] {
        let order = json!({"do": "shown", "device": 0, "path": path});
        let answer = client.ask(&mut bench, &order);
        assert_eq!(answer["error"]["field"], "path");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    bench.close_all(&[display]);
}

#[test]
fn a_client_gets_the_events_it_subscribed_to() {
    let (mut bench, _dir) = controlled(&[DISPLAY, "camera,size=16x8"]);
    let (mut all, mut other) = (Client::new(&mut bench), Client::new(&mut bench));
    let order = json!({"do": "watch", "events": ["frame", "open", "start", "refusal"]});
    assert_eq!(all.ask(&mut bench, &order), json!({"ok": true}));
    let order = json!({"do": "watch", "events": ["open"], "device": "video1"});
    assert_eq!(other.ask(&mut bench, &order), json!({"ok": true}));
    let display = bench.open(0);
    bench.reqbufs(display, OUTPUT, MMAP, 2);
    assert!(
        bench
            .try_ioctl(display, VIDIOC_QBUF, &mut Bench::buffer(OUTPUT, DMABUF, 0))
            .is_err()
    );
    queue(&mut bench, display, 0);
    bench.stream(display, OUTPUT, true);
    bench.dequeue(display, OUTPUT, MMAP);
    let events: Vec<Value> = (0..4).map(|_| all.answer(&mut bench)).collect();
    let has = |at: usize, fields: Value| {
        let (event, fields) = (events[at].as_object().unwrap(), fields.as_object().unwrap());
        assert!(event["time_ns"].is_u64(), "{event:?}");
        assert!(
            fields
                .iter()
                .all(|(name, value)| event.get(name) == Some(value)),
            "{event:?}"
        );
    };
    let device = "/dev/video0";
    has(
        0,
        json!({"event": "open", "device": device, "pid": std::process::id()}),
    );
    has(
        1,
        json!({"event": "refusal", "device": device, "call": "QBUF", "errno": "EINVAL"}),
    );
    has(
        2,
        json!({"event": "start", "device": device, "queue": "output"}),
    );
    has(
        3,
        json!({"event": "frame", "device": device, "frame": 0, "sequence": 0}),
    );
    let none = json!({"do": "watch", "events": []});
    assert_eq!(all.ask(&mut bench, &none), json!({"ok": true}));
    let camera = bench.open(1);
    assert_eq!(other.answer(&mut bench)["device"], "/dev/video1");
    assert_eq!(all.line(), None);
    let wrong = json!({"do": "watch", "events": ["frames"]});
    let answer = all.ask(&mut bench, &wrong);
    assert_eq!(
        answer["error"]["message"],
        "a list of: frame, open, start, refusal; empty for none"
    );
    bench.close_all(&[display, camera]);
}

#[test]
fn frames_of_one_tick_have_their_own_numbers() {
    const BUFFERS: u32 = 3;
    let (mut bench, _dir) = controlled(&[DISPLAY]);
    let mut client = Client::new(&mut bench);
    let order = json!({"do": "watch", "events": ["frame"]});
    assert_eq!(client.ask(&mut bench, &order), json!({"ok": true}));
    let display = bench.open(0);
    bench.reqbufs(display, OUTPUT, MMAP, BUFFERS);
    // In the second stream, frames of the run count on, but the sequence begins again.
    for first in [0, BUFFERS] {
        for index in 0..BUFFERS {
            queue(&mut bench, display, index);
        }
        bench.stream(display, OUTPUT, true);
        for sequence in 0..BUFFERS {
            let event = client.answer(&mut bench);
            let numbers = (&event["frame"], &event["sequence"]);
            assert_eq!(numbers, (&json!(first + sequence), &json!(sequence)));
        }
        bench.stream(display, OUTPUT, false);
    }
    bench.close_all(&[display]);
}

#[test]
fn events_for_a_slow_client_are_counted() {
    let (mut bench, _dir) = controlled(&["camera,size=16x8"]);
    let mut client = Client::new(&mut bench);
    let order = json!({"do": "watch", "events": ["open"]});
    assert_eq!(client.ask(&mut bench, &order), json!({"ok": true}));
    const OPENS: u64 = 5_000;
    for _ in 0..OPENS {
        let camera = bench.open(0);
        bench.run.release(camera);
    }
    client.send(&json!({"do": "state"}));
    let (mut opens, mut lost, mut answers) = (0, 0, 0);
    while answers == 0 || opens + lost < OPENS {
        let line = client.answer(&mut bench);
        match line["event"].as_str() {
            Some("open") => opens += 1,
            Some("lost") => lost += line["count"].as_u64().unwrap(),
            _ => answers += 1,
        }
    }
    assert!(lost > 0 && opens > 0, "{opens} opens, {lost} lost");
    assert!(bench.run.next_tick().is_none(), "nothing is left to send");
}

#[test]
fn steps_advance_only_by_orders() {
    let mut bench = Bench::new("pc", &["camera,size=16x8,format=YUYV,fps=10"]);
    bench.run.set_pace(crate::Pace::Steps);
    let dir = control(&mut bench);
    let mut client = Client::new(&mut bench);
    let camera = bench.open(0);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    // The first frame is there when the stream begins.
    bench.dequeue(camera, CAPTURE, MMAP);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    for _ in 0..10 {
        assert_eq!(bench.run.poll(camera, POLLIN), 0, "no order was given");
        bench.run.tick();
    }
    let step = json!({"do": "advance", "ns": 100_000_000});
    let before = client.ask(&mut bench, &json!({"do": "state"}))["time_ns"].as_u64();
    let after = client.ask(&mut bench, &step)["time_ns"].as_u64();
    assert_eq!(after, before.map(|before| before + 100_000_000));
    assert_ne!(bench.run.poll(camera, POLLIN) & POLLIN, 0);
    bench.close_all(&[camera]);
    drop(dir);
}

#[test]
fn a_pushed_frame_waits_for_each_reader() {
    let mut bench = Bench::new("pc", &["loopback,size=16x8,format=YUYV,readers=2"]);
    bench.run.set_pace(crate::Pace::Steps);
    let dir = control(&mut bench);
    let mut client = Client::new(&mut bench);
    let file = dir.path().join("frame");
    std::fs::write(&file, [7; BYTES as usize]).unwrap();
    let push = json!({"do": "push", "device": 0, "path": file, "after_ns": 5_000});
    client.send(&push);
    let readers = [1, 2].map(|node| {
        bench.run.tick();
        assert_eq!(client.line(), None, "a reader has not got the frame");
        let reader = bench.open(node);
        bench.reqbufs(reader, CAPTURE, MMAP, 2);
        bench.stream(reader, CAPTURE, true);
        reader
    });
    for reader in readers {
        bench.run.tick();
        assert_eq!(client.line(), None, "a reader has no buffer");
        bench.ioctl(reader, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    }
    let answer = client.answer(&mut bench);
    assert_eq!(answer["ok"], true, "{answer}");
    for reader in readers {
        bench.dequeue(reader, CAPTURE, MMAP);
    }
    let late = client.ask(
        &mut bench,
        &json!({"do": "push", "device": 0, "path": file, "after_ns": 1}),
    );
    assert_eq!(late["error"]["field"], "after_ns", "{late}");
    bench.close_all(&readers);
}
