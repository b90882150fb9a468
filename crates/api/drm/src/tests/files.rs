//! Masters, authentication, versions, capabilities and leases.

use super::bench::{BASE, Bench, CONNECTOR, CRTC, CURSOR, PRIMARY, XR24, fields, mode, request_of};
use crate::bytes::{Arg, Image, MAX_ARG, at};
use crate::property;
use crate::request::Call;
use crate::{FileId, Program};

fn none() -> Arg {
    Image([0; MAX_ARG])
}

fn set_crtc(bench: &mut Bench, file: FileId, fb: u32) -> i32 {
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    bench.call(file, Call::SetCrtc, &mut arg)
}

#[test]
fn masters_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("a", "open, master, auth; uid 0");
    let (a, b) = (bench.open(), bench.open());
    let set = |bench: &mut Bench, file| bench.call(file, Call::SetMaster, &mut none());
    let drop = |bench: &mut Bench, file| bench.call(file, Call::DropMaster, &mut none());
    let rows = |bench: &mut Bench, name, errno| bench.row(name, errno);
    let errno = set(&mut bench, a);
    rows(
        &mut bench,
        "A SET_MASTER by first opener (is master)",
        errno,
    );
    for (name, file) in [
        ("A AUTH_MAGIC 0 by master", a),
        ("B AUTH_MAGIC 0 by non-master", b),
    ] {
        let errno = bench.with(file, Call::AuthMagic, &[]);
        rows(&mut bench, name, errno);
    }
    let errno = set(&mut bench, b);
    rows(&mut bench, "B SET_MASTER while A is", errno);
    let errno = drop(&mut bench, b);
    rows(&mut bench, "B DROP_MASTER, never master", errno);
    let errno = bench.with(b, Call::GetResources, &[]);
    rows(&mut bench, "B GETRESOURCES", errno);
    let errno = bench.with(
        b,
        Call::GetConnector,
        &[(at!(drm_mode_get_connector.connector_id), CONNECTOR)],
    );
    rows(&mut bench, "B GETCONNECTOR", errno);
    let size = [
        (at!(drm_mode_create_dumb.width), 1024),
        (at!(drm_mode_create_dumb.height), 768),
        (at!(drm_mode_create_dumb.bpp), 32),
    ];
    let mut dumb = fields(&size);
    let errno = bench.call(b, Call::CreateDumb, &mut dumb);
    rows(&mut bench, "B CREATE_DUMB", errno);
    let handle = dumb.u32(at!(drm_mode_create_dumb.handle));
    let (errno, fb) = bench.fb2(b, (1024, 768), XR24, handle);
    rows(&mut bench, "B ADDFB2", errno);
    let errno = set_crtc(&mut bench, b, fb);
    rows(&mut bench, "B SETCRTC, not master", errno);
    let errno = bench.with(b, Call::PageFlip, &[(0, CRTC), (4, fb)]);
    rows(&mut bench, "B PAGE_FLIP, not master", errno);
    let mut magic = none();
    let errno = bench.call(b, Call::GetMagic, &mut magic);
    rows(&mut bench, "B GET_MAGIC", errno);
    assert_eq!(magic.u32(0), 1);
    let errno = bench.with(b, Call::GemFlink, &[(0, 1)]);
    rows(&mut bench, "B GEM_FLINK before auth", errno);
    let errno = bench.with(a, Call::AuthMagic, &[(0, 1)]);
    rows(&mut bench, "A AUTH_MAGIC(B)", errno);
    let errno = bench.with(a, Call::AuthMagic, &[(0, 1)]);
    rows(&mut bench, "A AUTH_MAGIC(B) again", errno);
    let errno = bench.with(b, Call::GemFlink, &[(0, 1)]);
    rows(&mut bench, "B GEM_FLINK after auth", errno);
    let errno = bench.with(a, Call::GemOpen, &[(0, 1)]);
    rows(&mut bench, "A GEM_OPEN", errno);
    for (name, file, call) in [
        ("A DROP_MASTER", a, Call::DropMaster),
        ("A DROP_MASTER again", a, Call::DropMaster),
        ("A SETCRTC after drop", a, Call::SetCrtc),
        ("B SET_MASTER, none is, never was", b, Call::SetMaster),
        ("A SET_MASTER", a, Call::SetMaster),
        ("B DROP_MASTER", b, Call::DropMaster),
        ("A SET_MASTER, none is, was", a, Call::SetMaster),
    ] {
        let errno = bench.call(file, call, &mut none());
        rows(&mut bench, name, errno);
    }
    // A child has the same file, and another pid.
    bench.world.pid = 8;
    for (name, call) in [
        ("child: DROP_MASTER on inherited fd", Call::DropMaster),
        ("child: SET_MASTER on inherited fd", Call::SetMaster),
    ] {
        let errno = bench.call(a, call, &mut none());
        rows(&mut bench, name, errno);
    }
    let errno = set_crtc(&mut bench, a, fb);
    let name = "child: SETCRTC on inherited fd (FB of B)";
    rows(&mut bench, name, errno);
    bench.world.pid = 7;
    let errno = set(&mut bench, a);
    rows(&mut bench, "A SET_MASTER after child", errno);
    bench.card.close(a, &mut bench.world);
    let errno = set_crtc(&mut bench, b, fb);
    rows(&mut bench, "B SETCRTC after A closed", errno);
    let e = bench.open();
    let errno = set_crtc(&mut bench, e, fb);
    rows(
        &mut bench,
        "E (new open while B open, no master) SETCRTC with B's fb",
        errno,
    );
    bench.card.close(e, &mut bench.world);
    let errno = set(&mut bench, b);
    rows(&mut bench, "B SET_MASTER, none is", errno);
    // The card does not see how a file was opened.
    let read_only = bench.open();
    let errno = bench.with(read_only, Call::GetResources, &[]);
    rows(&mut bench, "RDONLY fd: GETRESOURCES", errno);
    let errno = bench.with(read_only, Call::CreateDumb, &size);
    rows(&mut bench, "RDONLY fd: CREATE_DUMB", errno);
}

