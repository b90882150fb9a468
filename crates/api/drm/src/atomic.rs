//! Atomic commits, and properties that are set by name.

use crate::Error;
use crate::bytes::{Arg, MAX_ARRAY, MAX_ENTRIES, at, read_bytes, read_words};
use crate::card::{CallContext, Card, MAX_BLOBS, Plane, Step};
use crate::commit::Change;
use crate::host::{FenceId, Program};
use crate::mode::Mode;
use crate::property::{self, CONNECTOR, CRTC, Kind, PLANE, Property};
use crate::state::{Blob, Rotation, SetMode, State};
use std::collections::BTreeSet;
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

impl Target {
    pub(crate) const fn properties(self) -> &'static [u32] {
        match self {
            Self::Crtc(_) => property::OF_CRTC,
            Self::Plane(_) => property::OF_PLANE,
            Self::Connector(_) => property::OF_CONNECTOR,
        }
    }
}

/// Properties and their values.
type Settings = Vec<(u32, u64)>;

/// What an atomic commit sets besides the state.
#[derive(Debug, Default)]
struct Extras {
    crtcs: BTreeSet<usize>,
    fences: Vec<(usize, FenceId)>,
    out_fences: Vec<(usize, u64)>,
}

impl Card {
    /// Finds an object with properties. `kind` is a type (`DRM_MODE_OBJECT_*`), or zero for any.
    pub(crate) fn target(&self, cx: CallContext, id: u32, kind: u32) -> Result<Target, Error> {
        let is = |of: u32| kind == 0 || kind == of;
        if let Some(crtc) = self.find_crtc(cx.file, id).ok().filter(|_| is(CRTC)) {
            return Ok(Target::Crtc(crtc));
        }
        if let Some(plane) = self.find_plane(cx.file, id).ok().filter(|_| is(PLANE)) {
            return Ok(Target::Plane(plane));
        }
        let connector = self
            .find_connector(cx.file, id)
            .ok()
            .filter(|_| is(CONNECTOR));
        connector
            .map(Target::Connector)
            .ok_or(Error::NoObject("object", id.into()))
    }

    /// Answers MODE_ATOMIC.
    pub(crate) fn atomic(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let flags = arg.u32(at!(drm_mode_atomic.flags));
        if !self.file(cx.file)?.caps.atomic {
            return Err(Error::Invalid(
                "ATOMIC without the client capability",
                flags.into(),
            ));
        }
        if flags & !(EVENT | TEST_ONLY | NONBLOCK | ALLOW_MODESET) != 0 {
            let what = if flags & ASYNC != 0 {
                "flags (no ASYNC)"
            } else {
                "flags"
            };
            return Err(Error::Invalid(what, flags.into()));
        }
        if flags & TEST_ONLY != 0 && flags & EVENT != 0 {
            return Err(Error::Invalid("flags (TEST_ONLY with EVENT)", flags.into()));
        }
        let reserved = arg.u64(at!(drm_mode_atomic.reserved));
        if reserved != 0 {
            return Err(Error::Invalid("reserved", reserved));
        }
        let settings = self.read_settings(cx, arg, program)?;
        let mut next = self.state.clone();
        let mut extras = Extras::default();
        let set = self.apply(cx, &settings, (&mut next, &mut extras), program);
        let Extras {
            crtcs,
            fences,
            out_fences,
        } = extras;
        let mut change = Change::of(next, crtcs);
        change.event = (flags & EVENT != 0).then(|| arg.u64(at!(drm_mode_atomic.user_data)));
        change.fences.clone_from(&fences);
        change.may_set_mode = flags & ALLOW_MODESET != 0;
        change.is_nonblocking = flags & NONBLOCK != 0;
        change.is_test = flags & TEST_ONLY != 0;
        change.out_fences = out_fences;
        let is_test = change.is_test;
        let done = set.and_then(|()| self.commit(cx, change, program));
        if is_test || !matches!(done, Ok(Step::Done)) && !self.is_call_pending(cx.call) {
            fences
                .iter()
                .for_each(|(_, fence)| program.release_fence(*fence));
        }
        done
    }

