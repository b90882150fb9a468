//! Buffers that are revoked while programs use them.

use crate::common::{Run, RunOutput, compiled, lacks, vb3};

/// Runs a shell script, in which `$VB3` is the path of `vb3`.
fn shell(run: Run, script: &str) -> RunOutput {
    let script = format!("export VB3={}\n{script}", env!("CARGO_BIN_EXE_vb3"));
    run.program(["sh", "-c", &script]).run()
}

const ANSWERS: &str = "REQBUFS: ok
REQBUFS: ok
QBUF: ok
revoke: 0
the mappings: zeroes
a write: goes to memory
poll: 1 0x5
QBUF at the display: ENODEV
QBUF at the camera: ENODEV
EXPBUF: ENODEV
mmap: ENODEV
SYNC: ok
revoke: 1
revoke: 1
QBUF of the other: ok
STREAMON: ok
DQBUF: ok
REQBUFS: ok
REQBUFS: ok
QBUF of a new one: ok
";

#[test]
fn revoked_buffer_reads_zeroes_and_fails_enodev() {
    let Some(program) = compiled("revoke.c") else {
        return;
    };
    for machine in ["pc", "soc-noncoherent", "vm-bounce"] {
        let run = Run::on(machine)
            .device("camera,sizes=64x48,format=YUYV")
            .device("display=null,size=64x48,format=YUYV");
        let script = format!("{} /dev/video0 /dev/video1", program.display());
        let outcome = shell(run, &script);
        assert_eq!(outcome.stdout, ANSWERS, "{machine}: {}", outcome.stderr);
        outcome.expect_success();
        outcome.expect_nothing_held();
        let said = [
            "is revoked already",
            "\"nothing\" is not a buffer of this run",
        ];
        for said in said {
            assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
        }
        let buffers = &outcome.report.buffers;
        let revoked: Vec<_> = buffers.iter().filter(|buffer| buffer.revoked).collect();
        let [row] = &revoked[..] else {
            panic!("{machine}: {buffers:?}")
        };
        assert_eq!(
            (&*row.device, row.buffer, row.orphaned),
            ("/dev/video0", 0, true)
        );
        let of = |kind: &str| {
            let holders = row.holders.iter();
            holders.filter(|holder| holder.kind == kind).count()
        };
        let kinds = ["queue", "descriptor", "mapping"].map(of);
        assert_eq!(kinds, [1; 3], "{machine}: {row:?}");
        assert!(row.holders.iter().all(|holder| !holder.at_end), "{row:?}");
        let program = row.holders.iter().find(|holder| holder.kind == "mapping");
        assert_eq!(program.unwrap().name, "revoke-c", "{row:?}");
        let why = vb3(outcome.dir.path()).arg("why").output().unwrap();
        let why = String::from_utf8_lossy(&why.stdout);
        for device in ["/dev/video0", "/dev/video1"] {
            let sentence =
                format!("QBUF on {device} failed with ENODEV: the buffer's memory was revoked");
            assert!(why.contains(&sentence), "{sentence}: {why}");
        }
    }
}

#[test]
fn unplug_with_revoke_ends_a_pipeline() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let run = Run::on("soc-iommu")
        .device("camera=pattern,format=YUYV,sizes=64x48")
        .device("display=null,format=YUYV,size=64x48");
    let outcome = shell(
        run,
        "gst-launch-1.0 -q v4l2src io-mode=dmabuf ! v4l2sink device=/dev/video1 \
             io-mode=dmabuf-import sync=false 2> errors.txt & stream=$!
         until $VB3 ctl buffers > list && grep -q '/dev/video1, ' list; do sleep 0.05; done
         $VB3 ctl unplug --revoke video0; echo $?
         wait $stream; echo $?",
    );
    outcome.expect_success();
    let errors = outcome.read("errors.txt");
    let errors = String::from_utf8_lossy(&errors);
    assert_eq!(outcome.stdout, "0\n1\n", "{errors}");
    outcome.expect_nothing_held();
    let notes = &outcome.report.notes;
    let said = notes
        .iter()
        .any(|note| note.contains(" revoked: devices could no longer reach"));
    assert!(said, "{notes:?}");
}

/// If the stream continued, the program's poll would never end, because the camera would have no buffer to fill.
/// The test stops GStreamer while it revokes the buffers: GStreamer hangs if it cannot queue any of its buffers.
#[test]
fn revoking_all_buffers_ends_the_stream() {
    if lacks("gst-launch-1.0") {
        return;
    }
    for mode in ["mmap", "dmabuf"] {
        let run = Run::on("pc").device("camera=pattern,format=YUYV,sizes=64x48");
        let outcome = shell(
            run,
            &format!(
                "timeout 100 sh -c 'echo $$ > pid; exec gst-launch-1.0 -q v4l2src io-mode={mode} \
                     ! fakesink 2> errors.txt' & stream=$!
                 until $VB3 ctl buffers > list && grep -q ' a fence of ' list; do sleep 0.05; done
                 kill -STOP $(cat pid)
                 for buffer in $(sed -n 's|^\\([^ ]*\\) /dev/video0 .*|\\1|p' list); do
                     $VB3 ctl revoke $buffer || exit 9
                 done
                 kill -CONT $(cat pid)
                 wait $stream; echo $?"
            ),
        );
        let errors = outcome.read("errors.txt");
        let errors = String::from_utf8_lossy(&errors);
        assert_eq!(outcome.stdout, "1\n", "{mode}: {errors}");
        outcome.expect_nothing_held();
        let revoked = outcome.report.buffers.iter().filter(|row| row.revoked);
        assert!(revoked.count() >= 2, "{:?}", outcome.report.buffers);
    }
}
