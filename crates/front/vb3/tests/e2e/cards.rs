//! Display cards: kmssink, modetest and drm_info on `/dev/dri/card0`.

use crate::common::{
    Run, RunOutput, compiled, ffmpeg_in, finish, lacks, lacks_libavcodec, tempdir, tiers, vb3,
};

/// Width and height of the film, which is the size of the card's preferred mode.
const SIZE: (usize, usize) = (1280, 720);
const FRAMES: usize = 20;

/// Returns the pictures of a y4m recording in 4:2:0.
fn pictures(y4m: &[u8]) -> Vec<Vec<u8>> {
    let bytes = SIZE.0 * SIZE.1 * 3 / 2;
    let header = y4m.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let frames = y4m[header..].chunks_exact(bytes + b"FRAME\n".len());
    frames
        .map(|frame| frame[b"FRAME\n".len()..].to_vec())
        .collect()
}

/// The devices of the pipeline, without limits of their own.
const DEVICES: [&str; 3] = ["h264dec", "convert", "kms=shown.y4m"];

/// Plays a film through decoder and converter to the card, as the first example of docs/kms.md does.
fn play(machine: &str, devices: [&str; 3]) -> Option<RunOutput> {
    if lacks("gst-launch-1.0") || lacks("ffmpeg") || lacks_libavcodec() {
        return None;
    }
    let run = Run::on(machine).real_time("GStreamer has its own clock");
    let run = devices.into_iter().fold(run, Run::device);
    let film = format!("testsrc2=size={}x{}:rate=30", SIZE.0, SIZE.1);
    let frames = FRAMES.to_string();
    let source = [
        "-f",
        "lavfi",
        "-i",
        &film,
        "-frames:v",
        &frames,
        "-pix_fmt",
        "yuv420p",
    ];
    let codec = ["-c:v", "libx264", "-preset", "ultrafast", "in.mp4"];
    ffmpeg_in(run.dir.path(), source.iter().chain(&codec));
    let outcome = run
        .program([
            "gst-launch-1.0",
            "-q",
            "filesrc",
            "location=in.mp4",
            "!",
            "qtdemux",
            "!",
        ])
        .and([
            "h264parse",
            "!",
            "v4l2h264dec",
            "capture-io-mode=dmabuf",
            "!",
            "v4l2convert",
        ])
        .and([
            "output-io-mode=dmabuf-import",
            "capture-io-mode=dmabuf",
            "!",
        ])
        // kmssink 1.22 prefers NV12, and 1.26 prefers RGB, which shows the film's bytes after two conversions.
        .and(["video/x-raw,format=NV12", "!", "kmssink"])
        .and(["force-modesetting=true", "sync=false"])
        .patience(120)
        .run();
    outcome.expect_success();
    Some(outcome)
}

fn film_reaches_the_card_without_a_copy(machines: &[&str]) {
    machines
        .iter()
        .for_each(|machine| expect_film(machine, DEVICES));
}

/// Expects that the card shows each frame as ffmpeg decodes it, and that nothing was copied.
fn expect_film(machine: &str, devices: [&str; 3]) {
    if let Some(outcome) = play(machine, devices) {
        let dir = outcome.dir.path();
        let words = [
            "-i", "in.mp4", "-f", "rawvideo", "-pix_fmt", "yuv420p", "film.yuv",
        ];
        ffmpeg_in(dir, words);
        let film = outcome.read("film.yuv");
        let film: Vec<&[u8]> = film.chunks_exact(SIZE.0 * SIZE.1 * 3 / 2).collect();
        assert_eq!(film.len(), FRAMES);
        let mut shown = pictures(&outcome.read("shown.y4m"));
        // The picture of kmssink's mode set is first: an empty buffer. kmssink may show the first frame again.
        let first = shown.remove(0);
        assert_ne!(first, film[0], "{machine}");
        shown.dedup();
        // kmssink 1.26 removes its framebuffers at the end, which makes the screen black; 1.22 only closes the card.
        if shown.last() == Some(&first) {
            shown.pop();
        }
        assert_eq!(shown.len(), FRAMES, "{machine}");
        assert!(
            shown.iter().zip(film).all(|(shown, film)| shown == film),
            "{machine}"
        );
        let card = outcome.queue("/dev/dri/card0");
        assert_eq!(
            (card.bytes_copied, card.bytes_bounced, card.lost),
            (0, 0, 0),
            "{machine}"
        );
        assert!(
            outcome.report.refusals.is_empty(),
            "{machine}: {:?}",
            outcome.report.refusals
        );
    }
}

