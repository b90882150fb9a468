//! A memory and a driver that record their calls, and fail on demand.

use super::std::cell::{RefCell, RefMut};
use super::std::collections::{BTreeMap, BTreeSet};
use super::std::string::String;
use super::std::vec::Vec;
use super::std::{format, vec};
use crate::{
    Active, Completion, Constraint, Direction, Driver, DriverError, HintSkip, MemOps, PlaneError,
    PlaneSizes, Prepare, Reason, RequestId,
};
use vb3_plane::Coherency;

/// Bytes that one plane needs by default.
pub(crate) const SIZE: u64 = 115_200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mmap,
    UserPtr { user: u32 },
    Attached { dmabuf: u32, mapped: bool },
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) dev: u32,
    pub(crate) kind: Kind,
    pub(crate) device_owned: bool,
    /// Whether its driver's access has begun and not ended.
    pub(crate) accessed: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) extra_users: u32,
    pub(crate) direction: Direction,
}

#[derive(Debug)]
pub(crate) struct FakePlane(u64);

#[derive(Debug)]
pub(crate) struct FakeBuf {
    pub(crate) object: u32,
    reference: u64,
}

/// A fake memory that queues share.
#[derive(Default, Debug)]
pub(crate) struct FakeMem(RefCell<Books>);

impl FakeMem {
    /// Borrows its records.
    pub(crate) fn get(&self) -> RefMut<'_, Books> {
        self.0.borrow_mut()
    }

    pub(crate) fn called(&self, name: &str) -> u64 {
        self.get().calls.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn live_references(&self) -> usize {
        self.get().references.len()
    }

    pub(crate) fn live_planes(&self) -> usize {
        self.get().planes.len()
    }

    pub(crate) fn assert_empty(&self) {
        let books = self.get();
        assert_eq!(books.violations, Vec::<String>::new());
        assert_eq!(books.planes.len(), 0, "left: {:?}", books.planes.keys());
        assert_eq!(books.references.len(), 0, "dma-buf references left");
    }
}

/// Records of the memory: its planes, references and calls by name.
#[derive(Default, Debug)]
pub(crate) struct Books {
    pub(crate) planes: BTreeMap<u64, Record>,
    /// The dma-buf of each reference.
    references: BTreeMap<u64, u32>,
    /// Bytes of each dma-buf.
    pub(crate) objects: BTreeMap<u32, u64>,
    /// Number of the program's current address space. Memory pinned from an earlier one is out of date.
    pub(crate) address_space: u32,
    pub(crate) bad_address: Option<u64>,
    pub(crate) no_userptr: bool,
    /// Lets this many calls succeed; the next one fails.
    pub(crate) fail_in: Option<u64>,
    /// Whether the device's bytes cannot be copied to the planes.
    pub(crate) finish_fails: bool,
    pub(crate) failed: bool,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// The hints that `prepare` and `finish` received.
    pub(crate) skips: Vec<(&'static str, HintSkip)>,
    pub(crate) violations: Vec<String>,
    /// Outcomes of the accesses that ended, in order.
    pub(crate) outcomes: Vec<Result<(), i32>>,
    /// Planes with pending imported fences.
    pub(crate) held_back: BTreeSet<u64>,
    pub(crate) max_alloc: Option<usize>,
    /// Number of planes that can still be placed; `None` for no limit.
    pub(crate) places: Option<u32>,
    next: u64,
}

impl Books {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn count(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
    }

