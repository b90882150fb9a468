//! Tests which addresses devices reach through their buses.

use super::*;

#[test]
fn bus_window_of_one_gigabyte_limits_devices() {
    // As on a Raspberry Pi 4, the lowest gigabyte of memory has the bus address 0xc0000000.
    let ranges = cells(&[0xc000_0000, 0, 0, 0x4000_0000]);
    let board = board(vec![bus(&[("dma-ranges", ranges)], vec![csi(&[])])]);
    let [device] = board.devices.as_slice() else {
        panic!("{:?}", board.devices);
    };
    let memory = Range::new(0, 1 << 30).expect("a range");
    assert_eq!(
        device.windows,
        [Window {
            bus: 0xc000_0000,
            memory
        }]
    );
    assert_eq!(
        (device.last_address, device.reaches(0)),
        (0xffff_ffff, 0x3fff_ffff)
    );
    assert_eq!(
        board.specs(),
        ["camera,identity=plain,name=csi@1000,window=0x0-0x3fffffff@0xc0000000"]
    );
    is_taken(&board);
}

/// As on many Allwinner boards, memory begins at 0x40000000, and at bus address 0.
/// The simulated machine's memory begins at 0.
#[test]
fn bus_window_follows_ram_start_of_machine() {
    let shows = |ranges: &[u32], memory: Option<u32>| {
        let soc = bus(&[("dma-ranges", cells(ranges))], vec![csi(&[])]);
        let memory = memory.map(|start| {
            let reg = cells(&[0, start, 0, 0x2000_0000]);
            node("memory", &[("reg", reg)], vec![])
        });
        let board = board(memory.into_iter().chain([soc]).collect());
        is_taken(&board);
        board.specs().join(" ")
    };
    let all = &[0, 0, 0x4000_0000, 0xc000_0000];
    for memory in [Some(0x4000_0000), None] {
        assert_eq!(
            shows(all, memory),
            "camera,identity=plain,name=csi@1000,mask=0xbfffffff"
        );
    }
    // Three windows: one starts below memory, one covers half of it, and one starts above memory's base.
    assert_eq!(
        shows(&[0, 0, 0x2000_0000, 0x4000_0000], Some(0x4000_0000)),
        "camera,identity=plain,name=csi@1000,window=0x0-0x1fffffff@0x20000000"
    );
    assert_eq!(
        shows(&[0, 0, 0x4000_0000, 0x1000_0000], Some(0x4000_0000)),
        "camera,identity=plain,name=csi@1000,mask=28"
    );
    assert_eq!(
        shows(&[0, 0, 0x4800_0000, 0x1000_0000], Some(0x4000_0000)),
        "camera,identity=plain,name=csi@1000,window=0x8000000-0x17ffffff@0x0"
    );
    // Memory that begins at 0 keeps its address.
    assert_eq!(
        shows(all, Some(0)),
        "camera,identity=plain,name=csi@1000,window=0x40000000-0xffffffff@0x0"
    );
    // A window with equal bus and memory addresses.
    assert_eq!(
        shows(
            &[0x4000_0000, 0, 0x4000_0000, 0x4000_0000],
            Some(0x4000_0000)
        ),
        "camera,identity=plain,name=csi@1000,mask=31"
    );
}

#[test]
fn windows_of_nested_buses_combine() {
    let inner = node(
        "inner",
        &[
            ("#address-cells", cells(&[1])),
            ("#size-cells", cells(&[1])),
            ("dma-ranges", cells(&[0, 0x8000_0000, 0x4000_0000])),
        ],
        vec![csi(&[])],
    );
    let outer = bus(
        &[("dma-ranges", cells(&[0x8000_0000, 1, 0, 0x2000_0000]))],
        vec![inner],
    );
    let board = board(vec![outer]);
    let memory = Range::new(1 << 32, 512 << 20).expect("a range");
    assert_eq!(board.devices[0].windows, [Window { bus: 0, memory }]);
}

#[test]
fn adjacent_windows_join_and_several_are_noted() {
    let of = |ranges: &[u32]| board(vec![bus(&[("dma-ranges", cells(ranges))], vec![csi(&[])])]);
    let halves = of(&[
        0xc000_0000,
        0,
        0,
        0x2000_0000,
        0xe000_0000,
        0,
        0x2000_0000,
        0x1000_0000,
    ]);
    assert_eq!(
        halves.specs(),
        ["camera,identity=plain,name=csi@1000,window=0x0-0x2fffffff@0xc0000000"]
    );
    assert_eq!(halves.not_taken, Vec::<String>::new());
    // Because of a gap on the bus, the two windows stay separate.
    let apart = of(&[
        0xc000_0000,
        0,
        0,
        0x1000_0000,
        0xe000_0000,
        0,
        0x1000_0000,
        0x1000_0000,
    ]);
    assert_eq!(
        apart.specs(),
        ["camera,identity=plain,name=csi@1000,mask=29"]
    );
    let [sentence] = apart.not_taken.as_slice() else {
        panic!("{:?}", apart.not_taken);
    };
    assert!(
        sentence.starts_with("/soc/csi@1000 reaches memory through 2 windows"),
        "{sentence}"
    );
    is_taken(&apart);
    // If bus addresses and physical addresses are equal, no window is needed.
    let same = of(&[
        0,
        0,
        0,
        0x1000_0000,
        0x8000_0000,
        0,
        0x8000_0000,
        0x1000_0000,
    ]);
    assert_eq!(same.not_taken, Vec::<String>::new());
}

#[test]
fn empty_dma_ranges_change_nothing() {
    let board = board(vec![bus(&[("dma-ranges", vec![])], vec![csi(&[])])]);
    assert_eq!(board.devices[0].windows, []);
    assert_eq!(board.devices[0].reaches(0), 0xffff_ffff);
}

/// Linux looks for windows up to the second bus without `dma-ranges`. The device's own bus may lack them.
#[test]
fn windows_behind_two_buses_without_ranges_are_unused() {
    let inner = |ranges: Properties<'_>, child| {
        let mut all = vec![
            ("#address-cells", cells(&[1])),
            ("#size-cells", cells(&[1])),
        ];
        all.extend(ranges.iter().cloned());
        node("inner", &all, vec![child])
    };
    let windows = |child| {
        let ranges = cells(&[0xc000_0000, 0, 0, 0x4000_0000]);
        let board = board(vec![bus(&[("dma-ranges", ranges)], vec![child])]);
        board.devices[0].windows.len()
    };
    let empty: Properties<'_> = &[("dma-ranges", vec![])];
    assert_eq!(windows(inner(&[], csi(&[]))), 1);
    assert_eq!(windows(inner(&[], inner(empty, csi(&[])))), 0);
    assert_eq!(windows(inner(empty, inner(empty, csi(&[])))), 1);
    assert_eq!(windows(inner(empty, inner(&[], csi(&[])))), 1);
    assert_eq!(windows(inner(&[], inner(&[], csi(&[])))), 0);
}
