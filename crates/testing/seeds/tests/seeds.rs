//! Seeds that run in the default tests.

use vb3_seeds::{Counts, Plan, simulate};

/// Runs plans, and expects at least these numbers (`least`) of buffer cycles, compared pictures and faults.
fn run(plans: impl Iterator<Item = Plan>, least: [u64; 3]) {
    let (mut cycles, mut pictures, mut faults) = (0, 0, 0);
    for plan in plans {
        let outcome = simulate(&plan, false);
        assert_eq!(outcome.failure, None, "{plan}");
        cycles += outcome.counts.cycles;
        pictures += outcome.counts.pictures;
        faults += outcome.counts.faults;
    }
    let done = [cycles, pictures, faults];
    let enough = done.iter().zip(least).all(|(done, least)| *done >= least);
    assert!(enough, "{done:?}, at least {least:?}");
}

/// About half of what 500 seeds do.
const HALF: [u64; 3] = [7_000, 2_000, 300];

// Two tests, for two cores.
#[test]
fn what_must_hold_does_for_the_first_500_seeds() {
    run((0..500).map(Plan::of), HALF);
}

#[test]
fn what_must_hold_does_for_the_next_500_seeds() {
    run((500..1000).map(Plan::of), HALF);
}

#[test]
fn seeds_that_failed_once_pass() {
    // In 783, two queues write to one memory. In 784, a program writes more than a buffer holds, while a
    // camera has it. In 2819, a queue without buffers belongs to another program. In 4672, 9548 and 9584, a
    // driver writes by the CPU to memory of a camera without coherent caches. In 5410, a queue passes
    // memory to its device while another device writes there. In 13661, a prepared buffer shares
    // memory with a captured one, and its copy is copied back. In 32783, 52764 and 56428, an unused
    // copy was copied back over a picture. In 55403, 58138, 71739 and 88841, a clean cache line was
    // written back over one. In 49968, 67650 and 82741, a call still waited for a closed file. In the
    // others, a fault stops the first use of a queue's own memory: QBUF in 185 (placed lazily), 527
    // and 957 (scattered), mmap in 216.
    let basic = [
        185, 216, 527, 783, 784, 957, 2819, 4672, 5410, 9548, 9584, 13661, 32783, 49968, 52764,
        55403, 56428, 58138, 67650, 71739, 82741, 88841,
    ];
    // In 36575 and 51018, a program's bytes in a decoder's vmalloc memory were lost where a converter had it
    // mapped. In 11047, 39743 and 54167, the model took a part of a buffer for all of it, and in 570679 and
    // 50191701 it did not know that a JPEG of another size needs larger buffers. In 10002434, 10003559 and
    // 10068168, calls on quarantined memory gave EINVAL. In 3976, a picture that no DQBUF had fetched replaced bytes
    // that the program wrote later. In 3255, two files use the same user pointer, and one is closed. In the rest, a
    // program wrote bytes again that a device had replaced, which a simulated machine cannot see.
    let with_codecs = [
        3255, 3976, 11047, 36575, 39743, 51018, 54167, 570_679, 428_387, 483_811, 499_700,
        10_002_434, 10_003_559, 10_068_168, 50_191_701,
    ];
    let plans = (basic.into_iter().map(Plan::basic)).chain(with_codecs.map(Plan::of));
    run(plans, [100, 5, 5]);
}

/// Returns the traces of the first 60 seeds.
fn traces() -> String {
    let outcomes = (0..60).map(|seed| simulate(&Plan::of(seed), true));
    outcomes.map(|outcome| outcome.trace).collect()
}

