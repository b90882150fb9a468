//! Boards from device trees: machine, devices and their limits.

use crate::common::{Run, expect_pattern, lacks, lacks_libavcodec};
use crate::compliance::summary;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;
use vb3_devicetree::{BOARDS, Shipped};
use vb3_v4l2::pixfmt;

fn node(name: &str, properties: &[(&str, &[u8])], children: Vec<DeviceTreeNode>) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::builder(name).unwrap();
    for (name, value) in properties {
        node = node.property(DeviceTreeProperty::new(*name, value.to_vec()).unwrap());
    }
    let mut node = node.build();
    for child in children {
        node.add_child(child);
    }
    node
}

/// Writes the device tree of a board like many with a Rockchip chip: the decoder has an IOMMU, the
/// converter has none.
fn board(dir: &TempDir) -> PathBuf {
    const ONE: &[u8] = &[0, 0, 0, 1];
    let phandle: &[u8] = &[0, 0, 0, 7];
    let mut tree = DeviceTree::new();
    for (name, value) in [
        ("model", b"A test board\0".as_slice()),
        ("compatible", b"maker,test-board\0"),
        ("#address-cells", ONE),
        ("#size-cells", ONE),
    ] {
        let property = DeviceTreeProperty::new(name, value.to_vec()).unwrap();
        tree.root.add_property(property);
    }
    let reg: &[u8] = &[0, 0, 0, 0, 0x20, 0, 0, 0];
    tree.root
        .add_child(node("memory@0", &[("reg", reg)], vec![]));
    tree.root.add_child(node(
        "iommu@1000",
        &[("compatible", b"rockchip,iommu\0"), ("phandle", phandle)],
        vec![],
    ));
    tree.root.add_child(node(
        "video-codec@2000",
        &[
            ("compatible", b"rockchip,rk3399-vdec\0"),
            ("iommus", phandle),
        ],
        vec![],
    ));
    tree.root.add_child(node(
        "rga@3000",
        &[("compatible", b"rockchip,rk3399-rga\0")],
        vec![],
    ));
    let path = dir.path().join("board.dtb");
    std::fs::write(&path, tree.to_dtb()).unwrap();
    path
}

fn vb3(words: &[&str], board: &Path, program: &[&str]) -> Output {
    crate::common::vb3(board.parent().unwrap())
        .args(words)
        .arg(board)
        .args(program)
        .output()
        .unwrap()
}

#[test]
fn a_device_tree_gives_machine_and_devices() {
    if lacks("v4l2-ctl") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let board = board(&dir);
    let out = vb3(&["machines", "--json"], &board, &[]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["ram"], 512 << 20);
    assert_eq!(json["iommu"], serde_json::Value::Null);
    assert_eq!(json["devices"][2], "convert,name=rga@3000,alloc=sg");
    assert_eq!(json["devices"].as_array().unwrap().len(), 3);
    assert_eq!(json["not_taken"].as_array().unwrap().len(), 0);
    let iommus = json["iommus"].as_object().unwrap();
    let [name] = iommus.keys().collect::<Vec<_>>()[..] else {
        panic!("{iommus:?}")
    };
    assert_eq!(iommus[name]["aperture"], 32);
    for (n, kind) in ["h264dec", "vp9dec"].into_iter().enumerate() {
        let decoder = format!("{kind}-stateless,driver=rkvdec,name=video-codec@2000,iommu={name}");
        assert_eq!(json["devices"][n], decoder);
    }
    let listing = ["--", "v4l2-ctl", "--list-devices"];
    let out = vb3(&["run", "--machine"], &board, &listing);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    for (card, device) in [
        ("video-codec@2000", "/dev/video0"),
        ("rga@3000", "/dev/video2"),
    ] {
        let mut lines = said.lines().skip_while(|line| !line.starts_with(card));
        let shown = lines.any(|line| line.trim() == device);
        assert!(shown, "{card} at {device} in {said}");
    }
}

