//! Files, masters, authentication and leases.
//!
//! Source: Linux 6.12 drivers/gpu/drm/drm_auth.c, drm_lease.c, drm_file.c.

use crate::bytes::{Arg, MAX_ENTRIES, at, read_words};
use crate::card::{CallContext, Card, MAX_FILES, Step};
use crate::file::{Caps, EVENT_BYTES, File, Master};
use crate::host::{FileId, Memory, Program};
use crate::request::Right;
use crate::state::PlaneKind;
use crate::{Errno, Error};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl Card {
    /// Opens a file. The first file without another master becomes the master. `is_root`: the process has
    /// CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// ENOMEM (`Full`) if too many files are open.
    pub fn open(&mut self, pid: u32, is_root: bool) -> Result<FileId, Error> {
        self.check_room_for_file()?;
        let master = match self.master {
            Some(master) => (master, false),
            None => {
                let new = self.new_master(Master::default());
                self.master = Some(new);
                (new, true)
            }
        };
        Ok(self.insert_file(pid, is_root, master))
    }

    fn insert_file(&mut self, pid: u32, is_root: bool, (master, is_master): (u32, bool)) -> FileId {
        self.next_file += 1;
        let id = FileId(self.next_file);
        let file = File {
            pid,
            is_root,
            master,
            is_master,
            was_master: is_master,
            is_authenticated: is_master || is_root,
            magic: 0,
            is_magic_used: false,
            caps: Caps::default(),
            handles: BTreeMap::new(),
            by_buffer: BTreeMap::new(),
            events: VecDeque::new(),
            event_room: EVENT_BYTES,
        };
        self.files.insert(id, file);
        id
    }

    fn check_room_for_file(&self) -> Result<(), Error> {
        let has_room = self.files.len() < MAX_FILES;
        let full = Error::Full("files", MAX_FILES as u64);
        has_room.then_some(()).ok_or(full)
    }

    fn new_master(&mut self, master: Master) -> u32 {
        self.next_master = self.next_master.wrapping_add(1);
        self.masters.insert(self.next_master, master);
        self.next_master
    }

    /// Closes a file: its framebuffers, handles, blobs and pending events end; its framebuffers leave the screen.
    pub fn close(&mut self, file: FileId, memory: &mut (impl Memory + ?Sized)) {
        let own = self
            .framebuffers
            .iter()
            .filter(|(_, (_, of))| *of == Some(file));
        let own: Vec<u32> = own.map(|(id, _)| *id).collect();
        for id in own {
            self.remove_fb(id, memory);
        }
        for (id, (_, of)) in &mut self.blobs {
            if *of == Some(file) {
                *of = None;
                self.orphans.insert(*id);
            }
        }
        for vblank in &mut self.vblanks {
            vblank.forget(file);
        }
        let Some(closed) = self.files.remove(&file) else {
            return;
        };
        for id in closed.handles.into_values() {
            self.put_buffer(id, memory);
        }
        if closed.is_master {
            let of = self.masters.get(&closed.master);
            if of.is_some_and(|master| master.lessor.is_none())
                && self.master == Some(closed.master)
            {
                self.master = None;
            }
            self.revoke_lessees(closed.master);
        }
        self.release_master(closed.master);
        self.collect(memory);
    }

    /// Forgets a master that no file belongs to any more, unless it is the current one.
    fn release_master(&mut self, master: u32) {
        let has_file = self.files.values().any(|file| file.master == master);
        if !has_file && self.master != Some(master) {
            self.masters.remove(&master);
        }
    }

    /// Returns whether the file is the current master or one of its lessees (`drm_is_current_master`).
    pub(crate) fn is_master(&self, file: FileId) -> bool {
        let Some(file) = self.files.get(&file).filter(|file| file.is_master) else {
            return false;
        };
        let lessor = self
            .masters
            .get(&file.master)
            .and_then(|master| master.lessor);
        self.master == Some(lessor.unwrap_or(file.master))
    }

    /// Returns whether the file may see handles of others' framebuffers.
    pub(crate) fn is_master_or_root(&self, file: FileId) -> bool {
        self.is_master(file) || self.files.get(&file).is_some_and(|file| file.is_root)
    }

    /// Checks that a file has the right that a call needs.
    pub(crate) fn check_right(&self, cx: CallContext, right: Right) -> Result<(), Error> {
        let file = self.file(cx.file)?;
        match right {
            Right::Any => Ok(()),
            Right::Authenticated if file.is_authenticated => Ok(()),
            Right::Authenticated => Err(Error::NoAccess("the file is not authenticated")),
            Right::Master if self.is_master(cx.file) => Ok(()),
            Right::RootMaster if file.is_root && self.is_master(cx.file) => Ok(()),
            Right::Master | Right::RootMaster => Err(Error::NotMaster),
        }
    }

    /// Checks that a process may change the master by this file (`drm_master_check_perm`).
    fn check_may_change(&self, cx: CallContext, program: &dyn Program) -> Result<(), Error> {
        let file = self.file(cx.file)?;
        let is_opener = file.was_master && file.pid == program.pid();
        match is_opener || file.is_root {
            true => Ok(()),
            false => Err(Error::NoAccess(
                "only a former master or a privileged process may do this",
            )),
        }
    }

    /// Answers SET_MASTER.
    pub(crate) fn set_master(
        &mut self,
        cx: CallContext,
        program: &dyn Program,
    ) -> Result<Step, Error> {
        self.check_may_change(cx, program)?;
        if self.is_master(cx.file) {
            return Ok(Step::Done);
        }
        if self.master.is_some() {
            return Err(Error::Busy("another file is the master"));
        }
        let file = self.file(cx.file)?;
        let (of, is_master) = (file.master, file.is_master);
        let master = if is_master {
            if self
                .masters
                .get(&of)
                .is_some_and(|master| master.lessor.is_some())
            {
                return Err(Error::Invalid("SET_MASTER (of a lessee)", of.into()));
            }
            of
        } else {
            self.new_master(Master::default())
        };
        self.master = Some(master);
        let file = self.file_mut(cx.file)?;
        (file.master, file.is_master) = (master, true);
        (file.was_master, file.is_authenticated) = (true, true);
        self.release_master(of);
        Ok(Step::Done)
    }

    /// Answers DROP_MASTER.
    pub(crate) fn drop_master(
        &mut self,
        cx: CallContext,
        program: &dyn Program,
    ) -> Result<Step, Error> {
        self.check_may_change(cx, program)?;
        let of = self.file(cx.file)?.master;
        let is_lessee = self
            .masters
            .get(&of)
            .is_some_and(|master| master.lessor.is_some());
        if !self.is_master(cx.file) || is_lessee {
            return Err(Error::Invalid(
                "DROP_MASTER (of a file that is not the master)",
                of.into(),
            ));
        }
        self.master = None;
        Ok(Step::Done)
    }

    /// Answers GET_MAGIC.
    pub(crate) fn get_magic(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        if self.file(cx.file)?.magic == 0 {
            self.next_magic = self.next_magic.wrapping_add(1);
            let magic = self.next_magic;
            self.file_mut(cx.file)?.magic = magic;
        }
        arg.set_u32(0, self.file(cx.file)?.magic);
        Ok(Step::Done)
    }

    /// Answers AUTH_MAGIC. wlroots asks with zero whether it is the master: EINVAL means that it is.
    pub(crate) fn auth_magic(&mut self, cx: CallContext, arg: &Arg) -> Result<Step, Error> {
        let magic = arg.u32(0);
        let master = self.file(cx.file)?.master;
        let mut files = self.files.values_mut();
        let is_it = |file: &&mut File| {
            magic != 0 && file.magic == magic && !file.is_magic_used && file.master == master
        };
        let file = files
            .find(is_it)
            .ok_or(Error::Invalid("magic", magic.into()))?;
        file.is_authenticated = true;
        file.is_magic_used = true;
        Ok(Step::Done)
    }

    /// Answers SET_VERSION.
    pub(crate) fn set_version(&mut self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        let [major, minor] = [0, 4].map(|at| arg.i32(at));
        if major != -1 && (major != 1 || !(0..=4).contains(&minor)) {
            return Err(Error::Invalid(
                "interface version (only 1.0 to 1.4)",
                minor.cast_unsigned().into(),
            ));
        }
        let master = self.file(cx.file)?.master;
        if let Some(master) = self.masters.get_mut(&master) {
            master.has_unique |= major == 1 && minor >= 1;
        }
        let dd = [8, 12].map(|at| arg.i32(at));
        if dd[0] != -1 && (dd[0] != 1 || dd[1] != 0) {
            return Err(Error::Invalid(
                "driver version (only 1.0)",
                dd[0].cast_unsigned().into(),
            ));
        }
        for (at, value) in (0..).step_by(4).zip([1, 4, 1, 0]) {
            arg.set_u32(at, value);
        }
        Ok(Step::Done)
    }

    /// Answers GET_UNIQUE: empty until the master has called SET_VERSION. libdrm relies on that.
    pub(crate) fn get_unique(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let master = self.masters.get(&self.file(cx.file)?.master);
        let unique = match master.is_some_and(|master| master.has_unique) {
            true => self.config.unique.as_str(),
            false => "",
        };
        let len = unique.len() as u64;
        if arg.u64(at!(drm_unique.unique_len)) >= len && len > 0 {
            program.write(arg.u64(at!(drm_unique.unique)), unique.as_bytes())?;
        }
        arg.set_u64(at!(drm_unique.unique_len), len);
        Ok(Step::Done)
    }

    /// Answers VERSION.
    pub(crate) fn version(&self, arg: &mut Arg, program: &mut dyn Program) -> Result<Step, Error> {
        for (value, at) in [1, 0, 0].into_iter().zip([0, 4, 8]) {
            arg.set_u32(at, value);
        }
        let texts = [
            (at!(drm_version.name_len), self.config.driver.as_str()),
            (at!(drm_version.date_len), "0"),
            (at!(drm_version.desc_len), self.config.description.as_str()),
        ];
        for (at, text) in texts {
            let room = usize::try_from(arg.u64(at)).unwrap_or(usize::MAX);
            let given = text
                .as_bytes()
                .get(..room.min(text.len()))
                .unwrap_or_default();
            let addr = arg.u64(at + 8);
            if !given.is_empty() && addr != 0 {
                program.write(addr, given)?;
            }
            arg.set_u64(at, text.len() as u64);
        }
        Ok(Step::Done)
    }

    /// Answers GET_CLIENT.
    pub(crate) fn get_client(&self, cx: CallContext, arg: &mut Arg) -> Result<Step, Error> {
        if arg.u32(at!(drm_client.idx)) != 0 {
            return Err(Error::Invalid("idx", arg.u32(0).into()));
        }
        let file = self.file(cx.file)?;
        arg.set_u32(at!(drm_client.auth), file.is_authenticated.into());
        arg.set_u64(at!(drm_client.pid), file.pid.into());
        arg.set_u64(at!(drm_client.uid), 65534);
        arg.set_u64(at!(drm_client.magic), 0);
        arg.set_u64(at!(drm_client.iocs), 0);
        Ok(Step::Done)
    }

    /// Answers GET_CAP.
    pub(crate) fn get_cap(arg: &mut Arg) -> Result<Step, Error> {
        let capability = arg.u64(at!(drm_get_cap.capability));
        let value = match capability {
            0x1 | 0x2 | 0x6 | 0x10 | 0x12 => 1,
            0x3 | 0x4 | 0x7 | 0x11 | 0x13 | 0x14 | 0x15 => 0,
            0x5 => 3,
            0x8 | 0x9 => 512,
            _ => return Err(Error::Invalid("capability", capability)),
        };
        arg.set_u64(at!(drm_get_cap.value), value);
        Ok(Step::Done)
    }

    /// Answers SET_CLIENT_CAP.
    pub(crate) fn set_client_cap(&mut self, cx: CallContext, arg: &Arg) -> Result<Step, Error> {
        let [cap, value] = [0, 8].map(|at| arg.u64(at));
        let most = if cap == 3 { 2 } else { 1 };
        if cap == 6 {
            return Err(Error::Unsupported("cursor hotspots"));
        }
        let caps = &mut self.file_mut(cx.file)?.caps;
        if !(1..=5).contains(&cap) {
            return Err(Error::Invalid("capability", cap));
        }
        if value > most {
            return Err(Error::Invalid("value", value));
        }
        match cap {
            2 => caps.universal = value != 0,
            3 => {
                caps.atomic = value != 0;
                caps.universal = value != 0;
            }
            5 if !caps.atomic => return Err(Error::Invalid("writeback without ATOMIC", value)),
            // Stereo modes, aspect ratios and writeback connectors: this card has none to hide.
            _ => {}
        }
        Ok(Step::Done)
    }

    /// Answers MODE_CREATE_LEASE. wlroots leases nothing, to get another file.
    pub(crate) fn create_lease(
        &mut self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        let flags = arg.u32(at!(drm_mode_create_lease.flags));
        let lessor = self.file(cx.file)?.master;
        if self
            .masters
            .get(&lessor)
            .is_some_and(|master| master.lessor.is_some())
        {
            return Err(Error::Invalid("lease by a lessee", lessor.into()));
        }
        let count = arg.u32(at!(drm_mode_create_lease.object_count));
        if flags & !(0o2_000_000 | 0o4000) != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let addr = arg.u64(at!(drm_mode_create_lease.object_ids));
        let ids = read_words(program, addr, count, "leased objects")?;
        let leased = self.leased_objects(cx, &ids)?;
        self.check_room_for_file()?;
        let of = self.masters.get_mut(&lessor).ok_or(Error::NotMaster)?;
        of.lessee += 1;
        let lessee = of.lessee;
        let (pid, caps) = (program.pid(), self.file(cx.file)?.caps);
        let (lessor, lease) = (Some(lessor), Some(leased));
        let master = self.new_master(Master {
            lessor,
            lease,
            lessee,
            has_unique: false,
        });
        let file = self.insert_file(pid, false, (master, true));
        self.file_mut(file)?.caps = caps;
        let at = cx.field(at!(drm_mode_create_lease.fd));
        match program.install_file(file, flags & 0o2_000_000 != 0, at) {
            Ok(fd) => {
                arg.set_u32(at!(drm_mode_create_lease.lessee_id), lessee);
                arg.set_bytes(at!(drm_mode_create_lease.fd), fd.to_ne_bytes());
                Ok(Step::Done)
            }
            Err(e) => {
                self.files.remove(&file);
                self.masters.remove(&master);
                Err(e.into())
            }
        }
    }

    /// Checks the objects of a lease: a CRTC, a connector, and for clients with all planes a plane, or nothing.
    fn leased_objects(&self, cx: CallContext, ids: &[u32]) -> Result<BTreeSet<u32>, Error> {
        let mut leased = BTreeSet::new();
        let (mut crtcs, mut connectors, mut planes) = (Vec::new(), 0, 0);
        for &id in ids {
            if let Ok(crtc) = self.find_crtc(cx.file, id) {
                crtcs.push(crtc);
            } else if self.find_connector(cx.file, id).is_ok() {
                connectors += 1;
            } else if self.find_plane(cx.file, id).is_ok() {
                planes += 1;
            } else {
                // Encoders, framebuffers and blobs cannot be leased.
                self.target_with_properties(cx, id, 0)?;
            }
        }
        let is_universal = self.file(cx.file)?.caps.universal;
        if !ids.is_empty() && (crtcs.is_empty() || connectors == 0 || is_universal && planes == 0) {
            return Err(Error::Invalid(
                "lease without a CRTC, a connector or a plane",
                ids.len() as u64,
            ));
        }
        let mut all = ids.to_vec();
        for crtc in crtcs.into_iter().filter(|_| !is_universal) {
            for kind in [PlaneKind::Primary, PlaneKind::Cursor] {
                let plane = self.plane_of(crtc, kind)?;
                all.extend(self.planes.get(plane).map(|plane| plane.id));
            }
        }
        for id in all {
            if !leased.insert(id) {
                return Err(Error::Twice(id));
            }
        }
        let lessor = Some(self.file(cx.file)?.master);
        let taken = |id: &u32| {
            let mut lessees = self.masters.values();
            lessees
                .any(|of| of.lessor == lessor && of.lease.as_ref().is_some_and(|l| l.contains(id)))
        };
        match leased.iter().any(taken) {
            true => Err(Error::Busy("an object is leased already")),
            false => Ok(leased),
        }
    }

    /// Answers MODE_LIST_LESSEES.
    pub(crate) fn list_lessees(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        check_pad(arg.u32(at!(drm_mode_list_lessees.pad)))?;
        let of = Some(self.file(cx.file)?.master);
        let lessees = self.masters.values().filter(|master| master.lessor == of);
        let lessees = lessees.filter(|m| m.lease.as_ref().is_some_and(|lease| !lease.is_empty()));
        let ids: Vec<u32> = lessees.map(|master| master.lessee).collect();
        write_some(
            program,
            arg.u64(at!(drm_mode_list_lessees.lessees_ptr)),
            arg.u32(0),
            &ids,
        )?;
        arg.set_u32(0, ids.len() as u32); // CAST: bounded by the number of files.
        Ok(Step::Done)
    }

    /// Answers MODE_GET_LEASE: the objects of the caller's lease, or all objects of an owner.
    pub(crate) fn get_lease(
        &self,
        cx: CallContext,
        arg: &mut Arg,
        program: &mut dyn Program,
    ) -> Result<Step, Error> {
        check_pad(arg.u32(at!(drm_mode_get_lease.pad)))?;
        let all = self
            .planes
            .iter()
            .map(|plane| plane.id)
            .chain(self.crtcs.iter().copied());
        let all = all.chain(self.connectors.iter().map(|connector| connector.id));
        let mut ids: Vec<u32> = all.filter(|id| self.may_see(cx.file, *id)).collect();
        ids.sort_unstable();
        write_some(
            program,
            arg.u64(at!(drm_mode_get_lease.objects_ptr)),
            arg.u32(0),
            &ids,
        )?;
        arg.set_u32(0, ids.len() as u32); // CAST: a card has few objects.
        Ok(Step::Done)
    }

    /// Answers MODE_REVOKE_LEASE.
    pub(crate) fn revoke_lease(&mut self, cx: CallContext, arg: &Arg) -> Result<Step, Error> {
        let (caller, id) = (self.file(cx.file)?.master, arg.u32(0));
        let lessor = self.masters.get(&caller).and_then(|of| of.lessor);
        let owner = lessor.unwrap_or(caller);
        let mut masters = self.masters.values_mut();
        let found = masters.find(|m| m.lessor == Some(owner) && m.lessee == id);
        let found = found.ok_or(Error::NoObject("lessee", id.into()))?;
        if lessor.is_some() {
            return Err(Error::NoAccess("only the lessor may revoke a lease"));
        }
        found.lease = Some(BTreeSet::new());
        Ok(Step::Done)
    }

    fn revoke_lessees(&mut self, lessor: u32) {
        let lessees = self.masters.values_mut();
        for master in lessees.filter(|master| master.lessor == Some(lessor)) {
            master.lease = Some(BTreeSet::new());
        }
    }

    /// Copies events of a file to `room` bytes, whole ones only. Returns the bytes to copy.
    ///
    /// # Errors
    /// EAGAIN (`Again`) if there is no event.
    pub fn read_events(&mut self, file: FileId, room: usize) -> Result<Vec<u8>, Error> {
        let file = self.file_mut(file)?;
        if file.events.is_empty() {
            return Err(Error::Again);
        }
        let count = (room / 32).min(file.events.len());
        let events: Vec<[u8; 32]> = file.events.drain(..count).collect();
        file.event_room += 32 * count;
        Ok(events.concat())
    }

    /// Returns whether a file has an event to read.
    #[must_use]
    pub fn has_events(&self, file: FileId) -> bool {
        self.files
            .get(&file)
            .is_some_and(|file| !file.events.is_empty())
    }
}

fn check_pad(pad: u32) -> Result<(), Error> {
    match pad {
        0 => Ok(()),
        _ => Err(Error::Invalid("pad", pad.into())),
    }
}

/// Writes as many words as the program's array has room for.
fn write_some(program: &mut dyn Program, addr: u64, room: u32, words: &[u32]) -> Result<(), Errno> {
    let count = words.len().min(room.min(MAX_ENTRIES) as usize);
    let bytes: Vec<u8> = words
        .iter()
        .take(count)
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    match bytes.is_empty() {
        true => Ok(()),
        false => program.write(addr, &bytes),
    }
}
