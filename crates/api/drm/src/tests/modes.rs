//! SETCRTC, page flips, vblanks, cursors, planes and properties.

use super::bench::{Bench, CONNECTOR, CRTC, CURSOR, ENCODER, PRIMARY, fields, mode, request_of};
use crate::CallContext;
use crate::bytes::{Arg, Image, MAX_ARG, at};
use crate::mode::Mode;
use crate::property;
use crate::request::Call;

const MODE: usize = at!(drm_mode_crtc.mode);

#[test]
fn setcrtc_is_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "SETCRTC");
    let a = bench.open();
    let (fb, small) = (bench.fb(a, 1024, 768), bench.fb(a, 640, 480));
    let full = |bench: &mut Bench| bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let changed: &[(&str, usize, u32)] = &[
        ("good", at!(drm_mode_crtc.gamma_size), 0),
        ("bad crtc", at!(drm_mode_crtc.crtc_id), 9999),
        ("bad fb", at!(drm_mode_crtc.fb_id), 9999),
        (
            "mode, no connectors",
            at!(drm_mode_crtc.count_connectors),
            0,
        ),
        ("connectors, no mode", at!(drm_mode_crtc.mode_valid), 0),
        ("mode larger than fb", at!(drm_mode_crtc.fb_id), small),
        ("x=1", at!(drm_mode_crtc.x), 1),
        ("x=y=0x7fffffff", at!(drm_mode_crtc.x), 0x7fff_ffff),
        ("junk mode timing", MODE + 4, 0),
        ("clock 0", MODE, 0),
        (
            "mode flag junk",
            MODE + at!(drm_mode_modeinfo.flags),
            0xffff_ffff,
        ),
        (
            "mode type junk",
            MODE + at!(drm_mode_modeinfo.type_),
            0xffff_ffff,
        ),
        (
            "own mode name",
            MODE + at!(drm_mode_modeinfo.name),
            u32::from_le_bytes(*b"mine"),
        ),
        ("again same", at!(drm_mode_crtc.gamma_size), 0),
        (
            "fb -1 when off or no fb",
            at!(drm_mode_crtc.fb_id),
            u32::MAX,
        ),
        ("fb -1 (keep)", at!(drm_mode_crtc.fb_id), u32::MAX),
    ];
    for (name, at, value) in changed {
        let mut arg = full(&mut bench);
        arg.set_u32(*at, *value);
        let errno = bench.call(a, Call::SetCrtc, &mut arg);
        bench.row(name, errno);
    }
    for (name, id) in [
        ("bad connector", 9999),
        ("connector id is an encoder", ENCODER),
    ] {
        let mut arg = bench.crtc(fb, Some(mode()), &[id]);
        let errno = bench.call(a, Call::SetCrtc, &mut arg);
        bench.row(name, errno);
    }
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR, CONNECTOR]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("two connectors", errno);
    let mut arg = bench.crtc(fb, Some(Mode::new(100, 100, 60, false)), &[CONNECTOR]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("custom mode 100x100 not in list", errno);
    let mut arg = bench.crtc(fb, Some(Mode::new(640, 480, 60, false)), &[CONNECTOR]);
    arg.set_u32(at!(drm_mode_crtc.x), 100);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("mode 640x480 in 1024x768 fb at 100,100", errno);
    for name in ["off: fb 0, no mode, no conns", "off again"] {
        let mut arg = bench.crtc(0, None, &[]);
        let errno = bench.call(a, Call::SetCrtc, &mut arg);
        bench.row(name, errno);
    }
    let mut arg = bench.crtc(fb, None, &[]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("off with fb id", errno);
}

#[test]
fn page_flips_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "PAGE_FLIP");
    let a = bench.open();
    let (fb, small) = (bench.fb(a, 1024, 768), bench.fb(a, 640, 480));
    let handle = bench.dumb(a, 1024, 768);
    let (_, other) = bench.fb2(a, (1024, 768), u32::from_le_bytes(*b"RG16"), handle);
    let flip = |crtc, fb, flags, data| [(0, crtc), (4, fb), (8, flags), (16, data)];
    let errno = bench.with(a, Call::PageFlip, &flip(CRTC, fb, 0, 0));
    bench.row("crtc off", errno);
    bench.light(a);
    for (name, list) in [
        ("bad crtc", flip(9999, fb, 0, 0)),
        ("bad fb", flip(CRTC, 9999, 0, 0)),
        ("flags 8 unknown", flip(CRTC, fb, 8, 0)),
        ("ASYNC", flip(CRTC, fb, 2, 0)),
        ("TARGET_ABSOLUTE", flip(CRTC, fb, 4, 0)),
        ("reserved=1", {
            let mut list = flip(CRTC, fb, 0, 0);
            list[3] = (at!(drm_mode_crtc_page_flip.reserved), 1);
            list
        }),
        ("fb too small", flip(CRTC, small, 0, 0)),
        ("fb other format", flip(CRTC, other, 0, 0)),
        ("flip with event", flip(CRTC, fb, 1, 4369)),
        ("flip while pending", flip(CRTC, fb, 1, 0)),
    ] {
        let errno = bench.with(a, Call::PageFlip, &list);
        bench.row(name, errno);
    }
    assert_eq!(
        bench.card.read_events(a, 1 << 16).map_err(|e| e.errno()),
        Err(11)
    );
    let again = bench.light(a);
    bench.row("SETCRTC while pending", 0);
    let [(2, 4369, first)] = bench.events(a)[..] else {
        panic!("one flip event")
    };
    let errno = bench.with(a, Call::PageFlip, &flip(CRTC, again, 1, 3));
    bench.row("flip to same fb", errno);
    bench.tick();
    let [(2, 3, second)] = bench.events(a)[..] else {
        panic!("one flip event")
    };
    assert!(second > first);
    let errno = bench.with(a, Call::PageFlip, &flip(CRTC, fb, 0, 0));
    bench.row("flip without event", errno);
    bench.tick();
    assert!(bench.events(a).is_empty());
}

