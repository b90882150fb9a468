//! A card: its objects, and what programs have made of it.

use crate::Error;
use crate::buffer::Buffer;
use crate::edid::Edid;
use crate::file::{File, Master};
use crate::format::Format;
use crate::framebuffer::Framebuffer;
use crate::host::{BufferId, FileId, Memory};
use crate::mode::Mode;
use crate::state::{Blob, ConnectorState, CrtcState, PlaneKind, PlaneState, State};
use crate::vblank::Vblank;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum numbers of framebuffers, blobs, and files of a card.
pub(crate) const MAX_FRAMEBUFFERS: usize = 65536;
pub(crate) const MAX_BLOBS: usize = 16384;
pub(crate) const MAX_FILES: usize = 4096;

/// The properties of a card.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The driver's name, by which programs choose what they do: `vkms`, `rockchip`, ….
    pub driver: String,
    /// The driver's description.
    pub description: String,
    /// The name of the card's device on its bus, after SET_VERSION.
    pub unique: String,
    /// Codes of the pixel formats of all planes.
    pub formats: Vec<u32>,
    /// The modes of each connector; the first one is preferred.
    pub modes: Vec<Mode>,
    /// Number of connectors, each with its own CRTC and planes: 1 to 8.
    pub connectors: usize,
    /// Number of overlay planes of each CRTC: up to 8.
    pub overlays: usize,
    /// Whether planes scale, up to eight times and down to an eighth.
    pub scales: bool,
    /// Each line of a framebuffer begins at a multiple of this many bytes.
    pub pitch_align: u32,
    /// Whether a commit is shown at once, rather than at the next vblank.
    pub is_free: bool,
    /// What monitors say of themselves.
    pub edid: Option<Edid>,
}

/// A plane as an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    pub(crate) id: u32,
    pub(crate) kind: PlaneKind,
    pub(crate) crtc: usize,
}

impl Plane {
    /// Number of ids of a plane: its own, and those that the functions below return.
    const IDS: u32 = 3;

    /// Returns the id of the blob of the property IN_FORMATS.
    pub(crate) const fn formats_blob(&self) -> u32 {
        self.id + 1
    }

    /// Returns the id of the plane's property `rotation`, which stands for [`ROTATION`](crate::property::ROTATION).
    pub(crate) const fn rotation(&self) -> u32 {
        self.id + 2
    }
}

/// A connector as an object, with its encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector {
    pub(crate) id: u32,
    pub(crate) encoder: u32,
    pub(crate) is_connected: bool,
    /// Whether the modes are known, since somebody has probed them: with monitors, Linux's console does when it starts.
    pub(crate) is_probed: bool,
    /// The CRTC that may drive it.
    pub(crate) crtc: usize,
    /// Whether it writes the CRTC's picture to memory, rather than to a monitor.
    pub(crate) is_writeback: bool,
}

