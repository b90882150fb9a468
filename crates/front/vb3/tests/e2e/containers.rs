//! Real programs under the seccomp profiles that container engines apply by default. A profile
//! applies to one thread and the processes that it starts.

#[path = "../../../../../xtask/src/reach/profile.rs"]
#[allow(dead_code, reason = "only xtask uses the rest")]
mod profile;

use crate::common::{Run, RunOutput, compiled, finish, lacks, vb3};
use crate::compliance;

/// Runs `body` on a thread under a profile.
fn under<T: Send>(name: &str, body: impl FnOnce() -> T + Send) -> T {
    let profile = profile::find(name).unwrap();
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            profile.apply().unwrap();
            body()
        });
        confined.join().unwrap()
    })
}

fn camera() -> Run {
    Run::on("pc").device("camera=pattern")
}

fn doctor(profile: &str) -> (i32, serde_json::Value) {
    under(profile, || {
        let dir = crate::common::tempdir();
        let mut vb3 = vb3(dir.path());
        let vb3 = vb3.args(["doctor", "--json"]);
        let (status, out, err) = finish(vb3, dir.path());
        let json = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        (status, json)
    })
}

fn part(json: &serde_json::Value, name: &str) -> bool {
    let rows = ["parts", "uses"].map(|list| json[list].as_array().unwrap().iter());
    let row = rows.into_iter().flatten().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("no {name}: {json}"))["works"]
        .as_bool()
        .unwrap()
}

#[test]
fn default_profiles_only_lose_user_pointer_tracking() {
    if lacks("v4l2-compliance") {
        return;
    }
    let Some(compliance) = compliance::program() else {
        return;
    };
    for name in ["docker-20.10", "moby"] {
        let (status, json) = doctor(name);
        assert_eq!(status, 0, "{name}: {json}");
        assert!(!part(&json, "pidfd_getfd"), "{name} is not applied");
        assert_eq!(part(&json, "process_vm_readv, _writev"), name == "moby");
        let ran = under(name, || {
            camera().program(&compliance).and(["-d0", "-s"]).run()
        });
        ran.expect_success();
        assert!(ran.stdout.contains("Failed: 0"), "{name}: {}", ran.stdout);
        assert_eq!(ran.report.notes, Vec::<String>::new(), "{name}");
        let listed = under(name, || camera().program(["ls", "/dev"]).run());
        let count = |ran: &RunOutput| ran.stdout.lines().filter(|l| *l == "video0").count();
        assert_eq!(count(&listed), 1, "{name}: {}", listed.stdout);
    }
}

#[test]
fn cards_flip_under_default_profiles() {
    let Some(program) = compiled("card.c") else {
        return;
    };
    for name in ["docker-20.10", "moby"] {
        let run = Run::on("pc").device("kms");
        let run = run.real_time("the program waits for vblanks");
        let run = run.program([program.as_os_str()]).and(["flips", "5"]);
        let ran = under(name, || run.run());
        assert_eq!(ran.expect_success().stdout, "5 flips\n", "{name}");
    }
}

#[test]
fn without_ptrace_one_line_names_the_losses() {
    if lacks("v4l2-ctl") {
        return;
    }
    let (status, json) = doctor("no-ptrace");
    assert_eq!(status, 1, "{json}");
    assert!(!part(&json, "mapped buffers") && part(&json, "read(), write(), user pointers"));
    let stream = |how: &str| {
        let words = ["v4l2-ctl", "-d0", how, "--stream-count=3"].map(str::to_owned);
        under("no-ptrace", || camera().program(&words).run())
    };
    let mapped = stream("--stream-mmap");
    let about = |line: &&str| line.contains("buffers of devices cannot be mapped");
    let said: Vec<&str> = mapped.stderr.lines().filter(about).collect();
    assert_eq!(said.len(), 1, "{}", mapped.stderr);
    assert!(said[0].contains("--cap-add SYS_PTRACE"), "{said:?}");
    assert!(
        mapped
            .report
            .notes
            .iter()
            .any(|note| said[0].contains(note.as_str()))
    );
    stream("--stream-user").expect_success();
}