    fn may_fail(&mut self, name: &'static str) -> Result<(), PlaneError> {
        self.count(name);
        match &mut self.fail_in {
            Some(0) => {
                self.fail_in = None;
                self.failed = true;
                Err(PlaneError::NoMemory(Some(Reason {
                    constraint: Constraint::InjectedFault,
                    wanted: 1,
                    found: 0,
                })))
            }
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Makes a dma-buf of the program. The program's own reference is not counted.
    pub(crate) fn new_object(&mut self, bytes: u64) -> u32 {
        let object = u32::try_from(self.objects.len()).unwrap() + 1;
        self.objects.insert(object, bytes);
        object
    }

    /// Makes a reference, as a front end does from a descriptor.
    pub(crate) fn reference(&mut self, object: u32) -> FakeBuf {
        let reference = self.id();
        self.references.insert(reference, object);
        FakeBuf { object, reference }
    }

    fn make(&mut self, dev: u32, kind: Kind, bytes: u64, direction: Direction) -> FakePlane {
        let id = self.id();
        let record = Record {
            dev,
            kind,
            device_owned: false,
            accessed: false,
            bytes: vec![0; usize::try_from(bytes.min(1 << 17)).unwrap()],
            extra_users: 0,
            direction,
        };
        self.planes.insert(id, record);
        FakePlane(id)
    }

    pub(crate) fn bytes_at(&mut self, cookie: u64) -> &mut Vec<u8> {
        &mut self.planes.get_mut(&cookie).unwrap().bytes
    }

    fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}

impl MemOps for FakeMem {
    type Device = u32;
    type User = u32;
    type Plane = FakePlane;
    type DmaBuf = FakeBuf;
    type Cookie = u64;
    type Mmap = (u64, u64);

    fn supports_userptr(&self) -> bool {
        let this = &mut *self.get();
        !this.no_userptr
    }

    fn alloc(
        &self,
        dev: u32,
        len_bytes: u64,
        direction: Direction,
        _: Coherency,
    ) -> Result<FakePlane, PlaneError> {
        let this = &mut *self.get();
        this.may_fail("alloc")?;
        if this.max_alloc.is_some_and(|max| this.planes.len() >= max) {
            return Err(PlaneError::NoMemory(Some(Reason {
                constraint: Constraint::Ram,
                wanted: len_bytes,
                found: 0,
            })));
        }
        Ok(this.make(dev, Kind::Mmap, len_bytes, direction))
    }

    fn get_userptr(
        &self,
        dev: u32,
        user: &u32,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<FakePlane, PlaneError> {
        let this = &mut *self.get();
        this.may_fail("get_userptr")?;
        if addr == 0 || this.bad_address == Some(addr) {
            return Err(PlaneError::Fault(None));
        }
        Ok(this.make(dev, Kind::UserPtr { user: *user }, len_bytes, direction))
    }

    fn is_current(&self, plane: &FakePlane, user: &u32, _addr: u64) -> bool {
        let this = &mut *self.get();
        matches!(this.planes.get(&plane.0), Some(Record { kind: Kind::UserPtr { user: u }, .. })
            if u == user && *u == this.address_space)
    }

    fn attach_dmabuf(
        &self,
        dev: u32,
        buf: &FakeBuf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<FakePlane, PlaneError> {
        let this = &mut *self.get();
        this.may_fail("attach")?;
        let found = this.objects[&buf.object];
        if found < len_bytes {
            return Err(PlaneError::Fault(Some(Reason {
                constraint: Constraint::BufferSize,
                wanted: len_bytes,
                found,
            })));
        }
        let kind = Kind::Attached {
            dmabuf: buf.object,
            mapped: false,
        };
        Ok(this.make(dev, kind, len_bytes, direction))
    }

    fn map_dmabuf(&self, plane: &mut FakePlane) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.may_fail("map")?;
        match &mut this.planes.get_mut(&plane.0).unwrap().kind {
            Kind::Attached { mapped, .. } => *mapped = true,
            other => panic!("map of {other:?}"),
        }
        Ok(())
    }

    fn unmap_dmabuf(&self, plane: &mut FakePlane) {
        let this = &mut *self.get();
        this.count("unmap");
        match &mut this.planes.get_mut(&plane.0).unwrap().kind {
            Kind::Attached { mapped, .. } => *mapped = false,
            other => panic!("unmap of {other:?}"),
        }
    }

    fn put(&self, plane: FakePlane) {
        let this = &mut *self.get();
        this.count("put");
        let record = this.planes.remove(&plane.0).expect("put of a dead plane");
        if record.device_owned {
            this.violation(format!("plane {} freed while the device's", plane.0));
        }
        if record.accessed {
            this.violation(format!("plane {} freed with its fence pending", plane.0));
        }
        if let Kind::Attached { dmabuf, mapped } = record.kind {
            if mapped {
                this.violation(format!("plane {} freed while mapped", plane.0));
            }
            if !this.references.values().any(|o| *o == dmabuf) {
                this.violation(format!("dma-buf {dmabuf} gone before its attachment"));
            }
        }
    }

    fn place(&self, _: &mut FakePlane) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.count("place");
        match this.places.as_mut().map(|left| left.checked_sub(1)) {
            None => Ok(()),
            Some(Some(left)) => {
                this.places = Some(left);
                Ok(())
            }
            Some(None) => Err(PlaneError::NoMemory(Some(Reason {
                constraint: Constraint::Mask,
                wanted: 2,
                found: 1,
            }))),
        }
    }

    fn prepare(&self, plane: &mut FakePlane, skip: HintSkip) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.may_fail("prepare")?;
        this.skips.push(("prepare", skip));
        let record = this.planes.get_mut(&plane.0).unwrap();
        if core::mem::replace(&mut record.device_owned, true) {
            this.violation(format!("plane {} prepared twice", plane.0));
        }
        Ok(())
    }

    fn finish(&self, plane: &mut FakePlane, skip: HintSkip) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.skips.push(("finish", skip));
        let record = this.planes.get_mut(&plane.0).unwrap();
        if !core::mem::replace(&mut record.device_owned, false) {
            this.violation(format!("plane {} finished without being prepared", plane.0));
        }
        this.count("finish");
        match this.finish_fails {
            true => Err(PlaneError::Io(None)),
            false => Ok(()),
        }
    }

