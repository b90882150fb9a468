//! Dumb buffers, handles, dma-bufs and framebuffers.

use super::bench::{Bench, CONNECTOR, FIRST_FD, OTHER_FD, XR24, fields, mode};
use crate::bytes::at;
use crate::request::Call;

const W: usize = at!(drm_mode_create_dumb.width);
const H: usize = at!(drm_mode_create_dumb.height);
const BPP: usize = at!(drm_mode_create_dumb.bpp);

#[test]
fn dumb_buffers_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("b", "dumb");
    let a = bench.open();
    for (w, h, bpp, pitch, size) in [
        (64, 64, 32, 256, 16384),
        (1, 1, 32, 4, 4096),
        (5, 5, 16, 10, 4096),
        (640, 480, 32, 2560, 1_228_800),
        (1024, 768, 32, 4096, 3_145_728),
        (1920, 1080, 16, 3840, 4_149_248),
        (641, 480, 16, 1282, 618_496),
        (33, 1, 10, 42, 4096),
        (8192, 8192, 64, 65536, 1 << 29),
        (100, 100, 64, 800, 81920),
        (100, 100, 128, 1600, 163_840),
        (3, 3, 24, 9, 4096),
        (7, 7, 8, 7, 4096),
        (1366, 768, 32, 5464, 4_198_400),
        (641, 480, 24, 1923, 925_696),
        (33, 1, 1, 5, 4096),
        (33, 1, 12, 50, 4096),
        (16384, 16384, 32, 65536, 1 << 30),
        (100, 100, 33, 413, 45056),
        (0, 1, 32, 0, 0),
        (1, 0, 32, 0, 0),
        (1, 1, 0, 0, 0),
        (65536, 65536, 32, 0, 0),
        (1_073_741_824, 1, 32, 0, 0),
    ] {
        let mut arg = fields(&[(W, w), (H, h), (BPP, bpp)]);
        let errno = bench.call(a, Call::CreateDumb, &mut arg);
        bench.row(&format!("dumb {w}x{h}@{bpp}"), errno);
        let found = (
            arg.u32(at!(drm_mode_create_dumb.pitch)),
            arg.u64(at!(drm_mode_create_dumb.size)),
        );
        assert_eq!(found, (pitch, size), "{w}x{h}@{bpp}");
    }
    let flags = at!(drm_mode_create_dumb.flags);
    let handle_at = at!(drm_mode_create_dumb.handle);
    for (name, at) in [
        ("dumb flags=1", flags),
        ("dumb with output fields set", handle_at),
    ] {
        let mut arg = fields(&[(W, 64), (H, 64), (BPP, 32), (at, 1)]);
        let errno = bench.call(a, Call::CreateDumb, &mut arg);
        bench.row(name, errno);
    }
    let handle = bench.dumb(a, 1024, 768);
    let mut map = fields(&[(0, handle)]);
    let errno = bench.call(a, Call::MapDumb, &mut map);
    bench.row("MAP_DUMB", errno);
    let errno = bench.with(a, Call::MapDumb, &[(0, 999)]);
    bench.row("MAP_DUMB bad handle", errno);
    let (offset, len) = (map.u64(8), 1024 * 768 * 4);
    let b = bench.open();
    for (name, file, at, len, is_shared) in [
        ("mmap inside offset+4096", a, offset + 4096, 4096, true),
        ("mmap too long", a, offset, len + 4096, true),
        ("mmap offset 0", a, 0, 4096, true),
        ("mmap wild", a, 1 << 40, 4096, true),
        ("mmap by other open", b, offset, len, true),
        ("mmap MAP_PRIVATE rw", a, offset, len, false),
        ("mmap MAP_PRIVATE r", a, offset, len, false),
    ] {
        let done = bench.card.mmap(file, (at, len), is_shared);
        bench.row(name, done.map_or_else(|e| e.errno(), |_| 0));
    }
    assert!(
        bench.card.mmap(a, (offset, 4096), true).is_ok(),
        "a part from the start"
    );
}

