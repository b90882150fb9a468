//! Media devices and media requests, by real clients.

use crate::common::{Run, RunOutput, compiled, lacks, lacks_libavcodec};
use crate::rows::table;

const CONVERTER: &str = "convert,size=64x32";

fn client(machine: &str, device: &str, words: &[&str]) -> Option<RunOutput> {
    let program = compiled("requests.c")?;
    let outcome = Run::on(machine)
        .device(device)
        .program([program.as_os_str()])
        .and(["/dev/video0", "/dev/media0"])
        .and(words)
        .run();
    Some(outcome)
}

/// Requests on a queue that does not require them: first the rows of the table.
const STORY: &str = "\
queued ret=0 rev=0
early EACCES
picture0 waited=1 get=0 control=0 turned=0 straight=1
picture1 waited=1 get=0 control=1 turned=1 straight=0
picture2 waited=1 get=0 control=1 turned=1 straight=0
picture3 waited=1 get=0 control=1 turned=1 straight=0
dequeued request=1 shown=0
now 1
idle flags=0
queued flags=800002
again 0
cancelled flags=0
orphan 1
empty EBUSY
reinit 0
nothing ENOENT
idle ret=1 rev=8
uninterested ret=0 rev=0
";

fn rows_and_pictures(machines: &[&str]) {
    let table = table();
    for &machine in machines {
        let Some(outcome) = client(machine, CONVERTER, &[]) else {
            return;
        };
        let (rows, story) = outcome
            .stdout
            .split_at(outcome.stdout.find("\nqueued ").unwrap() + 1);
        assert_eq!(story, STORY, "{machine}");
        for line in rows.lines() {
            let (id, value) = line.split_once(' ').unwrap();
            let [_, wanted] = &table[id].vmalloc;
            assert_eq!(value, wanted, "{machine}: row {id}");
        }
        assert_eq!(rows.lines().count(), 28, "{rows}");
        outcome.expect_success();
    }
}

#[test]
fn a_device_without_requests_says_so() {
    if lacks_libavcodec() {
        return;
    }
    let Some(outcome) = client("pc", "h264dec", &["none"]) else {
        return;
    };
    assert_eq!(
        outcome.stdout,
        "alloc ENOTTY\nqbuf.request-unsupported EBADR\ncontrol EBADR\n"
    );
    outcome.expect_success();
}

fn a_program_killed_with_requests_holds_nothing(machines: &[&str]) {
    for &machine in machines {
        let Some(outcome) = client(machine, CONVERTER, &["kill"]) else {
            return;
        };
        assert_eq!(outcome.stdout, "alive\n");
        assert_eq!(outcome.status, 128 + 9);
        outcome.expect_nothing_held();
    }
}

/// v4l2-compliance tests requests on the media device.
#[test]
fn media_devices_are_compliant() {
    if lacks("v4l2-compliance") || lacks_libavcodec() {
        return;
    }
    for (device, requests) in [(CONVERTER, true), ("h264dec", false)] {
        let outcome = Run::on("soc-cma")
            .device(device)
            .program(["v4l2-compliance", "-m", "/dev/media0"])
            .run();
        let text = &outcome.stdout;
        let total = text
            .lines()
            .rev()
            .find(|line| line.starts_with("Grand Total"));
        let total = total.unwrap_or_else(|| panic!("{device}: no summary in\n{text}"));
        assert!(
            total.ends_with("Failed: 0, Warnings: 0"),
            "{device}:\n{text}"
        );
        let supported = text.contains("test Requests: OK\n");
        assert_eq!(supported, requests, "{device}:\n{text}");
        outcome.expect_success();
    }
}

/// A program finds the devices through /sys and the media device.
#[test]
fn program_finds_media_device_of_video_device() {
    if lacks("media-ctl") {
        return;
    }
    let script = "
        ls /sys/dev/char/81:5/device/ /sys/bus/media/devices/ | cat
        cat /sys/dev/char/81:5/device/media1/uevent /sys/bus/media/devices/media1/model
        ls /dev /sys/devices/platform | grep -e '^media' -e '^vb3-'
        media-ctl -p -d /dev/media1 | grep -e entity -e 'device node' -e '->'
    ";
    let outcome = Run::on("pc")
        .device("camera=pattern")
        .device(format!(
            "{CONVERTER},node=video5,name=A name of some length to be cut"
        ))
        .program(["sh", "-c", script])
        .run();
    let wanted = "\
/sys/bus/media/devices/:
media0
media1

/sys/dev/char/81:5/device/:
driver
media1
modalias
subsystem
uevent
video4linux
MAJOR=384
MINOR=1
DEVNAME=media1
A name of some length to be cut
media0
media1
vb3-005
vb3-hcd.0
- entity 1: A name of some length to-source (1 pad, 1 link)
            device node name /dev/video5
\t\t-> \"A name of some length to-proc\":0 [ENABLED,IMMUTABLE]
- entity 3: A name of some length to-proc (2 pads, 2 links)
\t\t-> \"A name of some length to-sink\":0 [ENABLED,IMMUTABLE]
- entity 6: A name of some length to-sink (1 pad, 1 link)
            device node name /dev/video5
";
    assert_eq!(outcome.stdout, wanted, "{}", outcome.stderr);
    outcome.expect_success();
}

crate::common::on_machines! {
    rows_and_pictures
    a_program_killed_with_requests_holds_nothing
}
