//! A device tree in memory: nodes with their parents, and an index of the phandles that refer to nodes.

use crate::blob::{Reader, Token};
use crate::{Damage, Error};
use std::collections::BTreeMap;

/// Maximum level of a node. The deepest node in Linux's trees has level 9.
const MAX_DEPTH: usize = 32;
/// Maximum number of nodes. The largest tree in Linux has about 3,000.
const MAX_NODES: usize = 65_536;

/// Index of a node of one tree.
pub(crate) type Id = usize;

#[derive(Debug)]
struct Node {
    parent: Option<Id>,
    path: String,
    properties: BTreeMap<String, Vec<u8>>,
}

/// A device tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    phandles: BTreeMap<u32, Id>,
}

impl Tree {
    /// Id of the root node.
    pub(crate) const ROOT: Id = 0;

    /// Reads a flattened tree.
    pub(crate) fn read(dtb: &[u8]) -> Result<Self, Error> {
        if dtb.len() > crate::MAX_BYTES {
            return Err(Error::TooLarge { bytes: dtb.len() });
        }
        let mut this = Self {
            nodes: Vec::new(),
            phandles: BTreeMap::new(),
        };
        this.add_all(&mut Reader::new(dtb)?)?;
        for id in 0..this.nodes.len() {
            if let Some(phandle) = this.number(id, "phandle") {
                this.phandles.entry(phandle).or_insert(id);
            }
        }
        Ok(this)
    }

    fn add_all(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
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
                    let path = match parent {
                        None => String::new(),
                        Some(parent) => format!("{}/{name}", self.path(parent)),
                    };
                    open.push(self.nodes.len());
                    self.nodes.push(Node {
                        parent,
                        path,
                        properties: BTreeMap::new(),
                    });
                }
                Token::Property(name, value) => {
                    let node = open.last().and_then(|&id| self.nodes.get_mut(id));
                    let node = node.ok_or_else(|| reader.damaged(Damage::NoNode))?;
                    node.properties.insert(name.to_owned(), value.to_owned());
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
    pub(crate) fn path(&self, id: Id) -> &str {
        self.nodes.get(id).map_or("", |node| &node.path)
    }

    /// Returns the last part of the path.
    pub(crate) fn name(&self, id: Id) -> &str {
        let path = self.path(id);
        path.rsplit_once('/').map_or(path, |(_, name)| name)
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

    /// Returns the node at a path.
    pub(crate) fn find(&self, path: &str) -> Option<Id> {
        self.nodes.iter().position(|node| node.path == path)
    }

    /// Returns the node that a phandle refers to.
    pub(crate) fn by_phandle(&self, phandle: u32) -> Option<Id> {
        self.phandles.get(&phandle).copied()
    }

    /// Returns the bytes of a property.
    pub(crate) fn property(&self, id: Id, name: &str) -> Option<&[u8]> {
        self.nodes.get(id)?.properties.get(name).map(Vec::as_slice)
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
    pub(crate) fn cells<'a>(&'a self, id: Id, name: &str) -> impl Iterator<Item = u32> + 'a {
        let bytes = self.property(id, name).unwrap_or_default();
        bytes
            .chunks_exact(4)
            .filter_map(|cell| Some(u32::from_be_bytes(cell.try_into().ok()?)))
    }

    /// Returns the strings of a property. Values that are not text are ignored.
    pub(crate) fn texts<'a>(&'a self, id: Id, name: &str) -> impl Iterator<Item = &'a str> + 'a {
        let bytes = self.property(id, name).unwrap_or_default();
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
        self.ancestors(id).all(|id| {
            let status = self.text(id, "status");
            matches!(status.as_deref(), None | Some("okay" | "ok"))
        })
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
