//! A program in a guest: what the guest's kernel and its virtio-media driver do for it.

use std::collections::{BTreeMap, VecDeque};
use std::mem::offset_of;
use std::time::Duration;

use crate::client::{BASE, Client, MEMORY, Mapped, PAGE};
use crate::vmm::{RAM_BYTES, Server, Setup, Vmm, new_ram};
use vb3_v4l2::sys;
use vm_memory::{Bytes as _, GuestAddress};

pub(crate) const BUFFER: usize = size_of::<sys::v4l2_buffer>();
pub(crate) const PLANE: usize = size_of::<sys::v4l2_plane>();
const CONTROL: usize = 20;

pub(crate) fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) const fn is_multiplanar(type_: u32) -> bool {
    matches!(type_, 9 | 10)
}

struct File {
    device: usize,
    session: u32,
}

pub(crate) struct Guest {
    pub(crate) vmms: Vec<Vmm>,
    files: Vec<File>,
    events: Vec<VecDeque<Vec<u8>>>,
    /// User pointers and planes' user pointers of queued buffers, which events do not carry.
    users: BTreeMap<(usize, u32, u32), (u64, Vec<u64>)>,
}

/// Returns where a page of the program's memory lies in guest RAM: in reverse order.
fn ram_of(addr: u64) -> Option<u64> {
    let at = addr.checked_sub(BASE).filter(|at| *at < MEMORY as u64)?;
    let (page, inside) = (at / PAGE as u64, at % PAGE as u64);
    Some((RAM_BYTES - PAGE) as u64 - page * PAGE as u64 + inside)
}

/// Returns the pieces of guest RAM, or `None` for memory that the program lacks.
fn pieces(mut addr: u64, mut len: usize) -> Option<Vec<(u64, usize)>> {
    let mut all = Vec::new();
    while len > 0 {
        let piece = len.min(PAGE - (addr % PAGE as u64) as usize);
        all.push((ram_of(addr)?, piece));
        addr += piece as u64;
        len -= piece;
    }
    Some(all)
}

/// Returns the list that the driver appends for user memory.
fn list(addr: u64, len: u32) -> Result<Vec<u8>, i32> {
    let pieces = pieces(addr, len as usize).ok_or(14)?;
    let entry =
        |(at, len): (u64, usize)| [&at.to_le_bytes()[..], &words(&[len as u32, 0])].concat();
    Ok(pieces.into_iter().flat_map(entry).collect())
}

/// An array that a structure points to, and the user memory that the array and the structure name.
#[derive(Default)]
struct Pointed {
    array: Option<(u64, usize)>,
    lists: Vec<u8>,
}

impl Guest {
    pub(crate) fn new(server: &Server, names: &[&str]) -> Self {
        let ram = new_ram();
        let connect = |(name, part): (&&str, u64)| {
            let setup = Setup {
                part,
                ..Setup::default()
            };
            let socket = server.dir.join(format!("{name}.sock"));
            Vmm::try_connect(&socket, ram, &setup).unwrap()
        };
        Self {
            vmms: names.iter().zip(0..).map(connect).collect(),
            files: Vec::new(),
            events: Vec::new(),
            users: BTreeMap::new(),
        }
    }

    fn send(&mut self, device: usize, sent: &[u8]) -> Result<Vec<u8>, (i32, Vec<u8>)> {
        let answer = self.vmms[device].command(sent);
        let rest = answer[8..].to_vec();
        match u32_at(&answer, 0) {
            0 => Ok(rest),
            errno => Err((errno.try_into().unwrap(), rest)),
        }
    }

