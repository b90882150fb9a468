use super::*;

fn spec(text: &str) -> DeviceSpec {
    text.parse().unwrap()
}

fn error(text: &str) -> String {
    text.parse::<DeviceSpec>().unwrap_err().to_string()
}

#[test]
fn spec_reads_every_option() {
    let spec = spec(
        "camera-mplane=a clip.mp4,size=1280x720,fps=30000/1001,loop=on,memory=vmalloc,userptr=off",
    );
    assert_eq!(
        spec,
        DeviceSpec {
            kind: DeviceKind::Camera {
                source: Source::Clip("a clip.mp4".into()),
                mplane: true,
                looping: true
            },
            allocator: Allocator::Vmalloc,
            userptr: Some(false),
            size: Some((1280, 720)),
            fps: Some((30000, 1001)),
        }
    );
}

#[test]
fn spec_escaped_comma_belongs_to_the_name() {
    let DeviceKind::Camera { source, .. } = spec(r"camera=a\,b\\c.mp4").kind else {
        panic!()
    };
    assert_eq!(source, Source::Clip(r"a,b\c.mp4".into()));
}

#[test]
fn spec_knows_its_sinks() {
    let sink = |text: &str| match spec(text).kind {
        DeviceKind::Display { sink, .. } => sink,
        DeviceKind::Camera { .. } => panic!("no display"),
    };
    assert_eq!(sink("display"), Sink::Null);
    assert_eq!(sink("display=null"), Sink::Null);
    assert_eq!(sink("display=x.y4m"), Sink::Y4m("x.y4m".into()));
    assert_eq!(
        sink("display-mplane=f/%04d.png"),
        Sink::Png("f/%04d.png".into())
    );
}

#[test]
fn spec_errors_name_the_wrong_word() {
    for (text, word) in [
        ("", "\"\""),
        ("scanner=x", "\"scanner\""),
        ("camera=pattern,sise=2x2", "\"sise\""),
        ("camera=pattern,size=1x1", "\"1x1\""),
        ("camera=pattern,size=4098x2", "\"4098x2\""),
        ("camera=pattern,size=99999999999x2", "\"99999999999x2\""),
        ("camera=pattern,size=641x480", "odd"),
        ("camera=pattern,fps=0", "\"0\""),
        ("camera=pattern,fps=1/0", "\"1/0\""),
        ("camera=pattern,fps=241", "\"241\""),
        ("camera=pattern,userptr=yes", "\"yes\""),
        ("camera=pattern,memory=sg", "\"sg\""),
        ("camera=pattern,", "\"\""),
        ("display=null,loop=on", "loop="),
        ("display=x.avi", "\"x.avi\""),
        ("display=x.png", "%04d"),
        ("display=%s.png", "%04d"),
        ("display=%d%d.png", "%04d"),
        ("display=%999d.png", "%04d"),
    ] {
        assert!(error(text).contains(word), "{text}: {}", error(text));
    }
}
