//! Calls that describe the card and its objects.

use crate::Error;
use crate::atomic::Target;
use crate::bytes::{Arg, MAX_ENTRIES, at, write_words};
use crate::card::{CallContext, Card, EDID_BLOB, Plane, Step};
use crate::edid::Edid;
use crate::host::Program;
use crate::mode::MODE_BYTES;
use crate::property::{self, BLOB, CONNECTOR, ENCODER, FB, Kind, Property};
use crate::state::PlaneKind;

/// Types of connectors and encoders: VIRTUAL.
const CONNECTOR_VIRTUAL: u32 = 15;
const ENCODER_VIRTUAL: u32 = 5;

/// Writes an array's words if the program's array has room, and their number to its field.
fn list(
    arg: &mut Arg,
    (ptr, count): (usize, usize),
    ids: &[u32],
    program: &mut dyn Program,
) -> Result<(), Error> {
    let room = arg.u32(count);
    let total = write_words(program, arg.u64(ptr), room, ids)?;
    arg.set_u32(count, total);
    Ok(())
}

/// Writes ids up to the room in the program's array, and their whole number to its field.
fn list_some(
    arg: &mut Arg,
    (ptr, count): (usize, usize),
    ids: &[u32],
    program: &mut dyn Program,
) -> Result<(), Error> {
    let room = arg.u32(count).min(MAX_ENTRIES) as usize;
    let given = ids.get(..room.min(ids.len())).unwrap_or_default();
    // CAST: bounded by the tables.
    write_words(program, arg.u64(ptr), given.len() as u32, given)?;
    arg.set_u32(count, ids.len() as u32);
    Ok(())
}

impl Card {
    /// Answers MODE_GETRESOURCES.
    pub(crate) fn get_resources(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let visible = |ids: Vec<u32>| -> Vec<u32> {
            ids.into_iter()
                .filter(|id| self.may_see(cx.file, *id))
                .collect()
        };
        let own = self
            .framebuffers
            .iter()
            .filter(|(_, (_, of))| *of == Some(cx.file));
        let lists = [
            (
                at!(drm_mode_card_res.fb_id_ptr),
                at!(drm_mode_card_res.count_fbs),
                own.map(|(id, _)| *id).collect(),
            ),
            (
                at!(drm_mode_card_res.crtc_id_ptr),
                at!(drm_mode_card_res.count_crtcs),
                visible(self.crtcs.clone()),
            ),
            (
                at!(drm_mode_card_res.encoder_id_ptr),
                at!(drm_mode_card_res.count_encoders),
                self.connectors.iter().map(|c| c.encoder).collect(),
            ),
            (
                at!(drm_mode_card_res.connector_id_ptr),
                at!(drm_mode_card_res.count_connectors),
                visible(self.connectors.iter().map(|c| c.id).collect::<Vec<_>>()),
            ),
        ];
        for (ptr, count, ids) in lists {
            list_some(arg, (ptr, count), &ids, program)?;
        }
        let (least, most) = crate::framebuffer::SIZES;
        arg.set_u32(at!(drm_mode_card_res.min_width), least);
        arg.set_u32(at!(drm_mode_card_res.min_height), least);
        arg.set_u32(at!(drm_mode_card_res.max_width), most);
        arg.set_u32(at!(drm_mode_card_res.max_height), most);
        Ok(Step::Done)
    }

    /// Answers MODE_GETCRTC.
    pub(crate) fn get_crtc(&self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let crtc = self.find_crtc(cx.file, arg.u32(at!(drm_mode_crtc.crtc_id)))?;
        let plane = self.plane_of(crtc, PlaneKind::Primary)?;
        let plane = self.state.planes.get(plane);
        let state = self.state.crtcs.get(crtc);
        let fb = plane
            .and_then(|plane| plane.fb.as_ref())
            .map_or(0, |fb| fb.id);
        let source = plane.map_or_else(Default::default, |plane| plane.source);
        arg.set_u32(at!(drm_mode_crtc.fb_id), fb);
        arg.set_u32(at!(drm_mode_crtc.x), source.x >> 16);
        arg.set_u32(at!(drm_mode_crtc.y), source.y >> 16);
        arg.set_u32(at!(drm_mode_crtc.gamma_size), crate::gamma::ENTRIES);
        let mode = state
            .and_then(|state| state.mode.as_ref())
            .map(|set| set.mode.0);
        arg.set_u32(at!(drm_mode_crtc.mode_valid), mode.is_some().into());
        if let Some(mode) = mode {
            arg.set_bytes(at!(drm_mode_crtc.mode), mode);
        }
        Ok(Step::Done)
    }

