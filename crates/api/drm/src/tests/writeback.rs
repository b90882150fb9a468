//! Writeback connectors: who sees them, and where pictures and fences go.

use super::atomic::{ALLOW, Setting, commit, full, mode_blob, open};
use super::bench::{BASE, Bench, CRTC, PRIMARY, fields};
use crate::bytes::at;
use crate::property::{CRTC_ID, FB_ID};
use crate::request::Call;
use crate::{FileId, Program};

/// The connector and its properties, as on stock vkms.
const WRITEBACK: u32 = 46;
const WRITEBACK_FB_ID: u32 = 42;
const WRITEBACK_OUT_FENCE_PTR: u32 = 44;
const FENCE: u64 = BASE + 0x6000;

fn fence(bench: &Bench) -> i32 {
    let mut bytes = [0; 4];
    bench.world.read(FENCE, &mut bytes).expect("room");
    i32::from_ne_bytes(bytes)
}

/// Returns a card with a shown picture, its file, and a framebuffer of the mode's size.
fn lit() -> (Bench, FileId, u32) {
    let mut bench = Bench::new();
    let a = open(&mut bench);
    let (fb, blob) = (bench.fb(a, 1024, 768), mode_blob(&mut bench, a));
    assert_eq!(commit(&mut bench, a, ALLOW, &full(fb, blob)), 0);
    let target = bench.fb(a, 1024, 768);
    bench.card.take_shown();
    (bench, a, target)
}

fn to(fb: u32) -> [Setting; 3] {
    [
        (WRITEBACK, CRTC_ID, CRTC.into()),
        (WRITEBACK, WRITEBACK_FB_ID, fb.into()),
        (WRITEBACK, WRITEBACK_OUT_FENCE_PTR, FENCE),
    ]
}

#[test]
fn writeback_is_as_on_stock() {
    let (mut bench, a, target) = lit();
    bench.section("d", "writeback on 7.3");
    let small = bench.fb(a, 640, 480);
    for (name, flags, settings) in [
        ("WRITEBACK_FB without CRTC", 0, &to(target)[1..2]),
        (
            "writeback connector on crtc, no ALLOW, no fb",
            0,
            &to(target)[..1],
        ),
        ("writeback, no ALLOW", 0, &to(target)),
        ("writeback ALLOW", ALLOW, &to(target)),
        ("second writeback, no ALLOW", 0, &to(target)[1..]),
        ("writeback fb of other size", 0, &to(small)[1..]),
        ("WRITEBACK_OUT_FENCE without fb", 0, &to(target)[2..]),
        ("writeback off", ALLOW, &[(WRITEBACK, CRTC_ID, 0)]),
    ] {
        let errno = commit(&mut bench, a, flags, settings);
        bench.row(name, errno);
    }
    assert_eq!(fence(&bench), -1, "a fence without a framebuffer");
}

#[test]
fn each_picture_is_written_once_with_its_fence() {
    let (mut bench, a, target) = lit();
    assert_eq!(commit(&mut bench, a, ALLOW, &to(target)), 0);
    let shown = bench.card.take_shown().pop().expect("a picture");
    let wanted = shown.writeback.expect("a writeback");
    // The second timeline is that of the writeback connector; the host ends its fences.
    assert_eq!((wanted.fb.id, wanted.fence), (target, Some((1, 1))));
    assert_eq!((fence(&bench), bench.world.signalled), (4, 0));
    let again = bench.fb(a, 1024, 768);
    assert_eq!(
        commit(&mut bench, a, 0, &[(PRIMARY, FB_ID, again.into())]),
        0
    );
    let shown = bench.card.take_shown().pop().expect("a picture");
    assert!(shown.writeback.is_none());
    assert_eq!(commit(&mut bench, a, 0, &to(target)[1..2]), 0);
    let shown = bench.card.take_shown().pop().expect("a picture");
    assert_eq!(shown.writeback.expect("a writeback").fence, None);
}

#[test]
fn impossible_writebacks_are_refused() {
    let (mut bench, a, target) = lit();
    assert_eq!(commit(&mut bench, a, ALLOW, &to(target)), 0);
    let handle = bench.dumb(a, 1024, 768);
    let nv12 = bench.fb2(a, (1024, 768), u32::from_le_bytes(*b"RG16"), handle);
    assert_eq!(commit(&mut bench, a, 0, &to(nv12.1)[1..]), 0, "RG16 is RGB");
    let none = [(WRITEBACK, WRITEBACK_FB_ID, 0), to(0)[2]];
    assert_eq!(
        commit(&mut bench, a, 0, &none),
        22,
        "a fence, no framebuffer"
    );
    for (value, errno) in [(0, 0), (9999, 22), (u64::from(CRTC), 22)] {
        let set = [(WRITEBACK, WRITEBACK_FB_ID, value)];
        assert_eq!(commit(&mut bench, a, 0, &set), errno, "{value}");
    }
    let formats = [(WRITEBACK, 43, 0)];
    assert_eq!(commit(&mut bench, a, 0, &formats), 22, "it cannot be set");
}

