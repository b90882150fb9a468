//! The built-in boards. On each, a decoder, a converter and a display form one pipeline. For each board, a
//! known problem is reproduced, explained and solved. `docs/machines.md` lists the problems.

use crate::common::{Run, compiled, lacks};
use crate::pipeline::{encode, expect_pictures, failing, line, reference};

const DISPLAY: &str = "display=shown.raw,mplane=on,pace=free,format=NV12,size=160x120";

/// Options that follow the kind in a SPEC of a board's decoder, converter and display. A device that the
/// board lacks gets the limits of the board's other devices.
struct Line {
    board: &'static str,
    decoder: &'static str,
    converter: &'static str,
    display: &'static str,
    /// The sentence of `vb3 why` if they cannot share, and the options that solve the problem.
    refused: Option<(&'static str, &'static str)>,
}

const LINES: &[Line] = &[
    Line {
        board: "rpi-4",
        decoder: ",window=0x0-0x3fffffff@0xc0000000",
        converter: ",window=0x0-0x3fffffff@0xc0000000",
        display: ",name=hvs@7e400000,window=0x0-0x3fffffff@0xc0000000",
        refused: None,
    },
    Line {
        board: "rpi-5",
        decoder: ",mask=36",
        converter: ",name=isp@1000880000,mask=36",
        display: ",name=hvs@107c580000,mask=36",
        refused: None,
    },
    Line {
        board: "imx8mp-evk",
        decoder: ",name=video-codec@38300000",
        converter: ",name=dwe@32e30000",
        display: ",name=display-controller@32e80000,mask=36",
        refused: None,
    },
    // RGA reaches the lowest 4 of 8 GiB; the decoder's pages may lie anywhere.
    Line {
        board: "rock-5b",
        decoder: ",name=video-codec@fdb50000,iommu=/iommu@fdb50800",
        converter: ",name=rga@fdb80000,alloc=sg",
        display: ",iommu=/iommu@fdba0800",
        refused: Some((
            "and the device only up to 0xffffffff",
            "give /dev/video0 place=lazy",
        )),
    },
    Line {
        board: "db410c",
        decoder: ",name=video-codec@1d00000,mask=0xddbfffff,iommu=/soc@0/iommu@1ef0000",
        converter: ",iommu=/soc@0/iommu@1ef0000",
        display: ",name=display-controller@1a01000,mask=64,iommu=/soc@0/iommu@1ef0000",
        refused: None,
    },
    Line {
        board: "am625-sk",
        decoder: "",
        converter: "",
        display: ",name=dss@30200000,mask=48",
        refused: None,
    },
    Line {
        board: "odroid-u3",
        decoder: ",name=codec@13400000,iommu=/soc/sysmmu@13620000",
        converter: ",name=fimc@0,iommu=/soc/sysmmu@11a20000",
        display: ",name=mixer@12c10000,iommu=/soc/sysmmu@12e20000",
        refused: None,
    },
    Line {
        board: "cubieboard2",
        decoder: ",name=video-codec@1c0e000",
        converter: "",
        display: ",name=display-backend@1e40000",
        refused: None,
    },
];

/// Each board's pipeline shares buffers without a copy and shows the right pictures. If a device refuses a
/// buffer, `vb3 why` gives the reason, and `place=lazy` makes the pipeline work.
fn a_line_through_each_board(lines: &[Line]) {
    for on in lines {
        let run = |lazy: &str| {
            let run = Run::on(on.board)
                .device(format!("h264dec{}{lazy}", on.decoder))
                .device(format!("convert{}", on.converter))
                .device(format!("{DISPLAY}{}", on.display));
            let file = run.file("clip.mp4");
            encode(&file).then(|| {
                let line = failing(&line("clip.mp4", 2));
                (run.program(["sh", "-c", &line]).run(), file)
            })
        };
        let Some((mut outcome, mut file)) = run("") else {
            return;
        };
        if let Some((said, advice)) = on.refused {
            let told = outcome.why();
            assert!(
                told.contains(said)
                    && told.contains(advice)
                    && told.contains("only in vb3")
                    && told.contains("(gst-launch-1.0: "),
                "{}: {told}",
                on.board
            );
            (outcome, file) = run(",place=lazy").expect("the programs that the first run had");
        }
        outcome.expect_success();
        expect_pictures(&outcome.read("shown.raw"), &reference(&file));
        let report = &outcome.report;
        assert_eq!(report.total(|q| q.bytes_copied), 0, "{}", on.board);
        assert!(
            report.refusals.is_empty(),
            "{}: {:?}",
            on.board,
            report.refusals
        );
    }
}

