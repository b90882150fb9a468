//! What remains of a dead client, of an import, and of a framebuffer that is shown: group `e` of the rows. It also has
//! ids and sizes, which the tests compare.

use super::bench::{Bench, CONNECTOR, CRTC, ENCODER, FIRST_FD, XR24, fields, mode};
use crate::FileId;
use crate::bytes::at;
use crate::request::Call;

/// Returns the framebuffer of the CRTC, and whether it has a mode.
fn shown(bench: &mut Bench, file: FileId) -> (u32, u32) {
    let mut arg = fields(&[(at!(drm_mode_crtc.crtc_id), CRTC)]);
    assert_eq!(bench.call(file, Call::GetCrtc, &mut arg), 0);
    let fields = [at!(drm_mode_crtc.fb_id), at!(drm_mode_crtc.mode_valid)];
    fields.map(|at| arg.u32(at)).into()
}

#[test]
fn a_dead_client_leaves_what_it_does_on_stock() {
    let mut bench = Bench::new();
    bench.section("e", "after the death of a client");
    let child = bench.open();
    let other = bench.open();
    let fb = bench.fb(child, 1024, 768);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let errno = bench.call(child, Call::SetCrtc, &mut arg);
    bench.row("child SETCRTC", errno);
    assert_eq!((fb, shown(&mut bench, other)), (47, (47, 1)));
    bench.card.close(child, &mut bench.world);
    assert_eq!(shown(&mut bench, other), (0, 1));
    let mut found = fields(&[(at!(drm_mode_get_connector.connector_id), CONNECTOR)]);
    assert_eq!(bench.call(other, Call::GetConnector, &mut found), 0);
    let encoder = found.u32(at!(drm_mode_get_connector.encoder_id));
    assert_eq!(encoder, ENCODER);
    let errno = bench.with(other, Call::WaitVblank, &[(0, 1), (4, 1)]);
    bench.row("WAIT_VBLANK after its death", errno);
    bench.card.close(other, &mut bench.world);
    let last = bench.open();
    assert_eq!(shown(&mut bench, last), (0, 1));
}

#[test]
fn handles_are_numbered_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("e", "handles of imports and framebuffers");
    let (a, other) = (bench.open(), bench.open());
    let foreign = FIRST_FD + 500;
    let mut import = fields(&[(8, foreign.cast_unsigned())]);
    assert_eq!(bench.call(a, Call::PrimeFdToHandle, &mut import), 0);
    let handle = import.u32(0);
    let mut export = fields(&[(0, handle), (4, 2)]);
    let errno = bench.call(a, Call::PrimeHandleToFd, &mut export);
    bench.row("re-export of foreign import", errno);
    assert_eq!(export.i32(8), foreign, "the same dma-buf");
    let (errno, _) = bench.fb2(a, (1024, 768), XR24, handle);
    bench.row("ADDFB2 on foreign import", errno);
    // Handle 3 is free, and handle 4 is not.
    let own = bench.dumb(a, 1024, 768);
    let (_, fb) = bench.fb2(a, (1024, 768), XR24, own);
    let [third, _fourth] = [0; 2].map(|_| bench.dumb(a, 64, 64));
    assert_eq!(bench.with(a, Call::GemClose, &[(0, third)]), 0);
    for (name, file, handle) in [("GETFB as master", a, 3), ("GETFB as other", other, 1)] {
        let mut arg = fields(&[(0, fb)]);
        let errno = bench.call(file, Call::GetFb, &mut arg);
        bench.row(name, errno);
        let found: [u32; 7] = core::array::from_fn(|word| arg.u32(4 * word));
        assert_eq!(found, [fb, 1024, 768, 4096, 32, 24, handle], "{name}");
    }
    for (name, file, handle) in [("GETFB2 as master", a, 5), ("GETFB2 as other", other, 2)] {
        let mut arg = fields(&[(0, fb)]);
        let errno = bench.call(file, Call::GetFb2, &mut arg);
        bench.row(name, errno);
        let found: [u32; 7] = core::array::from_fn(|word| arg.u32(4 * word));
        assert_eq!(found, [fb, 1024, 768, XR24, 2, handle, 0], "{name}");
        assert_eq!(arg.u32(at!(drm_mode_fb_cmd2.pitches)), 4096);
        assert_eq!(arg.u64(at!(drm_mode_fb_cmd2.modifier)), 0);
    }
}

#[test]
fn a_shown_framebuffer_goes_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("e", "framebuffers on screen");
    let a = bench.open();
    let fb = bench.light(a);
    assert_eq!(bench.with(a, Call::CloseFb, &[(0, fb)]), 0);
    assert_eq!(shown(&mut bench, a), (fb, 1));
    let errno = bench.with(a, Call::GetFb, &[(0, fb)]);
    bench.row("GETFB after CLOSEFB", errno);
    let errno = bench.with(a, Call::RmFb, &[(0, fb)]);
    bench.row("RMFB after CLOSEFB", errno);
    let fb = bench.light(a);
    let errno = bench.with(a, Call::RmFb, &[(0, fb)]);
    bench.row("RMFB active", errno);
    assert_eq!(shown(&mut bench, a), (0, 1));
}
