//! The mutable state of a media graph: links, pad formats and streams.
//!
//! Source: Linux 7.2 drivers/media/mc/mc-entity.c, drivers/media/v4l2-core/v4l2-subdev.c, and the
//! drivers in drivers/media/test-drivers/vimc.

use super::sensor::{Flipping, Flips, Sensor};
use super::topology::{EntitySpec, Follows, LinkSpec, PadSpec, Topology};
use crate::pads::{MbusFormat, Pads};
use crate::{Colorimetry, Error, Format, FourCc, Rect, cid, sys};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `V4L2_COLORSPACE_DCI_P3`, the last one.
const LAST_COLORSPACE: u32 = 12;
const EBUSY: i32 = 16;
const EPIPE: i32 = 32;

/// A refused STREAMON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Linux's errno.
    pub errno: i32,
    /// The reason, and a remedy.
    pub sentence: String,
}

#[derive(Debug)]
struct Running {
    owner: usize,
    /// The owner (a video node), and all entities that enabled links connect with it.
    members: BTreeSet<usize>,
    /// Entities through which frames pass, the video node last.
    path: Vec<usize>,
}

#[derive(Debug)]
struct State {
    /// Whether each link is enabled, by index of the link.
    enabled: Vec<bool>,
    /// Active state of each entity's pads, by index of the entity.
    pads: Vec<Pads>,
    running: Vec<Running>,
    /// Values of controls, by the entity's index and the control's id.
    controls: BTreeMap<(usize, u32), i64>,
}

/// A media graph that its nodes share.
#[derive(Clone, Debug)]
pub struct MediaGraph {
    topology: &'static Topology,
    state: Arc<Mutex<State>>,
}

/// Two handles are equal if they share one state.
impl PartialEq for MediaGraph {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

impl Eq for MediaGraph {}

/// Formats a pad and its format for a message.
struct Shown<'a>(&'a Topology, usize, u16, MbusFormat);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(topology, entity, pad, format) = self;
        let (name, is_video) = topology.entities.get(*entity).map_or(("", false), |spec| {
            (spec.name, spec.pads.iter().all(|pad| pad.codes.is_empty()))
        });
        let (width, height) = (format.width, format.height);
        write!(f, "\"{name}\":{pad} has ")?;
        match is_video {
            true => write!(f, "{}", FourCc(format.code))?,
            false => write!(f, "bus code {:#06x}", format.code)?,
        }
        write!(f, " {width}x{height}")
    }
}

/// Replaces unknown colorimetry by the default.
#[must_use]
pub fn clamp_colors(color: Colorimetry) -> Colorimetry {
    match color.colorspace {
        1..=LAST_COLORSPACE => color.with_known_parts(),
        _ => Colorimetry::default(),
    }
}