#[test]
fn unprivileged_process_needs_to_be_opener() {
    let mut bench = Bench::new();
    bench.world.is_root = false;
    let a = bench.card.open(7, false).expect("room");
    assert_eq!(bench.call(a, Call::DropMaster, &mut none()), 0);
    // A child has the same file, and another pid.
    bench.world.pid = 8;
    assert_eq!(bench.call(a, Call::SetMaster, &mut none()), 13);
    let b = bench.card.open(8, false).expect("room");
    assert_eq!(bench.call(b, Call::SetMaster, &mut none()), 0);
    let c = bench.card.open(8, false).expect("room");
    assert_eq!(
        bench.with(c, Call::GemFlink, &[(0, 1)]),
        13,
        "not authenticated"
    );
}

#[test]
fn who_gives_up_root_loses_its_rights() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let fb = bench.fb(a, 64, 64);
    assert_eq!(bench.call(a, Call::DropMaster, &mut none()), 0);
    for (is_root, errno, handle) in [(true, 0, 1), (false, 13, 0)] {
        bench.world.is_root = is_root;
        let mut arg = fields(&[(0, fb)]);
        assert_eq!(bench.call(b, Call::GetFb, &mut arg), 0);
        assert_eq!(arg.u32(at!(drm_mode_fb_cmd.handle)), handle);
        // The file that becomes a master and stays one may always drop it.
        assert_eq!(bench.call(b, Call::SetMaster, &mut none()), errno);
        bench.world.pid = 8;
        if is_root {
            assert_eq!(bench.call(b, Call::DropMaster, &mut none()), 0);
        }
    }
}

