//! Tests buffers that are revoked while devices and programs hold them.

use super::fences::Random;
use super::*;
use vb3_dma::{DmaAddr, DmaOps as _};
use vb3_dmabuf::MemoryId;

const ENODEV: i32 = 19;
const SECRET: u8 = 0xa5;

/// A device, and the address at which it sees a buffer.
type Seen = (vb3_machine::Device, DmaAddr);

/// Returns at which address each device sees a memory: its owner, and the devices that have mapped it.
fn seen(bench: &Bench, id: MemoryId) -> Vec<Seen> {
    let (memory, ops) = (&bench.run.memory, bench.run.memory.ops());
    let seen = memory.buffers().inspect(id, |shared| {
        let attached = shared.attachments().iter().filter_map(|(key, attachment)| {
            let addr = shared.segment(ops, key, 0)?.addr;
            Some((attachment.device(), addr))
        });
        let own = ops.alloc_dma_addr(shared.memory());
        let own = own.and_then(|addr| Some((shared.device()?, addr)));
        attached.chain(own).collect()
    });
    seen.unwrap()
}

/// Asserts that no device and no descriptor reaches the memory's old content.
fn expect_unreadable(bench: &mut Bench, seen: &[Seen], fds: &[i32], of: &str) {
    for &(dev, addr) in seen {
        let mut bytes = [0; 64];
        let machine = bench.run.memory.ops_mut().platform_mut();
        // Without a mapping, the access faults. A bounce buffer may hold other devices' data by now.
        let read = machine.bus_read(dev, addr, &mut bytes);
        assert!(read.is_err() || bytes == [0; 64], "{of}: {dev:?} {addr:?}");
    }
    for &fd in fds {
        assert_eq!(first_bytes(bench, fd), [0; 64], "{of}: descriptor {fd}");
    }
}

fn first_bytes(bench: &Bench, fd: i32) -> [u8; 64] {
    let fd = bench.program.borrow_fd(fd).unwrap();
    let mut bytes = [0; 64];
    rustix::io::pread(&fd, &mut bytes, 0).unwrap();
    bytes
}

fn fill(bench: &Bench, fd: i32) {
    let fd = bench.program.borrow_fd(fd).unwrap();
    rustix::io::pwrite(&fd, &[SECRET; 4096], 0).unwrap();
}

