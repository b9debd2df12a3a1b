//! Reading a TOML document into settings: every fault is noted with its place, and reading goes on.

use std::collections::BTreeMap;

use toml_span::value::{Table, ValueInner};
use toml_span::{Span, Value};

use super::fault::{Diagnostic, MOST_FAULTS};
use super::hints;

/// How many characters of an unknown key are quoted.
const LONGEST_KEY: usize = 80;

/// What has been found out about a document so far.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Where each key's value stands; for a table, where its name stands.
    spans: BTreeMap<String, Span>,
    /// What is wrong, and where.
    problems: Vec<(Span, Diagnostic)>,
    /// Lists and tables of which a part could not be read.
    incomplete: Vec<String>,
    /// Keys that stand in the wrong place or with a slip.
    misplaced: Vec<String>,
    /// Keys that have to be there and are not.
    missing: Vec<Diagnostic>,
    /// How many unknown keys there are beyond those that are told.
    pub(super) more: usize,
}

impl Reading {
    /// Notes a problem of the value at this place.
    pub(crate) fn fault(&mut self, span: Span, problem: Diagnostic) {
        self.problems.push((span, problem));
    }

    /// Notes where a value stands, for what will be said about it later.
    pub(crate) fn place(&mut self, at: &str, span: Span) {
        self.spans.insert(at.to_owned(), span);
    }

    /// Whether the document has this key.
    pub(crate) fn has(&self, at: &str) -> bool {
        self.spans.contains_key(at)
    }

    /// Notes that a part of a list or table could not be read.
    pub(crate) fn incomplete(&mut self, at: &str) {
        self.incomplete.push(at.to_owned());
    }

    /// Adds what was found out without the document. What rests on a key that is faulty itself is left out:
    /// the reader has to change that key anyhow.
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

    /// All problems, in the order of the document.
    pub(crate) fn into_problems(mut self) -> Vec<(Span, Diagnostic)> {
        for problem in std::mem::take(&mut self.missing).into_iter().rev() {
            // Who is told that a key is misspelt need not be told that it is missing.
            if !self.is_misplaced(&problem) {
                let span = self.span_of(&problem.at);
                self.problems.insert(0, (span, problem));
            }
        }
        let mut problems = self.problems;
        problems.sort_by_key(|(span, _)| span.start);
        problems
    }

    /// Whether one of the keys that it is about stands in the wrong place or with a slip.
    fn is_misplaced(&self, problem: &Diagnostic) -> bool {
        let key = |at: &String| at.rsplit('.').next().map(str::to_owned);
        let mut keys = problem.at.iter().filter_map(key);
        keys.any(|key| self.misplaced.contains(&key))
    }

    /// Where a problem is shown: at its first key that the document has, else at the table around it.
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

    /// Takes the text out of a value, or says what stands there instead.
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

    /// Notes that a value is of the wrong type.
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

    /// Opens a table, or says what stands there instead.
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

    /// Notes every key that is still in the table as unknown, with the nearest of the known ones.
    pub(crate) fn refuse_unknown(&mut self, table: Table<'_>, at: &str, known: &[String]) {
        let place = in_table(at);
        let mut keys: Vec<_> = table.into_keys().collect();
        keys.sort_by_key(|key| key.span.start);
        for (index, key) in keys.into_iter().enumerate() {
            // More are not told, and a hint takes a look at every key of the schema.
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

    /// Notes a key that has to be there and is not.
    pub(crate) fn missing(&mut self, at: &str, table: &str) {
        let place = in_table(table);
        let key = at.rsplit('.').next().unwrap_or(at);
        let problem = Diagnostic::new(at, format_args!("there is no `{key}` {place}"));
        self.missing.push(problem.hint(hints::for_missing(at)));
    }
}

/// A key as it is quoted: of a long one the beginning.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(LONGEST_KEY) {
        Some((at, _)) => format!("{}…", &key[..at]),
        None => key.to_owned(),
    }
}

/// A table by its header; one of a list of tables is `[[network.expect]]`.
fn in_table(at: &str) -> String {
    match at.strip_suffix(']').and_then(|at| at.rsplit_once('[')) {
        Some((list, _)) => format!("in [[{list}]]"),
        None if at.is_empty() => "at the top of the file".to_owned(),
        None => format!("in [{at}]"),
    }
}

/// Whether a key is another one, or stands somewhere below it.
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
