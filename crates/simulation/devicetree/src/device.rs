//! The video devices of a device tree.

use crate::bus::{self, Window};
use crate::drivers::{self, Allocator, Codec, Kind, SensorDriver, Sourced};
use crate::memory::MAX_REMARKS;
use crate::tree::{Id, Tree};

/// Maximum number of devices, and of sensors, that are read.
const MAX_DEVICES: usize = 64;

/// The IOMMU in front of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iommu {
    /// Full path of the IOMMU's node.
    pub path: String,
    /// The IOMMU's most specific `compatible`.
    pub compatible: String,
}

/// An image sensor that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Full path of the sensor's node.
    pub path: String,
    /// The sensor's name in a SPEC (the argument of `vb3 run --device`). The name depends on the sensor's
    /// number of data lanes.
    pub model: &'static str,
    /// The row of the sensor in the table of drivers.
    pub driver: &'static SensorDriver,
}

/// A video device that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Full path of the device's node.
    pub path: String,
    /// The `compatible` string that selects the device's driver.
    pub compatible: String,
    /// Kinds of devices that the driver provides.
    pub kinds: Vec<Kind>,
    /// The allocator of the picture buffers.
    pub alloc: Sourced<Allocator>,
    /// Name of a codec's driver, as QUERYCAP returns it.
    pub driver: Option<String>,
    /// Name of the DRM driver of a display controller.
    pub card: Option<String>,
    /// Whether the codec is stateful or stateless; `None` for a device without a codec.
    pub codec: Option<Sourced<Codec>>,
    /// Highest address that the device can drive.
    pub last_address: u64,
    /// Source of `last_address`.
    pub source: String,
    /// Windows through which the device reaches memory; empty if it reaches all memory at physical addresses.
    pub windows: Vec<Window>,
    /// The IOMMU in front of the device.
    pub iommu: Option<Iommu>,
    /// Whether the device sees the CPU's caches.
    pub coherent: bool,
    /// Paths of the nodes in `/reserved-memory` that the device allocates from.
    pub memory_regions: Vec<String>,
    /// The sensor whose frames the device receives, if that sensor is simulated.
    pub sensor: Option<Sensor>,
}

/// Names that trees give to the nodes of video devices.
const NAMES: &[&str] = &[
    "camera",
    "csi",
    "deinterlace",
    "display-controller",
    "isp",
    "jpeg",
    "jpegdec",
    "jpegenc",
    "video-codec",
    "video-decoder",
    "video-encoder",
    "vpu",
];

/// Finds the video devices whose drivers are known. Adds other nodes that look like devices to `not_taken`.
pub(crate) fn find(tree: &Tree, not_taken: &mut Vec<String>) -> Vec<Device> {
    let (mut out, mut sensors) = (Vec::new(), Vec::new());
    // Whether each node is a known device or a part of one.
    let mut known: Vec<bool> = Vec::new();
    for id in tree.all() {
        let compatible = || tree.texts(id, "compatible");
        let driver = drivers::of(compatible());
        let is_part = (tree.parent(id)).is_some_and(|above| known.get(above) == Some(&true));
        known.push(is_part || driver.is_some());
        if !tree.is_enabled(id) {
            continue;
        }
        if let Some(driver) = drivers::sensor_of(compatible()) {
            if sensors.len() >= MAX_DEVICES {
                continue;
            }
            let path = tree.path(id);
            let model = match (data_lanes(tree, id), &driver.four_lanes) {
                (4, Some(model)) => model,
                _ => &driver.model,
            };
            sensors.push(Sensor {
                path,
                model,
                driver,
            });
            continue;
        }
        match driver {
            Some(_) if out.len() >= MAX_DEVICES => {}
            Some(driver) => out.extend(one(tree, id, driver, not_taken)),
            // Parts of a known device are not reported as devices.
            None if is_part => {}
            None => remark(tree, id, not_taken),
        }
    }
    attach(sensors, &mut out, not_taken);
    out
}

/// Returns the number of data lanes of a device's first endpoint; 0 if the tree does not tell.
fn data_lanes(tree: &Tree, device: Id) -> usize {
    let mut own = std::iter::once(device).chain(tree.below(device));
    let endpoint = own.find(|id| tree.has(*id, "data-lanes"));
    endpoint.map_or(0, |id| tree.cells(id, "data-lanes").count())
}

