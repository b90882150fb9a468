//! Atomic commits.

use super::bench::{
    Bench, CONNECTOR, CRTC, CURSOR, ENCODER, FENCE_FD, OTHER_FD, PRIMARY, fields, mode,
};
use crate::mode::Mode;
use crate::property::{
    ACTIVE, CRTC_H, CRTC_ID, CRTC_W, CRTC_X, DPMS, FB_ID, IN_FENCE_FD, MODE_ID, OUT_FENCE_PTR,
    PLANE, SRC_H, SRC_W, TYPE,
};
use crate::request::Call;
use crate::{FileId, Program};

const EVENT: u32 = 1;
const TEST: u32 = 0x100;
const NONBLOCK: u32 = 0x200;
pub(super) const ALLOW: u32 = 0x400;

pub(super) type Setting = (u32, u32, u64);

pub(super) fn commit(bench: &mut Bench, file: FileId, flags: u32, settings: &[Setting]) -> i32 {
    let words = |of: fn(&Setting) -> u32| settings.iter().map(of).collect::<Vec<_>>();
    let objects = bench.words(0x1000, &words(|s| s.0));
    let counts = bench.words(0x2000, &vec![1; settings.len()]);
    let properties = bench.words(0x3000, &words(|s| s.1));
    let halves = settings
        .iter()
        .flat_map(|s| [s.2 as u32, (s.2 >> 32) as u32]);
    let values = bench.words(0x4000, &halves.collect::<Vec<_>>());
    let list = [
        (0, flags),
        (4, settings.len() as u32),
        (8, objects),
        (16, counts),
        (24, properties),
        (32, values),
        (48, 77),
    ];
    bench.with(file, Call::Atomic, &list)
}

pub(super) fn open(bench: &mut Bench) -> FileId {
    let a = bench.open();
    assert_eq!(bench.with(a, Call::SetClientCap, &[(0, 3), (8, 1)]), 0);
    a
}

pub(super) fn mode_blob(bench: &mut Bench, file: FileId) -> u64 {
    blob_of(bench, file, mode())
}

fn blob_of(bench: &mut Bench, file: FileId, mode: Mode) -> u64 {
    bench
        .world
        .write(super::bench::BASE + 0x5000, &mode.0)
        .expect("room");
    let mut blob = fields(&[(0, (super::bench::BASE + 0x5000) as u32), (8, 68)]);
    assert_eq!(bench.call(file, Call::CreateBlob, &mut blob), 0);
    blob.u32(12).into()
}

fn plane(fb: u32) -> [Setting; 6] {
    [
        (PRIMARY, FB_ID, fb.into()),
        (PRIMARY, CRTC_ID, CRTC.into()),
        (PRIMARY, SRC_W, 1024 << 16),
        (PRIMARY, SRC_H, 768 << 16),
        (PRIMARY, CRTC_W, 1024),
        (PRIMARY, CRTC_H, 768),
    ]
}

pub(super) fn full(fb: u32, blob: u64) -> Vec<Setting> {
    let modes = [
        (CRTC, ACTIVE, 1),
        (CRTC, MODE_ID, blob),
        (CONNECTOR, CRTC_ID, CRTC.into()),
    ];
    plane(fb).into_iter().chain(modes).collect()
}