#[test]
fn a_trees_sensor_streams_behind_a_receiver() {
    if lacks("v4l2-ctl") || lacks("media-ctl") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut tree = DeviceTree::new();
    for (name, compatible) in [
        ("csi@1000", b"allwinner,sun6i-a31-csi\0".as_slice()),
        ("camera@36", b"ovti,ov5647\0"),
    ] {
        let device = node(name, &[("compatible", compatible)], vec![]);
        tree.root.add_child(device);
    }
    let board = dir.path().join("board.dtb");
    std::fs::write(&board, tree.to_dtb()).unwrap();
    let script = "set -e
        media-ctl -l '\"msm_csiphy0\":1->\"msm_csid0\":0[1]'
        media-ctl -l '\"msm_csid0\":1->\"msm_vfe0_rdi0\":0[1]'
        v4l2-ctl --list-devices
        v4l2-ctl -d0 --stream-mmap --stream-count=2 --stream-to=- | wc -c";
    let out = vb3(&["run", "--machine"], &board, &["--", "sh", "-c", script]);
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        said.starts_with("csi@1000 (platform:ac6a000.camss)"),
        "{said}"
    );
    // Ten bits for each of 640 x 480 samples.
    assert_eq!(said.lines().last(), Some("768000"), "{said}");
}

/// Returns the failures and warnings of v4l2-compliance for each device of a board.
fn judged(board: &Shipped, words: &str, numbers: impl Iterator<Item = usize>) -> Vec<(u32, u32)> {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let script = format!(
        "for n in {}; do v4l2-compliance {words} -d /dev/video$n; echo END; done",
        numbers.join(" ")
    );
    let run = Run::on(board.name).real_time("its polls have timeouts");
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_nothing_held();
    let each: Vec<&str> = outcome.stdout.split_terminator("END\n").collect();
    assert_eq!(each.len(), numbers.len(), "{}", outcome.stdout);
    let judge = |(said, number): (&&str, &String)| {
        let found = summary(said);
        let found = found.unwrap_or_else(|| panic!("{} {number}: {said}", board.name));
        if found != (0, 0) {
            eprintln!("{} /dev/video{number}: {said}", board.name);
        }
        found
    };
    each.iter().zip(&numbers).map(judge).collect()
}

/// Tests every device that a board's profile lists, codecs included. Streams only on devices that
/// need no input stream, and once for equal devices.
#[test]
#[ignore = "full: runs on every board"]
fn devices_of_boards_that_ship_comply() {
    if lacks("v4l2-compliance") || lacks_libavcodec() {
        return;
    }
    for board in BOARDS {
        let profile = vb3_machine::Profile::parse(board.profile).unwrap();
        let is_video = |spec: &&String| !spec.starts_with("kms");
        let count = profile.devices.iter().filter(is_video).count();
        assert!(count > 0, "{}", board.name);
        let found = judged(board, "", 0..count);
        assert_eq!(found, vec![(0, 0); count], "{}", board.name);
    }
    for (board, numbers) in STREAMS {
        let board = BOARDS.iter().find(|known| known.name == *board).unwrap();
        let found = judged(board, "-s", numbers.iter().copied());
        assert_eq!(found, vec![(0, 0); numbers.len()], "{}", board.name);
    }
}

/// Displays, converters and encoders of each board. Cameras are left out: on a busy machine they may miss
/// their frame rate.
const STREAMS: &[(&str, &[usize])] = &[
    ("rpi-4", &[0]),
    ("rpi-5", &[0, 1]),
    ("imx8mp-evk", &[0, 1]),
    ("rock-5b", &[2, 3]),
    ("db410c", &[0, 3]),
    ("am625-sk", &[0]),
    ("odroid-u3", &[1, 9, 12]),
    ("cubieboard2", &[2]),
];

/// The device's bus reaches only the lowest 4 MiB here, as most buses of a Raspberry Pi 4 reach only the
/// lowest GiB.
#[test]
fn a_device_sees_its_window_of_memory_alone() {
    if lacks("v4l2-ctl") {
        return;
    }
    let camera = "camera=pattern,pace=free,size=320x240,format=YUYV";
    let run = Run::on("soc-cma").device(format!("{camera},window=0x0-0x3fffff@0xc0000000"));
    let script = "v4l2-ctl --stream-mmap=4 --stream-count=8 --stream-to=shot.raw; \
                  v4l2-ctl --stream-mmap=32 --stream-count=2";
    let outcome = run.program(["sh", "-c", script]).run();
    outcome.expect_success();
    let numbers = expect_pattern(&pixfmt::YUYV, &outcome.read("shot.raw"));
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    // The device reaches 3 of 64 MiB of contiguous memory, which hold 12 of 32 buffers.
    let refusal = &outcome.report.refusals[0];
    assert_eq!(
        (refusal.errno, &*refusal.constraint),
        (0, "dma-mask"),
        "{refusal:?}"
    );
}

