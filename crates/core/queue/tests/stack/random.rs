//! Random operations on both queues, compared with the model after each, on every built-in machine.

use crate::lab::{Lab, OUTPUT, Offer, Op, Setup};
use crate::model::Model;
use proptest::prelude::*;
use vb3_machine::Profile;
use vb3_machine::profile::BUILTINS;
use vb3_plane::Allocator;
use vb3_queue::{Coherency, DriverError, HintSkip, Memory};

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![
        4 => Just(Memory::Mmap),
        3 => Just(Memory::DmaBuf),
        2 => Just(Memory::UserPtr)
    ]
}

fn coherency() -> impl Strategy<Value = Coherency> {
    prop_oneof![Just(Coherency::Coherent), Just(Coherency::NonCoherent)]
}

fn offer() -> impl Strategy<Value = Offer> {
    (memory(), 0_usize..8, 0_u8..8).prop_map(|(memory, nth, bits)| Offer {
        memory,
        nth,
        // Half of the buffers have no hints.
        hints: HintSkip::from_bits_truncate(if bits < 4 { bits } else { 0 }),
    })
}

/// Generates the operations that pass a frame from one queue to the other.
fn often() -> impl Strategy<Value = Op> {
    let side = 0..=OUTPUT;
    let index = 0_u32..5;
    prop_oneof![
        14 => (side.clone(), index.clone(), offer()).prop_map(|(s, i, o)| Op::Queue(s, i, o)),
        4 => (side.clone(), index.clone(), offer()).prop_map(|(s, i, o)| Op::Prepare(s, i, o)),
        9 => (side.clone(), 0_usize..8, prop::bool::weighted(0.2)).prop_map(|(s, n, bad)| {
            let outcome = if bad { Err(DriverError::EIO) } else { Ok(()) };
            Op::Work(s, n, outcome)
        }),
        4 => (side.clone(), 0_usize..8).prop_map(|(s, n)| Op::Last(s, n)),
        12 => side.clone().prop_map(Op::Dequeue),
        4 => side.clone().prop_map(Op::On),
        5 => (side.clone(), index.clone()).prop_map(|(s, i)| Op::Export(s, i)),
        3 => (side.clone(), index).prop_map(|(s, i)| Op::Mmap(s, i)),
        2 => (0_usize..8).prop_map(Op::MmapBuf),
        5 => (0_usize..8, 0_u64..8).prop_map(|(n, flags)| Op::Sync(n, flags)),
        5 => (0_usize..8).prop_map(Op::Write),
        2 => (0_usize..8).prop_map(Op::WriteSlot),
    ]
}

fn seldom() -> impl Strategy<Value = Op> {
    let side = 0..=OUTPUT;
    prop_oneof![
        5 => (side.clone(), memory(), 0_u32..5, coherency())
            .prop_map(|(s, m, n, c)| Op::Reqbufs(s, m, n, c)),
        4 => (side.clone(), memory(), 0_u32..3, coherency())
            .prop_map(|(s, m, n, c)| Op::Create(s, m, n, c)),
        2 => (side.clone(), 0_u32..5, 0_u32..3).prop_map(|(s, i, n)| Op::Remove(s, i, n)),
        3 => side.clone().prop_map(Op::Off),
        2 => (side.clone(), 0_usize..8).prop_map(|(s, n)| Op::DropToken(s, n)),
        1 => side.clone().prop_map(Op::SetError),
        1 => side.clone().prop_map(Op::Wait),
        2 => side.clone().prop_map(Op::Wake),
        2 => side.clone().prop_map(Op::Poll),
        1 => side.prop_map(Op::Release),
        3 => (0_usize..8).prop_map(Op::CloseBuf),
        3 => (0_usize..8).prop_map(Op::Munmap),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![3 => often(), 2 => seldom()]
}

/// Returns every built-in machine, with three mixes of allocators.
pub(crate) fn setups() -> Vec<Setup> {
    use Allocator::{Contig, Vmalloc};
    let mixes = [[Contig, Contig], [Vmalloc, Contig], [Contig, Vmalloc]];
    let setup = |machine: &'static str, allocators| Setup {
        machine,
        seed: 11,
        allocators,
        planes: 1,
        files: false,
    };
    let machines = BUILTINS.iter().map(|(name, _)| *name);
    machines
        .flat_map(|name| mixes.map(|mix| setup(name, mix)))
        .collect()
}

/// Returns whether scattered pages become one run for devices: by an IOMMU, or in a bounce pool.
pub(crate) fn joins_pages(setup: Setup) -> bool {
    let profile = Profile::builtin(setup.machine).expect("built in");
    profile.iommu.is_some() || profile.private_memory
}