    /// Answers MODE_GETENCODER.
    pub(crate) fn get_encoder(&self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let id = arg.u32(at!(drm_mode_get_encoder.encoder_id));
        let found = self
            .connectors
            .iter()
            .position(|connector| connector.encoder == id);
        let at = found.ok_or(Error::NoObject("encoder", id.into()))?;
        let crtc = self
            .state
            .connectors
            .get(at)
            .and_then(|connector| connector.crtc);
        let crtc = crtc.and_then(|crtc| self.crtcs.get(crtc)).copied();
        let crtc = crtc
            .filter(|crtc| self.may_see(cx.file, *crtc))
            .unwrap_or(0);
        arg.set_u32(at!(drm_mode_get_encoder.encoder_type), ENCODER_VIRTUAL);
        arg.set_u32(at!(drm_mode_get_encoder.crtc_id), crtc);
        arg.set_u32(at!(drm_mode_get_encoder.possible_crtcs), 1 << at);
        arg.set_u32(at!(drm_mode_get_encoder.possible_clones), 1 << at);
        Ok(Step::Done)
    }

    /// Answers MODE_GETCONNECTOR. Only the master's call with no room for modes probes for them.
    pub(crate) fn get_connector(
        &mut self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let at = self.find_connector(cx.file, arg.u32(at!(drm_mode_get_connector.connector_id)))?;
        let room = arg.u32(at!(drm_mode_get_connector.count_modes));
        let is_master = self.is_master(cx.file);
        let connector = self
            .connectors
            .get_mut(at)
            .ok_or(Error::NoObject("connector", 0))?;
        connector.is_probed |= room == 0 && is_master;
        let connector = *connector;
        let modes = match connector.is_probed && connector.is_connected {
            true => self.config.modes.as_slice(),
            false => &[],
        };
        // CAST: a card has few modes.
        let count = modes.len() as u32;
        if room >= count && count > 0 {
            let bytes: Vec<u8> = modes.iter().flat_map(|mode| mode.0).collect();
            program.write(arg.u64(at!(drm_mode_get_connector.modes_ptr)), &bytes)?;
        }
        arg.set_u32(at!(drm_mode_get_connector.count_modes), count);
        let field = (
            at!(drm_mode_get_connector.encoders_ptr),
            at!(drm_mode_get_connector.count_encoders),
        );
        list(arg, field, &[connector.encoder], program)?;
        let fields = [
            at!(drm_mode_get_connector.props_ptr),
            at!(drm_mode_get_connector.prop_values_ptr),
            at!(drm_mode_get_connector.count_props),
        ];
        self.list_properties(cx, Target::Connector(at), (arg, fields), program)?;
        let crtc = self
            .state
            .connectors
            .get(at)
            .and_then(|connector| connector.crtc);
        let encoder = if crtc.is_some() { connector.encoder } else { 0 };
        arg.set_u32(at!(drm_mode_get_connector.encoder_id), encoder);
        arg.set_u32(
            at!(drm_mode_get_connector.connector_type),
            CONNECTOR_VIRTUAL,
        );
        // CAST: a card has few connectors.
        arg.set_u32(at!(drm_mode_get_connector.connector_type_id), at as u32 + 1);
        let status = if connector.is_connected { 1 } else { 2 };
        arg.set_u32(at!(drm_mode_get_connector.connection), status);
        let edid = self.edid_of(at);
        let (width, height) = edid.map_or((0, 0), Edid::size_mm);
        arg.set_u32(at!(drm_mode_get_connector.mm_width), width);
        arg.set_u32(at!(drm_mode_get_connector.mm_height), height);
        arg.set_u32(at!(drm_mode_get_connector.subpixel), 0);
        arg.set_u32(at!(drm_mode_get_connector.pad), 0);
        Ok(Step::Done)
    }

