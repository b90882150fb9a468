//! Compares `vb3 fits` with a program's own calls.

use super::{Arg, Bench, CAPTURE, Local, MMAP, OUTPUT};
use crate::{Fit, Run};
use std::mem::{offset_of, size_of};
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::FileId;
use vb3_machine::Profile;
use vb3_machine::profile::{BUILTINS, PAGE_SIZE};
use vb3_v4l2::sys::*;

/// Number of cases unless PROPTEST_CASES is set.
const CASES: u64 = 150;
const M: u64 = 1 << 20;

/// A sequence of numbers that depends on a seed.
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

/// Returns a small machine of any kind, so that memory is short.
fn machine(dice: &mut Dice) -> Profile {
    let at = usize::try_from(dice.below(BUILTINS.len() as u64)).unwrap();
    let mut profile = Profile::builtin(BUILTINS[at].0).unwrap();
    profile.ram = (16 + dice.below(48)) * M + profile.bounce.pool;
    if profile.cma > 0 {
        profile.cma = (1 + dice.below(12)) * M;
    }
    if profile.sram > 0 {
        profile.sram = (1 + dice.below(6)) * M;
    }
    profile
}

fn device(dice: &mut Dice) -> String {
    // A webcam's driver has no REMOVE_BUFS.
    let kind = dice.one(&["camera,identity=plain", "display"]);
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
    let sizes = if kind.starts_with("camera") {
        ",sizes="
    } else {
        ",size="
    };
    let rest = if dice.below(6) == 0 {
        dice.one(&[",alloc=sg", ",alloc=vmalloc"]).to_owned()
    } else {
        format!("{place}{limit}")
    };
    let admission = dice.one(&["", "", ",admission=on"]);
    format!("{kind}{sizes}{size}{rest}{admission}")
}