/// A simulated display card.
#[derive(Debug, Default)]
pub struct Card {
    pub(crate) config: Config,
    pub(crate) formats: Vec<&'static Format>,
    pub(crate) planes: Vec<Plane>,
    pub(crate) crtcs: Vec<u32>,
    /// The monitors' connectors, then the writeback connectors, both in the order of CRTCs.
    pub(crate) connectors: Vec<Connector>,
    /// First id of what all writeback connectors have in common: three properties, and the blob of formats.
    pub(crate) writeback_ids: u32,
    pub(crate) state: State,
    pub(crate) vblanks: Vec<Vblank>,
    /// Number of the last fence of each timeline: those of CRTCs, then those of their writeback connectors.
    pub(crate) last_fences: Vec<u64>,
    /// The planes as the screen shows them.
    pub(crate) shown: Vec<PlaneState>,
    /// What CRTCs show, until the host takes it.
    pub(crate) outputs: BTreeMap<usize, crate::shown::Shown>,
    /// Framebuffers, with the file that may remove each. Those without a file live while a plane shows them.
    pub(crate) framebuffers: BTreeMap<u32, (Arc<Framebuffer>, Option<FileId>)>,
    pub(crate) blobs: BTreeMap<u32, (Arc<Blob>, Option<FileId>)>,
    /// Ids of framebuffers and blobs without a file.
    pub(crate) orphans: BTreeSet<u32>,
    pub(crate) buffers: BTreeMap<BufferId, Buffer>,
    /// Buffers by mmap offset in bytes, and by global name.
    pub(crate) offsets: BTreeMap<u64, BufferId>,
    pub(crate) names: BTreeMap<u32, BufferId>,
    pub(crate) next_offset: u64,
    pub(crate) next_id: u32,
    pub(crate) files: BTreeMap<FileId, File>,
    pub(crate) next_file: u64,
    pub(crate) masters: BTreeMap<u32, Master>,
    pub(crate) master: Option<u32>,
    pub(crate) next_master: u32,
    pub(crate) next_magic: u32,
    /// Calls that wait, by the host's number.
    pub(crate) waits: BTreeMap<u64, crate::vblank::Wait>,
    /// Files whose poll state or waiting call may have changed.
    pub(crate) changed: BTreeSet<FileId>,
}

/// First id of framebuffers and blobs of programs.
const FIRST_FREE_ID: u32 = 47;
/// First id of planes: those below are of properties.
const FIRST_PLANE: u32 = 32;
/// The blob of all monitors' EDID.
pub(crate) const EDID_BLOB: u32 = 31;

