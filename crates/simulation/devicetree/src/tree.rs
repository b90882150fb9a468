//! A device tree in memory: nodes with their parents, and an index of the phandles that refer to nodes.

use crate::blob::{Reader, Token};
use crate::{Damage, Error};
use std::collections::BTreeMap;

/// Maximum level of a node. The deepest node in Linux's trees has level 9.
const MAX_DEPTH: usize = 32;
/// Maximum number of nodes. The largest tree in Linux has about 3,000.
const MAX_NODES: usize = 65_536;

/// Maximum number of bytes that are read from a list of strings. The longest in Linux's trees has 500.
const MAX_TEXT: usize = 4096;

/// Index of a node of one tree.
pub(crate) type Id = usize;

/// A node. Nodes are stored in the file's order: a node's descendants follow it.
#[derive(Debug)]
struct Node<'a> {
    parent: Option<Id>,
    name: &'a str,
    properties: BTreeMap<&'a str, &'a [u8]>,
    /// Whether the node and all nodes above it are enabled.
    is_enabled: bool,
}

/// A device tree. Names and values lie in the file's bytes.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    phandles: BTreeMap<u32, Id>,
}

impl<'a> Tree<'a> {
    /// Id of the root node.
    pub(crate) const ROOT: Id = 0;

    /// Reads a flattened tree.
    pub(crate) fn read(dtb: &'a [u8]) -> Result<Self, Error> {
        if dtb.len() > crate::MAX_BYTES {
            return Err(Error::TooLarge { bytes: dtb.len() });
        }
        let mut this = Self {
            nodes: Vec::new(),
            phandles: BTreeMap::new(),
        };
        this.add_all(&mut Reader::new(dtb)?)?;
        for id in 0..this.nodes.len() {
            let is_above = this.parent(id).is_none_or(|above| this.is_enabled(above));
            let status = this.texts(id, "status").next();
            let is_enabled = is_above && matches!(status, None | Some("okay" | "ok"));
            if let Some(node) = this.nodes.get_mut(id) {
                node.is_enabled = is_enabled;
            }
            if let Some(phandle) = this.number(id, "phandle") {
                this.phandles.entry(phandle).or_insert(id);
            }
        }
        Ok(this)
    }

    fn add_all(&mut self, reader: &mut Reader<'a>) -> Result<(), Error> {
        let mut open: Vec<Id> = Vec::new();
        loop {
            match reader.token()? {
                Token::Begin(name) => {
                    if open.len() > MAX_DEPTH {
                        return Err(Error::TooDeep { limit: MAX_DEPTH });
                    }
                    if self.nodes.len() >= MAX_NODES {
                        return Err(Error::TooManyNodes { limit: MAX_NODES });
                    }
                    let parent = open.last().copied();
                    // A tree has only one root.
                    if parent.is_none() && !self.nodes.is_empty() {
                        return Err(reader.damaged(Damage::SecondRoot));
                    }
                    open.push(self.nodes.len());
                    self.nodes.push(Node {
                        parent,
                        // The root's name is empty.
                        name: if parent.is_some() { name } else { "" },
                        properties: BTreeMap::new(),
                        is_enabled: false,
                    });
                }
                Token::Property(name, value) => {
                    let node = open.last().and_then(|&id| self.nodes.get_mut(id));
                    let node = node.ok_or_else(|| reader.damaged(Damage::NoNode))?;
                    node.properties.insert(name, value);
                }
                Token::End if open.pop().is_some() => {}
                Token::Done if open.is_empty() && !self.nodes.is_empty() => return Ok(()),
                Token::End | Token::Done => return Err(reader.damaged(Damage::Nesting)),
            }
        }
    }

