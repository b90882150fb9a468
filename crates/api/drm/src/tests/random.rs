//! Random calls: no panic, no endless wait, and everything goes back.

use super::bench::{Bench, request_of};
use crate::bytes::{Image, MAX_ARG};
use crate::request::REQUESTS;
use crate::{CallContext, Outcome};
use std::collections::BTreeSet;

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

#[test]
fn random_calls_return_everything() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20 {
        let mut bench = Bench::new();
        let a = bench.open();
        bench.light(a);
        let mut files = vec![a, bench.open()];
        for call in 0..2000u64 {
            let spec = &REQUESTS[random.next(REQUESTS.len() as u64) as usize];
            let mut arg = Image([0; MAX_ARG]);
            for at in (0..spec.size.min(MAX_ARG - 4)).step_by(4) {
                let high = at % 8 == 4 && random.next(2) == 0;
                arg.set_u32(at, if high { 0 } else { random.word() });
            }
            let at = super::bench::BASE + random.next(1 << 13) * 8;
            let noise: Vec<u8> = (0..64).flat_map(|_| random.word().to_ne_bytes()).collect();
            let _ = crate::Program::write(&mut bench.world, at, &noise);
            let file = files[random.next(files.len() as u64) as usize];
            let cx = CallContext {
                arg: 0,
                file,
                call: round << 32 | call,
                now_ns: bench.now_ns,
                nonblocking: random.next(2) == 0,
            };
            let request = request_of(spec.number.into(), spec.size);
            if bench.try_call(cx, request, &mut arg) == -1 {
                bench.card.abandon(cx.call);
            }
            files.append(&mut bench.world.installed);
            bench.now_ns += random.next(20_000_000);
            bench
                .card
                .advance(bench.now_ns, &mut bench.world, &|_| true);
            bench.card.take_shown();
            bench
                .world
                .fences
                .values_mut()
                .for_each(|pending| *pending = false);
        }
        for file in files {
            bench.card.close(file, &mut bench.world);
        }
        for _ in 0..3 {
            bench.now_ns += 1_000_000_000;
            bench
                .card
                .advance(bench.now_ns, &mut bench.world, &|_| true);
            bench.card.take_shown();
            bench.card.collect(&mut bench.world);
        }
        // Framebuffers that a program closed while they were shown stay on the screen.
        let planes = bench.card.state.planes.iter();
        let shown = planes
            .filter_map(|plane| plane.fb.as_ref())
            .flat_map(|fb| &fb.planes);
        let shown: BTreeSet<_> = shown.map(|plane| plane.buffer).collect();
        assert_eq!(
            bench.world.buffers.into_keys().collect::<BTreeSet<_>>(),
            shown
        );
        assert!(bench.card.files.is_empty() && bench.card.buffers.len() == shown.len());
    }
}

#[test]
fn every_number_and_size_has_an_answer() {
    let mut bench = Bench::new();
    let a = bench.open();
    for number in 0..256 {
        for size in [0, 1, 7, 64, 16383] {
            let cx = CallContext {
                arg: 0,
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
