//! Memory of a board, and its reserved parts.

use crate::tree::{Id, Tree, take};

/// Maximum number of remarks about nodes that the profile cannot express.
pub(crate) const MAX_REMARKS: usize = 64;
/// Maximum number of entries that are read from one property.
const MAX_RANGES: usize = 256;

/// A range of addresses. It is never empty and ends at 2^64 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Range {
    /// Returns a range; `None` if it would be empty or end beyond 2^64.
    #[must_use]
    pub fn new(start: u64, bytes: u64) -> Option<Self> {
        start.checked_add(bytes.checked_sub(1)?)?;
        Some(Self { start, bytes })
    }

    /// Returns the last address.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.start.saturating_add(self.bytes.saturating_sub(1))
    }
}

/// The purpose of a reserved range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedKind {
    /// `shared-dma-pool` with `reusable`: contiguous memory (CMA).
    /// Movable pages may use the range until a device needs it.
    Cma {
        /// `linux,cma-default`: serves every device that names no other pool.
        is_default: bool,
    },
    /// Any other `shared-dma-pool`: coherent memory for the devices that name it.
    Pool,
    /// `no-map`: the kernel does not map the range, which has no struct pages.
    NoMap,
    /// Anything else.
    Other,
}

/// A child of `/reserved-memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Full path of the node.
    pub path: String,
    /// Purpose of the range.
    pub kind: ReservedKind,
    /// Length in bytes.
    pub bytes: u64,
    /// The reserved range, or the range in which the kernel may reserve it; `None` for anywhere.
    pub place: Option<Range>,
}

/// On-chip memory: an enabled `mmio-sram` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sram {
    /// Full path of the node.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// Reads (address, size) pairs of a property, with the given numbers of cells.
fn pairs(tree: &Tree, id: Id, name: &str, (address, size): (usize, usize)) -> Vec<Range> {
    let mut cells = tree.cells(id, name);
    let mut out = Vec::new();
    while out.len() < MAX_RANGES
        && let (Some(start), Some(bytes)) = (take(&mut cells, address), take(&mut cells, size))
    {
        // If both widths were zero, the loop would not end.
        if address + size == 0 {
            break;
        }
        out.extend(Range::new(start, bytes));
    }
    out
}

/// Returns the ranges of memory in the tree.
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

/// Lists the children of `/reserved-memory`.
pub(crate) fn reserved(tree: &Tree, not_taken: &mut Vec<String>) -> Vec<Reserved> {
    let Some(parent) = tree.child(Tree::ROOT, "reserved-memory") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for id in tree.children(parent).filter(|&id| tree.is_enabled(id)) {
        match one(tree, parent, id) {
            Some(_) if out.len() >= MAX_RANGES => {}
            Some(reserved) => out.push(reserved),
            None if not_taken.len() >= MAX_REMARKS => {}
            None => not_taken.push(format!(
                "{} has neither reg nor size, so its reserved range is unknown",
                tree.path(id)
            )),
        }
    }
    out
}

/// Lists the on-chip memory.
pub(crate) fn srams(tree: &Tree) -> Vec<Sram> {
    let is_sram = |&id: &Id| {
        let mut texts = tree.texts(id, "compatible");
        texts.any(|text| text == "mmio-sram") && tree.is_enabled(id)
    };
    let of = |id| {
        let widths = tree.widths(tree.parent(id)?);
        let range = *pairs(tree, id, "reg", widths).first()?;
        Some(Sram {
            path: tree.path(id),
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
        path: tree.path(id),
        kind,
        bytes,
        place,
    })
}
