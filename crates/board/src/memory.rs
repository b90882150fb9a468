//! Memory, and what of it is reserved.

use crate::tree::{Id, Tree, take};

/// Most entries of one property taken.
const MAX_RANGES: usize = 256;

/// A range of addresses, never empty, that ends at 2^64 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Range {
    /// `None` for an empty range, and for one beyond 2^64.
    #[must_use]
    pub fn new(start: u64, bytes: u64) -> Option<Self> {
        start.checked_add(bytes.checked_sub(1)?)?;
        Some(Self { start, bytes })
    }

    /// The last address.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.start.saturating_add(self.bytes.saturating_sub(1))
    }
}

/// What a reserved range is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedKind {
    /// `shared-dma-pool` with `reusable`: contiguous memory (CMA) that others use meanwhile.
    Cma {
        /// `linux,cma-default`: for every device that names no pool of its own.
        is_default: bool,
    },
    /// `shared-dma-pool` otherwise: coherent memory for the devices that name it.
    Pool,
    /// `no-map`: the kernel keeps away from it; no pages are behind it.
    NoMap,
    /// Anything else.
    Other,
}

/// A child of `/reserved-memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Full path of the node.
    pub path: String,
    /// What it is for.
    pub kind: ReservedKind,
    /// Bytes.
    pub bytes: u64,
    /// Where it lies, or must be placed; `None` for anywhere.
    pub place: Option<Range>,
}

/// Memory of the chip: an enabled node that is `mmio-sram`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sram {
    /// Full path of the node.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
}

/// `reg`-like pairs of a node, by the widths of another.
fn pairs(tree: &Tree, id: Id, name: &str, (address, size): (usize, usize)) -> Vec<Range> {
    let mut cells = tree.cells(id, name);
    let mut out = Vec::new();
    while out.len() < MAX_RANGES
        && let (Some(start), Some(bytes)) = (take(&mut cells, address), take(&mut cells, size))
    {
        // Two widths of zero would never come to an end.
        if address + size == 0 {
            break;
        }
        out.extend(Range::new(start, bytes));
    }
    out
}

/// The memory that the tree names.
pub(crate) fn ram(tree: &Tree) -> Vec<Range> {
    let widths = tree.widths(Tree::ROOT);
    tree.children(Tree::ROOT)
        .filter(|&id| {
            tree.text(id, "device_type").as_deref() == Some("memory")
                || tree.name(id).split('@').next() == Some("memory")
        })
        .flat_map(|id| pairs(tree, id, "reg", widths))
        .take(MAX_RANGES)
        .collect()
}

/// What is reserved of it.
pub(crate) fn reserved(tree: &Tree, not_taken: &mut Vec<String>) -> Vec<Reserved> {
    let Some(parent) = tree.find("/reserved-memory") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for id in tree.children(parent).filter(|&id| tree.is_enabled(id)) {
        match one(tree, parent, id) {
            Some(reserved) => out.push(reserved),
            None => not_taken.push(format!(
                "{} reserves no range that can be read (neither reg nor size)",
                tree.path(id)
            )),
        }
    }
    out
}

/// Memory of the chip.
pub(crate) fn srams(tree: &Tree) -> Vec<Sram> {
    let is_sram = |&id: &Id| {
        let mut texts = tree.texts(id, "compatible");
        texts.any(|text| text == "mmio-sram") && tree.is_enabled(id)
    };
    let of = |id| {
        let widths = tree.widths(tree.parent(id)?);
        let range = *pairs(tree, id, "reg", widths).first()?;
        Some(Sram {
            path: tree.path(id).to_owned(),
            bytes: range.bytes,
        })
    };
    let all = tree.all().filter(is_sram).filter_map(of);
    all.take(MAX_RANGES).collect()
}

fn one(tree: &Tree, parent: Id, id: Id) -> Option<Reserved> {
    let widths = tree.widths(parent);
    let fixed = pairs(tree, id, "reg", widths).first().copied();
    let bytes = match fixed {
        Some(range) => range.bytes,
        None => take(&mut tree.cells(id, "size"), widths.1).filter(|&bytes| bytes > 0)?,
    };
    let place = fixed.or_else(|| pairs(tree, id, "alloc-ranges", widths).first().copied());
    let is_pool = tree
        .texts(id, "compatible")
        .any(|text| text == "shared-dma-pool");
    let kind = match (is_pool, tree.has(id, "reusable"), tree.has(id, "no-map")) {
        (true, true, false) => ReservedKind::Cma {
            is_default: tree.has(id, "linux,cma-default"),
        },
        (true, _, _) => ReservedKind::Pool,
        (false, _, true) => ReservedKind::NoMap,
        (false, _, false) => ReservedKind::Other,
    };
    Some(Reserved {
        path: tree.path(id).to_owned(),
        kind,
        bytes,
        place,
    })
}