/// Attaches the first sensor to the first camera receiver, since a run of `vb3` has at most one sensor.
fn attach(sensors: Vec<Sensor>, devices: &mut [Device], not_taken: &mut Vec<String>) {
    let is_receiver = |device: &&mut Device| device.kinds.contains(&Kind::Camera);
    let receiver = devices.iter_mut().find(is_receiver);
    let reason = match receiver {
        Some(_) => "a run has at most one",
        None => "no receiver on the board is known",
    };
    let mut sensors = sensors.into_iter();
    if let Some(receiver) = receiver {
        receiver.sensor = sensors.next();
    }
    let room = MAX_REMARKS.saturating_sub(not_taken.len());
    not_taken.extend(sensors.take(room).map(|sensor| {
        let (path, compatible) = (sensor.path, &sensor.driver.compatible);
        format!("{path} is a sensor ({compatible}); {reason}")
    }));
}

fn remark(tree: &Tree, id: Id, not_taken: &mut Vec<String>) {
    let name = tree.name(id).split('@').next().unwrap_or_default();
    if !NAMES.contains(&name) || not_taken.len() >= MAX_REMARKS {
        return;
    }
    let mut compatible = tree.texts(id, "compatible");
    if compatible.any(|text| text == "simple-bus") {
        return;
    }
    if let Some(compatible) = tree.text(id, "compatible") {
        let path = tree.path(id);
        not_taken.push(format!(
            "{path} looks like a video device; no driver of {compatible} is known"
        ));
    }
}

fn one(
    tree: &Tree,
    id: Id,
    driver: &drivers::Driver,
    not_taken: &mut Vec<String>,
) -> Option<Device> {
    let compatible = tree
        .texts(id, "compatible")
        .find(|text| driver.compatible.iter().any(|known| known == text))?;
    let path = tree.path(id);
    let iommu = iommu(tree, id);
    if iommu.is_none() && tree.has(id, "iommus") && not_taken.len() < MAX_REMARKS {
        not_taken.push(format!(
            "{path} names an IOMMU that is missing or not enabled"
        ));
    }
    let windows = bus::windows(tree, id);
    let is_elsewhere = windows.iter().any(|w| w.bus != w.memory.start);
    if iommu.is_none() && windows.len() > 1 && is_elsewhere && not_taken.len() < MAX_REMARKS {
        not_taken.push(format!(
            "{path} reaches memory through {} windows of its bus, but a SPEC can have only \
             one, so its SPEC has only the last address of these windows",
            windows.len()
        ));
    }
    let memory_regions = tree
        .cells(id, "memory-region")
        .take(16)
        .filter_map(|phandle| tree.by_phandle(phandle))
        .map(|id| tree.path(id))
        .collect();
    let device = Device {
        path,
        compatible: compatible.to_owned(),
        kinds: driver.kinds.clone(),
        alloc: driver.alloc.clone(),
        card: driver.card.clone(),
        driver: driver.driver.clone(),
        codec: driver.codec.clone(),
        last_address: driver.last_address,
        source: driver.says(),
        windows,
        iommu,
        coherent: is_coherent(tree, id),
        memory_regions,
        sensor: None,
    };
    if not_taken.len() < MAX_REMARKS {
        not_taken.extend(device.not_simulated());
    }
    Some(device)
}

impl Device {
    /// Lists the simulated kinds of the device, by their names in SPECs.
    pub(crate) fn simulated(&self) -> impl Iterator<Item = &'static str> + '_ {
        let codec = self.codec.as_ref().map(|codec| codec.is);
        self.kinds.iter().filter_map(move |kind| kind.spec(codec))
    }

    /// Names the kinds of the device that are not simulated; `None` if all are.
    fn not_simulated(&self) -> Option<String> {
        let codec = self.codec.as_ref()?.is;
        let kinds = self.kinds.iter();
        let left_out = kinds.filter(|kind| kind.spec(Some(codec)).is_none());
        let streams: Vec<&str> = left_out.filter_map(|kind| kind.stream()).collect();
        let (last, others) = streams.split_last()?;
        let streams = match others {
            [] => (*last).to_owned(),
            others => format!("{} and {last}", others.join(", ")),
        };
        Some(format!(
            "{} has a {} {streams} decoder, which is not simulated (stateless decoders of AV1, \
             H.264, HEVC, VP8 and VP9 are)",
            self.path,
            codec.name()
        ))
    }
}

/// Returns whether a device is coherent, on architectures whose default is non-coherent (arm, arm64).
///
/// Source: Linux 6.12 `drivers/of/address.c` `of_dma_is_coherent`.
fn is_coherent(tree: &Tree, id: Id) -> bool {
    for at in tree.ancestors(id) {
        if tree.has(at, "dma-coherent") {
            return true;
        }
        if tree.has(at, "dma-noncoherent") {
            return false;
        }
    }
    false
}

fn iommu(tree: &Tree, id: Id) -> Option<Iommu> {
    let at = tree.by_phandle(tree.cells(id, "iommus").next()?)?;
    let enabled = tree.is_enabled(at);
    enabled.then(|| Iommu {
        path: tree.path(at),
        compatible: tree.text(at, "compatible").unwrap_or_default(),
    })
}
