//! The supervisor's own memory does not grow while programs come and go.

use crate::common::{Run, compiled, size_option};

/// Rounds of the programs. The memory grows ever more slowly in the first 60 of them, because the allocator keeps free
/// pieces between those in use. 150 rounds ended where 80 did.
const ROUNDS: usize = 60;
/// Rounds in a row, and the most KiB by which the memory may grow in the best of them. What each round leaves behind is
/// left behind in any such rounds: one frame has 150 KiB, and each round has dozens.
const IN_A_ROW: usize = 16;
const MAX_GROWTH_KIB: u64 = 512;

/// Programs stream in three ways, make random calls on two devices, are killed while they stream, and open and close
/// files. Each round is the same.
#[test]
fn supervisor_memory_is_the_same_after_each_round() {
    let programs = ["capture.c", "random.c", "killer.c", "churn.c"].map(compiled);
    let [Some(capture), Some(random), Some(killer), Some(churn)] = programs else {
        return;
    };
    let [capture, random, killer, churn] =
        [capture, random, killer, churn].map(|path| path.display().to_string());
    let script = format!(
        "for round in $(seq {ROUNDS}); do
            for way in mmap read poll; do {capture} $way 4 /dev/null || exit; done
            {random} 300 7 /dev/video0 && {random} 300 8 /dev/video1 || exit
            {killer} 4 9 {capture} loop 0 /dev/null && {churn} 100 3 /dev/video1 || exit
            sed -n 's/^RssAnon:[^0-9]*\\([0-9]*\\).*/rss \\1/p' /proc/$PPID/status
        done >said || exit
        grep ^rss said"
    );
    let options = format!("format=YUYV,pace=free,{}", size_option());
    let outcome = Run::on("pc")
        .real_time("programs race")
        .device(format!("camera=pattern,identity=plain,{options}"))
        .device(format!("display=null,{options}"))
        .patience(300)
        .program(["sh", "-c", &script])
        .run();
    outcome.expect_success();
    outcome.expect_nothing_held();
    let sizes = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("rss "));
    let sizes: Vec<u64> = sizes.map(|kib| kib.parse().unwrap()).collect();
    assert_eq!(sizes.len(), ROUNDS, "{}", outcome.stdout);
    println!("RssAnon in KiB: {sizes:?}");
    let growth = |rounds: &[u64]| rounds[IN_A_ROW - 1].saturating_sub(rounds[0]);
    let least = sizes.windows(IN_A_ROW).map(growth).min();
    assert!(least.unwrap() <= MAX_GROWTH_KIB, "{sizes:?}");
}
