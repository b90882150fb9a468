//! `/proc/devices`: the kernel's drivers by major number, and the drivers of the nodes.
//!
//! Source: Linux 7.2 fs/proc/devices.c, fs/char_dev.c `chrdev_show`. Differs: the kernel's lines stay
//! as they were at the start of the run.

use std::collections::BTreeSet;

use super::class_of;
use vb3_frontend::Node;

pub(super) const PATH: &str = "/proc/devices";

/// Major number of USB devices.
const USB: u32 = 189;

/// Returns the driver of a node's major number. `None` for regular files. Also `None` for miscellaneous
/// devices, because every kernel's own text already has their line (`10 misc`).
fn driver(node: &Node) -> Option<&'static str> {
    class_of(node).filter(|class| *class != "misc")
}

/// Adds the nodes' drivers to the text of the kernel's file, in the order of major numbers.
pub(super) fn with_nodes(kernels: &str, nodes: &[Node]) -> String {
    let own = |node| Some((Node::major(node), driver(node)?));
    let mut missing: BTreeSet<(u32, &str)> = nodes.iter().filter_map(own).collect();
    let mut devices = nodes.iter().flat_map(|node| &node.devices);
    if devices.any(|device| device.bus == "usb") {
        missing.insert((USB, "usb_device"));
    }
    let (characters, blocks) = kernels.split_once("\n\n").unwrap_or((kernels, ""));
    let mut lines: Vec<String> = characters.lines().map(str::to_owned).collect();
    for (major, name) in missing {
        let line = format!("{major:3} {name}");
        let number = |line: &String| line.split_whitespace().next()?.parse::<u32>().ok();
        if lines.contains(&line) {
            continue;
        }
        let later = lines
            .iter()
            .position(|line| number(line).is_some_and(|number| number > major));
        lines.insert(later.unwrap_or(lines.len()), line);
    }
    format!("{}\n\n{blocks}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_frontend::NodeKind;
    use vb3_frontend::{BusDevice, NodeId};

    fn node(kind: NodeKind) -> Node {
        Node {
            kind,
            ..Node::video(NodeId(0), "/dev/x", 0)
        }
    }

    #[test]
    fn drivers_stand_in_the_order_of_their_numbers() {
        let class = |name, major| node(NodeKind::Class { name, major });
        let mut camera = node(NodeKind::Video);
        camera.devices.push(BusDevice {
            bus: "usb",
            ..BusDevice::platform("x")
        });
        let nodes = [
            node(NodeKind::Media { major: 384 }),
            camera,
            node(NodeKind::Video),
            class("dma_heap", 240),
            class("misc", 10),
            node(NodeKind::File),
        ];
        let kernels = "Character devices:\n  1 mem\n 10 misc\n240 dma_heap\n250 x\n\nBlock devices:\n\
                       259 blkext\n";
        let want = "Character devices:\n  1 mem\n 10 misc\n 81 video4linux\n189 usb_device\n\
                    240 dma_heap\n250 x\n384 media\n\nBlock devices:\n259 blkext\n";
        assert_eq!(with_nodes(kernels, &nodes), want);
        assert_eq!(with_nodes(kernels, &[]), kernels);
        assert_eq!(
            with_nodes("", &[node(NodeKind::Video)]),
            " 81 video4linux\n\n"
        );
    }
}