/// RGA accepts any page in the lowest 4 GiB, so boards with less memory refuse nothing.
#[test]
#[ignore = "full: a further board"]
fn rga_takes_any_page_of_small_boards() {
    let on = LINES.iter().find(|line| line.board == "rock-5b").unwrap();
    for ram in ["1GiB", "2GiB"] {
        let run = Run::on(on.board)
            .options(["--ram", ram])
            .device(format!("h264dec{}", on.decoder))
            .device(format!("convert{}", on.converter))
            .device(format!("{DISPLAY}{}", on.display));
        let file = run.file("clip.mp4");
        if !encode(&file) {
            return;
        }
        let line = failing(&line("clip.mp4", 2));
        let outcome = run.program(["sh", "-c", &line]).run();
        outcome.expect_success();
        expect_pictures(&outcome.read("shown.raw"), &reference(&file));
        let report = &outcome.report;
        assert_eq!(report.refusals, [], "{ram}");
        assert_eq!(report.total(|q| q.bytes_copied + q.bytes_bounced), 0);
    }
}

/// A known problem of a board.
struct Problem {
    board: &'static str,
    /// The devices; empty for the board's own.
    devices: &'static [&'static str],
    options: &'static [&'static str],
    program: &'static str,
    /// The sentence of `vb3 why`.
    said: &'static str,
    /// Devices and a program without the problem.
    mended: (&'static [&'static str], &'static str),
}

const HVS: &str = "display,name=hvs@7e400000,window=0x0-0x3fffffff@0xc0000000";
const SHOW: &str = "gst-launch-1.0 -q v4l2src io-mode=dmabuf num-buffers=5 \
                    ! v4l2sink device=/dev/video1 io-mode=dmabuf-import sync=false";

const PROBLEMS: &[Problem] = &[
    // raspberrypi/linux #5727: a USB camera's buffers may lie anywhere; the display imports them.
    Problem {
        board: "rpi-4",
        devices: &["camera=pattern,pace=free,size=320x240,alloc=vmalloc", HVS],
        options: &[],
        program: SHOW,
        said: "QBUF on /dev/video1 failed with EINVAL: the memory lies at 0x100000000, outside the \
        window of the device's bus",
        mended: (&["camera=pattern,pace=free,size=320x240", HVS], SHOW),
    },
    // raspberrypi/rpicam-apps #912: after days, contiguous memory is free, but in pieces.
    Problem {
        board: "rpi-5",
        devices: &[],
        options: &["--script", "fragmented-cma"],
        program: "v4l2-ctl -d /dev/video1 \
                  --set-fmt-video-out=width=1920,height=1080,pixelformat=RGB3 \
                  --stream-out-mmap=3 --stream-count=2",
        said: "REQBUFS on /dev/video1 failed with ENOMEM: the device needs 5.9 MiB in one run of \
               addresses and the memory gives 256 KiB",
        // As after boot, before others allocated memory.
        mended: (
            &[],
            "v4l2-ctl -d /dev/video1 \
             --set-fmt-video-out=width=1920,height=1080,pixelformat=RGB3 \
             --stream-out-mmap=3 --stream-count=2",
        ),
    },
    // Freescale/gstreamer-imx #30: the kernel reserves 64 MiB, enough for two large pictures.
    Problem {
        board: "imx8mp-evk",
        devices: &[],
        options: &[],
        program: "v4l2-ctl -d /dev/video1 \
                  --set-fmt-video-out=width=4096,height=2304,pixelformat=RGB3 \
                  --stream-out-mmap=4 --stream-count=2",
        said: "REQBUFS on /dev/video1 made fewer buffers than requested: for one more, it asked \
               for 27 MiB of contiguous memory when 10 MiB of the CMA area were free",
        mended: (
            &[],
            "v4l2-ctl -d /dev/video1 \
             --set-fmt-video-out=width=4096,height=2304,pixelformat=RGB3 \
             --stream-out-mmap=2 --stream-count=2",
        ),
    },
    // airockchip/librga #143, #146: RGA refuses buffers that other devices of the chip share.
    Problem {
        board: "rock-5b",
        devices: &[
            "camera=pattern,pace=free,size=320x240,iommu=/iommu@fdb50800",
            "display,name=rga@fdb80000,alloc=sg",
        ],
        options: &[],
        program: SHOW,
        said: "and the device only up to 0xffffffff",
        mended: (
            &[
                "camera=pattern,pace=free,size=320x240,iommu=/iommu@fdb50800,place=lazy",
                "display,name=rga@fdb80000,alloc=sg",
            ],
            SHOW,
        ),
    },
    // JeffyCN/mirrors #70: zero-copy fails, copying works. The exporter is behind an IOMMU; the
    // display's IOMMU is off.
    Problem {
        board: "odroid-u3",
        devices: &[
            "camera=pattern,pace=free,size=320x240,name=fimc@0,iommu=/soc/sysmmu@11a20000",
            "display,name=mixer@12c10000",
        ],
        options: &[],
        program: SHOW,
        said: "in one run of addresses and the memory gives 4 KiB",
        mended: (
            &[
                "camera=pattern,pace=free,size=320x240,name=fimc@0,\
                 iommu=/soc/sysmmu@11a20000,place=lazy",
                "display,name=mixer@12c10000",
            ],
            SHOW,
        ),
    },
    // facetimehd #333, udmabuf #38: a program's own memory, at the address that malloc gave it.
    Problem {
        board: "am625-sk",
        devices: &["display,name=dss@30200000,mask=48,userptr=on"],
        options: &[],
        program: "v4l2-ctl -d /dev/video0 --stream-out-user=3 --stream-count=2",
        said: "QBUF on /dev/video0 failed with EINVAL: an alignment of 64 bytes is needed and the \
               address has 16 bytes",
        mended: (
            &["display,name=dss@30200000,mask=48,userptr=on"],
            "v4l2-ctl -d /dev/video0 --stream-out-mmap=3 --stream-count=2",
        ),
    },
    // aodzip/cedar #5: display and codec can only use the area in the lowest 256 MiB.
    Problem {
        board: "cubieboard2",
        devices: &[],
        options: &[],
        program: "v4l2-ctl -d /dev/video2 \
                  --set-fmt-video-out=width=4096,height=2304,pixelformat=RGB3 \
                  --stream-out-mmap=6 --stream-count=2",
        said: "of contiguous memory when 15 MiB of the CMA area were free",
        mended: (
            &[],
            "v4l2-ctl -d /dev/video2 \
             --set-fmt-video-out=width=4096,height=2304,pixelformat=RGB3 \
             --stream-out-mmap=3 --stream-count=2",
        ),
    },
];

