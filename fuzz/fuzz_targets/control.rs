//! Arbitrary lines at a run's control socket, well-formed or not, by two clients. Each answer is an object of JSON that
//! says `ok`. Afterwards the run still answers a third client.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use vb3_devices::spec::DeviceSpec;
use vb3_frontend::Devices as _;
use vb3_fuzz::wire::played;
use vb3_machine::Profile;
use vb3_run::control::Control;
use vb3_run::{Outside, Pace, Run};

/// Ticks after which the run must have answered an order that waits for nothing.
const MAX_TICKS: usize = 4096;
/// Longest line that is sent: a little longer than the run accepts.
const MAX_LINE: usize = 5000;

const VERBS: [&str; 18] = [
    "state", "buffers", "plug", "unplug", "reset", "revoke", "fail", "signal", "set", "play",
    "pause", "resume", "wait", "advance", "shown", "watch", "", "nothing",
];
const FIELDS: [&str; 18] = [
    "device", "buffer", "revoke", "call", "errno", "times", "signal", "control", "value", "source",
    "sequence", "frame", "ns", "format", "events", "id", "version", "unknown",
];
/// No value is a path, and [`Line::text`] replaces slashes, because an order can write a file.
const VALUES: [&str; 24] = [
    "\"video0\"",
    "\"video1\"",
    "\"video2\"",
    "\"\"",
    "true",
    "null",
    "0",
    "1",
    "-1",
    "1e308",
    "18446744073709551616",
    "\"QBUF\"",
    "\"S_FMT\"",
    "\"EIO\"",
    "\"pattern\"",
    "\"solid:red\"",
    "\"png\"",
    "[\"frame\",\"refusal\"]",
    "[[[[[[]]]]]]",
    "{\"device\":1}",
    "\"brightness\"",
    "\"lost\"",
    "\"dmabuf-1\"",
    "\"\\u0000\"",
];

#[derive(Arbitrary, Debug)]
enum Line {
    /// An order with these fields and values, by index; a number stands for a value beyond the list.
    Order {
        verb: u8,
        fields: Vec<(u8, u8, i64)>,
    },
    Text(String),
}

impl Line {
    fn text(&self) -> String {
        let Self::Order { verb, fields } = self else {
            let Self::Text(text) = self else {
                unreachable!()
            };
            return text.replace('/', "_");
        };
        let verb = VERBS[usize::from(*verb) % VERBS.len()];
        let mut text = format!("{{\"do\":\"{verb}\"");
        for &(field, value, number) in fields.iter().take(8) {
            let field = FIELDS[usize::from(field) % FIELDS.len()];
            let number = number.to_string();
            let value = VALUES.get(usize::from(value) % (VALUES.len() * 2)).copied();
            text += &format!(",\"{field}\":{}", value.unwrap_or(&number));
        }
        text + "}"
    }
}

struct Client {
    stream: UnixStream,
    answers: Vec<u8>,
    sent: usize,
}

impl Client {
    fn new(run: &Control) -> Self {
        let stream = UnixStream::connect(run.path()).expect("the run listens");
        stream.set_nonblocking(true).expect("a socket");
        Self {
            stream,
            answers: Vec::new(),
            sent: 0,
        }
    }

    fn send(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| *c != '\n').take(MAX_LINE).collect();
        // The run may have closed the connection, or may not have read the lines before.
        let sent = self.stream.write_all(format!("{line}\n").as_bytes());
        self.sent += usize::from(sent.is_ok());
    }

    /// Receives the answers that have come, and checks them. Returns the number of answers so far.
    fn take(&mut self) -> usize {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut bytes) {
            self.answers.extend(&bytes[..count]);
            assert!(self.answers.len() < 16 << 20, "answers without end");
        }
        let text = std::str::from_utf8(&self.answers).expect("answers are text");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter(|line| !line.starts_with("{\"event\""));
        let answers = lines.inspect(|line| {
            assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
            assert!(
                line.contains("\"ok\":true") || line.contains("\"ok\":false"),
                "{line}"
            );
        });
        answers.count()
    }
}

vb3_fuzz::target!(|lines: Vec<(bool, Line)>| {
    let text =
        "name = \"fuzz\"\nram = \"64MiB\"\ndma_mask = 32\ncoherent = true\ncma = \"16MiB\"\n";
    let profile = Profile::parse(text).expect("a profile of our own");
    let devices = [
        "camera,size=64x48",
        "display,size=64x48",
        "loopback,size=64x48",
    ];
    let devices = devices.map(|text| text.parse::<DeviceSpec>().expect("a device of our own"));
    let outside = Outside::new(|| 1_000_000_000, played());
    let mut run = Run::with(profile, &devices, 1, outside).expect("a run of our own");
    run.set_pace(Pace::Virtual);
    let dir = std::env::temp_dir().join(format!("vb3-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("room for a socket");
    let control = Control::open_at(&dir.join("control")).expect("a socket");
    let mut clients = [Client::new(&control), Client::new(&control)];
    let mut last = Client::new(&control);
    run.set_control(control);
    for (second, line) in lines.iter().take(64) {
        clients[usize::from(*second)].send(&line.text());
        run.tick();
        for client in &mut clients {
            let answers = client.take();
            assert!(
                answers <= client.sent,
                "{answers} answers to {} orders",
                client.sent
            );
        }
    }
    last.send("{\"do\":\"state\"}");
    let answered = (0..MAX_TICKS).any(|_| {
        run.tick();
        last.take() == 1
    });
    assert!(answered, "the run does not answer the third client");
});
