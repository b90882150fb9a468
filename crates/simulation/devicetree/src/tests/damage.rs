//! Damaged trees: the message names the part, its byte offset, what is wrong, and a remedy.

use super::*;
use proptest::prelude::*;

/// A tree of one node with one property, and the offsets of its parts.
struct Parts {
    dtb: Vec<u8>,
    node: usize,
    property: usize,
    end: usize,
}

fn field(dtb: &[u8], index: usize) -> usize {
    let bytes = dtb[index * 4..index * 4 + 4].try_into().expect("four");
    usize::try_from(u32::from_be_bytes(bytes)).expect("an offset")
}

fn parts() -> Parts {
    let dtb = tree(&[], vec![node("soc", &[("reg", cells(&[7]))], vec![])]);
    // The root's name is empty, so the root takes a token and a word.
    let node = field(&dtb, 2) + 8;
    Parts {
        node,
        property: node + 8,
        end: node + 8 + 16,
        dtb,
    }
}

fn damaged(at: usize, word: u32) -> String {
    let mut dtb = parts().dtb;
    dtb[at..at + 4].copy_from_slice(&word.to_be_bytes());
    Board::read(&dtb).expect_err("a damaged tree").to_string()
}

#[test]
fn damage_is_reported_with_its_byte() {
    let Parts {
        dtb,
        node,
        property,
        end,
    } = parts();
    assert!(Board::read(&dtb).is_ok());
    let advice =
        "; copy the file again, or compile its source: `dtc -O dtb -o board.dtb board.dts`";
    let value = u32::try_from(dtb.len()).expect("a length");
    for (at, word, wrong, expected) in [
        (8, value, "header places the nodes", "outside of the file"),
        (12, value + 1, "names of properties", "outside of the file"),
        (32, value, "names of properties", "outside of the file"),
        (node, 0xbad, "0xbad is not a token", "a property (3)"),
        (node + 4, 0xff00_0000, "a node's name", "255 bytes"),
        (
            property + 4,
            value,
            "a property says",
            "the nodes end before",
        ),
        (property + 8, value, "a property's name", "255 bytes"),
        (property, 2, "0x0 is not a token", "(9)"),
        (end, 9, "a node ends", "inside a node"),
        (end, 4, "a node ends", "inside a node"),
    ] {
        let said = damaged(at, word);
        let (place, rest) = said.split_once(": ").expect("a place");
        assert!(rest.contains(wrong), "{at}: {said}");
        assert!(rest.contains(expected) && said.ends_with(advice), "{said}");
        let byte = place.strip_prefix("the device tree is damaged at byte ");
        let byte: usize = byte.and_then(|byte| byte.parse().ok()).expect("a byte");
        // The message names the damaged word, the token that contains the word, or the word after it.
        let shown = match at {
            at if at == property + 4 || at == property + 8 => property,
            32 => 12,
            at => at,
        };
        assert!(byte == shown || byte > at, "{at}: {said}");
    }
}

#[test]
fn truncated_files_are_reported_as_such() {
    let Parts { dtb, .. } = parts();
    let whole = dtb.len();
    for len in [0, 3, 39] {
        let said = Board::read(&dtb[..len]).expect_err("cut off").to_string();
        let wanted = format!("cut off: the file has {len} of its 40 bytes; copy the file again");
        assert!(said.contains(&wanted), "{said}");
    }
    for len in 40..whole {
        let said = Board::read(&dtb[..len]).expect_err("cut off").to_string();
        let wanted = format!("cut off: the file has {len} of its {whole} bytes");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    let said = Board::read(b"root:x:0:0").expect_err("no tree").to_string();
    assert_eq!(
        said,
        "not a flattened device tree: it begins with 0x726f6f74 instead of 0xd00dfeed; give a .dtb \
         file, such as /sys/firmware/fdt of a board"
    );
}

proptest! {
    /// Changes bytes of a valid tree anywhere: reading gives an error, or a board with a valid profile.
    #[test]
    fn damaged_trees_give_an_error_or_a_board(
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let ranges = cells(&[0xc000_0000, 0, 0, 0x4000_0000]);
        let soc = bus(&[("dma-ranges", ranges)], vec![csi(&[("iommus", cells(&[3]))])]);
        let memory = node("memory@0", &[("reg", cells(&[0, 0, 0, 0x4000_0000]))], vec![]);
        let root = [("compatible", text("a,b")), ("#size-cells", cells(&[2]))];
        let mut dtb = tree(&root, vec![memory, soc]);
        for (index, byte) in at {
            let i = index.index(dtb.len());
            dtb[i] = byte;
        }
        if let Ok(board) = Board::read(&dtb) {
            is_taken(&board);
        }
    }
}

/// Returns a tree's bytes from its tokens and property names. It has no memory reservations.
fn blob(structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let word = |value: usize| u32::try_from(value).expect("a word").to_be_bytes();
    let (at, names) = (56, 56 + structure.len());
    let len = names + strings.len();
    let header = [0xd00d_feed, len, at, names, 40, 17, 16, 0];
    let sizes = [strings.len(), structure.len()];
    let head = header.into_iter().chain(sizes).flat_map(word);
    let head: Vec<u8> = head.chain([0; 16]).collect();
    [&head, structure, strings].concat()
}

/// Appends the begin of a node.
fn begin(out: &mut Vec<u8>, name: &[u8]) {
    out.extend(1_u32.to_be_bytes());
    out.extend(name);
    out.resize((out.len() + 4) & !3, 0);
}

#[test]
fn one_long_value_does_not_slow_all_nodes() {
    let value = b"x\0".repeat(1 << 20);
    for (property, child) in [(&b"compatible\0"[..], &b"vpu"[..]), (b"status\0", b"vpu")] {
        let mut structure = Vec::new();
        begin(&mut structure, b"");
        structure.extend(
            [3, u32::try_from(value.len()).expect("a length"), 0]
                .map(u32::to_be_bytes)
                .concat(),
        );
        structure.extend(&value);
        for _ in 0..65_000 {
            begin(&mut structure, child);
            structure.extend(2_u32.to_be_bytes());
        }
        structure.extend([2, 9].map(u32::to_be_bytes).concat());
        let began = std::time::Instant::now();
        Board::read(&blob(&structure, property)).expect("a board");
        // If the reader examined the root's property again for each child, this would take minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}

#[test]
fn deep_names_take_no_more_memory_than_the_file() {
    let name = [b'n'; 255];
    let mut structure = Vec::new();
    begin(&mut structure, b"");
    for _ in 0..30 {
        begin(&mut structure, &name);
    }
    for _ in 0..60_000 {
        begin(&mut structure, b"n");
        structure.extend(2_u32.to_be_bytes());
    }
    structure.extend([2; 31].map(u32::to_be_bytes).concat());
    structure.extend(9_u32.to_be_bytes());
    let dtb = blob(&structure, b"");
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages = statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number") * 4096
    };
    let before = resident();
    let tree = crate::tree::Tree::read(&dtb).expect("a tree");
    let taken = resident().saturating_sub(before);
    assert_eq!(tree.path(31).len(), 30 * 256 + 2);
    assert!(taken < 100 << 20, "{taken} bytes");
}