fn import(index: u32, fd: i32, used: u32) -> Arg {
    let mut arg = Bench::buffer(OUTPUT, DMABUF, index);
    for (at, value) in [
        (offset_of!(v4l2_buffer, bytesused), used),
        (offset_of!(v4l2_buffer, m), fd as u32),
    ] {
        arg.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    arg
}

/// Returns the memories of a run, oldest first.
fn memories(bench: &Bench) -> Vec<MemoryId> {
    bench.run.memory.buffers().memories().collect()
}

fn expect_nothing_held(bench: &mut Bench, of: &str) {
    let report = bench.run.report();
    // Counts no descriptors, since all tests share those of this process.
    let held = vb3_report::Held {
        fds: 0,
        ..report.held
    };
    assert!(held.is_empty(), "{of}: {held:?}");
    assert!(memories(bench).is_empty(), "{of}");
    let counts = bench.run.memory.buffers().fence_counts();
    assert_eq!(counts.0, counts.1, "{of}: fences");
    assert_eq!(bench.run.memory.ops().platform().held().objects, 0, "{of}");
}

#[test]
fn revoked_buffers_are_unreachable_on_every_machine() {
    for (machine, _) in BUILTINS {
        let mut bench = Bench::new(machine, &["camera,sizes=64x48", "display,size=64x48"]);
        let (camera, display) = (bench.open(0), bench.open(1));
        assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2, "{machine}");
        bench.reqbufs(display, OUTPUT, DMABUF, 2);
        let fd = bench.export(camera, CAPTURE, 0);
        let file = bench.program.identify(fd).unwrap();
        let map = bench.map(camera, 0).unwrap();
        fill(&bench, fd);
        bench.ioctl(display, VIDIOC_QBUF, import(0, fd, 6144));
        bench.stream(display, OUTPUT, true);
        assert_eq!(bench.run.buffer_poll(file, 4), 0, "the display has it");
        let id = memories(&bench)[0];
        let seen = seen(&bench, id);
        assert!(!seen.is_empty(), "{machine}");
        let name = id.to_string();
        assert_eq!(bench.run.revoke_by_name(&name), Ok(()));
        expect_unreadable(&mut bench, &seen, &[fd], machine);
        let mut bytes = [1; 64];
        rustix::io::pread(&map.fd, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 64], "{machine}: the program's mapping");
        let ready = bench.run.buffer_poll(file, 4);
        assert_ne!(ready, 0, "{machine}: its fence has ended");
        let said = bench.run.revoke_by_name(&name).unwrap_err();
        assert!(said.contains("already"), "{said}");
        let list = bench.run.list_buffers().to_string();
        assert!(list.contains(" buffer 0 plane 0: 8 KiB revoked"), "{list}");
        // The display finds its buffer revoked and reports an error.
        let mut arg = Bench::buffer(OUTPUT, DMABUF, 0);
        let came = (0..1000).any(|_| {
            bench.run.tick();
            bench.try_ioctl(display, VIDIOC_DQBUF, &mut arg).is_ok()
        });
        let flags = arg.u32(offset_of!(v4l2_buffer, flags));
        assert!(came && flags & V4L2_BUF_FLAG_ERROR != 0, "{machine}");
        for index in 0..2 {
            let mut again = import(index, fd, 6144);
            let refused = bench.try_ioctl(display, VIDIOC_QBUF, &mut again);
            assert_eq!(refused, Err(ENODEV), "{machine}: index {index}");
        }
        let mut own = Bench::buffer(CAPTURE, MMAP, 0);
        let refused = bench.try_ioctl(camera, VIDIOC_QBUF, &mut own);
        assert_eq!(refused, Err(ENODEV), "{machine}: its own device");
        let mut export = Bench::exported(CAPTURE, 0);
        let refused = bench.try_ioctl(camera, VIDIOC_EXPBUF, &mut export);
        assert_eq!(refused, Err(ENODEV), "{machine}: EXPBUF");
        let refused = bench.map(camera, 0).map(|map| map.tag);
        assert_eq!(refused, Err(Errno::ENODEV), "{machine}: mmap");
        // The buffer that was not revoked keeps working.
        bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 1));
        bench.stream(camera, CAPTURE, true);
        assert_eq!(bench.dequeue(camera, CAPTURE, MMAP).0, 1, "{machine}");
        let report = bench.run.report();
        let revoked = report.refusals.iter().filter(|r| r.constraint == "revoked");
        let mut devices: Vec<_> = revoked.map(|r| (&*r.device, &*r.call)).collect();
        devices.sort_unstable();
        devices.dedup();
        assert!(devices.contains(&("/dev/video0", "QBUF")), "{devices:?}");
        assert!(devices.contains(&("/dev/video1", "QBUF")), "{devices:?}");
        bench.run.tag_ended(map.tag);
        bench.close_all(&[camera, display]);
        expect_nothing_held(&mut bench, machine);
    }
}

/// A display that has a revoked buffer gives it back with an error. It does not show other memory that
/// got the buffer's addresses. A buffer prepared before is refused.
#[test]
fn an_importer_uses_no_address_of_a_revoked_buffer() {
    for (machine, _) in BUILTINS {
        let mut bench = Bench::new(machine, &["camera,sizes=64x48", "display,size=64x48"]);
        let (camera, display) = (bench.open(0), bench.open(1));
        bench.reqbufs(camera, CAPTURE, MMAP, 3);
        bench.reqbufs(display, OUTPUT, DMABUF, 3);
        let fds = [0, 1, 2].map(|index| bench.export(camera, CAPTURE, index));
        let names: Vec<String> = memories(&bench).iter().map(MemoryId::to_string).collect();
        bench.ioctl(display, VIDIOC_QBUF, import(0, fds[0], 6144));
        bench.ioctl(display, VIDIOC_PREPARE_BUF, import(1, fds[1], 6144));
        bench.stream(display, OUTPUT, true);
        for name in &names[..2] {
            assert_eq!(bench.run.revoke_by_name(name), Ok(()));
        }
        bench.ioctl(display, VIDIOC_QBUF, import(2, fds[2], 6144));
        let mut prepared = import(1, fds[1], 6144);
        let refused = bench.try_ioctl(display, VIDIOC_QBUF, &mut prepared);
        assert_eq!(refused, Err(ENODEV), "{machine}");
        for (index, error) in [(0, V4L2_BUF_FLAG_ERROR), (2, 0)] {
            let mut arg = Bench::buffer(OUTPUT, DMABUF, 0);
            let came = (0..1000).any(|_| {
                bench.run.tick();
                bench.try_ioctl(display, VIDIOC_DQBUF, &mut arg).is_ok()
            });
            let flags = arg.u32(offset_of!(v4l2_buffer, flags));
            let found = (came, arg.u32(0), flags & V4L2_BUF_FLAG_ERROR);
            assert_eq!(found, (true, index, error), "{machine}");
        }
        bench.close_all(&[camera, display]);
        expect_nothing_held(&mut bench, machine);
    }
}

