//! A simulation ends well only if devices return frames and the stack holds nothing.

use super::*;
use crate::tests::{CAMERA, expect_refusal, plan, stream};
use vb3_frontend::Program as _;

/// Ends a simulation of a streaming camera after a change, which the model does not know.
fn end_after(change: impl FnOnce(&mut Sim<'_>)) -> Check {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    stream(&mut sim, 0);
    change(&mut sim);
    sim.close_everything()
}

#[test]
fn leaks_are_found() {
    assert_eq!(end_after(|_| ()), Ok(()));
    let opened = |sim: &mut Sim<'_>| {
        let process = &sim.programs[&0];
        let node = sim.run.video_node(sim.nodes[0].number);
        sim.run.open(node, 2, process.origin()).unwrap();
    };
    expect_refusal(end_after(opened), "still held");
    let file = |sim: &mut Sim<'_>| sim.files.clear();
    expect_refusal(end_after(file), "still held");
    let mapping = |sim: &mut Sim<'_>| {
        assert!(!sim.mappings.is_empty());
        sim.mappings.clear();
    };
    expect_refusal(end_after(mapping), "still held");
}

#[test]
fn quarantine_explains_memory_but_no_more() {
    let mut left = LeftOver::default();
    left.mapper.quarantined_bytes = 8192;
    left.mapper.bounce_bytes = 4096;
    (left.held.pages, left.held.bounce_bytes) = (2, 4096);
    (left.machine.ram_bytes, left.machine.cma_bytes) = (4096, 4096);
    (left.machine.objects, left.machine.pins) = (2, 1);
    left.machine.iommu_pages = 1;
    assert_eq!(without_quarantine(left), Ok(LeftOver::default()));
    let mut other = left;
    (other.held.files, other.memories) = (1, 1);
    let rest = without_quarantine(other).unwrap();
    assert_eq!((rest.held.files, rest.memories), (1, 1));
    left.machine.cma_bytes += 1;
    expect_refusal(without_quarantine(left), "8192 bytes are quarantined");
}

#[test]
fn streams_go_on_at_the_end() {
    let plan = plan(&[CAMERA, "display,size=32x16"]);
    for (disturbed, queued) in [(false, 4), (true, 4), (false, 2)] {
        let mut sim = Sim::new(&plan, false).unwrap();
        let camera = stream(&mut sim, 0)[0];
        let display = stream(&mut sim, 1)[0];
        let buffers = &mut sim.queue_mut(camera).unwrap().buffers;
        buffers
            .values_mut()
            .skip(queued)
            .for_each(|b| b.place = BufferHolder::Program);
        sim.disturbed = disturbed;
        assert_eq!(sim.progress(), Ok(()));
        let taken = |at| sim.queue(at).unwrap().taken > 0;
        assert_eq!(taken(camera), !disturbed && queued > 2);
        assert!(!taken(display));
    }
}

#[test]
fn each_device_returns_frames_after_the_faults() {
    for (device, queues) in [
        (CAMERA, 1),
        ("display,size=32x16", 1),
        ("convert,size=32x16,format=YUYV", 2),
        ("jpegdec,size=32x16,format=NV12", 2),
        ("loopback,size=32x16", 0),
    ] {
        let plan = plan(&[device]);
        let mut sim = Sim::new(&plan, false).unwrap();
        sim.run.machine_mut().set_faults(Faults::Random {
            per_million: 1_000_000,
            seed: 1,
        });
        (sim.disturbed, sim.revoked) = (true, true);
        sim.plug(0, false).unwrap();
        assert_eq!(sim.end(), Ok(()), "{device}");
        assert!(sim.counts.cycles >= queues * u64::from(ENOUGH), "{device}");
        assert_eq!(sim.counts.cycles > 0, queues > 0, "{device}");
        assert!(!sim.disturbed && !sim.revoked && sim.nodes[0].present);
        let own = sim.run.own_time().unwrap();
        assert_eq!(sim.counts.time_ns, own.now_ns - own.origin_ns);
        assert!(sim.counts.time_ns > 0 || device != CAMERA);
    }
}

#[test]
fn device_that_is_gone_fails_the_end() {
    let plan = plan(&[CAMERA]);
    let mut sim = Sim::new(&plan, false).unwrap();
    let number = sim.nodes[0].number;
    sim.run.plug_device(number, false).unwrap();
    expect_refusal(sim.end(), "open of");
    sim.nodes[0].present = false;
    expect_refusal(sim.expect_frames(0, 0), "cannot be opened");
}
