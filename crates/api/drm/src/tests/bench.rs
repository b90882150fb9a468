//! A card with a program and a host in memory.

use crate::bytes::{Arg, Image, MAX_ARG, at};
use crate::request::{Call, REQUESTS};
use crate::{
    BufferId, CallContext, Card, Config, Errno, FenceId, FileId, Memory, Mode, Outcome, Program,
};
use std::collections::{BTreeMap, BTreeSet};

/// Where the program's memory lies, and how long it is in bytes.
pub(super) const BASE: u64 = 0x10_0000;
const LEN: usize = 1 << 16;
/// Descriptors of dma-bufs and sync files, by number.
pub(super) const FIRST_FD: i32 = 100;
pub(super) const FENCE_FD: i32 = 900;
/// A descriptor of something else.
pub(super) const OTHER_FD: i32 = 50;

/// The host and the program.
pub(super) struct World {
    pub(super) memory: Vec<u8>,
    pub(super) pid: u32,
    pub(super) is_root: bool,
    pub(super) buffers: BTreeMap<BufferId, u64>,
    pub(super) written: BTreeSet<BufferId>,
    pub(super) fences: BTreeMap<FenceId, bool>,
    pub(super) signalled: u64,
    pub(super) installed: Vec<FileId>,
    next: u64,
    /// What the call's writes have replaced: offset and bytes.
    replaced: Vec<(usize, Vec<u8>)>,
}

impl Memory for World {
    fn release(&mut self, buffer: BufferId) {
        self.buffers
            .remove(&buffer)
            .expect("a buffer that the card has");
    }
    fn is_written(&self, buffer: BufferId) -> bool {
        self.written.contains(&buffer)
    }
    fn is_pending(&self, fence: FenceId) -> bool {
        self.fences.get(&fence).copied().unwrap_or(false)
    }
    fn release_fence(&mut self, fence: FenceId) {
        self.fences
            .remove(&fence)
            .expect("a fence that the card has");
    }
    fn signal(&mut self, _: usize, seqno: u64) {
        self.signalled = self.signalled.max(seqno);
    }
}

impl Program for World {
    fn memory(&mut self) -> &mut dyn Memory {
        self
    }
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let at = usize::try_from(addr.wrapping_sub(BASE)).map_err(|_| Errno(14))?;
        let end = at.checked_add(out.len()).ok_or(Errno(14))?;
        out.copy_from_slice(self.memory.get(at..end).ok_or(Errno(14))?);
        Ok(())
    }
    fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let at = usize::try_from(addr.wrapping_sub(BASE)).map_err(|_| Errno(14))?;
        let end = at.checked_add(data.len()).ok_or(Errno(14))?;
        let to = self.memory.get_mut(at..end).ok_or(Errno(14))?;
        self.replaced.push((at, to.to_vec()));
        to.copy_from_slice(data);
        Ok(())
    }
    fn pid(&self) -> u32 {
        self.pid
    }
    fn is_root(&self) -> bool {
        self.is_root
    }
    fn allocate(&mut self, len: u64) -> Result<BufferId, Errno> {
        self.next += 1;
        self.buffers.insert(BufferId(self.next), len);
        Ok(BufferId(self.next))
    }
    fn import(&mut self, fd: i32) -> Result<(BufferId, u64), Errno> {
        match fd {
            OTHER_FD => Err(Errno(22)),
            FIRST_FD.. => {
                let id = BufferId((fd - FIRST_FD) as u64);
                let len = *self.buffers.entry(id).or_insert(1024 * 768 * 4);
                Ok((id, len))
            }
            _ => Err(Errno(9)),
        }
    }
    fn export(&mut self, buffer: BufferId, _: bool, _: u64) -> Result<i32, Errno> {
        Ok(FIRST_FD + buffer.0 as i32)
    }
    fn sync_file(&mut self, fd: i32) -> Result<FenceId, Errno> {
        if fd < FENCE_FD {
            return Err(Errno(22));
        }
        self.fences.insert(FenceId(fd as u64), true);
        Ok(FenceId(fd as u64))
    }
    fn out_fence(&mut self, _: usize, seqno: u64, _: u64) -> Result<i32, Errno> {
        Ok(seqno as i32 + 3)
    }
    fn install_file(&mut self, file: FileId, _: bool, _: u64) -> Result<i32, Errno> {
        self.installed.push(file);
        Ok(9)
    }
}

/// The rows of one section of the recorded errnos.
struct Rows(Vec<(String, i32)>);

impl Rows {
    fn of(file: &str, section: &str) -> Self {
        let text = include_str!("../../tests/data/vkms-6.12.txt");
        let (mut is_file, mut is_section) = (false, false);
        let mut rows = Vec::new();
        for line in text.lines() {
            match line.split_once(" = ") {
                _ if line.starts_with('[') => is_file = line == format!("[{file}]"),
                _ if line.starts_with('#') => is_section = line == format!("# {section}"),
                Some((name, errno)) if is_file && is_section => {
                    rows.push((name.to_owned(), number(errno)));
                }
                _ => {}
            }
        }
        assert!(!rows.is_empty(), "no section {section} of {file}");
        Self(rows)
    }
}

