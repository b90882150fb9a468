mod damage;
mod windows;

use super::*;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use vb3_machine::Profile;

type Properties<'a> = &'a [(&'a str, Vec<u8>)];

fn cells(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn node(name: &str, properties: Properties<'_>, children: Vec<DeviceTreeNode>) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::builder(name).expect("a name");
    for (name, value) in properties {
        let property = DeviceTreeProperty::new(*name, value.clone()).expect("a property");
        node = node.property(property);
    }
    let mut node = node.build();
    for child in children {
        node.add_child(child);
    }
    node
}

fn tree(properties: Properties<'_>, children: Vec<DeviceTreeNode>) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    for (name, value) in properties {
        let property = DeviceTreeProperty::new(*name, value.clone()).expect("a property");
        tree.root.add_property(property);
    }
    for child in children {
        tree.root.add_child(child);
    }
    tree.to_dtb()
}

fn board(children: Vec<DeviceTreeNode>) -> Board {
    let root = [
        ("model", text("A Board")),
        ("compatible", text("maker,a-board")),
        ("#address-cells", cells(&[2])),
        ("#size-cells", cells(&[2])),
    ];
    Board::read(&tree(&root, children)).expect("a board")
}

fn csi(properties: Properties<'_>) -> DeviceTreeNode {
    let mut all = vec![("compatible", text("allwinner,sun6i-a31-csi"))];
    all.extend(properties.iter().cloned());
    node("csi@1000", &all, vec![])
}

fn bus(properties: Properties<'_>, children: Vec<DeviceTreeNode>) -> DeviceTreeNode {
    let mut all = vec![
        ("#address-cells", cells(&[1])),
        ("#size-cells", cells(&[1])),
    ];
    all.extend(properties.iter().cloned());
    node("soc", &all, children)
}

#[test]
fn table_parses_without_duplicate_strings() {
    let rows = drivers::drivers();
    assert!(rows.len() > 30, "{}", rows.len());
    let mut strings: Vec<&str> = rows
        .iter()
        .flat_map(|row| row.compatible.iter().map(String::as_str))
        .collect();
    let count = strings.len();
    strings.sort_unstable();
    strings.dedup();
    assert_eq!(strings.len(), count);
    for row in rows {
        assert!(
            row.source.starts_with("drivers/") && !row.kinds.is_empty(),
            "{row:?}"
        );
        // Each row names its allocator and the kind of its codecs, each with its source.
        let has_streams = row.kinds.iter().any(|kind| kind.stream().is_some());
        assert_eq!(has_streams, row.codec.is_some(), "{row:?}");
        let codec = row.codec.iter().map(|said| (&said.file, &said.says));
        for (file, says) in codec.chain([(&row.alloc.file, &row.alloc.says)]) {
            assert!(file.starts_with("drivers/") && !says.is_empty(), "{row:?}");
        }
    }
}

fn device(name: &str, compatible: &str, properties: Properties<'_>) -> DeviceTreeNode {
    let mut all = vec![("compatible", text(compatible))];
    all.extend(properties.iter().cloned());
    node(name, &all, vec![])
}

#[test]
fn allocators_match_drivers() {
    let ranges = [("dma-ranges", cells(&[0xc000_0000, 0, 0, 0x4000_0000]))];
    let devices = vec![
        device("rga@1", "rockchip,rk3288-rga", &[]),
        device("mailbox@2", "brcm,bcm2835-vchiq", &[]),
        device("isp@3", "raspberrypi,pispbe", &[]),
    ];
    let board = board(vec![bus(&ranges, devices)]);
    assert_eq!(
        board.specs(),
        [
            "convert,name=rga@1,alloc=sg,window=0x0-0x3fffffff@0xc0000000",
            // The CPU copies the pictures, so the device's bus and mask do not count.
            "camera,identity=plain,name=mailbox@2,alloc=vmalloc",
            "convert,name=isp@3,mask=36,window=0x0-0x3fffffff@0xc0000000",
        ]
    );
    is_taken(&board);
    let said = "#   sg buffers: drivers/media/platform/rockchip/rga/rga.c: vb2_dma_sg_memops";
    assert!(board.profile(None).contains(said));
}

#[test]
fn the_first_receiver_gets_the_first_sensor() {
    let off = [("status", text("disabled"))];
    let sensors = |first: &str, second: Properties<'_>| {
        vec![
            device("camera@10", first, &[]),
            device("camera@36", "ovti,ov5647", second),
        ]
    };
    let receivers = || vec![csi(&[]), device("isp@3", "raspberrypi,pispbe", &[])];
    let with = |sensors| board(vec![bus(&[], [sensors, receivers()].concat())]);
    let both = with(sensors("sony,imx219", &[]));
    assert_eq!(
        both.specs(),
        ["sensor=imx219,name=csi@1000", "convert,name=isp@3,mask=36"]
    );
    is_taken(&both);
    let left_out = "/soc/camera@36 is a sensor (ovti,ov5647); a run has at most one";
    assert_eq!(both.not_taken, [left_out]);
    let said =
        "#   sensor: /soc/camera@10 (sony,imx219), behind qcom-camss instead of this receiver";
    assert!(both.profile(None).contains(said));

    let port = |lanes: &[u32]| {
        let endpoint = node("endpoint", &[("data-lanes", cells(lanes))], vec![]);
        node("port", &[], vec![endpoint])
    };
    for (lanes, spec) in [
        (&[1, 2, 3, 4][..], "sensor=imx219-4lane,name=csi@1000"),
        (&[1, 2], "sensor=imx219,name=csi@1000"),
    ] {
        let compatible = [("compatible", text("sony,imx219"))];
        let wired = node("camera@10", &compatible, vec![port(lanes)]);
        assert_eq!(with(vec![wired]).specs()[0], spec);
    }
    let unknown = with(sensors("maker,sensor", &[]));
    assert_eq!(unknown.specs()[0], "sensor=ov5647,name=csi@1000");
    assert_eq!(unknown.not_taken.len(), 1, "{:?}", unknown.not_taken);
    let none = with(sensors("maker,sensor", &off));
    assert_eq!(none.specs()[0], "camera,identity=plain,name=csi@1000");
    let alone = board(vec![bus(&[], sensors("sony,imx219", &off))]);
    assert_eq!(alone.specs(), [""; 0]);
    let left_out = "/soc/camera@10 is a sensor (sony,imx219); no receiver on the board is known";
    assert_eq!(alone.not_taken, [left_out]);
}

#[test]
fn sensors_of_the_table_are_simulated() {
    assert!(!sensors().is_empty());
    for SensorDriver {
        model,
        four_lanes,
        source,
        ..
    } in sensors()
    {
        for model in four_lanes.iter().chain([model]) {
            let spec = format!("sensor={model}").parse::<vb3_devices::spec::DeviceSpec>();
            assert!(spec.is_ok(), "{spec:?}");
        }
        assert_eq!(*source, format!("drivers/media/i2c/{model}.c"));
    }
}

#[test]
fn stateless_codecs_stay_stateless_or_are_omitted() {
    let codecs = vec![
        device("video-codec@1", "nxp,imx8mm-vpu-g1", &[]),
        device("video-codec@2", "nxp,imx8mq-vpu-g2", &[]),
        device("video-codec@3", "rockchip,rk3399-vpu", &[]),
        device("video-codec@4", "fsl,imx6q-vpu", &[]),
    ];
    let board = board(vec![bus(&[], codecs)]);
    assert_eq!(
        board.specs(),
        [
            "h264dec-stateless,driver=hantro-vpu,name=video-codec@1",
            "vp8dec-stateless,driver=hantro-vpu,name=video-codec@1",
            "hevcdec-stateless,driver=hantro-vpu,name=video-codec@2",
            "vp9dec-stateless,driver=hantro-vpu,name=video-codec@2",
            "vp8dec-stateless,driver=hantro-vpu,name=video-codec@3",
            "jpegenc,driver=hantro-vpu,name=video-codec@3",
            "h264dec,driver=coda,name=video-codec@4",
            "h264enc,driver=coda,name=video-codec@4",
        ]
    );
    assert_eq!(board.devices.len(), 4);
    let left_out = |at: u32, streams: &str| {
        format!(
            "/soc/video-codec@{at} has a stateless {streams} decoder, which is not simulated \
             (stateless decoders of AV1, H.264, HEVC, VP8 and VP9 are)"
        )
    };
    let wanted = [left_out(1, "MPEG-2"), left_out(3, "MPEG-2")];
    assert_eq!(board.not_taken, wanted);
    is_taken(&board);
}

/// No shipped board has a stateful device for a stateless codec. Each device has its driver's allocator.
#[test]
fn shipped_boards_have_allocators_and_codecs() {
    let devices = |name: &str| {
        let board = BOARDS.iter().find(|board| board.name == name);
        let profile = Profile::parse(board.expect(name).profile).expect(name);
        profile.devices.join(" ")
    };
    for (name, has, has_not) in [
        ("rock-5b", "convert,name=rga@fdb80000,alloc=sg", "vp8dec,"),
        ("rock-5b", "h264dec-stateless,", "h264dec,"),
        ("rock-5b", "jpegenc,", "av1dec,"),
        (
            "rock-5b",
            "av1dec-stateless,driver=hantro-vpu,name=video-codec@fdc70000",
            "av1enc",
        ),
        ("rock-5b", "vp8dec-stateless,", "mpeg2dec"),
        ("imx8mp-evk", "hevcdec-stateless,", "hevcdec,"),
        ("imx8mp-evk", "vp9dec-stateless,", "vp9dec,"),
        ("cubieboard2", "h264dec-stateless,", "mpeg2dec"),
        (
            "db410c",
            "camera,identity=plain,name=camss@1b0ac00,alloc=sg",
            "stateless",
        ),
        ("db410c", "h264enc,", "mask=0xddbfffff,alloc"),
        (
            "rpi-4",
            "camera,identity=plain,name=mailbox@7e00b840,alloc=vmalloc",
            "sg",
        ),
        ("odroid-u3", "h264dec,", "stateless"),
    ] {
        let devices = devices(name);
        assert!(
            devices.contains(has) && !devices.contains(has_not),
            "{name}: {devices}"
        );
    }
}

/// Checks that `vb3 run` accepts the profile and SPECs.
fn is_taken(board: &Board) -> Profile {
    let toml = board.profile(None);
    let profile = Profile::parse(&toml).unwrap_or_else(|e| panic!("{e}\n{toml}"));
    assert_eq!(profile.devices, board.specs());
    for spec in board.specs() {
        spec.parse::<vb3_devices::spec::DeviceSpec>()
            .unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
    profile
}

fn pool(name: &str, at: u32, bytes: u32) -> DeviceTreeNode {
    let all = [
        ("compatible", text("shared-dma-pool")),
        ("no-map", vec![]),
        ("reg", cells(&[0, at, 0, bytes])),
    ];
    node(name, &all, vec![])
}

#[test]
fn memory_and_reservations_match_the_tree() {
    let reserved = node(
        "reserved-memory",
        &[
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
        ],
        vec![
            node(
                "linux,cma",
                &[
                    ("compatible", text("shared-dma-pool")),
                    ("reusable", vec![]),
                    ("linux,cma-default", vec![]),
                    ("size", cells(&[0, 0x800_0000])),
                    ("alloc-ranges", cells(&[0, 0x4000_0000, 0, 0x1000_0000])),
                ],
                vec![],
            ),
            node(
                "rmtfs@9000000",
                &[
                    ("reg", cells(&[0, 0x900_0000, 0, 0x10_0000])),
                    ("no-map", vec![]),
                ],
                vec![],
            ),
            node(
                "frames@9800000",
                &[
                    ("reg", cells(&[0, 0x980_0000, 0, 0x2000])),
                    ("no-map", vec![]),
                    ("phandle", cells(&[7])),
                ],
                vec![],
            ),
            pool("vpu@a000000", 0xa00_0000, 0x80_0000),
            pool("cam,fw", 0xb00_0000, 0x1000),
            // This pool is one page larger than half of the RAM that remains.
            pool("too-large", 0xc00_0000, 0x3c00_0000),
            node("empty", &[], vec![]),
        ],
    );
    let sram = |name: &str, bytes: u32, status: &str| {
        let all = [
            ("compatible", text("mmio-sram")),
            ("status", text(status)),
            ("reg", cells(&[0x90_0000, bytes])),
        ];
        node(name, &all, vec![])
    };
    let on_bus = vec![
        csi(&[("memory-region", cells(&[7]))]),
        sram("sram@900000", 0x9_0800, "okay"),
        sram("sram@1", 0x1000, "disabled"),
        sram("sram@2", 0x800, "okay"),
    ];
    let memory = node(
        "memory@40000000",
        &[
            ("device_type", text("memory")),
            (
                "reg",
                cells(&[0, 0x4000_0000, 0, 0x4000_0000, 1, 0, 0, 0x4000_0000]),
            ),
        ],
        vec![],
    );
    let board = board(vec![memory, reserved, bus(&[], on_bus)]);
    assert_eq!(board.ram(), Some(2 << 30));
    let [cma, carveout, ..] = board.reserved.as_slice() else {
        panic!("{:?}", board.reserved);
    };
    assert_eq!(cma.kind, ReservedKind::Cma { is_default: true });
    assert_eq!(
        (cma.bytes, cma.place),
        (128 << 20, Range::new(0x4000_0000, 256 << 20))
    );
    assert_eq!(
        (carveout.kind, carveout.bytes),
        (ReservedKind::NoMap, 1 << 20)
    );
    assert!(
        board
            .not_taken
            .iter()
            .any(|s| s.contains("/reserved-memory/empty"))
    );
    let profile = is_taken(&board);
    assert_eq!((profile.ram, profile.cma), (2 << 30, 128 << 20));
    // Pools become areas, and so does memory of a video device. Firmware memory and ranges of less than a
    // page do not.
    let areas = profile.areas.iter();
    let areas: Vec<_> = areas
        .map(|area| (&*area.name, area.bytes, area.pages))
        .collect();
    assert_eq!(
        areas,
        [
            ("cam,fw", 4096, true),
            ("frames@9800000", 0x2000, false),
            ("sram@900000", 0x9_0000, false),
            ("vpu@a000000", 8 << 20, true),
        ]
    );
    assert_eq!(profile.name, "maker-a-board");
}

#[test]
fn areas_are_whole_pages() {
    let widths = [
        ("#address-cells", cells(&[2])),
        ("#size-cells", cells(&[2])),
    ];
    let pools = vec![
        // Seven pages of 4 KiB, one of 16 KiB, none of 64 KiB.
        pool("odd@a000000", 0xa00_0000, 0x7000),
        pool("large@b000000", 0xb00_0000, 0x2_0000),
    ];
    let board = board(vec![node("reserved-memory", &widths, pools)]);
    for (page, odd) in [
        (4 << 10, Some(0x7000)),
        (16 << 10, Some(0x4000)),
        (64 << 10, None),
    ] {
        let toml = board.profile_as("pages", Some(1 << 30), Some((page, "a test")));
        let profile = Profile::parse(&toml).unwrap_or_else(|e| panic!("{page}: {e}\n{toml}"));
        assert_eq!(profile.page_size, page);
        let bytes = |name| {
            let mut areas = profile.areas.iter();
            areas.find(|area| area.name == name).map(|area| area.bytes)
        };
        assert_eq!(
            (bytes("odd@a000000"), bytes("large@b000000")),
            (odd, Some(0x2_0000))
        );
    }
}

/// Large boards and boards with many devices become machines, too.
#[test]
fn profiles_keep_the_limits_of_machines() {
    let widths = [
        ("#address-cells", cells(&[2])),
        ("#size-cells", cells(&[2])),
    ];
    let cma = [
        ("compatible", text("shared-dma-pool")),
        ("reusable", vec![]),
        ("linux,cma-default", vec![]),
        ("size", cells(&[1, 0])),
    ];
    let memory = [
        ("device_type", text("memory")),
        ("reg", cells(&[0, 0, 4, 0])),
    ];
    // Each is a decoder and an encoder.
    let codecs = (0..40).map(|n| {
        let name = format!("video-codec@{n}");
        device(&name, "fsl,imx6q-vpu", &[])
    });
    let board = board(vec![
        node("memory@0", &memory, vec![]),
        node(
            "reserved-memory",
            &widths,
            vec![node("linux,cma", &cma, vec![])],
        ),
        bus(&[], codecs.collect()),
    ]);
    let profile = is_taken(&board);
    assert_eq!(profile.ram, 16 << 30);
    assert_eq!(profile.cma, (3 << 30) - (1 << 20));
    assert_eq!(profile.devices.len(), 64);
}

#[test]
fn devices_with_and_without_iommu_differ() {
    let iommu = |status: &str| {
        node(
            "iommu@2000",
            &[
                ("compatible", text("arm,mmu-500")),
                ("phandle", cells(&[7])),
                ("#iommu-cells", cells(&[1])),
                ("status", text(status)),
            ],
            vec![],
        )
    };
    let rga = |properties: Properties<'_>| {
        let mut all = vec![("compatible", text("rockchip,rk3399-rga"))];
        all.extend(properties.iter().cloned());
        node("rga@3000", &all, vec![])
    };
    let behind = [("iommus", cells(&[7, 1])), ("dma-coherent", vec![])];
    let on = board(vec![bus(&[], vec![iommu("okay"), csi(&behind), rga(&[])])]);
    assert_eq!(
        on.devices[0].iommu.as_ref().map(|i| i.path.as_str()),
        Some("/soc/iommu@2000")
    );
    assert_eq!(
        on.specs(),
        [
            "camera,identity=plain,name=csi@1000,iommu=/soc/iommu@2000",
            "convert,name=rga@3000,alloc=sg"
        ]
    );
    let profile = is_taken(&on);
    assert!(profile.iommu.is_none() && !profile.coherent);
    let names: Vec<&str> = profile.iommus.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["/soc/iommu@2000"]);
    let off = board(vec![bus(&[], vec![iommu("disabled"), csi(&behind)])]);
    assert!(
        off.not_taken[0].contains("/soc/csi@1000 names an IOMMU"),
        "{:?}",
        off.not_taken
    );
    let profile = is_taken(&off);
    assert!(profile.iommus.is_empty() && profile.coherent);
}