    /// Returns all nodes, parents before their children.
    pub(crate) fn all(&self) -> impl Iterator<Item = Id> + '_ {
        0..self.nodes.len()
    }

    /// Returns the full path; empty for the root.
    pub(crate) fn path(&self, id: Id) -> String {
        let names: Vec<&str> = self.ancestors(id).map(|id| self.name(id)).collect();
        names.into_iter().rev().collect::<Vec<_>>().join("/")
    }

    /// Returns the last part of the path.
    pub(crate) fn name(&self, id: Id) -> &'a str {
        self.nodes.get(id).map_or("", |node| node.name)
    }

    /// Returns the parent node.
    pub(crate) fn parent(&self, id: Id) -> Option<Id> {
        self.nodes.get(id)?.parent
    }

    /// Returns the node and its ancestors, up to the root.
    pub(crate) fn ancestors(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(Some(id), |&id| self.parent(id))
    }

    pub(crate) fn children(&self, of: Id) -> impl Iterator<Item = Id> + '_ {
        self.all().filter(move |&id| self.parent(id) == Some(of))
    }

    /// Returns the first child with this name.
    pub(crate) fn child(&self, of: Id, name: &str) -> Option<Id> {
        self.children(of).find(|&id| self.name(id) == name)
    }

    /// Returns all nodes below a node.
    pub(crate) fn below(&self, above: Id) -> impl Iterator<Item = Id> + '_ {
        let rest = above.saturating_add(1)..self.nodes.len();
        rest.take_while(move |&id| self.ancestors(id).any(|at| at == above))
    }

    /// Returns the node that a phandle refers to.
    pub(crate) fn by_phandle(&self, phandle: u32) -> Option<Id> {
        self.phandles.get(&phandle).copied()
    }

    /// Returns the bytes of a property.
    pub(crate) fn property(&self, id: Id, name: &str) -> Option<&'a [u8]> {
        self.nodes.get(id)?.properties.get(name).copied()
    }

    pub(crate) fn has(&self, id: Id, name: &str) -> bool {
        self.property(id, name).is_some()
    }

    /// Returns the value of a property that consists of exactly one cell.
    pub(crate) fn number(&self, id: Id, name: &str) -> Option<u32> {
        let bytes: [u8; 4] = self.property(id, name)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// Returns the cells of a property. An incomplete cell at the end is ignored.
    pub(crate) fn cells(&self, id: Id, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = self.property(id, name).unwrap_or_default();
        bytes
            .chunks_exact(4)
            .filter_map(|cell| Some(u32::from_be_bytes(cell.try_into().ok()?)))
    }

    /// Returns the strings in the first [`MAX_TEXT`] bytes of a property. Values that are not text are ignored.
    pub(crate) fn texts(&self, id: Id, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let bytes = self.property(id, name).unwrap_or_default();
        let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
        bytes
            .split(|&byte| byte == 0)
            .filter_map(|text| std::str::from_utf8(text).ok())
            .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
    }

    /// Returns the first string of a property.
    pub(crate) fn text(&self, id: Id, name: &str) -> Option<String> {
        self.texts(id, name).next().map(str::to_owned)
    }

    /// Returns the numbers of cells of an address and of a size in `reg` and `ranges` of the node's children.
    pub(crate) fn widths(&self, id: Id) -> (usize, usize) {
        let width = |name, default| {
            let cells = self.number(id, name).unwrap_or(default);
            usize::try_from(cells).unwrap_or(usize::MAX)
        };
        (width("#address-cells", 2), width("#size-cells", 1))
    }

    /// Returns whether the node and all its ancestors are enabled.
    pub(crate) fn is_enabled(&self, id: Id) -> bool {
        self.nodes.get(id).is_some_and(|node| node.is_enabled)
    }
}

/// Reads a number that is `width` cells wide. Only its lowest two cells count: the upper ones hold flags.
pub(crate) fn take(cells: &mut impl Iterator<Item = u32>, width: usize) -> Option<u64> {
    if width > 4 {
        return None;
    }
    (0..width).try_fold(0_u64, |value, _| {
        Some(value << 32 | u64::from(cells.next()?))
    })
}