#[test]
fn event_room_is_bounded_and_reads_are_whole() {
    let mut bench = Bench::new();
    bench.section("c", "events");
    let a = bench.open();
    bench.light(a);
    let event = [(0, 0x400_0001), (4, 1)];
    // poll() is the front end's. The card says that there is something to read.
    bench.beyond(&["poll idle"]);
    assert_eq!(bench.with(a, Call::WaitVblank, &event), 0);
    bench.tick();
    let read = bench.card.read_events(a, 8).map(|bytes| bytes.len());
    bench.row("read 8", read.map_or_else(|e| e.errno(), |len| len as i32));
    bench.events(a);
    for _ in 0..128 {
        assert_eq!(bench.with(a, Call::WaitVblank, &event), 0);
    }
    let errno = bench.with(a, Call::WaitVblank, &event);
    bench.row("WAIT_VBLANK event 128", errno);
    bench.tick();
    assert_eq!(
        bench.card.read_events(a, 31).map(|bytes| bytes.len()),
        Ok(0)
    );
    assert_eq!(
        bench.card.read_events(a, 70).map(|bytes| bytes.len()),
        Ok(64)
    );
    assert_eq!(
        bench.card.read_events(a, 1 << 16).map(|bytes| bytes.len()),
        Ok(126 * 32)
    );
    assert_eq!(
        bench.with(a, Call::WaitVblank, &event),
        0,
        "reading makes room"
    );
}

