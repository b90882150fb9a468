//! A run depends only on its seed.

use crate::faults::script;
use crate::lab::{Lab, Reply, Setup};
use crate::random::{joins_pages, setups};
use vb3_machine::Faults;
use vb3_plane::{Allocator, Coherency};

/// Runs the script. Returns the machine's events with their times, as text, and all replies.
fn story(setup: Setup, faults: Faults) -> (String, Vec<Result<Reply, i32>>) {
    let mut lab = Lab::new(setup);
    lab.machine().trace_mut().start(1 << 20);
    lab.machine().set_faults(faults);
    let said = script(Coherency::NonCoherent)
        .iter()
        .zip(1..)
        .map(|(op, stamp)| lab.apply(*op, stamp))
        .collect();
    assert_eq!(lab.machine().trace().dropped(), 0);
    let story = lab.machine().trace().to_string();
    lab.end();
    (story, said)
}

#[test]
fn same_seed_and_calls_give_same_events() {
    for setup in setups() {
        let random = Faults::Random {
            per_million: 50_000,
            seed: 5,
        };
        for faults in [Faults::Off, random] {
            let first = story(setup, faults);
            assert!(first.0.lines().count() > 20, "{setup:?}");
            assert!(first == story(setup, faults), "{setup:?} {faults:?}");
        }
    }
}

#[test]
fn another_seed_only_moves_memory() {
    for setup in setups() {
        let other = Setup { seed: 12, ..setup };
        let (one, two) = (story(setup, Faults::Off), story(other, Faults::Off));
        assert_eq!(one.1, two.1, "{setup:?}");
        let only_contiguous = !joins_pages(setup) && setup.allocators == [Allocator::Contig; 2];
        assert_eq!(one.0 == two.0, only_contiguous, "{setup:?}");
    }
}