#[test]
fn disabled_nodes_vanish_and_unknown_ones_are_noted() {
    let unknown = node(
        "video-codec@4000",
        &[("compatible", text("maker,new-codec"))],
        vec![],
    );
    let board = board(vec![bus(
        &[],
        vec![csi(&[("status", text("disabled"))]), unknown],
    )]);
    assert_eq!(board.devices, []);
    assert_eq!(board.specs(), Vec::<String>::new());
    let [sentence] = board.not_taken.as_slice() else {
        panic!("{:?}", board.not_taken);
    };
    assert!(sentence.contains("/soc/video-codec@4000") && sentence.contains("maker,new-codec"));
}

#[test]
fn masks_of_any_value_are_kept_exactly() {
    let venus = node(
        "video-codec@5000",
        &[("compatible", text("qcom,msm8916-venus"))],
        vec![],
    );
    let board = board(vec![bus(&[], vec![venus])]);
    assert_eq!(board.devices[0].last_address, 0xddbf_ffff);
    assert_eq!(
        board.specs(),
        [
            "h264dec,driver=qcom-venus,name=video-codec@5000,mask=0xddbfffff",
            "h264enc,driver=qcom-venus,name=video-codec@5000,mask=0xddbfffff"
        ]
    );
    is_taken(&board);
}

