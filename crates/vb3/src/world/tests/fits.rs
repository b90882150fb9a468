//! `vb3 fits` against what the same calls of a program then get.

use super::{Bench, CAPTURE, Local, MMAP, OUTPUT};
use crate::world::{Fit, World};
use std::mem::{offset_of, size_of};
use vb3_devices::spec::DeviceSpec;
use vb3_machine::Profile;
use vb3_machine::profile::{BUILTINS, PAGE_SIZE};
use vb3_v4l2::sys::*;

/// Unless PROPTEST_CASES says more.
const CASES: u64 = 150;
const M: u64 = 1 << 20;

/// A sequence of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A small machine of any kind, so that memory is short.
fn machine(dice: &mut Dice) -> Profile {
    let at = usize::try_from(dice.below(BUILTINS.len() as u64)).unwrap();
    let mut profile = Profile::builtin(BUILTINS[at].0).unwrap();
    profile.ram = (16 + dice.below(48)) * M + profile.bounce_pool;
    if profile.cma > 0 {
        profile.cma = (1 + dice.below(12)) * M;
    }
    if profile.sram > 0 {
        profile.sram = (1 + dice.below(6)) * M;
    }
    profile
}

fn device(dice: &mut Dice) -> String {
    let kind = dice.one(&["camera", "display"]);
    let size = dice.one(&["64x48", "320x240", "640x480", "1280x720", "1920x1080"]);
    let place = dice.one(&[
        "",
        ",place=lazy",
        ",place=lazy,contiguous=on",
        ",contiguous=on",
    ]);
    let limit = dice.one(&[
        "",
        "",
        ",mask=24",
        ",align=64KiB",
        ",boundary=8MiB",
        ",window=0x0-0x3ffffff@0xc0000000",
        ",window=0x1000000-0x3ffffff@0x0",
    ]);
    let sizes = if kind == "camera" {
        ",sizes="
    } else {
        ",size="
    };
    let rest = if dice.below(6) == 0 {
        dice.one(&[",alloc=sg", ",alloc=vmalloc"]).to_owned()
    } else {
        format!("{place}{limit}")
    };
    format!("{kind}{sizes}{size}{rest}")
}

/// What a program gets that asks for `count` buffers of each node in turn, and then uses them all.
fn asked(profile: Profile, specs: &[DeviceSpec], kinds: &[u32], count: u32) -> Vec<u32> {
    let mut bench = Bench {
        world: World::new(profile, specs, 1).unwrap(),
        program: Local::new(),
    };
    let files: Vec<_> = (0..).zip(kinds).map(|(node, _)| bench.open(node)).collect();
    let mut got = Vec::new();
    for (&file, &kind) in files.iter().zip(kinds) {
        let mut arg = super::Arg::new(
            size_of::<v4l2_requestbuffers>(),
            &[
                (offset_of!(v4l2_requestbuffers, count), count),
                (offset_of!(v4l2_requestbuffers, type_), kind),
                (offset_of!(v4l2_requestbuffers, memory), MMAP),
            ],
        );
        got.push(match bench.try_ioctl(file, VIDIOC_REQBUFS, &mut arg) {
            Ok(_) => arg.u32(offset_of!(v4l2_requestbuffers, count)),
            Err(12) => 0,
            Err(e) => panic!("REQBUFS: errno {e}"),
        });
    }
    for ((&file, &kind), got) in files.iter().zip(kinds).zip(&mut got) {
        for index in 0..*got {
            let mut arg = Bench::buffer(kind, MMAP, index);
            if bench.try_ioctl(file, VIDIOC_QBUF, &mut arg).is_err() {
                *got = index;
                break;
            }
        }
    }
    bench.close_all(&files);
    let held = bench.world.memory.ops().platform().held();
    assert_eq!((held.ram_bytes.div_ceil(PAGE_SIZE), held.pins), (0, 0));
    got
}

/// Most machines are too small for all; the ones that are not prove that not all are.
#[test]
fn what_fits_is_what_a_program_gets() {
    let (mut all, mut some, mut none) = (0, 0, 0);
    let cases = std::env::var("PROPTEST_CASES").ok();
    for seed in 0..cases.map_or(CASES, |n| n.parse().unwrap()) {
        let mut dice = Dice(seed);
        let profile = machine(&mut dice);
        let words: Vec<String> = (0..1 + dice.below(4)).map(|_| device(&mut dice)).collect();
        let specs: Vec<DeviceSpec> = words.iter().map(|w| w.parse().unwrap()).collect();
        let kind = |word: &String| {
            if word.starts_with("camera") {
                CAPTURE
            } else {
                OUTPUT
            }
        };
        let kinds: Vec<u32> = words.iter().map(kind).collect();
        let count = 1 + u32::try_from(dice.below(12)).unwrap();
        let Ok(mut world) = World::new(profile.clone(), &specs, 1) else {
            continue;
        };
        let fits: Vec<Fit> = world.fits(count);
        let held = world.memory.ops().platform().held().ram_bytes;
        let told: Vec<u32> = fits.iter().map(|fit| fit.buffers).collect();
        let got = asked(profile.clone(), &specs, &kinds, count);
        assert_eq!(
            told, got,
            "seed {seed}: {} with {words:?}, {count}",
            profile.name
        );
        assert_eq!(held, 0, "seed {seed}: given back");
        match told.iter().filter(|&&told| told >= count).count() {
            yes if yes == told.len() => all += 1,
            0 => none += 1,
            _ => some += 1,
        }
    }
    println!("{all} machines hold all, {some} some, {none} none");
    assert!(all > 20 && some > 20 && none > 5, "{all}, {some}, {none}");
}