    fn begin_access(&self, plane: &mut FakePlane) {
        let this = &mut *self.get();
        this.count("begin_access");
        if this.held_back.contains(&plane.0) {
            this.violation(format!("plane {} given while held back", plane.0));
        }
        let record = this.planes.get_mut(&plane.0).unwrap();
        if core::mem::replace(&mut record.accessed, true) {
            this.violation(format!("plane {} given twice", plane.0));
        }
    }

    fn end_access(&self, plane: &mut FakePlane, outcome: Result<(), i32>) {
        let this = &mut *self.get();
        let record = this.planes.get_mut(&plane.0).unwrap();
        if core::mem::replace(&mut record.accessed, false) {
            this.count("end_access");
            this.outcomes.push(outcome);
        }
    }

    fn is_held_back(&self, plane: &FakePlane) -> bool {
        let this = &mut *self.get();
        this.held_back.contains(&plane.0)
    }

    fn cookie(&self, plane: &FakePlane) -> Option<u64> {
        let this = &mut *self.get();
        match this.planes.get(&plane.0)?.kind {
            Kind::Attached { mapped: false, .. } => None,
            _ => Some(plane.0),
        }
    }

    fn num_users(&self, plane: &FakePlane) -> u32 {
        let this = &mut *self.get();
        1 + this.planes.get(&plane.0).unwrap().extra_users
    }

    fn mmap(&self, plane: &FakePlane, len_bytes: u64) -> Result<(u64, u64), PlaneError> {
        let this = &mut *self.get();
        this.may_fail("mmap")?;
        this.planes.get_mut(&plane.0).unwrap().extra_users += 1;
        Ok((plane.0, len_bytes))
    }

    fn export(&self, plane: &FakePlane) -> Result<FakeBuf, PlaneError> {
        let this = &mut *self.get();
        this.may_fail("export")?;
        let record = this.planes.get_mut(&plane.0).unwrap();
        record.extra_users += 1;
        let bytes = u64::try_from(record.bytes.len()).unwrap();
        let object = this.new_object(bytes);
        Ok(this.reference(object))
    }