#[test]
fn rows_of_later_kernels_name_them() {
    let device = |compatible| node("hvs@7000", &[("compatible", text(compatible))], vec![]);
    let mask = |compatible| {
        let board = board(vec![device(compatible)]);
        (
            board.devices[0].last_address,
            board.devices[0].source.clone(),
        )
    };
    let (old, new) = (mask("brcm,bcm2711-hvs"), mask("brcm,bcm2712-hvs"));
    assert_eq!((old.0, new.0), (0xffff_ffff, 0xf_ffff_ffff));
    assert!(
        old.1.starts_with("Linux 6.12 drivers/gpu/drm/vc4"),
        "{old:?}"
    );
    assert!(
        new.1.starts_with("Linux 7.2 drivers/gpu/drm/vc4"),
        "{new:?}"
    );
}

#[test]
fn hostile_text_stays_in_its_line() {
    let root = [
        ("model", b"\"\nram = 1\n\\".to_vec()),
        ("compatible", text("x,\"\n")),
    ];
    let board = Board::read(&tree(&root, vec![])).expect("a board");
    is_taken(&board);
}

#[test]
fn circular_references_end() {
    let circle = [
        ("interconnects", cells(&[1, 0])),
        ("interconnect-names", text("dma-mem")),
        ("phandle", cells(&[1])),
        ("#interconnect-cells", cells(&[1])),
        ("iommus", cells(&[1])),
        ("dma-ranges", cells(&[0, 0, 0, 0x1000])),
    ];
    let board = board(vec![bus(&[], vec![csi(&circle)])]);
    assert_eq!(board.devices.len(), 1);
    is_taken(&board);
}

