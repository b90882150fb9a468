//! Dma-bufs as the virtio specification has them: a UUID for each descriptor, behind the structure and its planes, in
//! the parts that the device reads and writes. Placeholders for descriptors stay as they are.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::guest::{BUFFER, PLANE, u32_at, words};
use crate::lifecycle::{CAMERA, camera, capture, expect_nothing_held, ioctl, ok, open};
use crate::same::{CAPTURE, MMAP, OUTPUT, run};
use crate::vmm::{Server, Vmm};
use uuid::Uuid;
use vb3_guest::Options;
use vb3_run::Pace;
use vb3_v4l2::sys;
use vhost::vhost_user::VhostUserFrontend as _;
use vhost::vhost_user::message::VhostUserSharedMsg;

const DEVICES: &[&str] = &[
    "camera=pattern,size=64x48,format=YUYV",
    "display,size=64x48,format=YUYV",
    "convert,size=64x48",
];
const OUTPUT_MPLANE: u32 = 10;
const DMABUF: u32 = 4;
const LEN: usize = 64 * 48 * 2;
/// What a driver may have in the place of a descriptor.
const PLACEHOLDER: u32 = 0xdead_beef;
const EINVAL: u32 = 22;
const ENFILE: u32 = 23;
const ENOTTY: u32 = 25;

fn serve(devices: &'static [&'static str]) -> Server {
    let options = Options { dma_bufs: true };
    Server::with(options, move || run(devices, Pace::Virtual))
}

fn connect(server: &Server, number: u32) -> (Vmm, u32) {
    let mut vmm = Vmm::connect(&server.dir.join(format!("video{number}.sock")));
    let session = open(&mut vmm);
    (vmm, session)
}

fn request_buffers(vmm: &mut Vmm, session: u32, type_: u32, memory: u32) -> Vec<u8> {
    let payload = words(&[2, type_, memory, 0, 0]);
    ioctl(vmm, session, sys::VIDIOC_REQBUFS, &payload)
}

fn export(vmm: &mut Vmm, session: u32) -> Result<Uuid, u32> {
    let read_and_write = 2;
    let mut payload = words(&[CAPTURE, 0, 0, read_and_write, PLACEHOLDER]);
    payload.resize(64 + 16, 0);
    let answer = ioctl(vmm, session, sys::VIDIOC_EXPBUF, &payload);
    match u32_at(&answer, 0) {
        0 => {
            let back = ok(&answer);
            assert_eq!((back.len(), u32_at(back, 16)), (80, PLACEHOLDER));
            Ok(Uuid::from_slice(&back[64..]).unwrap())
        }
        errno => Err(errno),
    }
}

/// Captures a frame, and exports its buffer.
fn exported_frame(server: &Server) -> (Vmm, u32, Uuid) {
    let mut vmm = Vmm::connect(&server.dir.join("video0.sock"));
    let session = capture(&mut vmm);
    let uuid = export(&mut vmm, session).unwrap();
    (vmm, session, uuid)
}

/// Queues a dma-buf in a single-planar queue.
fn queue(vmm: &mut Vmm, session: u32, uuid: Uuid) -> Vec<u8> {
    let mut buffer = vec![0; BUFFER];
    buffer[..12].copy_from_slice(&words(&[0, OUTPUT, LEN as u32]));
    buffer[60..68].copy_from_slice(&words(&[DMABUF, PLACEHOLDER]));
    buffer.extend(uuid.as_bytes());
    ioctl(vmm, session, sys::VIDIOC_QBUF, &buffer)
}

#[test]
fn a_display_shows_a_cameras_buffer_without_a_copy() {
    let server = serve(DEVICES);
    let (mut camera, captured, uuid) = exported_frame(&server);
    assert!(camera.region.lock().unwrap().objects.contains(&uuid));
    let (mut display, shown) = connect(&server, 1);
    ok(&request_buffers(&mut display, shown, OUTPUT, DMABUF));
    let queued = queue(&mut display, shown, uuid);
    let queued = ok(&queued);
    assert_eq!(
        (queued.len(), u32_at(queued, 64)),
        (BUFFER + 16, PLACEHOLDER)
    );
    assert_eq!(queued[BUFFER..], *uuid.as_bytes());
    let stream = words(&[OUTPUT]);
    ok(&ioctl(&mut display, shown, sys::VIDIOC_STREAMON, &stream));
    let event = display
        .event(Duration::from_secs(20))
        .expect("it was shown");
    assert_eq!(
        (u32_at(&event, 0), u32_at(&event, 8 + 64)),
        (1, PLACEHOLDER)
    );
    // The end of the session ends its dma-bufs.
    assert!(camera.command(&words(&[2, 0, captured, 0])).is_empty());
    let region = camera.region.lock().unwrap();
    let places: Vec<u64> = region.maps.keys().copied().collect();
    drop(region);
    for at in places {
        let unmap = [words(&[5, 0]), at.to_le_bytes().to_vec()].concat();
        ok(&camera.command(&unmap));
    }
    assert!(camera.region.lock().unwrap().objects.is_empty());
    assert_eq!(u32_at(&queue(&mut display, shown, uuid), 0), EINVAL);
    drop((camera, display));
    let report = server.end();
    let queues = report.devices.iter().flat_map(|device| &device.queues);
    assert_eq!(queues.map(|queue| queue.bytes_copied).sum::<u64>(), 0);
    expect_nothing_held(report);
}