#[test]
fn flags_and_values_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("d", "flags");
    let a = open(&mut bench);
    let (fb, blob) = (bench.fb(a, 1024, 768), mode_blob(&mut bench, a));
    let short = {
        let mut arg = fields(&[(0, super::bench::BASE as u32), (8, 10)]);
        bench.call(a, Call::CreateBlob, &mut arg);
        u64::from(arg.u32(12))
    };
    let errno = bench.with(a, Call::Atomic, &[(40, 1)]);
    bench.row("reserved", errno);
    let minus = |n: i64| n.cast_unsigned();
    let one = |object, property, value| vec![(object, property, value)];
    for (name, flags, settings) in [
        ("empty, flags 0", 0, vec![]),
        ("empty, TEST_ONLY", TEST, vec![]),
        ("empty, EVENT", EVENT, vec![]),
        ("empty, EVENT|TEST_ONLY", EVENT | TEST, vec![]),
        ("ASYNC", 2, vec![]),
        ("flag 0x800", 0x800, vec![]),
        ("TARGET 4", 4, vec![]),
        ("unknown object", 0, one(9999, TYPE, 0)),
        ("unknown property", 0, one(PRIMARY, 9999, 0)),
        ("property of another type", 0, one(PRIMARY, ACTIVE, 0)),
        ("object without properties (fb)", 0, one(fb, TYPE, 0)),
        ("FB_ID unknown", 0, one(PRIMARY, FB_ID, 9999)),
        ("CRTC_ID unknown", 0, one(PRIMARY, CRTC_ID, 9999)),
        ("IN_FENCE_FD bad fd", 0, one(PRIMARY, IN_FENCE_FD, 77)),
        (
            "IN_FENCE_FD not a sync_file",
            0,
            one(PRIMARY, IN_FENCE_FD, OTHER_FD as u64),
        ),
        ("IN_FENCE_FD -1", 0, one(PRIMARY, IN_FENCE_FD, minus(-1))),
        ("IN_FENCE_FD -2", 0, one(PRIMARY, IN_FENCE_FD, minus(-2))),
        ("immutable", 0, one(PRIMARY, TYPE, 1)),
        ("CRTC_W out of range", 0, one(PRIMARY, CRTC_W, 1 << 31)),
        ("ACTIVE 2", 0, one(CRTC, ACTIVE, 2)),
        ("MODE_ID unknown blob", 0, one(CRTC, MODE_ID, 9999)),
        ("MODE_ID blob of 10 bytes", 0, one(CRTC, MODE_ID, short)),
        ("MODE_ID an fb id", 0, one(CRTC, MODE_ID, fb.into())),
        ("ACTIVE without MODE", ALLOW, one(CRTC, ACTIVE, 1)),
        (
            "MODE, no connector, inactive",
            ALLOW,
            one(CRTC, MODE_ID, blob),
        ),
        (
            "MODE+ACTIVE, no connector",
            ALLOW,
            vec![(CRTC, MODE_ID, blob), (CRTC, ACTIVE, 1)],
        ),
        (
            "connector on crtc without mode",
            ALLOW,
            one(CONNECTOR, CRTC_ID, CRTC.into()),
        ),
        ("plane: fb, no crtc", 0, one(PRIMARY, FB_ID, fb.into())),
        ("plane: crtc, no fb", 0, one(PRIMARY, CRTC_ID, CRTC.into())),
        ("plane on disabled crtc", 0, plane(fb).to_vec()),
    ] {
        let errno = commit(&mut bench, a, flags, &settings);
        bench.row(name, errno);
    }
    let _ = ENCODER;
}