fn problems_of_boards_are_explained_and_mended(problems: &[Problem]) {
    if lacks("gst-launch-1.0") || lacks("v4l2-ctl") {
        return;
    }
    for problem in problems {
        let run = |devices: &[&str], options: &[&str], program: &str| {
            let mut run = Run::on(problem.board).options(options);
            for device in devices {
                run = run.device(*device);
            }
            run.program(["sh", "-c", &failing(program)]).run()
        };
        let met = run(problem.devices, problem.options, problem.program);
        let told = met.why();
        assert!(told.contains(problem.said), "{}: {told}", problem.board);
        assert!(!met.report.refusals.is_empty(), "{}: {told}", problem.board);
        let (devices, program) = problem.mended;
        let mended = run(devices, &[], program);
        mended.expect_success();
        let refusals = &mended.report.refusals;
        assert!(refusals.is_empty(), "{}: {refusals:?}", problem.board);
    }
}

/// qualcomm-linux/meta-qcom #3100: the contiguous heap is too small for a camera's buffers,
/// although all devices are behind an IOMMU and could use scattered pages.
#[test]
#[ignore = "full: a further board"]
fn a_contiguous_heap_runs_out_where_pages_would_do() {
    let Some(program) = compiled("heap.c") else {
        return;
    };
    let run = |heap: &str, more: &str| {
        Run::on("db410c")
            .program([&*program.display().to_string(), heap, more])
            .run()
    };
    let cma = run("/dev/dma_heap/default_cma_region", "0x4100000");
    let told = cma.why();
    let said = "DMA_HEAP_IOCTL_ALLOC on /dev/dma_heap/default_cma_region failed with ENOMEM: it \
                asked for 65 MiB of contiguous memory when 64 MiB of the CMA area were free";
    assert!(told.contains(said), "{told}");
    // The system heap gives the same number of bytes, and refuses only more than the RAM.
    let pages = run("/dev/dma_heap/system", "0x40000000");
    let told = pages.why();
    assert!(!told.contains("CMA"), "{told}");
}

crate::common::tiers! {
    a_line_through_each_board(&LINES[..2], &LINES[2..])
    problems_of_boards_are_explained_and_mended(&PROBLEMS[..2], &PROBLEMS[2..])
}