    /// Returns the value of an object's property.
    fn value(&self, target: Target, id: u32) -> u64 {
        let crtc_id = |crtc: Option<usize>| crtc.and_then(|crtc| self.crtcs.get(crtc)).copied();
        let crtc_id = |crtc| u64::from(crtc_id(crtc).unwrap_or(0));
        match target {
            Target::Plane(at) => {
                let (Some(plane), Some(state)) = (self.planes.get(at), self.state.planes.get(at))
                else {
                    return 0;
                };
                let signed = |value: i32| i64::from(value).cast_unsigned();
                match id {
                    property::TYPE => plane.kind as u64,
                    property::FB_ID => state.fb.as_ref().map_or(0, |fb| fb.id).into(),
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
                let state = self.state.crtcs.get(at);
                match id {
                    property::ACTIVE => state.is_some_and(|state| state.active).into(),
                    property::MODE_ID => {
                        let mode = state.and_then(|state| state.mode.as_ref());
                        mode.map_or(0, |mode| mode.blob.id).into()
                    }
                    property::GAMMA_LUT => {
                        let gamma = state.and_then(|state| state.gamma.as_ref());
                        gamma.map_or(0, |blob| blob.id).into()
                    }
                    property::GAMMA_LUT_SIZE => crate::gamma::ENTRIES.into(),
                    _ => 0,
                }
            }
            Target::Connector(at) => {
                let state = self.state.connectors.get(at).copied().unwrap_or_default();
                match id {
                    // As on Linux, the property is On until a program turns the connector off.
                    property::DPMS => state.dpms,
                    property::CRTC_ID => crtc_id(state.crtc),
                    property::EDID => self.edid_of(at).map_or(0, |_| EDID_BLOB.into()),
                    _ => 0,
                }
            }
        }
    }

    /// Lists an object's properties and values. `fields` are the offsets of two pointers and a count.
    fn list_properties(
        &self,
        cx: CallContext,
        target: Target,
        (arg, [ids, values, count]): (&mut Arg, [usize; 3]),
        program: &mut dyn Program,
    ) -> Result<(), Error> {
        let is_atomic = self.file(cx.file)?.caps.atomic;
        let all = target
            .properties()
            .iter()
            .filter_map(|id| Property::find(*id));
        let all: Vec<_> = all
            .filter(|property| is_atomic || !property.is_atomic)
            .filter(|property| property.id != property::EDID || self.config.edid.is_some())
            .collect();
        // CAST: an object has few properties.
        let (total, room) = (all.len() as u32, arg.u32(count));
        for (at, property) in all.iter().take(room as usize).enumerate() {
            let value = self.value(target, property.id);
            let at = at as u64;
            let id = match target {
                Target::Plane(at) if property.id == property::ROTATION => {
                    self.planes.get(at).map_or(0, Plane::rotation)
                }
                _ => property.id,
            };
            program.write(arg.u64(ids).saturating_add(4 * at), &id.to_ne_bytes())?;
            program.write(arg.u64(values).saturating_add(8 * at), &value.to_ne_bytes())?;
        }
        arg.set_u32(count, total);
        Ok(())
    }

    /// Answers MODE_OBJ_GETPROPERTIES.
    pub(crate) fn get_properties(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let id = arg.u32(at!(drm_mode_obj_get_properties.obj_id));
        let kind = arg.u32(at!(drm_mode_obj_get_properties.obj_type));
        let target = self.target_with_properties(cx, id, kind)?;
        let fields = [
            at!(drm_mode_obj_get_properties.props_ptr),
            at!(drm_mode_obj_get_properties.prop_values_ptr),
            at!(drm_mode_obj_get_properties.count_props),
        ];
        self.list_properties(cx, target, (arg, fields), program)?;
        Ok(Step::Done)
    }

    /// Finds an object with properties, as [`target`](Self::target) does. Other objects have none (EINVAL).
    pub(crate) fn target_with_properties(
        &self,
        cx: CallContext,
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
            false => self.target(cx, id, kind),
        }
    }