#[test]
fn mode_sets_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("d", "modeset");
    let a = open(&mut bench);
    let (fb, other, blob) = (
        bench.fb(a, 1024, 768),
        bench.fb(a, 1024, 768),
        mode_blob(&mut bench, a),
    );
    let full = full(fb, blob);
    let flip = |fb: u32| vec![(PRIMARY, FB_ID, fb.into())];
    for (name, flags, settings) in [
        ("full, no ALLOW_MODESET", 0, full.clone()),
        ("full TEST_ONLY no ALLOW", TEST, full.clone()),
        ("full TEST_ONLY ALLOW", TEST | ALLOW, full.clone()),
        ("full ALLOW, EVENT", ALLOW | EVENT, full.clone()),
        ("same again, flags 0", 0, full.clone()),
        ("fb only, blocking", 0, flip(other)),
        ("fb, NONBLOCK|EVENT", NONBLOCK | EVENT, flip(fb)),
        (
            "second NONBLOCK|EVENT while pending",
            NONBLOCK | EVENT,
            flip(other),
        ),
        ("blocking while pending", 0, flip(other)),
        ("NONBLOCK (no event)", NONBLOCK, flip(fb)),
        ("NONBLOCK again at once (no event)", NONBLOCK, flip(other)),
    ] {
        let errno = commit(&mut bench, a, flags, &settings);
        bench.row(name, errno);
    }
    let events = bench.events(a);
    assert_eq!(events.iter().map(|e| e.0).collect::<Vec<_>>(), [2, 2]);
    bench.tick();
    let handle = bench.dumb(a, 1024, 768);
    let (_, plain) = bench.fb2(a, (1024, 768), u32::from_le_bytes(*b"RG16"), handle);
    let less = blob_of(&mut bench, a, Mode::new(640, 480, 60, false));
    let less = vec![(CRTC, MODE_ID, less)];
    let errno = commit(&mut bench, a, NONBLOCK, &flip(other));
    bench.row("after 60 ms", errno);
    bench.tick();
    for (name, flags, settings) in [
        (
            "NONBLOCK|ALLOW_MODESET|EVENT full, unchanged",
            NONBLOCK | ALLOW | EVENT,
            full.clone(),
        ),
        ("format change by atomic", 0, flip(plain)),
        ("mode change without ALLOW", 0, less.clone()),
        (
            "mode change ALLOW, plane larger than mode (kept 1024x768)",
            ALLOW,
            less,
        ),
        ("ACTIVE 0 without ALLOW", 0, vec![(CRTC, ACTIVE, 0)]),
        (
            "ACTIVE 0 with ALLOW|EVENT",
            ALLOW | EVENT,
            vec![(CRTC, ACTIVE, 0)],
        ),
        ("fb change while inactive", 0, flip(other)),
        ("fb change while inactive with EVENT", EVENT, flip(fb)),
        ("ACTIVE 1 with ALLOW", ALLOW, vec![(CRTC, ACTIVE, 1)]),
        ("EVENT with no crtc in commit (empty)", EVENT, vec![]),
        (
            "EVENT, connector only (same)",
            EVENT,
            vec![(CONNECTOR, CRTC_ID, CRTC.into())],
        ),
        (
            "EVENT, plane not on a crtc",
            EVENT,
            vec![(super::bench::CURSOR, CRTC_X, 1)],
        ),
    ] {
        let errno = commit(&mut bench, a, flags, &settings);
        bench.row(name, errno);
    }
    assert_eq!(bench.events(a).len(), 3);
    bench.section("d", "legacy on an atomic client");
    let errno = commit(&mut bench, a, 0, &[(CONNECTOR, DPMS, 0)]);
    bench.row("DPMS through ATOMIC", errno);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("SETCRTC", errno);
    let errno = bench.with(a, Call::PageFlip, &[(0, CRTC), (4, other)]);
    bench.row("PAGE_FLIP", errno);
    bench.tick();
    let set = [(0, fb), (8, FB_ID), (12, PRIMARY), (16, PLANE)];
    let errno = bench.with(a, Call::ObjSetProperty, &set);
    bench.row("OBJ_SETPROPERTY FB_ID", errno);
}

#[test]
fn planes_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("d", "planes");
    let a = open(&mut bench);
    let (fb, blob) = (bench.fb(a, 1024, 768), mode_blob(&mut bench, a));
    assert_eq!(commit(&mut bench, a, ALLOW, &full(fb, blob)), 0);
    let handle = bench.dumb(a, 64, 64);
    let argb = u32::from_le_bytes(*b"AR24");
    let (_, small) = bench.fb2(a, (64, 64), argb, handle);
    let cursor = |fb: u32, of: [u64; 4], at: i32| {
        let [from_w, from_h, width, height] = of;
        [
            (CURSOR, FB_ID, fb.into()),
            (CURSOR, CRTC_ID, CRTC.into()),
            (CURSOR, SRC_W, from_w << 16),
            (CURSOR, SRC_H, from_h << 16),
            (CURSOR, CRTC_W, width),
            (CURSOR, CRTC_H, height),
            (CURSOR, CRTC_X, i64::from(at).cast_unsigned()),
        ]
    };
    for (name, fb, of, at) in [
        ("cursor plane on", small, [64; 4], 0),
        ("cursor at -32", small, [64; 4], -32),
        ("cursor off screen", small, [64; 4], 5000),
        ("scaled", small, [64, 64, 128, 128], 0),
        ("src out of fb", small, [128; 4], 0),
        ("crtc_w 0", small, [64, 64, 0, 64], 0),
        ("crtc_x INT_MAX", small, [64; 4], i32::MAX),
        (
            "cursor plane with 1024x768 XR24",
            fb,
            [1024, 768, 1024, 768],
            0,
        ),
    ] {
        let errno = commit(&mut bench, a, 0, &cursor(fb, of, at));
        bench.row(name, errno);
    }
    let half = [
        (PRIMARY, SRC_W, 512 << 16),
        (PRIMARY, SRC_H, 384 << 16),
        (PRIMARY, CRTC_W, 512),
        (PRIMARY, CRTC_H, 384),
    ];
    let errno = commit(&mut bench, a, TEST, &half);
    bench.row("primary smaller than screen, TEST", errno);
    let off = [(PRIMARY, FB_ID, 0), (PRIMARY, CRTC_ID, 0)];
    let errno = commit(&mut bench, a, 0, &off);
    bench.row("primary off, crtc active", errno);
}

