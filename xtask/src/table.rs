//! Text tables.

/// Formats rows under a header: the first column to the left, numbers to the right.
pub(crate) fn format(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(header.get(column).map(|cell| cell.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.push(
        widths
            .iter()
            .map(|width| "-".repeat(*width))
            .collect::<Vec<_>>()
            .join("  "),
    );
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

/// The same as markdown, all columns to the left.
pub(crate) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<&str> = cells.collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![
        line(&mut header.iter().copied()),
        format!("|{}", "---|".repeat(header.len())),
    ];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn markdown_has_a_cell_for_each_column() {
        let rows = [vec!["none".into(), "ok".into()]];
        assert_eq!(
            super::markdown(&["where", "mmap"], &rows),
            "| where | mmap |\n|---|---|\n| none | ok |"
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["pc".into(), "1".into()],
            vec!["soc-cma".into(), "1234".into()],
        ];
        assert_eq!(
            super::format(&["machine", "n"], &rows),
            "machine     n\n-------  ----\npc          1\nsoc-cma  1234"
        );
    }
}
