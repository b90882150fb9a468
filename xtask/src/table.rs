//! Text tables.

pub(crate) type Table = (Vec<String>, Vec<Vec<String>>);

/// Formats rows under a header. The first column is left-aligned, the others are right-aligned.
pub(crate) fn format(header: &[impl AsRef<str>], rows: &[Vec<String>]) -> String {
    let header = header.iter().map(|cell| cell.as_ref().to_owned());
    let mut lines: Vec<Vec<String>> = vec![header.collect()];
    lines.extend_from_slice(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect());
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn print((header, rows): &Table) {
    println!("{}", format(header, rows));
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

pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}
