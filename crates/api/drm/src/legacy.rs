//! The calls from before atomic commits: SETCRTC, PAGE_FLIP, SETPLANE, CURSOR, DPMS, and framebuffers.

use crate::Error;
use crate::bytes::{at, get, set};
use crate::call::{Answer, Ioctl, Step};
use crate::card::{Card, MAX_FRAMEBUFFERS};
use crate::commit::Change;
use crate::format::{Format, LINEAR};
use crate::framebuffer::{Framebuffer, FramebufferPlane, MODIFIERS, Wanted};
use crate::host::FileId;
use crate::mode::{MODE_BYTES, Mode};
use crate::state::{PlaneKind, PlaneState, Rect, SetMode, Source};
use crate::vblank::Wait;
use std::sync::Arc;

impl Card {
    /// Makes a framebuffer that belongs to the calling file.
    fn add_fb(&mut self, io: &Ioctl<'_>, wanted: &Wanted) -> Result<u32, Error> {
        let format = wanted.check(&self.formats, self.config.pitch_align)?;
        if self.framebuffers.len() >= MAX_FRAMEBUFFERS {
            return Err(Error::Full("framebuffers", MAX_FRAMEBUFFERS as u64));
        }
        let mut planes = Vec::new();
        for plane in 0..format.bytes.len() {
            let buffer = self.buffer_of(io.file, wanted.handles[plane])?;
            let (found, needed) = (self.buffer_len(buffer)?, wanted.needed(format, plane));
            if found < needed {
                return Err(Error::TooSmall {
                    what: "buffer in bytes",
                    found,
                    wanted: needed,
                });
            }
            planes.push(FramebufferPlane {
                buffer,
                offset: wanted.offsets[plane].into(),
                pitch: wanted.pitches[plane],
            });
        }
        for plane in &planes {
            self.hold_buffer(plane.buffer);
        }
        let id = self.new_id();
        let fb = Arc::new(Framebuffer {
            id,
            width: wanted.width,
            height: wanted.height,
            format,
            planes,
            flags: wanted.flags,
        });
        self.framebuffers.insert(id, (fb, Some(io.file)));
        Ok(id)
    }

    /// Answers MODE_ADDFB.
    pub(crate) fn add_fb1(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (width, height, pitch, bpp, depth, handle) =
            get!(io.arg, drm_mode_fb_cmd: width, height, pitch, bpp, depth, handle);
        let code = Format::of_depth(bpp, depth)?.code;
        let wanted = Wanted::packed((width, height), code, (handle, pitch));
        let id = self.add_fb(io, &wanted)?;
        set!(io.arg, drm_mode_fb_cmd: fb_id = id);
        Ok(Step::Done)
    }

    /// Answers MODE_ADDFB2.
    pub(crate) fn add_fb2(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (width, height, code, flags) =
            get!(io.arg, drm_mode_fb_cmd2: width, height, pixel_format, flags);
        let (handles, pitches, offsets, modifiers) =
            get!(io.arg, drm_mode_fb_cmd2: handles, pitches, offsets, modifier);
        let wanted = Wanted {
            width,
            height,
            code,
            flags,
            handles,
            pitches,
            offsets,
            modifiers,
        };
        let id = self.add_fb(io, &wanted)?;
        set!(io.arg, drm_mode_fb_cmd2: fb_id = id);
        Ok(Step::Done)
    }

