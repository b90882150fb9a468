//! The mappings and exported buffers by which programs use the devices' memory.

use crate::holders::{HeldBy, MAX_MAPPERS};
use crate::imports::Imports;
use crate::memory::RunMemory;
use crate::staged::Staging;
use crate::time::LOOK_NS;
use crate::turns::Turns;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::iter::repeat_n;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use vb3_dmabuf::{BufId, BufRef, MemoryId, Vma};
use vb3_frontend::{Client, Errno, FdIdentity, FileAccess, Install, Made, NumberAt, Step, Tag};
use vb3_machine::profile::PAGE_SIZE;
use vb3_machine::{Udmabuf, dmabuf_holders};
use vb3_plane::MemOps;

/// Maximum number of mappings and exports of programs at one time.
const MAX_GIVEN: usize = 1 << 20;

/// Number of the kernel's dma-bufs to check at a time. Each check reads a file in /proc.
const LOOKED_AT: usize = 64;

/// A mapping or descriptor that a program was given.
#[derive(Debug)]
enum Given {
    /// A mapping of a queue's buffer, in a process.
    Mapping(Vma, Client),
    /// A descriptor of an exported buffer, given to a process.
    Export {
        file: FdIdentity,
        buf: BufRef,
        client: Client,
    },
}

/// A file through which programs reach exported memory, and the dma-bufs that it stands for.
#[derive(Debug)]
struct Export {
    /// The length of the longest of the dma-bufs.
    len_bytes: u64,
    /// Whether the file is a program's memfd, which is no dma-buf itself.
    is_of_program: bool,
    bufs: BTreeSet<BufId>,
    /// The mapping that keeps the memory in use once a program has mapped the file.
    mapped: Option<Vma>,
    /// The processes that have mapped the file.
    mapped_by: BTreeSet<Client>,
}

/// A file that stands for a dma-buf.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) fd: OwnedFd,
    pub(super) file: FdIdentity,
    pub(super) kind: ShownKind,
}

/// The kind of file that stands for a dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownKind {
    /// A dma-buf of the kernel.
    Real,
    /// A memfd of the host.
    Memfd,
    /// A new description of a program's memfd.
    OfProgram,
}

/// A real dma-buf that programs were given. The host sees its end only by counting its holders.
#[derive(Debug)]
struct Real {
    fd: OwnedFd,
    file: FdIdentity,
    buf: BufRef,
    client: Client,
}