#[test]
fn vblank_waits_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "WAIT_VBLANK");
    let a = bench.open();
    bench.light(a);
    for (name, kind, sequence) in [
        ("RELATIVE 0", 1, 0),
        ("RELATIVE 1", 1, 1),
        ("RELATIVE 3", 1, 3),
        ("ABSOLUTE now", 0, 0),
        ("ABSOLUTE +8", 0, 8),
        ("type junk 2", 3, 0),
        ("RELATIVE|NEXTONMISS 0", 0x1000_0001, 0),
        ("ABSOLUTE past NEXTONMISS", 0x1000_0000, 1),
        ("RELATIVE pipe 1 (SECONDARY)", 0x2000_0001, 0),
        ("RELATIVE pipe 1 (HIGH_CRTC)", 3, 0),
        ("SIGNAL", 0x4000_0001, 1),
        ("FLIP flag", 0x0800_0001, 1),
        ("flag 0x100", 0x101, 1),
        ("ABSOLUTE far past (seq-1000)", 0, 0xffff_fff0),
        ("EVENT RELATIVE 1", 0x400_0001, 1),
        ("EVENT ABSOLUTE past", 0x400_0000, 0),
        ("EVENT RELATIVE 0", 0x400_0001, 0),
        ("EVENT RELATIVE 5", 0x400_0001, 5),
    ] {
        let before = bench.now_ns;
        let errno = bench.with(a, Call::WaitVblank, &[(0, kind), (4, sequence)]);
        bench.row(name, errno);
        let frames = (bench.now_ns - before).div_ceil(16_700_000);
        assert!(frames <= u64::from(sequence.min(8)) + 1, "{name}: {frames}");
    }
    let mut sequence = fields(&[(0, CRTC)]);
    let errno = bench.call(a, Call::CrtcGetSequence, &mut sequence);
    bench.row("CRTC_GET_SEQUENCE", errno);
    for (name, list) in [
        ("CRTC_QUEUE_SEQUENCE rel 1", [(0, CRTC), (4, 1), (8, 1)]),
        ("flags 4", [(0, CRTC), (4, 4), (8, 1)]),
        ("absolute past", [(0, CRTC), (4, 0), (8, 1)]),
        ("past NEXT_ON_MISS", [(0, CRTC), (4, 2), (8, 1)]),
        ("bad crtc", [(0, 9999), (4, 0), (8, 1)]),
    ] {
        let errno = bench.with(a, Call::CrtcQueueSequence, &list);
        bench.row(name, errno);
    }
    let errno = bench.with(a, Call::WaitVblank, &[(0, 0x400_0001), (4, 100)]);
    bench.row("EVENT RELATIVE 100", errno);
    bench.events(a);
    let mut off = bench.crtc(0, None, &[]);
    assert_eq!(bench.call(a, Call::SetCrtc, &mut off), 0);
    assert!(
        !bench.events(a).is_empty(),
        "pending events come when the CRTC goes off"
    );
    for (name, call, list) in [
        ("RELATIVE 1 off", Call::WaitVblank, [(0, 1), (4, 1)]),
        ("RELATIVE 0 off", Call::WaitVblank, [(0, 1), (4, 0)]),
        (
            "EVENT RELATIVE 1 off",
            Call::WaitVblank,
            [(0, 0x400_0001), (4, 1)],
        ),
        (
            "GET_SEQUENCE off",
            Call::CrtcGetSequence,
            [(0, CRTC), (4, 0)],
        ),
        (
            "QUEUE_SEQUENCE off",
            Call::CrtcQueueSequence,
            [(0, CRTC), (4, 1)],
        ),
    ] {
        let errno = bench.with(a, call, &list);
        bench.row(name, errno);
    }
}

#[test]
fn cursors_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "cursor");
    let a = bench.open();
    bench.light(a);
    let bo = bench.dumb(a, 64, 64);
    let large = bench.dumb(a, 1000, 1000);
    let wide = [(0, 1), (4, CRTC), (16, 513), (20, 512), (24, large)];
    let errno = bench.with(a, Call::Cursor2, &wide);
    bench.row("513x512", errno);
    let cursor =
        |flags, crtc, size, handle| [(0, flags), (4, crtc), (16, size), (20, size), (24, handle)];
    for (name, list) in [
        ("CURSOR BO 64x64", cursor(1, CRTC, 64, bo)),
        (
            "CURSOR MOVE off screen",
            [(0, 2), (4, CRTC), (8, 5000), (12, 5000), (16, 0)],
        ),
        ("flags 0", cursor(0, CRTC, 64, bo)),
        ("flags 4", cursor(4, CRTC, 64, bo)),
        ("bad handle", cursor(1, CRTC, 64, 999)),
        ("size larger than bo", cursor(1, CRTC, 128, bo)),
        ("1000x1000", cursor(1, CRTC, 1000, large)),
        ("7x7", cursor(1, CRTC, 7, bo)),
        ("CURSOR2", cursor(1, CRTC, 64, bo)),
        ("bad crtc", cursor(1, 9999, 64, bo)),
        ("CURSOR2 handle 0 (hide)", cursor(1, CRTC, 64, 0)),
    ] {
        let errno = bench.with(a, Call::Cursor2, &list);
        bench.row(name, errno);
    }
}

