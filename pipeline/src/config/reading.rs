//! Reads a TOML document into settings: every error is recorded with its place, and the reader continues.

use std::collections::BTreeMap;

use toml_span::value::{Table, ValueInner};
use toml_span::{Span, Value};

use super::fault::{Diagnostic, MOST_FAULTS};
use super::hints;

/// The maximum number of quoted characters of an unknown key.
const LONGEST_KEY: usize = 80;

/// The state of the reader.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The place of each key's value; for a table, of its name.
    spans: BTreeMap<String, Span>,
    /// The diagnostics with their places.
    problems: Vec<(Span, Diagnostic)>,
    /// Lists and tables with unreadable parts.
    incomplete: Vec<String>,
    /// Misplaced or misspelt keys.
    misplaced: Vec<String>,
    /// Missing keys.
    missing: Vec<Diagnostic>,
    /// The number of unknown keys that are not reported.
    pub(super) more: usize,
}

impl Reading {
    /// Records a diagnostic of the value at this place.
    pub(crate) fn fault(&mut self, span: Span, problem: Diagnostic) {
        self.problems.push((span, problem));
    }

    /// Records the place of a value, for later diagnostics.
    pub(crate) fn place(&mut self, at: &str, span: Span) {
        self.spans.insert(at.to_owned(), span);
    }

    /// Whether the document has this key.
    pub(crate) fn has(&self, at: &str) -> bool {
        self.spans.contains_key(at)
    }

    /// Records that a part of a list or table is unreadable.
    pub(crate) fn incomplete(&mut self, at: &str) {
        self.incomplete.push(at.to_owned());
    }

    /// Adds the diagnostics of the later checks. Those that depend on an invalid key are left out:
    /// the user has to change that key first.
    pub(crate) fn add(&mut self, problems: Vec<Diagnostic>) {
        let faulty: Vec<String> = self
            .problems
            .iter()
            .flat_map(|(_, problem)| &problem.at)
            .chain(&self.incomplete)
            .chain(self.missing.iter().flat_map(|problem| &problem.at))
            .cloned()
            .collect();
        for problem in problems {
            let follows = problem
                .at
                .iter()
                .any(|at| faulty.iter().any(|fault| is_within(at, fault)));
            if !follows && !self.is_misplaced(&problem) {
                self.problems.push((self.span_of(&problem.at), problem));
            }
        }
    }

    /// All diagnostics, in the order of the document.
    pub(crate) fn into_problems(mut self) -> Vec<(Span, Diagnostic)> {
        for problem in std::mem::take(&mut self.missing).into_iter().rev() {
            // If a key is misspelt, its absence is not reported, too.
            if !self.is_misplaced(&problem) {
                let span = self.span_of(&problem.at);
                self.problems.insert(0, (span, problem));
            }
        }
        let mut problems = self.problems;
        problems.sort_by_key(|(span, _)| span.start);
        problems
    }

    /// Whether one of its keys is misplaced or misspelt.
    fn is_misplaced(&self, problem: &Diagnostic) -> bool {
        let key = |at: &String| at.rsplit('.').next().map(str::to_owned);
        let mut keys = problem.at.iter().filter_map(key);
        keys.any(|key| self.misplaced.contains(&key))
    }

    /// The place of a diagnostic: its first key in the document, else the table around it.
    fn span_of(&self, at: &[String]) -> Span {
        if let Some(span) = at.iter().find_map(|at| self.spans.get(at)) {
            return *span;
        }
        let mut path = at.first().map_or("", String::as_str);
        while let Some((table, _)) = path.rsplit_once(['.', '[']) {
            if let Some(span) = self.spans.get(table) {
                return *span;
            }
            path = table;
        }
        Span::new(0, 0)
    }

    /// Takes the text of a value, or records the wrong type.
    pub(crate) fn text(&mut self, value: &mut Value<'_>, at: &str, what: &str) -> Option<String> {
        match value.take() {
            ValueInner::String(text) => Some(text.into_owned()),
            other => {
                let hint = match &other {
                    ValueInner::Integer(number) => Some(format!("write \"{number}\" in quotes")),
                    ValueInner::Boolean(yes) => Some(format!("write \"{yes}\" in quotes")),
                    _ => None,
                };
                self.unfit(value.span, at, what, &other, hint);
                None
            }
        }
    }