tiers! {
    film_reaches_the_card_without_a_copy(&["soc-cma"], &["pc", "soc-noncoherent", "soc-iommu"])
}

/// Boards with their own card, and the limits of decoder, converter and card as on the board.
const BOARDS: &[(&str, [&str; 3])] = &[
    (
        "rpi-4",
        [
            "h264dec,window=0x0-0x3fffffff@0xc0000000",
            "convert,window=0x0-0x3fffffff@0xc0000000",
            "kms=shown.y4m,driver=vc4,name=hvs@7e400000,window=0x0-0x3fffffff@0xc0000000",
        ],
    ),
    (
        "db410c",
        [
            "h264dec,name=video-codec@1d00000,mask=0xddbfffff,iommu=/soc@0/iommu@1ef0000",
            "convert,iommu=/soc@0/iommu@1ef0000",
            "kms=shown.y4m,driver=msm,name=display-controller@1a01000,mask=64,iommu=/soc@0/iommu@1ef0000",
        ],
    ),
];

#[test]
fn film_reaches_the_cards_of_two_boards() {
    for (board, devices) in BOARDS {
        expect_film(board, *devices);
    }
}

#[test]
fn each_board_lists_its_own_card() {
    for (board, devices) in BOARDS {
        let dir = tempdir();
        let mut vb3 = vb3(dir.path());
        let (_, profile, _) = finish(vb3.args(["machines", board]), dir.path());
        let card = devices[2].replacen("kms=shown.y4m", "kms", 1);
        assert!(profile.contains(&card), "{card}: {profile}");
    }
}

#[test]
fn refused_import_names_heap_and_copying_program() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let outcome = Run::on("soc-cma")
        .device("camera=pattern,size=1280x720,alloc=sg,identity=plain")
        .device("kms")
        .real_time("GStreamer has its own clock")
        .program([
            "gst-launch-1.0",
            "-q",
            "v4l2src",
            "num-buffers=5",
            "io-mode=dmabuf",
            "!",
        ])
        .and([
            "video/x-raw,format=YUY2",
            "!",
            "kmssink",
            "force-modesetting=true",
            "sync=false",
        ])
        .run();
    outcome.expect_success();
    let refusals = &outcome.report.refusals;
    let refusal = refusals
        .iter()
        .find(|refusal| refusal.call == "PRIME_FD_TO_HANDLE")
        .unwrap();
    assert_eq!((&*refusal.constraint, refusal.errno), ("contiguous", 22));
    let heap = refusal.remedy.as_ref().map(|remedy| remedy.heap.as_str());
    assert_eq!(heap, Some("default_cma_region"));
    let notes = outcome.report.notes.join("\n");
    assert!(notes.contains("gst-launch-1.0 copied"), "{notes}");
    assert!(
        notes.contains("/dev/dri/card0 refused to import"),
        "{notes}"
    );
}

#[test]
fn drm_info_and_modetest_list_the_card() {
    if lacks("drm_info") || lacks("modetest") {
        return;
    }
    let info = Run::on("pc")
        .device("kms,driver=vkms")
        .program(["drm_info"])
        .run();
    info.expect_success();
    for line in [
        "Driver: vkms",
        "Device: platform vkms",
        "DRM_CAP_PRIME = 3",
        "Object ID: 38",
    ] {
        assert!(info.stdout.contains(line), "{line}: {}", info.stdout);
    }
    let list = Run::on("pc")
        .device("kms")
        .program(["modetest", "-M", "rockchip"])
        .run();
    list.expect_success();
    for line in ["#0 1280x720 60.00", "DPMS", "IN_FORMATS"] {
        assert!(list.stdout.contains(line), "{line}: {}", list.stdout);
    }
}

#[test]
fn udev_and_sysfs_show_the_card() {
    let outcome = Run::on("pc")
        .device("kms")
        .program(["sh", "-c"])
        .and([
            "cat /sys/class/drm/card0-Virtual-1/status /sys/class/drm/card0/dev \
               /run/udev/data/c226:0 && readlink -f /dev/dri/by-path/*",
        ])
        .run();
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["connected", "226:0"]);
    for line in [
        "G:master-of-seat",
        "Q:uaccess",
        "E:ID_PATH=platform-rockchip-000",
        "/dev/dri/card0",
    ] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
}