/// A buffer that waits for STREAMON when it is revoked is returned as one that the device has.
#[test]
fn a_buffer_queued_early_uses_no_revoked_address() {
    for (machine, _) in BUILTINS {
        let mut bench = Bench::new(machine, &["camera,sizes=64x48", "display,size=64x48"]);
        let (camera, display) = (bench.open(0), bench.open(1));
        bench.reqbufs(camera, CAPTURE, MMAP, 2);
        bench.reqbufs(display, OUTPUT, DMABUF, 2);
        let fds = [0, 1].map(|index| bench.export(camera, CAPTURE, index));
        let name = memories(&bench)[0].to_string();
        bench.ioctl(display, VIDIOC_QBUF, import(0, fds[0], 6144));
        assert_eq!(bench.run.revoke_by_name(&name), Ok(()));
        bench.ioctl(display, VIDIOC_QBUF, import(1, fds[1], 6144));
        bench.stream(display, OUTPUT, true);
        for (index, error) in [(0, V4L2_BUF_FLAG_ERROR), (1, 0)] {
            let mut arg = Bench::buffer(OUTPUT, DMABUF, 0);
            let came = (0..1000).any(|_| {
                bench.run.tick();
                bench.try_ioctl(display, VIDIOC_DQBUF, &mut arg).is_ok()
            });
            let flags = arg.u32(offset_of!(v4l2_buffer, flags));
            let found = (came, arg.u32(0), flags & V4L2_BUF_FLAG_ERROR);
            assert_eq!(found, (true, index, error), "{machine}");
        }
        bench.close_all(&[camera, display]);
        expect_nothing_held(&mut bench, machine);
    }
}

#[test]
fn an_unplugged_device_can_take_its_exports_with_it() {
    for revoke in [false, true] {
        let mut bench = Bench::new("soc-iommu", &["camera,sizes=64x48", "display,size=64x48"]);
        let (camera, display) = (bench.open(0), bench.open(1));
        bench.reqbufs(camera, CAPTURE, MMAP, 2);
        bench.reqbufs(display, OUTPUT, DMABUF, 2);
        let fd = bench.export(camera, CAPTURE, 0);
        fill(&bench, fd);
        let done = match revoke {
            true => bench.run.unplug_and_revoke("video0"),
            false => bench.run.plug_by_name("video0", false).map(drop),
        };
        assert_eq!(done, Ok(()));
        assert_eq!(first_bytes(&bench, fd)[0], if revoke { 0 } else { SECRET });
        let queued = bench.try_ioctl(display, VIDIOC_QBUF, &mut import(0, fd, 6144));
        assert_eq!(queued.err(), revoke.then_some(ENODEV));
        bench.close_all(&[camera, display]);
        expect_nothing_held(&mut bench, "unplug");
    }
}