#[test]
fn a_cursor_waits_for_a_pending_mode_set() {
    let mut bench = Bench::new();
    let a = bench.open();
    let bo = bench.dumb(a, 64, 64);
    let fb = bench.light(a);
    let cursor = [(0, 1), (4, CRTC), (16, 64), (20, 64), (24, bo)];
    bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]);
    assert_eq!(bench.with(a, Call::Cursor2, &cursor), 0);
    assert_eq!(
        bench.events(a).len(),
        1,
        "the commit before the cursor has ended"
    );
    let before = bench.now_ns;
    assert_eq!(bench.with(a, Call::Cursor2, &cursor), 0);
    assert_eq!(
        bench.now_ns, before,
        "without a commit, the cursor does not wait"
    );
}

#[test]
fn setplane_is_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "SETPLANE");
    let a = bench.open();
    bench.light(a);
    let fb = bench.fb(a, 64, 64);
    let whole = 64 << 16;
    let base = |plane| {
        fields(&[
            (0, plane),
            (4, CRTC),
            (8, fb),
            (24, 64),
            (28, 64),
            (40, whole),
            (44, whole),
        ])
    };
    let rows: &[(&str, &[(usize, u32)])] = &[
        ("cursor plane 64x64 at 0,0", &[]),
        ("scaled x2", &[(24, 128), (28, 128)]),
        ("src beyond fb", &[(32, 1 << 16)]),
        (
            "src fractional",
            &[
                (24, 32),
                (28, 32),
                (32, 1 << 15),
                (40, whole / 2),
                (44, whole / 2),
            ],
        ),
        ("at -10,-10", &[(16, -10i32 as u32), (20, -10i32 as u32)]),
        ("fully off screen", &[(16, 5000)]),
        ("crtc_x max + w overflow", &[(16, i32::MAX as u32)]),
        ("bad plane", &[(0, 9999)]),
        ("bad crtc", &[(4, 9999)]),
        ("bad fb", &[(8, 9999)]),
        ("flags 1", &[(12, 1)]),
        ("fb 0 (off)", &[(8, 0)]),
    ];
    for (name, changes) in rows {
        let mut arg = base(CURSOR);
        changes
            .iter()
            .for_each(|(at, value)| arg.set_u32(*at, *value));
        let errno = bench.call(a, Call::SetPlane, &mut arg);
        bench.row(name, errno);
    }
    let errno = bench.call(a, Call::SetPlane, &mut base(PRIMARY));
    bench.row("primary, smaller than screen", errno);
    let errno = bench.with(a, Call::SetPlane, &[(0, PRIMARY)]);
    bench.row("primary off", errno);
    let errno = bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb)]);
    bench.row("flip when plane off, crtc on", errno);
}

