//! The generator reaches every machine, device, option and kind of fault.

use super::*;

fn plans() -> Vec<Plan> {
    (0..1000).map(Plan::of).collect()
}

/// Expects about `percent` of the cases.
fn expect_share(what: &str, percent: usize, cases: impl Iterator<Item = bool>) {
    let cases: Vec<bool> = cases.collect();
    let hits = cases.iter().filter(|hit| **hit).count();
    let found = hits * 100 / cases.len().max(1);
    assert!(found.abs_diff(percent) <= 6, "{what}: {found} %");
}

#[test]
fn dice_draw_evenly_below_the_limit() {
    let mut dice = Dice::new(1, 2);
    let mut seen = [0; 5];
    (0..5000).for_each(|_| seen[dice.below(5) as usize] += 1);
    assert!(seen.iter().all(|count| (800..1200).contains(count)));
    assert_eq!(dice.below(0), 0);
    for percent in [0, 1, 30, 99, 100] {
        let mut hits = 0;
        (0..10_000).for_each(|_| hits += u32::from(dice.percent(percent)));
        assert!(hits.abs_diff(percent * 100) <= 150, "{percent}: {hits}");
        // With 0 or 100 percent, no case may deviate.
        assert!(percent % 100 != 0 || hits == percent * 100);
    }
    assert!((0..100).all(|_| dice.percent(1) || !dice.percent(0)));
    let picks: BTreeSet<_> = (0..100).filter_map(|_| dice.pick(&[1, 2, 3])).collect();
    assert_eq!(picks.len(), 3);
    assert_eq!(dice.pick::<u8>(&[]), None);
}

#[test]
fn steps_and_purposes_have_their_own_numbers() {
    let plan = Plan::of(1);
    let draw = |mut dice: Dice| [0; 4].map(|_| dice.below(u32::MAX));
    let drawn: BTreeSet<_> = (0..100).map(|step| draw(plan.dice(step))).collect();
    let purposes: BTreeSet<_> = (0..10).map(|n| draw(Dice::new(1, n))).collect();
    assert_eq!(drawn.len(), 100);
    assert!(drawn.is_disjoint(&purposes));
    assert_ne!(draw(plan.dice(0)), draw(Plan::of(2).dice(0)));
}

#[test]
fn plans_reach_all_machines_and_choices() {
    let plans = plans();
    let names: BTreeSet<_> = plans.iter().map(|plan| plan.machine).collect();
    assert_eq!(names.len(), BUILTINS.len());
    let all = || plans.iter();
    expect_share("codecs", 50, all().map(|plan| plan.codecs));
    let has_card = |plan: &Plan| plan.devices.iter().any(|spec| spec.starts_with("kms"));
    expect_share("cards", 30, all().map(has_card));
    expect_share("faults", 60, all().map(|plan| plan.faults));
    let unmaps = all().filter(|plan| plan.faults);
    expect_share("unmap faults", 40, unmaps.map(|plan| plan.unmap_faults));
    assert!(all().all(|plan| plan.faults || !plan.unmap_faults));
    let counts: BTreeSet<_> = all().map(|plan| plan.programs.len()).collect();
    assert_eq!(counts, (1..=3).collect());
    let (few, many) = (STEPS as usize / 2, STEPS as usize * 3 / 2);
    assert!(all().all(|plan| (few..many).contains(&plan.steps.len())));
    for quarter in 0..4 {
        let from = few + quarter * STEPS as usize / 4;
        let here = from..from + STEPS as usize / 4;
        let lengths = all().map(|plan| here.contains(&plan.steps.len()));
        expect_share("length", 25, lengths);
    }
}

#[test]
fn only_the_world_waits_for_converters() {
    let is_virtual = |plan: &Plan| plan.pace == Pace::Virtual;
    let (slow, rest): (Vec<Plan>, Vec<Plan>) = plans().into_iter().partition(|plan| {
        let mut specs = plan.devices.iter();
        plan.codecs || specs.any(|spec| spec.starts_with("convert"))
    });
    assert!(slow.iter().all(is_virtual));
    expect_share("virtual", 40, rest.iter().map(is_virtual));
}

#[test]
fn plans_reach_all_devices_and_options() {
    let plans = plans();
    let all: Vec<&str> = (plans.iter())
        // The first camera is the same in all plans.
        .flat_map(|plan| plan.devices.iter().skip(1).map(String::as_str))
        .collect();
    for kind in [
        "camera", "display", "loopback", "convert", "jpegdec", "jpegenc", STATELESS,
    ] {
        let of_kind: Vec<&str> = (all.iter().copied())
            .filter(|spec| spec.split(',').next() == Some(kind))
            .collect();
        for size in SIZES {
            assert!(of_kind.iter().any(|spec| spec.contains(size)), "{kind}");
        }
        let options = [",alloc=sg", ",alloc=vmalloc", ",place=lazy", ",align=4096"];
        for option in options.into_iter().chain([",mask=25"]) {
            let cases = of_kind.iter().filter(|spec| spec.contains(option));
            let share = cases.count() * 100 / of_kind.len();
            assert!((4..30).contains(&share), "{kind}{option}: {share} %");
        }
        let has = |what: &str| of_kind.iter().any(|spec| spec.contains(what));
        for buffers in 0..3 {
            let option = format!(",min-queued={buffers}");
            assert_eq!(has(&option), kind != STATELESS, "{kind}{option}");
        }
        let is_video = ["camera", "display"].contains(&kind);
        let is_codec = kind == STATELESS || kind.starts_with("jpeg");
        assert_eq!(has(",mplane=on"), is_video, "{kind}");
        assert_eq!(has(",pace=free"), !is_codec, "{kind}");
        assert_eq!(has(",format=YUYV"), !is_codec, "{kind}");
        assert_eq!(has(",sizes="), kind == "camera", "{kind}");
    }
}

#[test]
fn options_about_memory_suit_each_other() {
    for plan in plans() {
        for spec in &plan.devices {
            let has = |option| spec.contains(option);
            let is_vmalloc = has("alloc=vmalloc");
            assert!(!is_vmalloc || !has("mask=") && !has("align="), "{spec}");
            assert!(!has("place=lazy") || !has("alloc="), "{spec}");
            assert!(!has("mask=") || plan.machine != "soc-sram", "{spec}");
        }
        let cards = plan.devices.iter().filter(|spec| spec.starts_with("kms"));
        let own = plan.devices.len() - Plan::basic(plan.seed).devices.len() - cards.count();
        let expected = if plan.codecs { 1..3 } else { 0..1 };
        assert!(expected.contains(&own), "{plan}");
    }
    let counts = plans().into_iter().map(|plan| plan.devices.len());
    assert_eq!(counts.collect::<BTreeSet<_>>(), (2..=7).collect());
}

#[test]
fn plan_is_shown_as_options_and_counts() {
    let mut plan = Plan::of(3);
    plan.devices = vec!["camera".to_owned(), "display".to_owned()];
    (plan.machine, plan.pace) = ("pc", Pace::Given);
    (plan.programs, plan.steps) = ([0].into(), vec![1, 2]);
    for (faults, unmap_faults, word) in [
        (false, true, "off"),
        (true, false, "on"),
        (true, true, "on, also of unmaps"),
    ] {
        (plan.faults, plan.unmap_faults) = (faults, unmap_faults);
        let text = "seed 3 --machine pc --device camera --device display; clock given";
        let rest = format!("{text}, faults {word}, 1 programs, 2 steps");
        assert_eq!(plan.to_string(), rest);
    }
}
