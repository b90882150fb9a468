//! VMMs that come, go, return and lack something.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::guest::{BUFFER, u32_at, u64_at, words};
use crate::same::{CAPTURE, MMAP, run};
use crate::vmm::{Server, Setup, Vmm, new_ram};
use vb3_guest::Event;
use vb3_report::Report;
use vb3_run::Pace;
use vb3_v4l2::sys;
use vhost::vhost_user::message::VhostUserProtocolFeatures;

pub(crate) const CAMERA: &[&str] = &["camera=pattern,size=64x48,format=YUYV"];

pub(crate) fn camera() -> Server {
    Server::new(|| run(CAMERA, Pace::Virtual))
}

pub(crate) fn expect_nothing_held(mut report: Report) {
    report.held.fds = 0;
    assert!(report.held.is_empty(), "{:?}", report.held);
}

pub(crate) fn ok(answer: &[u8]) -> &[u8] {
    assert_eq!(u32_at(answer, 0), 0);
    &answer[8..]
}

pub(crate) fn open(vmm: &mut Vmm) -> u32 {
    u32_at(ok(&vmm.command(&words(&[1, 0]))), 0)
}

pub(crate) fn ioctl(vmm: &mut Vmm, session: u32, request: u32, payload: &[u8]) -> Vec<u8> {
    vmm.command(&[&words(&[3, 0, session, request & 0xff]), payload].concat())
}

pub(crate) fn buffer(index: u32) -> Vec<u8> {
    let mut buffer = vec![0; BUFFER];
    buffer[..8].copy_from_slice(&words(&[index, CAPTURE]));
    buffer[60..64].copy_from_slice(&words(&[MMAP]));
    buffer
}

/// Gets buffers, and the offset of the first.
fn request_buffers(vmm: &mut Vmm, session: u32) -> u32 {
    let payload = words(&[2, CAPTURE, MMAP, 0, 0]);
    ok(&ioctl(vmm, session, sys::VIDIOC_REQBUFS, &payload));
    let told = ioctl(vmm, session, sys::VIDIOC_QUERYBUF, &buffer(0));
    u32_at(ok(&told), 64)
}

fn map(vmm: &mut Vmm, session: u32, offset: u32) -> Vec<u8> {
    vmm.command(&words(&[4, 0, session, 1, offset]))
}

/// Lets a camera stream into two buffers.
pub(crate) fn stream(vmm: &mut Vmm, session: u32) {
    let offset = request_buffers(vmm, session);
    ok(&map(vmm, session, offset));
    for index in 0..2 {
        ok(&ioctl(vmm, session, sys::VIDIOC_QBUF, &buffer(index)));
    }
    ok(&ioctl(
        vmm,
        session,
        sys::VIDIOC_STREAMON,
        &words(&[CAPTURE]),
    ));
}

/// Waits for a frame. Returns its time in nanoseconds.
fn frame(vmm: &mut Vmm, session: u32) -> u64 {
    let event = vmm.event(Duration::from_secs(20)).expect("a frame");
    assert_eq!(
        (event.len(), u32_at(&event, 0), u32_at(&event, 4)),
        (608, 1, session)
    );
    let at = 8 + std::mem::offset_of!(sys::v4l2_buffer, timestamp);
    u64_at(&event, at) * 1_000_000_000 + u64_at(&event, at + 8) * 1000
}

/// Captures a frame in the first buffer. Returns the session.
pub(crate) fn capture(vmm: &mut Vmm) -> u32 {
    let session = open(vmm);
    stream(vmm, session);
    frame(vmm, session);
    session
}

