//! What programs see of the nodes by paths, and how it changes when a node comes or goes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::listing::Listings;
use crate::may_block::MayBlock;
use crate::note::Note;
use crate::path::Place;
use crate::serve::Server;
use crate::supervisor::Supervisor;
use crate::tree::Tree;
use crate::uevent::{self, Uevent};
use vb3_host::{Backend, Errno, Hotplug, Node, NodeId};

/// Generated files and links of one node.
#[derive(Clone, Debug, Default)]
struct Told {
    files: Vec<(PathBuf, String)>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Told {
    fn by(backend: &dyn Backend, node: NodeId) -> Self {
        Self {
            files: backend.files(node),
            links: backend.links(node),
        }
    }

    /// That of all nodes that are there.
    fn joined(told: &[Option<Self>]) -> Self {
        let mut all = Self::default();
        for of in told.iter().flatten() {
            all.files.extend_from_slice(&of.files);
            all.links.extend_from_slice(&of.links);
        }
        all
    }
}

/// What programs see at one time.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Of each node by index: what is told of it while it is there.
    told: Vec<Option<Told>>,
    pub(crate) tree: Option<Tree>,
    pub(crate) listings: Listings,
}

impl Shown {
    /// All nodes. The error is why there is no generated tree.
    pub(crate) fn all(
        may: &MayBlock,
        nodes: &[Node],
        backend: &dyn Backend,
    ) -> (Self, Option<Errno>) {
        let told = nodes.iter().map(|node| Told::by(backend, node.id));
        let told: Vec<Option<Told>> = told.map(Some).collect();
        let joined = Told::joined(&told);
        let tree = Tree::make(may, nodes, &joined.files, &joined.links);
        let failed = tree.as_ref().err().copied();
        let tree = tree.ok();
        let listings = Listings::new(may, nodes, tree.as_ref());
        let this = Self {
            told,
            tree,
            listings,
        };
        (this, failed)
    }

    /// Whether a node is there, by index.
    pub(crate) fn has(&self, node: usize) -> bool {
        matches!(self.told.get(node), Some(Some(_)))
    }

    /// The same with one node come or gone.
    fn with(
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
        let tree = tree.map(|tree| tree.change(&there, &joined.files, &joined.links));
        let tree = tree.transpose()?;
        let listings = Listings::new(may, &there, tree.as_ref());
        Ok(Self {
            told: all,
            tree,
            listings,
        })
    }
}

/// What is shown at present.
#[derive(Debug)]
pub(crate) struct Showing(RwLock<Arc<Shown>>);

impl Showing {
    pub(crate) fn new(shown: Shown) -> Self {
        Self(RwLock::new(Arc::new(shown)))
    }

    fn now(&self) -> Arc<Shown> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, shown: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }
}

impl Supervisor<'_> {
    /// What programs see at present.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        self.showing.now()
    }

    /// A node by its path: it may have gone.
    pub(crate) fn node_place(&self, node: usize) -> Place {
        if self.shown().has(node) {
            Place::Node(node)
        } else {
            Place::Absent
        }
    }

    /// Shows programs which nodes have come and gone. Beside the lock: it writes files.
    pub(crate) fn show_hotplug(&self, may: &mut MayBlock) {
        let changes = core::mem::take(&mut self.server(may).hotplug);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            self.show(may, change);
        }
        let ((), answers) = self.apply(may, |server| {
            server.backend.hotplug_shown();
            server.sync_wake_fds();
        });
        self.answer_all(may, answers);
    }

    fn show(&self, may: &mut MayBlock, change: Hotplug) {
        let Some(at) = self.nodes.iter().position(|node| node.id == change.node) else {
            return;
        };
        let before = self.shown();
        if before.has(at) == change.present {
            return;
        }
        let told = change
            .present
            .then(|| Told::by(self.server(may).backend, change.node));
        match before.with(may, &self.nodes, at, told) {
            Ok(shown) => self.showing.set(shown),
            Err(Errno(errno)) => return self.host.note(Note::NoSysfs { errno }),
        }
        let node = self.nodes.get(at);
        if let (Some(node), Some(before), Some(now)) = (node, &before.tree, &self.shown().tree) {
            self.tell(may, node, before, now);
        }
    }

    /// Tells those who listen what has come to the one tree, or gone from the other: the node, and
    /// the device that it belongs to.
    fn tell(&self, may: &mut MayBlock, node: &Node, before: &Tree, now: &Tree) {
        let of = |tree: &Tree| tree.device_of(node.major(), node.minor).map(str::to_owned);
        let parent = node.device.as_ref();
        let parent = parent.map(|device| format!("/sys/devices/platform/{device}"));
        let is_in = |tree: &Tree, path: &str| tree.text_at(&format!("{path}/uevent")).is_some();
        let changed = |path: &Option<String>| {
            let path = path.as_deref();
            path.is_some_and(|path| is_in(before, path) != is_in(now, path))
        };
        let (gone, come) = (of(before), of(now));
        let parent = Some(parent).filter(changed).flatten();
        // A device comes before what belongs to it, and goes after.
        let (tree, action, mut devices) = match (gone, come) {
            (Some(gone), None) => (before, "remove", [Some(gone), parent]),
            (_, come) => (now, "add", [parent, come]),
        };
        let send = |server: &mut Server<'_>| {
            let events = devices.iter_mut().flatten().filter_map(|device| {
                let number = server.monitors.next_number();
                uevent::of(tree, device, action, number)
            });
            let (kernel, udev): (Vec<Uevent>, Vec<Uevent>) = events.unzip();
            server.monitors.send(&[kernel, udev].concat());
        };
        let ((), answers) = self.apply(may, send);
        self.answer_all(may, answers);
    }
}
