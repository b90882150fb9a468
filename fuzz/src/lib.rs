//! Parts that the targets share: a program's memory, and a randomly used device.
#![forbid(unsafe_code)]

pub mod codec;
pub mod drive;
pub mod program;
pub mod random;
pub mod run;
pub mod wire;

use arbitrary::Arbitrary;
use std::sync::Arc;
use std::sync::Mutex;
use vb3_dma::{
    Attrs, Direction, DmaAddr, DmaOps, FlushPolicy, Mapper, Platform, SegmentMode, SyncFor,
};
use vb3_dma_test::check::{Checked, Report, Violation};
use vb3_machine::{Device, DeviceLimits, Faults, Machine, Profile, User, UserFault, UserMemory};

#[cfg(feature = "libfuzzer")]
#[doc(hidden)]
pub use libfuzzer_sys;

/// Defines a target as a closure over one input. libFuzzer fuzzes the target. Without libFuzzer, the
/// target is a program that runs the given files and all files of given directories.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! target {
    (|$input:ident: $type:ty| $body:block) => {
        $crate::libfuzzer_sys::fuzz_target!(|$input: $type| $body);
    };
}

/// Defines a target as a closure over one input. libFuzzer fuzzes the target. Without libFuzzer, the
/// target is a program that runs the given files and all files of given directories.
#[cfg(not(feature = "libfuzzer"))]
#[macro_export]
macro_rules! target {
    (|$input:ident: $type:ty| $body:block) => {
        fn main() {
            $crate::replay(|$input: $type| $body);
        }
    };
}