#[test]
fn properties_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "properties");
    let (a, b) = (bench.open(), bench.open());
    let fb = bench.light(a);
    let set = |object, kind, property, value: u64| {
        // CAST: the lower and upper half.
        fields(&[
            (0, value as u32),
            (4, (value >> 32) as u32),
            (8, property),
            (12, object),
            (16, kind),
        ])
    };
    let dpms = |value| set(CONNECTOR, property::CONNECTOR, property::DPMS, value);
    let errno = bench.call(a, Call::ObjSetProperty, &mut dpms(3));
    bench.row("DPMS off", errno);
    let errno = bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb)]);
    bench.row("flip while dpms off", errno);
    let errno = bench.with(a, Call::WaitVblank, &[(0, 1), (4, 1)]);
    bench.row("WAIT_VBLANK dpms off", errno);
    for (name, mut arg) in [
        ("DPMS 9", dpms(9)),
        ("DPMS standby", dpms(1)),
        ("DPMS on", dpms(0)),
        (
            "set immutable type",
            set(PRIMARY, property::PLANE, property::TYPE, 1),
        ),
        (
            "FB_ID without atomic cap",
            set(PRIMARY, property::PLANE, property::FB_ID, fb.into()),
        ),
        (
            "rotation 90",
            set(PRIMARY, property::PLANE, property::ROTATION, 2),
        ),
        (
            "rotation 0|90",
            set(PRIMARY, property::PLANE, property::ROTATION, 3),
        ),
        (
            "rotation 0|reflect-x",
            set(PRIMARY, property::PLANE, property::ROTATION, 0x11),
        ),
        ("unknown prop", set(PRIMARY, property::PLANE, 9999, 0)),
        (
            "DPMS on a plane",
            set(PRIMARY, property::PLANE, property::DPMS, 0),
        ),
        ("unknown obj", set(9999, property::PLANE, property::TYPE, 0)),
        (
            "obj of other type",
            set(CRTC, property::PLANE, property::TYPE, 0),
        ),
        ("type ANY (0)", set(CONNECTOR, 0, property::DPMS, 0)),
    ] {
        let errno = bench.call(a, Call::ObjSetProperty, &mut arg);
        bench.row(name, errno);
    }
    let (id, kind) = (
        at!(drm_mode_obj_get_properties.obj_id),
        at!(drm_mode_obj_get_properties.obj_type),
    );
    for (name, call, list) in [
        (
            "GETPROPERTIES of fb",
            Call::ObjGetProperties,
            [(id, fb), (kind, property::FB)],
        ),
        (
            "GETPROPERTIES of encoder",
            Call::ObjGetProperties,
            [(id, ENCODER), (kind, 0)],
        ),
        (
            "GETPROPERTIES unknown",
            Call::ObjGetProperties,
            [(id, 9999), (kind, 0)],
        ),
        (
            "GETPROPERTY unknown",
            Call::GetProperty,
            [(at!(drm_mode_get_property.prop_id), 9999), (0, 0)],
        ),
        ("GETPROPBLOB unknown", Call::GetBlob, [(0, 9999), (4, 0)]),
        ("GETENCODER", Call::GetEncoder, [(0, ENCODER), (4, 0)]),
        ("GETENCODER bad", Call::GetEncoder, [(0, 9999), (4, 0)]),
        (
            "GETCONNECTOR bad",
            Call::GetConnector,
            [(at!(drm_mode_get_connector.connector_id), 9999), (0, 0)],
        ),
        (
            "GETCRTC bad",
            Call::GetCrtc,
            [(at!(drm_mode_crtc.crtc_id), 9999), (0, 0)],
        ),
        ("GETPLANE bad", Call::GetPlane, [(0, 9999), (4, 0)]),
        ("ATTACHMODE", Call::AttachMode, [(0, 0), (4, 0)]),
        ("SYNCOBJ_CREATE", Call::SyncobjCreate, [(0, 0), (4, 0)]),
    ] {
        let errno = bench.with(a, call, &list);
        bench.row(name, errno);
    }
    let data = bench.words(0x1000, &[1, 2, 3]);
    let mut blob = fields(&[(0, data), (8, 12)]);
    assert_eq!(bench.call(a, Call::CreateBlob, &mut blob), 0);
    let id = blob.u32(12);
    for (name, file) in [
        ("DESTROYPROPBLOB by other open", b),
        ("DESTROYPROPBLOB", a),
        ("again", a),
    ] {
        let errno = bench.with(file, Call::DestroyBlob, &[(0, id)]);
        bench.row(name, errno);
    }
    for (name, addr, len) in [
        ("CREATEPROPBLOB length 0", data, 0),
        ("CREATEPROPBLOB 1 GiB", data, 1 << 30),
        ("CREATEPROPBLOB bad pointer", 8, 12),
    ] {
        let errno = bench.with(a, Call::CreateBlob, &[(0, addr), (8, len)]);
        bench.row(name, errno);
    }
}

#[test]
fn only_a_masters_probe_finds_modes() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let id = at!(drm_mode_get_connector.connector_id);
    let mut modes = |file, connector| {
        let mut arg = fields(&[(id, connector)]);
        assert_eq!(bench.call(file, Call::GetConnector, &mut arg), 0);
        arg.u32(at!(drm_mode_get_connector.count_modes))
    };
    assert_eq!([modes(b, 46), modes(a, 46), modes(b, 46)], [0, 2, 2]);
}

