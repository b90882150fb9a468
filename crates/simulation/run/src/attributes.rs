//! Files that show v4l2loopback to programs: its nodes' files in sysfs, and `/proc/modules`, where OBS looks
//! for the module.

use crate::Run;
use crate::node::Node;
use crate::plain::{Attribute, OpenAttribute, PlainFile};
use std::collections::BTreeMap;
use std::path::PathBuf;
use vb3_devices::LoopbackAttribute;
use vb3_frontend::{CallOutcome, Caller, Errno, FileId, NodeId, NodeKind};

/// First id of the nodes of these files, above the id of the node `sw_sync`.
const FIRST_ID: u32 = (1 << 18) + 3;
/// Maximum bytes of one read or write. sysfs passes one page per call.
const MAX_BYTES: u64 = 4096;

/// The module's line in `/proc/modules`, as the kernel shows it without privileges.
const MODULE: &str = "v4l2loopback 49152 0 - Live 0x0000000000000000 (O)\n";
const MODULES: &str = "/proc/modules";

impl Attribute {
    fn text(&self) -> String {
        match self {
            Self::Loopback(link, of) => link.attribute(*of),
            Self::Modules => {
                let others = std::fs::read_to_string(MODULES).unwrap_or_default();
                format!("{MODULE}{others}")
            }
        }
    }

    fn set(&self, text: &str) -> Result<(), Errno> {
        match self {
            Self::Loopback(link, of) => link.set_attribute(*of, text).map_err(Errno),
            Self::Modules => Err(Errno::EINVAL),
        }
    }
}

/// The files by the ids of their nodes.
#[derive(Debug, Default)]
pub(super) struct Attributes(BTreeMap<u32, (PathBuf, Attribute)>);

impl Attributes {
    /// Lists the files for the loopbacks among these nodes.
    pub(super) fn new(nodes: &[Node]) -> Self {
        let mut all = BTreeMap::new();
        let loopbacks = nodes
            .iter()
            .filter_map(|node| Some((node, node.loopback.as_ref()?)));
        for (node, link) in loopbacks {
            let dir = format!("/sys/devices/virtual/video4linux/{}", node.file_name());
            for of in LoopbackAttribute::ALL {
                let path = PathBuf::from(format!("{dir}/{}", of.name()));
                let link = link.clone();
                let id = FIRST_ID.saturating_add(u32::try_from(all.len()).unwrap_or(u32::MAX));
                all.insert(id, (path, Attribute::Loopback(link, of)));
            }
        }
        if !all.is_empty() {
            all.insert(FIRST_ID - 1, (MODULES.into(), Attribute::Modules));
        }
        Self(all)
    }

    /// Returns a node for each file.
    pub(super) fn nodes(&self) -> impl Iterator<Item = vb3_frontend::Node> {
        self.0.iter().map(|(&id, (path, _))| vb3_frontend::Node {
            kind: NodeKind::File,
            ..vb3_frontend::Node::video(NodeId(id), path.clone(), id + 2 - FIRST_ID)
        })
    }

    /// Opens the file of a node. Returns `None` if the node is none of these files.
    pub(super) fn open(&self, node: NodeId) -> Option<PlainFile> {
        let (_, attribute) = self.0.get(&node.0)?;
        Some(PlainFile::Attribute(OpenAttribute {
            attribute: attribute.clone(),
            rest: None,
        }))
    }
}

impl OpenAttribute {
    fn read(&mut self, len: u64) -> Vec<u8> {
        let Self { attribute, rest } = self;
        let text = rest.get_or_insert_with(|| attribute.text().into_bytes());
        // CAST: a page at most.
        let len = text.len().min(len.min(MAX_BYTES) as usize);
        text.drain(..len).collect()
    }
}

impl Run {
    fn attribute(&mut self, file: FileId) -> Option<&mut OpenAttribute> {
        match self.plain_files.get_mut(&file)? {
            PlainFile::Attribute(open) => Some(open),
            _ => None,
        }
    }

    /// Answers a read of one of these files; `None` for other files.
    pub(super) fn read_attribute(
        &mut self,
        file: FileId,
        (addr, len): (u64, u64),
        caller: &dyn Caller,
    ) -> Option<CallOutcome> {
        let text = self.attribute(file)?.read(len);
        Some(match caller.write(addr, &text) {
            // CAST: a page at most.
            Ok(()) => CallOutcome::Done(text.len() as i64),
            Err(errno) => CallOutcome::Fail(errno),
        })
    }

    /// Answers a write to one of these files; `None` for other files.
    pub(super) fn write_attribute(
        &mut self,
        file: FileId,
        (addr, len): (u64, u64),
        caller: &dyn Caller,
    ) -> Option<CallOutcome> {
        let attribute = self.attribute(file)?.attribute.clone();
        let len = len.min(MAX_BYTES);
        let set = || {
            caller.prepare_read(addr, len)?;
            // CAST: a page at most.
            let mut bytes = vec![0; len as usize];
            caller.read(addr, &mut bytes)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| Errno::EINVAL)?;
            attribute.set(text)
        };
        let outcome = match set() {
            // CAST: a page at most.
            Ok(()) => CallOutcome::Done(len as i64),
            Err(errno) => CallOutcome::Fail(errno),
        };
        self.after_call();
        Some(outcome)
    }
}
