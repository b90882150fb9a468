//! Calls that describe the card and its objects.

use crate::Error;
use crate::atomic::Target;
use crate::bytes::{at, get, set};
use crate::call::{Answer, Ioctl, Step, words};
use crate::card::{Card, EDID_BLOB};
use crate::edid::Edid;
use crate::host::FileId;
use crate::mode::MODE_BYTES;
use crate::property::{self, BLOB, ENCODER, FB, Kind, Property};
use crate::state::PlaneKind;

/// Types of connectors and encoders: VIRTUAL and WRITEBACK.
const CONNECTOR_VIRTUAL: u32 = 15;
const CONNECTOR_WRITEBACK: u32 = 18;
const ENCODER_VIRTUAL: u32 = 5;

/// Lists elements in the array of a structure, whose address and number of elements these fields have.
macro_rules! list {
    ($io:ident.$list:ident, $ty:ident: $ptr:ident $count:ident, $all:expr) => {
        $io.$list((at!($ty.$ptr), at!($ty.$count)), $all)?
    };
}

/// The fields of a structure for [`Card::list_properties`].
macro_rules! property_fields {
    ($ty:ident) => {
        [
            at!($ty.props_ptr),
            at!($ty.prop_values_ptr),
            at!($ty.count_props),
        ]
    };
}

impl Card {
    /// Answers MODE_GETRESOURCES.
    pub(crate) fn get_resources(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let visible = |id: &u32| self.may_see(io.file, *id);
        let crtcs = words(self.crtcs.iter().copied().filter(visible));
        let encoders = words(self.connectors.iter().map(|of| of.encoder));
        let shows_writeback = self.file(io.file)?.caps.writeback;
        let connectors = self.connectors.iter();
        let connectors = connectors.filter(|of| shows_writeback || !of.is_writeback);
        let connectors = connectors.map(|of| of.id).filter(visible);
        let connectors = words(connectors);
        let fbs = words(self.framebuffers_of(io.file));
        list!(io.list_some, drm_mode_card_res: fb_id_ptr count_fbs, &fbs);
        list!(io.list_some, drm_mode_card_res: crtc_id_ptr count_crtcs, &crtcs);
        list!(io.list_some, drm_mode_card_res: encoder_id_ptr count_encoders, &encoders);
        list!(io.list_some, drm_mode_card_res: connector_id_ptr count_connectors, &connectors);
        let (least, most) = crate::framebuffer::SIZES;
        set!(io.arg, drm_mode_card_res: min_width = least, min_height = least, max_width = most,
            max_height = most);
        Ok(Step::Done)
    }

    /// Answers MODE_GETCRTC.
    pub(crate) fn get_crtc(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let crtc = self.find_crtc(io.file, get!(io.arg, drm_mode_crtc: crtc_id))?;
        let plane = &self.state.planes[self.plane_of(crtc, PlaneKind::Primary)?];
        let mode = self.state.crtcs[crtc].mode.as_ref().map(|set| set.mode.0);
        set!(io.arg, drm_mode_crtc: fb_id = plane.fb_id(), x = plane.source.x >> 16,
            y = plane.source.y >> 16, gamma_size = crate::gamma::ENTRIES,
            mode_valid = mode.is_some().into());
        if let Some(mode) = mode {
            io.arg.set_bytes(at!(drm_mode_crtc.mode), mode);
        }
        Ok(Step::Done)
    }

    /// Answers MODE_GETENCODER.
    pub(crate) fn get_encoder(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = get!(io.arg, drm_mode_get_encoder: encoder_id);
        let found = self.connectors.iter().position(|of| of.encoder == id);
        let at = found.ok_or(Error::NoObject("encoder", id.into()))?;
        let crtc = self.crtc_id(io.file, self.state.connectors[at].crtc);
        // As in Linux 7.3, a picture may go to the monitor and to memory.
        let of = self.connectors[at].crtc;
        set!(io.arg, drm_mode_get_encoder: encoder_type = ENCODER_VIRTUAL, crtc_id = crtc,
            possible_crtcs = 1 << of, possible_clones = 1 << of | 1 << (of + self.crtcs.len()));
        Ok(Step::Done)
    }