#[test]
fn only_clients_that_ask_see_the_connector() {
    let mut bench = Bench::new();
    let a = open(&mut bench);
    let seen = |bench: &mut Bench| {
        let ids = bench.words(0x1000, &[0; 4]);
        let mut arg = fields(&[
            (at!(drm_mode_card_res.connector_id_ptr), ids),
            (at!(drm_mode_card_res.count_connectors), 4),
        ]);
        assert_eq!(bench.call(a, Call::GetResources, &mut arg), 0);
        arg.u32(at!(drm_mode_card_res.count_connectors))
    };
    assert_eq!(seen(&mut bench), 1);
    assert_eq!(bench.with(a, Call::SetClientCap, &[(0, 5), (8, 1)]), 0);
    assert_eq!(seen(&mut bench), 2);
    let status = |bench: &mut Bench, modes| {
        let id = at!(drm_mode_get_connector.connector_id);
        let mut arg = fields(&[
            (id, WRITEBACK),
            (at!(drm_mode_get_connector.count_modes), modes),
        ]);
        let ptr = bench.words(0x3000, &[]);
        arg.set_u32(at!(drm_mode_get_connector.modes_ptr), ptr);
        assert_eq!(bench.call(a, Call::GetConnector, &mut arg), 0);
        [
            at!(drm_mode_get_connector.connector_type),
            at!(drm_mode_get_connector.connection),
            at!(drm_mode_get_connector.count_modes),
        ]
        .map(|at| arg.u32(at))
    };
    // As on stock: unknown and without modes, until the master probes it.
    assert_eq!(status(&mut bench, 64), [18, 3, 0]);
    assert_eq!(status(&mut bench, 0), [18, 1, 2]);
    let mut all = fields(&[(at!(drm_mode_obj_get_properties.obj_id), WRITEBACK)]);
    let (ids, values) = (bench.words(0x1000, &[0; 8]), bench.words(0x2000, &[0; 16]));
    all.set_u32(at!(drm_mode_obj_get_properties.props_ptr), ids);
    all.set_u32(at!(drm_mode_obj_get_properties.prop_values_ptr), values);
    all.set_u32(at!(drm_mode_obj_get_properties.count_props), 8);
    assert_eq!(bench.call(a, Call::ObjGetProperties, &mut all), 0);
    let mut bytes = [0; 32];
    bench.world.read(BASE + 0x1000, &mut bytes).expect("room");
    let ids = bytes.as_chunks::<4>().0.iter();
    let ids: Vec<u32> = ids.map(|id| u32::from_ne_bytes(*id)).collect();
    assert_eq!(ids, [2, 5, 6, 4, 20, 44, 42, 43]);
    // The formats: AR24, XR24, RG16 and XR48, in blob 45.
    let mut blob = fields(&[(0, 45)]);
    assert_eq!(bench.call(a, Call::GetBlob, &mut blob), 0);
    assert_eq!(blob.u32(4), 16);
    for (id, name) in [(42, "WRITEBACK_FB_ID"), (44, "WRITEBACK_OUT_FENCE_PTR")] {
        let mut arg = fields(&[(at!(drm_mode_get_property.prop_id), id)]);
        assert_eq!(bench.call(a, Call::GetProperty, &mut arg), 0);
        let found = arg.bytes::<32>(at!(drm_mode_get_property.name));
        assert!(found.starts_with(name.as_bytes()), "{name}");
    }
}

#[test]
fn ids_of_larger_cards_do_not_meet() {
    let mut config = Bench::new().card.config().clone();
    (config.connectors, config.overlays) = (3, 2);
    let card = crate::Card::new(config);
    let own = card.writeback_ids..card.writeback_ids + 4;
    let planes = card.planes.iter().flat_map(|of| of.id..of.id + 3);
    let connectors = card.connectors.iter().flat_map(|of| [of.id, of.encoder]);
    let all: Vec<u32> = own
        .chain(planes)
        .chain(connectors)
        .chain(card.crtcs.clone())
        .collect();
    let different: std::collections::BTreeSet<u32> = all.iter().copied().collect();
    assert_eq!(different.len(), all.len());
    // On a larger card, these ids are of planes.
    assert_eq!([25, 42].map(|id| card.own_id(id)), [None, Some(42)]);
}