#[test]
fn handles_are_not_counted() {
    let mut bench = Bench::new();
    bench.section("b", "prime");
    let (a, b) = (bench.open(), bench.open());
    let handle = bench.dumb(a, 1024, 768);
    let export = |bench: &mut Bench, handle, flags| {
        let mut arg = fields(&[(0, handle), (4, flags)]);
        (bench.call(a, Call::PrimeHandleToFd, &mut arg), arg.i32(8))
    };
    let (errno, fd) = export(&mut bench, handle, 2 | 0o2_000_000);
    bench.row("HANDLE_TO_FD RDWR|CLOEXEC", errno);
    for (name, handle, flags) in [
        ("HANDLE_TO_FD flags 0", handle, 0),
        ("HANDLE_TO_FD flags 4", handle, 4),
        ("HANDLE_TO_FD bad handle", 999, 0),
    ] {
        let (errno, _) = export(&mut bench, handle, flags);
        bench.row(name, errno);
    }
    let import = |bench: &mut Bench, file, fd: i32, flags| {
        let mut arg = fields(&[(4, flags), (8, fd.cast_unsigned())]);
        (
            bench.call(file, Call::PrimeFdToHandle, &mut arg),
            arg.u32(0),
        )
    };
    let (errno, same) = import(&mut bench, a, fd, 0);
    bench.row("FD_TO_HANDLE self", errno);
    assert_eq!(same, handle);
    let (errno, _) = import(&mut bench, a, fd, 0xff);
    bench.row("FD_TO_HANDLE flags 0xff", errno);
    let (errno, theirs) = import(&mut bench, b, fd, 0);
    bench.row("FD_TO_HANDLE other open of same device", errno);
    let errno = bench.with(b, Call::MapDumb, &[(0, theirs)]);
    bench.row("MAP_DUMB of self-imported handle", errno);
    import(&mut bench, b, fd, 0);
    for (name, call) in [
        ("GEM_CLOSE once after two imports", Call::GemClose),
        ("GEM_CLOSE again", Call::GemClose),
        ("DESTROY_DUMB of closed", Call::DestroyDumb),
    ] {
        let errno = bench.with(b, call, &[(0, theirs)]);
        bench.row(name, errno);
    }
    for (name, fd) in [("FD_TO_HANDLE bad fd", 3), ("FD_TO_HANDLE memfd", OTHER_FD)] {
        let (errno, _) = import(&mut bench, a, fd, 0);
        bench.row(name, errno);
    }
    // A card's descriptor is no dma-buf, either.
    let (errno, _) = import(&mut bench, a, OTHER_FD, 0);
    bench.row("FD_TO_HANDLE card fd", errno);
    let (errno, of_heap) = import(&mut bench, a, FIRST_FD + 400, 0);
    bench.row("import system heap", errno);
    let (errno, _) = bench.fb2(a, (1024, 768), XR24, of_heap);
    bench.row("ADDFB2 1024x768 on it", errno);
    bench.beyond(&["dma-buf mmap too long"]);
    let (errno, foreign) = import(&mut bench, a, FIRST_FD + 500, 0);
    bench.row("import udmabuf", errno);
    let errno = bench.with(a, Call::MapDumb, &[(0, foreign)]);
    bench.row("MAP_DUMB of foreign import", errno);
    let (errno, again) = export(&mut bench, foreign, 0);
    bench.row("re-export of foreign import", errno);
    assert_eq!(again, FIRST_FD + 500, "the same dma-buf");
    let (errno, fb) = bench.fb2(a, (1024, 768), XR24, foreign);
    bench.row("ADDFB2 on foreign import", errno);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("SETCRTC with it", errno);
    let errno = bench.with(a, Call::DestroyDumb, &[(0, foreign)]);
    bench.row("DESTROY_DUMB on imported handle", errno);
    let (errno, _) = bench.fb2(a, (1024, 769), XR24, handle);
    bench.row("ADDFB2 1024x769: too small", errno);
    for file in [a, b] {
        bench.card.close(file, &mut bench.world);
    }
    while bench.card.next_due_ns().is_some() {
        bench.tick();
    }
    bench.card.take_shown();
    bench.card.collect(&mut bench.world);
    assert!(bench.world.buffers.is_empty(), "{:?}", bench.world.buffers);
}

#[test]
fn framebuffers_outlive_their_handles() {
    let mut bench = Bench::new();
    bench.section("b", "handle life");
    let (master, other) = (bench.open(), bench.open());
    let handle = bench.dumb(master, 1024, 768);
    let (errno, fb) = bench.fb2(master, (1024, 768), XR24, handle);
    bench.row("ADDFB2", errno);
    let close = at!(drm_gem_close.handle);
    let errno = bench.with(master, Call::GemClose, &[(close, handle)]);
    bench.row("GEM_CLOSE with live fb", errno);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let errno = bench.call(master, Call::SetCrtc, &mut arg);
    bench.row("SETCRTC with that fb", errno);
    let errno = bench.with(master, Call::GemClose, &[(close, 0)]);
    bench.row("GEM_CLOSE 0", errno);
    let further = bench.dumb(master, 64, 64);
    let padded = [(close, further), (at!(drm_gem_close.pad), 1)];
    let errno = bench.with(master, Call::GemClose, &padded);
    bench.row("GEM_CLOSE pad=1", errno);
    for (who, file) in [("master", master), ("other", other)] {
        for (name, call) in [("GETFB", Call::GetFb), ("GETFB2", Call::GetFb2)] {
            let errno = bench.with(file, call, &[(0, fb)]);
            bench.row(&format!("{name} as {who}"), errno);
        }
    }
}

