use super::sink::format_of;
use super::*;
use std::fs;
use std::path::Path;
use std::process::Command;

fn event(call: &str) -> Arc<Event> {
    Arc::new(Event {
        at: Duration::from_micros(1_500_020),
        took: Duration::from_micros(7),
        thread: Some((40, 42)),
        device: "/dev/video0".to_owned(),
        file: Some(2),
        call: call.to_owned(),
        arguments: vec![
            ("type", Value::Word("VIDEO_CAPTURE".into())),
            ("index", Value::Unsigned(1)),
        ],
        outcome: Answer::Value(0),
        results: vec![("flags", Value::Word("QUEUED".into()))],
    })
}

#[test]
fn a_call_is_a_line_of_text_or_of_json() {
    let call = event("VIDIOC_QBUF");
    assert_eq!(
        call.line(Format::Text),
        "    1.500020 42 /dev/video0#2 VIDIOC_QBUF type=VIDEO_CAPTURE index=1 -> 0 flags=QUEUED (7 us)"
    );
    let json: serde_json::Value = serde_json::from_str(&call.line(Format::Json)).unwrap();
    assert_eq!(json["call"], "VIDIOC_QBUF");
    assert_eq!((&json["pid"], &json["tid"]), (&40.into(), &42.into()));
    assert_eq!(json["arguments"]["index"], 1);
    assert_eq!(json["results"]["flags"], "QUEUED");
    assert_eq!(
        (&json["result"], &json["duration_us"]),
        (&0.into(), &7.into())
    );
    let refused = Event {
        outcome: Answer::Errno(22),
        file: None,
        device: String::new(),
        results: Fields::new(),
        ..(*call).clone()
    };
    assert!(
        refused
            .line(Format::Text)
            .contains("42 dma-buf VIDIOC_QBUF type=VIDEO_CAPTURE index=1 -> EINVAL (7")
    );
    let odd = Event {
        outcome: Answer::Errno(999),
        ..refused
    };
    assert!(odd.line(Format::Json).contains("\"errno\":\"errno 999\""));
}

#[test]
fn the_extension_chooses_the_format() {
    for (name, format) in [
        ("t.jsonl", Format::Json),
        ("t.JSON", Format::Json),
        ("t.perfetto.json", Format::Perfetto),
        ("t.txt", Format::Text),
        ("t", Format::Text),
    ] {
        assert_eq!(format_of(Path::new(name)), format, "{name}");
    }
}

#[test]
fn every_call_is_written_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.txt");
    let sink = Sink::file(&path, Format::Text).unwrap();
    for number in 0..1000 {
        sink.write(&event(&format!("call{number}")));
    }
    let left = sink.finish();
    assert_eq!((left.dropped, left.error), (0, None));
    let text = fs::read_to_string(path).unwrap();
    let calls: Vec<&str> = text
        .lines()
        .map(|line| line.split_whitespace().nth(3).unwrap())
        .collect();
    let want: Vec<String> = (0..1000).map(|number| format!("call{number}")).collect();
    assert_eq!(calls, want);
}

#[test]
fn slow_reader_loses_calls_and_they_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let sink = Sink::file(&path, Format::Text).unwrap();
    let call = event("VIDIOC_QBUF");
    for _ in 0..20_000 {
        sink.write(&call);
    }
    let left = sink.finish();
    assert!(left.dropped >= 20_000 - 16_384 - 1, "{}", left.dropped);
    assert!(left.error.unwrap().contains("too slow"));
}

#[test]
fn full_disk_is_reported() {
    let sink = Sink::file(Path::new("/dev/full"), Format::Json).unwrap();
    sink.write(&event("VIDIOC_QBUF"));
    let error = sink.finish().error.unwrap();
    assert!(
        error.contains("/dev/full") && error.contains("No space"),
        "{error}"
    );
    let error = Sink::file(Path::new("/no/such/trace"), Format::Text).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/trace"), "{error:#}");
}

#[test]
fn own_clock_timestamps_count_from_the_runs_start() {
    let own = OwnTime {
        origin_ns: 5_000_001_000,
        now_ns: 7_000_000_000,
    };
    assert_eq!(own.elapsed(), Duration::from_nanos(1_999_999_000));
    for (word, wanted) in [
        ("5.000001", "0.000000"),
        ("6.500000", "1.499999"),
        ("7.000000", "1.999999"),
        // Timestamps of other clocks.
        ("7.000001", "7.000001"),
        ("5.000000", "5.000000"),
        ("-1.000000", "-1.000000"),
        ("18446744073709551615.0", "18446744073709551615.0"),
        ("", ""),
    ] {
        let mut fields = vec![
            ("timestamp", Value::Word(word.into())),
            ("word", Value::Word("6.500000".into())),
        ];
        own.rebase(&mut fields);
        let [(_, timestamp), (_, other)] = &fields[..] else {
            panic!("{fields:?}")
        };
        assert_eq!(timestamp.to_string().trim_matches('"'), wanted);
        assert_eq!(*other, Value::Word("6.500000".into()));
    }
    let mut numbers = Numbers::default();
    assert_eq!([70, 8, 70, 9].map(|id| numbers.of(id)), [1, 2, 1, 3]);
}
