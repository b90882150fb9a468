use super::*;
use crate::bytes::field;
use crate::sys;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn said(fields: &Fields) -> String {
    let words = fields.iter().map(|(name, value)| format!("{name}={value}"));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn answered_calls_have_names_and_valid_fields() {
    for known in REQUESTS {
        assert_eq!(name(known.number), Some(known.name));
        for field in known.arguments.iter().chain(known.results) {
            assert!(
                field.at + 4 <= known.size(),
                "{} {}",
                known.name,
                field.path
            );
        }
    }
    assert_eq!(name(sys::VIDIOC_G_TUNER), Some("VIDIOC_G_TUNER"));
    assert_eq!(
        name(sys::MEDIA_IOC_G_TOPOLOGY),
        Some("MEDIA_IOC_G_TOPOLOGY")
    );
    assert_eq!(name(0xc044_5600 | 0xfe), None);
}

#[test]
fn buffers_show_memory_and_direction() {
    let mut bytes = [0; size_of::<sys::v4l2_buffer>()];
    put(
        &mut bytes,
        field!(v4l2_buffer.type_),
        sys::V4L2_BUF_TYPE_VIDEO_CAPTURE,
    );
    put(&mut bytes, field!(v4l2_buffer.index), 3);
    put(
        &mut bytes,
        field!(v4l2_buffer.memory),
        sys::V4L2_MEMORY_DMABUF,
    );
    put(&mut bytes, field!(v4l2_buffer.m.fd), 17);
    put(&mut bytes, field!(v4l2_buffer.length), 614_400);
    put(
        &mut bytes,
        field!(v4l2_buffer.flags),
        sys::V4L2_BUF_FLAG_LAST | 1 << 31,
    );
    assert_eq!(
        said(&arguments(sys::VIDIOC_QBUF, &bytes)),
        "type=VIDEO_CAPTURE index=3 memory=DMABUF fd=17 length=614400 flags=LAST|0x80000000"
    );
    put(&mut bytes, field!(v4l2_buffer.sequence), 9);
    bytes[field!(v4l2_buffer.timestamp)] = 2;
    bytes[field!(v4l2_buffer.timestamp) + 8] = 5;
    assert_eq!(
        said(&results(sys::VIDIOC_DQBUF, &bytes)),
        "index=3 fd=17 bytesused=0 field=ANY sequence=9 timestamp=2.000005 flags=LAST|0x80000000"
    );
    put(&mut bytes, field!(v4l2_buffer.type_), 77);
    put(
        &mut bytes,
        field!(v4l2_buffer.memory),
        sys::V4L2_MEMORY_MMAP,
    );
    assert_eq!(
        said(&arguments(sys::VIDIOC_DQBUF, &bytes)),
        "type=77 memory=MMAP"
    );
}

#[test]
fn formats_of_one_and_of_several_planes() {
    let mut bytes = [0; size_of::<sys::v4l2_format>()];
    for (at, value) in [
        (field!(v4l2_format.type_), sys::V4L2_BUF_TYPE_VIDEO_OUTPUT),
        (field!(v4l2_format.fmt.pix.width), 640),
        (field!(v4l2_format.fmt.pix.height), 480),
        (
            field!(v4l2_format.fmt.pix.pixelformat),
            u32::from_ne_bytes(*b"YUYV"),
        ),
        (field!(v4l2_format.fmt.pix.field), sys::V4L2_FIELD_NONE),
    ] {
        put(&mut bytes, at, value);
    }
    assert_eq!(
        said(&arguments(sys::VIDIOC_S_FMT, &bytes)),
        "type=VIDEO_OUTPUT width=640 height=480 pixelformat=YUYV field=NONE"
    );
    put(&mut bytes, 0, sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE);
    bytes[field!(v4l2_format.fmt.pix_mp.num_planes)] = 2;
    assert_eq!(
        said(&arguments(sys::VIDIOC_TRY_FMT, &bytes)),
        "type=VIDEO_OUTPUT_MPLANE width=640 height=480 pixelformat=YUYV num_planes=2"
    );
}

#[test]
fn metadata_formats_have_no_picture() {
    let mut bytes = [0; size_of::<sys::v4l2_format>()];
    put(&mut bytes, 0, sys::V4L2_BUF_TYPE_META_CAPTURE);
    let format = u32::from_le_bytes(*b"UVCH");
    put(&mut bytes, field!(v4l2_format.fmt.meta.dataformat), format);
    put(&mut bytes, field!(v4l2_format.fmt.meta.buffersize), 10_240);
    let shown = |request| said(&arguments(request, &bytes));
    let set = shown(sys::VIDIOC_S_FMT);
    assert_eq!(set, "type=META_CAPTURE dataformat=UVCH");
    let all = said(&results(sys::VIDIOC_G_FMT, &bytes));
    assert!(all.ends_with("dataformat=UVCH buffersize=10240"), "{all}");
}

#[test]
fn sizes_and_intervals_are_shown_by_their_type() {
    let show = |request, type_at, of_type| {
        let mut bytes = [0; size_of::<sys::v4l2_frmivalenum>()];
        put(&mut bytes, type_at, of_type);
        for (at, value) in (type_at + 4..).step_by(4).zip(1..=6) {
            put(&mut bytes, at, value);
        }
        said(&results(request, &bytes))
    };
    let sizes = |of| {
        show(
            sys::VIDIOC_ENUM_FRAMESIZES,
            field!(v4l2_frmsizeenum.type_),
            of,
        )
    };
    let intervals = |of| {
        let at = field!(v4l2_frmivalenum.type_);
        show(sys::VIDIOC_ENUM_FRAMEINTERVALS, at, of)
    };
    assert_eq!(sizes(1), "type=DISCRETE width=1 height=2");
    assert_eq!(
        sizes(3),
        "type=STEPWISE min_width=1 max_width=2 step_width=3 min_height=4 max_height=5 step_height=6"
    );
    assert_eq!(intervals(1), "type=DISCRETE discrete=1/2");
    assert_eq!(intervals(3), "type=STEPWISE min=1/2 max=3/4 step=5/6");
}

#[test]
fn any_bytes_of_any_length_are_decoded() {
    for known in REQUESTS {
        for bytes in [&[][..], &[0xff; 7], &[0xff; MAX_STRUCTURE]] {
            let fields = arguments(known.number, bytes);
            let more = results(known.number, bytes);
            assert!(!said(&fields).contains('\n') && !said(&more).contains('\n'));
        }
    }
    let mut bytes = [0; size_of::<sys::v4l2_capability>()];
    bytes[..3].copy_from_slice(b"a\nb");
    assert!(said(&results(sys::VIDIOC_QUERYCAP, &bytes)).starts_with("driver=a?b card=\"\""));
}

fn entry(id: u32, size: u32, value: u64) -> Vec<u8> {
    let mut entry = vec![0; size_of::<sys::v4l2_ext_control>()];
    put(&mut entry, field!(v4l2_ext_control.id), id);
    put(&mut entry, field!(v4l2_ext_control.size), size);
    let at = field!(v4l2_ext_control.__bindgen_anon_1);
    entry[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    entry
}

#[test]
fn control_arrays_show_name_and_value() {
    let mut bytes = [0; size_of::<sys::v4l2_ext_controls>()];
    put(&mut bytes, field!(v4l2_ext_controls.count), 4);
    assert_eq!(array(sys::VIDIOC_S_EXT_CTRLS, &bytes), None);
    put(&mut bytes, field!(v4l2_ext_controls.controls), 0x1000);
    let entries = [
        entry(sys::V4L2_CID_BRIGHTNESS, 0, u64::from(7_u32.wrapping_neg())),
        entry(0x0099_09cf, 0, 2_000_000),
        entry(sys::V4L2_CID_PIXEL_RATE, 0, 1 << 33),
        entry(0x0098_f9ff, 12, 0x2000),
    ]
    .concat();
    let set = array(sys::VIDIOC_S_EXT_CTRLS, &bytes).unwrap();
    assert_eq!((set.addr, set.len_bytes), (0x1000, entries.len()));
    let values = "controls={BRIGHTNESS=-7,MPEG_VIDEO_BITRATE=2000000,PIXEL_RATE=8589934592,\
                  0x98f9ff=\"12 bytes\"}";
    assert_eq!(said(&set.arguments(&entries)), values);
    assert_eq!(said(&set.results(&entries)), values);
    let get = array(sys::VIDIOC_G_EXT_CTRLS, &bytes).unwrap();
    assert_eq!(
        said(&get.arguments(&entries)),
        "controls=[BRIGHTNESS,MPEG_VIDEO_BITRATE,PIXEL_RATE,0x98f9ff]"
    );
    assert_eq!(said(&get.results(&entries)), values);
    put(&mut bytes, field!(v4l2_ext_controls.count), u32::MAX);
    let cut = array(sys::VIDIOC_G_EXT_CTRLS, &bytes).unwrap();
    assert_eq!(cut.len_bytes, 64 * size_of::<sys::v4l2_ext_control>());
}

#[test]
fn plane_arrays_show_their_fields() {
    let mut bytes = [0; size_of::<sys::v4l2_buffer>()];
    put(
        &mut bytes,
        field!(v4l2_buffer.type_),
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
    );
    put(
        &mut bytes,
        field!(v4l2_buffer.memory),
        sys::V4L2_MEMORY_DMABUF,
    );
    put(&mut bytes, field!(v4l2_buffer.m.planes), 0x1000);
    put(&mut bytes, field!(v4l2_buffer.length), 2);
    let mut planes = vec![0; 2 * size_of::<sys::v4l2_plane>()];
    for (at, (fd, used)) in [(5, 4096), (6, 2048)].into_iter().enumerate() {
        let plane = &mut planes[at * size_of::<sys::v4l2_plane>()..];
        put(plane, field!(v4l2_plane.m.fd), fd);
        put(plane, field!(v4l2_plane.bytesused), used);
    }
    let queued = array(sys::VIDIOC_QBUF, &bytes).unwrap();
    assert_eq!(
        said(&queued.arguments(&planes)),
        "plane_fds=[5,6] plane_bytesused=[4096,2048]"
    );
    assert_eq!(queued.results(&planes), Fields::new());
    let dequeued = array(sys::VIDIOC_DQBUF, &bytes).unwrap();
    assert_eq!(
        said(&dequeued.results(&planes)),
        "plane_fds=[5,6] plane_bytesused=[4096,2048]"
    );
    put(
        &mut bytes,
        field!(v4l2_buffer.type_),
        sys::V4L2_BUF_TYPE_VIDEO_OUTPUT,
    );
    assert_eq!(array(sys::VIDIOC_QBUF, &bytes), None);
}

#[test]
fn queries_show_their_control() {
    let mut bytes = [0; size_of::<sys::v4l2_query_ext_ctrl>()];
    let asked = sys::V4L2_CID_BRIGHTNESS | sys::V4L2_CTRL_FLAG_NEXT_CTRL;
    put(&mut bytes, 0, asked);
    assert_eq!(
        said(&arguments(sys::VIDIOC_QUERY_EXT_CTRL, &bytes)),
        "id=BRIGHTNESS|NEXT_CTRL"
    );
}