/// Returns how many usable buffers a program gets. It requests `count` buffers for each node and then uses
/// all of them.
fn asked(profile: Profile, specs: &[DeviceSpec], kinds: &[u32], count: u32) -> Vec<u32> {
    let mut bench = Bench {
        run: Run::new(profile, specs, 1).unwrap(),
        program: Local::new(),
    };
    let files: Vec<_> = (0..).zip(kinds).map(|(node, _)| bench.open(node)).collect();
    let mut got = Vec::new();
    for (&file, &kind) in files.iter().zip(kinds) {
        let mut arg = Arg::new(
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
    let held = bench.run.memory.ops().platform().held();
    assert_eq!((held.ram_bytes.div_ceil(PAGE_SIZE), held.pins), (0, 0));
    got
}

/// Most of the machines are too small for all buffers; the other machines have room for all.
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
        let Ok(mut run) = Run::new(profile.clone(), &specs, 1) else {
            continue;
        };
        let fits: Vec<Fit> = run.fits(count);
        let held = run.memory.ops().platform().held().ram_bytes;
        // A device with `admission=on` gets no buffers if not all of them fit.
        let gets = |(fit, spec): (&Fit, &DeviceSpec)| match spec.admission && fit.buffers < count {
            true => 0,
            false => fit.buffers,
        };
        let told: Vec<u32> = fits.iter().zip(&specs).map(gets).collect();
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

impl Bench {
    /// Calls REQBUFS on one queue. Returns the number of buffers, or the errno.
    fn request(&mut self, (file, kind): (FileId, u32), count: u32) -> Result<u32, i32> {
        let fields = [
            (offset_of!(v4l2_requestbuffers, count), count),
            (offset_of!(v4l2_requestbuffers, type_), kind),
            (offset_of!(v4l2_requestbuffers, memory), MMAP),
        ];
        let mut arg = Arg::new(size_of::<v4l2_requestbuffers>(), &fields);
        self.try_ioctl(file, VIDIOC_REQBUFS, &mut arg)?;
        Ok(arg.u32(offset_of!(v4l2_requestbuffers, count)))
    }

    /// Calls QBUF for each buffer. Returns how many succeed.
    fn use_all(&mut self, (file, kind): (FileId, u32), count: u32) -> u32 {
        let queued = |index: &u32| {
            let mut arg = Self::buffer(kind, MMAP, *index);
            self.try_ioctl(file, VIDIOC_QBUF, &mut arg).is_ok()
        };
        u32::try_from((0..count).take_while(queued).count()).unwrap()
    }

    /// Calls REMOVE_BUFS for one buffer.
    fn remove(&mut self, (file, kind): (FileId, u32), index: u32) {
        let fields = [
            (offset_of!(v4l2_remove_buffers, index), index),
            (offset_of!(v4l2_remove_buffers, count), 1),
            (offset_of!(v4l2_remove_buffers, type_), kind),
        ];
        let mut arg = Arg::new(size_of::<v4l2_remove_buffers>(), &fields);
        self.try_ioctl(file, VIDIOC_REMOVE_BUFS, &mut arg).unwrap();
    }

    fn ram_held(&self) -> u64 {
        self.run.memory.ops().platform().held().ram_bytes
    }
}

/// The mask limits addresses on the bus, and each buffer takes 1 MiB because of its alignment.
#[test]
fn window_above_the_mask_is_used_up_to_its_end() {
    // The window is the first 16 MiB of the contiguous area.
    let spec = "camera,sizes=640x480,admission=on,mask=24,window=0x100000-0x10fffff@0x0";
    let mut bench = Bench::new("soc-cma", &[spec]);
    let camera = (bench.open(0), CAPTURE);
    assert_eq!(bench.request(camera, 20), Err(12));
    let report = bench.run.report();
    let room = report.refusals[0].room.unwrap();
    assert_eq!((room.fits, room.free_bytes), (16, 16 * M));
    assert_eq!(bench.request(camera, 16), Ok(16));
}

/// Other users of memory act at random. If REQBUFS succeeds, all its buffers can be used. If REQBUFS fails,
/// it holds nothing, and the report names a number of buffers that fits.
#[test]
fn all_or_none_queue_is_never_promised_too_much() {
    let (mut yes, mut no, mut fewer) = (0, 0, 0);
    let cases = std::env::var("PROPTEST_CASES").ok();
    for seed in 0..cases.map_or(CASES, |n| n.parse().unwrap()) {
        let mut dice = Dice(seed);
        let profile = machine(&mut dice);
        let mut words: Vec<String> = (0..1 + dice.below(4)).map(|_| device(&mut dice)).collect();
        let last = words.len() - 1;
        if !words[last].contains("admission") {
            words[last].push_str(",admission=on");
        }
        let specs: Vec<DeviceSpec> = words.iter().map(|w| w.parse().unwrap()).collect();
        let Ok(run) = Run::new(profile.clone(), &specs, 1) else {
            continue;
        };
        let program = Local::new();
        let mut bench = Bench { run, program };
        let kind = |word: &String| match word.starts_with("camera") {
            true => CAPTURE,
            false => OUTPUT,
        };
        let mut queues = Vec::new();
        for (node, word) in (0..).zip(&words) {
            queues.push((bench.open(node), kind(word)));
        }
        // Other queues allocate memory, use some of it and free some of it.
        let (&asking, others) = queues.split_last().unwrap();
        for &other in others {
            let wanted = 1 + u32::try_from(dice.below(12)).unwrap();
            let count = bench.request(other, wanted).unwrap_or(0);
            let gone = |dice: &mut Dice| (0..count).filter(|_| dice.below(3) == 0).collect();
            let gone: Vec<u32> = gone(&mut dice);
            gone.into_iter()
                .for_each(|index| bench.remove(other, index));
            bench.use_all(other, count);
        }
        let context = format!("seed {seed}: {} with {words:?}", profile.name);
        let wanted = 2 + u32::try_from(dice.below(12)).unwrap();
        let before = bench.ram_held();
        match bench.request(asking, wanted) {
            Ok(count) => {
                assert_eq!(count, wanted, "{context}");
                // Other queues allocate before the buffers are used.
                for &other in others {
                    let more = bench.request(other, 32).unwrap_or(0);
                    bench.use_all(other, more);
                }
                assert_eq!(bench.use_all(asking, count), count, "{context}");
                yes += 1;
            }
            Err(errno) => {
                assert_eq!((errno, bench.ram_held()), (12, before), "{context}");
                no += 1;
                let refusals = bench.run.report().refusals;
                let node = format!("/dev/video{last}");
                let own = refusals.iter().find(|refusal| refusal.device == node);
                let room = own.and_then(|refusal| refusal.room);
                let room = room.unwrap_or_else(|| panic!("{context}: {refusals:?}"));
                assert_eq!(room.wanted, u64::from(wanted), "{context}");
                assert!(room.fits < room.wanted, "{context}: {room:?}");
                if room.fits > 1 {
                    let fits = u32::try_from(room.fits).unwrap();
                    assert_eq!(bench.request(asking, fits), Ok(fits), "{context}");
                    assert_eq!(bench.use_all(asking, fits), fits, "{context}");
                    fewer += 1;
                }
            }
        }
        let files: Vec<_> = queues.iter().map(|(file, _)| *file).collect();
        bench.close_all(&files);
        assert_eq!(bench.ram_held(), 0, "{context}");
    }
    println!("{yes} yes, {no} no, of which {fewer} with fewer");
    assert!(yes > 20 && no > 20 && fewer > 5, "{yes}, {no}, {fewer}");
}