#[test]
fn a_vmm_goes_and_another_comes() {
    let server = camera();
    let socket = server.dir.join("video0.sock");
    let gone = |server: &Server| {
        let notes = server.notes().into_iter();
        notes
            .filter(|note| note.event == Event::Disconnected(None))
            .count()
    };
    for round in 0..20 {
        let mut vmm = Vmm::connect(&socket);
        capture(&mut vmm);
        drop(vmm);
        let until = Instant::now() + Duration::from_secs(20);
        while gone(&server) <= round {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
    }
    expect_nothing_held(server.end());
}

#[test]
fn a_reset_releases_what_the_driver_held() {
    let server = camera();
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    for _ in 0..5 {
        capture(&mut vmm);
        vmm.reset();
        assert_eq!(open(&mut vmm), 1, "no session is left");
        vmm.reset();
    }
    expect_nothing_held(server.end());
}

#[test]
fn the_run_ends_below_a_connected_vmm() {
    let server = camera();
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    capture(&mut vmm);
    expect_nothing_held(server.end());
}

#[test]
fn a_second_vmm_is_refused_and_harms_nobody() {
    let server = camera();
    let socket = server.dir.join("video0.sock");
    let mut vmm = Vmm::connect(&socket);
    let second = UnixStream::connect(&socket).unwrap();
    server.wait_for(|note| note.event == Event::Busy);
    let mut end = [0];
    assert_eq!(
        std::io::Read::read(&mut &second, &mut end).unwrap(),
        0,
        "closed"
    );
    capture(&mut vmm);
    drop(vmm);
    server.end();
}

#[test]
fn features_that_do_not_match_are_named() {
    let server = camera();
    let socket = server.dir.join("video0.sock");
    let setup = Setup {
        features: Some(1 << 32 | 1 << 30 | 1 << 5),
        ..Setup::default()
    };
    assert!(Vmm::try_connect(&socket, new_ram(), &setup).is_err());
    server.wait_for(|note| match &note.event {
        Event::Disconnected(Some(reason)) => {
            reason.contains("features that the device does not offer")
        }
        _ => false,
    });
    let old = Setup {
        features: Some(1 << 30),
        ..Setup::default()
    };
    let _vmm = Vmm::try_connect(&socket, new_ram(), &old);
    server.wait_for_remark("VIRTIO_F_VERSION_1");
    server.end();
}

#[test]
fn a_small_region_is_named() {
    let server = camera();
    let setup = Setup {
        region_bytes: 4096,
        ..Setup::default()
    };
    let mut vmm = Vmm::try_connect(&server.dir.join("video0.sock"), new_ram(), &setup).unwrap();
    let session = open(&mut vmm);
    let offset = request_buffers(&mut vmm, session);
    assert_eq!(u32_at(&map(&mut vmm, session, offset), 0), 12);
    server.wait_for_remark(
        "the VMM does not map 8192 bytes at offset 0x0 of the shared memory region",
    );
    server.end();
}

#[test]
fn a_vmm_without_shared_memory_is_named() {
    let server = camera();
    let setup = Setup {
        protocol: VhostUserProtocolFeatures::all() - VhostUserProtocolFeatures::SHMEM,
        ..Setup::default()
    };
    let mut vmm = Vmm::try_connect(&server.dir.join("video0.sock"), new_ram(), &setup).unwrap();
    let session = open(&mut vmm);
    let offset = request_buffers(&mut vmm, session);
    assert_eq!(u32_at(&map(&mut vmm, session, offset), 0), 12);
    server.wait_for_remark("SHMEM feature not negotiated");
    server.end();
}

#[test]
fn a_vmm_that_does_not_answer_does_not_keep_the_run() {
    let server = Server::new(|| {
        run(
            &[
                "camera=pattern,size=64x48,format=YUYV",
                "display,size=64x48",
            ],
            Pace::Virtual,
        )
    });
    let setup = Setup {
        answers: false,
        ..Setup::default()
    };
    let mut vmm = Vmm::try_connect(&server.dir.join("video0.sock"), new_ram(), &setup).unwrap();
    let session = open(&mut vmm);
    let offset = request_buffers(&mut vmm, session);
    vmm.send(&words(&[4, 0, session, 1, offset]));
    // The other device's guest works meanwhile.
    let mut other = Vmm::connect(&server.dir.join("video1.sock"));
    assert_ne!(
        open(&mut other),
        session,
        "sessions have numbers of their own"
    );
    expect_nothing_held(server.end());
}

#[test]
fn pages_of_64_kib_get_places_of_their_own() {
    let server = camera();
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    let session = open(&mut vmm);
    let offset = request_buffers(&mut vmm, session);
    for place in [0, 0x1_0000, 0x2_0000] {
        assert_eq!(u32_at(ok(&map(&mut vmm, session, offset)), 0), place);
    }
    server.end();
}

#[test]
fn the_configuration_names_the_device() {
    let server = camera();
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    let config = vmm.config();
    assert!(config[8..].starts_with(b"Test Pattern"), "{config:?}");
    server.end();
}

/// Serves a camera on a virtual clock, with a control socket of this name.
fn controlled(name: &str) -> (Server, vb3_client::Client, Vmm) {
    let path = format!("vb3-guests-{}-{name}.ctl", std::process::id());
    let path = std::env::temp_dir().join(path);
    let control = path.clone();
    let server = Server::new(move || {
        let mut run = run(CAMERA, Pace::Virtual);
        run.set_control(vb3_run::control::Control::open_at(&control).unwrap());
        run
    });
    let client = vb3_client::Client::connect(&path).unwrap();
    let vmm = Vmm::connect(&server.dir.join("video0.sock"));
    (server, client, vmm)
}

#[test]
fn an_order_advances_the_clock_of_an_idle_guest() {
    let (server, mut client, mut vmm) = controlled("advance");
    let session = open(&mut vmm);
    stream(&mut vmm, session);
    let frames = [(); 2].map(|()| frame(&mut vmm, session));
    assert!(frames[1] > frames[0], "time passes while it waits");
    // It has both buffers now, and waits for nothing.
    let now = client.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(now / 1000, frames[1] / 1000 + 1_000_000, "it stood still");
    let after = client.advance(Duration::from_secs(2)).unwrap();
    assert_eq!(after, now + 2_000_000_000, "only the order moves the clock");
    ok(&ioctl(&mut vmm, session, sys::VIDIOC_QBUF, &buffer(0)));
    let next = frame(&mut vmm, session);
    let wait = (next / 1000)
        .checked_sub(after / 1000)
        .expect("a later frame");
    assert!(wait < 1_000_000, "{wait} µs");
    drop((client, vmm));
    server.end();
}

#[test]
fn orders_at_the_control_socket_reach_guests() {
    let (server, mut client, mut vmm) = controlled("orders");
    let session = open(&mut vmm);
    let offset = request_buffers(&mut vmm, session);
    ok(&map(&mut vmm, session, offset));
    let buffers = client.buffers().unwrap();
    let mut holders = buffers.buffers.iter().flat_map(|buffer| &buffer.holders);
    assert!(
        holders.any(|holder| holder.starts_with("a mapping in")),
        "{buffers:?}"
    );
    client.fail("/dev/video0", "REQBUFS", "ENOMEM", 1).unwrap();
    let payload = words(&[2, CAPTURE, MMAP, 0, 0]);
    assert_eq!(
        u32_at(&ioctl(&mut vmm, session, sys::VIDIOC_REQBUFS, &payload), 0),
        12
    );
    client.unplug("/dev/video0").unwrap();
    assert_eq!(
        u32_at(&ioctl(&mut vmm, session, sys::VIDIOC_REQBUFS, &payload), 0),
        19
    );
    client.plug("/dev/video0").unwrap();
    vmm.reset();
    capture(&mut vmm);
    drop(client);
    server.end();
}

#[test]
fn many_vmms_leave_no_descriptor() {
    // In a process of its own, because other tests have descriptors, too.
    let tests = std::env::current_exe().unwrap();
    let name = "lifecycle::descriptors_of_many_vmms";
    let mut alone = std::process::Command::new(tests);
    let done = alone.args(["--exact", name, "--ignored"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
#[ignore = "many_vmms_leave_no_descriptor plays this in a process of its own"]
fn descriptors_of_many_vmms() {
    let server = camera();
    let descriptors = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let paths = all.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        // Not those of this test's VMM, which keeps its sockets and files.
        let own = paths.filter(|path| path.to_string_lossy().starts_with("anon_inode:"));
        own.count()
    };
    let counts = [(); 20].map(|()| {
        let before = server.notes().len();
        let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
        capture(&mut vmm);
        drop(vmm);
        server.wait_for_after(before, |note| matches!(note.event, Event::Disconnected(_)));
        descriptors()
    });
    assert_eq!(counts, [counts[0]; 20]);
    server.end();
}
