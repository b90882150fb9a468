//! Text tables.

/// The header and the rows of a table.
pub(crate) type Table = (Vec<&'static str>, Vec<Vec<String>>);

/// Formats rows under a header. The first column is left-aligned, numbers are right-aligned.
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

/// Formats rows under a header as Markdown. All columns are left-aligned.
pub(crate) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut text = format!("| {} |\n|", header.join(" | "));
    text += &"---|".repeat(header.len());
    for row in rows {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        text += &format!("\n| {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn markdown_has_a_cell_for_each_column() {
        let rows = [vec!["a | b".into(), "ok\nno".into()]];
        assert_eq!(
            super::markdown(&["where", "mmap"], &rows),
            "| where | mmap |\n|---|---|\n| a \\| b | ok no |"
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