    fn dmabuf_len(&self, buf: &FakeBuf) -> u64 {
        self.get().objects[&buf.object]
    }

    fn same_dmabuf(&self, a: &FakeBuf, b: &FakeBuf) -> bool {
        a.object == b.object
    }

    fn clone_dmabuf(&self, buf: &FakeBuf) -> Result<FakeBuf, PlaneError> {
        let this = &mut *self.get();
        this.may_fail("clone")?;
        Ok(this.reference(buf.object))
    }

    fn put_dmabuf(&self, buf: FakeBuf) {
        let this = &mut *self.get();
        this.count("put_dmabuf");
        this.references
            .remove(&buf.reference)
            .expect("put of a dead reference");
    }

    fn copy_from(
        &self,
        plane: &mut FakePlane,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.may_fail("copy_from")?;
        let record = this.planes.get(&plane.0).unwrap();
        if record.device_owned {
            this.violation(format!("plane {} read while the device's", plane.0));
            return Err(PlaneError::Busy);
        }
        let from = usize::try_from(offset).unwrap();
        let bytes = record
            .bytes
            .get(from..from + out.len())
            .ok_or(PlaneError::Invalid(None))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn copy_to(&self, plane: &mut FakePlane, offset: u64, data: &[u8]) -> Result<(), PlaneError> {
        let this = &mut *self.get();
        this.may_fail("copy_to")?;
        let record = this.planes.get_mut(&plane.0).unwrap();
        if record.device_owned {
            this.violation(format!("plane {} written while the device's", plane.0));
            return Err(PlaneError::Busy);
        }
        let to = usize::try_from(offset).unwrap();
        let place = record
            .bytes
            .get_mut(to..to + data.len())
            .ok_or(PlaneError::Invalid(None))?;
        place.copy_from_slice(data);
        Ok(())
    }
}

/// A fake driver that keeps its tokens until a test completes them.
#[derive(Debug)]
pub(crate) struct FakeDriver {
    pub(crate) sizes: Vec<u64>,
    pub(crate) tokens: Vec<Active<u64>>,
    /// Errors to return, by callback name, once each.
    pub(crate) fail: BTreeMap<&'static str, i32>,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Lengths and payloads at the last `buf_prepare`.
    pub(crate) seen: (Vec<u64>, Vec<u64>),
    /// CAPTURE: the payload that `buf_prepare` sets.
    pub(crate) capture_payload: Option<u64>,
    /// OUTPUT: the only payload that `buf_prepare` accepts, as vivid does.
    pub(crate) wants_payload: Option<u64>,
    /// Keeps its tokens in calls that should drop them.
    pub(crate) keeps_tokens: bool,
    /// Drops each token in `buf_queue`.
    pub(crate) drops_tokens: bool,
    pub(crate) least_buffers: u32,
    /// `buffer_count` fails for fewer buffers.
    pub(crate) refused_below: u32,
    pub(crate) given_at_start: u32,
    /// Calls of `buf_init` without `buf_cleanup`, for each buffer.
    pub(crate) initialised: BTreeMap<u32, i32>,
    pub(crate) prepared: BTreeMap<u32, i32>,
    pub(crate) streaming: bool,
    /// Buffers that have left their media request.
    pub(crate) requests_complete: Vec<(u32, RequestId)>,
    /// CAPTURE: the data offset that `buf_prepare` sets.
    pub(crate) capture_offset: Option<u64>,
}

impl Default for FakeDriver {
    fn default() -> Self {
        Self {
            sizes: vec![SIZE],
            tokens: Vec::new(),
            fail: BTreeMap::new(),
            calls: BTreeMap::new(),
            seen: Default::default(),
            capture_payload: None,
            wants_payload: None,
            keeps_tokens: false,
            drops_tokens: false,
            least_buffers: 0,
            refused_below: 0,
            given_at_start: 0,
            initialised: BTreeMap::new(),
            prepared: BTreeMap::new(),
            streaming: false,
            requests_complete: Vec::new(),
            capture_offset: None,
        }
    }
}

impl FakeDriver {
    pub(crate) fn called(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or(0)
    }

