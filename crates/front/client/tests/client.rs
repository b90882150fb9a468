//! Tests the client against a socket that answers prepared lines.

use std::error::Error as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::Duration;
use vb3_client::{Client, Error, Event, EventKind, FileFormat, Run};

/// Answers each order with the next text. Returns the orders, or panics if too few came before the client's end.
fn serve(name: &str, answers: &'static [&'static str]) -> (Client, JoinHandle<Vec<String>>) {
    let file = format!("vb3-client-{}-{name}", std::process::id());
    let path = std::path::Path::new("/tmp").join(file);
    let listener = UnixListener::bind(&path).unwrap();
    let client = Client::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let orders = answers.iter().map(|answer| {
            let order = lines.next().unwrap().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            order
        });
        orders.collect()
    });
    (client, server)
}

#[test]
fn orders_and_answers_are_typed() {
    let (mut client, server) = serve(
        "typed",
        &[
            "{\"ok\":true,\"version\":1,\"time_ns\":5,\"devices\":[{\"path\":\"/dev/video0\",\
             \"kind\":\"camera\",\"plugged\":true,\"frames\":7}]}\n",
            "{\"ok\":true,\"value\":-3}\n",
            "{\"ok\":true,\"sequence\":4,\"width\":2,\"height\":6,\"format\":\"YUYV\",\
             \"checksum\":\"0000000a\"}\n",
        ],
    );
    let state = client.state().unwrap();
    assert_eq!((state.time_ns, state.devices[0].frames), (5, 7));
    assert_eq!(client.set("video0", "brightness", -4).unwrap(), -3);
    let shown = client
        .save_shown("1", "/tmp/a.png", FileFormat::Png)
        .unwrap();
    assert_eq!((shown.sequence, &*shown.checksum), (4, "0000000a"));
    drop(client);
    let orders = server.join().unwrap();
    assert_eq!(orders[0], "{\"do\":\"state\"}");
    assert!(orders[1].contains("\"value\":-4"), "{orders:?}");
    assert!(orders[2].contains("\"path\":\"/tmp/a.png\""), "{orders:?}");
}