    /// Records a wrong type.
    pub(crate) fn unfit(
        &mut self,
        span: Span,
        at: &str,
        what: &str,
        found: &ValueInner<'_>,
        hint: Option<String>,
    ) {
        let found = match found {
            ValueInner::String(_) => "text",
            ValueInner::Integer(_) => "a number",
            ValueInner::Float(_) => "a fraction",
            ValueInner::Boolean(_) => "true or false",
            ValueInner::Array(_) => "a list",
            ValueInner::Table(_) => "a table",
        };
        let key = at.rsplit('.').next().unwrap_or(at);
        let mut problem = Diagnostic::new(at, format_args!("`{key}` is {found} here, not {what}"));
        problem.hint = hint;
        self.fault(span, problem);
    }

    /// Opens a table, or records the wrong type.
    pub(crate) fn table<'de>(
        &mut self,
        value: &mut Value<'de>,
        at: &str,
        what: &str,
    ) -> Option<Table<'de>> {
        match value.take() {
            ValueInner::Table(table) => {
                for (key, value) in &table {
                    let is_table = value.as_table().is_some();
                    let span = if is_table { key.span } else { value.span };
                    self.spans.insert(join(at, &key.name), span);
                }
                Some(table)
            }
            other => {
                let key = at.rsplit('.').next().unwrap_or(at);
                let hint = match &other {
                    ValueInner::String(text) => hints::for_text_as_table(key, text),
                    ValueInner::Integer(number) if key == "scale" => {
                        Some(format!("write scale = {{ desired = {number} }}"))
                    }
                    _ => None,
                };
                let hint = hint.unwrap_or_else(|| {
                    format!("write {key} = {{ … }} or, in a line of its own, [{at}]")
                });
                self.unfit(value.span, at, what, &other, Some(hint));
                None
            }
        }
    }

    /// Records all remaining keys of the table as unknown, with the nearest known one.
    pub(crate) fn refuse_unknown(&mut self, table: Table<'_>, at: &str, known: &[String]) {
        let place = in_table(at);
        let mut keys: Vec<_> = table.into_keys().collect();
        keys.sort_by_key(|key| key.span.start);
        for (index, key) in keys.into_iter().enumerate() {
            // More are not reported, and a hint compares all keys of the schema.
            if index >= MOST_FAULTS {
                self.more += 1;
                continue;
            }
            let message = format!("unknown key `{}` {place}", shortened(&key.name));
            let (hint, meant) = hints::for_unknown(&key.name, at, known);
            self.misplaced.extend(meant);
            let problem = Diagnostic::new(join(at, &key.name), message);
            self.fault(key.span, problem.hint(hint));
        }
    }

    /// Records a missing key.
    pub(crate) fn missing(&mut self, at: &str, table: &str) {
        let place = in_table(table);
        let key = at.rsplit('.').next().unwrap_or(at);
        let problem = Diagnostic::new(at, format_args!("there is no `{key}` {place}"));
        self.missing.push(problem.hint(hints::for_missing(at)));
    }
}

/// The quoted form of a key: the beginning of a long one.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(LONGEST_KEY) {
        Some((at, _)) => format!("{}…", &key[..at]),
        None => key.to_owned(),
    }
}

/// The header of a table; `[[network.expect]]` in a list of tables.
fn in_table(at: &str) -> String {
    match at.strip_suffix(']').and_then(|at| at.rsplit_once('[')) {
        Some((list, _)) => format!("in [[{list}]]"),
        None if at.is_empty() => "at the top of the file".to_owned(),
        None => format!("in [{at}]"),
    }
}

/// Whether a key is equal to another one, or below it.
fn is_within(key: &str, table: &str) -> bool {
    key.strip_prefix(table)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The path of a key inside a table.
pub(crate) fn join(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}