impl Card {
    /// Makes a card whose screen is off.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let connectors = config.connectors.clamp(1, 8);
        let overlays = config.overlays.min(8);
        let formats = config.formats.iter();
        let formats: Vec<_> = formats.filter_map(|code| Format::find(*code)).collect();
        let mut id = FIRST_PLANE;
        let mut next = |step: u32| {
            let this = id;
            id += step;
            this
        };
        let (mut planes, mut crtcs) = (Vec::new(), Vec::new());
        for crtc in 0..connectors {
            let kinds = [PlaneKind::Primary].into_iter();
            let kinds = kinds.chain((0..overlays).map(|_| PlaneKind::Overlay));
            for kind in kinds.chain([PlaneKind::Cursor]) {
                let id = next(Plane::IDS);
                planes.push(Plane { id, kind, crtc });
            }
            crtcs.push(next(1));
        }
        let connector = |(id, encoder), crtc, is_writeback: bool| Connector {
            id,
            encoder,
            is_connected: true,
            is_probed: !is_writeback,
            crtc,
            is_writeback,
        };
        let count = connectors;
        let mut connectors = Vec::new();
        for crtc in 0..count {
            connectors.push(connector((next(1), next(1)), crtc, false));
        }
        let mut writeback_ids = 0;
        for crtc in 0..count {
            let encoder = next(1);
            if crtc == 0 {
                writeback_ids = next(4);
            }
            connectors.push(connector((next(1), encoder), crtc, true));
        }
        let next_id = next(0).max(FIRST_FREE_ID);
        let mut this = Self {
            state: State {
                planes: vec![PlaneState::default(); planes.len()],
                crtcs: vec![CrtcState::default(); crtcs.len()],
                connectors: vec![ConnectorState::default(); connectors.len()],
            },
            shown: vec![PlaneState::default(); planes.len()],
            vblanks: crtcs.iter().map(|_| Vblank::default()).collect(),
            last_fences: vec![0; 2 * crtcs.len()],
            writeback_ids,
            config,
            formats,
            planes,
            crtcs,
            connectors,
            next_offset: crate::buffer::FIRST_OFFSET,
            next_id,
            ..Self::default()
        };
        let bytes = this.formats_bytes();
        for plane in &this.planes {
            let id = plane.formats_blob();
            let blob = Arc::new(Blob {
                id,
                bytes: bytes.clone(),
            });
            // A blob of the driver: no file may destroy it, and it is not an orphan.
            this.blobs.insert(id, (blob, None));
        }
        let formats = this.formats.iter().filter(|format| format.is_rgb());
        let formats = formats.flat_map(|format| format.code.to_ne_bytes());
        let formats = (this.writeback_ids + 3, formats.collect());
        let edid = this.config.edid.as_ref();
        let edid = edid.map(|edid| (EDID_BLOB, edid.bytes().to_vec()));
        for (id, bytes) in [formats].into_iter().chain(edid) {
            this.blobs.insert(id, (Arc::new(Blob { id, bytes }), None));
        }
        this
    }

    /// Returns the blob IN_FORMATS: `struct drm_format_modifier_blob` with all formats, all linear.
    fn formats_bytes(&self) -> Vec<u8> {
        // CAST: a card has few formats.
        let count = self.formats.len() as u32;
        let modifiers_at = (24 + 4 * count).next_multiple_of(8);
        let header = [1, 0, count, 24, 1, modifiers_at];
        let codes = self.formats.iter().map(|format| format.code);
        let words = header.into_iter().chain(codes);
        let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
        // CAST: bounded by the number of formats.
        bytes.resize(modifiers_at as usize, 0);
        bytes.extend(((1u64 << count) - 1).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(crate::format::LINEAR.to_ne_bytes());
        bytes
    }

    /// Returns the card's properties.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Plugs a monitor into a connector, counted from zero, or unplugs it. Returns false if nothing changes.
    ///
    /// CRTCs stay as they are: as on Linux, programs turn them on and off. The host sends the uevent by which programs
    /// learn of the change.
    pub fn plug(&mut self, connector: usize, comes: bool) -> bool {
        let found = self.connectors.get_mut(connector);
        let found = found.filter(|of| of.is_connected != comes && !of.is_writeback);
        found.map(|found| found.is_connected = comes).is_some()
    }

    /// Returns the id of each connector, and whether a monitor is plugged into it.
    pub fn connectors(&self) -> impl Iterator<Item = (u32, bool)> {
        let connectors = self.connectors.iter().filter(|of| !of.is_writeback);
        connectors.map(|of| (of.id, of.is_connected))
    }

    /// Returns the id of each writeback connector.
    pub fn writebacks(&self) -> impl Iterator<Item = u32> {
        let connectors = self.connectors.iter().filter(|of| of.is_writeback);
        connectors.map(|of| of.id)
    }

    /// Returns whether a CRTC drives a connector.
    #[must_use]
    pub fn is_enabled(&self, connector: usize) -> bool {
        let state = self.state.connectors.get(connector);
        state.is_some_and(|state| state.crtc.is_some())
    }

    pub(crate) fn edid_of(&self, connector: usize) -> Option<&Edid> {
        let connector = self.connectors.get(connector);
        let edid = self.config.edid.as_ref();
        edid.filter(|_| connector.is_some_and(|of| of.is_connected && !of.is_writeback))
    }

    /// Returns an unused id for a framebuffer or blob.
    pub(crate) fn new_id(&mut self) -> u32 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(FIRST_FREE_ID + 64);
            let mut connectors = self.connectors.iter();
            let is_object = self.crtcs.contains(&id)
                || self.planes.iter().any(|plane| plane.id == id)
                || connectors.any(|c| c.id == id || c.encoder == id);
            if !is_object && !self.framebuffers.contains_key(&id) && !self.blobs.contains_key(&id) {
                return id;
            }
        }
    }

    /// Makes a blob of the driver, which lives while the state names it.
    pub(crate) fn new_blob(&mut self, bytes: Vec<u8>) -> Arc<Blob> {
        let id = self.new_id();
        let blob = Arc::new(Blob { id, bytes });
        self.blobs.insert(id, (Arc::clone(&blob), None));
        self.orphans.insert(id);
        blob
    }

    pub(crate) fn file(&self, file: FileId) -> Result<&File, Error> {
        self.files.get(&file).ok_or(Error::NoObject("file", file.0))
    }

    pub(crate) fn file_mut(&mut self, file: FileId) -> Result<&mut File, Error> {
        let found = self.files.get_mut(&file);
        found.ok_or(Error::NoObject("file", file.0))
    }

    /// Returns a file's master.
    pub(crate) fn master_of(&self, file: FileId) -> Option<&Master> {
        self.masters.get(&self.files.get(&file)?.master)
    }

    /// Returns whether the file may see an object: all objects, or only those of its lease.
    pub(crate) fn may_see(&self, file: FileId, id: u32) -> bool {
        let lease = self.master_of(file).and_then(|of| of.lease.as_ref());
        lease.is_none_or(|lease| lease.contains(&id))
    }

    pub(crate) fn find_crtc(&self, file: FileId, id: u32) -> Result<usize, Error> {
        self.find(file, ("CRTC", id), self.crtcs.iter().copied())
    }

    pub(crate) fn find_plane(&self, file: FileId, id: u32) -> Result<usize, Error> {
        self.find(file, ("plane", id), self.planes.iter().map(|of| of.id))
    }

    pub(crate) fn find_connector(&self, file: FileId, id: u32) -> Result<usize, Error> {
        let all = self.connectors.iter().map(|of| of.id);
        self.find(file, ("connector", id), all)
    }

    /// Finds an object among those of its type, if the file may see it.
    fn find(
        &self,
        file: FileId,
        (what, id): (&'static str, u32),
        mut all: impl Iterator<Item = u32>,
    ) -> Result<usize, Error> {
        let found = all.position(|of| of == id);
        let found = found.filter(|_| self.may_see(file, id));
        found.ok_or(Error::NoObject(what, id.into()))
    }

    /// Returns the id of a CRTC, or zero for none and for one that the file may not see.
    pub(crate) fn crtc_id(&self, file: FileId, crtc: Option<usize>) -> u32 {
        let id = crtc.map_or(0, |crtc| self.crtcs[crtc]);
        if self.may_see(file, id) { id } else { 0 }
    }

    pub(crate) fn find_fb(&self, id: u32) -> Result<Arc<Framebuffer>, Error> {
        let found = self.framebuffers.get(&id).map(|(fb, _)| Arc::clone(fb));
        found.ok_or(Error::NoObject("framebuffer", id.into()))
    }

    /// Checks that a lessee's lease contains a plane that a call uses without naming it.
    pub(crate) fn check_leased(&self, file: FileId, plane: usize) -> Result<(), Error> {
        match self.may_see(file, self.planes[plane].id) {
            true => Ok(()),
            false => Err(Error::NoAccess("the CRTC's plane is not in the lease")),
        }
    }

    /// Returns the primary or cursor plane of a CRTC.
    pub(crate) fn plane_of(&self, crtc: usize, kind: PlaneKind) -> Result<usize, Error> {
        let is_it = |plane: &Plane| plane.crtc == crtc && plane.kind == kind;
        let found = self.planes.iter().position(is_it);
        found.ok_or(Error::Unsupported("such plane"))
    }

    /// Removes framebuffers and blobs that nothing names any more, and returns their buffers to the host.
    pub fn collect(&mut self, memory: &mut dyn Memory) {
        let orphans = core::mem::take(&mut self.orphans);
        for id in orphans {
            let is_used = |count: usize| count > 1;
            if let Some((fb, None)) = self.framebuffers.get(&id) {
                if is_used(Arc::strong_count(fb)) {
                    self.orphans.insert(id);
                } else if let Some((fb, _)) = self.framebuffers.remove(&id) {
                    for plane in &fb.planes {
                        self.put_buffer(plane.buffer, memory);
                    }
                }
            } else if let Some((blob, None)) = self.blobs.get(&id) {
                if is_used(Arc::strong_count(blob)) {
                    self.orphans.insert(id);
                } else {
                    self.blobs.remove(&id);
                }
            }
        }
    }
}
