//! Misuses that compile: each leaves the memory in use, or is refused.

use std::mem::forget;
use vb3_dma::mapped::{Bidirectional, FromDevice, ToDevice};
use vb3_dma::{
    Attrs, Constraint, Direction, DmaOps, Error, FlushPolicy, Mapper, PhysAddr, Segment,
};
use vb3_misuse::{FRAME, Host};

const BOTH: Direction = Direction::Bidirectional;
const NONE: Attrs = Attrs::empty();

fn mapper(faults: &[u64]) -> Mapper<Host> {
    Mapper::new(Host::new(faults)).expect("a mapper")
}

#[track_caller]
fn assert_kept(dma: &Mapper<Host>) {
    assert_eq!(dma.platform().take_violations(), [""; 0]);
}

/// The first handle is freed before the second is mapped, and the second before its mapping ends.
#[test]
fn handles_end_in_any_order() {
    let dma = mapper(&[]);
    let memory = dma.alloc_virtual(FRAME).unwrap();
    let other = dma.share(&memory).unwrap();
    dma.free(memory);
    let mapping = dma.map(0, &other, BOTH, NONE).unwrap();
    dma.free(other);
    assert_kept(&dma);
    dma.unmap(mapping, NONE);
    assert!(dma.live().is_empty());
    assert_kept(&dma);
}

/// Guards and values are forgotten.
#[test]
fn forgotten_values_keep_their_memory() {
    let dma = mapper(&[]);
    let camera = dma.device(0).unwrap();
    let memory = camera.alloc(FRAME).unwrap();
    forget(camera.map(&memory, FromDevice).unwrap());
    drop(memory);
    forget(
        camera
            .map(camera.alloc(FRAME).unwrap(), FromDevice)
            .unwrap(),
    );
    forget(dma.alloc_coherent(2, FRAME, NONE).unwrap());
    let pin = camera.pin(&(), 0, 100, FromDevice).unwrap();
    forget(camera.map(&pin, FromDevice).unwrap());
    drop(pin);
    for _ in 0..100 {
        let _ = dma.alloc_virtual(FRAME).map(|memory| dma.free(memory));
    }
    assert_kept(&dma);
}

/// After a lazy unmap, the device still reaches the memory when it is freed.
#[test]
fn waiting_ranges_keep_their_memory() {
    let dma = mapper(&[]);
    dma.set_flush_policy(2, FlushPolicy::Lazy).unwrap();
    let camera = dma.device(2).unwrap();
    drop(
        camera
            .map(camera.alloc(FRAME).unwrap(), FromDevice)
            .unwrap(),
    );
    assert_kept(&dma);
    assert_eq!(dma.live().page_bytes, FRAME);
    dma.flush().unwrap();
    assert_eq!(dma.live().page_bytes, 0);
    assert_kept(&dma);
}

/// If a failed unmap leaves a device with a view of the caller's memory, the layer reports this memory.
#[test]
fn stuck_memory_of_the_caller_is_named() {
    let dma = mapper(&[]);
    let camera = dma.device(2).unwrap();
    let frame = dma.platform().take_frame().unwrap();
    let run = Segment::pages(PhysAddr::new(frame * FRAME), FRAME);
    // The guard is dropped, so only the list of stuck memory tells of the failure.
    let mapped = camera.map_raw(run, ToDevice).unwrap();
    dma.platform().fail_next(&[0]);
    drop(mapped);
    assert_eq!(dma.stuck_memory(0), Some(run));

    // Both the mapping and its undo fail, so the error says that the device may still reach the memory.
    let other = dma.platform().take_frame().unwrap();
    let other = Segment::pages(PhysAddr::new(other * FRAME), FRAME);
    dma.platform().fail_next(&[1, 2]);
    let failed = camera.map_raw(other, ToDevice).unwrap_err();
    assert!(matches!(failed, Error::StillReachable(_)), "{failed}");
    // If the undo succeeds, the mapping fails with another error.
    dma.platform().fail_next(&[1]);
    let undone = camera.map_raw(Segment::pages(PhysAddr::new(0), FRAME), ToDevice);
    assert!(
        matches!(undone, Err(Error::Unmappable(reason)) if reason.constraint == Constraint::Hardware)
    );
}

/// The untrusted device of a group never sees bytes that only share a frame with mapped memory.
#[test]
fn untrusted_devices_see_no_neighbours() {
    let dma = mapper(&[]);
    let trusted = dma.device(0).unwrap();
    let pin = trusted.pin(&(), 64, 100, FromDevice).unwrap();
    let exposed = trusted.map(&pin, FromDevice).unwrap();
    assert!(dma.platform().sees_partial_frame(0));
    assert_eq!(
        dma.device(1).unwrap_err(),
        Error::Busy,
        "it would see the frame"
    );
    drop(exposed);
    let untrusted = dma.device(1).unwrap();
    // The handle is older than the untrusted device.
    let (first, second) = (
        trusted.map(&pin, FromDevice),
        untrusted.map(&pin, FromDevice),
    );
    assert!(first.is_ok() && second.is_ok());
    assert!(!dma.platform().sees_partial_frame(0), "both see copies");
    drop((first, second));
    drop(pin);
    assert_kept(&dma);
}

/// A mapping that failed, and could not be undone, exposes the bytes around the memory for good.
#[test]
fn failed_mappings_expose_neighbours() {
    // The first mapping of a device takes another path than later ones.
    for is_first in [true, false] {
        let dma = mapper(&[]);
        let trusted = dma.device(0).unwrap();
        let pin = trusted.pin(&(), 64, 100, FromDevice).unwrap();
        if !is_first {
            drop(trusted.map(&pin, FromDevice).unwrap());
        }
        dma.platform().fail_next(&[1, 2]);
        let failed = trusted.map(&pin, FromDevice).unwrap_err();
        assert!(matches!(failed, Error::StillReachable(_)), "{failed}");
        assert!(dma.platform().sees_partial_frame(0));
        let other = dma.device(1).unwrap_err();
        assert_eq!(other, Error::Busy, "it would see the frame");
    }
}

/// A copy that fails is reported, and the device's bytes are not lost.
#[test]
fn failed_copies_are_reported() {
    let dma = mapper(&[]);
    let bounced = dma.device(3).unwrap();
    let frame = bounced
        .map(bounced.alloc(FRAME).unwrap(), Bidirectional)
        .unwrap();
    assert!(
        dma.platform()
            .device_write(3, frame.addr().get(), b"a frame")
    );
    dma.platform().fail_next(&[0]);
    let refused = frame.into_cpu().unwrap_err();
    assert!(matches!(refused.error, Error::BadUserMemory(_)));
    let frame = refused.mapping.into_cpu().unwrap();
    let mut seen = [0; 7];
    frame.view().unwrap().read(0, &mut seen).unwrap();
    assert_eq!(&seen, b"a frame");
}

/// Two devices map one memory in one structure. A device that still has a mapping cannot be removed.
#[test]
fn one_structure_holds_two_mappings() {
    let dma = mapper(&[]);
    let (camera, display) = (dma.device(0).unwrap(), dma.device(2).unwrap());
    let memory = camera.alloc(2 * FRAME).unwrap();
    let shown = display.map(memory.share().unwrap(), ToDevice).unwrap();
    let filled = camera.map(memory, FromDevice).unwrap();
    drop(filled);
    assert_eq!(dma.live().page_bytes, 2 * FRAME);
    assert_eq!(dma.remove_device(2), Err(Error::Busy));
    drop(shown);
    assert!(dma.live().is_empty());
    assert_kept(&dma);
}