#[test]
fn a_vmm_can_ask_for_an_exported_buffer() {
    let server = serve(CAMERA);
    let (mut vmm, session, uuid) = exported_frame(&server);
    let file = vmm.frontend.get_shared_object(&VhostUserSharedMsg { uuid });
    let mut frame = vec![0; LEN];
    file.unwrap().read_exact_at(&mut frame, 0).unwrap();
    assert!(frame.iter().any(|byte| *byte != 0));
    let mut mapped = vec![0; LEN];
    {
        let region = vmm.region.lock().unwrap();
        let (file, offset, _) = &region.maps[&0];
        file.read_exact_at(&mut mapped, *offset).unwrap();
    }
    assert_eq!(frame, mapped);
    let other = export(&mut vmm, session).unwrap();
    assert_ne!(other, uuid);
    vmm.reset();
    // The worker resets the device before its next command.
    open(&mut vmm);
    let gone = vmm.frontend.get_shared_object(&VhostUserSharedMsg { uuid });
    assert!(gone.is_err());
    assert!(vmm.region.lock().unwrap().objects.is_empty());
    drop(vmm);
    expect_nothing_held(server.end());
}

#[test]
fn each_plane_has_a_uuid_behind_the_planes() {
    let server = serve(DEVICES);
    let (camera, _, uuid) = exported_frame(&server);
    let (mut convert, session) = connect(&server, 2);
    let mut format = vec![0; size_of::<sys::v4l2_format>()];
    format[..4].copy_from_slice(&words(&[OUTPUT_MPLANE]));
    format[8..20].copy_from_slice(&words(&[64, 48, u32::from_le_bytes(*b"YUYV")]));
    ok(&ioctl(&mut convert, session, sys::VIDIOC_S_FMT, &format));
    ok(&request_buffers(
        &mut convert,
        session,
        OUTPUT_MPLANE,
        DMABUF,
    ));
    let mut buffer = [0; BUFFER];
    buffer[..8].copy_from_slice(&words(&[0, OUTPUT_MPLANE]));
    buffer[60..64].copy_from_slice(&words(&[DMABUF]));
    buffer[64..76].copy_from_slice(&words(&[0x5000, 0x7fff, 1]));
    let mut plane = words(&[LEN as u32, LEN as u32, PLACEHOLDER]);
    plane.resize(PLANE, 0);
    let queue = |convert: &mut Vmm, uuid: &[u8]| {
        let payload = [&buffer[..], &plane, uuid].concat();
        ioctl(convert, session, sys::VIDIOC_QBUF, &payload)
    };
    assert_eq!(u32_at(&queue(&mut convert, &[0; 15]), 0), EINVAL);
    let unknown = *Uuid::from_u128(!0).as_bytes();
    assert_eq!(u32_at(&queue(&mut convert, &unknown), 0), EINVAL);
    let answer = queue(&mut convert, uuid.as_bytes());
    let back = ok(&answer);
    assert_eq!(back.len(), BUFFER + PLANE + 16);
    assert_eq!(u32_at(back, BUFFER + 8), PLACEHOLDER);
    assert_eq!(back[BUFFER + PLANE..], *uuid.as_bytes());
    drop((camera, convert));
    expect_nothing_held(server.end());
}

#[test]
fn exported_buffers_are_bounded() {
    let server = serve(CAMERA);
    let (mut vmm, session) = connect(&server, 0);
    ok(&request_buffers(&mut vmm, session, CAPTURE, MMAP));
    let mut exported = (0..200).map(|_| export(&mut vmm, session));
    let first = exported.find_map(Result::err);
    assert_eq!(first, Some(ENFILE));
    server.wait_for_remark("refused to export more than 128 buffers");
    drop(vmm);
    expect_nothing_held(server.end());
}

#[test]
fn dma_bufs_are_hidden_unless_offered() {
    let server = camera();
    let (mut vmm, session) = connect(&server, 0);
    let answer = request_buffers(&mut vmm, session, CAPTURE, DMABUF);
    assert_eq!(u32_at(&answer, 0), EINVAL);
    let granted = request_buffers(&mut vmm, session, CAPTURE, MMAP);
    let capabilities = u32_at(ok(&granted), 12);
    assert_eq!(capabilities & sys::V4L2_BUF_CAP_SUPPORTS_DMABUF, 0);
    assert_eq!(export(&mut vmm, session), Err(ENOTTY));
    server.end();
}