#[test]
fn each_method_sends_its_order() {
    type Method = fn(&mut Client) -> Result<(), Error>;
    let methods: [(Method, &str); 16] = [
        (|c| c.plug("v"), r#"{"device":"v","do":"plug"}"#),
        (|c| c.unplug("v"), r#"{"device":"v","do":"unplug"}"#),
        (
            |c| c.unplug_and_revoke("v"),
            r#"{"device":"v","do":"unplug","revoke":true}"#,
        ),
        (|c| c.revoke("3"), r#"{"buffer":"3","do":"revoke"}"#),
        (
            |c| c.play("v", "/a.mp4"),
            r#"{"device":"v","do":"play","source":"/a.mp4"}"#,
        ),
        (
            |c| c.play_at("v", "/a.mp4", 7),
            r#"{"device":"v","do":"play","sequence":7,"source":"/a.mp4"}"#,
        ),
        (
            |c| c.play_pattern("v"),
            r#"{"device":"v","do":"play","source":"pattern"}"#,
        ),
        (|c| c.pause("v"), r#"{"device":"v","do":"pause"}"#),
        (|c| c.resume("v"), r#"{"device":"v","do":"resume"}"#),
        (
            |c| c.signal("v", "lost"),
            r#"{"device":"v","do":"signal","signal":"lost"}"#,
        ),
        (
            |c| c.fail("v", "QBUF", "EIO", 2),
            r#"{"call":"QBUF","device":"v","do":"fail","errno":"EIO","times":2}"#,
        ),
        (
            |c| c.watch(&EventKind::ALL, Some("v")),
            r#"{"device":"v","do":"watch","events":["frame","open","start","refusal"]}"#,
        ),
        (
            |c| c.wait_frame("v", 6).map(|frames| assert_eq!(frames, 8)),
            r#"{"device":"v","do":"wait","frame":6}"#,
        ),
        (
            |c| {
                c.advance(Duration::from_micros(5))
                    .map(|ns| assert_eq!(ns, 9))
            },
            r#"{"do":"advance","ns":5000}"#,
        ),
        (
            |c| {
                c.push("v", "/f", Some(Duration::from_micros(5)))
                    .map(|ns| assert_eq!(ns, 9))
            },
            r#"{"after_ns":5000,"device":"v","do":"push","path":"/f"}"#,
        ),
        (
            |c| {
                c.buffers()
                    .map(|list| assert_eq!((list.buffers.len(), list.left_out), (0, 2)))
            },
            r#"{"do":"buffers"}"#,
        ),
    ];
    const ANSWER: &str = "{\"ok\":true,\"frames\":8,\"time_ns\":9,\"buffers\":[],\"left_out\":2}\n";
    let (mut client, server) = serve("methods", &[ANSWER; 16]);
    for (method, _) in methods {
        method(&mut client).unwrap();
    }
    let expected = methods.map(|(_, order)| order);
    drop(client);
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn a_display_is_described_and_its_picture_saved() {
    const ANSWER: &str = "{\"ok\":true,\"sequence\":4,\"width\":2,\"height\":6,\"format\":\"YUYV\",\
         \"checksum\":\"0000000a\"}\n";
    let (mut client, server) = serve("display", &[ANSWER; 2]);
    let shown = client.shown("v").unwrap();
    assert_eq!((shown.width, shown.height, &*shown.format), (2, 6, "YUYV"));
    let saved = client.save_shown("v", "/a", FileFormat::Raw).unwrap();
    assert_eq!(shown, saved);
    let expected = [
        r#"{"device":"v","do":"shown"}"#,
        r#"{"device":"v","do":"shown","format":"raw","path":"/a"}"#,
    ];
    drop(client);
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn refusals_and_a_run_that_ended_are_errors() {
    let (mut client, server) = serve(
        "refused",
        &[
            "{\"ok\":false,\"error\":{\"field\":\"device\",\"message\":\"no\"}}\n",
            "what\n",
            "{\"ok\"",
        ],
    );
    match client.plug("video9") {
        Err(Error::Refused { field, message }) => {
            assert_eq!((&*field, &*message), ("device", "no"))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.buffers(), Err(Error::Answer(_))));
    assert!(matches!(client.buffers(), Err(Error::Ended)));
    drop(client);
    server.join().unwrap();
}

#[test]
fn events_before_an_answer_are_kept() {
    let (mut client, server) = serve(
        "events",
        &[
            "{\"event\":\"open\",\"device\":\"/dev/video0\",\"pid\":9,\"time_ns\":1}\n{\"ok\":true}\n\
           {\"event\":\"lost\",\"count\":3}\n",
        ],
    );
    client.watch(&[EventKind::Open], None).unwrap();
    let open = client.next_event().unwrap();
    assert!(matches!(open, Event::Open { pid: 9, .. }), "{open:?}");
    assert_eq!(client.next_event().unwrap(), Event::Lost { count: 3 });
    assert!(matches!(client.next_event(), Err(Error::Ended)));
    drop(client);
    assert!(server.join().unwrap()[0].contains("[\"open\"]"));
}

#[test]
fn each_event_is_read() {
    let (mut client, server) = serve(
        "each-event",
        &["{\"ok\":true}\n\
             {\"event\":\"frame\",\"device\":\"v\",\"frame\":5,\"sequence\":2,\"time_ns\":1}\n\
             {\"event\":\"start\",\"device\":\"v\",\"queue\":\"capture\",\"time_ns\":2}\n\
             {\"event\":\"refusal\",\"device\":\"v\",\"call\":\"QBUF\",\"errno\":\"EINVAL\",\
              \"constraint\":\"length\",\"wanted\":8,\"found\":4,\"time_ns\":3}\n\
             {\"event\":\"open\",\"device\":\"v\",\"pid\":4294967296,\"time_ns\":4}\n\
             {\"event\":\"other\"}\n"],
    );
    client.watch(&[], None).unwrap();
    let device = || "v".to_owned();
    let frame = Event::Frame {
        device: device(),
        frame: 5,
        sequence: 2,
        time_ns: 1,
    };
    assert_eq!(client.next_event().unwrap(), frame);
    let start = Event::Start {
        device: device(),
        queue: "capture".to_owned(),
        time_ns: 2,
    };
    assert_eq!(client.next_event().unwrap(), start);
    let refusal = Event::Refusal {
        device: device(),
        call: "QBUF".to_owned(),
        errno: "EINVAL".to_owned(),
        constraint: "length".to_owned(),
        wanted: 8,
        found: 4,
        time_ns: 3,
    };
    assert_eq!(client.next_event().unwrap(), refusal);
    // The process id is too large, and the last event has no known kind.
    for _ in 0..2 {
        let event = client.next_event();
        assert!(matches!(event, Err(Error::Answer(_))), "{event:?}");
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn events_that_exceed_the_store_are_counted() {
    let event = "{\"event\":\"lost\",\"count\":1}\n";
    let answer: &'static str = format!("{}{{\"ok\":true}}\n", event.repeat(4098)).leak();
    let answers: &'static [&'static str] = vec![answer].leak();
    let (mut client, server) = serve("many", answers);
    client.pause("v").unwrap();
    for _ in 0..4096 {
        assert_eq!(client.next_event().unwrap(), Event::Lost { count: 1 });
    }
    assert_eq!(client.next_event().unwrap(), Event::Lost { count: 2 });
    assert!(matches!(client.next_event(), Err(Error::Ended)));
    drop(client);
    server.join().unwrap();
}

#[test]
fn kinds_of_events_have_names() {
    for kind in EventKind::ALL {
        assert_eq!(EventKind::named(kind.name()), Some(kind));
    }
    assert_eq!(EventKind::named("lost"), None);
}

#[test]
fn errors_say_what_failed() {
    let refused = Error::Refused {
        field: "device".to_owned(),
        message: "no such device".to_owned(),
    };
    assert_eq!(refused.to_string(), "no such device");
    assert_eq!(Error::Ended.to_string(), "the run has ended");
    let unclear = Error::Answer("what".to_owned()).to_string();
    let wanted =
        "the run's answer is not understood: what; install vb3 and vb3-client of the same release";
    assert_eq!(unclear, wanted);
    let socket = Error::from(std::io::Error::other("broken"));
    let wanted =
        "the run does not answer: broken; check the socket's path, and that the run has not ended";
    assert_eq!(socket.to_string(), wanted);
    assert!(socket.source().is_some() && refused.source().is_none());
    let pipe = Error::from(std::io::Error::from(ErrorKind::BrokenPipe));
    assert!(matches!(pipe, Error::Ended), "{pipe:?}");
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let run = Run::new(["true"]).options(["--no-such-option"]).start();
    let Err(Error::Start(message)) = run else {
        panic!("{run:?}")
    };
    assert!(!message.is_empty());
}
