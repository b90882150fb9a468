//! The integration test in the README of vb3-client.

use std::path::Path;
use std::time::Duration;
use vb3_client::{Error, Event, EventKind, FileFormat, Run};

/// A picture of one colour, as a file.
fn write_picture(path: &Path, rgb: [u8; 3]) {
    let (width, height) = (64, 48);
    let mut file = format!("P6 {width} {height} 255\n").into_bytes();
    file.extend(rgb.repeat(width * height));
    std::fs::write(path, file).unwrap();
}

pub(crate) fn viewer_follows_the_camera() -> Result<(), Error> {
    let dir = std::env::temp_dir().join(format!("viewer-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    write_picture(&dir.join("red.ppm"), [255, 0, 0]);

    // The program under test: here GStreamer, from a camera to a display.
    let program =
        "gst-launch-1.0 -q v4l2src device=/dev/video0 ! v4l2sink device=/dev/video1 sync=false";
    let mut run = Run::new(program.split(' '))
        .device("camera=pattern,size=64x48,format=YUYV")
        .device("display=null")
        .options(["--clock", "virtual"])
        .hold()
        .start()?;
    // The display has shown nothing yet, and keeps its pictures from this order on.
    let early = run.shown("video1");
    assert!(matches!(early, Err(Error::Refused { .. })), "{early:?}");
    let mut events = run.connect()?;
    events.watch(&[EventKind::Start], Some("video1"))?;
    run.go()?;

    // The stream begins with the test pattern.
    let start = events.next_event()?;
    assert!(matches!(start, Event::Start { .. }), "{start:?}");
    run.wait_frame("video1", 10)?;
    let pattern = run.shown("video1")?;

    // The camera shows red. Thirty frames later, the viewer has shown its last frames of before.
    run.play("video0", dir.join("red.ppm"))?;
    let frames = run.state()?.devices[1].frames;
    run.wait_frame("video1", frames + 30)?;
    let red = run.save_shown("video1", dir.join("shown.yuyv"), FileFormat::Raw)?;
    assert_ne!(red.checksum, pattern.checksum);
    let shown = std::fs::read(dir.join("shown.yuyv")).unwrap();
    assert!(shown.chunks(4).all(|pixels| pixels == &shown[..4]));

    // Two seconds pass at once, and the picture stays.
    let before = run.state()?.time_ns;
    let after = run.advance(Duration::from_secs(2))?;
    assert!(after >= before + 2_000_000_000);
    assert_eq!(run.shown("video1")?.checksum, red.checksum);

    // The viewer ends with an error when its camera is unplugged.
    run.unplug("video0")?;
    assert_eq!(run.finish()?.code(), Some(1));
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}
