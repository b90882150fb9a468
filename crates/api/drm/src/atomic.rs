//! Atomic commits, and properties that are set by name.

use crate::Error;
use crate::bytes::{MAX_ARRAY, MAX_ENTRIES, get, set};
use crate::call::{Answer, Ioctl, Step};
use crate::card::{Card, MAX_BLOBS};
use crate::commit::Change;
use crate::host::FileId;
use crate::mode::Mode;
use crate::property::{self, CONNECTOR, CRTC, FB, Kind, PLANE, Property};
use crate::state::{Blob, Rotation, SetMode};
use std::sync::Arc;

/// Flags of MODE_ATOMIC.
const EVENT: u32 = 1;
const ASYNC: u32 = 2;
const TEST_ONLY: u32 = 0x100;
const NONBLOCK: u32 = 0x200;
const ALLOW_MODESET: u32 = 0x400;

/// Number of objects that are looked up before a commit with more than [`MAX_ENTRIES`] objects is refused.
const FIRST_OBJECTS: u32 = 32;

/// Maximum bytes of a blob.
const MAX_BLOB: u32 = 1 << 15;

/// An object whose properties a commit sets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Crtc(usize),
    Plane(usize),
    Connector(usize),
}

/// Properties and their values.
type Settings = Vec<(u32, u64)>;

impl Change {
    /// Notes where a program wants a timeline's fence. A failed commit, or a test, leaves -1 there.
    fn ask_fence(&mut self, io: &mut Ioctl<'_>, of: usize, addr: u64) -> Result<(), Error> {
        io.program.write(addr, &(-1i32).to_ne_bytes())?;
        self.out_fences.retain(|(timeline, _)| *timeline != of);
        self.out_fences.push((of, addr));
        Ok(())
    }
}

impl Card {
    /// Finds an object with properties. `kind` is a type (`DRM_MODE_OBJECT_*`), or zero for any.
    pub(crate) fn target(&self, file: FileId, id: u32, kind: u32) -> Result<Target, Error> {
        let is = |of: u32| kind == 0 || kind == of;
        if let Some(crtc) = self.find_crtc(file, id).ok().filter(|_| is(CRTC)) {
            return Ok(Target::Crtc(crtc));
        }
        if let Some(plane) = self.find_plane(file, id).ok().filter(|_| is(PLANE)) {
            return Ok(Target::Plane(plane));
        }
        let connector = self.find_connector(file, id).ok();
        let connector = connector.filter(|_| is(CONNECTOR)).map(Target::Connector);
        connector.ok_or(Error::NoObject("object", id.into()))
    }

    /// Answers MODE_ATOMIC.
    pub(crate) fn atomic(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let flags = get!(io.arg, drm_mode_atomic: flags);
        let invalid = |what| Err(Error::Invalid(what, flags.into()));
        if !self.file(io.file)?.caps.atomic {
            return invalid("ATOMIC without the client capability");
        }
        if flags & ASYNC != 0 {
            return invalid("flags (no ASYNC)");
        }
        if flags & !(EVENT | TEST_ONLY | NONBLOCK | ALLOW_MODESET) != 0 {
            return invalid("flags");
        }
        if flags & TEST_ONLY != 0 && flags & EVENT != 0 {
            return invalid("flags (TEST_ONLY with EVENT)");
        }
        let (reserved, user_data) = get!(io.arg, drm_mode_atomic: reserved, user_data);
        if reserved != 0 {
            return Err(Error::Invalid("reserved", reserved));
        }
        let settings = self.read_settings(io)?;
        let is_test = flags & TEST_ONLY != 0;
        let mut change = Change {
            event: (flags & EVENT != 0).then_some(user_data),
            may_set_mode: flags & ALLOW_MODESET != 0,
            is_nonblocking: flags & NONBLOCK != 0,
            is_test,
            ..Change::of(self.state.clone(), [])
        };
        let set = self.apply(io, &settings, &mut change);
        let fences = change.fences.clone();
        let done = set.and_then(|()| self.commit(io, change));
        if is_test || !matches!(done, Ok(Step::Done)) && !self.is_call_pending(io.call) {
            let fences = fences.iter();
            fences.for_each(|(_, fence)| io.program.memory().release_fence(*fence));
        }
        done
    }