#[test]
fn programs_find_debugfs_with_the_cards_files() {
    // The system's own debugfs may be there, closed to ordinary users, or absent.
    let outcome = Run::on("pc")
        .device("kms,driver=vkms")
        .program(["sh", "-c"])
        .and([
            "stat -c %d /sys/kernel/debug/. /sys/kernel/debug/.. && cat /sys/kernel/debug/dri/0/name \
               && ls /sys/kernel/debug/dri/0 /sys/kernel/debug/dri/0/crtc-0/crc",
        ])
        .run();
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_ne!(lines[0], lines[1], "a mount");
    let names = ["crtc-0", "name", "control", "data"];
    assert_eq!(lines[2..5], ["vkms", "dev=vkms-000", "unique=vkms-000"]);
    assert!(names.iter().all(|name| lines.contains(name)), "{lines:?}");
}

/// Runs the test program on a card. `card` is the card's SPEC.
fn client(card: &str, words: &[&str]) -> Option<RunOutput> {
    client_on("pc", card, words)
}

fn client_on(machine: &str, card: &str, words: &[&str]) -> Option<RunOutput> {
    let program = compiled("card.c")?;
    let run = Run::on(machine)
        .device(card)
        .real_time("the program waits for vblanks")
        .patience(400);
    Some(run.program([program.as_os_str()]).and(words).run())
}

#[test]
fn a_leases_file_looks_like_the_card() {
    if let Some(outcome) = client("kms", &["lease"]) {
        assert_eq!(outcome.expect_success().stdout, "leased\n");
    }
}

#[test]
fn a_program_that_gives_up_root_loses_its_rights() {
    if rustix::process::geteuid().is_root()
        && let Some(outcome) = client("kms", &["drops"])
    {
        assert_eq!(outcome.expect_success().stdout, "dropped\n");
    }
}

#[test]
fn pictures_are_written_back() {
    // The card reads and writes by DMA: through caches, an IOMMU, and into memory below a limit.
    for (machine, card) in [
        ("soc-cma", "kms=shown.y4m,size=640x480"),
        ("soc-noncoherent", "kms,size=640x480"),
        ("soc-iommu", "kms,size=640x480"),
    ] {
        let Some(outcome) = client_on(machine, card, &["writeback"]) else {
            return;
        };
        outcome.expect_success().expect_nothing_held();
        assert_eq!(outcome.stdout, "written\n", "{machine}");
        outcome.expect_no_refusal_or_missing_sync(machine);
    }
}

#[test]
fn drawing_without_a_commit_is_recorded() {
    const PIXELS: usize = 640 * 480;
    let Some(program) = compiled("card.c") else {
        return;
    };
    let run = Run::on("pc").device("kms=shown.raw,size=640x480");
    let outcome = run.program([program.as_os_str()]).and(["draws", "3"]).run();
    outcome.expect_success().expect_nothing_held();
    let recording = outcome.read("shown.raw");
    let (pixels, _) = recording.as_chunks::<4>();
    let shown = pixels.chunks_exact(PIXELS);
    // A picture may be half drawn.
    let whole = shown.filter(|picture| picture.iter().all(|pixel| *pixel == picture[0]));
    let mut colors: Vec<u32> = whole
        .map(|picture| u32::from_le_bytes(picture[0]))
        .collect();
    colors.dedup();
    assert_eq!(colors[..4], [0, 1, 2, 3].map(|number| number * 0x01_0305));
}

/// A picture that the card cannot read counts once, and not again at each vblank.
#[test]
fn a_revoked_picture_is_lost_once() {
    let Some(program) = compiled("card.c") else {
        return;
    };
    let [vb3, program] = [env!("CARGO_BIN_EXE_vb3"), &program.display().to_string()];
    let script = format!("VB3={vb3} exec {program} loses");
    let run = Run::on("pc").device("kms=shown.raw,size=640x480");
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success().expect_nothing_held();
    assert_eq!(outcome.stdout, "lost\n");
    assert_eq!(outcome.queue("/dev/dri/card0").lost, 1);
}