#[test]
fn versions_and_numbers_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("a", "version, unique, old calls");
    let a = bench.open();
    let mut lengths = none();
    let errno = bench.call(a, Call::Version, &mut lengths);
    bench.row("VERSION, no buffers", errno);
    let found = [
        at!(drm_version.name_len),
        at!(drm_version.date_len),
        at!(drm_version.desc_len),
    ];
    assert_eq!(found.map(|at| lengths.u64(at)), [4, 1, 27]);
    let name = bench.words(0x2000, &[0]);
    let mut version = fields(&[
        (at!(drm_version.name_len), 2),
        (at!(drm_version.name), name),
    ]);
    let errno = bench.call(a, Call::Version, &mut version);
    bench.row("VERSION, name_len 2", errno);
    let mut text = [0; 4];
    bench.world.read(BASE + 0x2000, &mut text).expect("room");
    assert_eq!(
        (&text, version.u64(at!(drm_version.name_len))),
        (b"vk\0\0", 4)
    );
    let mut unique = none();
    let errno = bench.call(a, Call::GetUnique, &mut unique);
    bench.row("GET_UNIQUE", errno);
    assert_eq!(
        unique.u64(0),
        0,
        "libdrm rejects a card that has a name before SET_VERSION"
    );
    let versions = [(0, 1), (4, 4), (8, u32::MAX), (12, u32::MAX)];
    let errno = bench.with(a, Call::SetVersion, &versions);
    bench.row("SET_VERSION 1.4 by B", errno);
    let errno = bench.call(a, Call::GetUnique, &mut unique);
    bench.row("GET_UNIQUE after SET_VERSION", errno);
    assert_eq!(unique.u64(0), 4);
    for (name, index) in [("GET_CLIENT idx 0", 0), ("GET_CLIENT idx 1", 1)] {
        let errno = bench.with(a, Call::GetClient, &[(0, index)]);
        bench.row(name, errno);
    }
    for (name, request) in [
        ("GET_STATS", request_of(6, 248)),
        ("GET_MAP (removed)", request_of(4, 40)),
        ("IRQ_BUSID", request_of(3, 16)),
        ("driver ioctl 0x40 (_IO)", 0x6440),
        ("core nr 0x3f", 0x643f),
        ("nr 0xff", 0x64ff),
        ("TCGETS (other type)", 0x5401),
        ("FIONREAD", 0x541b),
    ] {
        let errno = bench.raw(a, request, &mut none());
        bench.row(name, errno);
    }
    let cap = || fields(&[(0, 1), (8, 55), (16, 7)]);
    let (mut long, mut write, mut short) = (cap(), cap(), cap());
    let errno = bench.raw(a, request_of(0x0c, 8), &mut short);
    bench.row("GET_CAP with 8-byte struct", errno);
    assert_eq!(short.u64(8), 55, "only 8 bytes are copied back");
    let errno = bench.raw(a, request_of(0x0c, 24), &mut long);
    bench.row("GET_CAP with larger struct in the number", errno);
    assert_eq!((long.u64(8), long.u64(16)), (1, 7), "what is beyond stays");
    let errno = bench.raw(a, request_of(0x0c, 16) & !(1 << 31), &mut write);
    bench.row("GET_CAP as _IOW", errno);
    assert_eq!(write.u64(8), 55, "nothing is copied back");
}