#[test]
fn a_monitors_modes_are_known_without_a_probe() {
    // As libdrm's drmModeGetConnectorCurrent, the call has room for modes, and thus does not probe.
    let mut bench = Bench::new();
    let a = bench.open();
    let modes = bench.words(0x1000, &[]);
    let mut arg = fields(&[
        (at!(drm_mode_get_connector.connector_id), CONNECTOR),
        (at!(drm_mode_get_connector.modes_ptr), modes),
        (at!(drm_mode_get_connector.count_modes), 1),
    ]);
    assert_eq!(bench.call(a, Call::GetConnector, &mut arg), 0);
    assert_eq!(arg.u32(at!(drm_mode_get_connector.count_modes)), 2);
}

#[test]
fn flip_waits_for_writers_and_not_for_readers() {
    let mut bench = Bench::new();
    let a = bench.open();
    bench.light(a);
    let fb = bench.fb(a, 1024, 768);
    let buffer = bench.card.find_fb(fb).expect("the framebuffer").planes[0].buffer;
    bench.world.written.insert(buffer);
    assert_eq!(
        bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]),
        0
    );
    for _ in 0..3 {
        bench.tick();
        assert!(bench.events(a).is_empty());
    }
    assert_eq!(
        bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]),
        16
    );
    bench.world.written.clear();
    bench.tick();
    assert_eq!(bench.events(a).len(), 1);
    let shown = bench.card.take_shown();
    assert_eq!(shown[0].layers[0].fb.id, fb);
}

#[test]
fn a_killed_client_leaves_the_crtc_on() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let fb = bench.light(a);
    bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]);
    bench.card.close(a, &mut bench.world);
    let mut crtc = fields(&[(at!(drm_mode_crtc.crtc_id), CRTC)]);
    bench.call(b, Call::GetCrtc, &mut crtc);
    let found = (
        crtc.u32(at!(drm_mode_crtc.fb_id)),
        crtc.u32(at!(drm_mode_crtc.mode_valid)),
    );
    assert_eq!(found, (0, 1));
    assert_eq!(bench.with(b, Call::WaitVblank, &[(0, 1), (4, 1)]), 0);
}

#[test]
fn short_structures_are_extended_with_zeroes() {
    let mut bench = Bench::new();
    let a = bench.open();
    let mut arg = Image([0xff; MAX_ARG]);
    arg.set_u32(0, 1);
    arg.set_u32(4, 0);
    assert_eq!(bench.raw(a, request_of(0x0c, 8), &mut arg), 0);
    assert_eq!(
        arg.u64(8),
        u64::MAX,
        "the value lies beyond the program's structure"
    );
}

/// Returns a call on a gamma table of this size, whose red, green and blue are at three addresses.
fn gamma(bench: &mut Bench, size: u32) -> Arg {
    let [red, green, blue] = [0x2000, 0x2200, 0x2400].map(|at| bench.words(at, &[]));
    fields(&[(0, CRTC), (4, size), (8, red), (16, green), (24, blue)])
}

#[test]
fn gamma_is_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("c", "gamma");
    let a = bench.open();
    bench.light(a);
    for (name, call, size) in [
        ("GETGAMMA 256", Call::GetGamma, 256),
        ("SETGAMMA 256", Call::SetGamma, 256),
        ("SETGAMMA 16", Call::SetGamma, 16),
        ("GETGAMMA 16", Call::GetGamma, 16),
    ] {
        let mut arg = gamma(&mut bench, size);
        let errno = bench.call(a, call, &mut arg);
        bench.row(name, errno);
    }
    while bench.card.next_due_ns().is_some() {
        bench.tick();
    }
    let shown = bench.card.take_shown().pop().expect("a picture");
    assert!(shown.gamma.is_none(), "a table without effect is none");
    // Inverts red, green and blue.
    let inverted: Vec<u32> = (0..128)
        .map(|n: u32| (0xff - 2 * n) << 8 | (0xfe - 2 * n) << 24)
        .collect();
    for at in [0x2000, 0x2200, 0x2400] {
        bench.words(at, &inverted);
    }
    let mut arg = gamma(&mut bench, 256);
    assert_eq!(bench.call(a, Call::SetGamma, &mut arg), 0);
    while bench.card.next_due_ns().is_some() {
        bench.tick();
    }
    let shown = bench.card.take_shown().pop().expect("a picture");
    let table = shown.gamma.expect("a table");
    assert!((0..=255).zip(table).all(|(n, to)| to == [255 - n; 3]));
}