#[test]
fn cam_shows_its_camera_without_a_copy() {
    if lacks("cam") || lacks("ffmpeg") {
        return;
    }
    let run = Run::on("soc-cma")
        .device("camera=in.y4m,size=1280x720")
        .device("kms=shown.y4m")
        .real_time("libcamera 0.0.3 crashes if frames need no time");
    let film = "testsrc2=size=1280x720:rate=30";
    let source = ["-f", "lavfi", "-i", film, "-frames:v", "12", "-pix_fmt"];
    ffmpeg_in(run.dir.path(), source.iter().chain(&["yuv422p", "in.y4m"]));
    let stream = "width=1280,height=720,pixelformat=YUYV";
    let outcome = run
        .program(["cam", "-c1", "-C20", "-D", "-s", stream])
        .run();
    outcome.expect_success().expect_nothing_held();
    let frames = |file: &str| {
        let y4m = outcome.read(file);
        let header = y4m.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let frames = y4m[header..].chunks_exact(SIZE.0 * SIZE.1 * 2 + b"FRAME\n".len());
        frames.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let (film, shown) = (frames("in.y4m"), frames("shown.y4m"));
    // cam drops frames if it is late.
    assert!(!shown.is_empty() && shown.iter().all(|frame| film.contains(frame)));
    let card = outcome.queue("/dev/dri/card0");
    assert_eq!(
        (card.bytes_copied, card.bytes_bounced, card.lost),
        (0, 0, 0)
    );
    outcome.expect_no_refusal_or_missing_sync("soc-cma");
}

fn client_survives(kills: &str, calls: &str) {
    for words in [&["kills", kills][..], &["random", calls, "1"]] {
        let Some(outcome) = client("kms,size=640x480,connectors=2,planes=1", words) else {
            return;
        };
        outcome.expect_success().expect_nothing_held();
        assert!(outcome.stdout.ends_with("3 flips\n"), "{}", outcome.stdout);
    }
}

#[test]
fn kills_and_random_calls_leave_a_working_card() {
    client_survives("20", "20000");
}

#[test]
#[ignore = "full: takes two minutes"]
fn many_kills_and_calls_leave_a_working_card() {
    client_survives("200", "200000");
}

#[test]
fn a_monitor_is_unplugged_and_plugged_with_uevents() {
    let Some(program) = compiled("card.c") else {
        return;
    };
    let script = format!(
        "VB3={}
         {} plugs > said & client=$!
         while [ ! -e ready ]; do sleep 0.05; done
         $VB3 ctl unplug card0; cat /sys/class/drm/card0-Virtual-1/status
         while ! grep -q ^disconnected said; do sleep 0.05; done
         $VB3 ctl plug /dev/dri/card0; cat /sys/class/drm/card0-Virtual-1/status
         $VB3 ctl plug card0-Virtual-1
         wait $client && cat said
         $VB3 ctl shown card0; $VB3 ctl state | grep -c '/dev/dri/card0'",
        env!("CARGO_BIN_EXE_vb3"),
        program.display()
    );
    let outcome = Run::on("pc")
        .device("kms=shown.rgb")
        .real_time("vb3 ctl is another program")
        .program(["sh", "-c", &script])
        .run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let said = ["disconnected", "connected", "disconnected, 0 modes"];
    assert_eq!(lines[..3], said, "{}", outcome.stderr);
    assert_eq!(lines[3], "connected, 5 modes");
    assert!(lines[4].contains("width=1280"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"1"));
    let refused = "the monitor of card0-Virtual-1 is plugged in already";
    assert!(outcome.stderr.contains(refused), "{}", outcome.stderr);
}

#[test]
fn scripts_delay_lose_and_fail_commits() {
    let Some(program) = compiled("card.c") else {
        return;
    };
    let scripted = |steps: &str, words: [&str; 2]| {
        let run = Run::on("pc")
            .device("kms,size=640x480")
            .real_time("the program waits for vblanks");
        std::fs::write(run.file("script.toml"), steps).unwrap();
        run.options(["--script", "script.toml"])
            .program([program.as_os_str()])
            .and(words)
            .run()
    };
    let slow = scripted(
        "[[step]]\ndevice = \"/dev/dri/card0\"\nframe = 3\nlate = \"500ms\"\n
         [[step]]\ndevice = \"/dev/dri/card0\"\nframe = 5\ncount = 30\nlose = true\n",
        ["flips", "10"],
    );
    slow.expect_success();
    // Ten flips take 170 ms without the script, and a second longer with its steps.
    let flip_us: u64 = slow.stderr.split(' ').next().unwrap().parse().unwrap();
    assert!(flip_us > 100_000, "{}", slow.stderr);
    let actions = slow.report.script.iter();
    let actions: Vec<_> = actions
        .map(|event| (&*event.device, &*event.action))
        .collect();
    assert_eq!(
        actions,
        [("/dev/dri/card0", "late"), ("/dev/dri/card0", "lose")]
    );
    let failed = scripted(
        "[[step]]\ndevice = \"/dev/dri/card0\"\ncall = 3\nfail = \"PAGE_FLIP\"\nerrno = \"EIO\"\n",
        ["flips", "10"],
    );
    assert_eq!(failed.status, 1);
    assert!(
        failed.stderr.contains("FLIP, &flip) == 0 (errno 5)"),
        "{}",
        failed.stderr
    );
    let step = "[[step]]\ndevice = \"/dev/dri/card0\"\ntorn = true\n";
    let refused = refusal("kms", &["--script", "file"], step.as_bytes());
    assert!(
        refused.contains("it has fail, late, lose, plug and unplug"),
        "{refused}"
    );
}

/// Returns why a run with this card does not begin. `contents` are those of the file `file`.
fn refusal(card: &str, options: &[&str], contents: &[u8]) -> String {
    let dir = tempdir();
    std::fs::write(dir.path().join("file"), contents).unwrap();
    let mut vb3 = vb3(dir.path());
    let vb3 = vb3
        .args(["run", "-d", card])
        .args(options)
        .args(["--", "true"]);
    let (status, _, said) = finish(vb3, dir.path());
    assert_eq!(status, 125, "{said}");
    said
}

#[test]
fn a_broken_edid_is_refused_with_its_checksum() {
    let mut edid = [0, 255, 255, 255, 255, 255, 255, 0].to_vec();
    edid.resize(128, 0);
    // 1920x1080 at 60 frames per second.
    let timing = [
        0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45,
    ];
    edid[54..65].copy_from_slice(&timing);
    let refused = refusal("kms,edid=file", &[], &edid);
    let reason = "edid=file: the last byte of block 0 is 0x00; the checksum needs 0x";
    assert!(refused.contains(reason), "{refused}");
    edid[127] = edid.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    let run = Run::on("pc").device("kms,edid=edid.bin");
    std::fs::write(run.file("edid.bin"), edid).unwrap();
    let connector = "/sys/class/drm/card0-Virtual-1";
    let script = format!("cat {connector}/modes; wc -c < {connector}/edid");
    let accepted = run.program(["sh", "-c", &script]).run();
    assert_eq!(accepted.expect_success().stdout, "1920x1080\n128\n");
}

#[test]
fn programs_of_libdrm_run() {
    for program in ["modeprint", "proptest", "vbltest", "drmdevice"] {
        if lacks(program) {
            return;
        }
    }
    for (words, said) in [
        (&["modeprint", "vkms"][..], "1280x720"),
        (&["proptest", "-M", "vkms"], "GAMMA_LUT_SIZE"),
        (&["drmdevice"], "/dev/dri/card0"),
    ] {
        let outcome = Run::on("pc").device("kms,driver=vkms").program(words).run();
        outcome.expect_success();
        assert!(
            outcome.stdout.contains(said),
            "{words:?}: {}",
            outcome.stdout
        );
    }
}

/// A script that runs a program of libdrm until it says a word, and prints what it said: such programs end when their
/// standard input has a line.
fn until(word: &str, program: &str) -> String {
    format!(
        "mkfifo go; stdbuf -oL {program} < go > said 2>&1 & client=$!; exec 3> go
         until grep -q {word} said || ! kill -0 $client; do sleep 0.05; done
         echo >&3; wait $client && cat said"
    )
}

fn libdrm(script: &str) -> RunOutput {
    let run = Run::on("pc").device("kms=shown.rgb,size=640x480,driver=vkms");
    let run = run.real_time("the programs wait for vblanks").patience(120);
    run.program(["sh", "-c", script]).run()
}

/// Returns the rate of flips or vblanks that a program of libdrm says.
fn rate(said: &str) -> f64 {
    let rest = said.split_once("freq: ").expect(said).1;
    rest.split_once("Hz").expect(said).0.parse().expect(said)
}

#[test]
fn modetest_flips_pages_and_moves_a_cursor() {
    if lacks("modetest") {
        return;
    }
    let modetest = "modetest -M vkms -s 39@38:640x480";
    let pictures = |outcome: &RunOutput| {
        let shown = outcome.expect_success().read("shown.rgb");
        let shown = shown.chunks_exact(640 * 480 * 3).map(<[u8]>::to_vec);
        (
            shown.len(),
            shown.collect::<std::collections::BTreeSet<_>>().len(),
        )
    };
    // It says the rate after 60 flips between two patterns; other work on this machine may delay some.
    let flips = libdrm(&until("freq", &format!("{modetest} -v")));
    let (all, different) = pictures(&flips);
    assert!(all >= 60 && different >= 2, "{all}, {different}");
    assert!(rate(&flips.stdout) < 61.0, "{}", flips.stdout);
    let cursor = libdrm(&until("cursor", &format!("{modetest} -C")));
    assert!(
        cursor.stdout.contains("cursor stopped"),
        "{}",
        cursor.stdout
    );
    pictures(&cursor);
}

#[test]
fn vbltest_counts_vblanks_beside_modetest() {
    if lacks("modetest") || lacks("vbltest") {
        return;
    }
    // A CRTC that is off has no vblanks, so modetest switches it on first. The first program is the master.
    let script = format!(
        "mkfifo end; stdbuf -oL modetest -M vkms -s 39@38:640x480 < end > lit & exec 4> end
         until grep -q setting lit; do sleep 0.05; done
         until vbltest -M vkms < /dev/null > /dev/null 2>&1; do :; done
         {}; echo >&4; wait",
        until("freq", "vbltest -M vkms")
    );
    let outcome = libdrm(&script);
    let said = &outcome.expect_success().stdout;
    assert!(said.contains("starting count: "), "{said}");
    // It counts from its start, so the first rate may be a little higher.
    assert!(rate(said) < 70.0, "{said}");
}

#[test]
#[ignore = "full: needs an idle machine"]
fn a_large_screen_costs_a_camera_no_frame() {
    let Some(program) = compiled("card.c") else {
        return;
    };
    if lacks("v4l2-ctl") {
        return;
    }
    let lost = |flips: &str| {
        let script = format!(
            "{} ctl shown card0 2> /dev/null; {} stills {flips} & \
             v4l2-ctl -d0 --stream-mmap --stream-count=120 2> /dev/null; wait",
            env!("CARGO_BIN_EXE_vb3"),
            program.display()
        );
        let outcome = Run::on("pc")
            .device("camera=pattern,size=640x480,fps=60")
            .device("kms,size=4096x2304")
            .real_time("frames must come in time")
            .program(["sh", "-c", &script])
            .run();
        outcome.expect_success();
        outcome.queue("/dev/video0").lost
    };
    // Other work on this machine may take the time of some frames, and does not affect both cameras equally.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (alone, beside) = (lost("1"), lost("20"));
        if beside <= alone + 6 {
            return;
        }
        seen.push((alone, beside));
    }
    panic!("frames lost alone, and beside a card: {seen:?}");
}