impl Drop for Rows {
    /// Checks that every row was replayed.
    fn drop(&mut self) {
        let left: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        assert!(
            left.is_empty() || std::thread::panicking(),
            "not replayed: {left:?}"
        );
    }
}

fn number(name: &str) -> i32 {
    let all = [
        ("0", 0),
        ("EPERM", 1),
        ("ENOENT", 2),
        ("EBADF", 9),
        ("EAGAIN", 11),
        ("ENOMEM", 12),
        ("EACCES", 13),
        ("EFAULT", 14),
        ("EBUSY", 16),
        ("EINVAL", 22),
        ("ENOTTY", 25),
        ("ENOSPC", 28),
        ("ERANGE", 34),
        ("ENOSYS", 38),
        ("EOPNOTSUPP", 95),
    ];
    all.iter().find(|(known, _)| *known == name).expect(name).1
}

/// A card under test.
pub(super) struct Bench {
    pub(super) card: Card,
    pub(super) world: World,
    pub(super) now_ns: u64,
    call: u64,
    rows: Rows,
}

pub(super) const CRTC: u32 = 38;
pub(super) const CONNECTOR: u32 = 39;
pub(super) const ENCODER: u32 = 40;
pub(super) const PRIMARY: u32 = 32;
pub(super) const CURSOR: u32 = 35;
pub(super) const XR24: u32 = u32::from_le_bytes(*b"XR24");

/// A structure of these fields: offset, and value in 32 bits.
pub(super) fn fields(list: &[(usize, u32)]) -> Arg {
    let mut arg = Image([0; MAX_ARG]);
    for (at, value) in list {
        arg.set_u32(*at, *value);
    }
    arg
}

impl Bench {
    pub(super) fn new() -> Self {
        let formats = [b"AR24", b"XR24", b"RG16", b"XR48"].map(|code| u32::from_le_bytes(*code));
        let modes = [(1024, 768), (640, 480)];
        let card = Card::new(Config {
            driver: "vkms".to_owned(),
            description: "Virtual Kernel Mode Setting".to_owned(),
            unique: "vkms".to_owned(),
            formats: formats.to_vec(),
            modes: modes.map(|(w, h)| Mode::new(w, h, 60, w == 1024)).to_vec(),
            ..Config::default()
        });
        let world = World {
            memory: vec![0; LEN],
            pid: 7,
            is_root: true,
            buffers: BTreeMap::new(),
            written: BTreeSet::new(),
            fences: BTreeMap::new(),
            signalled: 0,
            installed: Vec::new(),
            next: 0,
            replaced: Vec::new(),
        };
        let rows = Rows(Vec::new());
        Self {
            card,
            world,
            now_ns: 1_000_000_000,
            call: 0,
            rows,
        }
    }

    pub(super) fn section(&mut self, file: &str, section: &str) {
        self.rows = Rows::of(file, section);
    }

    /// Checks that a call got the errno of the row with this name, and drops the row.
    pub(super) fn row(&mut self, name: &str, errno: i32) {
        let at = self.rows.0.iter().position(|(known, _)| known == name);
        let (_, wanted) = self
            .rows
            .0
            .remove(at.unwrap_or_else(|| panic!("no row {name}")));
        assert_eq!(errno, wanted, "{name}");
    }

    /// Drops rows of what the card does not see: the front end, or the kernel, answers these calls.
    pub(super) fn beyond(&mut self, names: &[&str]) {
        for name in names {
            let at = self.rows.0.iter().position(|(known, _)| known == name);
            self.rows.0.remove(at.expect(name));
        }
    }

    pub(super) fn open(&mut self) -> FileId {
        self.card
            .open(self.world.pid, true)
            .expect("room for a file")
    }

    fn context(&mut self, file: FileId) -> CallContext {
        self.call += 1;
        CallContext {
            file,
            call: self.call,
            now_ns: self.now_ns,
            nonblocking: false,
        }
    }