impl MediaGraph {
    /// Returns a graph in its initial state.
    #[must_use]
    pub fn new(topology: &'static Topology) -> Self {
        let enabled = topology.links.iter();
        let enabled = enabled.map(|link| link.flags & sys::MEDIA_LNK_FL_ENABLED != 0);
        let state = State {
            enabled: enabled.collect(),
            pads: (topology.entities.iter())
                .map(|entity| initial(topology, entity))
                .collect(),
            running: Vec::new(),
            controls: BTreeMap::new(),
        };
        Self {
            topology,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the table that describes the graph.
    #[must_use]
    pub const fn topology(&self) -> &'static Topology {
        self.topology
    }

    /// Returns an entity's row of the table.
    #[must_use]
    pub fn entity(&self, entity: usize) -> Option<&'static EntitySpec> {
        self.topology.entities.get(entity)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the initial state of an entity's pads.
    #[must_use]
    pub fn initial(&self, entity: usize) -> Option<Pads> {
        let mut pads = initial(self.topology, self.entity(entity)?);
        let flips = self.flips(entity);
        let formats = pads.formats.iter_mut();
        formats.for_each(|format| format.code = flips.mirrored(format.code));
        Some(pads)
    }

    /// Returns the active state of an entity's pads.
    #[must_use]
    pub fn pads(&self, entity: usize) -> Option<Pads> {
        let pads = self.lock().pads.get(entity).cloned()?;
        Some(self.flipped(entity, pads))
    }

    /// Returns `pads` of an entity with the bus codes that they have while the entity mirrors its frames as now.
    /// Changes nothing unless the bus codes follow the controls at once ([`Flipping::AtOnce`]).
    pub(crate) fn flipped(&self, entity: usize, mut pads: Pads) -> Pads {
        let state = self.lock();
        let formats = pads.formats.iter_mut().enumerate();
        formats.for_each(|(pad, format)| state.flip(self.topology, (entity, pad), format));
        pads
    }

    /// Sets the active state of an entity's pads, and with it a sensor's blanking.
    ///
    /// # Errors
    /// EBUSY while frames pass through the entity, if the graph has `fixed_while_streaming`.
    pub fn set_pads(&self, entity: usize, pads: Pads) -> Result<(), Error> {
        let mut state = self.lock();
        if self.topology.fixed_while_streaming && state.is_streaming(entity) {
            return Err(Error::Busy);
        }
        let now = state.pads.get_mut(entity).ok_or(Error::Invalid)?;
        let last = std::mem::replace(now, pads);
        if let Some(sensor) = self.entity(entity).and_then(|spec| spec.sensor) {
            state.reset_blanking(entity, sensor, &last);
        }
        Ok(())
    }

    /// Sets the format of a video node.
    ///
    /// # Errors
    /// As [`set_pads`](Self::set_pads).
    pub fn set_video(&self, entity: usize, format: &Format) -> Result<(), Error> {
        let mut pads = self.pads(entity).ok_or(Error::Invalid)?;
        if let Some(pad) = pads.formats.first_mut() {
            *pad = MbusFormat {
                width: format.width,
                height: format.height,
                code: format.fourcc.0,
                color: format.color,
            };
        }
        self.set_pads(entity, pads)
    }

    /// Returns the value of a control of an entity.
    #[must_use]
    pub fn control(&self, entity: usize, id: u32) -> Option<i64> {
        self.lock().controls.get(&(entity, id)).copied()
    }

    /// Stores the value of an entity's control, for drivers of other nodes.
    pub fn set_control(&self, entity: usize, id: u32, value: i64) {
        self.lock().controls.insert((entity, id), value);
    }

    /// Returns how an entity mirrors its frames now.
    #[must_use]
    pub fn flips(&self, entity: usize) -> Flips {
        self.lock().flips(self.topology, entity)
    }

    /// Returns whether frames pass through an entity.
    #[must_use]
    pub fn is_streaming(&self, entity: usize) -> bool {
        self.lock().is_streaming(entity)
    }

    /// Returns the bus code that the pad uses if a program asks for `wanted`.
    fn nearest_code(&self, entity: usize, spec: &PadSpec, wanted: u32) -> u32 {
        let has_flips = flipping(self.topology, entity) != Flipping::Never;
        let is_wanted =
            |code: &&u32| **code == wanted || has_flips && Flips::may_change(**code, wanted);
        let code = spec.codes.iter().find(is_wanted);
        self.flips(entity).mirrored(*code.unwrap_or(&spec.code))
    }

    /// Changes `pads` of an entity to the allowed format nearest to `wanted`, and returns that format.
    pub fn set_format(
        &self,
        entity: usize,
        pads: &mut Pads,
        (pad, wanted): (usize, MbusFormat),
    ) -> Option<MbusFormat> {
        let specs = self.entity(entity)?.pads;
        let spec = specs.get(pad)?;
        let now = *pads.formats.get(pad)?;
        let sensor = self.entity(entity).and_then(|spec| spec.sensor);
        let mode = sensor.and_then(|sensor| sensor.nearest(wanted.width, wanted.height));
        let (width, height) = match mode {
            Some(mode) => mode.size,
            None => self.topology.nearest_size(wanted.width, wanted.height),
        };
        let format = match spec.follows {
            Follows::Size | Follows::Everything => return Some(now),
            Follows::Code => MbusFormat {
                width,
                height,
                ..now
            },
            Follows::Nothing => MbusFormat {
                width,
                height,
                code: self.nearest_code(entity, spec, wanted.code),
                color: match mode {
                    Some(_) => self.topology.default.color,
                    None => clamp_colors(wanted.color),
                },
            },
        };
        if spec.follows == Follows::Nothing && pad == 0 {
            pads.crop = mode.map_or_else(|| format.whole(), |mode| mode.crop);
            for (other, spec) in pads.formats.iter_mut().zip(specs) {
                match spec.follows {
                    Follows::Nothing => {}
                    Follows::Size => {
                        *other = MbusFormat {
                            code: other.code,
                            ..format
                        }
                    }
                    Follows::Code | Follows::Everything => *other = format,
                }
            }
        }
        *pads.formats.get_mut(pad)? = format;
        Some(format)
    }

    /// Changes the crop rectangle of `pads` to the nearest possible one, and returns it.
    pub fn set_crop(&self, pads: &mut Pads, wanted: Rect) -> Option<Rect> {
        let bounds = pads.formats.first()?;
        let fit = |at: i32, len: u32, (least, _): (u32, u32), most: u32| {
            let len = len.max(least).min(most);
            let last = i64::from(most - len);
            // CAST: the value is at most `last`, which is below the largest size.
            (i64::from(at).clamp(0, last) as i32, len)
        };
        let (left, width) = fit(wanted.left, wanted.width, self.topology.width, bounds.width);
        let (top, height) = fit(
            wanted.top,
            wanted.height,
            self.topology.height,
            bounds.height,
        );
        pads.crop = Rect {
            left,
            top,
            width,
            height,
        };
        Some(pads.crop)
    }

    /// Returns the flags of a link by its index.
    #[must_use]
    pub fn link_flags(&self, link: usize) -> Option<u32> {
        let spec = self.topology.links.get(link)?;
        let is_enabled = *self.lock().enabled.get(link)?;
        Some(match is_enabled {
            true => spec.flags | sys::MEDIA_LNK_FL_ENABLED,
            false => spec.flags & !sys::MEDIA_LNK_FL_ENABLED,
        })
    }

    /// Sets the flags of a link.
    ///
    /// # Errors
    /// EINVAL for flags that cannot change. EBUSY while the pipeline of either entity streams, unless the link is
    /// dynamic. If the topology's pads are exclusive, also EBUSY for enabling a second link at a pad.
    ///
    /// Source: Linux 7.2 `__media_entity_setup_link`; `csid_link_setup` and the like for exclusive pads.
    pub fn set_link(&self, link: usize, flags: u32) -> Result<(), Error> {
        let now = self.link_flags(link).ok_or(Error::Invalid)?;
        if flags == now {
            return Ok(());
        }
        let changed = flags ^ now;
        if changed != sys::MEDIA_LNK_FL_ENABLED || now & sys::MEDIA_LNK_FL_IMMUTABLE != 0 {
            return Err(Error::Invalid);
        }
        let spec = self.topology.links.get(link).ok_or(Error::Invalid)?;
        let mut state = self.lock();
        let is_busy = |running: &Running| {
            running.members.contains(&spec.source.0) || running.members.contains(&spec.sink.0)
        };
        let mut enabled = state.enabled(self.topology);
        let is_taken = self.topology.exclusive_pads
            && flags & sys::MEDIA_LNK_FL_ENABLED != 0
            && enabled.any(|other| other.source == spec.source || other.sink == spec.sink);
        drop(enabled);
        if is_taken || now & sys::MEDIA_LNK_FL_DYNAMIC == 0 && state.running.iter().any(is_busy) {
            return Err(Error::Busy);
        }
        if let Some(enabled) = state.enabled.get_mut(link) {
            *enabled = flags & sys::MEDIA_LNK_FL_ENABLED != 0;
        }
        Ok(())
    }

    /// Starts the pipeline of a video node, and returns the entities through which frames pass.
    /// The source is the first of them and the video node the last.
    ///
    /// # Errors
    /// EBUSY if a member of the pipeline streams for another node. EPIPE for a link between pads of
    /// different formats, or if no source is connected.
    ///
    /// Source: Linux 7.2 `__media_pipeline_start`, `vimc_streamer_pipeline_init`.
    pub fn start(&self, entity: usize) -> Result<Vec<usize>, Refused> {
        let mut state = self.lock();
        let members = state.connected(self.topology, entity);
        let name = |entity: usize| self.entity(entity).map_or("", |spec| spec.name);
        let taken = |running: &&Running| !running.members.is_disjoint(&members);
        if let Some(other) = state.running.iter().find(taken) {
            let sentence = format!(
                "\"{}\" cannot stream, because \"{}\" already streams from the same pipeline; stop \
                 that stream first, or disable the link between them",
                name(entity),
                name(other.owner)
            );
            return Err(Refused {
                errno: EBUSY,
                sentence,
            });
        }
        state.validate(self.topology, &members)?;
        let path = state.path(self.topology, entity).ok_or_else(|| Refused {
            errno: EPIPE,
            sentence: format!(
                "\"{}\" cannot stream, because no enabled link connects it to a source; enable one \
                 with media-ctl -l",
                name(entity)
            ),
        })?;
        state.running.push(Running {
            owner: entity,
            members,
            path: path.clone(),
        });
        Ok(path)
    }

    /// Stops the pipeline of a video node, if it runs.
    pub fn stop(&self, entity: usize) {
        self.lock()
            .running
            .retain(|running| running.owner != entity);
    }
}

/// Returns the initial state of an entity's pads.
fn initial(topology: &Topology, entity: &EntitySpec) -> Pads {
    let format = |code| MbusFormat {
        code,
        ..topology.default
    };
    Pads {
        formats: entity.pads.iter().map(|pad| format(pad.code)).collect(),
        crop: entity
            .sensor
            .map_or_else(|| topology.default.whole(), |sensor| sensor.initial.crop),
    }
}

/// Returns how controls mirror an entity's frames.
fn flipping(topology: &Topology, entity: usize) -> Flipping {
    let sensor = topology.entities.get(entity).and_then(|spec| spec.sensor);
    sensor.map_or(Flipping::Never, |sensor| sensor.flipping)
}

impl State {
    fn is_streaming(&self, entity: usize) -> bool {
        (self.running.iter()).any(|running| running.path.contains(&entity))
    }