#[test]
fn fences_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("d", "fences");
    let a = open(&mut bench);
    let (fb, blob) = (bench.fb(a, 1024, 768), mode_blob(&mut bench, a));
    assert_eq!(commit(&mut bench, a, ALLOW, &full(fb, blob)), 0);
    let ptr = super::bench::BASE + 0x6000;
    let out = (CRTC, OUT_FENCE_PTR, ptr);
    let fence = |bench: &Bench| {
        let mut bytes = [0; 4];
        bench.world.read(ptr, &mut bytes).expect("room");
        i32::from_ne_bytes(bytes)
    };
    let errno = commit(&mut bench, a, NONBLOCK, &[out]);
    bench.row("OUT_FENCE NONBLOCK", errno);
    assert_eq!((fence(&bench), bench.world.signalled), (4, 0));
    bench.tick();
    assert_eq!(bench.world.signalled, 1, "it ends when the commit is shown");
    // A blocking commit gives its fence when it ends, so the fence has ended.
    assert_eq!(commit(&mut bench, a, 0, &[out]), 0);
    assert_eq!((fence(&bench), bench.world.signalled), (5, 2));
    for (name, flags, settings, value) in [
        ("OUT_FENCE TEST_ONLY", TEST, vec![out], -1),
        (
            "OUT_FENCE with failing later/earlier prop",
            0,
            vec![(PRIMARY, FB_ID, 9999), out],
            -1,
        ),
        (
            "OUT_FENCE first, then bad prop",
            0,
            vec![out, (PRIMARY, FB_ID, 9999)],
            -1,
        ),
        (
            "OUT_FENCE_PTR bad pointer",
            0,
            vec![(CRTC, OUT_FENCE_PTR, 8)],
            -1,
        ),
    ] {
        let errno = commit(&mut bench, a, flags, &settings);
        bench.row(name, errno);
        assert_eq!(fence(&bench), value, "{name}");
    }
    let errno = commit(&mut bench, a, 0, &[out]);
    bench.row("OUT_FENCE alone", errno);
    // A commit waits for the fence that it got, and not for the buffer's.
    let other = bench.fb(a, 1024, 768);
    let buffer = bench.card.find_fb(other).expect("it").planes[0].buffer;
    bench.world.written.insert(buffer);
    let fd = u64::from(FENCE_FD.cast_unsigned());
    let settings = [(PRIMARY, FB_ID, other.into()), (PRIMARY, IN_FENCE_FD, fd)];
    assert_eq!(commit(&mut bench, a, NONBLOCK | EVENT, &settings), 0);
    bench.tick();
    assert!(bench.events(a).is_empty());
    bench
        .world
        .fences
        .values_mut()
        .for_each(|pending| *pending = false);
    bench.tick();
    assert_eq!(bench.events(a).len(), 1);
    assert!(
        bench.world.fences.is_empty(),
        "the card has returned the fence"
    );
}

#[test]
fn a_cursor_waits_until_the_screen_is_off() {
    let mut bench = Bench::new();
    let a = open(&mut bench);
    let (fb, blob) = (bench.fb(a, 1024, 768), mode_blob(&mut bench, a));
    assert_eq!(commit(&mut bench, a, ALLOW, &full(fb, blob)), 0);
    let off = [(CRTC, ACTIVE, 0)];
    assert_eq!(commit(&mut bench, a, ALLOW | NONBLOCK | EVENT, &off), 0);
    assert!(!bench.card.has_events(a), "the event comes after the call");
    let bo = bench.dumb(a, 64, 64);
    let cursor = [(0, 1), (4, CRTC), (16, 64), (20, 64), (24, bo)];
    assert_eq!(bench.with(a, Call::Cursor2, &cursor), 0);
    assert_eq!(bench.events(a).len(), 1);
}

#[test]
fn objects_without_settings_must_exist() {
    let mut bench = Bench::new();
    let a = open(&mut bench);
    let fb = bench.light(a);
    for (object, errno) in [(CRTC, 0), (PRIMARY, 0), (0, 2), (fb, 2), (ENCODER, 2)] {
        let objects = bench.words(0x1000, &[object]);
        let counts = bench.words(0x2000, &[0]);
        let list = [(4, 1), (8, objects), (16, counts)];
        assert_eq!(bench.with(a, Call::Atomic, &list), errno, "{object}");
    }
}
