//! Allocated memory: handles, orphans, copies.

use super::*;
use Coherency::{Coherent, NonCoherent};
use Direction::{FromDevice, ToDevice};
use vb3_dma::Attrs;

#[test]
fn orphaned_memory_lives_until_its_last_user_goes() {
    for dev in [Device::contig(CAMERA), Device::vmalloc(CAMERA)] {
        let t = planes();
        let plane = alloc(&t, dev, FromDevice, Coherent);
        let (memory, map) = t.mmap(&plane, PAGE).unwrap();
        assert_eq!(map.1, PAGE);
        let of_plane = t.buffers().vma_open(memory).unwrap();
        let buf = export(&t, &plane);
        let of_buf = t.buffers().vma_open_buf(buf.id()).unwrap();
        assert_eq!(t.num_users(&plane), 4);
        t.put(plane);
        assert_eq!(t.live().memories, 1);
        t.vma_close(of_plane);
        let id = buf.id();
        let second = t.buffers().mmap_buf(id, PAGE, PAGE).unwrap();
        assert_ne!(second, map);
        t.put_dmabuf(buf);
        assert_eq!(t.live().memories, 1, "mapped by a program");
        t.vma_close(of_buf);
        assert_nothing(&t);
        assert!(t.buffers().vma_open(memory).is_err());
    }
}

#[test]
fn memory_that_is_not_to_be_had_is_enomem() {
    for dev in [Device::contig(CAMERA), Device::vmalloc(CAMERA)] {
        for coherency in [Coherent, NonCoherent] {
            let t = planes();
            for (len, errno) in [
                (0, 22),
                (0xffff_f000, 12),
                (u64::MAX, 12),
                (u64::MAX - PAGE + 2, 12),
            ] {
                let e = t.alloc(dev, len, FromDevice, coherency).unwrap_err();
                assert_eq!(e.errno(), errno, "{len:#x}");
            }
            assert_nothing(&t);
        }
    }
}

#[test]
fn a_vmalloc_plane_without_its_cpu_mapping_is_none() {
    let t = planes();
    t.ops().fail_after(1);
    let dev = Device::vmalloc(CAMERA);
    let e = t.alloc(dev, PAGE, FromDevice, Coherent).unwrap_err();
    assert_eq!(e.errno(), 12);
    assert_nothing(&t);
}

#[test]
fn defect_15_cached_memory_drops_useless_attributes() {
    let all = Attrs::NO_KERNEL_MAPPING | Attrs::WRITE_COMBINE | Attrs::ALLOC_SINGLE_PAGES;
    let spec = |coherency| crate::contig::spec(CAMERA, PAGE, FromDevice, coherency, all);
    assert_eq!(spec(NonCoherent).attrs, Attrs::ALLOC_SINGLE_PAGES);
    assert_eq!(spec(Coherent).attrs, all);
}

#[test]
fn copies_stay_inside_the_plane_and_are_counted() {
    for dev in [Device::contig(CAMERA), Device::vmalloc(CAMERA)] {
        let t = planes();
        let mut plane = t.alloc(dev, PAGE + 5, ToDevice, NonCoherent).unwrap();
        t.copy_to(&mut plane, PAGE, &[1, 2, 3, 4, 5]).unwrap();
        let mut out = [0; 3];
        t.copy_from(&mut plane, PAGE + 2, &mut out).unwrap();
        assert_eq!(out, [3, 4, 5]);
        assert_eq!(t.counters(CAMERA).copied_bytes, 8);
        for offset in [PAGE + 3, PAGE + 6, u64::MAX, u64::MAX - 1] {
            let e = t.copy_from(&mut plane, offset, &mut out).unwrap_err();
            assert_eq!(e.errno(), 22, "{offset:#x}");
        }
        t.copy_from(&mut plane, PAGE + 5, &mut []).unwrap();
        assert_eq!(t.counters(CAMERA).copied_bytes, 8);
        t.put(plane);
        assert_nothing(&t);
    }
}

#[test]
fn copies_of_shared_memory_are_seen_by_its_importers() {
    let t = planes();
    let camera = Device::contig(CAMERA);
    let mut owner = alloc(&t, camera, FromDevice, NonCoherent);
    let buf = export(&t, &owner);
    let display = Device::contig(DISPLAY);
    let mut plane = t.attach_dmabuf(display, &buf, PAGE, ToDevice).unwrap();
    t.map_dmabuf(&mut plane).unwrap();
    let addr = dma(&t, &plane);
    t.copy_to(&mut owner, 0, &[7]).unwrap();
    assert_eq!(t.ops().dev_read(DISPLAY, addr, 1).unwrap(), [7]);
    t.copy_to(&mut plane, 0, &[8]).unwrap();
    assert_eq!(t.ops().dev_read(DISPLAY, addr, 1).unwrap(), [8]);
    let mut out = [0];
    t.copy_from(&mut plane, 0, &mut out).unwrap();
    assert_eq!(out, [8]);
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn memory_is_reported_for_its_device() {
    let t = planes();
    let dev = Device::contig(CAMERA);
    let one = alloc(&t, dev, FromDevice, Coherent);
    let two = alloc(&t, dev, FromDevice, NonCoherent);
    assert_eq!(t.counters(CAMERA).bytes, 4 * PAGE);
    t.put(one);
    assert_eq!(t.counters(CAMERA).bytes, 2 * PAGE);
    assert_eq!(t.counters(DISPLAY).bytes, 0);
    t.put(two);
    assert_nothing(&t);
}