#[test]
fn capabilities_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("a", "caps");
    let a = bench.open();
    for capability in 0..0x18 {
        let errno = bench.with(a, Call::GetCap, &[(0, capability)]);
        bench.row(&format!("GET_CAP {capability:#x}"), errno);
    }
    for capability in 0..8 {
        let errno = bench.with(a, Call::SetClientCap, &[(0, capability), (8, 0)]);
        bench.row(&format!("CLIENT_CAP {capability}=0"), errno);
    }
    let mut caps = |cap, value| bench.with(a, Call::SetClientCap, &[(0, cap), (8, value)]);
    assert_eq!(
        [caps(2, 2), caps(3, 2), caps(3, 3), caps(6, 1)],
        [22, 0, 22, 95]
    );
    assert_eq!(
        [caps(5, 1), caps(3, 0), caps(5, 1)],
        [0, 0, 22],
        "writeback needs atomic"
    );
    let errno = bench.with(a, Call::Atomic, &[]);
    bench.row("ATOMIC without cap, master", errno);
    let b = bench.open();
    let errno = bench.with(b, Call::Atomic, &[]);
    bench.row("ATOMIC without cap, not master", errno);
    let mut planes = none();
    let errno = bench.call(a, Call::GetPlaneResources, &mut planes);
    bench.row("GETPLANERESOURCES, no cap", errno);
    assert_eq!(
        planes.u32(at!(drm_mode_get_plane_res.count_planes)),
        0,
        "only overlays"
    );
    assert_eq!(bench.with(a, Call::SetClientCap, &[(0, 2), (8, 1)]), 0);
    let ids = bench.words(0x2000, &[0; 32]);
    let values = bench.words(0x3000, &[0; 64]);
    let list = [
        (0, ids),
        (8, values),
        (16, 32),
        (20, PRIMARY),
        (24, property::PLANE),
    ];
    assert_eq!(bench.with(a, Call::ObjGetProperties, &list), 0);
    let mut seen = [0; 32 * 4];
    bench.world.read(BASE + 0x2000, &mut seen).expect("room");
    let is_fb = |id: &[u8]| id == property::FB_ID.to_ne_bytes();
    let is_visible = seen.chunks(4).any(is_fb);
    assert!(seen.chunks(4).any(|id| id == property::TYPE.to_ne_bytes()));
    bench.row("FB_ID prop visible without atomic", is_visible.into());
}

/// Leases objects. Returns the errno and the lessee's number.
fn lease(bench: &mut Bench, file: FileId, ids: &[u32], flags: u32) -> (i32, u32) {
    let ptr = bench.words(0x1000, ids);
    let mut arg = fields(&[(0, ptr), (8, ids.len() as u32), (12, flags)]);
    (bench.call(file, Call::CreateLease, &mut arg), arg.u32(16))
}

#[test]
fn leases_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("d", "leases");
    let a = bench.open();
    bench.with(a, Call::SetClientCap, &[(0, 2), (8, 1)]);
    let fb = bench.light(a);
    let b = bench.open();
    let all = [CRTC, CONNECTOR, PRIMARY];
    for (name, file, ids, flags) in [
        ("CREATE_LEASE no objects", a, &all[..0], 0),
        ("crtc only", a, &all[..1], 0),
        ("crtc+connector (universal client)", a, &all[..2], 0),
        ("flags 1", a, &all[..], 1),
        ("by non-master", b, &all[..], 0),
        ("crtc+conn+plane", a, &all[..], 0),
        ("same again", a, &all[..], 0),
    ] {
        let (errno, _) = lease(&mut bench, file, ids, flags);
        bench.row(name, errno);
    }
    let lessee = *bench.world.installed.last().expect("a lessee's file");
    let mut list = none();
    let errno = bench.call(a, Call::ListLessees, &mut list);
    bench.row("LIST_LESSEES", errno);
    assert_eq!(list.u32(0), 1, "a lease of nothing does not count");
    let mut objects = none();
    let errno = bench.call(lessee, Call::GetLease, &mut objects);
    bench.row("GET_LEASE on lessee", errno);
    assert_eq!(objects.u32(0), 3);
    let errno = bench.with(lessee, Call::GetPlane, &[(0, CURSOR)]);
    assert_eq!(errno, 2, "a lessee sees only what is leased to it");
    for (name, file) in [
        ("owner SETCRTC on leased crtc", a),
        ("lessee SETCRTC", lessee),
    ] {
        let errno = set_crtc(&mut bench, file, fb);
        bench.row(name, errno);
    }
    for (name, call) in [
        ("lessee DROP_MASTER", Call::DropMaster),
        ("lessee SET_MASTER", Call::SetMaster),
    ] {
        let errno = bench.call(lessee, call, &mut none());
        bench.row(name, errno);
    }
    for (name, id) in [("REVOKE unknown", 77), ("REVOKE", 2)] {
        let errno = bench.with(a, Call::RevokeLease, &[(0, id)]);
        bench.row(name, errno);
    }
    let errno = set_crtc(&mut bench, lessee, fb);
    bench.row("lessee SETCRTC after revoke", errno);
}