#[test]
fn too_large_and_too_deep_trees_are_refused() {
    assert_eq!(
        Board::read(&vec![0; MAX_BYTES + 1]),
        Err(Error::TooLarge {
            bytes: MAX_BYTES + 1
        })
    );
    let deep = (0..40).fold(node("leaf", &[], vec![]), |inner, _| {
        node("n", &[], vec![inner])
    });
    assert_eq!(
        Board::read(&tree(&[], vec![deep])),
        Err(Error::TooDeep { limit: 32 })
    );
}

#[test]
fn names_that_exhaust_memory_are_refused() {
    // Each path would repeat the long name of the node above.
    let mut dtb = tree(
        &[],
        vec![node("short", &[], vec![node("inner", &[], vec![])])],
    );
    let at = dtb
        .windows(6)
        .position(|bytes| bytes == b"short\0")
        .expect("there");
    let long = [b'x'; 300];
    dtb.splice(at..at, long);
    // The name makes the structure block longer.
    let len = u32::from_be_bytes(dtb[36..40].try_into().expect("four")) + 300;
    dtb[36..40].copy_from_slice(&len.to_be_bytes());
    for field in [4, 12] {
        let old = u32::from_be_bytes(dtb[field..field + 4].try_into().expect("four"));
        dtb[field..field + 4].copy_from_slice(&(old + 300).to_be_bytes());
    }
    assert_eq!(
        Board::read(&dtb),
        Err(Error::Damaged {
            offset: at,
            damage: Damage::NodeName
        })
    );
}

#[test]
fn shipped_boards_are_machines_with_devices() {
    for Shipped { name, profile, .. } in BOARDS {
        let profile = Profile::parse(profile).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(profile.name, *name);
        assert!(!profile.devices.is_empty(), "{name}");
        for spec in &profile.devices {
            spec.parse::<vb3_devices::spec::DeviceSpec>()
                .unwrap_or_else(|e| panic!("{name}: {spec}: {e}"));
        }
    }
}