/// Two devices have an IOMMU each, one has none, and one has its own memory.
#[test]
fn devices_of_one_machine_have_limits_of_their_own() {
    if lacks("v4l2-ctl") || lacks("gst-launch-1.0") {
        return;
    }
    let iommu = "page_sizes = [\"4KiB\"]\naperture = 32\n";
    let profile = format!(
        "name = \"mixed\"\nram = \"256MiB\"\ncma = \"1MiB\"\ncoherent = true\ndma_mask = 32\n\
         iommu = \"none\"\n[iommus.left]\n{iommu}[iommus.right]\n{iommu}"
    );
    let camera = "camera=pattern,pace=free,size=640x480,format=YUYV";
    let run = Run::on("mixed.toml")
        .device(format!("{camera},iommu=left"))
        .device("display=null,pace=free,iommu=right")
        .device("display=null,pace=free")
        .device(format!("{camera},sram=2MiB"));
    std::fs::write(run.file("mixed.toml"), profile).unwrap();
    let share = |sink: u32| {
        format!(
            "gst-launch-1.0 -q v4l2src io-mode=dmabuf num-buffers=5 ! \
             v4l2sink sync=false io-mode=dmabuf-import device=/dev/video{sink}"
        )
    };
    let script = format!(
        "{}; {} 2>/dev/null; v4l2-ctl -d3 --stream-mmap=3 --stream-count=5; \
         v4l2-ctl -d3 --stream-mmap=8 --stream-count=5",
        share(1),
        share(2)
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    let display = outcome.queue("/dev/video1");
    assert!(
        display.frames >= 5 && display.bytes_copied == 0,
        "{display:?}"
    );
    assert_eq!(outcome.queue("/dev/video2").frames, 0);
    let refusals: Vec<(&str, &str)> = outcome
        .report
        .refusals
        .iter()
        .map(|refusal| (&*refusal.device, &*refusal.constraint))
        .collect();
    assert!(
        refusals.contains(&("/dev/video2", "contiguous")),
        "{refusals:?}"
    );
    // 2 MiB hold three buffers of 600 KiB, but not a fourth.
    assert!(
        refusals.contains(&("/dev/video3", "coherent-region")),
        "{refusals:?}"
    );
    assert!(outcome.queue("/dev/video3").frames >= 5);
}

#[test]
fn unknown_iommu_error_lists_known_ones() {
    let dir = TempDir::new().unwrap();
    for (machine, device, said) in [
        ("pc", "camera,iommu=left", "machine pc has no named IOMMU"),
        (
            "rock-5b",
            "camera,iommu=left",
            "has /iommu@fdb50800, /iommu@fdba0800",
        ),
        (
            "pc",
            "camera,iommu=left,contiguous=on",
            "exclude each other",
        ),
        ("pc", "camera,sram=64KiB", "a device without an IOMMU"),
        ("soc-cma", "camera,sram=1000", "a multiple of 4KiB"),
        (
            "pc",
            "camera,window=0x0-0xfffff@0xc0000000",
            "a device without an IOMMU",
        ),
        ("soc-cma", "camera,window=0x0-0xfff@0x800", "whole pages"),
        (
            "soc-cma",
            "camera,window=0x0-0xffffffffffffffff@0x0",
            "whole pages",
        ),
        (
            "soc-cma",
            "camera,window=0x0-0xfffff@0xfffff000",
            "cannot host the device",
        ),
        ("soc-cma", "camera,sram=64KiB,alloc=vmalloc", "does no DMA"),
    ] {
        let out = crate::common::vb3(dir.path())
            .args(["run", "-m", machine, "-d", device, "--", "true"])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(
            stderr.contains(said) && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert_eq!(out.status.code(), Some(125));
    }
}

#[test]
fn invalid_boards_are_refused_in_a_sentence() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("board.dts");
    std::fs::write(&path, "/dts-v1/;\n/ { };\n").unwrap();
    for (path, sentence) in [
        (path.as_path(), "board.dts"),
        (Path::new("/dev/zero"), "it is not a regular file"),
        (Path::new("/etc/passwd"), "/etc/passwd, line 1"),
    ] {
        let out = vb3(&["run", "--machine"], path, &["--", "true"]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(sentence), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
