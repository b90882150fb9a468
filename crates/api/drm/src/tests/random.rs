//! Random calls: no panic, no endless wait, and everything goes back.

use super::bench::{Bench, request_of};
use crate::bytes::{Image, MAX_ARG};
use crate::card::{MAX_BLOBS, MAX_FRAMEBUFFERS};
use crate::file::EVENT_BYTES;
use crate::gem::MAX_HANDLES;
use crate::request::REQUESTS;
use crate::{BufferId, CallContext, FileId, Framebuffer, Outcome};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A small generator of numbers (xorshift), so that each run tries the same calls.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Returns a word that often means something: an id, a flag, an address.
    fn word(&mut self) -> u32 {
        match self.next(8) {
            0 => 0,
            1 => 1 << self.next(32),
            2 => self.next(1 << 32) as u32,
            3 => 32 + self.next(40) as u32,
            4 => (super::bench::BASE + self.next(1 << 15) * 4) as u32,
            5 => [1024, 768, 64, 4096, u32::from_le_bytes(*b"XR24")][self.next(5) as usize],
            6 => 100 + self.next(900) as u32,
            _ => 1 + self.next(8) as u32,
        }
    }
}

/// Makes random calls on a card in rounds, and checks the card's tables during each round and at its end.
fn call_at_random(random: &mut Random, rounds: u64, calls: u64) {
    for round in 0..rounds {
        let mut bench = Bench::new();
        let a = bench.open();
        bench.light(a);
        let mut files = vec![a, bench.open()];
        for call in 0..calls {
            call_once(random, &mut bench, &mut files, round << 32 | call);
            if call % 64 == 0 {
                check_tables(&bench);
            }
        }
        for file in files {
            bench.card.close(file, &mut bench.world);
        }
        for _ in 0..3 {
            pass(&mut bench, 1_000_000_000);
        }
        // Framebuffers that a program closed while they were shown stay on the screen.
        let shown = bench.card.state.planes.iter();
        let shown: BTreeSet<_> = shown.flat_map(|plane| buffers(plane.fb.as_ref())).collect();
        assert_eq!(
            bench.world.buffers.into_keys().collect::<BTreeSet<_>>(),
            shown
        );
        let card = bench.card;
        assert!(card.files.is_empty() && card.buffers.len() == shown.len());
        assert!(card.masters.is_empty() && card.waits.is_empty());
        assert!(card.offsets.len() <= shown.len() && card.names.len() <= shown.len());
        assert!(bench.world.fences.is_empty(), "fences that nothing holds");
    }
}

/// Makes one call with random fields, and lets some time pass. Now and then a file is closed or opened instead.
fn call_once(random: &mut Random, bench: &mut Bench, files: &mut Vec<FileId>, call: u64) {
    let nth = random.next(files.len() as u64) as usize;
    match random.next(500) {
        0 if files.len() > 1 => bench.card.close(files.swap_remove(nth), &mut bench.world),
        1 if files.len() < 8 => files.push(bench.open()),
        _ => {}
    }
    let file = files[random.next(files.len() as u64) as usize];
    let spec = &REQUESTS[random.next(REQUESTS.len() as u64) as usize];
    let mut arg = Image([0; MAX_ARG]);
    for at in (0..spec.size.min(MAX_ARG - 4)).step_by(4) {
        let high = at % 8 == 4 && random.next(2) == 0;
        arg.set_u32(at, if high { 0 } else { random.word() });
    }
    let at = super::bench::BASE + random.next(1 << 13) * 8;
    let noise: Vec<u8> = (0..64).flat_map(|_| random.word().to_ne_bytes()).collect();
    let _ = crate::Program::write(&mut bench.world, at, &noise);
    let cx = CallContext {
        file,
        call,
        now_ns: bench.now_ns,
        nonblocking: random.next(2) == 0,
    };
    let request = request_of(spec.number.into(), spec.size);
    if bench.try_call(cx, request, &mut arg) == -1 {
        bench.card.abandon(cx.call);
    }
    files.append(&mut bench.world.installed);
    pass(bench, random.next(20_000_000));
    let fences = bench.world.fences.values_mut();
    fences.for_each(|pending| *pending = false);
}

fn pass(bench: &mut Bench, ns: u64) {
    bench.now_ns += ns;
    let world = &mut bench.world;
    bench.card.advance(bench.now_ns, world, &|_| true);
    bench.card.take_shown();
    bench.card.take_changed();
    bench.card.collect(world);
}

fn buffers(fb: Option<&Arc<Framebuffer>>) -> impl Iterator<Item = BufferId> {
    let planes = fb.into_iter().flat_map(|fb| &fb.planes);
    planes.map(|plane| plane.buffer)
}

/// Checks that handles, names, offsets, framebuffers and planes name buffers that are there, and that each table has
/// at most as many entries as its limit.
fn check_tables(bench: &Bench) {
    let card = &bench.card;
    let handles = card.files.values().flat_map(|file| file.handles.values());
    let planes = card.state.planes.iter().chain(&card.shown);
    let planes = planes.flat_map(|plane| buffers(plane.fb.as_ref()));
    let fbs = card.framebuffers.values();
    let fbs = fbs.flat_map(|(fb, _)| buffers(Some(fb)));
    let tables = card.offsets.values().chain(card.names.values());
    for id in handles.chain(tables).copied().chain(planes).chain(fbs) {
        assert!(bench.world.buffers.contains_key(&id), "{id:?} was freed");
        assert!(card.buffers.contains_key(&id), "{id:?} is not counted");
    }
    for file in card.files.values() {
        assert!(file.handles.len() <= MAX_HANDLES && file.by_buffer.len() <= file.handles.len());
        assert!(file.events.len() * 32 <= EVENT_BYTES);
    }
    let planes = card.planes.len();
    assert!(card.framebuffers.len() <= MAX_FRAMEBUFFERS + planes);
    assert!(card.blobs.len() <= MAX_BLOBS + planes);
    assert!(card.orphans.len() <= card.framebuffers.len() + card.blobs.len());
    // Each master but the current one has a file.
    assert!(card.masters.len() <= card.files.len() + 1);
    assert!(card.outputs.len() <= card.crtcs.len() && card.waits.len() <= 1);
    let fences = card.vblanks.iter().flat_map(|vblank| &vblank.pending);
    let fences: usize = fences.map(|pending| pending.fences.len()).sum();
    assert_eq!(
        fences,
        bench.world.fences.len(),
        "fences that nothing waits for"
    );
}

#[test]
fn random_calls_return_everything() {
    call_at_random(&mut Random(0x9e37_79b9_7f4a_7c15), 20, 500);
}

#[test]
#[ignore = "full: a million calls take a minute"]
fn a_million_random_calls_return_everything() {
    call_at_random(&mut Random(0x2545_f491_4f6c_dd1d), 10, 100_000);
}

#[test]
fn every_number_and_size_has_an_answer() {
    let mut bench = Bench::new();
    let a = bench.open();
    for number in 0..256 {
        for size in [0, 1, 7, 64, 16383] {
            let cx = CallContext {
                file: a,
                call: 1,
                now_ns: 0,
                nonblocking: true,
            };
            let request = request_of(number, size);
            let done = bench
                .card
                .ioctl(cx, request, super::bench::BASE, &mut bench.world);
            assert_ne!(done, Outcome::Wait, "{number:#x}");
        }
    }
}