/// Streams a camera at 60 frames per second while a monitor goes and comes this often. Returns how many frames the
/// camera lost, and how many it gave.
fn lost_beside_hotplugs(plugs: u32) -> (u64, u64) {
    let dir = tempdir();
    let report = dir.path().join("report.json");
    let run = vb3_client::Run::new(["v4l2-ctl", "-d0", "--stream-mmap", "--stream-to=/dev/null"])
        .device("camera=pattern,size=64x48,fps=60")
        .device("kms,connectors=2")
        .options(["--report".as_ref(), report.as_os_str()]);
    let mut run = run.start().unwrap();
    run.wait_frame("video0", 10).unwrap();
    for _ in 0..plugs {
        run.unplug("card0-Virtual-2").unwrap();
        run.plug("card0-Virtual-2").unwrap();
    }
    let frames = run.state().unwrap().devices[0].frames;
    run.wait_frame("video0", frames.max(120) + 10).unwrap();
    run.unplug("video0").unwrap();
    run.finish().unwrap();
    let report = std::fs::read(report).unwrap();
    let report: vb3_report::Report = serde_json::from_slice(&report).unwrap();
    assert!(report.held.is_empty(), "{:?}", report.held);
    let camera = report.devices.iter().find(|d| d.node == "/dev/video0");
    let queue = &camera.unwrap().queues[0];
    (queue.lost, queue.frames)
}

#[test]
fn hotplugs_hold_nothing_beside_a_camera() {
    if !lacks("v4l2-ctl") {
        lost_beside_hotplugs(200);
    }
}

#[test]
#[ignore = "full: needs an idle machine"]
fn ten_thousand_hotplugs_cost_a_camera_no_frame() {
    if lacks("v4l2-ctl") {
        return;
    }
    let (lost, frames) = lost_beside_hotplugs(10_000);
    // Other work on this machine may take the time of some frames.
    assert!(lost <= 6 + frames / 100, "{lost} of {frames} frames lost");
}
