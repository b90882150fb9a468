//! Rules for the Python module.

use super::RULES;
use crate::sh;
use anyhow::Result;
use fs_err as fs;

/// Maximum number of lines of a Python file.
const MAX_LINES: usize = 400;

/// Returns the faults of the module's files.
pub(super) fn faults_of_module() -> Result<Vec<String>> {
    let mut all = Vec::new();
    for dir in ["python/src/vb3", "python/tests"] {
        for file in super::files(&sh::root().join(dir), "py") {
            all.extend(faults(&super::shown(&file), &fs::read_to_string(&file)?));
        }
    }
    Ok(all)
}

/// Returns the faults of a Python file.
fn faults(name: &str, text: &str) -> Vec<String> {
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
    let found = RULES
        .words
        .forbidden_in_python
        .iter()
        .filter(|word| text.contains(*word));
    faults.extend(found.map(|word| format!("{name} contains {word:?}")));
    faults
}

#[test]
fn python_files_need_docs_and_no_sleep() {
    let look = |text: &str| faults("a.py", text).len();
    assert_eq!(look("\"\"\"Waits.\"\"\"\nimport os\n"), 0);
    assert_eq!(look("import time\ntime.sleep(1)\n"), 3);
    assert_eq!(look(&"\"\"\"Long.\"\"\"\n".repeat(MAX_LINES + 1)), 1);
}