    fn flips(&self, topology: &Topology, entity: usize) -> Flips {
        let has_flips = flipping(topology, entity) != Flipping::Never;
        let is_set =
            |id| has_flips && (self.controls.get(&(entity, id))).is_some_and(|value| *value != 0);
        Flips {
            horizontal: is_set(cid::HFLIP),
            vertical: is_set(cid::VFLIP),
        }
    }

    /// Gives the format of a pad the bus code of the frames as they are mirrored now, if the pad's bus code changes
    /// with the controls ([`Flipping::AtOnce`]).
    fn flip(&self, topology: &Topology, (entity, pad): (usize, usize), format: &mut MbusFormat) {
        let spec = topology.entities.get(entity);
        let spec = spec.and_then(|spec| spec.pads.get(pad));
        if let (Some(spec), Flipping::AtOnce) = (spec, flipping(topology, entity)) {
            format.code = self.flips(topology, entity).mirrored(spec.code);
        }
    }

    /// Sets a sensor's blanking after S_FMT of the active format, even if the format did not change.
    ///
    /// Source: Linux 7.2 `imx219_set_pad_format`, `ov5647_set_pad_fmt`.
    fn reset_blanking(&mut self, entity: usize, sensor: &'static Sensor, last: &Pads) {
        let mode = |pads: &Pads| {
            let format = pads.formats.first()?;
            sensor.nearest(format.width, format.height)
        };
        let (Some(last), Some(now)) = (mode(last), self.pads.get(entity).and_then(mode)) else {
            return;
        };
        let hblank = self.controls.get(&(entity, cid::HBLANK)).copied();
        let hblank = hblank.unwrap_or_else(|| last.hblank());
        let kept = match sensor.keeps_line {
            true => i64::from(last.size.0) + hblank - i64::from(now.size.0),
            false => hblank,
        };
        let (least, most) = sensor.hblanks(now);
        let kept = kept.clamp(least, most);
        self.controls.insert((entity, cid::HBLANK), kept);
        self.controls.insert((entity, cid::VBLANK), now.vblank());
    }

