//! A board by its device tree: its machine, and its devices with their limits.

use crate::common::lacks;
use crate::compliance::summary;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

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

/// A board like many with a Rockchip chip: an IOMMU in front of the decoder and none in front of
/// the converter.
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
    Command::new(env!("CARGO_BIN_EXE_vb3"))
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
    let out = vb3(&["machines", "--json", "--from"], &board, &[]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["ram"], 512 << 20);
    assert_eq!(json["iommu"]["aperture"], 32);
    assert_eq!(json["devices"][3], "convert,name=rga@3000,contiguous=on");
    let listing = ["--", "v4l2-ctl", "--list-devices"];
    let out = vb3(&["run", "--board"], &board, &listing);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    for (card, device) in [
        ("video-codec@2000", "/dev/video0"),
        ("rga@3000", "/dev/video3"),
    ] {
        let mut lines = said.lines().skip_while(|line| !line.starts_with(card));
        let shown = lines.any(|line| line.trim() == device);
        assert!(shown, "{card} at {device} in {said}");
    }
}

/// Displays and converters; `decoder` and `encoders` have the codecs, which are the same everywhere.
#[test]
fn devices_of_boards_that_ship_comply() {
    if lacks("v4l2-compliance") {
        return;
    }
    for (board, number) in [
        ("rpi-4", 0),
        ("imx8mp-evk", 0),
        ("imx8mp-evk", 1),
        ("rock-5b", 3),
        ("db410c", 0),
        ("am625-sk", 0),
        ("odroid-u3", 1),
        ("odroid-u3", 12),
        ("cubieboard2", 4),
    ] {
        let device = format!("/dev/video{number}");
        let out = Command::new(env!("CARGO_BIN_EXE_vb3"))
            .args(["run", "--machine", board, "--", "v4l2-compliance", "-s"])
            .args(["-d", &device])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(summary(&said), Some((0, 0)), "{board} {device}: {said}");
    }
}

#[test]
fn what_is_no_board_is_said_in_a_sentence() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("board.dts");
    std::fs::write(&path, "/dts-v1/;\n/ { };\n").unwrap();
    for (path, sentence) in [
        (path.as_path(), "dtc -O dtb"),
        (Path::new("/dev/zero"), "no regular file"),
        (Path::new("/etc/passwd"), "no flattened device tree"),
    ] {
        let out = vb3(&["run", "--board"], path, &["--", "true"]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(sentence), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