#[test]
fn a_stream_without_a_buffer_left_ends_with_an_error() {
    const EIO: i32 = 5;
    const POLLIN: i16 = 1;
    const POLLERR: i16 = 8;
    let mut bench = Bench::new("pc", &["camera,sizes=64x48"]);
    let camera = bench.open(0);
    assert_eq!(bench.reqbufs(camera, CAPTURE, MMAP, 2), 2);
    for index in 0..2 {
        bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, index));
    }
    bench.stream(camera, CAPTURE, true);
    let names: Vec<String> = memories(&bench).iter().map(MemoryId::to_string).collect();
    bench.run.revoke_by_name(&names[0]).unwrap();
    assert_eq!(bench.run.poll(camera, POLLIN) & POLLERR, 0, "one is left");
    bench.changed();
    bench.run.revoke_by_name(&names[1]).unwrap();
    assert_eq!(bench.changed(), [camera], "who waits looks again");
    assert_ne!(bench.run.poll(camera, POLLIN) & POLLERR, 0);
    for request in [VIDIOC_DQBUF, VIDIOC_QBUF] {
        let mut arg = Bench::buffer(CAPTURE, MMAP, 0);
        assert_eq!(bench.try_ioctl(camera, request, &mut arg), Err(EIO));
    }
    // Like any queue in error, the queue works again with other buffers.
    bench.stream(camera, CAPTURE, false);
    bench.reqbufs(camera, CAPTURE, MMAP, 2);
    bench.ioctl(camera, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(camera, CAPTURE, true);
    assert_eq!(bench.dequeue(camera, CAPTURE, MMAP).0, 0);
    bench.close_all(&[camera]);
    expect_nothing_held(&mut bench, "pc");
}

/// One random run: calls of a program and commands of a user in any order.
struct Walk {
    bench: Bench,
    random: Random,
    camera: FileId,
    display: FileId,
    /// Exported descriptors, each with the memory that it shows.
    fds: Vec<(i32, MemoryId)>,
    maps: Vec<vb3_frontend::Map>,
    revoked: Vec<(MemoryId, Vec<Seen>)>,
}

impl Walk {
    fn pick(&mut self, below: usize) -> usize {
        self.random.below(below.max(1) as u32) as usize
    }

    fn step(&mut self) {
        let index = self.pick(4) as u32;
        let (camera, display) = (self.camera, self.display);
        let bench = &mut self.bench;
        // Refusals are expected. Only the final state is checked.
        match self.random.below(16) {
            0 => {
                let arg = [(0, index), (4, CAPTURE), (8, MMAP)];
                let mut arg = Arg::new(size_of::<v4l2_requestbuffers>(), &arg);
                let _ = bench.try_ioctl(camera, VIDIOC_REQBUFS, &mut arg);
            }
            1..=3 => {
                let is_own = |memory: MemoryId| {
                    let place = bench.run.buffer_name(memory);
                    place.contains(&format!(" buffer {index} "))
                };
                let memory = memories(bench).into_iter().find(|id| is_own(*id));
                let mut arg = Bench::exported(CAPTURE, index);
                let made = bench.try_ioctl(camera, VIDIOC_EXPBUF, &mut arg);
                let number = arg.u32(offset_of!(v4l2_exportbuffer, fd)) as i32;
                if let (Ok(_), Some(memory)) = (made, memory) {
                    self.fds.push((number, memory));
                }
            }
            4 | 5 => {
                let mut arg = Bench::buffer(CAPTURE, MMAP, index);
                let _ = bench.try_ioctl(camera, VIDIOC_QBUF, &mut arg);
            }
            6 | 7 => {
                let at = self.pick(self.fds.len());
                if let Some(&(fd, _)) = self.fds.get(at) {
                    let mut arg = import(index, fd, 6144);
                    let _ = self.bench.try_ioctl(display, VIDIOC_QBUF, &mut arg);
                }
            }
            8 => {
                let mut arg = Bench::buffer(CAPTURE, MMAP, index);
                if bench.try_ioctl(camera, VIDIOC_QUERYBUF, &mut arg).is_ok() {
                    self.maps.extend(self.bench.map(camera, index));
                }
            }
            9 => {
                let at = self.pick(self.fds.len());
                if let Some(&(fd, _)) = self.fds.get(at) {
                    let file = self.bench.program.identify(fd).unwrap();
                    let flags = 1u64 << (index % 2) | u64::from(index & 2) << 1;
                    let at = (&raw const flags) as u64;
                    let program = &self.bench.program;
                    let _ = (self.bench.run).buffer_ioctl(file, 0x4008_6200, at, program);
                }
            }
            10 | 11 => self.revoke(),
            12 => {
                let (file, kind) = [(camera, CAPTURE), (display, OUTPUT)][index as usize % 2];
                let request = [VIDIOC_STREAMON, VIDIOC_STREAMOFF][index as usize / 2];
                let _ = bench.try_ioctl(file, request, &mut Arg::new(4, &[(0, kind)]));
            }
            13 => {
                let mut arg = Bench::buffer(CAPTURE, MMAP, 0);
                let _ = bench.try_ioctl(camera, VIDIOC_DQBUF, &mut arg);
                let mut arg = Bench::buffer(OUTPUT, DMABUF, 0);
                let _ = bench.try_ioctl(display, VIDIOC_DQBUF, &mut arg);
            }
            14 => self.kill(),
            _ => bench.run.tick(),
        }
    }