    /// Answers MODE_GETPROPERTY.
    pub(crate) fn get_property(
        &self,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let id = arg.u32(at!(drm_mode_get_property.prop_id));
        let is_turn = self.planes.iter().any(|plane| plane.rotation() == id);
        let found = Property::find(if is_turn { property::ROTATION } else { id });
        let property = found.ok_or(Error::NoObject("property", id.into()))?;
        arg.set_bytes(at!(drm_mode_get_property.name), padded::<32>(property.name));
        arg.set_u32(at!(drm_mode_get_property.flags), property.flags());
        let values = property.values();
        // CAST: a property has few values.
        let room = arg.u32(at!(drm_mode_get_property.count_values));
        if room as usize >= values.len() && !values.is_empty() {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_ne_bytes())
                .collect();
            program.write(arg.u64(at!(drm_mode_get_property.values_ptr)), &bytes)?;
        }
        arg.set_u32(at!(drm_mode_get_property.count_values), values.len() as u32);
        let names = match property.kind {
            Kind::Enum(names) | Kind::Bits(names) => names,
            _ => &[],
        };
        let room = arg.u32(at!(drm_mode_get_property.count_enum_blobs));
        if room as usize >= names.len() && !names.is_empty() {
            let rows = (0u64..).zip(names);
            let bytes: Vec<u8> = rows
                .flat_map(|(value, name)| [&value.to_ne_bytes()[..], &padded::<32>(name)].concat())
                .collect();
            program.write(arg.u64(at!(drm_mode_get_property.enum_blob_ptr)), &bytes)?;
        }
        arg.set_u32(
            at!(drm_mode_get_property.count_enum_blobs),
            names.len() as u32,
        );
        Ok(Step::Done)
    }

    /// Answers MODE_GETPROPBLOB.
    pub(crate) fn get_blob(&self, arg: &mut Arg, program: &mut dyn Program) -> Result<Step, Error> {
        let id = arg.u32(at!(drm_mode_get_blob.blob_id));
        let (blob, _) = self
            .blobs
            .get(&id)
            .ok_or(Error::NoObject("blob", id.into()))?;
        // CAST: blobs are bounded.
        let len = blob.bytes.len() as u32;
        if arg.u32(at!(drm_mode_get_blob.length)) == len {
            program.write(arg.u64(at!(drm_mode_get_blob.data)), &blob.bytes)?;
        }
        arg.set_u32(at!(drm_mode_get_blob.length), len);
        Ok(Step::Done)
    }

    /// Answers MODE_GETPLANERESOURCES: overlays only, unless the file asked for all planes.
    pub(crate) fn get_plane_resources(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let is_universal = self.file(cx.file)?.caps.universal;
        let planes = self.planes.iter();
        let planes = planes.filter(|plane| is_universal || plane.kind == PlaneKind::Overlay);
        let ids = planes
            .map(|plane| plane.id)
            .filter(|id| self.may_see(cx.file, *id));
        let ids: Vec<u32> = ids.collect();
        let fields = (
            at!(drm_mode_get_plane_res.plane_id_ptr),
            at!(drm_mode_get_plane_res.count_planes),
        );
        list_some(arg, fields, &ids, program)?;
        Ok(Step::Done)
    }

    /// Answers MODE_GETPLANE.
    pub(crate) fn get_plane(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let at = self.find_plane(cx.file, arg.u32(at!(drm_mode_get_plane.plane_id)))?;
        let (Some(plane), Some(state)) = (self.planes.get(at), self.state.planes.get(at)) else {
            return Err(Error::NoObject("plane", at as u64));
        };
        let crtc = state.crtc.and_then(|crtc| self.crtcs.get(crtc)).copied();
        let crtc = crtc
            .filter(|crtc| self.may_see(cx.file, *crtc))
            .unwrap_or(0);
        arg.set_u32(at!(drm_mode_get_plane.crtc_id), crtc);
        arg.set_u32(
            at!(drm_mode_get_plane.fb_id),
            state.fb.as_ref().map_or(0, |fb| fb.id),
        );
        arg.set_u32(at!(drm_mode_get_plane.possible_crtcs), 1 << plane.crtc);
        arg.set_u32(at!(drm_mode_get_plane.gamma_size), 0);
        let codes: Vec<u32> = self.formats.iter().map(|format| format.code).collect();
        let fields = (
            at!(drm_mode_get_plane.format_type_ptr),
            at!(drm_mode_get_plane.count_format_types),
        );
        list(arg, fields, &codes, program)?;
        Ok(Step::Done)
    }

    /// Answers MODE_SETPROPERTY, of connectors only, and MODE_OBJ_SETPROPERTY.
    pub(crate) fn set_by_name(
        &mut self,
        cx: CallContext,
        (arg, is_old): (&Arg, bool),
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let wanted = match is_old {
            true => (
                arg.u32(at!(drm_mode_connector_set_property.connector_id)),
                CONNECTOR,
                arg.u32(at!(drm_mode_connector_set_property.prop_id)),
                arg.u64(at!(drm_mode_connector_set_property.value)),
            ),
            false => (
                arg.u32(at!(drm_mode_obj_set_property.obj_id)),
                arg.u32(at!(drm_mode_obj_set_property.obj_type)),
                arg.u32(at!(drm_mode_obj_set_property.prop_id)),
                arg.u64(at!(drm_mode_obj_set_property.value)),
            ),
        };
        self.set_property(cx, wanted, program)
    }
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from;
    }
    bytes
}

const _: () = assert!(MODE_BYTES == 68);
