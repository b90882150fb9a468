//! Planes for drivers that use the CPU.

use super::*;
use Coherency::NonCoherent;
use Direction::{FromDevice, ToDevice};

const SOFT: Device<u32> = Device::vmalloc(DISPLAY);

#[test]
fn vmalloc_and_device_see_each_others_writes() {
    for dev in [CAMERA, BOUNCER] {
        let t = planes();
        // The camera captures into its own memory. A display whose driver uses the CPU reads that memory.
        let mut owner = alloc(&t, Device::contig(dev), FromDevice, NonCoherent);
        let buf = export(&t, &owner);
        let mut plane = t.attach_dmabuf(SOFT, &buf, PAGE, ToDevice).unwrap();
        assert_eq!(t.cookie(&plane), None, "not mapped yet");
        t.map_dmabuf(&mut plane).unwrap();
        t.map_dmabuf(&mut plane).unwrap();
        let cookie = t.cookie(&plane).unwrap();
        let addr = dma(&t, &owner);
        for byte in 1..4 {
            t.prepare(&mut owner, HintSkip::empty()).unwrap();
            assert!(t.ops().dev_write(dev, addr, &[byte]));
            t.finish(&mut owner, HintSkip::FINISH).unwrap();
            t.prepare(&mut plane, HintSkip::empty()).unwrap();
            let mut out = [0];
            t.cpu_read(DISPLAY, cookie, 0, &mut out).unwrap();
            assert_eq!(out, [byte]);
            t.finish(&mut plane, HintSkip::empty()).unwrap();
        }
        assert_eq!(t.counters(DISPLAY).copied_bytes, 3);
        t.put(plane);
        t.put_dmabuf(buf);
        t.put(owner);
        assert_nothing(&t);
    }
}

#[test]
fn vmalloc_camera_fills_mapped_display_buffer() {
    for dev in [CAMERA, BOUNCER] {
        let t = planes();
        let mut soft = alloc(&t, SOFT, FromDevice, NonCoherent);
        let buf = export(&t, &soft);
        let hard = Device::contig(dev);
        let mut plane = t.attach_dmabuf(hard, &buf, PAGE, ToDevice).unwrap();
        t.map_dmabuf(&mut plane).unwrap();
        let addr = dma(&t, &plane);
        let cookie = t.cookie(&soft).unwrap();
        for byte in 1..4 {
            t.prepare(&mut soft, HintSkip::empty()).unwrap();
            t.cpu_write(DISPLAY, cookie, 0, &[byte]).unwrap();
            t.finish(&mut soft, HintSkip::empty()).unwrap();
            t.prepare(&mut plane, HintSkip::empty()).unwrap();
            assert_eq!(t.ops().dev_read(dev, addr, 1).unwrap(), [byte]);
            t.finish(&mut plane, HintSkip::empty()).unwrap();
        }
        assert_eq!(*t.host().missing.borrow(), []);
        t.put(plane);
        t.put_dmabuf(buf);
        t.put(soft);
        assert_nothing(&t);
    }
}

#[test]
fn program_writes_to_vmalloc_after_a_device() {
    let t = planes();
    // The driver of an encoder reads its own memory with the CPU. A camera has the same memory mapped.
    let mut soft = alloc(&t, SOFT, ToDevice, NonCoherent);
    let buf = export(&t, &soft);
    let hard = Device::contig(CAMERA);
    let mut plane = t.attach_dmabuf(hard, &buf, PAGE, FromDevice).unwrap();
    t.map_dmabuf(&mut plane).unwrap();
    let addr = dma(&t, &plane);
    let cookie = t.cookie(&soft).unwrap();
    for byte in 1..4 {
        t.prepare(&mut plane, HintSkip::empty()).unwrap();
        assert!(t.ops().dev_write(CAMERA, addr, &[byte; 64]));
        t.finish(&mut plane, HintSkip::empty()).unwrap();
        if byte == 2 {
            // A program writes to its mapping, and queues the encoder's buffer.
            cpu_write(&t, &soft, 0, &[9; 64]);
        }
        t.prepare(&mut soft, HintSkip::empty()).unwrap();
        let mut out = [0; 2];
        t.cpu_read(DISPLAY, cookie, 0, &mut out).unwrap();
        let wanted = if byte == 2 { 9 } else { byte };
        assert_eq!(out, [wanted; 2]);
        t.finish(&mut soft, HintSkip::empty()).unwrap();
    }
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(soft);
    assert_nothing(&t);
}

#[test]
fn an_access_that_was_cancelled_is_ended() {
    let t = planes();
    let owner = alloc(&t, Device::contig(CAMERA), FromDevice, NonCoherent);
    let buf = export(&t, &owner);
    let mut plane = t.attach_dmabuf(SOFT, &buf, PAGE, FromDevice).unwrap();
    t.map_dmabuf(&mut plane).unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    let hard = Device::contig(DIRECT);
    let mut reader = t.attach_dmabuf(hard, &buf, PAGE, ToDevice).unwrap();
    t.map_dmabuf(&mut reader).unwrap();
    let cookie = t.cookie(&plane).unwrap();
    t.cpu_write(DISPLAY, cookie, 0, &[6]).unwrap();
    t.put(plane);
    let addr = dma(&t, &reader);
    assert_eq!(t.ops().dev_read(DIRECT, addr, 1).unwrap(), [6]);
    t.put(reader);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn user_memory_of_a_soft_driver() {
    let t = planes();
    let user = t.ops().platform().add_user(3, false);
    let at = t.ops().platform().user_memory(user);
    let base = FakeUser::BASE + 5;
    let mut plane = t.get_userptr(SOFT, &user, base, PAGE, FromDevice).unwrap();
    let cookie = t.cookie(&plane).unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.cpu_write(DISPLAY, cookie, 0, &[1, 2]).unwrap();
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    assert_eq!(t.ops().platform().peek_in(&at, 5, 2), [1, 2]);
    let past = t.cpu_write(DISPLAY, cookie, PAGE - 1, &[1, 2]).unwrap_err();
    assert_eq!(past.errno(), 16);
    t.put(plane);
    assert!(t.cpu_write(DISPLAY, cookie, 0, &[1]).is_err(), "gone");
    t.ops().fail_after(1);
    let e = t.get_userptr(SOFT, &user, base, PAGE, FromDevice);
    assert_eq!(e.unwrap_err().errno(), 12);
    assert_nothing(&t);
}

#[test]
fn a_cpu_mapping_that_fails_is_efault_at_map() {
    let t = planes();
    let owner = alloc(&t, Device::contig(CAMERA), FromDevice, NonCoherent);
    let buf = export(&t, &owner);
    let mut plane = t.attach_dmabuf(SOFT, &buf, PAGE, FromDevice).unwrap();
    t.ops().fail_after(0);
    assert_eq!(t.map_dmabuf(&mut plane).unwrap_err().errno(), 14);
    t.put(plane);
    let e = t
        .attach_dmabuf(SOFT, &buf, 3 * PAGE, FromDevice)
        .unwrap_err();
    assert_eq!(e.errno(), 14);
    assert_eq!(reason(e), (Constraint::BufferSize, 3 * PAGE, 2 * PAGE));
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}