    /// Answers MODE_GETCONNECTOR. Only the master's call with no room for modes probes for them.
    pub(crate) fn get_connector(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, room) = get!(io.arg, drm_mode_get_connector: connector_id, count_modes);
        let at = self.find_connector(io.file, id)?;
        self.connectors[at].is_probed |= room == 0 && self.is_master(io.file);
        let connector = self.connectors[at];
        let modes: Vec<[u8; MODE_BYTES]> = match connector.is_probed && connector.is_connected {
            true => self.config.modes.iter().map(|mode| mode.0).collect(),
            false => Vec::new(),
        };
        list!(io.list, drm_mode_get_connector: modes_ptr count_modes, &modes);
        list!(io.list, drm_mode_get_connector: encoders_ptr count_encoders, &words([connector.encoder]));
        let fields = property_fields!(drm_mode_get_connector);
        self.list_properties(io, Target::Connector(at), fields)?;
        let is_used = self.state.connectors[at].crtc.is_some();
        let (width, height) = self.edid_of(at).map_or((0, 0), Edid::size_mm);
        let (kind, status) = match (connector.is_writeback, connector.is_connected) {
            (true, _) if connector.is_probed => (CONNECTOR_WRITEBACK, 1),
            (true, _) => (CONNECTOR_WRITEBACK, 3),
            (false, is_connected) => (CONNECTOR_VIRTUAL, if is_connected { 1 } else { 2 }),
        };
        // CAST: a card has few connectors.
        set!(io.arg, drm_mode_get_connector: encoder_id = if is_used { connector.encoder } else { 0 },
            connector_type = kind, connector_type_id = connector.crtc as u32 + 1, connection = status,
            mm_width = width, mm_height = height, subpixel = 0, pad = 0);
        Ok(Step::Done)
    }

    /// Returns the value of an object's property.
    fn value(&self, target: Target, id: u32) -> u64 {
        let crtc_id = |crtc: Option<usize>| crtc.map_or(0, |crtc| self.crtcs[crtc]).into();
        match target {
            Target::Plane(at) => {
                let (plane, state) = (&self.planes[at], &self.state.planes[at]);
                let signed = |value: i32| i64::from(value).cast_unsigned();
                match id {
                    property::TYPE => plane.kind as u64,
                    property::FB_ID => state.fb_id().into(),
                    property::IN_FENCE_FD => u64::MAX,
                    property::CRTC_ID => crtc_id(state.crtc),
                    property::CRTC_X => signed(state.target.x),
                    property::CRTC_Y => signed(state.target.y),
                    property::CRTC_W => state.target.width.into(),
                    property::CRTC_H => state.target.height.into(),
                    property::SRC_X => state.source.x.into(),
                    property::SRC_Y => state.source.y.into(),
                    property::SRC_W => state.source.width.into(),
                    property::SRC_H => state.source.height.into(),
                    property::IN_FORMATS => plane.formats_blob().into(),
                    property::ROTATION => state.rotation.0.into(),
                    _ => 0,
                }
            }
            Target::Crtc(at) => {
                let state = &self.state.crtcs[at];
                match id {
                    property::ACTIVE => state.active.into(),
                    property::MODE_ID => state.mode.as_ref().map_or(0, |set| set.blob.id).into(),
                    property::GAMMA_LUT => state.gamma.as_ref().map_or(0, |blob| blob.id).into(),
                    property::GAMMA_LUT_SIZE => crate::gamma::ENTRIES.into(),
                    _ => 0,
                }
            }
            Target::Connector(at) => match id {
                // As on Linux, the property is On until a program turns the connector off.
                property::DPMS => self.state.connectors[at].dpms,
                property::CRTC_ID => crtc_id(self.state.connectors[at].crtc),
                property::EDID => self.edid_of(at).map_or(0, |_| EDID_BLOB.into()),
                property::WRITEBACK_PIXEL_FORMATS => (self.writeback_ids + 3).into(),
                _ => 0,
            },
        }
    }

    /// Returns the properties of an object.
    pub(crate) fn properties_of(&self, target: Target) -> &'static [u32] {
        match target {
            Target::Crtc(_) => property::OF_CRTC,
            Target::Plane(_) => property::OF_PLANE,
            Target::Connector(at) if self.connectors[at].is_writeback => property::OF_WRITEBACK,
            Target::Connector(_) => property::OF_CONNECTOR,
        }
    }

    /// Returns the id by which programs know a property of an object.
    fn told_id(&self, target: Target, id: u32) -> u32 {
        match (target, id) {
            (Target::Plane(at), property::ROTATION) => self.planes[at].rotation(),
            (_, property::WRITEBACK_FB_ID..=property::WRITEBACK_OUT_FENCE_PTR) => {
                self.writeback_ids + id - property::WRITEBACK_FB_ID
            }
            _ => id,
        }
    }

    /// Returns the id in [`property`] of a property that programs know by this id.
    pub(crate) fn own_id(&self, told: u32) -> Option<u32> {
        let writeback = told.wrapping_sub(self.writeback_ids);
        match told {
            _ if self.planes.iter().any(|plane| plane.rotation() == told) => {
                Some(property::ROTATION)
            }
            _ if writeback < 3 => Some(property::WRITEBACK_FB_ID + writeback),
            property::ROTATION | property::WRITEBACK_FB_ID..=property::WRITEBACK_OUT_FENCE_PTR => {
                None
            }
            id => Some(id),
        }
    }

    /// Lists an object's properties and values. `fields` are the offsets of two pointers and a count.
    fn list_properties(
        &self,
        io: &mut Ioctl<'_>,
        target: Target,
        [ids, values, count]: [usize; 3],
    ) -> Result<(), Error> {
        let is_atomic = self.file(io.file)?.caps.atomic;
        let all = self.properties_of(target).iter();
        let all = all.filter_map(|id| Property::find(*id));
        let all = all.filter(|property| is_atomic || !property.is_atomic);
        let all: Vec<_> = all
            .filter(|property| property.id != property::EDID || self.config.edid.is_some())
            .collect();
        let (ids, values) = (io.arg.u64(ids), io.arg.u64(values));
        let room = io.arg.u32(count) as usize;
        for (at, property) in (0u64..).zip(all.iter().take(room)) {
            let value = self.value(target, property.id).to_ne_bytes();
            let id = self.told_id(target, property.id);
            let (id_at, value_at) = (ids.saturating_add(4 * at), values.saturating_add(8 * at));
            io.program.write(id_at, &id.to_ne_bytes())?;
            io.program.write(value_at, &value)?;
        }
        io.arg.set_u32(count, all.len() as u32); // CAST: an object has few properties.
        Ok(())
    }

    /// Answers MODE_OBJ_GETPROPERTIES.
    pub(crate) fn get_properties(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, kind) = get!(io.arg, drm_mode_obj_get_properties: obj_id, obj_type);
        let target = self.target_with_properties(io.file, id, kind)?;
        let fields = property_fields!(drm_mode_obj_get_properties);
        self.list_properties(io, target, fields)?;
        Ok(Step::Done)
    }

    /// Finds an object with properties, as [`target`](Self::target) does. Other objects have none (EINVAL).
    pub(crate) fn target_with_properties(
        &self,
        file: FileId,
        id: u32,
        kind: u32,
    ) -> Result<Target, Error> {
        let is = |of: u32| kind == 0 || kind == of;
        let mut connectors = self.connectors.iter();
        let has_none = is(FB) && self.framebuffers.contains_key(&id)
            || is(BLOB) && self.blobs.contains_key(&id)
            || is(ENCODER) && connectors.any(|connector| connector.encoder == id);
        match has_none {
            true => Err(Error::Invalid("object without properties", id.into())),
            false => self.target(file, id, kind),
        }
    }

    /// Answers MODE_GETPROPERTY.
    pub(crate) fn get_property(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = get!(io.arg, drm_mode_get_property: prop_id);
        let found = self.own_id(id).and_then(Property::find);
        let property = found.ok_or(Error::NoObject("property", id.into()))?;
        set!(io.arg, drm_mode_get_property: name = padded(property.name), flags = property.flags());
        let values: Vec<_> = property
            .values()
            .into_iter()
            .map(u64::to_ne_bytes)
            .collect();
        list!(io.list, drm_mode_get_property: values_ptr count_values, &values);
        let names = match property.kind {
            Kind::Enum(names) | Kind::Bits(names) => names,
            _ => &[],
        };
        // Each row is the value and its name: `struct drm_mode_property_enum`.
        let rows = (0u64..).zip(names).map(|(value, name)| {
            let mut row = [0; 40];
            row[..8].copy_from_slice(&value.to_ne_bytes());
            row[8..].copy_from_slice(&padded(name));
            row
        });
        list!(io.list, drm_mode_get_property: enum_blob_ptr count_enum_blobs, &rows.collect::<Vec<_>>());
        Ok(Step::Done)
    }

    /// Answers MODE_GETPROPBLOB.
    pub(crate) fn get_blob(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, room, addr) = get!(io.arg, drm_mode_get_blob: blob_id, length, data);
        let found = self.blobs.get(&id);
        let (blob, _) = found.ok_or(Error::NoObject("blob", id.into()))?;
        // CAST: blobs are bounded.
        let len = blob.bytes.len() as u32;
        if room == len {
            io.program.write(addr, &blob.bytes)?;
        }
        set!(io.arg, drm_mode_get_blob: length = len);
        Ok(Step::Done)
    }

    /// Answers MODE_GETPLANERESOURCES: overlays only, unless the file asked for all planes.
    pub(crate) fn get_plane_resources(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let is_universal = self.file(io.file)?.caps.universal;
        let planes = self.planes.iter();
        let planes = planes.filter(|plane| is_universal || plane.kind == PlaneKind::Overlay);
        let ids = planes.map(|plane| plane.id);
        let ids = words(ids.filter(|id| self.may_see(io.file, *id)));
        list!(io.list_some, drm_mode_get_plane_res: plane_id_ptr count_planes, &ids);
        Ok(Step::Done)
    }

    /// Answers MODE_GETPLANE.
    pub(crate) fn get_plane(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let at = self.find_plane(io.file, get!(io.arg, drm_mode_get_plane: plane_id))?;
        let state = &self.state.planes[at];
        let crtc = self.crtc_id(io.file, state.crtc);
        set!(io.arg, drm_mode_get_plane: crtc_id = crtc, fb_id = state.fb_id(),
            possible_crtcs = 1 << self.planes[at].crtc, gamma_size = 0);
        let codes = words(self.formats.iter().map(|format| format.code));
        list!(io.list, drm_mode_get_plane: format_type_ptr count_format_types, &codes);
        Ok(Step::Done)
    }
}

fn padded(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().take(31).zip(text.bytes()) {
        *to = from;
    }
    bytes
}

const _: () = assert!(MODE_BYTES == 68);
