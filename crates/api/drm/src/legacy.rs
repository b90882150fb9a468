//! The calls from before atomic commits: SETCRTC, PAGE_FLIP, SETPLANE, CURSOR, DPMS, and framebuffers.

use crate::Error;
use crate::bytes::{Arg, at, read_words};
use crate::card::{CallContext, Card, MAX_FRAMEBUFFERS, Step};
use crate::commit::Change;
use crate::format::{Format, LINEAR};
use crate::framebuffer::{Framebuffer, FramebufferPlane, MODIFIERS, Wanted};
use crate::host::Program;
use crate::mode::{MODE_BYTES, Mode};
use crate::state::{PlaneKind, PlaneState, Rect, SetMode, Source};
use std::sync::Arc;

impl Card {
    /// Makes a framebuffer of a file.
    fn add_fb(&mut self, cx: CallContext, wanted: &Wanted) -> Result<u32, Error> {
        let format = wanted.check(&self.formats, self.config.pitch_align)?;
        if self.framebuffers.len() >= MAX_FRAMEBUFFERS {
            return Err(Error::Full("framebuffers", MAX_FRAMEBUFFERS as u64));
        }
        let mut planes = Vec::new();
        for plane in 0..format.bytes.len() {
            let buffer = self.buffer_of(cx.file, wanted.handles[plane])?;
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
        let &Wanted {
            width,
            height,
            flags,
            ..
        } = wanted;
        let fb = Arc::new(Framebuffer {
            id,
            width,
            height,
            format,
            planes,
            flags,
        });
        self.framebuffers.insert(id, (fb, Some(cx.file)));
        Ok(id)
    }

    /// Answers MODE_ADDFB.
    pub(crate) fn add_fb1(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let bpp = arg.u32(at!(drm_mode_fb_cmd.bpp));
        let format = Format::of_depth(bpp, arg.u32(at!(drm_mode_fb_cmd.depth)))?;
        let wanted = Wanted {
            width: arg.u32(at!(drm_mode_fb_cmd.width)),
            height: arg.u32(at!(drm_mode_fb_cmd.height)),
            code: format.code,
            flags: 0,
            handles: [arg.u32(at!(drm_mode_fb_cmd.handle)), 0, 0, 0],
            pitches: [arg.u32(at!(drm_mode_fb_cmd.pitch)), 0, 0, 0],
            offsets: [0; 4],
            modifiers: [0; 4],
        };
        let id = self.add_fb(cx, &wanted)?;
        arg.set_u32(at!(drm_mode_fb_cmd.fb_id), id);
        Ok(Step::Done)
    }

    /// Answers MODE_ADDFB2.
    pub(crate) fn add_fb2(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let words = |at: usize| core::array::from_fn(|plane| arg.u32(at + 4 * plane));
        let wanted = Wanted {
            width: arg.u32(at!(drm_mode_fb_cmd2.width)),
            height: arg.u32(at!(drm_mode_fb_cmd2.height)),
            code: arg.u32(at!(drm_mode_fb_cmd2.pixel_format)),
            flags: arg.u32(at!(drm_mode_fb_cmd2.flags)),
            handles: words(at!(drm_mode_fb_cmd2.handles)),
            pitches: words(at!(drm_mode_fb_cmd2.pitches)),
            offsets: words(at!(drm_mode_fb_cmd2.offsets)),
            modifiers: core::array::from_fn(|p| arg.u64(at!(drm_mode_fb_cmd2.modifier) + 8 * p)),
        };
        let id = self.add_fb(cx, &wanted)?;
        arg.set_u32(at!(drm_mode_fb_cmd2.fb_id), id);
        Ok(Step::Done)
    }

    /// Answers MODE_RMFB and MODE_CLOSEFB. CLOSEFB leaves the framebuffer on the screen.
    pub(crate) fn rm_fb(
        &mut self,
        cx: CallContext,
        (id, keeps): (u32, bool),
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let found = self
            .framebuffers
            .get_mut(&id)
            .filter(|(_, of)| *of == Some(cx.file));
        let (_, of) = found.ok_or(Error::NoObject("framebuffer of this file", id.into()))?;
        if keeps {
            *of = None;
            self.orphans.insert(id);
            self.collect(program);
        } else {
            self.remove_fb(id, program);
        }
        Ok(Step::Done)
    }

    /// Answers MODE_GETFB. Only the master and privileged processes get a handle.
    pub(crate) fn get_fb(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let fb = self.find_fb(arg.u32(at!(drm_mode_fb_cmd.fb_id)))?;
        let [plane] = fb.planes.as_slice() else {
            return Err(Error::Invalid(
                "framebuffer with planes",
                fb.planes.len() as u64,
            ));
        };
        let handle = match self.is_master_or_root(cx.file) {
            true => self.new_handle(cx.file, plane.buffer)?,
            false => 0,
        };
        let bpp = fb.format.bytes.first().map_or(0, |bytes| bytes * 8);
        arg.set_u32(at!(drm_mode_fb_cmd.width), fb.width);
        arg.set_u32(at!(drm_mode_fb_cmd.height), fb.height);
        arg.set_u32(at!(drm_mode_fb_cmd.pitch), plane.pitch);
        arg.set_u32(at!(drm_mode_fb_cmd.bpp), bpp);
        arg.set_u32(at!(drm_mode_fb_cmd.depth), fb.format.depth);
        arg.set_u32(at!(drm_mode_fb_cmd.handle), handle);
        Ok(Step::Done)
    }

    /// Answers MODE_GETFB2.
    pub(crate) fn get_fb2(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let fb = self.find_fb(arg.u32(at!(drm_mode_fb_cmd2.fb_id)))?;
        let shows = self.is_master_or_root(cx.file);
        arg.set_u32(at!(drm_mode_fb_cmd2.width), fb.width);
        arg.set_u32(at!(drm_mode_fb_cmd2.height), fb.height);
        arg.set_u32(at!(drm_mode_fb_cmd2.pixel_format), fb.format.code);
        arg.set_u32(at!(drm_mode_fb_cmd2.flags), fb.flags | MODIFIERS);
        let mut seen = Vec::new();
        for at in 0..4 {
            let plane = fb.planes.get(at);
            let handle = match plane.filter(|_| shows) {
                None => 0,
                Some(plane) => {
                    // Planes in one buffer get one handle.
                    let known = seen.iter().find(|(buffer, _)| *buffer == plane.buffer);
                    let handle = match known {
                        Some((_, handle)) => *handle,
                        None => self.new_handle(cx.file, plane.buffer)?,
                    };
                    seen.push((plane.buffer, handle));
                    handle
                }
            };
            let (pitch, offset) = plane.map_or((0, 0), |plane| (plane.pitch, plane.offset));
            arg.set_u32(at!(drm_mode_fb_cmd2.handles) + 4 * at, handle);
            arg.set_u32(at!(drm_mode_fb_cmd2.pitches) + 4 * at, pitch);
            // CAST: it came from 32 bits.
            arg.set_u32(at!(drm_mode_fb_cmd2.offsets) + 4 * at, offset as u32);
            arg.set_u64(at!(drm_mode_fb_cmd2.modifier) + 8 * at, LINEAR);
        }
        Ok(Step::Done)
    }

    /// Answers MODE_SETCRTC.
    pub(crate) fn set_crtc(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let (x, y) = (arg.u32(at!(drm_mode_crtc.x)), arg.u32(at!(drm_mode_crtc.y)));
        for at in [x, y] {
            // 1/65536 pixels must fit.
            if at & 0xffff_0000 != 0 {
                return Err(Error::Range("x or y", at.into()));
            }
        }
        let crtc = self.find_crtc(cx.file, arg.u32(at!(drm_mode_crtc.crtc_id)))?;
        let primary = self.plane_of(crtc, PlaneKind::Primary)?;
        if arg.u32(at!(drm_mode_crtc.mode_valid)) != 0 {
            self.check_leased(cx, primary)?;
        }
        let count = arg.u32(at!(drm_mode_crtc.count_connectors));
        let mut next = self.state.clone();
        let mode = match arg.u32(at!(drm_mode_crtc.mode_valid)) {
            0 => None,
            _ => {
                let id = arg.u32(at!(drm_mode_crtc.fb_id));
                let fb = match id {
                    u32::MAX => {
                        let current = self.state.planes.get(primary);
                        let current = current.and_then(|plane| plane.fb.clone());
                        current.ok_or(Error::Invalid("fb_id (of no framebuffer)", id.into()))?
                    }
                    id => self.find_fb(id)?,
                };
                let mode = Mode::from_bytes(arg.bytes::<MODE_BYTES>(at!(drm_mode_crtc.mode)))?;
                let plane = self.state.planes.get(primary).cloned().unwrap_or_default();
                let (across, down) = plane.turned(mode.width(), mode.height());
                for (what, end, size) in [
                    ("mode in x", x + across, fb.width),
                    ("mode in y", y + down, fb.height),
                ] {
                    if end > size {
                        let (found, limit) = (end.into(), size.into());
                        return Err(Error::Outside { what, found, limit });
                    }
                }
                Some((mode, fb))
            }
        };
        if mode.is_none() != (count == 0) {
            return Err(Error::Invalid(
                "count_connectors (with this mode_valid)",
                count.into(),
            ));
        }
        if count as usize > self.connectors.len() {
            return Err(Error::Invalid("count_connectors", count.into()));
        }
        let ids = arg.u64(at!(drm_mode_crtc.set_connectors_ptr));
        let ids = read_words(program, ids, count, "connectors")?;
        for connector in &mut next.connectors {
            if connector.crtc == Some(crtc) {
                (connector.crtc, connector.dpms) = (None, 3);
            }
        }
        for id in ids {
            let connector = self.find_connector(cx.file, id)?;
            if let Some(connector) = next.connectors.get_mut(connector) {
                (connector.crtc, connector.dpms) = (Some(crtc), 0);
            }
        }
        let (Some(of_crtc), Some(plane)) = (next.crtcs.get_mut(crtc), next.planes.get_mut(primary))
        else {
            return Err(Error::NoObject("CRTC", crtc as u64));
        };
        match mode {
            Some((mode, fb)) => {
                plane.fill(crtc, fb, &mode, (x, y));
                let same = of_crtc.mode.as_ref().filter(|set| set.mode == mode);
                of_crtc.mode = Some(match same {
                    Some(same) => same.clone(),
                    None => {
                        let blob = self.new_blob(mode.0.to_vec());
                        SetMode { blob, mode }
                    }
                });
                of_crtc.active = true;
            }
            None => {
                (of_crtc.mode, of_crtc.active) = (None, false);
                *plane = PlaneState {
                    source: plane.source,
                    ..plane.off()
                };
            }
        }
        self.commit(cx, Change::of(next, [crtc]), program)
    }

    /// Answers MODE_PAGE_FLIP.
    pub(crate) fn page_flip(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let flags = arg.u32(at!(drm_mode_crtc_page_flip.flags));
        if flags & !1 != 0 {
            return Err(Error::Invalid("flags (only EVENT)", flags.into()));
        }
        let reserved = arg.u32(at!(drm_mode_crtc_page_flip.reserved));
        if reserved != 0 {
            return Err(Error::Invalid("reserved", reserved.into()));
        }
        let crtc = self.find_crtc(cx.file, arg.u32(at!(drm_mode_crtc_page_flip.crtc_id)))?;
        let primary = self.plane_of(crtc, PlaneKind::Primary)?;
        self.check_leased(cx, primary)?;
        let mut next = self.state.clone();
        let fb = self.find_fb(arg.u32(at!(drm_mode_crtc_page_flip.fb_id)));
        let plane = next
            .planes
            .get_mut(primary)
            .filter(|plane| plane.fb.is_some());
        let Some(plane) = plane else {
            return Err(Error::Busy("the CRTC shows no framebuffer"));
        };
        let fb = fb?;
        for (what, at, len, size) in [
            (
                "shown part in x",
                plane.source.x,
                plane.source.width,
                fb.width,
            ),
            (
                "shown part in y",
                plane.source.y,
                plane.source.height,
                fb.height,
            ),
        ] {
            let (found, limit) = ((u64::from(at) + u64::from(len)) >> 16, size.into());
            if found > limit {
                return Err(Error::Outside { what, found, limit });
            }
        }
        if plane.fb.as_ref().is_some_and(|old| old.format != fb.format) {
            return Err(Error::Invalid(
                "framebuffer's format (differs from the shown one)",
                fb.format.code.into(),
            ));
        }
        plane.fb = Some(fb);
        if !self.state.crtcs.get(crtc).is_some_and(|crtc| crtc.active) {
            return Err(Error::Invalid("flip of a CRTC that is off", crtc as u64));
        }
        let mut change = Change::of(next, [crtc]);
        change.is_nonblocking = true;
        change.event = (flags & 1 != 0).then(|| arg.u64(at!(drm_mode_crtc_page_flip.user_data)));
        self.commit(cx, change, program)
    }

    /// Answers MODE_SETPLANE.
    pub(crate) fn set_plane(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let at = self.find_plane(cx.file, arg.u32(at!(drm_mode_set_plane.plane_id)))?;
        let fb = match arg.u32(at!(drm_mode_set_plane.fb_id)) {
            0 => None,
            id => Some(self.find_fb(id)?),
        };
        let mut next = self.state.clone();
        let plane = next
            .planes
            .get_mut(at)
            .ok_or(Error::NoObject("plane", at as u64))?;
        let was_on = plane.crtc;
        let crtc = match fb {
            None => {
                *plane = plane.off();
                was_on
            }
            Some(fb) => {
                let crtc = self.find_crtc(cx.file, arg.u32(at!(drm_mode_set_plane.crtc_id)))?;
                self.check_possible(at, crtc)?;
                *plane = PlaneState {
                    rotation: plane.rotation,
                    fb: Some(fb),
                    crtc: Some(crtc),
                    source: Source {
                        x: arg.u32(at!(drm_mode_set_plane.src_x)),
                        y: arg.u32(at!(drm_mode_set_plane.src_y)),
                        width: arg.u32(at!(drm_mode_set_plane.src_w)),
                        height: arg.u32(at!(drm_mode_set_plane.src_h)),
                    },
                    target: Rect {
                        x: arg.i32(at!(drm_mode_set_plane.crtc_x)),
                        y: arg.i32(at!(drm_mode_set_plane.crtc_y)),
                        width: arg.u32(at!(drm_mode_set_plane.crtc_w)),
                        height: arg.u32(at!(drm_mode_set_plane.crtc_h)),
                    },
                };
                plane.check(self.config.scales)?;
                Some(crtc)
            }
        };
        if self
            .planes
            .get(at)
            .is_some_and(|plane| plane.kind == PlaneKind::Cursor)
        {
            let state = plane.clone();
            self.touch(at, state, crtc);
            self.collect(program);
            return Ok(Step::Done);
        }
        self.commit(cx, Change::of(next, crtc), program)
    }

    pub(crate) fn check_possible(&self, plane: usize, crtc: usize) -> Result<(), Error> {
        match self
            .planes
            .get(plane)
            .is_some_and(|plane| plane.crtc == crtc)
        {
            true => Ok(()),
            false => Err(Error::Invalid(
                "CRTC that the plane cannot use",
                crtc as u64,
            )),
        }
    }

    /// Changes a cursor plane without waiting for a commit. The screen changes at the next vblank.
    fn touch(&mut self, at: usize, state: PlaneState, crtc: Option<usize>) {
        let is_on = crtc
            .and_then(|crtc| self.state.crtcs.get(crtc))
            .is_some_and(|crtc| crtc.active);
        if let (Some(plane), Some(shown)) = (self.state.planes.get_mut(at), self.shown.get_mut(at))
        {
            *shown = if is_on {
                state.clone()
            } else {
                PlaneState::default()
            };
            *plane = state;
        }
        if let Some(vblank) = crtc.and_then(|crtc| self.vblanks.get_mut(crtc)) {
            vblank.is_touched = vblank.is_on;
        }
    }

    /// Answers MODE_CURSOR and MODE_CURSOR2.
    pub(crate) fn cursor(
        &mut self,
        cx: CallContext,
        arg: &Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        const SET: u32 = 1;
        const MOVE: u32 = 2;
        let flags = arg.u32(at!(drm_mode_cursor.flags));
        if flags == 0 || flags & !(SET | MOVE) != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let crtc = self.find_crtc(cx.file, arg.u32(at!(drm_mode_cursor.crtc_id)))?;
        let at = self.plane_of(crtc, PlaneKind::Cursor)?;
        self.check_leased(cx, at)?;
        let mut plane = self.state.planes.get(at).cloned().unwrap_or_default();
        let mut made = None;
        if flags & SET != 0 {
            let handle = arg.u32(at!(drm_mode_cursor.handle));
            plane.fb = None;
            if handle != 0 {
                let width = arg.u32(at!(drm_mode_cursor.width));
                let wanted = Wanted {
                    width,
                    height: arg.u32(at!(drm_mode_cursor.height)),
                    code: u32::from_le_bytes(*b"AR24"),
                    flags: 0,
                    handles: [handle, 0, 0, 0],
                    pitches: [width.saturating_mul(4), 0, 0, 0],
                    offsets: [0; 4],
                    modifiers: [0; 4],
                };
                let id = self.add_fb(cx, &wanted)?;
                made = Some(id);
                plane.fb = Some(self.find_fb(id)?);
            }
        }
        if flags & MOVE != 0 {
            (plane.target.x, plane.target.y) = (
                arg.i32(at!(drm_mode_cursor.x)),
                arg.i32(at!(drm_mode_cursor.y)),
            );
        }
        let (x, y) = (plane.target.x, plane.target.y);
        match &plane.fb {
            Some(fb) => {
                let (width, height) = (fb.width, fb.height);
                plane.crtc = Some(crtc);
                plane.source = Source {
                    x: 0,
                    y: 0,
                    width: width << 16,
                    height: height << 16,
                };
                plane.target = Rect {
                    x,
                    y,
                    width,
                    height,
                };
            }
            None => {
                plane = PlaneState {
                    target: Rect {
                        x,
                        y,
                        width: 0,
                        height: 0,
                    },
                    ..plane.off()
                }
            }
        }
        if let Some(id) = made {
            // The framebuffer is the driver's own: it lives while the cursor shows it.
            if let Some((_, of)) = self.framebuffers.get_mut(&id) {
                *of = None;
            }
            self.orphans.insert(id);
        }
        if let Err(e) = plane.check(self.config.scales) {
            drop(plane);
            self.collect(program);
            return Err(e);
        }
        self.touch(at, plane, Some(crtc));
        self.collect(program);
        Ok(Step::Done)
    }

    /// Changes a connector's DPMS, which turns its CRTC on or off.
    pub(crate) fn set_dpms(
        &mut self,
        cx: CallContext,
        (connector, value): (usize, u64),
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let mut next = self.state.clone();
        let is_on = value == 0;
        let of = next
            .connectors
            .get_mut(connector)
            .ok_or(Error::NoObject("connector", 0))?;
        of.dpms = if is_on { 0 } else { 3 };
        let Some(crtc) = of.crtc else {
            self.state = next;
            return Ok(Step::Done);
        };
        let others = next
            .connectors
            .iter()
            .any(|c| c.crtc == Some(crtc) && c.dpms == 0);
        if let Some(crtc) = next.crtcs.get_mut(crtc) {
            crtc.active = crtc.mode.is_some() && (is_on || others);
        }
        self.commit(cx, Change::of(next, [crtc]), program)
    }
}