    fn enabled<'a>(
        &'a self,
        topology: &'static Topology,
    ) -> impl Iterator<Item = &'static LinkSpec> + 'a {
        let all = topology.links.iter().zip(&self.enabled);
        all.filter(|(_, enabled)| **enabled).map(|(link, _)| link)
    }

    /// Returns an entity and all entities that enabled links connect with it, in either direction.
    fn connected(&self, topology: &'static Topology, entity: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([entity]);
        loop {
            let before = found.len();
            for link in self.enabled(topology) {
                let ends = [link.source.0, link.sink.0];
                if ends.iter().any(|end| found.contains(end)) {
                    found.extend(ends);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    fn format(&self, topology: &Topology, (entity, pad): (usize, u16)) -> Option<MbusFormat> {
        let pad = usize::from(pad);
        let mut format = *self.pads.get(entity)?.formats.get(pad)?;
        self.flip(topology, (entity, pad), &mut format);
        Some(format)
    }

    /// Compares the formats at both ends of the enabled links of a pipeline.
    fn validate(
        &self,
        topology: &'static Topology,
        members: &BTreeSet<usize>,
    ) -> Result<(), Refused> {
        let links = self.enabled(topology);
        for link in links.filter(|link| members.contains(&link.sink.0)) {
            let [source, sink] = [link.source, link.sink].map(|end| self.format(topology, end));
            let (Some(source), Some(sink)) = (source, sink) else {
                continue;
            };
            if agree(topology, &source, &sink) {
                continue;
            }
            let differ = match fits(topology, &source, &sink) {
                true => "colors",
                false => "formats",
            };
            let source = Shown(topology, link.source.0, link.source.1, source);
            let sink = Shown(topology, link.sink.0, link.sink.1, sink);
            return Err(Refused {
                errno: EPIPE,
                sentence: format!(
                    "the {differ} at the ends of a link differ: {source}, but {sink}; set them alike \
                     with media-ctl -V or VIDIOC_SUBDEV_S_FMT (VIDIOC_S_FMT at a video node)"
                ),
            });
        }
        Ok(())
    }

    /// Returns the entities from a source to a video node; `None` if no source is connected.
    fn path(&self, topology: &'static Topology, video: usize) -> Option<Vec<usize>> {
        let mut path = vec![video];
        let mut here = video;
        loop {
            let pads = topology.entities.get(here)?.pads.iter();
            let mut sinks = pads.filter(|pad| pad.flags & sys::MEDIA_PAD_FL_SINK != 0);
            if sinks.next().is_none() {
                path.reverse();
                return Some(path);
            }
            let link = self.enabled(topology).find(|link| link.sink.0 == here)?;
            here = link.source.0;
            if path.contains(&here) {
                return None;
            }
            path.push(here);
        }
    }
}

/// Returns whether a link's ends fit: both have the same size, and the sink has the source's bus code or, at a video
/// node, the pixel format that stores this bus code.
fn fits(topology: &Topology, source: &MbusFormat, sink: &MbusFormat) -> bool {
    (source.width, source.height) == (sink.width, sink.height)
        && (source.code == sink.code || topology.pixel_of(source.code) == Some(FourCc(sink.code)))
}

/// Returns whether a link with these formats at its ends may stream.
///
/// Source: Linux 7.2 `v4l2_subdev_link_validate_default`, `vimc_vdev_link_validate`, `video_check_format` of
/// camss-video.c.
fn agree(topology: &Topology, source: &MbusFormat, sink: &MbusFormat) -> bool {
    if !fits(topology, source, sink) {
        return false;
    }
    let (from, to) = (source.color, sink.color);
    let alike = |from: u32, to: u32| from == 0 || to == 0 || from == to;
    !topology.compares_colors
        || source.code == sink.code
        || alike(from.colorspace, to.colorspace)
            && (from.colorspace == 0
                || to.colorspace == 0
                || alike(from.ycbcr_enc, to.ycbcr_enc)
                    && alike(from.quantization, to.quantization)
                    && alike(from.xfer_func, to.xfer_func))
}
