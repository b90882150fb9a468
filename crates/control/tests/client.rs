//! Tests the client against a socket that answers prepared lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use vb3_control::{Client, Error, Event, EventKind, FileFormat, Run};

/// Answers each order with the next text. Returns the orders.
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
    let orders = server.join().unwrap();
    assert_eq!(orders[0], "{\"do\":\"state\"}");
    assert!(orders[1].contains("\"value\":-4"), "{orders:?}");
    assert!(orders[2].contains("\"path\":\"/tmp/a.png\""), "{orders:?}");
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
    client.subscribe(&[EventKind::Open], None).unwrap();
    let open = client.next_event().unwrap();
    assert!(matches!(open, Event::Open { pid: 9, .. }), "{open:?}");
    assert_eq!(client.next_event().unwrap(), Event::Lost { count: 3 });
    assert!(matches!(client.next_event(), Err(Error::Ended)));
    assert!(server.join().unwrap()[0].contains("[\"open\"]"));
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let run = Run::new(["true"]).options(["--no-such-option"]).start();
    let Err(Error::Start(message)) = run else {
        panic!("{run:?}")
    };
    assert!(!message.is_empty());
}