#[test]
fn planes_scale_only_with_a_scaler() {
    for (scales, factor, wanted) in [(false, 2, 34), (true, 2, 0), (true, 9, 34)] {
        let mut bench = Bench::new();
        bench.card.config.scales = scales;
        let a = bench.open();
        bench.light(a);
        let fb = bench.fb(a, 64, 64);
        let (size, whole) = (64 * factor, 64 << 16);
        let places = [(24, size), (28, size), (40, whole), (44, whole)];
        let mut arg = fields(&places);
        [(0, CURSOR), (4, CRTC), (8, fb)]
            .iter()
            .for_each(|(at, value)| arg.set_u32(*at, *value));
        let errno = bench.call(a, Call::SetPlane, &mut arg);
        assert_eq!(errno, wanted, "{scales} {factor}");
    }
}

#[test]
fn lost_vblanks_and_delays_postpone_a_flip() {
    for (lost, delay, wanted) in [(0, 0, 1), (2, 0, 3), (0, 3, 4)] {
        let mut bench = Bench::new();
        let a = bench.open();
        let fb = bench.light(a);
        bench.card.disturb(0, lost, delay);
        let before = bench.now_ns;
        let errno = bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]);
        assert_eq!(errno, 0);
        let mut ticks = 0;
        while !bench.card.has_events(a) {
            bench.tick();
            ticks += 1;
            assert!(ticks < 10);
        }
        let frames = (bench.now_ns - before).div_ceil(16_666_700);
        assert_eq!(frames, wanted, "{lost} {delay}");
    }
}

#[test]
fn a_free_card_shows_commits_at_once() {
    let mut bench = Bench::new();
    bench.card.config.is_free = true;
    let a = bench.open();
    let fb = bench.light(a);
    for _ in 0..100 {
        bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]);
        assert_eq!(bench.card.next_due_ns(), Some(0));
        bench
            .card
            .advance(bench.now_ns, &mut bench.world, &|_| true);
        let event = bench.card.read_events(a, 32).expect("an event");
        assert_eq!(event.len(), 32);
    }
}

#[test]
fn a_monitor_takes_its_modes_along() {
    let mut bench = Bench::new();
    let a = bench.open();
    let probe = [(at!(drm_mode_get_connector.connector_id), CONNECTOR)];
    let modes = |bench: &mut Bench| {
        let mut arg = fields(&probe);
        assert_eq!(bench.call(a, Call::GetConnector, &mut arg), 0);
        let count = arg.u32(at!(drm_mode_get_connector.count_modes));
        (count, arg.u32(at!(drm_mode_get_connector.connection)))
    };
    assert_eq!(modes(&mut bench), (2, 1));
    assert!(bench.card.plug(0, false) && !bench.card.plug(0, false));
    assert_eq!(modes(&mut bench), (0, 2));
    assert!(bench.card.plug(0, true) && !bench.card.plug(1, true));
    assert_eq!(modes(&mut bench), (2, 1));
}

#[test]
fn a_commit_waits_for_a_dead_clients_flip() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let fb = bench.light(a);
    bench.with(a, Call::PageFlip, &[(0, CRTC), (4, fb), (8, 1)]);
    bench.card.close(a, &mut bench.world);
    let c = bench.open();
    let fb = bench.fb(c, 1024, 768);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let cx = CallContext {
        file: c,
        call: 1 << 20,
        now_ns: bench.now_ns,
        nonblocking: false,
    };
    let request = request_of(0xa2, size_of::<crate::sys::drm_mode_crtc>());
    assert_eq!(bench.try_call(cx, request, &mut arg), -1);
    bench.card.take_changed();
    bench.tick();
    assert!(
        bench.card.take_changed().contains(&c),
        "the call is repeated"
    );
    bench.card.close(b, &mut bench.world);
}

#[test]
fn longer_gamma_tables_are_refused() {
    let mut bench = Bench::new();
    for (entries, is_right) in [(256, true), (257, false)] {
        let id = bench.card.new_blob(vec![0; entries * 8]).id;
        assert_eq!(bench.card.gamma_of(id).is_ok(), is_right, "{entries}");
    }
}