    fn call(&mut self, name: &'static str) -> Result<(), DriverError> {
        *self.calls.entry(name).or_default() += 1;
        match self.fail.remove(name) {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }

    pub(crate) fn assert_balanced(&self) {
        assert!(
            self.initialised.values().all(|n| *n == 0),
            "init/cleanup: {:?}",
            self.initialised
        );
        assert!(
            self.prepared.values().all(|n| *n == 0),
            "prepare/finish: {:?}",
            self.prepared
        );
        assert!(!self.streaming, "still started");
    }
}

fn step(table: &mut BTreeMap<u32, i32>, index: u32, by: i32) {
    let n = table.entry(index).or_default();
    *n += by;
    assert!((0..=1).contains(n), "buffer {index} unbalanced");
}

impl Driver for FakeDriver {
    type Cookie = u64;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.call("queue_setup")?;
        let asked = create.map_or(self.sizes.as_slice(), PlaneSizes::as_slice);
        if asked.len() != self.sizes.len() || asked.iter().zip(&self.sizes).any(|(a, s)| a < s) {
            return Err(DriverError::EINVAL);
        }
        PlaneSizes::new(asked).ok_or(DriverError::EINVAL)
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        self.call("buffer_count")?;
        if offered < self.refused_below {
            return Err(DriverError::EINVAL);
        }
        Ok(offered.max(self.least_buffers))
    }

    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        self.call("buf_init")?;
        step(&mut self.initialised, index, 1);
        Ok(())
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.call("buf_prepare")?;
        self.seen = (buffer.lengths.to_vec(), buffer.payloads.to_vec());
        if let Some(payload) = self.capture_payload {
            buffer.payloads.fill(payload);
        }
        if let Some(offset) = self.capture_offset {
            buffer.data_offsets.fill(offset);
        }
        if self
            .wants_payload
            .is_some_and(|p| buffer.payloads.iter().any(|b| *b < p))
        {
            return Err(DriverError::EINVAL);
        }
        step(&mut self.prepared, buffer.index, 1);
        Ok(())
    }

    fn buf_finish(&mut self, index: u32) {
        let _ = self.call("buf_finish");
        step(&mut self.prepared, index, -1);
    }

    fn buf_cleanup(&mut self, index: u32) {
        let _ = self.call("buf_cleanup");
        step(&mut self.initialised, index, -1);
    }

    fn buf_queue(&mut self, buffer: Active<u64>) {
        let _ = self.call("buf_queue");
        assert!(!buffer.is_stale(), "a fresh token counts");
        if !self.drops_tokens {
            self.tokens.push(buffer);
        }
    }

    fn buf_request_complete(&mut self, index: u32, request: RequestId) {
        self.requests_complete.push((index, request));
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        self.call("prepare_streaming")
    }

    fn unprepare_streaming(&mut self) {
        let _ = self.call("unprepare_streaming");
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        self.given_at_start = queued;
        let started = self.call("start_streaming");
        if started.is_err() && !self.keeps_tokens {
            self.tokens.clear();
        }
        self.streaming = started.is_ok();
        started
    }

    fn stop_streaming(&mut self) {
        let _ = self.call("stop_streaming");
        assert!(core::mem::take(&mut self.streaming), "stop without start");
        if !self.keeps_tokens {
            self.tokens.clear();
        }
    }
}

/// Makes a completion with all fields set.
pub(crate) fn done() -> Completion {
    Completion {
        timestamp_ns: Some(1_000),
        ..Completion::done(0)
    }
}
