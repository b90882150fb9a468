//! Files, masters, authentication and leases.
//!
//! Source: Linux 6.12 drivers/gpu/drm/drm_auth.c, drm_lease.c, drm_file.c.

use crate::Error;
use crate::bytes::{Image, MAX_ARG, at, get, set};
use crate::call::{Answer, Ioctl, Step, words};
use crate::card::{Card, MAX_FILES};
use crate::file::{EVENT_BYTES, File, Master};
use crate::host::{FileId, Memory};
use crate::request::Right;
use crate::state::PlaneKind;
use std::collections::BTreeSet;

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
            master,
            is_master,
            was_master: is_master,
            is_authenticated: is_master || is_root,
            event_room: EVENT_BYTES,
            ..File::default()
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
    pub fn close(&mut self, file: FileId, memory: &mut dyn Memory) {
        for id in self.framebuffers_of(file) {
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
            if self.lessor_of(closed.master).is_none() && self.master == Some(closed.master) {
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

    /// Returns the ids of a file's framebuffers.
    pub(crate) fn framebuffers_of(&self, file: FileId) -> Vec<u32> {
        let own = self.framebuffers.iter();
        let own = own.filter(|(_, (_, of))| *of == Some(file));
        own.map(|(id, _)| *id).collect()
    }

    /// Returns the master that leased objects to a master; `None` for an owner.
    fn lessor_of(&self, master: u32) -> Option<u32> {
        self.masters.get(&master)?.lessor
    }

    /// Returns whether the file is the current master or one of its lessees (`drm_is_current_master`).
    pub(crate) fn is_master(&self, file: FileId) -> bool {
        let Some(file) = self.files.get(&file).filter(|file| file.is_master) else {
            return false;
        };
        let owner = self.lessor_of(file.master).unwrap_or(file.master);
        self.master == Some(owner)
    }

    /// Returns whether the caller may see handles of others' framebuffers.
    pub(crate) fn is_master_or_root(&self, io: &Ioctl<'_>) -> bool {
        self.is_master(io.file) || io.program.is_root()
    }

    /// Checks that a file has the right that a call needs.
    pub(crate) fn check_right(&self, io: &Ioctl<'_>, right: Right) -> Result<(), Error> {
        let file = self.file(io.file)?;
        match right {
            Right::Any => Ok(()),
            Right::Authenticated if file.is_authenticated => Ok(()),
            Right::Authenticated => Err(Error::NoAccess("the file is not authenticated")),
            Right::Master if self.is_master(io.file) => Ok(()),
            Right::RootMaster if self.is_master(io.file) && io.program.is_root() => Ok(()),
            Right::Master | Right::RootMaster => Err(Error::NotMaster),
        }
    }

    /// Checks that a process may change the master by this file (`drm_master_check_perm`).
    fn check_may_change(&self, io: &Ioctl<'_>) -> Result<(), Error> {
        let file = self.file(io.file)?;
        let is_opener = file.was_master && file.pid == io.program.pid();
        let what = "only a former master or a privileged process may do this";
        match is_opener || io.program.is_root() {
            true => Ok(()),
            false => Err(Error::NoAccess(what)),
        }
    }

    /// Answers SET_MASTER.
    pub(crate) fn set_master(&mut self, io: &mut Ioctl<'_>) -> Answer {
        self.check_may_change(io)?;
        if self.is_master(io.file) {
            return Ok(Step::Done);
        }
        if self.master.is_some() {
            return Err(Error::Busy("another file is the master"));
        }
        let file = self.file(io.file)?;
        let (of, is_master) = (file.master, file.is_master);
        if is_master && self.lessor_of(of).is_some() {
            return Err(Error::Invalid("SET_MASTER (of a lessee)", of.into()));
        }
        let master = match is_master {
            true => of,
            false => self.new_master(Master::default()),
        };
        self.master = Some(master);
        let file = self.file_mut(io.file)?;
        (file.master, file.is_master) = (master, true);
        (file.was_master, file.is_authenticated) = (true, true);
        self.release_master(of);
        Ok(Step::Done)
    }

    /// Answers DROP_MASTER.
    pub(crate) fn drop_master(&mut self, io: &mut Ioctl<'_>) -> Answer {
        self.check_may_change(io)?;
        let of = self.file(io.file)?.master;
        if !self.is_master(io.file) || self.lessor_of(of).is_some() {
            let what = "DROP_MASTER (of a file that is not the master)";
            return Err(Error::Invalid(what, of.into()));
        }
        self.master = None;
        Ok(Step::Done)
    }

    /// Answers GET_MAGIC.
    pub(crate) fn get_magic(&mut self, io: &mut Ioctl<'_>) -> Answer {
        if self.file(io.file)?.magic == 0 {
            self.next_magic = self.next_magic.wrapping_add(1);
            self.file_mut(io.file)?.magic = self.next_magic;
        }
        set!(io.arg, drm_auth: magic = self.file(io.file)?.magic);
        Ok(Step::Done)
    }

    /// Answers AUTH_MAGIC. wlroots asks with zero whether it is the master: EINVAL means that it is.
    pub(crate) fn auth_magic(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let magic = get!(io.arg, drm_auth: magic);
        let master = self.file(io.file)?.master;
        let mut files = self.files.values_mut();
        let is_it = |file: &&mut File| {
            magic != 0 && file.magic == magic && !file.is_magic_used && file.master == master
        };
        let file = files.find(is_it);
        let file = file.ok_or(Error::Invalid("magic", magic.into()))?;
        file.is_authenticated = true;
        file.is_magic_used = true;
        Ok(Step::Done)
    }

    /// Answers SET_VERSION.
    pub(crate) fn set_version(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (major, minor) = get!(io.arg, drm_set_version: drm_di_major, drm_di_minor);
        if major != -1 && (major != 1 || !(0..=4).contains(&minor)) {
            let what = "interface version (only 1.0 to 1.4)";
            return Err(Error::Invalid(what, minor.cast_unsigned().into()));
        }
        let master = self.file(io.file)?.master;
        if let Some(master) = self.masters.get_mut(&master) {
            master.has_unique |= major == 1 && minor >= 1;
        }
        let (major, minor) = get!(io.arg, drm_set_version: drm_dd_major, drm_dd_minor);
        if major != -1 && (major, minor) != (1, 0) {
            let what = "driver version (only 1.0)";
            return Err(Error::Invalid(what, major.cast_unsigned().into()));
        }
        set!(io.arg, drm_set_version: drm_di_major = 1, drm_di_minor = 4, drm_dd_major = 1,
            drm_dd_minor = 0);
        Ok(Step::Done)
    }

    /// Answers SET_UNIQUE, which Linux has removed.
    pub(crate) fn set_unique(&mut self, _: &mut Ioctl<'_>) -> Answer {
        Err(Error::Invalid("SET_UNIQUE (removed)", 0))
    }

    /// Answers GET_UNIQUE: empty until the master has called SET_VERSION. libdrm relies on that.
    pub(crate) fn get_unique(&mut self, io: &mut Ioctl<'_>) -> Answer {
        self.file(io.file)?;
        let master = self.master_of(io.file);
        let unique = match master.is_some_and(|master| master.has_unique) {
            true => self.config.unique.as_str(),
            false => "",
        };
        let (room, len) = (get!(io.arg, drm_unique: unique_len), unique.len() as u64);
        if room >= len && len > 0 {
            let addr = get!(io.arg, drm_unique: unique);
            io.program.write(addr, unique.as_bytes())?;
        }
        set!(io.arg, drm_unique: unique_len = len);
        Ok(Step::Done)
    }

    /// Answers VERSION.
    pub(crate) fn version(&mut self, io: &mut Ioctl<'_>) -> Answer {
        set!(io.arg, drm_version: version_major = 1, version_minor = 0, version_patchlevel = 0);
        let texts = [
            (at!(drm_version.name_len), self.config.driver.as_str()),
            (at!(drm_version.date_len), "0"),
            (at!(drm_version.desc_len), self.config.description.as_str()),
        ];
        for (at, text) in texts {
            // The address follows the length.
            let (room, addr) = (io.arg.u64(at), io.arg.u64(at + 8));
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let given = &text.as_bytes()[..room.min(text.len())];
            if !given.is_empty() && addr != 0 {
                io.program.write(addr, given)?;
            }
            io.arg.set_u64(at, text.len() as u64);
        }
        Ok(Step::Done)
    }

    /// Answers GET_CLIENT.
    pub(crate) fn get_client(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let idx = get!(io.arg, drm_client: idx);
        if idx != 0 {
            return Err(Error::Invalid("idx", idx.cast_unsigned().into()));
        }
        let file = self.file(io.file)?;
        set!(io.arg, drm_client: auth = file.is_authenticated.into(), pid = file.pid.into(),
            uid = 65534, magic = 0, iocs = 0);
        Ok(Step::Done)
    }

    /// Answers GET_STATS: zeroes.
    pub(crate) fn get_stats(&mut self, io: &mut Ioctl<'_>) -> Answer {
        io.arg = Image([0; MAX_ARG]);
        Ok(Step::Done)
    }

    /// Answers GET_CAP.
    pub(crate) fn get_cap(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let capability = get!(io.arg, drm_get_cap: capability);
        let value = match capability {
            0x1 | 0x2 | 0x6 | 0x10 | 0x12 => 1,
            0x3 | 0x4 | 0x7 | 0x11 | 0x13 | 0x14 | 0x15 => 0,
            0x5 => 3,
            0x8 | 0x9 => 512,
            _ => return Err(Error::Invalid("capability", capability)),
        };
        set!(io.arg, drm_get_cap: value = value);
        Ok(Step::Done)
    }

    /// Answers SET_CLIENT_CAP.
    pub(crate) fn set_client_cap(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (cap, value) = get!(io.arg, drm_set_client_cap: capability, value);
        let most = if cap == 3 { 2 } else { 1 };
        if cap == 6 {
            return Err(Error::Unsupported("cursor hotspots"));
        }
        let caps = &mut self.file_mut(io.file)?.caps;
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
            5 => caps.writeback = value != 0,
            // Stereo modes and aspect ratios: this card has none to hide.
            _ => {}
        }
        Ok(Step::Done)
    }

    /// Answers MODE_CREATE_LEASE. wlroots leases nothing, to get another file.
    pub(crate) fn create_lease(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (ids, count, flags) =
            get!(io.arg, drm_mode_create_lease: object_ids, object_count, flags);
        let lessor = self.file(io.file)?.master;
        if self.lessor_of(lessor).is_some() {
            return Err(Error::Invalid("lease by a lessee", lessor.into()));
        }
        if flags & !(0o2_000_000 | 0o4000) != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let ids = io.words(ids, count, "leased objects")?;
        let leased = self.leased_objects(io.file, &ids)?;
        self.check_room_for_file()?;
        let of = self.masters.get_mut(&lessor).ok_or(Error::NotMaster)?;
        of.lessee += 1;
        let lessee = of.lessee;
        let (pid, caps) = (io.program.pid(), self.file(io.file)?.caps);
        let (lessor, lease) = (Some(lessor), Some(leased));
        let master = self.new_master(Master {
            lessor,
            lease,
            lessee,
            has_unique: false,
        });
        let file = self.insert_file(pid, false, (master, true));
        self.file_mut(file)?.caps = caps;
        let at = io.field(at!(drm_mode_create_lease.fd));
        match io.program.install_file(file, flags & 0o2_000_000 != 0, at) {
            Ok(fd) => {
                set!(io.arg, drm_mode_create_lease: lessee_id = lessee, fd = fd.cast_unsigned());
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
    fn leased_objects(&self, file: FileId, ids: &[u32]) -> Result<BTreeSet<u32>, Error> {
        let mut leased = BTreeSet::new();
        let (mut crtcs, mut connectors, mut planes) = (Vec::new(), 0, 0);
        for &id in ids {
            if let Ok(crtc) = self.find_crtc(file, id) {
                crtcs.push(crtc);
            } else if self.find_connector(file, id).is_ok() {
                connectors += 1;
            } else if self.find_plane(file, id).is_ok() {
                planes += 1;
            } else {
                // Encoders, framebuffers and blobs cannot be leased.
                self.target_with_properties(file, id, 0)?;
            }
        }
        let is_universal = self.file(file)?.caps.universal;
        if !ids.is_empty() && (crtcs.is_empty() || connectors == 0 || is_universal && planes == 0) {
            let what = "lease without a CRTC, a connector or a plane";
            return Err(Error::Invalid(what, ids.len() as u64));
        }
        let mut all = ids.to_vec();
        for crtc in crtcs.into_iter().filter(|_| !is_universal) {
            for kind in [PlaneKind::Primary, PlaneKind::Cursor] {
                all.push(self.planes[self.plane_of(crtc, kind)?].id);
            }
        }
        for id in all {
            if !leased.insert(id) {
                return Err(Error::Twice(id));
            }
        }
        let lessor = Some(self.file(file)?.master);
        let lessees = self.masters.values().filter(|of| of.lessor == lessor);
        let mut leases = lessees.filter_map(|of| of.lease.as_ref());
        match leases.any(|lease| !lease.is_disjoint(&leased)) {
            true => Err(Error::Busy("an object is leased already")),
            false => Ok(leased),
        }
    }

    /// Answers MODE_LIST_LESSEES.
    pub(crate) fn list_lessees(&mut self, io: &mut Ioctl<'_>) -> Answer {
        check_pad(get!(io.arg, drm_mode_list_lessees: pad))?;
        let of = Some(self.file(io.file)?.master);
        let lessees = self.masters.values().filter(|master| master.lessor == of);
        let lessees = lessees.filter(|m| m.lease.as_ref().is_some_and(|lease| !lease.is_empty()));
        let ids = words(lessees.map(|master| master.lessee));
        io.list_some((at!(drm_mode_list_lessees.lessees_ptr), 0), &ids)?;
        Ok(Step::Done)
    }

    /// Answers MODE_GET_LEASE: the objects of the caller's lease, or all objects of an owner.
    pub(crate) fn get_lease(&mut self, io: &mut Ioctl<'_>) -> Answer {
        check_pad(get!(io.arg, drm_mode_get_lease: pad))?;
        let planes = self.planes.iter().map(|plane| plane.id);
        let all = planes.chain(self.crtcs.iter().copied());
        let all = all.chain(self.connectors.iter().map(|connector| connector.id));
        let ids: BTreeSet<u32> = all.filter(|id| self.may_see(io.file, *id)).collect();
        io.list_some((at!(drm_mode_get_lease.objects_ptr), 0), &words(ids))?;
        Ok(Step::Done)
    }

    /// Answers MODE_REVOKE_LEASE.
    pub(crate) fn revoke_lease(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = get!(io.arg, drm_mode_revoke_lease: lessee_id);
        let caller = self.file(io.file)?.master;
        let lessor = self.lessor_of(caller);
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
