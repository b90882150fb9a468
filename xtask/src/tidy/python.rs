//! Rules for the Python module.

use std::path::Path;

/// Maximum number of lines of a Python file.
const MAX_LINES: usize = 400;
/// Words that no file of the module may have: leftovers, and sleeps in place of waits.
const FORBIDDEN: &[&str] = &["breakpoint(", "import time", "time.sleep", "print("];

/// Returns the faults of a Python file.
pub(super) fn faults(file: &Path, text: &str) -> Vec<String> {
    let name = file.display();
    let mut faults = Vec::new();
    if !text.starts_with("\"\"\"") {
        faults.push(format!("{name} does not begin with its documentation"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        faults.push(format!(
            "{name} has {lines} lines; {MAX_LINES} are the most"
        ));
    }
    let found = FORBIDDEN.iter().filter(|word| text.contains(**word));
    faults.extend(found.map(|word| format!("{name} contains {word:?}")));
    faults
}

#[test]
fn python_files_need_docs_and_no_sleep() {
    let look = |text: &str| faults(Path::new("a.py"), text).len();
    assert_eq!(look("\"\"\"Waits.\"\"\"\nimport os\n"), 0);
    assert_eq!(look("import time\ntime.sleep(1)\n"), 3);
    assert_eq!(look(&"\"\"\"Long.\"\"\"\n".repeat(MAX_LINES + 1)), 1);
}