#[test]
fn open_beyond_the_limit_leaves_no_master() {
    let mut bench = Bench::new();
    let a = bench.open();
    while bench.card.open(7, true).is_ok() {}
    assert_eq!(bench.with(a, Call::DropMaster, &[]), 0);
    let full = bench.card.open(7, true).expect_err("a full table");
    assert_eq!(full.errno(), 12);
    assert_eq!(bench.with(a, Call::SetMaster, &[]), 0);
}

#[test]
fn a_magic_stays_and_is_good_for_one_use() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let mut magic = none();
    assert_eq!(bench.call(b, Call::GetMagic, &mut magic), 0);
    let number = magic.u32(0);
    assert_eq!(bench.with(a, Call::AuthMagic, &[(0, number)]), 0);
    assert_eq!(bench.with(a, Call::AuthMagic, &[(0, number)]), 22);
    assert_eq!(bench.call(b, Call::GetMagic, &mut magic), 0);
    assert_eq!(magic.u32(0), number);
}

#[test]
fn framebuffers_have_no_properties() {
    let mut bench = Bench::new();
    let a = bench.open();
    let fb = bench.fb(a, 64, 64);
    for kind in [0, crate::property::FB] {
        let (id, of) = (
            at!(drm_mode_obj_set_property.obj_id),
            at!(drm_mode_obj_set_property.obj_type),
        );
        let errno = bench.with(a, Call::ObjSetProperty, &[(id, fb), (of, kind)]);
        assert_eq!(errno, 22, "type {kind:#x}");
    }
}

// The next three tests are of IGT's kms_lease, whose results on stock are known.

#[test]
fn leases_name_each_object_once() {
    let mut bench = Bench::new();
    let a = bench.open();
    let both = [CRTC, CONNECTOR, PRIMARY, PRIMARY];
    for (ids, wanted) in [
        // The lease of a client without all planes has the CRTC's primary and cursor plane.
        (&[CRTC, CONNECTOR, PRIMARY][..], 28),
        (&[CRTC, CONNECTOR, CURSOR], 28),
        (&both, 28),
        (&[CRTC, CONNECTOR, super::bench::ENCODER], 22),
        (&[CRTC, CONNECTOR], 0),
    ] {
        assert_eq!(lease(&mut bench, a, ids, 0).0, wanted, "{ids:?}");
    }
}

#[test]
fn lessee_needs_the_plane_of_an_older_call() {
    let mut bench = Bench::new();
    let a = bench.open();
    bench.with(a, Call::SetClientCap, &[(0, 2), (8, 1)]);
    let fb = bench.light(a);
    let mut lessee = |plane| {
        let ids = [CRTC, CONNECTOR, plane];
        assert_eq!(lease(&mut bench, a, &ids, 0).0, 0);
        let file = *bench.world.installed.last().expect("a lessee's file");
        let errnos = [
            set_crtc(&mut bench, file, fb),
            bench.with(file, Call::PageFlip, &[(0, CRTC), (4, fb)]),
            bench.with(file, Call::Cursor, &[(0, 1), (4, CRTC)]),
        ];
        bench.card.close(file, &mut bench.world);
        errnos
    };
    assert_eq!(lessee(CURSOR), [13, 13, 0]);
    assert_eq!(lessee(PRIMARY), [0, 0, 13]);
}

#[test]
fn two_masters_lease_the_same_objects() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(), bench.open());
    let ids = [CRTC, CONNECTOR];
    let (errno, lessee) = lease(&mut bench, a, &ids, 0);
    assert_eq!(errno, 0);
    let file = bench.world.installed[0];
    assert_eq!(bench.with(file, Call::RevokeLease, &[(0, lessee)]), 13);
    assert_eq!(bench.call(a, Call::DropMaster, &mut none()), 0);
    assert_eq!(bench.call(b, Call::SetMaster, &mut none()), 0);
    assert_eq!(lease(&mut bench, b, &ids, 0).0, 0);
    assert_eq!(lease(&mut bench, b, &ids, 0).0, 16);
}