#[test]
fn seeds_reach_all_kinds_of_steps_and_results() {
    let traces = traces();
    let has = |words: &[&str]| {
        let mut lines = traces.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    let ok = "Ok(Some(";
    for words in [
        // Programs, descriptors and mappings.
        &["opens", "Ok("][..],
        &["opens", "Err("],
        &["closes FileId"],
        &["is killed"],
        &["closes descriptor", "last: true"],
        &["closes descriptor", "last: false"],
        &["receives memory", "Ok("],
        &["unmaps memory"],
        &["(0, 0) maps "],
        // Buffers.
        &["REQBUFS Mmap", "cached false", ok],
        &["REQBUFS Mmap", "cached true", ok],
        &["REQBUFS DmaBuf", ok],
        &["REQBUFS UserPtr", ok],
        &["REQBUFS Mmap 0", ok],
        &["REQBUFS", "Err("],
        &["CREATE_BUFS Mmap 1", ok],
        &["CREATE_BUFS Mmap 2", ok],
        &["CREATE_BUFS DmaBuf", ok],
        &["CREATE_BUFS UserPtr", ok],
        &["REMOVE_BUFS", ok],
        &["REMOVE_BUFS", "Err(16)"],
        &["QUERYBUF", ok],
        &["QUERYBUF", "Err(22)"],
        &["EXPBUF", ok],
        &["EXPBUF", "Err("],
        &["STREAM true", ok],
        &["STREAM true", "Err("],
        &["STREAM false", ok],
        &["QBUF", "prepare false", "Own", ok],
        &["QBUF", "prepare false", "User", ok],
        &["QBUF", "prepare false", "Fd", ok],
        &["QBUF", "prepare true", ok],
        &["QBUF", "prepare true", "Err(22)"],
        &["QBUF", "Fd(77)", "Err("],
        &["QBUF", "Own", "Ok(None)"],
        &["DQBUF", ok],
        &["DQBUF", "Ok(None)"],
        &["DQBUF", "Err(11)"],
        &["DQBUF is interrupted"],
        // Codecs, requests and heaps.
        &["allocates 4096 bytes", ok],
        &["allocates 65536 bytes"],
        &["makes request", ok],
        &["closes request"],
        &["result of convert"],
        &["result of h264dec-stateless"],
        &["result of jpegdec"],
        &["result of jpegenc"],
        // The display card.
        &["card: SETCRTC", ok],
        &["card: PAGE_FLIP", "Ok("],
        &["card: PAGE_FLIP", "Err(16)"],
        &["card: shows colour"],
        &["card: event of colour"],
        &["card: GEM_CLOSE", "Ok("],
        &["card: EXPORT_SYNC_FILE", "Done("],
        &["closes the card"],
        // Faults.
        &["faults 0"],
        &["faults 20000"],
        &["faults 200000"],
        &["Err(12)"],
        &["revoke ", ": true"],
        &[" plug "],
        &[" unplug "],
        &["Err(19)"],
        &["bytes stay quarantined"],
    ] {
        assert!(has(words), "{words:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    // In the runs of the last five seeds, a codec's thread has several results at a time.
    for seed in (0..10).chain([90, 128, 227, 241, 298]) {
        let plan = Plan::of(seed);
        let first = simulate(&plan, true);
        assert!(first.trace.lines().count() > 20, "{plan}");
        for _ in 0..3 {
            assert!(first == simulate(&plan, true), "{plan}");
        }
    }
    assert_ne!(
        simulate(&Plan::of(1), true).trace,
        simulate(&Plan::of(2), true).trace
    );
}

/// Runs `vb3-seeds`. Returns its output if it succeeds.
fn vb3_seeds(args: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vb3-seeds"));
    let out = command.args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn one_seed_prints_its_plan_and_trace() {
    let plan = Plan::of(3);
    let trace = simulate(&plan, true).trace;
    assert_eq!(vb3_seeds(&["--seed", "3"]), format!("{plan}\n{trace}\n"));
}

#[test]
fn many_seeds_print_the_sums_of_their_counts() {
    let said = vb3_seeds(&["--from", "40", "--seeds", "12"]);
    let counts = (40..52).map(|seed| simulate(&Plan::of(seed), false).counts);
    let counts: Vec<_> = counts.collect();
    let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
    let (pictures, faults) = (sum(|c| c.pictures), sum(|c| c.faults));
    let hours = sum(|c| c.time_ns) as f64 / 3.6e12;
    let tail = format!(
        "; {pictures} pictures compared, {faults} injected faults, {hours:.1} hours of simulated time; 0 failed\n"
    );
    assert!(
        said.starts_with("12 seeds in ") && said.ends_with(&tail),
        "{said}"
    );
    assert!(pictures > 0 && faults > 0);
    // All rates refer to the same time.
    let rates = said.split_once(" on one core: ").unwrap().1;
    let rates: Vec<f64> = (rates.split([' ', ';']))
        .filter_map(|word| word.parse().ok())
        .collect();
    let per_seed = |rate: f64| rate / rates[0];
    for (rate, total) in [(rates[1], sum(|c| c.calls)), (rates[2], sum(|c| c.cycles))] {
        let wanted = total as f64 / 12.0;
        let wrong = (per_seed(rate) - wanted).abs() / wanted;
        // The printed rates are rounded.
        assert!(wrong < 0.6 / rates[0] + 0.6 / rate, "{said}");
    }
}

#[test]
fn bad_seed_is_refused_with_a_message() {
    for option in ["--seed", "--from"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vb3-seeds"));
        let out = command.args([option, "seven"]).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{option}");
        let said = String::from_utf8(out.stderr).unwrap();
        let sentence = "a seed is a number from 0 to 18446744073709551615";
        assert!(
            said.contains("'seven'") && said.contains(sentence),
            "{said}"
        );
    }
}

#[test]
fn what_a_full_disk_refuses_goes_to_stderr() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vb3-seeds"));
    command.args(["--seeds", "2"]).stdout(full.unwrap());
    let out = command.output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    let sentence = "standard output cannot be written (No space left on device";
    assert!(
        said.contains(sentence) && said.contains("2 seeds in"),
        "{said}"
    );
}