    /// Makes a call once. Returns 0, an errno, or -1 for a call that waits, whose writes the host drops.
    pub(super) fn try_call(&mut self, cx: CallContext, request: u32, arg: &mut Arg) -> i32 {
        self.world.write(BASE, &arg.0).expect("room");
        self.world.replaced.clear();
        let done = self.card.ioctl(cx, request, BASE, &mut self.world);
        if done == Outcome::Wait {
            for (at, bytes) in core::mem::take(&mut self.world.replaced).into_iter().rev() {
                self.world.memory[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        self.world.read(BASE, &mut arg.0).expect("room");
        match done {
            Outcome::Done(_) => 0,
            Outcome::Fail(e) => e.errno(),
            Outcome::Wait => -1,
        }
    }

    /// Makes a call, and lets time pass until it ends.
    pub(super) fn raw(&mut self, file: FileId, request: u32, arg: &mut Arg) -> i32 {
        let mut cx = self.context(file);
        for _ in 0..1000 {
            match self.try_call(cx, request, arg) {
                -1 => self.tick(),
                errno => return errno,
            }
            cx.now_ns = self.now_ns;
        }
        panic!("a call that never ends");
    }

    pub(super) fn call(&mut self, file: FileId, call: Call, arg: &mut Arg) -> i32 {
        let spec = REQUESTS
            .iter()
            .find(|spec| spec.call == call)
            .expect("a call");
        let request = request_of(spec.number.into(), spec.size);
        self.raw(file, request, arg)
    }

    /// Makes a call with these fields.
    pub(super) fn with(&mut self, file: FileId, call: Call, list: &[(usize, u32)]) -> i32 {
        self.call(file, call, &mut fields(list))
    }

    /// Lets time pass to the card's next event.
    pub(super) fn tick(&mut self) {
        self.now_ns = self
            .card
            .next_due_ns()
            .expect("something is due")
            .max(self.now_ns);
        self.card.advance(self.now_ns, &mut self.world, &|_| true);
    }

    pub(super) fn dumb(&mut self, file: FileId, width: u32, height: u32) -> u32 {
        let mut arg = fields(&[
            (at!(drm_mode_create_dumb.width), width),
            (at!(drm_mode_create_dumb.height), height),
            (at!(drm_mode_create_dumb.bpp), 32),
        ]);
        assert_eq!(self.call(file, Call::CreateDumb, &mut arg), 0);
        arg.u32(at!(drm_mode_create_dumb.handle))
    }

    pub(super) fn fb2(
        &mut self,
        file: FileId,
        size: (u32, u32),
        code: u32,
        handle: u32,
    ) -> (i32, u32) {
        let bytes = if code == XR24 || code == u32::from_le_bytes(*b"AR24") {
            4
        } else {
            2
        };
        let mut arg = fields(&[
            (at!(drm_mode_fb_cmd2.width), size.0),
            (at!(drm_mode_fb_cmd2.height), size.1),
            (at!(drm_mode_fb_cmd2.pixel_format), code),
            (at!(drm_mode_fb_cmd2.handles), handle),
            (at!(drm_mode_fb_cmd2.pitches), size.0 * bytes),
        ]);
        let errno = self.call(file, Call::AddFb2, &mut arg);
        (errno, arg.u32(0))
    }

    /// Makes a framebuffer in a dumb buffer of its own.
    pub(super) fn fb(&mut self, file: FileId, width: u32, height: u32) -> u32 {
        let handle = self.dumb(file, width, height);
        let (errno, fb) = self.fb2(file, (width, height), XR24, handle);
        assert_eq!(errno, 0);
        fb
    }

    /// Puts words into the program's memory, and returns their address.
    pub(super) fn words(&mut self, at: u64, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.world.write(BASE + at, &bytes).expect("room");
        (BASE + at) as u32
    }

    /// Returns the structure for SETCRTC of a mode and connectors.
    pub(super) fn crtc(&mut self, fb: u32, mode: Option<Mode>, connectors: &[u32]) -> Arg {
        let ids = self.words(0x1000, connectors);
        let mut arg = fields(&[
            (at!(drm_mode_crtc.set_connectors_ptr), ids),
            (at!(drm_mode_crtc.count_connectors), connectors.len() as u32),
            (at!(drm_mode_crtc.crtc_id), CRTC),
            (at!(drm_mode_crtc.fb_id), fb),
            (at!(drm_mode_crtc.mode_valid), mode.is_some().into()),
        ]);
        if let Some(mode) = mode {
            arg.set_bytes(at!(drm_mode_crtc.mode), mode.0);
        }
        arg
    }

    /// Lights the screen with a framebuffer of 1024x768.
    pub(super) fn light(&mut self, file: FileId) -> u32 {
        let fb = self.fb(file, 1024, 768);
        let mut arg = self.crtc(fb, Some(mode()), &[CONNECTOR]);
        assert_eq!(self.call(file, Call::SetCrtc, &mut arg), 0);
        fb
    }

    /// Reads a file's events: type, low word of the user data, and sequence.
    pub(super) fn events(&mut self, file: FileId) -> Vec<(u32, u64, u32)> {
        let bytes = self.card.read_events(file, 1 << 16).unwrap_or_default();
        let word = |event: &[u8; 32], at: usize| {
            u32::from_ne_bytes([event[at], event[at + 1], event[at + 2], event[at + 3]])
        };
        let events = bytes.as_chunks::<32>().0.iter();
        events
            .map(|event| (word(event, 0), word(event, 8).into(), word(event, 24)))
            .collect()
    }
}

pub(super) fn mode() -> Mode {
    Mode::new(1024, 768, 60, true)
}

/// Returns an ioctl's request that reads and writes `size` bytes.
pub(super) const fn request_of(number: u32, size: usize) -> u32 {
    3 << 30 | (size as u32) << 16 | (b'd' as u32) << 8 | number
}