#[test]
fn framebuffers_are_as_on_stock() {
    let mut bench = Bench::new();
    bench.section("b", "ADDFB");
    let a = bench.open();
    let handle = bench.dumb(a, 1024, 768);
    for (depth, bpp) in [
        (24, 32),
        (32, 32),
        (16, 16),
        (15, 16),
        (24, 24),
        (8, 8),
        (30, 32),
        (24, 16),
        (0, 32),
    ] {
        let list = [
            (4, 100),
            (8, 100),
            (12, 4096),
            (16, bpp),
            (20, depth),
            (24, handle),
        ];
        let errno = bench.with(a, Call::AddFb, &list);
        bench.row(&format!("ADDFB depth {depth} bpp {bpp}"), errno);
    }
    let code = |name: &[u8; 4]| u32::from_le_bytes(*name);
    let (c, p, o) = (
        at!(drm_mode_fb_cmd2.pixel_format),
        at!(drm_mode_fb_cmd2.pitches),
        at!(drm_mode_fb_cmd2.offsets),
    );
    let (f, h, m) = (
        at!(drm_mode_fb_cmd2.flags),
        at!(drm_mode_fb_cmd2.handles),
        at!(drm_mode_fb_cmd2.modifier),
    );
    let (width, height) = (at!(drm_mode_fb_cmd2.width), at!(drm_mode_fb_cmd2.height));
    let rows: &[(&str, &[(usize, u32)])] = &[
        ("ADDFB2 XR24 1024x768", &[]),
        ("ADDFB2 pitch 4095", &[(p, 4095)]),
        ("ADDFB2 pitch 0", &[(p, 0)]),
        (
            "ADDFB2 pitch 4097 512 wide",
            &[(p, 4097), (width, 512), (height, 767)],
        ),
        ("ADDFB2 pitch 5000, 600 rows", &[(p, 5000), (height, 600)]),
        ("ADDFB2 pitch 5000, 768 rows", &[(p, 5000)]),
        (
            "ADDFB2 exact last row short (pitch 8192, h 384)",
            &[(p, 8192), (height, 384)],
        ),
        (
            "ADDFB2 pitch 8192 offset 4096 h 384",
            &[(p, 8192), (o, 4096), (height, 384)],
        ),
        ("ADDFB2 offset 4096 h767", &[(o, 4096), (height, 767)]),
        ("ADDFB2 offset 4096 h768", &[(o, 4096)]),
        ("ADDFB2 offset 1 h767", &[(o, 1), (height, 767)]),
        ("ADDFB2 offset 0xfffffff0", &[(o, 0xffff_fff0)]),
        ("ADDFB2 0x0", &[(width, 0), (height, 0)]),
        ("ADDFB2 9x9", &[(width, 9), (height, 9)]),
        ("ADDFB2 10x10", &[(width, 10), (height, 10)]),
        ("ADDFB2 8193x10", &[(width, 8193), (height, 10), (p, 32772)]),
        ("ADDFB2 8192x10", &[(width, 8192), (height, 10), (p, 32768)]),
        ("ADDFB2 AR24", &[(c, code(b"AR24"))]),
        ("ADDFB2 XB24", &[(c, code(b"XB24"))]),
        ("ADDFB2 RG16", &[(c, code(b"RG16"))]),
        ("ADDFB2 RG24", &[(c, code(b"RG24"))]),
        ("ADDFB2 NV12 (one handle)", &[(c, code(b"NV12"))]),
        ("ADDFB2 YUYV", &[(c, code(b"YUYV"))]),
        ("ADDFB2 XR30", &[(c, code(b"XR30"))]),
        (
            "ADDFB2 XR48",
            &[(c, code(b"XR48")), (p, 8192), (height, 384)],
        ),
        (
            "ADDFB2 NV12 two",
            &[(c, code(b"NV12")), (h + 4, handle), (p + 4, 4096)],
        ),
        ("ADDFB2 C8", &[(c, code(b"C8  "))]),
        ("ADDFB2 fourcc 0", &[(c, 0)]),
        ("ADDFB2 fourcc junk", &[(c, 0x1234_5678)]),
        ("ADDFB2 XR24|BIG_ENDIAN", &[(c, XR24 | 1 << 31)]),
        ("ADDFB2 MODIFIERS LINEAR", &[(f, 2)]),
        (
            "ADDFB2 MODIFIERS INVALID",
            &[(f, 2), (m, u32::MAX), (m + 4, 0xff_ffff)],
        ),
        (
            "ADDFB2 MODIFIERS X_TILED",
            &[(f, 2), (m, 1), (m + 4, 1 << 24)],
        ),
        ("ADDFB2 INTERLACED", &[(f, 1)]),
        ("ADDFB2 flag 4", &[(f, 4)]),
        ("ADDFB2 modifier without flag", &[(m, 1)]),
        ("ADDFB2 modifier[1] set with flag", &[(f, 2), (m + 8, 1)]),
        ("ADDFB2 handles[1] set no flag", &[(h + 4, 1)]),
        ("ADDFB2 handles[1] set with flag", &[(f, 2), (h + 4, 1)]),
        ("ADDFB2 pitches[1] set with flag", &[(f, 2), (p + 4, 1)]),
        ("ADDFB2 handle 0", &[(h, 0)]),
        ("ADDFB2 handle 9999", &[(h, 9999)]),
        ("ADDFB2 modifier[1] set no flag", &[(m + 8, 1)]),
    ];
    for (name, changes) in rows {
        let mut list = vec![
            (width, 1024),
            (height, 768),
            (c, XR24),
            (h, handle),
            (p, 4096),
        ];
        list.extend_from_slice(changes);
        let errno = bench.with(a, Call::AddFb2, &list);
        bench.row(name, errno);
    }
}