/// Returns operations that make buffers on both sides, so that short runs reach streaming. The program has
/// mapped and exported those of `exporter`.
pub(crate) fn prelude(exporter: usize, memory: Memory, coherency: Coherency) -> Vec<Op> {
    let importer = 1 - exporter;
    let mut ops = vec![
        Op::Reqbufs(exporter, Memory::Mmap, 3, coherency),
        Op::Export(exporter, 0),
        Op::Export(exporter, 1),
        Op::Mmap(exporter, 0),
        Op::MmapBuf(1),
        Op::Reqbufs(importer, memory, 3, coherency),
        Op::On(0),
        Op::On(1),
    ];
    for index in 0..2 {
        let offer = |memory| Offer {
            memory,
            nth: index as usize,
            hints: HintSkip::empty(),
        };
        ops.push(Op::Queue(exporter, index, offer(Memory::Mmap)));
        ops.push(Op::Queue(importer, index, offer(memory)));
    }
    ops
}

/// In three of four cases, changes the memory model of an offer to the queue's.
fn fitting(lab: &Lab, op: Op) -> Op {
    let fit = |side: usize, offer: Offer| match lab.sides[side].queue.memory() {
        Some(memory) if offer.nth % 4 != 3 => Offer { memory, ..offer },
        _ => offer,
    };
    match op {
        Op::Prepare(side, index, offer) => Op::Prepare(side, index, fit(side, offer)),
        Op::Queue(side, index, offer) => Op::Queue(side, index, fit(side, offer)),
        other => other,
    }
}

fn run(setup: Setup, ops: &[Op]) {
    let mut lab = Lab::new(setup);
    let mut model = Model::new(setup);
    for (op, stamp) in ops.iter().zip(1..) {
        let op = &fitting(&lab, *op);
        let said = lab.apply(*op, stamp);
        model.step(*op, stamp, &said);
        model.compare(&mut lab);
    }
    lab.end();
}

/// An offer of the queue's own memory.
const OWN: Offer = Offer {
    memory: Memory::Mmap,
    nth: 0,
    hints: HintSkip::empty(),
};

/// Two buffers name one dma-buf, and share its bounced copy. While the device has the second one, a
/// sync for the CPU copies what the device may have written over what the program wrote.
#[test]
fn a_shared_copy_is_copied_back_while_in_use() {
    let second = Offer {
        memory: Memory::DmaBuf,
        ..OWN
    };
    let mut ops = prelude(OUTPUT, Memory::DmaBuf, Coherency::Coherent);
    ops.extend([
        Op::Prepare(0, 2, second),
        Op::DropToken(0, 0),
        Op::Write(0),
        Op::Sync(0, 1),
    ]);
    for setup in setups() {
        run(setup, &ops);
    }
}

/// A program writes to its mapping of a buffer before QBUF, while another device has the memory mapped.
#[test]
fn bytes_before_queueing_reach_a_cpu_driver() {
    for (exporter, nth) in [(0, 5), (OUTPUT, 2)] {
        let mut ops = prelude(exporter, Memory::DmaBuf, Coherency::Coherent);
        let own = |index| Op::Queue(exporter, index, OWN);
        ops.extend([Op::Mmap(1, 0), Op::Off(exporter), Op::Write(nth)]);
        ops.extend([own(0), own(1)]);
        for setup in setups() {
            run(setup, &ops);
        }
    }
}

/// After the last buffer, a camera's program gets no more, even if more are done. A display's program goes on.
#[test]
fn nothing_follows_the_last_buffer_of_a_camera() {
    let mut ops = prelude(0, Memory::DmaBuf, Coherency::Coherent);
    for side in 0..=OUTPUT {
        ops.extend([Op::Last(side, 0), Op::Work(side, 0, Ok(()))]);
        ops.extend([Op::Dequeue(side), Op::Poll(side), Op::Dequeue(side)]);
        ops.extend([Op::Off(side), Op::Queue(side, 0, OWN), Op::On(side)]);
    }
    for setup in setups() {
        run(setup, &ops);
    }
}

/// A camera has two dma-bufs of one memory, each with a bounced copy. A sync copies both back, in the order
/// of attaching.
#[test]
fn two_copies_of_a_memory_come_back_in_order() {
    let import = |nth| Offer {
        memory: Memory::DmaBuf,
        nth,
        ..OWN
    };
    let mut ops = prelude(OUTPUT, Memory::Mmap, Coherency::Coherent);
    ops.extend([
        Op::Off(0),
        Op::Export(OUTPUT, 0),
        Op::Reqbufs(0, Memory::DmaBuf, 2, Coherency::Coherent),
        Op::On(0),
        Op::Queue(0, 0, import(2)),
        Op::Write(0),
        Op::Queue(0, 1, import(0)),
        Op::Sync(2, 1),
    ]);
    for setup in setups() {
        run(setup, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_queues_follow_the_model_on_every_machine(
        exporter in 0..=OUTPUT,
        memory in memory(),
        coherency in coherency(),
        ops in prop::collection::vec(op(), 1..160),
    ) {
        let mut all = prelude(exporter, memory, coherency);
        all.extend(ops);
        for setup in setups() {
            run(setup, &all);
        }
    }
}
