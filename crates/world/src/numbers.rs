//! Which `/dev/videoN` each device gets.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use vb3_devices::spec::{DeviceSpec, MAX_DEVICES};

/// Returns the node number of each device: the one that its options name, or the first free one.
///
/// # Errors
/// A sentence: two devices want one number, or there are too many devices.
pub fn numbers(specs: &[DeviceSpec]) -> Result<Vec<u32>> {
    let mut taken = BTreeSet::new();
    for number in specs.iter().filter_map(|spec| spec.node) {
        if !taken.insert(number) {
            bail!("two devices want node=video{number}; give one of them another number");
        }
    }
    let beyond = taken.iter().any(|number| *number >= MAX_DEVICES);
    if specs.len() > MAX_DEVICES as usize || beyond {
        bail!(
            "the devices are {} nodes, and there may be {MAX_DEVICES}, up to video{}; leave some \
             out, or give a loopback fewer readers= or another node=",
            specs.len(),
            MAX_DEVICES - 1
        );
    }
    let mut free = (0u32..).filter(|number| !taken.contains(number));
    Ok(specs
        .iter()
        .map(|spec| spec.node.unwrap_or_else(|| free.next().unwrap_or(0)))
        .collect())
}
