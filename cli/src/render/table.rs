//! Aligned columns, independent of the colours of their cells.

use anstyle::Style;

use super::paint;

/// Rows of cells; each column is as wide as its widest cell, the last one is not padded.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    before: String,
    cells: Vec<(Style, String)>,
}

impl Table {
    /// Adds a row. The prefix before the first column counts towards its width.
    pub(crate) fn row(
        &mut self,
        before: impl Into<String>,
        cells: impl Into<Vec<(Style, String)>>,
    ) {
        self.rows.push(Row {
            before: before.into(),
            cells: cells.into(),
        });
    }

    /// Adds a line outside the columns.
    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.rows.push(Row {
            before: text.into(),
            cells: Vec::new(),
        });
    }

    /// The rows as lines, without trailing spaces.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, (_, text)) in row.cells.iter().enumerate() {
                let before = if column == 0 { width(&row.before) } else { 0 };
                if widths.len() == column {
                    widths.push(0);
                }
                widths[column] = widths[column].max(before + width(text));
            }
        }
        widths
    }
}

fn line(row: &Row, widths: &[usize]) -> String {
    let mut line = row.before.clone();
    let last = row.cells.iter().rposition(|(_, text)| !text.is_empty());
    for (column, (style, text)) in row.cells.iter().enumerate() {
        if Some(column) > last {
            break;
        }
        if column > 0 {
            line.push_str("  ");
        }
        if !text.is_empty() {
            line.push_str(&paint(*style, text));
        }
        if Some(column) < last {
            let before = if column == 0 { width(&row.before) } else { 0 };
            let pad = widths[column] - before - width(text);
            line.extend(std::iter::repeat_n(' ', pad));
        }
    }
    line
}

/// The visible characters, which for names, ids and addresses is their width on a terminal.
fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text)
        .map(|part| part.chars().count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::{BAD, GOOD};
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_where_their_text_ends() {
        let mut table = Table::default();
        table.row(
            "",
            [(GOOD, "a".into()), (BAD, "bbb".into()), (BAD, "c".into())],
        );
        table.row(
            "  └ ",
            [(GOOD, "aa".into()), (BAD, String::new()), (BAD, "c".into())],
        );
        table.row(
            "",
            [
                (GOOD, "a".into()),
                (BAD, String::new()),
                (BAD, String::new()),
            ],
        );
        let lines = table.lines().join("\n");
        let plain = anstream::adapter::strip_str(&lines).to_string();
        insta::assert_snapshot!(plain, @r"
        a       bbb  c
          └ aa       c
        a
        ");
    }
}
