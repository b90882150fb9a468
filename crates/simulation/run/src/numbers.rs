//! Assigns a `/dev/videoN` number to each device.

use crate::node::{FIRST_SUBDEVICE, Part};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use vb3_devices::NodeSpec;
use vb3_devices::spec::MAX_DEVICES;
use vb3_v4l2::MediaGraph;

/// The last minor number of subdevices.
const LAST_SUBDEVICE: u32 = 191;

/// Returns the minor number of each device: the one that its options set, or the first free one.
///
/// # Errors
/// Fails with a message if two devices want one number, or if there are too many devices.
pub fn numbers(specs: &[NodeSpec]) -> Result<Vec<u32>> {
    let mut taken = BTreeSet::new();
    for number in specs.iter().filter_map(|spec| spec.node) {
        if !taken.insert(number) {
            bail!("two devices want node=video{number}; give one of them another number");
        }
    }
    let beyond = taken.iter().any(|number| *number >= MAX_DEVICES);
    let videos = specs.iter().filter(|spec| !spec.is_subdevice()).count();
    check_graphs(specs)?;
    if videos > MAX_DEVICES as usize || beyond {
        bail!(
            "the devices are {} nodes, and there may be {MAX_DEVICES}, up to video{}; leave some \
             out, or give a loopback fewer readers= or another node=",
            videos,
            MAX_DEVICES - 1
        );
    }
    let mut free = (0u32..).filter(|number| !taken.contains(number));
    let mut subdevices = FIRST_SUBDEVICE..=LAST_SUBDEVICE;
    let mut number = |spec: &NodeSpec| match spec.is_subdevice() {
        true => subdevices.next().unwrap_or(LAST_SUBDEVICE),
        false => spec.node.unwrap_or_else(|| free.next().unwrap_or(0)),
    };
    Ok(specs.iter().map(&mut number).collect())
}

/// Checks that no two media graphs of the run have the same device on the platform bus.
fn check_graphs(specs: &[NodeSpec]) -> Result<()> {
    let mut graphs: Vec<&MediaGraph> = Vec::new();
    for (graph, _) in specs.iter().filter_map(NodeSpec::graph) {
        let device = graph.topology().device;
        if graphs
            .iter()
            .any(|known| *known != graph && known.topology().device == device)
        {
            bail!(
                "there may be one device {}; leave the others out",
                graph.topology().driver
            );
        }
        if !graphs.contains(&graph) {
            graphs.push(graph);
        }
    }
    Ok(())
}

/// Leaves a real camera's `bus_info` to the first device that imitates it. Programs tell devices apart by it.
pub(super) fn separate_locations(specs: &mut [NodeSpec]) {
    let mut taken: Vec<String> = Vec::new();
    for spec in specs {
        let bus_info = spec.bus_info.take();
        spec.bus_info = bus_info.filter(|bus_info| !taken.contains(bus_info));
        taken.extend(spec.bus_info.clone());
    }
}

/// Returns each device's nodes with their numbers, then the metadata nodes of webcams.
///
/// Metadata nodes have the numbers after the last device's, so that the devices' numbers do not
/// depend on metadata nodes. Linux numbers a metadata node right after its webcam.
pub(super) fn with_metadata_nodes(mut specs: Vec<NodeSpec>) -> Result<Vec<(NodeSpec, u32, Part)>> {
    let numbers = numbers(&specs)?;
    let video = numbers.iter().filter(|number| **number < FIRST_SUBDEVICE);
    let mut free = video.max().map_or(0, |last| last + 1)..;
    let mut metadata = Vec::new();
    for (spec, number) in specs.iter_mut().zip(&numbers) {
        let part = Part::Metadata { webcam: *number };
        let node = spec.metadata_node();
        metadata.extend(node.and_then(|node| Some((node, free.next()?, part))));
    }
    let devices = specs.into_iter().zip(numbers);
    let devices = devices.map(|(spec, number)| {
        let graph = spec.graph();
        let part = graph.map_or(Part::Device, |(graph, at)| Part::Entity(graph.clone(), at));
        (spec, number, part)
    });
    Ok(devices.chain(metadata).collect())
}
