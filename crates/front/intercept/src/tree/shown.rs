//! The nodes' paths as programs see them, and their changes when a device is plugged or unplugged.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::kernel::MayBlock;
use crate::tree::generated::Tree;
use crate::tree::listing::Listings;
use vb3_frontend::{Backend, Errno, Node, NodeId};

/// Files and links for nodes, by absolute paths, as the backend names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
}

impl Told {
    pub(crate) fn by(backend: &dyn Backend, node: NodeId) -> Self {
        Self {
            files: backend.files(node),
            links: backend.links(node),
        }
    }

    fn joined(told: &[Option<Self>]) -> Self {
        let mut all = Self::default();
        for of in told.iter().flatten() {
            all.files.extend_from_slice(&of.files);
            all.links.extend_from_slice(&of.links);
        }
        all
    }
}

/// The files and nodes that programs see at one time.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Per node index, the node's files and links, or `None` while it is not present.
    pub(crate) told: Vec<Option<Told>>,
    pub(crate) tree: Option<Tree>,
    pub(crate) listings: Listings,
}

impl Shown {
    /// Shows all nodes. Calls `note` if the generated tree could not be made.
    pub(crate) fn all(
        may: &MayBlock,
        nodes: &[Node],
        told: Vec<Option<Told>>,
        note: impl FnOnce(Errno),
    ) -> Self {
        let tree = Tree::make(may, nodes, &Told::joined(&told));
        let tree = tree.map_err(note).ok();
        let listings = Listings::new(may, nodes, tree.as_ref());
        Self {
            told,
            tree,
            listings,
        }
    }

    pub(crate) fn has(&self, node: usize) -> bool {
        matches!(self.told.get(node), Some(Some(_)))
    }

    /// Returns a copy in which one node was added or removed, and changes the generated files.
    pub(crate) fn with(
        &self,
        may: &MayBlock,
        nodes: &[Node],
        at: usize,
        told: Option<Told>,
    ) -> Result<Self, Errno> {
        let mut all = self.told.clone();
        if let Some(of) = all.get_mut(at) {
            *of = told;
        }
        let joined = Told::joined(&all);
        let there = nodes.iter().zip(&all).filter(|(_, told)| told.is_some());
        let there: Vec<Node> = there.map(|(node, _)| node.clone()).collect();
        let tree = self.tree.as_ref();
        let tree = tree.map(|tree| tree.change(&there, &joined));
        let tree = tree.transpose()?;
        let listings = Listings::new(may, &there, tree.as_ref());
        Ok(Self {
            told: all,
            tree,
            listings,
        })
    }
}

/// The files and nodes that are shown now. They are made when a program first needs them: many never do.
#[derive(Debug, Default)]
pub(crate) struct Showing(OnceLock<RwLock<Arc<Shown>>>);

impl Showing {
    /// Returns what is shown now. `None` if no program has needed it yet: all nodes are then present.
    pub(crate) fn made(&self) -> Option<Arc<Shown>> {
        let now = self.0.get()?.read();
        Some(Arc::clone(&now.unwrap_or_else(PoisonError::into_inner)))
    }

    /// Returns the files and nodes that are shown now, and makes them if no program has needed them yet.
    /// Meanwhile, other threads do not wait in [`made`](Self::made).
    pub(crate) fn made_by(&self, make: impl FnOnce() -> Shown) -> Arc<Shown> {
        let now = self.0.get_or_init(|| RwLock::new(make().into())).read();
        Arc::clone(&now.unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces what is shown, after it was made.
    pub(crate) fn set(&self, shown: &Arc<Shown>) {
        if let Some(now) = self.0.get() {
            *now.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(shown);
        }
    }
}
