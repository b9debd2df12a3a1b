//! Rust source, line by line: what is code, and what is text in comments and string literals.

/// One line of a source file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The code, with every string, character and comment left out.
    pub(super) code: String,
    /// The words of comments and string literals.
    pub(super) text: String,
}

/// Splits a source file. It need not compile.
pub(super) fn scan(source: &str) -> Vec<Line> {
    let mut scanner = Scanner {
        rest: source,
        before: ' ',
        lines: vec![Line::default()],
    };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.lines
}

struct Scanner<'a> {
    rest: &'a str,
    /// The last character of code.
    before: char,
    lines: Vec<Line>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.text(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.text(block_comment(rest));
        } else if let Some(length) = string(rest, self.before) {
            self.text(length);
            self.before = '"';
        } else if let Some(length) = character(rest) {
            self.rest = &rest[length..];
            self.before = '\'';
        } else if let Some(c) = rest.chars().next() {
            self.rest = &rest[c.len_utf8()..];
            self.before = c;
            self.put(c, |line| &mut line.code);
        }
    }

    fn text(&mut self, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        for c in text.chars() {
            self.put(c, |line| &mut line.text);
        }
        // So that two comments or strings on a line do not become one.
        if let Some(line) = self.lines.last_mut() {
            line.text.push(' ');
        }
    }

    fn put(&mut self, c: char, part: impl Fn(&mut Line) -> &mut String) {
        if c == '\n' {
            self.lines.push(Line::default());
        } else if let Some(line) = self.lines.last_mut() {
            part(line).push(c);
        }
    }
}

/// The length of the block comment at the start; they nest.
fn block_comment(source: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < source.len() {
        if source[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if source[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += source[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    source.len()
}

/// The length of the string literal at the start, if there is one.
fn string(source: &str, before: char) -> Option<usize> {
    if let Some(inner) = source.strip_prefix('"') {
        let mut escaped = false;
        let end = inner.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        return Some(end.map_or(source.len(), |(at, _)| at + 2));
    }
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let raw = source.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inner = raw[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let start = source.len() - inner.len();
    Some(
        inner
            .find(&close)
            .map_or(source.len(), |at| start + at + close.len()),
    )
}

/// The length of the character literal at the start, if it is one and not a lifetime.
fn character(source: &str) -> Option<usize> {
    let inner = source.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (at, _) = chars.next()?;
        let after = at + inner[at..].chars().next()?.len_utf8();
        return inner[after..].find('\'').map(|end| 1 + after + end + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(1 + at + 1)
}

/// The identifiers and punctuation of code, in order; `::` is one token.
pub(super) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Vec<String> {
        scan(source).into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn comments_and_strings_are_text() {
        let lines = scan("let a = \"one // two\"; // three\n/* four /* five */\nsix */ b();");
        assert_eq!(lines[0].code, "let a = ; ");
        assert_eq!(lines[0].text, "\"one // two\" // three ");
        assert_eq!(lines[2].code, " b();");
        assert_eq!(lines[2].text, "six */ ");
    }

    #[test]
    fn quotes_do_not_confuse_it() {
        assert_eq!(code("f('\"', '\\'', b'x', &'a str)"), ["f(, , b, &'a str)"]);
        assert_eq!(code(r###"r#"a " b"# + "c\"d" + br"e""###), [" +  + "]);
        assert_eq!(code("for\"x\""), ["for"]);
    }

    #[test]
    fn code_falls_into_tokens() {
        assert_eq!(
            tokens("use crate::{a, b_c};"),
            ["use", "crate", "::", "{", "a", ",", "b_c", "}", ";"]
        );
    }
}
