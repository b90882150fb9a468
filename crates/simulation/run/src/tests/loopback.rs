//! One node of v4l2loopback serves a writer and readers.

use super::*;
use std::path::Path;

const KEEP_FORMAT: u32 = 0x0098_f900;
const CAPTURE_CAP: u32 = 1;
const OUTPUT_CAP: u32 = 2;
const FRAME: usize = 64 * 48 * 2;

fn bench(options: &str) -> Bench {
    let spec = format!("loopback,identity=v4l2loopback,size=64x48{options}");
    Bench::new("pc", &[&spec])
}

fn write(bench: &mut Bench, file: FileId, value: u8) -> Result<i64, i32> {
    let bytes = vec![value; FRAME];
    let (addr, len) = (bytes.as_ptr() as u64, bytes.len() as u64);
    bench.program.call.set(bench.program.call.get() + 1);
    match bench.run.write(file, addr, len, true, &bench.program) {
        CallOutcome::Done(value) => Ok(value),
        CallOutcome::Fail(errno) => Err(errno.0),
        other => panic!("{other:?}"),
    }
}

fn caps(bench: &mut Bench, file: FileId) -> u32 {
    let arg = Arg::new(size_of::<v4l2_capability>(), &[]);
    let arg = bench.ioctl(file, VIDIOC_QUERYCAP, arg);
    arg.u32(offset_of!(v4l2_capability, device_caps)) & (CAPTURE_CAP | OUTPUT_CAP)
}

fn start_reader(bench: &mut Bench, file: FileId) {
    assert_eq!(bench.reqbufs(file, CAPTURE, MMAP, 2), 2);
    bench.ioctl(file, VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 0));
    bench.stream(file, CAPTURE, true);
}

#[test]
fn one_node_passes_frames_to_two_readers() {
    let mut bench = bench("");
    let (writer, readers) = (bench.open(0), [bench.open(0), bench.open(0)]);
    // OBS starts its stream before it writes.
    bench.stream(writer, OUTPUT, true);
    assert_eq!(write(&mut bench, writer, 1), Ok(FRAME as i64));
    bench.run.tick();
    for reader in readers {
        start_reader(&mut bench, reader);
        let (_, used) = bench.dequeue(reader, CAPTURE, MMAP);
        assert_eq!(used as usize, FRAME);
    }
    let other = bench.open(0);
    assert_eq!(write(&mut bench, other, 2), Err(16), "a second writer");
    bench.run.release(writer);
    assert_eq!(write(&mut bench, other, 2), Ok(FRAME as i64));
    bench.ioctl(readers[0], VIDIOC_QBUF, Bench::buffer(CAPTURE, MMAP, 1));
    bench.dequeue(readers[0], CAPTURE, MMAP);
}

#[test]
fn exclusive_node_has_one_direction_at_a_time() {
    let both = CAPTURE_CAP | OUTPUT_CAP;
    for (options, before, after) in [
        ("", both, both),
        (",exclusive-caps=on", OUTPUT_CAP, CAPTURE_CAP),
    ] {
        let mut bench = bench(options);
        let (writer, reader) = (bench.open(0), bench.open(0));
        assert_eq!(caps(&mut bench, reader), before, "{options}");
        write(&mut bench, writer, 1).unwrap();
        assert_eq!(caps(&mut bench, reader), after, "{options}");
        start_reader(&mut bench, reader);
        bench.dequeue(reader, CAPTURE, MMAP);
        write(&mut bench, writer, 2).unwrap();
        bench.run.release(writer);
        assert_eq!(caps(&mut bench, reader) & CAPTURE_CAP, CAPTURE_CAP);
    }
}

#[test]
fn files_share_controls_and_sysfs_shows_the_format() {
    let mut bench = bench(",node=video3");
    let nodes = bench.run.nodes();
    let path = Path::new("/sys/devices/virtual/video4linux/video3/format");
    let format = nodes.iter().find(|node| node.path == path).unwrap().id;
    let read = |bench: &mut Bench| {
        let file = bench.run.open(format, 0, bench.program.origin()).unwrap();
        let mut text = [0u8; 64];
        let addr = text.as_mut_ptr() as u64;
        let mut all = String::new();
        while let CallOutcome::Done(len @ 1..) = bench.run.read(file, addr, 7, true, &bench.program)
        {
            all.push_str(std::str::from_utf8(&text[..len as usize]).unwrap());
        }
        bench.run.release(file);
        all
    };
    assert_eq!(read(&mut bench), "");
    let files = [bench.open(3), bench.open(3)];
    let mut format = Arg::new(size_of::<v4l2_format>(), &[(0, OUTPUT)]);
    format = bench.ioctl(files[0], VIDIOC_G_FMT, format);
    bench.ioctl(files[0], VIDIOC_S_FMT, format);
    assert_eq!(read(&mut bench), "YUYV:64x48@30\n");
    let control = [(0, KEEP_FORMAT), (4, 1)];
    bench.ioctl(files[0], VIDIOC_S_CTRL, Arg::new(8, &control));
    bench.run.tick();
    let value = bench.ioctl(files[1], VIDIOC_G_CTRL, Arg::new(8, &control[..1]));
    assert_eq!(value.u32(4), 1);
    assert_eq!(read(&mut bench), "YUYV:64x48@30\n");
    files.into_iter().for_each(|file| bench.run.release(file));
    let late = bench.open(3);
    let value = bench.ioctl(late, VIDIOC_G_CTRL, Arg::new(8, &control[..1]));
    assert_eq!(value.u32(4), 1);
}

#[test]
fn eleventh_file_is_refused() {
    let mut bench = bench("");
    let files: Vec<FileId> = (0..10).map(|_| bench.open(0)).collect();
    let refused = bench.run.open(NodeId(0), 2, bench.program.origin());
    assert_eq!(refused.map_err(|errno| errno.0), Err(16));
    bench.run.release(files[4]);
    bench.open(0);
}
