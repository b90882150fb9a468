//! Shows programs the new and removed nodes.
//!
//! The backend names nodes that appeared or disappeared (`Devices::take_hotplug`). The clock thread changes
//! the generated tree under /dev, /sys and /run/udev, sends uevents, and answers `vb3 ctl`, in this order.

use crate::kernel::MayBlock;
use crate::note::Note;
use crate::service::{Server, Supervisor};
use crate::tree::{PathTarget, Shown, Told, Tree, Uevent, may_be_shown, uevent};
use std::sync::Arc;
use vb3_frontend::{Change, Errno, Hotplug, Node};

impl Supervisor<'_> {
    /// Returns the tree that programs see at present. Makes it if no program has needed it yet.
    pub(crate) fn shown(&self, may: &mut MayBlock) -> Arc<Shown> {
        self.showing.made_by(|| {
            let mut told = |node: &Node| Told::by(self.server(may).backend, node.id);
            let told = self.nodes.iter().map(|node| Some(told(node))).collect();
            let note = |e| self.host.note(Note::NoSysfs(e));
            Shown::all(may, &self.nodes, told, note)
        })
    }

    /// Returns the tree, or `None` if this path cannot lead into it.
    pub(crate) fn shown_at(&self, may: &mut MayBlock, path: &[u8]) -> Option<Arc<Shown>> {
        let made = self.showing.made();
        made.or_else(|| may_be_shown(path).then(|| self.shown(may)))
    }

    /// Returns the target for a node's path: the node, or ENOENT if programs do not see the node now.
    pub(crate) fn node_place(&self, node: usize) -> PathTarget {
        if self.showing.made().is_none_or(|shown| shown.has(node)) {
            PathTarget::Node(node)
        } else {
            PathTarget::Fails(Errno::ENOENT)
        }
    }

    /// Shows programs new and removed nodes. Runs without the lock, since it writes files.
    pub(crate) fn show_hotplug(&self, may: &mut MayBlock) {
        let changes = core::mem::take(&mut self.server(may).hotplug);
        if changes.is_empty() {
            return;
        }
        let count = changes.len();
        for change in changes {
            self.show(may, change);
        }
        self.step(may, |server| {
            server.backend.hotplug_shown(count);
            server.sync_wake_fds();
        });
    }

    fn show(&self, may: &mut MayBlock, Hotplug { node: id, change }: Hotplug) {
        let Some(at) = self.nodes.iter().position(|node| node.id == id) else {
            return;
        };
        if change == Change::Changed(None) && self.showing.made().is_none() {
            return;
        }
        let before = self.shown(may);
        let is_present = change != Change::Removed;
        if before.has(at) == is_present && !matches!(change, Change::Changed(_)) {
            return;
        }
        let told = || Told::by(self.server(may).backend, id);
        let told = is_present.then(told);
        let now = match before.with(may, &self.nodes, at, told) {
            Ok(shown) => Arc::new(shown),
            Err(e) => return self.host.note(Note::NoSysfs(e)),
        };
        self.showing.set(&now);
        let node = self.nodes.get(at);
        if let (Some(node), Some(before), Some(now)) = (node, &before.tree, &now.tree) {
            match change {
                Change::Added | Change::Removed => self.tell(may, node, before, now),
                Change::Changed(None) => {}
                Change::Changed(Some(property)) => self.tell_change(may, node, now, property),
            }
        }
    }

    /// Sends uevents for an added or removed node, and for the devices above it that came or went with it.
    ///
    /// Source: Linux 7.2 drivers/base/core.c `device_add`, `device_del`, drivers/base/dd.c
    /// `driver_bound`. Differs: all interfaces of a USB device come before its nodes.
    fn tell(&self, may: &mut MayBlock, node: &Node, before: &Tree, now: &Tree) {
        let of = |tree: &Tree| tree.device_of(node.major(), node.minor).map(str::to_owned);
        let is_in = |tree: &Tree, path: &str| tree.text_at(&format!("{path}/uevent")).is_some();
        let above = node.devices.iter().map(|device| device.path.clone());
        let above: Vec<String> = above
            .filter(|path| is_in(before, path) != is_in(now, path))
            .collect();
        let (gone, come) = (of(before), of(now));
        let mut events = Vec::new();
        let tree = if let (Some(gone), None) = (gone, &come) {
            // The node is removed first, and each device after its children.
            events.push(("remove", gone));
            for path in above.into_iter().rev() {
                if is_bound(before, &path) {
                    events.push(("unbind", path.clone()));
                }
                events.push(("remove", path));
            }
            before
        } else {
            events.extend(above.into_iter().chain(come).map(|path| ("add", path)));
            // In a kernel, a driver is bound after it has made all nodes of the device.
            if self.has_all_of(may, node) {
                let devices = node.devices.iter().filter(|device| !device.stays);
                let bound = devices.filter(|device| is_bound(now, &device.path));
                let bound = bound.map(|device| ("bind", device.path.clone()));
                events.extend(bound.rev());
            }
            now
        };
        let send = |server: &mut Server<'_>| {
            let events = events.iter().filter_map(|(action, device)| {
                let number = server.monitors.next_number();
                uevent::of(tree, device, action, number)
            });
            let (kernel, udev): (Vec<Uevent>, Vec<Uevent>) = events.unzip();
            server.monitors.send(&[kernel, udev].concat());
        };
        self.step(may, send);
    }

    /// Sends the uevent `change` of a node, with a property.
    fn tell_change(&self, may: &mut MayBlock, node: &Node, tree: &Tree, property: &str) {
        let device = tree.device_of(node.major(), node.minor);
        self.step(may, |server| {
            let number = server.monitors.next_number();
            let event = device.and_then(|device| uevent::changed(tree, device, property, number));
            if let Some((kernel, udev)) = event {
                server.monitors.send(&[kernel, udev]);
            }
        });
    }

    /// Returns whether programs see all nodes of a node's device.
    fn has_all_of(&self, may: &mut MayBlock, node: &Node) -> bool {
        let shown = self.shown(may);
        let mut all = self.nodes.iter().enumerate();
        all.all(|(at, other)| other.devices != node.devices || shown.has(at))
    }
}

fn is_bound(tree: &Tree, path: &str) -> bool {
    tree.link_at(&format!("{path}/driver")).is_some()
}