    /// Reads the objects of a commit, each with properties and their values.
    fn read_settings(&self, io: &Ioctl<'_>) -> Result<Vec<(u32, Settings)>, Error> {
        let (count, objects, counts, properties, values) = get!(io.arg, drm_mode_atomic:
            count_objs, objs_ptr, count_props_ptr, props_ptr, prop_values_ptr);
        if count > MAX_ENTRIES {
            // Linux reads one object after the other, so a wrong one is the first error.
            for object in io.words(objects, FIRST_OBJECTS, "objects")? {
                self.target(io.file, object, 0)?;
            }
        }
        let objects = io.words(objects, count, "objects")?;
        let counts = io.words(counts, count, "objects")?;
        let add = |sum: u32, count: &u32| sum.saturating_add(*count);
        let total = counts.iter().fold(0, add);
        if u64::from(total) * 8 <= MAX_ARRAY {
            // The host fetches both arrays at once.
            let announced = io.program.prepare_read(values, u64::from(total) * 8);
            io.program.prepare_read(properties, u64::from(total) * 4)?;
            announced?;
        }
        let properties = io.words(properties, total, "properties")?;
        let values = io.bytes(values, u64::from(total) * 8, "properties")?;
        let values = values.as_chunks::<8>().0.iter();
        let values = values.map(|value| u64::from_ne_bytes(*value));
        let mut settings = properties.into_iter().zip(values);
        let objects = objects.into_iter().zip(counts);
        let objects = objects.map(|(object, count)| {
            let own = settings.by_ref().take(count as usize);
            (object, own.collect())
        });
        Ok(objects.collect())
    }

    fn apply(
        &self,
        io: &mut Ioctl<'_>,
        objects: &[(u32, Settings)],
        change: &mut Change,
    ) -> Result<(), Error> {
        for (object, settings) in objects {
            let target = self.target(io.file, *object, 0)?;
            for &(id, value) in settings {
                let found = self.property_of(target, id);
                let found = found.ok_or(Error::NoObject("property", id.into()))?;
                self.set(io, (target, found, value), change)?;
            }
        }
        Ok(())
    }

    /// Sets one property in a new state.
    fn set(
        &self,
        io: &mut Ioctl<'_>,
        (target, found, value): (Target, &Property, u64),
        change: &mut Change,
    ) -> Result<(), Error> {
        let invalid = Err(Error::Invalid(found.name, value));
        if !found.accepts(value) {
            return invalid;
        }
        // CAST: `accepts` has checked the range of those that are narrower.
        let (word, signed) = (value as u32, value as i32);
        let names = |kind| value != 0 && found.kind == Kind::Object(kind);
        let crtc = names(CRTC).then(|| self.find_crtc(io.file, word));
        let fb = names(FB).then(|| self.find_fb(word));
        let (Ok(crtc), Ok(fb)) = (crtc.transpose(), fb.transpose()) else {
            return invalid;
        };
        match target {
            Target::Plane(at) => {
                let plane = &mut change.next.planes[at];
                change.crtcs.extend(plane.crtc);
                match found.id {
                    property::FB_ID => plane.fb = fb,
                    property::CRTC_ID => {
                        if let Some(crtc) = crtc {
                            self.check_possible(at, crtc)?;
                        }
                        plane.crtc = crtc;
                        change.crtcs.extend(crtc);
                    }
                    property::IN_FENCE_FD if signed == -1 => {}
                    property::IN_FENCE_FD => {
                        if change.fences.iter().any(|(plane, _)| *plane == at) {
                            return Err(Error::Invalid("IN_FENCE_FD (twice)", value));
                        }
                        change.fences.push((at, io.program.sync_file(signed)?));
                    }
                    property::SRC_X => plane.source.x = word,
                    property::SRC_Y => plane.source.y = word,
                    property::SRC_W => plane.source.width = word,
                    property::SRC_H => plane.source.height = word,
                    property::CRTC_X => plane.target.x = signed,
                    property::CRTC_Y => plane.target.y = signed,
                    property::CRTC_W => plane.target.width = word,
                    property::CRTC_H => plane.target.height = word,
                    property::ROTATION if (word & 15).is_power_of_two() => {
                        // CAST: six bits.
                        plane.rotation = Rotation(word as u8);
                    }
                    _ => return invalid,
                }
            }
            Target::Crtc(at) => {
                change.crtcs.insert(at);
                let crtc = &mut change.next.crtcs[at];
                match found.id {
                    property::ACTIVE => crtc.active = value != 0,
                    property::MODE_ID => crtc.mode = self.mode_of(word)?,
                    property::OUT_FENCE_PTR if value == 0 => {}
                    property::OUT_FENCE_PTR => change.ask_fence(io, at, value)?,
                    property::VRR_ENABLED => {}
                    property::GAMMA_LUT => crtc.gamma = self.gamma_of(word)?,
                    _ => return invalid,
                }
            }
            Target::Connector(at) => {
                let connector = &mut change.next.connectors[at];
                change.crtcs.extend(connector.crtc);
                let of = self.connectors[at].crtc;
                match found.id {
                    property::CRTC_ID => {
                        if crtc.is_some_and(|crtc| crtc != of) {
                            return Err(Error::Invalid("CRTC_ID (not of this connector)", value));
                        }
                        change.crtcs.extend(crtc);
                        connector.crtc = crtc;
                        connector.dpms = if crtc.is_some() { 0 } else { 3 };
                    }
                    property::LINK_STATUS => {}
                    property::WRITEBACK_FB_ID => {
                        change.writebacks.retain(|(connector, _)| *connector != at);
                        change.writebacks.push((at, fb));
                    }
                    property::WRITEBACK_OUT_FENCE_PTR if value == 0 => {}
                    property::WRITEBACK_OUT_FENCE_PTR => {
                        change.ask_fence(io, self.crtcs.len() + of, value)?;
                    }
                    // DPMS belongs to the older calls.
                    _ => return invalid,
                }
            }
        }
        Ok(())
    }