#[test]
fn closed_framebuffer_stays_on_screen() {
    let mut bench = Bench::new();
    bench.section("b", "RMFB, CLOSEFB");
    let (a, b) = (bench.open(), bench.open());
    let theirs = bench.fb(b, 100, 100);
    for (name, id) in [("RMFB unknown", 9999), ("RMFB of other open's fb", theirs)] {
        let errno = bench.with(a, Call::RmFb, &[(0, id)]);
        bench.row(name, errno);
    }
    let fb = bench.light(a);
    let mut arg = bench.crtc(fb, Some(mode()), &[CONNECTOR]);
    let errno = bench.call(a, Call::SetCrtc, &mut arg);
    bench.row("SETCRTC", errno);
    for (name, list) in [
        ("CLOSEFB pad 1", [(0, fb), (4, 1)]),
        ("CLOSEFB unknown", [(0, 9999), (4, 0)]),
        ("CLOSEFB active", [(0, fb), (4, 0)]),
    ] {
        let errno = bench.with(a, Call::CloseFb, &list);
        bench.row(name, errno);
    }
    assert_eq!(bench.with(a, Call::GetFb, &[(0, fb)]), 0);
    assert_eq!(bench.with(a, Call::RmFb, &[(0, fb)]), 2);
    let fb = bench.light(a);
    let errno = bench.with(a, Call::RmFb, &[(0, fb)]);
    bench.row("RMFB active", errno);
    let mut crtc = fields(&[(at!(drm_mode_crtc.crtc_id), super::bench::CRTC)]);
    bench.call(a, Call::GetCrtc, &mut crtc);
    let found = (
        crtc.u32(at!(drm_mode_crtc.fb_id)),
        crtc.u32(at!(drm_mode_crtc.mode_valid)),
    );
    assert_eq!(found, (0, 1), "the plane is off, the CRTC on");
    for (name, id) in [("DIRTYFB", theirs), ("DIRTYFB unknown", 9999)] {
        let errno = bench.with(a, Call::DirtyFb, &[(0, id)]);
        bench.row(name, errno);
    }
    // Each file sees its own framebuffers.
    bench.fb(a, 64, 64);
    let count = at!(drm_mode_card_res.count_fbs);
    let mut own = fields(&[]);
    let errno = bench.call(a, Call::GetResources, &mut own);
    bench.row("GETRESOURCES fbs of this open: 22; other open", errno);
    assert_eq!(own.u32(count), 1);
}

#[test]
fn each_getfb_makes_a_handle() {
    let mut bench = Bench::new();
    let a = bench.open();
    let handle = bench.dumb(a, 64, 64);
    let (_, fb) = bench.fb2(a, (64, 64), XR24, handle);
    let mut seen = std::collections::BTreeSet::from([handle]);
    for (call, at) in [
        (Call::GetFb, at!(drm_mode_fb_cmd.handle)),
        (Call::GetFb2, at!(drm_mode_fb_cmd2.handles)),
    ] {
        let mut arg = fields(&[(0, fb)]);
        assert_eq!(bench.call(a, call, &mut arg), 0);
        assert!(seen.insert(arg.u32(at)), "{call:?} gave a known handle");
    }
    for handle in seen {
        assert_eq!(bench.with(a, Call::GemClose, &[(0, handle)]), 0);
    }
}