    /// Reads the objects of a commit, each with properties and their values.
    fn read_settings(
        &self,
        cx: CallContext,
        arg: &Arg,
        program: &dyn Program,
    ) -> Result<Vec<(u32, Settings)>, Error> {
        let count = arg.u32(at!(drm_mode_atomic.count_objs));
        let objects = arg.u64(at!(drm_mode_atomic.objs_ptr));
        if count > MAX_ENTRIES {
            // Linux reads one object after the other, so a wrong one is the first error.
            for object in read_words(program, objects, FIRST_OBJECTS, "objects")? {
                self.target(cx, object, 0)?;
            }
        }
        let objects = read_words(program, objects, count, "objects")?;
        let counts = arg.u64(at!(drm_mode_atomic.count_props_ptr));
        let counts = read_words(program, counts, count, "objects")?;
        let total = counts
            .iter()
            .fold(0u32, |sum, count| sum.saturating_add(*count));
        let properties = arg.u64(at!(drm_mode_atomic.props_ptr));
        let values = arg.u64(at!(drm_mode_atomic.prop_values_ptr));
        if u64::from(total) * 8 <= MAX_ARRAY {
            // The host fetches both arrays at once.
            let announced = program.prepare_read(values, u64::from(total) * 8);
            program.prepare_read(properties, u64::from(total) * 4)?;
            announced?;
        }
        let properties = read_words(program, properties, total, "properties")?;
        let values = read_bytes(program, values, u64::from(total) * 8, "properties")?;
        let values = values
            .as_chunks::<8>()
            .0
            .iter()
            .map(|value| u64::from_ne_bytes(*value));
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
        cx: CallContext,
        objects: &[(u32, Settings)],
        (next, extras): (&mut State, &mut Extras),
        program: &mut dyn Program,
    ) -> Result<(), Error> {
        for (object, settings) in objects {
            let target = self.target(cx, *object, 0)?;
            for &(id, value) in settings {
                let found = self.property_of(target, id);
                let found = found.ok_or(Error::NoObject("property", id.into()))?;
                self.set(cx, (target, found, value), (next, extras), program)?;
            }
        }
        for plane in self.state.planes.iter().chain(&next.planes).enumerate() {
            let (at, plane) = plane;
            let touched = objects.iter().any(|(object, settings)| {
                let plane = self.planes.get(at % self.planes.len().max(1));
                !settings.is_empty() && plane.is_some_and(|plane| plane.id == *object)
            });
            if touched {
                extras.crtcs.extend(plane.crtc);
            }
        }
        Ok(())
    }