    fn pointed(&self, request: u32, bytes: &[u8]) -> Result<Pointed, i32> {
        match request {
            sys::VIDIOC_QUERYBUF | sys::VIDIOC_QBUF | sys::VIDIOC_PREPARE_BUF => {
                self.pointed_by_buffer(bytes)
            }
            sys::VIDIOC_G_EXT_CTRLS | sys::VIDIOC_S_EXT_CTRLS | sys::VIDIOC_TRY_EXT_CTRLS => {
                let count = u32_at(bytes, offset_of!(sys::v4l2_ext_controls, count)) as usize;
                let addr = u64_at(bytes, offset_of!(sys::v4l2_ext_controls, controls));
                if count == 0 {
                    return Ok(Pointed::default());
                }
                let mut lists = Vec::new();
                for control in self.peek(addr, count * CONTROL).chunks_exact(CONTROL) {
                    let size = u32_at(control, 4);
                    if size > 0 {
                        lists.extend(list(u64_at(control, 12), size)?);
                    }
                }
                let array = Some((addr, count * CONTROL));
                Ok(Pointed { array, lists })
            }
            _ => Ok(Pointed::default()),
        }
    }

    fn pointed_by_buffer(&self, bytes: &[u8]) -> Result<Pointed, i32> {
        let type_ = u32_at(bytes, offset_of!(sys::v4l2_buffer, type_));
        let is_user = u32_at(bytes, offset_of!(sys::v4l2_buffer, memory)) == 2;
        let length = u32_at(bytes, offset_of!(sys::v4l2_buffer, length));
        let m = u64_at(bytes, offset_of!(sys::v4l2_buffer, m));
        let mut lists = Vec::new();
        if !is_multiplanar(type_) {
            if is_user {
                lists = list(m, length)?;
            }
            return Ok(Pointed { array: None, lists });
        }
        let len = length as usize * PLANE;
        if len == 0 {
            return Ok(Pointed::default());
        }
        for plane in self.peek(m, len).chunks_exact(PLANE) {
            if is_user {
                let user = u64_at(plane, offset_of!(sys::v4l2_plane, m));
                lists.extend(list(
                    user,
                    u32_at(plane, offset_of!(sys::v4l2_plane, length)),
                )?);
            }
        }
        let array = Some((m, len));
        Ok(Pointed { array, lists })
    }

    /// Keeps the user pointers of a queued buffer.
    fn keep_users(&mut self, file: usize, buffer: &[u8]) {
        let (index, type_) = (u32_at(buffer, 0), u32_at(buffer, 4));
        let m = u64_at(buffer, offset_of!(sys::v4l2_buffer, m));
        let mut planes = Vec::new();
        if is_multiplanar(type_) {
            let count = u32_at(buffer, offset_of!(sys::v4l2_buffer, length)) as usize;
            let array = self.peek(m, count * PLANE);
            let planes_of = array.chunks_exact(PLANE);
            planes = planes_of
                .map(|p| u64_at(p, offset_of!(sys::v4l2_plane, m)))
                .collect();
        }
        self.users.insert((file, type_, index), (m, planes));
    }

    /// Takes an event of a file, of a kind, and of a buffer type.
    fn take_event(&mut self, file: usize, kind: u32, type_: u32) -> Vec<u8> {
        loop {
            let is_it = |event: &Vec<u8>| {
                u32_at(event, 0) == kind && (kind == 2 || u32_at(event, 12) == type_)
            };
            if let Some(at) = self.events[file].iter().position(is_it) {
                return self.events[file].remove(at).unwrap();
            }
            let device = self.files[file].device;
            let event = self.vmms[device].event(Duration::from_secs(20));
            let event = event.expect("an event comes");
            let session = u32_at(&event, 4);
            let mut files = self.files.iter();
            let of = files.position(|f| f.device == device && f.session == session);
            self.events[of.unwrap()].push_back(event);
        }
    }
}

impl Client for Guest {
    fn peek(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut rest = &mut bytes[..];
        for (at, len) in pieces(addr, len).unwrap() {
            let part = rest.split_off_mut(..len).unwrap();
            self.vmms[0].ram.read_slice(part, GuestAddress(at)).unwrap();
        }
        bytes
    }

    fn poke(&mut self, addr: u64, mut bytes: &[u8]) {
        for (at, len) in pieces(addr, bytes.len()).unwrap() {
            let part = bytes.split_off(..len).unwrap();
            self.vmms[0]
                .ram
                .write_slice(part, GuestAddress(at))
                .unwrap();
        }
    }