    /// Answers MODE_RMFB.
    pub(crate) fn rm_fb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = io.arg.u32(0);
        self.own_fb(io, id)?;
        self.remove_fb(id, io.program.memory());
        Ok(Step::Done)
    }

    /// Answers MODE_CLOSEFB, which leaves the framebuffer on the screen.
    pub(crate) fn close_fb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, pad) = get!(io.arg, drm_mode_closefb: fb_id, pad);
        if pad != 0 {
            return Err(Error::Invalid("pad", pad.into()));
        }
        *self.own_fb(io, id)? = None;
        self.orphans.insert(id);
        self.collect(io.program.memory());
        Ok(Step::Done)
    }

    /// Finds a framebuffer of the calling file.
    fn own_fb(&mut self, io: &Ioctl<'_>, id: u32) -> Result<&mut Option<FileId>, Error> {
        let found = self.framebuffers.get_mut(&id).map(|(_, of)| of);
        let found = found.filter(|of| **of == Some(io.file));
        found.ok_or(Error::NoObject("framebuffer of this file", id.into()))
    }

    /// Answers MODE_DIRTYFB.
    pub(crate) fn dirty_fb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        self.find_fb(get!(io.arg, drm_mode_fb_dirty_cmd: fb_id))?;
        Err(Error::NoFunction("DIRTYFB"))
    }

    /// Answers MODE_GETFB. Only the master and privileged processes get a handle.
    pub(crate) fn get_fb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let fb = self.find_fb(get!(io.arg, drm_mode_fb_cmd: fb_id))?;
        let [plane] = fb.planes.as_slice() else {
            let count = fb.planes.len() as u64;
            return Err(Error::Invalid("framebuffer with planes", count));
        };
        let handle = match self.is_master_or_root(io) {
            true => self.new_handle(io.file, plane.buffer)?,
            false => 0,
        };
        let bpp = fb.format.bytes.first().map_or(0, |bytes| bytes * 8);
        set!(io.arg, drm_mode_fb_cmd: width = fb.width, height = fb.height, pitch = plane.pitch,
            bpp = bpp, depth = fb.format.depth, handle = handle);
        Ok(Step::Done)
    }

    /// Answers MODE_GETFB2.
    pub(crate) fn get_fb2(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let fb = self.find_fb(get!(io.arg, drm_mode_fb_cmd2: fb_id))?;
        let shows = self.is_master_or_root(io);
        let (mut handles, mut pitches, mut offsets) = ([0; 4], [0; 4], [0; 4]);
        for (at, plane) in fb.planes.iter().enumerate() {
            // Planes in one buffer get one handle.
            let known = fb.planes.iter().position(|of| of.buffer == plane.buffer);
            handles[at] = match known {
                _ if !shows => 0,
                Some(known) if known < at => handles[known],
                _ => self.new_handle(io.file, plane.buffer)?,
            };
            // CAST: it came from 32 bits.
            (pitches[at], offsets[at]) = (plane.pitch, plane.offset as u32);
        }
        set!(io.arg, drm_mode_fb_cmd2: width = fb.width, height = fb.height,
            pixel_format = fb.format.code, flags = fb.flags | MODIFIERS, handles = handles,
            pitches = pitches, offsets = offsets, modifier = [LINEAR; 4]);
        Ok(Step::Done)
    }

    /// Answers MODE_SETCRTC.
    pub(crate) fn set_crtc(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (x, y, id, fb_id, mode_valid) =
            get!(io.arg, drm_mode_crtc: x, y, crtc_id, fb_id, mode_valid);
        for at in [x, y] {
            // A plane's source position is in units of 1/65536 pixel and must fit in 32 bits.
            if at & 0xffff_0000 != 0 {
                return Err(Error::Range("x or y", at.into()));
            }
        }
        let crtc = self.find_crtc(io.file, id)?;
        let primary = self.plane_of(crtc, PlaneKind::Primary)?;
        let mut mode = None;
        if mode_valid != 0 {
            self.check_leased(io.file, primary)?;
            let plane = &self.state.planes[primary];
            let invalid = Error::Invalid("fb_id (of no framebuffer)", fb_id.into());
            let fb = match fb_id {
                u32::MAX => plane.fb.clone().ok_or(invalid)?,
                id => self.find_fb(id)?,
            };
            let set = Mode::from_bytes(io.arg.bytes::<MODE_BYTES>(at!(drm_mode_crtc.mode)))?;
            let (across, down) = plane.turned(set.width(), set.height());
            check_within("mode in x", x + across, fb.width)?;
            check_within("mode in y", y + down, fb.height)?;
            mode = Some((set, fb));
        }
        let (ids, count) = get!(io.arg, drm_mode_crtc: set_connectors_ptr, count_connectors);
        if mode.is_none() != (count == 0) {
            let what = "count_connectors (with this mode_valid)";
            return Err(Error::Invalid(what, count.into()));
        }
        if count as usize > self.connectors.len() {
            return Err(Error::Invalid("count_connectors", count.into()));
        }
        let mut next = self.state.clone();
        for connector in &mut next.connectors {
            if connector.crtc == Some(crtc) {
                (connector.crtc, connector.dpms) = (None, 3);
            }
        }
        for id in io.words(ids, count, "connectors")? {
            let connector = &mut next.connectors[self.find_connector(io.file, id)?];
            (connector.crtc, connector.dpms) = (Some(crtc), 0);
        }
        let (of_crtc, plane) = (&mut next.crtcs[crtc], &mut next.planes[primary]);
        of_crtc.active = mode.is_some();
        match mode {
            Some((mode, fb)) => {
                plane.fill(crtc, fb, &mode, (x, y));
                if of_crtc.mode.as_ref().is_none_or(|set| set.mode != mode) {
                    let blob = self.new_blob(mode.0.to_vec());
                    of_crtc.mode = Some(SetMode { blob, mode });
                }
            }
            None => {
                of_crtc.mode = None;
                *plane = PlaneState {
                    source: plane.source,
                    ..plane.off()
                };
            }
        }
        self.commit(io, Change::of(next, [crtc]))
    }

    /// Answers MODE_PAGE_FLIP.
    pub(crate) fn page_flip(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, fb, flags, reserved, user_data) =
            get!(io.arg, drm_mode_crtc_page_flip: crtc_id, fb_id, flags, reserved, user_data);
        if flags & !1 != 0 {
            return Err(Error::Invalid("flags (only EVENT)", flags.into()));
        }
        if reserved != 0 {
            return Err(Error::Invalid("reserved", reserved.into()));
        }
        let crtc = self.find_crtc(io.file, id)?;
        let primary = self.plane_of(crtc, PlaneKind::Primary)?;
        self.check_leased(io.file, primary)?;
        let mut next = self.state.clone();
        let plane = &mut next.planes[primary];
        let Some(old) = &plane.fb else {
            return Err(Error::Busy("the CRTC shows no framebuffer"));
        };
        let fb = self.find_fb(fb)?;
        // CAST: 16 bits, after the shift.
        let end = |at: u32, len: u32| ((u64::from(at) + u64::from(len)) >> 16) as u32;
        let source = plane.source;
        check_within("shown part in x", end(source.x, source.width), fb.width)?;
        check_within("shown part in y", end(source.y, source.height), fb.height)?;
        if old.format != fb.format {
            let what = "framebuffer's format (differs from the shown one)";
            return Err(Error::Invalid(what, fb.format.code.into()));
        }
        plane.fb = Some(fb);
        if !self.state.crtcs[crtc].active {
            return Err(Error::Invalid("flip of a CRTC that is off", crtc as u64));
        }
        let change = Change {
            is_nonblocking: true,
            event: (flags & 1 != 0).then_some(user_data),
            ..Change::of(next, [crtc])
        };
        self.commit(io, change)
    }

    /// Answers MODE_SETPLANE.
    pub(crate) fn set_plane(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (plane_id, crtc_id, fb_id) = get!(io.arg, drm_mode_set_plane: plane_id, crtc_id, fb_id);
        let at = self.find_plane(io.file, plane_id)?;
        let mut next = self.state.clone();
        let plane = &mut next.planes[at];
        let mut crtc = plane.crtc;
        if fb_id == 0 {
            *plane = plane.off();
        } else {
            let fb = self.find_fb(fb_id)?;
            let new = self.find_crtc(io.file, crtc_id)?;
            self.check_possible(at, new)?;
            let (x, y, width, height) =
                get!(io.arg, drm_mode_set_plane: src_x, src_y, src_w, src_h);
            let source = Source {
                x,
                y,
                width,
                height,
            };
            let (x, y, width, height) =
                get!(io.arg, drm_mode_set_plane: crtc_x, crtc_y, crtc_w, crtc_h);
            crtc = Some(new);
            *plane = PlaneState {
                rotation: plane.rotation,
                fb: Some(fb),
                crtc,
                source,
                target: Rect::new((x, y), (width, height)),
            };
            plane.check(self.config.scales)?;
        }
        if self.planes[at].kind == PlaneKind::Cursor {
            if self.must_wait(io, crtc) {
                return Ok(Step::Wait);
            }
            let state = plane.clone();
            self.touch(at, state, crtc);
            self.collect(io.program.memory());
            return Ok(Step::Done);
        }
        self.commit(io, Change::of(next, crtc))
    }

    pub(crate) fn check_possible(&self, plane: usize, crtc: usize) -> Result<(), Error> {
        let what = "CRTC that the plane cannot use";
        match self.planes[plane].crtc == crtc {
            true => Ok(()),
            false => Err(Error::Invalid(what, crtc as u64)),
        }
    }

    /// Returns whether a cursor's call waits for the end of an earlier commit (`drm_atomic_helper_wait_for_dependencies`).
    fn must_wait(&mut self, io: &Ioctl<'_>, crtc: Option<usize>) -> bool {
        let is_pending = crtc.is_some_and(|crtc| {
            let vblank = &self.vblanks[crtc];
            vblank.pending.is_some() || !vblank.ended.is_empty()
        });
        let waits = is_pending && !io.nonblocking;
        if waits {
            self.waits.insert(io.call, Wait::Turn(io.file));
        }
        waits
    }

    /// Changes a cursor plane without waiting for a vblank. The screen changes at the next vblank.
    fn touch(&mut self, at: usize, state: PlaneState, crtc: Option<usize>) {
        let is_on = crtc.is_some_and(|crtc| self.state.crtcs[crtc].active);
        self.shown[at] = if is_on {
            state.clone()
        } else {
            PlaneState::default()
        };
        self.state.planes[at] = state;
        if let Some(crtc) = crtc {
            self.vblanks[crtc].is_touched = self.vblanks[crtc].is_on;
        }
    }

    /// Answers MODE_CURSOR and MODE_CURSOR2.
    pub(crate) fn cursor(&mut self, io: &mut Ioctl<'_>) -> Answer {
        const SET: u32 = 1;
        const MOVE: u32 = 2;
        let (flags, id, x, y) = get!(io.arg, drm_mode_cursor: flags, crtc_id, x, y);
        if flags == 0 || flags & !(SET | MOVE) != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let crtc = self.find_crtc(io.file, id)?;
        let at = self.plane_of(crtc, PlaneKind::Cursor)?;
        self.check_leased(io.file, at)?;
        if self.must_wait(io, Some(crtc)) {
            return Ok(Step::Wait);
        }
        let mut plane = self.state.planes[at].clone();
        if flags & SET != 0 {
            let (width, height, handle) = get!(io.arg, drm_mode_cursor: width, height, handle);
            plane.fb = None;
            if handle != 0 {
                let place = (handle, width.saturating_mul(4));
                let code = u32::from_le_bytes(*b"AR24");
                let id = self.add_fb(io, &Wanted::packed((width, height), code, place))?;
                plane.fb = Some(self.find_fb(id)?);
                // The framebuffer is the driver's own: it lives while the cursor shows it.
                *self.own_fb(io, id)? = None;
                self.orphans.insert(id);
            }
        }
        let old = (plane.target.x, plane.target.y);
        let place = if flags & MOVE != 0 { (x, y) } else { old };
        let size = plane.fb.as_ref().map(|fb| (fb.width, fb.height));
        if size.is_some() {
            plane.crtc = Some(crtc);
            plane.source = Source::of_pixels((0, 0), size.unwrap_or_default());
        } else {
            plane = plane.off();
        }
        plane.target = Rect::new(place, size.unwrap_or_default());
        if let Err(e) = plane.check(self.config.scales) {
            drop(plane);
            self.collect(io.program.memory());
            return Err(e);
        }
        self.touch(at, plane, Some(crtc));
        self.collect(io.program.memory());
        Ok(Step::Done)
    }

    /// Changes a connector's DPMS, which turns its CRTC on or off.
    pub(crate) fn set_dpms(
        &mut self,
        io: &mut Ioctl<'_>,
        (connector, value): (usize, u64),
    ) -> Answer {
        let mut next = self.state.clone();
        let is_on = value == 0;
        let of = &mut next.connectors[connector];
        of.dpms = if is_on { 0 } else { 3 };
        let Some(crtc) = of.crtc else {
            self.state = next;
            return Ok(Step::Done);
        };
        let mut connectors = next.connectors.iter();
        let others = connectors.any(|of| of.crtc == Some(crtc) && of.dpms == 0);
        let of = &mut next.crtcs[crtc];
        of.active = of.mode.is_some() && (is_on || others);
        self.commit(io, Change::of(next, [crtc]))
    }
}

/// Checks that something ends within a framebuffer.
fn check_within(what: &'static str, end: u32, size: u32) -> Result<(), Error> {
    let (found, limit) = (end.into(), size.into());
    match end > size {
        true => Err(Error::Outside { what, found, limit }),
        false => Ok(()),
    }
}
