//! Files that show v4l2loopback to programs: its nodes' files in sysfs, and `/proc/modules`, where OBS looks
//! for the module.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::node::Node;
use crate::refusals::Refused;
use std::collections::BTreeMap;
use std::path::PathBuf;
use vb3_devices::{Link, LoopbackAttribute};
use vb3_frontend::{Errno, FileId, NodeId, NodeKind, Op, Origin};

/// Maximum bytes of one read or write. sysfs passes one page per call.
const MAX_BYTES: u64 = 4096;

/// The module's line in `/proc/modules`, as the kernel shows it without privileges.
const MODULE: &str = "v4l2loopback 49152 0 - Live 0x0000000000000000 (O)\n";
const MODULES: &str = "/proc/modules";

/// The source of a file's contents.
#[derive(Clone, Debug)]
enum Attribute {
    /// A sysfs file of a v4l2loopback node.
    Loopback(Link, LoopbackAttribute),
    /// `/proc/modules`: v4l2loopback and the modules that the system had when the run began.
    Modules(String),
}

impl Attribute {
    fn text(&self) -> String {
        match self {
            Self::Loopback(link, of) => link.attribute(*of),
            Self::Modules(all) => all.clone(),
        }
    }

    fn set(&self, text: &str) -> Result<(), Errno> {
        match self {
            Self::Loopback(link, of) => link.set_attribute(*of, text).map_err(Errno),
            Self::Modules(_) => Err(Errno::EINVAL),
        }
    }
}

/// An open file.
#[derive(Debug)]
struct OpenAttribute {
    attribute: Attribute,
    /// The text that is not read yet; `None` before the first read.
    rest: Option<Vec<u8>>,
}

/// These files, and those that are open.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    all: Vec<(PathBuf, Attribute)>,
    open: BTreeMap<FileId, OpenAttribute>,
}

impl Attributes {
    /// Lists the files for the loopbacks among these nodes.
    pub(super) fn new(nodes: &[Node]) -> Self {
        let mut all = Vec::new();
        let loopbacks = nodes
            .iter()
            .filter_map(|node| Some((node, node.loopback.as_ref()?)))
            .filter(|(_, link)| link.is_v4l2loopback());
        for (node, link) in loopbacks {
            let dir = format!("/sys/devices/virtual/video4linux/{}", node.file_name());
            let own = LoopbackAttribute::ALL.into_iter();
            all.extend(own.map(|of| {
                let path = PathBuf::from(format!("{dir}/{}", of.name()));
                (path, Attribute::Loopback(link.clone(), of))
            }));
        }
        if !all.is_empty() {
            let others = std::fs::read_to_string(MODULES).unwrap_or_default();
            let modules = Attribute::Modules(format!("{MODULE}{others}"));
            all.push((MODULES.into(), modules));
        }
        Self {
            all,
            open: BTreeMap::new(),
        }
    }
}

impl Kind for Attributes {
    fn name(&self) -> &'static str {
        "attribute"
    }

    fn nodes(&self, _: &Run) -> Vec<vb3_frontend::Node> {
        let node = |(minor, (path, _)): (u32, &(PathBuf, Attribute))| vb3_frontend::Node {
            kind: NodeKind::File,
            ..vb3_frontend::Node::video(NodeId(0), path.clone(), minor)
        };
        (1..).zip(&self.all).map(node).collect()
    }

    fn open(&mut self, _: &mut Run, node: usize, file: FileId, _: Origin) -> Result<(), Refused> {
        let (_, attribute) = self.all.get(node).ok_or(Errno::ENODEV)?;
        let open = OpenAttribute {
            attribute: attribute.clone(),
            rest: None,
        };
        self.open.insert(file, open);
        Ok(())
    }

    fn call(&mut self, _: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let open = self.open.get_mut(&call.file).ok_or(Errno::ENODEV)?;
        match call.op {
            Op::Read { addr, len } => {
                let text = open.read(len);
                call.caller.write(addr, &text);
                // CAST: a page at most.
                Ok(Answer::Done(text.len() as i64))
            }
            Op::Write { addr, len } => {
                let len = len.min(MAX_BYTES);
                call.caller.prepare_read(addr, len)?;
                // CAST: a page at most.
                let mut bytes = vec![0; len as usize];
                call.caller.read(addr, &mut bytes)?;
                let text = std::str::from_utf8(&bytes).map_err(|_| Errno::EINVAL)?;
                open.attribute.set(text)?;
                // CAST: a page at most.
                Ok(Answer::Done(len as i64))
            }
            Op::Ioctl { .. } => Err(Errno::ENOTTY.into()),
            Op::Resume { .. } => Err(Errno::EINVAL.into()),
        }
    }

    fn release(&mut self, _: &mut Run, file: FileId) {
        self.open.remove(&file);
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