/// Runs each input that the command line names, and prints the input's name.
///
/// # Panics
/// Panics if an input cannot be read, if there is none, or if the target fails.
pub fn replay<T: for<'a> Arbitrary<'a>>(run: impl Fn(T)) {
    let mut files = Vec::new();
    for path in std::env::args_os().skip(1).map(std::path::PathBuf::from) {
        if path.is_dir() {
            let entries = path.read_dir().expect("a directory that can be read");
            files.extend(entries.map(|entry| entry.expect("its entry").path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no inputs");
    let mut told = 0;
    for file in &files {
        let bytes = std::fs::read(file).expect("an input that can be read");
        let Ok(input) = T::arbitrary_take_rest(arbitrary::Unstructured::new(&bytes)) else {
            continue;
        };
        told += 1;
        let run = std::panic::AssertUnwindSafe(|| run(input));
        if let Err(failure) = std::panic::catch_unwind(run) {
            eprintln!("failed with {}", file.display());
            std::panic::resume_unwind(failure);
        }
    }
    assert!(told > 0, "none of {} inputs says anything", files.len());
    eprintln!("{told} of {} inputs ran", files.len());
}

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Start of the program's memory.
const BASE: u64 = 0x10_0000;
const USER_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Program(Mutex<Vec<u8>>);

impl Program {
    fn at(addr: u64, len: usize, bytes: &[u8]) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(addr.checked_sub(BASE)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= bytes.len()).then_some(start..end)
    }
}

impl UserMemory for Program {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let bytes = self.0.lock().expect("one thread");
        let range = Self::at(addr, out.len(), &bytes).ok_or(UserFault { addr })?;
        out.copy_from_slice(&bytes[range]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        let mut bytes = self.0.lock().expect("one thread");
        let range = Self::at(addr, data.len(), &bytes).ok_or(UserFault { addr })?;
        bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, _write: bool) -> u64 {
        let end = BASE + USER_BYTES as u64;
        if (BASE..end).contains(&addr) {
            len.min(end - addr)
        } else {
            0
        }
    }

    fn id(&self) -> u64 {
        1
    }
}

/// A direction, as an input encodes it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum FuzzDirection {
    To,
    From,
    Both,
}

impl From<FuzzDirection> for Direction {
    fn from(way: FuzzDirection) -> Self {
        match way {
            FuzzDirection::To => Self::ToDevice,
            FuzzDirection::From => Self::FromDevice,
            FuzzDirection::Both => Self::Bidirectional,
        }
    }
}

/// One step of a program and its driver.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Step {
    /// Pins `len` bytes of the program's memory, from `offset` on.
    Pin {
        offset: u32,
        len: u32,
        way: FuzzDirection,
    },
    Alloc {
        pages: u8,
        coherent: bool,
        attrs: u16,
    },
    Map {
        which: u8,
        way: FuzzDirection,
        attrs: u16,
    },
    Sync {
        which: u8,
        for_cpu: bool,
    },
    /// Lets the device access mapped memory.
    Device {
        which: u8,
        byte: u8,
    },
    Unmap {
        which: u8,
    },
    Free {
        which: u8,
    },
    FaultAt {
        call: u8,
    },
    NoFaults,
}

type Sink = fn(Report<Device>);
type Ops = Checked<Mapper<Machine>, Sink>;

fn complain(report: Report<Device>) {
    // An input may map memory twice for one device, so an overlap is no defect.
    assert!(
        matches!(report.violation, Violation::Overlap { .. }),
        "{report}"
    );
}

struct Mapped {
    mapping: <Ops as DmaOps>::Mapping,
    memory: usize,
    direction: Direction,
}

/// Memory, and the direction in which devices may use it.
struct Held {
    memory: <Ops as DmaOps>::Memory,
    way: Direction,
}

/// Runs steps on a machine of this profile, with a device of these limits. At the end it frees
/// everything, and nothing may remain.
pub fn run(profile: &str, limits: DeviceLimits, steps: &[Step]) {
    let text = format!("name = \"fuzz\"\nram = \"32MiB\"\ndma_mask = 32\n{profile}\n");
    let profile = Profile::parse(&text).expect("a profile of our own");
    let mut mapper = Mapper::new(Machine::new(&profile, 1).expect("memory")).expect("a mapper");
    let dev = mapper
        .platform_mut()
        .add_device("dev", limits)
        .expect("a device");
    let info = mapper.platform().device_info(dev).expect("its limits");
    let (mut lazy, mut compatible) = (false, false);
    if let Some(iommu) = &profile.iommu {
        mapper
            .set_segment_mode(dev, iommu.segments)
            .expect("memory");
        mapper.set_flush_policy(dev, iommu.flush).expect("memory");
        lazy = iommu.flush == FlushPolicy::Lazy;
        compatible = iommu.segments == SegmentMode::Compatible;
    }
    if profile.sram > 0 {
        let own = mapper.platform_mut().reserve_physical(profile.sram);
        let own = own.expect("addresses");
        let addr = DmaAddr::new(own.addr.get());
        mapper.declare_coherent(dev, own, addr).expect("in reach");
    }
    let ops: Ops = Checked::new(mapper, complain as Sink, 1 << 16);
    // Linux's layout puts contiguous memory into one segment, even if this exceeds the device's limits.
    if !compatible {
        ops.set_limits(dev, info.limits);
    }
    let mut driver = Driver {
        ops,
        dev,
        lazy,
        user: Arc::new(Program(Mutex::new(vec![0x5a; USER_BYTES]))),
        memories: Vec::new(),
        mappings: Vec::new(),
    };
    for step in steps.iter().take(64) {
        driver.step(*step);
    }
    driver.finish();
}

struct Driver {
    ops: Ops,
    dev: Device,
    /// Whether unmapped memory stays reachable until a flush.
    lazy: bool,
    user: User,
    memories: Vec<Option<Held>>,
    mappings: Vec<Mapped>,
}

fn pick<T>(list: &[Option<T>], which: u8) -> Option<usize> {
    let live: Vec<usize> = (0..list.len()).filter(|&i| list[i].is_some()).collect();
    (!live.is_empty()).then(|| live[usize::from(which) % live.len()])
}

impl Driver {
    fn step(&mut self, step: Step) {
        match step {
            Step::Pin { offset, len, way } => {
                let (addr, len) = (
                    BASE + u64::from(offset % (1 << 20)),
                    u64::from(len % (1 << 19)),
                );
                let way = way.into();
                if let Ok(memory) = self.ops.pin_user(&self.user, addr, len, way) {
                    assert_eq!(self.ops.memory_len(&memory), len);
                    self.memories.push(Some(Held { memory, way }));
                }
            }
            Step::Alloc {
                pages,
                coherent,
                attrs,
            } => {
                let (len, attrs) = (
                    u64::from(pages) * PAGE,
                    Attrs::from_bits_truncate(attrs.into()),
                );
                let alloc = if coherent {
                    self.ops.alloc_coherent(self.dev, len, attrs)
                } else {
                    let both = Direction::Bidirectional;
                    self.ops.alloc_noncontiguous(self.dev, len, both, attrs)
                };
                if let Ok(memory) = alloc {
                    let way = Direction::Bidirectional;
                    self.memories.push(Some(Held { memory, way }));
                }
            }
            Step::Map { which, way, attrs } => self.map(which, way.into(), attrs),
            Step::Sync { which, for_cpu } => {
                if let Some(index) = self.mapping(which) {
                    let sync = if for_cpu {
                        SyncFor::Cpu
                    } else {
                        SyncFor::Device
                    };
                    let Mapped {
                        mapping, direction, ..
                    } = &self.mappings[index];
                    let _ = self.ops.sync(mapping, *direction, sync);
                }
            }
            Step::Device { which, byte } => self.access(which, byte),
            Step::Unmap { which } => {
                if let Some(index) = self.mapping(which) {
                    let mapped = self.mappings.swap_remove(index);
                    self.unmap(mapped);
                }
            }
            Step::Free { which } => {
                if let Some(index) = pick(&self.memories, which) {
                    self.free(index);
                }
            }
            Step::FaultAt { call } => {
                let faults = Faults::Nth(call.into());
                self.ops.inner_mut().platform_mut().set_faults(faults);
            }
            Step::NoFaults => self.ops.inner_mut().platform_mut().set_faults(Faults::Off),
        }
    }

    fn mapping(&self, which: u8) -> Option<usize> {
        let len = self.mappings.len();
        (len > 0).then(|| usize::from(which) % len)
    }

    fn map(&mut self, which: u8, direction: Direction, attrs: u16) {
        let Some(index) = pick(&self.memories, which) else {
            return;
        };
        let Some(Held { memory, way }) = &self.memories[index] else {
            return;
        };
        // A correct caller does not map memory for writing that was pinned for reading.
        if direction.device_writes() && !way.device_writes() {
            return;
        }
        let attrs = Attrs::from_bits_truncate(attrs.into()) - Attrs::MMIO;
        let before = self.ops.inner().platform().held();
        match self.ops.map(self.dev, memory, direction, attrs) {
            Ok(mapping) => {
                let mut total = 0;
                for i in 0.. {
                    let Some(segment) = self.ops.segment(&mapping, i) else {
                        break;
                    };
                    assert!(segment.len > 0 && (segment.addr.get() != 0 || total == 0));
                    total += segment.len;
                }
                assert_eq!(total, self.ops.memory_len(memory), "every byte once");
                self.mappings.push(Mapped {
                    mapping,
                    memory: index,
                    direction,
                });
                self.reattribute(attrs);
            }
            Err(_) => {
                let after = self.ops.inner().platform().held();
                assert_eq!(before, after, "a map that failed left something");
            }
        }
    }

    /// Unmaps the newest mapping if it has attributes that the unmap must repeat, because they are not
    /// stored here.
    fn reattribute(&mut self, attrs: Attrs) {
        let sticky = Attrs::NO_KERNEL_MAPPING | Attrs::FORCE_CONTIGUOUS | Attrs::REQUIRE_COHERENT;
        if attrs.intersects(sticky)
            && let Some(mapped) = self.mappings.pop()
        {
            self.ops.unmap(mapped.mapping, attrs);
        }
    }

    /// Checks that the device reaches every segment, byte by byte, as its direction permits.
    fn access(&mut self, which: u8, byte: u8) {
        let Some(index) = self.mapping(which) else {
            return;
        };
        let Mapped {
            mapping, direction, ..
        } = &self.mappings[index];
        for i in 0.. {
            let Some(segment) = self.ops.segment(mapping, i) else {
                break;
            };
            let mut bytes = vec![byte; segment.len as usize];
            let machine = self.ops.inner_mut().platform_mut();
            if direction.device_writes() {
                machine
                    .bus_write(self.dev, segment.addr, &bytes)
                    .expect("mapped for writing");
            } else {
                machine
                    .bus_read(self.dev, segment.addr, &mut bytes)
                    .expect("mapped for reading");
            }
        }
    }

    fn unmap(&mut self, mapped: Mapped) {
        let first = self.ops.segment(&mapped.mapping, 0);
        self.ops.unmap(mapped.mapping, Attrs::empty());
        let machine = self.ops.inner().platform();
        let behind_iommu = machine
            .device_info(self.dev)
            .is_some_and(|info| info.iommu.is_some());
        if let (Some(segment), true) = (first, behind_iommu && !self.lazy) {
            let reached = machine.bus_translate(self.dev, segment.addr, false);
            assert!(reached.is_err(), "reached after the unmap");
        }
    }

    fn free(&mut self, index: usize) {
        while let Some(at) = self.mappings.iter().position(|m| m.memory == index) {
            let mapped = self.mappings.swap_remove(at);
            self.unmap(mapped);
        }
        if let Some(held) = self.memories[index].take() {
            self.ops.free(held.memory);
        }
    }

    fn finish(mut self) {
        self.ops.inner_mut().platform_mut().set_faults(Faults::Off);
        for index in 0..self.memories.len() {
            self.free(index);
        }
        let dev = self.dev;
        let _ = self.ops.inner_mut().flush_lazy(dev);
        self.ops.remove_device(dev);
        let mapper = self.ops.into_inner();
        assert!(mapper.live().is_empty(), "{:?}", mapper.live());
        assert_eq!(mapper.platform().held(), Default::default());
    }
}
