//! A device on the machine's bus: its limits, its way to memory, and how its planes are allocated.

use crate::memory::RunMemory;
use anyhow::{Context as _, Result, bail};
use vb3_devices::spec::{Allocator, DeviceSpec};
use vb3_dma::{Coherency, DmaAddr, PhysAddr};
use vb3_machine::profile::{self, IommuProfile};
use vb3_machine::{BusWindow, Demands, DeviceLimits, Profile};

/// A device that was added to the machine.
pub(super) struct Hosted {
    pub(super) allocator: Allocator,
    pub(super) dma: vb3_machine::Device,
    /// How the device's planes are allocated.
    pub(super) planes: vb3_plane::Device<vb3_machine::Device>,
    pub(super) demands: Demands,
    /// Size of the device's own memory in bytes.
    pub(super) sram: u64,
}

impl Hosted {
    /// Adds the device of a SPEC to the machine, under the name of its file in /dev.
    ///
    /// # Errors
    /// Fails with a message if the machine cannot host the device.
    pub(super) fn new(
        memory: &mut RunMemory,
        profile: &Profile,
        spec: &DeviceSpec,
        (file_name, path): (&str, &str),
    ) -> Result<Self> {
        let allocator = allocator_of(spec, profile);
        let further = further_iommu(spec, profile).with_context(|| path.to_owned())?;
        let iommu = match further {
            Some(at) => profile.iommus.get(at).map(|(_, iommu)| iommu),
            None => profile.iommu.as_ref().filter(|_| !spec.contiguous),
        };
        // The profile's on-chip memory (`sram`) is only for devices without an IOMMU.
        let sram = spec.sram.unwrap_or(match iommu {
            None => profile.sram,
            Some(_) => 0,
        });
        if iommu.is_some() && sram > 0 {
            bail!(
                "{path}: sram= needs a device without an IOMMU; contiguous=on removes the \
                 machine's"
            );
        }
        let limits = DeviceLimits {
            mask: spec.mask,
            iommu: spec.contiguous.then_some(false),
            further_iommu: further,
            window: window(spec, iommu.is_some() || sram > 0).with_context(|| path.to_owned())?,
            align: spec.align,
            max_segment: spec.max_segment,
            boundary: spec.boundary.map(|bytes| bytes - 1),
            coherency: spec.demands.coherent.map(|snoops| match snoops {
                true => Coherency::Coherent,
                false => Coherency::NonCoherent,
            }),
            demands: demands(spec),
            // A contiguous plane is one segment, so a limit on a segment's size also limits the plane's size.
            max_segments: (allocator == Allocator::Contig
                && (spec.max_segment.is_some() || spec.boundary.is_some()))
            .then_some(1),
        };
        let cannot_host = || format!("{path}: this machine cannot host the device");
        let machine = memory.ops_mut().platform_mut();
        let dma = machine.add_device(file_name, limits);
        let dma = dma.with_context(cannot_host)?;
        own_ways(memory, iommu, sram, dma).with_context(cannot_host)?;
        Ok(Self {
            allocator,
            dma,
            planes: plane_device((allocator, spec.lazy), dma),
            demands: limits.demands,
            sram,
        })
    }
}

/// Returns the index of the IOMMU that `iommu=` names, or `None` if the option is not set.
fn further_iommu(spec: &DeviceSpec, profile: &Profile) -> Result<Option<usize>> {
    let Some(name) = &spec.iommu else {
        return Ok(None);
    };
    if spec.contiguous {
        bail!("iommu={name} and contiguous=on exclude each other; leave one of them out");
    }
    if let found @ Some(_) = profile.iommu_named(name) {
        return Ok(found);
    }
    let names: Vec<&str> = profile.iommus.iter().map(|(name, _)| &**name).collect();
    match names.as_slice() {
        [] => bail!(
            "there is no IOMMU \"{name}\": machine {} has no named IOMMU; add [iommus.{name}] to \
             its profile",
            profile.name
        ),
        _ => bail!(
            "there is no IOMMU \"{name}\"; machine {} has {}",
            profile.name,
            names.join(", ")
        ),
    }
}

/// Returns a device's window onto memory. `elsewhere`: the device has an IOMMU or its own memory.
fn window(spec: &DeviceSpec, elsewhere: bool) -> Result<Option<BusWindow>> {
    let Some((first, last, bus)) = spec.window else {
        return Ok(None);
    };
    if elsewhere {
        bail!("window= needs a device without an IOMMU and without sram=; leave one of them out");
    }
    Ok(Some(BusWindow {
        memory: PhysAddr::new(first),
        bus: DmaAddr::new(bus),
        len: last.saturating_sub(first).saturating_add(1),
    }))
}

/// Converts a device's demands on memory to the machine's type.
fn demands(spec: &DeviceSpec) -> Demands {
    Demands {
        pages: spec.demands.pages,
        coherent: spec.demands.unsynced,
        protected: spec.demands.protected,
    }
}

/// Applies the profile's IOMMU settings to a device, and reserves `sram` bytes as its own memory.
fn own_ways(
    memory: &mut RunMemory,
    iommu: Option<&IommuProfile>,
    sram: u64,
    dev: vb3_machine::Device,
) -> std::result::Result<(), vb3_dma::Error> {
    let ops = memory.ops_mut();
    if let Some(iommu) = iommu {
        ops.set_segment_mode(dev, iommu.segments)?;
        ops.set_flush_policy(dev, iommu.flush)?;
    }
    if sram > 0 {
        let own = ops.platform_mut().reserve_physical(sram)?;
        ops.declare_coherent(dev, own, DmaAddr::new(own.addr.get()))?;
    }
    Ok(())
}

/// Returns the allocator of a device's planes: its own, or the machine's.
fn allocator_of(spec: &DeviceSpec, machine: &Profile) -> Allocator {
    let usual = match machine.allocator {
        // Only these planes are placed lazily.
        _ if spec.lazy => Allocator::Contig,
        profile::Allocator::Contig => Allocator::Contig,
        profile::Allocator::Vmalloc => Allocator::Vmalloc,
    };
    spec.allocator.unwrap_or(usual)
}

/// Returns how a device's planes are allocated.
const fn plane_device(
    (allocator, lazy): (Allocator, bool),
    dma: vb3_machine::Device,
) -> vb3_plane::Device<vb3_machine::Device> {
    match allocator {
        Allocator::Contig => vb3_plane::Device {
            lazy,
            ..vb3_plane::Device::contig(dma)
        },
        Allocator::Sg => vb3_plane::Device::sg(dma),
        Allocator::Vmalloc => vb3_plane::Device::vmalloc(dma),
    }
}