    /// Fills a buffer and revokes it.
    fn revoke(&mut self) {
        let all = memories(&self.bench);
        let Some(&id) = all.get(self.pick(all.len())) else {
            return;
        };
        if let Some((fd, _)) = self.fds.iter().find(|(_, memory)| *memory == id)
            && self.revoked.iter().all(|(gone, _)| *gone != id)
        {
            fill(&self.bench, *fd);
        }
        let seen = seen(&self.bench, id);
        if self.bench.run.revoke_by_name(&id.to_string()).is_ok() {
            expect_unreadable(&mut self.bench, &seen, &[], "random");
            self.revoked.push((id, seen));
        }
        self.expect_gone();
    }

    /// Ends the program with all its files, and starts another one.
    fn kill(&mut self) {
        self.bench.close_all(&[self.camera, self.display]);
        for map in self.maps.drain(..) {
            self.bench.run.tag_ended(map.tag);
        }
        self.fds.clear();
        // Other buffers may use the old addresses now.
        self.revoked.clear();
        expect_nothing_held(&mut self.bench, "killed");
        self.open();
    }

    fn open(&mut self) {
        (self.camera, self.display) = (self.bench.open(0), self.bench.open(1));
        self.bench.reqbufs(self.camera, CAPTURE, MMAP, 4);
        self.bench.reqbufs(self.display, OUTPUT, DMABUF, 4);
    }

    /// Asserts that revoked memory is unreachable as long as any handle exists.
    fn expect_gone(&mut self) {
        let live = memories(&self.bench);
        self.revoked.retain(|(id, _)| live.contains(id));
        for (id, seen) in &self.revoked {
            let fds = self.fds.iter().filter(|(_, memory)| memory == id);
            let fds: Vec<i32> = fds.map(|(fd, _)| *fd).collect();
            // Other buffers may be mapped at the other old addresses by now.
            let buffers = self.bench.run.memory.buffers();
            let owner = buffers.inspect(*id, |memory| memory.device()).unwrap();
            let own: Vec<Seen> = (seen.iter().copied())
                .filter(|(dev, _)| Some(*dev) == owner)
                .collect();
            expect_unreadable(&mut self.bench, &own, &fds, "random");
        }
    }
}

#[test]
fn random_revocations_leave_nothing_readable() {
    let machines = ["pc", "soc-cma", "soc-iommu", "soc-noncoherent", "vm-bounce"];
    let mut revoked = 0;
    for (seed, machine) in machines.into_iter().enumerate() {
        let specs = [
            "camera,sizes=64x48,pace=free",
            "display,size=64x48,pace=free",
        ];
        let mut walk = Walk {
            bench: Bench::seeded(machine, &specs, seed as u64),
            random: Random(seed as u64),
            camera: FileId(0),
            display: FileId(0),
            fds: Vec::new(),
            maps: Vec::new(),
            revoked: Vec::new(),
        };
        for _ in 0..50 {
            walk.open();
            for _ in 0..40 {
                walk.step();
            }
            walk.expect_gone();
            walk.bench.close_all(&[walk.camera, walk.display]);
            for map in walk.maps.drain(..) {
                walk.bench.run.tag_ended(map.tag);
            }
            walk.fds.clear();
            walk.revoked.clear();
            expect_nothing_held(&mut walk.bench, machine);
        }
        revoked += walk.bench.run.history.revoked;
    }
    assert!(revoked > 500, "only {revoked} buffers were revoked");
}
