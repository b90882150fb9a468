//! Errors of reading a flattened device tree.

use thiserror::Error;

/// The remedy for a damaged file.
const ADVICE: &str =
    "copy the file again, or compile its source: `dtc -O dtb -o board.dtb board.dts`";

/// An error of reading a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than [`MAX_BYTES`](crate::MAX_BYTES).
    #[error(
        "the file has {bytes} bytes, but vb3 reads device trees of at most {}; check that the file is a \
         device tree (.dtb)",
        crate::MAX_BYTES
    )]
    TooLarge {
        /// Length of the given file in bytes.
        bytes: usize,
    },
    /// The file does not begin with a flattened device tree's magic number.
    #[error(
        "not a flattened device tree: it begins with {found:#010x} instead of 0xd00dfeed; give a .dtb \
        file, such as /sys/firmware/fdt of a board"
    )]
    NoTree {
        /// The file's first four bytes, as a big-endian number.
        found: u32,
    },
    /// The file ends before its header or its tree does.
    #[error("the device tree is cut off: the file has {bytes} of its {wanted} bytes; {ADVICE}")]
    CutOff {
        /// Length of the given file in bytes.
        bytes: usize,
        /// Length of the tree in bytes.
        wanted: usize,
    },
    /// A part of the tree is damaged.
    #[error("the device tree is damaged at byte {offset}: {damage}; {ADVICE}")]
    Damaged {
        /// Offset of the damage from the start of the file, in bytes.
        offset: usize,
        /// The kind of damage.
        damage: Damage,
    },
    /// Nodes are nested too deeply.
    #[error(
        "the device tree has nodes more than {limit} levels deep, which is the limit; remove the deeper nodes \
         from its source (.dts)"
    )]
    TooDeep {
        /// Deepest allowed level.
        limit: usize,
    },
    /// The tree has too many nodes.
    #[error(
        "the device tree has more than {limit} nodes, which is the limit; remove nodes of other hardware \
         from its source (.dts)"
    )]
    TooManyNodes {
        /// Largest allowed number of nodes.
        limit: usize,
    },
}

/// A damaged part of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// A field of the header places the block of nodes outside the tree.
    #[error("the header places the nodes outside of the file")]
    StructureBlock,
    /// A field of the header places the block of property names outside the tree.
    #[error("the header places the names of properties outside of the file")]
    StringsBlock,
    /// The block of nodes has a word that is no token of the format.
    #[error(
        "{0:#x} is not a token; expected the begin (1) or end (2) of a node, a property (3), a \
         gap (4) or the end of all nodes (9)"
    )]
    Token(u32),
    /// The block of nodes ends before its end token.
    #[error("the nodes stop without their end token (9)")]
    NoEnd,
    /// A node's name is not text of at most 255 bytes.
    #[error("a node's name is not text of at most 255 bytes that ends with a zero byte")]
    NodeName,
    /// A property's name lies outside the block of names, is no text, or exceeds 255 bytes.
    #[error(
        "the offset of a property's name does not lead to text of at most 255 bytes that ends \
         with a zero byte"
    )]
    PropertyName,
    /// A property's value ends outside the block of nodes.
    #[error("a property says that it has {bytes} bytes, but the nodes end before that")]
    Value {
        /// The length that the property gives.
        bytes: u32,
    },
    /// A property stands outside all nodes.
    #[error("a property lies outside of every node")]
    NoNode,
    /// Another node begins after the root's end.
    #[error("a second root node begins where the end of all nodes (9) is expected")]
    SecondRoot,
    /// A node ends that has not begun, or the tree ends inside a node.
    #[error("a node ends that did not begin, or the tree ends inside a node")]
    Nesting,
}