    /// Sets one property in a new state.
    fn set(
        &self,
        cx: CallContext,
        (target, found, value): (Target, &Property, u64),
        (next, extras): (&mut State, &mut Extras),
        program: &mut dyn Program,
    ) -> Result<(), Error> {
        let invalid = Err(Error::Invalid(found.name, value));
        let none = Error::NoObject("object", 0);
        if !found.accepts(value) {
            return invalid;
        }
        // CAST: `accepts` has checked the range of those that are narrower.
        let (word, signed) = (value as u32, value as i32);
        let crtc = match found.kind {
            Kind::Object(CRTC) if value != 0 => match self.find_crtc(cx.file, word) {
                Ok(crtc) => Some(crtc),
                Err(_) => return invalid,
            },
            _ => None,
        };
        match target {
            Target::Plane(at) => {
                let plane = next.planes.get_mut(at).ok_or(none)?;
                match found.id {
                    property::FB_ID => {
                        plane.fb = match value {
                            0 => None,
                            _ => Some(
                                self.find_fb(word)
                                    .map_err(|_| Error::Invalid(found.name, value))?,
                            ),
                        };
                    }
                    property::CRTC_ID => {
                        if let Some(crtc) = crtc {
                            self.check_possible(at, crtc)?;
                        }
                        plane.crtc = crtc;
                    }
                    property::IN_FENCE_FD if signed == -1 => {}
                    property::IN_FENCE_FD => {
                        if extras.fences.iter().any(|(plane, _)| *plane == at) {
                            return Err(Error::Invalid("IN_FENCE_FD (twice)", value));
                        }
                        extras.fences.push((at, program.sync_file(signed)?));
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
                extras.crtcs.insert(at);
                let crtc = next.crtcs.get_mut(at).ok_or(none)?;
                match found.id {
                    property::ACTIVE => crtc.active = value != 0,
                    property::MODE_ID => crtc.mode = self.mode_of(word)?,
                    property::OUT_FENCE_PTR if value == 0 => {}
                    property::OUT_FENCE_PTR => {
                        // A failed commit, or a test, leaves -1 there.
                        program.write(value, &(-1i32).to_ne_bytes())?;
                        extras.out_fences.retain(|(crtc, _)| *crtc != at);
                        extras.out_fences.push((at, value));
                    }
                    property::VRR_ENABLED => {}
                    property::GAMMA_LUT => crtc.gamma = self.gamma_of(word)?,
                    _ => return invalid,
                }
            }
            Target::Connector(at) => {
                let connector = next.connectors.get_mut(at).ok_or(none)?;
                match found.id {
                    property::CRTC_ID => {
                        if crtc.is_some_and(|crtc| crtc != at) {
                            return Err(Error::Invalid("CRTC_ID (not of this connector)", value));
                        }
                        extras.crtcs.extend(connector.crtc);
                        extras.crtcs.extend(crtc);
                        connector.crtc = crtc;
                        connector.dpms = if crtc.is_some() { 0 } else { 3 };
                    }
                    property::LINK_STATUS => extras.crtcs.extend(connector.crtc),
                    // DPMS belongs to the older calls.
                    _ => return invalid,
                }
            }
        }
        Ok(())
    }

    /// Returns a property of an object by its id.
    fn property_of(&self, target: Target, id: u32) -> Option<&'static Property> {
        let is_own = |plane: &Plane| plane.rotation() == id;
        let id = match target {
            Target::Plane(at) if self.planes.get(at).is_some_and(is_own) => property::ROTATION,
            _ if id == property::ROTATION => return None,
            _ => id,
        };
        Property::find(id).filter(|found| target.properties().contains(&found.id))
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

    /// Answers MODE_OBJ_SETPROPERTY and MODE_SETPROPERTY.
    pub(crate) fn set_property(
        &mut self,
        cx: CallContext,
        (object, kind, id, value): (u32, u32, u32, u64),
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let target = self.target_with_properties(cx, object, kind)?;
        let is_atomic = self.file(cx.file)?.caps.atomic;
        let found = self.property_of(target, id);
        let found = found.filter(|found| is_atomic || !found.is_atomic);
        let found = found.ok_or(Error::Invalid("property", id.into()))?;
        if let (Target::Connector(at), property::DPMS) = (target, id) {
            return self.set_dpms(cx, (at, value), program);
        }
        let (mut next, mut extras) = (self.state.clone(), Extras::default());
        self.set(
            cx,
            (target, found, value),
            (&mut next, &mut extras),
            program,
        )?;
        if let Target::Plane(at) = target {
            let old = self.state.planes.get(at).and_then(|plane| plane.crtc);
            let new = next.planes.get(at).and_then(|plane| plane.crtc);
            extras.crtcs.extend(old.into_iter().chain(new));
        }
        let mut change = Change::of(next, extras.crtcs);
        change.fences = extras.fences;
        self.commit(cx, change, program)
    }

    /// Answers MODE_CREATEPROPBLOB.
    pub(crate) fn create_blob(
        &mut self,
        cx: CallContext,
        arg: &mut Arg,
        program: &dyn Program,
    ) -> Result<Step, Error> {
        let len = arg.u32(at!(drm_mode_create_blob.length));
        if len == 0 {
            return Err(Error::Invalid("length", 0));
        }
        if self.blobs.len() >= MAX_BLOBS || len > MAX_BLOB {
            // Linux copies first, so a wrong address is the first error.
            let addr = arg.u64(at!(drm_mode_create_blob.data));
            for at in [addr, addr.saturating_add(u64::from(len) - 1)] {
                program.read(at, &mut [0])?;
            }
            return Err(Error::Full("blobs, and bytes of a blob", MAX_BLOB.into()));
        }
        let addr = arg.u64(at!(drm_mode_create_blob.data));
        let bytes = read_bytes(program, addr, len.into(), "bytes of a blob")?;
        let id = self.new_id();
        let blob = Arc::new(Blob { id, bytes });
        self.blobs.insert(id, (blob, Some(cx.file)));
        arg.set_u32(at!(drm_mode_create_blob.blob_id), id);
        Ok(Step::Done)
    }

    /// Answers MODE_DESTROYPROPBLOB.
    pub(crate) fn destroy_blob(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let id = arg.u32(0);
        let (_, of) = self
            .blobs
            .get_mut(&id)
            .ok_or(Error::NoObject("blob", id.into()))?;
        if *of != Some(cx.file) {
            return Err(Error::NotOwner("the blob"));
        }
        *of = None;
        self.orphans.insert(id);
        self.collect(program);
        Ok(Step::Done)
    }
}