    fn open(&mut self, device: usize) -> Result<usize, i32> {
        let opened = self.send(device, &words(&[1, 0])).map_err(|(e, _)| e)?;
        let session = u32_at(&opened, 0);
        self.files.push(File { device, session });
        self.events.push(VecDeque::new());
        Ok(self.files.len() - 1)
    }

    fn close(&mut self, file: usize) {
        let File { device, session } = self.files[file];
        let answer = self.vmms[device].command(&words(&[2, 0, session, 0]));
        assert!(answer.is_empty());
        self.files[file].session = 0;
    }

    fn ioctl(&mut self, file: usize, request: u32, addr: u64) -> Result<(), i32> {
        let File { device, session } = self.files[file];
        let size = vb3_v4l2::decode::size(request);
        let mut sent = words(&[3, 0, session, request & 0xff]);
        let bytes = self.peek(addr, size);
        if request >> 30 & 1 != 0 {
            sent.extend(&bytes);
        }
        let pointed = self.pointed(request, &bytes)?;
        if let Some((at, len)) = pointed.array {
            sent.extend(self.peek(at, len));
        }
        sent.extend(&pointed.lists);
        let (done, back) = match self.send(device, &sent) {
            Ok(back) => (Ok(()), back),
            Err((errno, back)) => (Err(errno), back),
        };
        if !back.is_empty() {
            self.poke(addr, &back[..size]);
            if let Some((at, len)) = pointed.array {
                self.poke(at, &back[size..size + len]);
            }
        }
        if request == sys::VIDIOC_QBUF && done.is_ok() {
            self.keep_users(file, &bytes);
        }
        done
    }

    fn dequeue(&mut self, file: usize, request: u32, addr: u64) {
        if request == sys::VIDIOC_DQEVENT {
            let event = self.take_event(file, 2, 0);
            return self.poke(addr, &event[8..]);
        }
        let wanted = self.peek(addr, BUFFER);
        let type_ = u32_at(&wanted, 4);
        let event = self.take_event(file, 1, type_);
        let mut buffer = event[8..8 + BUFFER].to_vec();
        let m = offset_of!(sys::v4l2_buffer, m);
        let key = (file, type_, u32_at(&buffer, 0));
        let (user, users) = self.users.remove(&key).unwrap_or_default();
        if is_multiplanar(type_) {
            buffer[m..m + 8].copy_from_slice(&wanted[m..m + 8]);
            let count = u32_at(&buffer, offset_of!(sys::v4l2_buffer, length)) as usize;
            let mut planes = event[8 + BUFFER..][..count * PLANE].to_vec();
            if u32_at(&buffer, offset_of!(sys::v4l2_buffer, memory)) == 2 {
                for (plane, user) in planes.chunks_exact_mut(PLANE).zip(users) {
                    let at = offset_of!(sys::v4l2_plane, m);
                    plane[at..at + 8].copy_from_slice(&user.to_le_bytes());
                }
            }
            self.poke(u64_at(&wanted, m), &planes);
        } else if u32_at(&buffer, offset_of!(sys::v4l2_buffer, memory)) == 2 {
            buffer[m..m + 8].copy_from_slice(&user.to_le_bytes());
        }
        self.poke(addr, &buffer);
    }

    fn map(&mut self, file: usize, offset: u32, _: u64) -> Result<Mapped, i32> {
        let File { device, session } = self.files[file];
        let mapped = self.send(device, &words(&[4, 0, session, 1, offset]));
        let at = u64_at(&mapped.map_err(|(e, _)| e)?, 0);
        let region = self.vmms[device].region.lock().unwrap();
        let (file, offset, _) = &region.maps[&at];
        Ok(Mapped {
            file: file.try_clone().unwrap(),
            offset: *offset,
            id: (device as u64) << 48 | at,
        })
    }

    fn unmap(&mut self, mapped: Mapped) {
        let device = (mapped.id >> 48) as usize;
        let at = mapped.id & 0xffff_ffff_ffff;
        let sent = [words(&[5, 0]), at.to_le_bytes().to_vec()].concat();
        self.send(device, &sent).unwrap();
    }
}