/// Makes real dma-bufs of the machine's memory, and counts their holders.
pub(super) trait Exporter: Debug {
    /// Makes a dma-buf of a memfd's first `len` bytes, or returns `None` if that is impossible.
    fn export(&self, memfd: BorrowedFd<'_>, len: u64) -> Option<OwnedFd>;

    /// Returns how many descriptors and mappings a dma-buf has, including the host's. `None` if the file is
    /// not a dma-buf.
    fn holders(&self, buf: BorrowedFd<'_>) -> Option<u64>;
}

impl Exporter for Udmabuf {
    fn export(&self, memfd: BorrowedFd<'_>, len: u64) -> Option<OwnedFd> {
        Self::export(self, memfd, len).ok()
    }

    fn holders(&self, buf: BorrowedFd<'_>) -> Option<u64> {
        dmabuf_holders(buf)
    }
}

/// All mappings and exported buffers that programs hold.
#[derive(Debug)]
pub(super) struct Shares {
    next_tag: u64,
    /// When real dma-bufs are checked next, by the system's clock.
    pub(super) next_look_ns: u64,
    /// `None` if the kernel cannot make dma-bufs of memfds for this process.
    exporter: Option<Box<dyn Exporter + Send>>,
    real: Turns<Real>,
    given: BTreeMap<Tag, Given>,
    exports: HashMap<FdIdentity, Export>,
    /// Which processes hold which memory, with the number of handles.
    holders: BTreeMap<MemoryId, BTreeMap<HeldBy, usize>>,
    /// Memory whose holders changed since the ledger's last look.
    touched: BTreeSet<MemoryId>,
    /// Buffers of other drivers that programs imported.
    pub(super) imports: Imports,
    /// Programs' own memory that devices use.
    pub(super) staging: Staging,
}

impl Shares {
    /// Makes empty tables. Exports are real dma-bufs if the kernel supports them.
    pub(super) fn new() -> Self {
        Self {
            next_tag: 0,
            next_look_ns: LOOK_NS,
            exporter: Udmabuf::open().map(|opened| Box::new(opened) as _),
            real: Turns::new(),
            given: BTreeMap::new(),
            exports: HashMap::new(),
            holders: BTreeMap::new(),
            touched: BTreeSet::new(),
            imports: Imports::of_kernel(),
            staging: Staging::default(),
        }
    }

    /// Exports buffers as memfds from now on, not as real dma-bufs.
    pub(super) fn export_memfds(&mut self) {
        self.exporter = None;
    }

    /// Uses another exporter than the kernel, for tests.
    #[cfg(test)]
    pub(super) fn set_exporter(&mut self, exporter: Box<dyn Exporter + Send>) {
        self.exporter = Some(exporter);
    }

    /// Returns whether there is a buffer whose end nothing reports, so that it must be checked repeatedly.
    pub(super) fn wants_looks(&self) -> bool {
        self.real.len() > 0 || self.imports.len() > 0
    }

    /// Releases dma-bufs and imports that no process holds any more. Returns whether a dma-buf ended.
    pub(super) fn look(&mut self, memory: &mut RunMemory) -> bool {
        self.look_at(memory, usize::MAX)
    }

    /// Does the same as [`look`](Self::look) for some of the dma-bufs. The next call continues with others.
    pub(super) fn look_at_some(&mut self, memory: &mut RunMemory) {
        self.look_at(memory, LOOKED_AT);
    }

    fn look_at(&mut self, memory: &mut RunMemory, most: usize) -> bool {
        self.imports.look(memory);
        let exporter = self.exporter.as_deref();
        let holders = |real: &Real| exporter?.holders(real.fd.as_fd());
        // A count can fail for want of a descriptor. The buffer may still have holders then.
        let is_gone = |real: &Real| holders(real).is_some_and(|n| n <= 1);
        let gone = self.real.take_gone(most, is_gone);
        let any = !gone.is_empty();
        for real in gone {
            self.drop_holder(real.buf.memory(), HeldBy::Descriptor(real.client));
            self.forget(memory, real.file, real.buf.id());
            memory.put_dmabuf(real.buf);
        }
        any
    }

    /// Makes a real dma-buf of exported memory, or returns `None` if that is impossible.
    fn make_real(&self, memfd: BorrowedFd<'_>, len: u64) -> Option<(OwnedFd, FdIdentity)> {
        let len = len.checked_next_multiple_of(PAGE_SIZE)?;
        let exporter = self.exporter.as_ref()?;
        let fd = exporter.export(memfd, len)?;
        exporter.holders(fd.as_fd())?;
        let file = identity(&fd).ok()?;
        Some((fd, file))
    }

    fn tag(&mut self) -> Result<Tag, Errno> {
        if self.given.len() + self.real.len() >= MAX_GIVEN {
            return Err(Errno::ENFILE);
        }
        self.next_tag = self.next_tag.wrapping_add(1);
        Ok(Tag(self.next_tag))
    }

    /// Counts a mapping of a queue's buffer. Returns the tag under which the mapping's end is reported.
    pub(super) fn map(
        &mut self,
        memory: &mut RunMemory,
        id: MemoryId,
        client: Client,
    ) -> Result<Tag, Errno> {
        let tag = self.tag()?;
        let vma = memory
            .buffers()
            .vma_open(id)
            .map_err(|e| Errno(e.errno()))?;
        self.hold(id, HeldBy::Mapping(client));
        self.given.insert(tag, Given::Mapping(vma, client));
        Ok(tag)
    }

    /// Makes a descriptor for a dma-buf in a program, after the step. On failure, returns `buf` with the errno.
    pub(super) fn install(
        &mut self,
        memory: &mut RunMemory,
        buf: BufRef,
        caller: &Step<'_>,
        (cloexec, access, number): (bool, FileAccess, NumberAt),
    ) -> Result<(), (Errno, BufRef)> {
        let (memfd, file, len_bytes) = match file_of(memory, &buf, access) {
            Ok(made) => made,
            Err(e) => return Err((e, buf)),
        };
        let real = match access {
            // With a real dma-buf, the kernel would let the program map protected memory.
            _ if is_protected(memory, buf.id()) => None,
            FileAccess::ReadWrite => self.make_real(memfd.as_fd(), len_bytes),
            FileAccess::ReadOnly | FileAccess::WriteOnly => None,
        };
        let (fd, file, kind) = match real {
            Some((fd, file)) => (fd, file, ShownKind::Real),
            None => (memfd, file, ShownKind::Memfd),
        };
        let shown = Shown { fd, file, kind };
        self.install_as((buf, len_bytes), shown, caller, (cloexec, number))
    }

    /// Makes a descriptor of a file that stands for a dma-buf, after the step.
    pub(super) fn install_as(
        &mut self,
        (buf, len_bytes): (BufRef, u64),
        Shown { fd, file, kind }: Shown,
        caller: &Step<'_>,
        (cloexec, number): (bool, NumberAt),
    ) -> Result<(), (Errno, BufRef)> {
        let tag = match self.tag() {
            Ok(tag) => tag,
            Err(e) => return Err((e, buf)),
        };
        let given = match fd.try_clone() {
            Ok(given) => given,
            Err(_) => return Err((Errno::ENFILE, buf)),
        };
        // The export is recorded before the descriptor exists, since another thread may guess its number.
        let export = self.exports.entry(file).or_insert_with(|| Export {
            len_bytes,
            is_of_program: kind == ShownKind::OfProgram,
            bufs: BTreeSet::new(),
            mapped: None,
            mapped_by: BTreeSet::new(),
        });
        export.len_bytes = export.len_bytes.max(len_bytes);
        export.bufs.insert(buf.id());
        let client = caller.client();
        self.hold(buf.memory(), HeldBy::Descriptor(client));
        if kind == ShownKind::Real {
            self.real.push(Real {
                fd,
                file,
                buf,
                client,
            });
        } else {
            self.given.insert(tag, Given::Export { file, buf, client });
        }
        caller.install(Install {
            made: Made::Memory { fd: given, tag },
            cloexec,
            number,
        });
        Ok(())
    }

    /// Records that a process itself maps an exported file or a buffer of another driver.
    ///
    /// The process may access the memory from now on. The process stays listed as a holder as long as the file
    /// exists, since the kernel does not report the end of the mapping.
    ///
    /// # Errors
    /// EINVAL for memory that is protected now.
    ///
    /// Source: Linux 6.12 drivers/dma-buf/dma-buf.c `dma_buf_mmap_internal` for an exporter without
    /// `mmap`; differs: fails only while the memory is protected.
    pub(super) fn mapped(
        &mut self,
        memory: &mut RunMemory,
        file: FdIdentity,
        client: Client,
    ) -> Result<(), Errno> {
        let Some(export) = self.exports.get_mut(&file) else {
            self.imports.mapped(memory, file, client);
            return Ok(());
        };
        let Some(&buf) = export.bufs.first() else {
            return Ok(());
        };
        if is_protected(memory, buf) {
            return Err(Errno::EINVAL);
        }
        if export.mapped.is_none() {
            export.mapped = memory.buffers().vma_open_buf(buf).ok();
        }
        let memory = export.mapped.as_ref().map(Vma::memory);
        if export.mapped_by.len() < MAX_MAPPERS
            && export.mapped_by.insert(client)
            && let Some(memory) = memory
        {
            self.hold(memory, HeldBy::Mapping(client));
            self.touched.insert(memory);
        }
        Ok(())
    }

    /// Removes a dma-buf from a file. When the last one is removed, the mapping of the file ends.
    fn forget(&mut self, memory: &mut RunMemory, file: FdIdentity, id: BufId) {
        let Some(export) = self.exports.get_mut(&file) else {
            return;
        };
        export.bufs.remove(&id);
        if export.bufs.is_empty() {
            let gone = self.exports.remove(&file);
            let Some(Export {
                mapped: Some(vma),
                mapped_by,
                ..
            }) = gone
            else {
                return;
            };
            for client in mapped_by {
                self.drop_holder(vma.memory(), HeldBy::Mapping(client));
            }
            memory.vma_close(vma);
        }
    }

    /// Releases the mapping or descriptor with this tag.
    pub(super) fn tag_ended(&mut self, memory: &mut RunMemory, tag: Tag) {
        match self.given.remove(&tag) {
            Some(Given::Mapping(vma, client)) => {
                self.drop_holder(vma.memory(), HeldBy::Mapping(client));
                memory.vma_close(vma);
            }
            Some(Given::Export { file, buf, client }) => {
                self.drop_holder(buf.memory(), HeldBy::Descriptor(client));
                self.forget(memory, file, buf.id());
                memory.put_dmabuf(buf);
            }
            None => {}
        }
    }

    fn hold(&mut self, memory: MemoryId, by: HeldBy) {
        let of = self.holders.entry(memory).or_default();
        *of.entry(by).or_default() += 1;
    }

    fn drop_holder(&mut self, memory: MemoryId, by: HeldBy) {
        let Some(of) = self.holders.get_mut(&memory) else {
            return;
        };
        if let Some(count) = of.get_mut(&by) {
            *count -= 1;
            if *count == 0 {
                of.remove(&by);
            }
        }
        if of.is_empty() {
            self.holders.remove(&memory);
        }
    }

    /// Returns the processes that hold a memory, each once per kind of handle.
    pub(super) fn holders(&self, memory: MemoryId) -> BTreeSet<HeldBy> {
        let counted = self.holders.get(&memory).into_iter().flatten();
        let others = self.imports.mapped_by().filter(|(of, _)| *of == memory);
        let counted = counted.map(|(by, _)| *by);
        counted.chain(others.map(|(_, by)| by)).collect()
    }

    /// Returns the memory whose holders changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<MemoryId> {
        std::mem::take(&mut self.touched)
    }

    /// Returns which process holds which memory, once for each handle.
    pub(super) fn held(&self) -> impl Iterator<Item = (MemoryId, HeldBy)> {
        let all = self.holders.iter();
        let all = all.flat_map(|(memory, of)| of.iter().map(|by| (*memory, by)));
        let counted = all.flat_map(|(memory, (by, count))| repeat_n((memory, *by), *count));
        counted.chain(self.imports.mapped_by())
    }

    /// Returns the dma-buf that a program's descriptor of a file names. `tag` returns the descriptor's tag,
    /// if the host installed it.
    ///
    /// # Errors
    /// Errors of `tag`.
    pub(super) fn named(
        &self,
        file: FdIdentity,
        tag: impl FnOnce() -> Result<Option<Tag>, Errno>,
    ) -> Result<Option<BufId>, Errno> {
        if self
            .exports
            .get(&file)
            .is_none_or(|export| !export.is_of_program)
        {
            return Ok(self.buf(file));
        }
        let given = tag()?.and_then(|tag| self.given.get(&tag));
        Ok(match given {
            Some(Given::Export { buf, .. }) => Some(buf.id()),
            Some(Given::Mapping(..)) | None => None,
        })
    }

    /// Returns the first dma-buf behind a file.
    pub(super) fn buf(&self, file: FdIdentity) -> Option<BufId> {
        self.exports.get(&file)?.bufs.first().copied()
    }

    /// Returns the length in bytes of the dma-buf behind a file.
    pub(super) fn len_bytes(&self, file: FdIdentity) -> u64 {
        self.exports.get(&file).map_or(0, |export| export.len_bytes)
    }

    /// Returns the number of exported descriptors that programs hold.
    pub(super) fn exported(&self) -> u64 {
        self.given
            .values()
            .filter(|g| matches!(g, Given::Export { .. }))
            .count() as u64
    }
}

/// Returns whether a dma-buf is in protected memory.
fn is_protected(memory: &RunMemory, buf: BufId) -> bool {
    let Ok(id) = memory.buffers().memory_of(buf) else {
        return false;
    };
    let first = memory.buffers().inspect(id, |shared| {
        shared.memory().segments().first().map(|first| first.addr)
    });
    (first.flatten()).is_some_and(|addr| memory.ops().platform().is_protected(addr))
}

/// Opens a dma-buf's memory with the requested access mode. Returns the descriptor, the identity of its file,
/// and the dma-buf's length in bytes.
fn file_of(
    memory: &mut RunMemory,
    buf: &BufRef,
    access: FileAccess,
) -> Result<(OwnedFd, FdIdentity, u64), Errno> {
    let len = memory.dmabuf_len(buf);
    let shown = match memory.buffers().mmap_buf(buf.id(), 0, len) {
        Ok(map) => map.fd,
        Err(_) if is_protected(memory, buf.id()) => sealed_zeroes(len)?,
        Err(e) => return Err(Errno(e.errno())),
    };
    let flags = match access {
        FileAccess::ReadOnly => OFlags::RDONLY,
        FileAccess::WriteOnly => OFlags::WRONLY,
        FileAccess::ReadWrite => OFlags::RDWR,
    };
    let path = format!("/proc/self/fd/{}", shown.as_raw_fd());
    let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Errno(e.raw_os_error()))?;
    let id = identity(&file)?;
    Ok((file, id, len))
}

/// Returns the identity of an open file.
pub(super) fn identity(fd: &OwnedFd) -> Result<FdIdentity, Errno> {
    let stat = rustix::fs::fstat(fd).map_err(|e| Errno(e.raw_os_error()))?;
    Ok(FdIdentity {
        dev: stat.st_dev,
        ino: stat.st_ino,
    })
}

/// Returns a sealed file of `len` zeroes. It stands for a dma-buf in protected memory, whose bytes
/// programs must not see.
fn sealed_zeroes(len: u64) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("vb3", flags).and_then(|file| {
        ftruncate(&file, len)?;
        fcntl_add_seals(
            &file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        Ok(file)
    });
    file.map_err(|e| Errno(e.raw_os_error()))
}
