use super::*;

#[test]
fn modes_have_unique_names() {
    let mut names: Vec<String> = MODES
        .iter()
        .map(|mode| ModeName(mode).to_string())
        .collect();
    for (name, mode) in names.iter().zip(&MODES) {
        assert_eq!(mode_named(name), Some(mode));
        assert_eq!(name.parse(), Ok(Signal::Mode(*mode)));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), MODES.len());
}
