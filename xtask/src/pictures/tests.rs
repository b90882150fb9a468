use super::*;

fn stream(header: &str, frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("{header}\n").into_bytes();
    for frame in frames {
        bytes.extend(b"FRAME\n");
        bytes.extend(*frame);
    }
    bytes
}

#[test]
fn frames_are_read_one_by_one() {
    let bytes = stream("YUV4MPEG2 W4 H2 F25:1 Ip C420jpeg", &[&[1; 12], &[2; 12]]);
    let mut y4m = Y4m::new(&bytes[..]).unwrap();
    let mut frame = Frame::default();
    assert!(y4m.next(&mut frame).unwrap());
    let first = frame.digest();
    assert!(y4m.next(&mut frame).unwrap());
    assert_eq!(frame.0, [2; 12]);
    assert_ne!(frame.digest(), first);
    assert!(!y4m.next(&mut frame).unwrap());
}

#[test]
fn broken_streams_are_errors() {
    for header in [
        "RIFF",
        "YUV4MPEG2 W0 H2",
        "YUV4MPEG2 W4",
        "YUV4MPEG2 W4 H2 C444",
        "YUV4MPEG2 Wx H2",
    ] {
        assert!(Y4m::new(&stream(header, &[])[..]).is_err(), "{header}");
    }
    let bytes = stream("YUV4MPEG2 W4 H2", &[&[1; 11]]);
    assert!(
        Y4m::new(&bytes[..])
            .unwrap()
            .next(&mut Frame::default())
            .is_err()
    );
}

#[test]
fn thumbnail_has_the_right_colours() {
    // Left half white, right half blue, in BT.601.
    let luma = [235, 235, 41, 41].repeat(2);
    let frame = [&luma[..], &[128, 240], &[128, 110]].concat();
    let bytes = stream("YUV4MPEG2 W4 H2", &[&frame]);
    let mut y4m = Y4m::new(&bytes[..]).unwrap();
    let mut frame = Frame::default();
    y4m.next(&mut frame).unwrap();
    let small = y4m.thumbnail(&frame, 2);
    assert_eq!((small.width, small.height), (2, 1));
    assert_eq!(small.pixels[..3], [255, 255, 255]);
    assert!(
        small.pixels[3] < 5 && small.pixels[4] < 5 && small.pixels[5] > 250,
        "{small:?}"
    );
}

#[test]
fn sheet_holds_every_picture() {
    let dir = std::env::temp_dir().join(format!("xtask-sheet-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("sheet.png");
    let red = Rgb {
        width: 2,
        height: 1,
        pixels: [255, 0, 0].repeat(2),
    };
    let row = |label: &str, pictures| Row {
        label: label.to_owned(),
        pictures,
    };
    let rows = [row("", vec![red.clone(), red.clone()]), row("|", vec![red])];
    write_sheet(&path, &rows).unwrap();
    let decoder = png::Decoder::new(BufReader::new(File::open(&path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!((reader.info().width, reader.info().height), (22, 48));
    assert_eq!(
        pixels.chunks_exact(3).filter(|p| p == &[255, 0, 0]).count(),
        6
    );
    let ink: Vec<usize> = (0..48)
        .map(|row| {
            let line = pixels.chunks_exact(3).skip(row * 22).take(22);
            line.filter(|pixel| *pixel == [0xe0; 3]).count()
        })
        .collect();
    // The letter of the second row stands above its picture, and the first has none.
    let second = 6 + 8 + 6 + 1 + 6;
    assert!(ink[..second].iter().all(|n| *n == 0), "{ink:?}");
    assert!(
        ink[second..second + 8].iter().sum::<usize>() >= 8,
        "{ink:?}"
    );
}