    /// Returns a property of an object by its id.
    fn property_of(&self, target: Target, id: u32) -> Option<&'static Property> {
        // Each plane has its own `rotation`.
        let is_anothers = |at: usize| self.planes[at].rotation() != id;
        let own = match (target, self.own_id(id)?) {
            (Target::Plane(at), property::ROTATION) if is_anothers(at) => return None,
            (_, own) => own,
        };
        Property::find(own).filter(|found| self.properties_of(target).contains(&found.id))
    }

    /// Returns the mode in a blob; `None` for blob zero.
    fn mode_of(&self, id: u32) -> Result<Option<SetMode>, Error> {
        if id == 0 {
            return Ok(None);
        }
        let invalid = Error::Invalid("MODE_ID", id.into());
        let (blob, _) = self.blobs.get(&id).ok_or(invalid)?;
        let bytes = blob.bytes.as_slice().try_into().map_err(|_| invalid)?;
        let mode = Mode::from_bytes(bytes).map_err(|_| invalid)?;
        Ok(Some(SetMode {
            blob: Arc::clone(blob),
            mode,
        }))
    }

    /// Answers MODE_OBJ_SETPROPERTY.
    pub(crate) fn set_object_property(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let wanted = get!(io.arg, drm_mode_obj_set_property: obj_id, obj_type, prop_id, value);
        self.set_property(io, wanted)
    }

    /// Answers MODE_SETPROPERTY, of connectors only.
    pub(crate) fn set_connector_property(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (object, id, value) =
            get!(io.arg, drm_mode_connector_set_property: connector_id, prop_id, value);
        self.set_property(io, (object, CONNECTOR, id, value))
    }

    fn set_property(
        &mut self,
        io: &mut Ioctl<'_>,
        (object, kind, id, value): (u32, u32, u32, u64),
    ) -> Answer {
        let target = self.target_with_properties(io.file, object, kind)?;
        let is_atomic = self.file(io.file)?.caps.atomic;
        let found = self.property_of(target, id);
        let found = found.filter(|found| is_atomic || !found.is_atomic);
        let found = found.ok_or(Error::Invalid("property", id.into()))?;
        if let (Target::Connector(at), property::DPMS) = (target, id) {
            return self.set_dpms(io, (at, value));
        }
        let mut change = Change::of(self.state.clone(), []);
        self.set(io, (target, found, value), &mut change)?;
        change.out_fences.clear();
        self.commit(io, change)
    }

    /// Answers MODE_CREATEPROPBLOB.
    pub(crate) fn create_blob(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (addr, len) = get!(io.arg, drm_mode_create_blob: data, length);
        if len == 0 {
            return Err(Error::Invalid("length", 0));
        }
        if self.blobs.len() >= MAX_BLOBS || len > MAX_BLOB {
            // Linux copies first, so a wrong address is the first error.
            for at in [addr, addr.saturating_add(u64::from(len) - 1)] {
                io.program.read(at, &mut [0])?;
            }
            return Err(Error::Full("blobs, and bytes of a blob", MAX_BLOB.into()));
        }
        let bytes = io.bytes(addr, len.into(), "bytes of a blob")?;
        let id = self.new_id();
        let blob = Arc::new(Blob { id, bytes });
        self.blobs.insert(id, (blob, Some(io.file)));
        set!(io.arg, drm_mode_create_blob: blob_id = id);
        Ok(Step::Done)
    }

    /// Answers MODE_DESTROYPROPBLOB.
    pub(crate) fn destroy_blob(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = get!(io.arg, drm_mode_destroy_blob: blob_id);
        let found = self.blobs.get_mut(&id);
        let (_, of) = found.ok_or(Error::NoObject("blob", id.into()))?;
        if *of != Some(io.file) {
            return Err(Error::NotOwner("the blob"));
        }
        *of = None;
        self.orphans.insert(id);
        self.collect(io.program.memory());
        Ok(Step::Done)
    }
}
