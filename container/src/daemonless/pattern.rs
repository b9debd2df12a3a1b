//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/replacement}`.
//!
//! As in BuildKit, and unlike in a shell, there are `*`, `?` and `\`, and no classes.

/// The maximum length in characters of a pattern, and of a value for a pattern with `*`: the time
/// grows with the square of the latter.
const MAX_PATTERN: usize = 100;
const MAX_VALUE: usize = 4096;

/// A parsed pattern.
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Copy)]
enum Token {
    Literal(char),
    One,
    Many,
}

impl Pattern {
    /// Parses a pattern, or returns its fault.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(c),
                    _ => return Err(format!("the pattern {text} escapes what needs no escape")),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Refuses patterns and values that would take long.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        if self.0.len() > MAX_PATTERN {
            return Err(format!("a pattern has more than {MAX_PATTERN} characters"));
        }
        if value.len() > MAX_VALUE && self.0.iter().any(|token| matches!(token, Token::Many)) {
            return Err(format!(
                "a pattern with a * is tried on a value of more than {MAX_VALUE} characters"
            ));
        }
        Ok(())
    }

    /// `value` without the matching prefix, the longest or the shortest one.
    pub(super) fn trim_prefix(&self, value: &str, longest: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let end = Search::new(self, &value, longest).end(0, 0).unwrap_or(0);
        value[end..].iter().collect()
    }

    /// `value` without the matching suffix, the longest or the shortest one.
    pub(super) fn trim_suffix(&self, value: &str, longest: bool) -> String {
        let reversed = Self(self.0.iter().rev().copied().collect());
        let value: Vec<char> = value.chars().rev().collect();
        let end = Search::new(&reversed, &value, longest)
            .end(0, 0)
            .unwrap_or(0);
        value[end..].iter().rev().collect()
    }

    /// `value` with the first match replaced, or every one; a match is as long as possible. A
    /// result of more than `most` bytes is cut at some later position.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool, most: usize) -> String {
        let value: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut last_end = None;
        let mut search = Search::new(self, &value, true);
        while at <= value.len() && out.len() <= most {
            match search.end(0, at) {
                // An empty match directly after another match does not count.
                Some(end) if end > at || last_end != Some(at) => {
                    out.push_str(replacement);
                    last_end = Some(end);
                    if !all {
                        out.extend(&value[end..]);
                        return out;
                    }
                    if end > at {
                        at = end;
                        continue;
                    }
                }
                _ => {}
            }
            out.extend(value.get(at));
            at += 1;
        }
        out
    }
}

/// Matching one pattern on one value.
struct Search<'s> {
    tokens: &'s [Token],
    value: &'s [char],
    greedy: bool,
    /// The combinations of token and position that have failed.
    failed: Vec<bool>,
}

impl<'s> Search<'s> {
    fn new(pattern: &'s Pattern, value: &'s [char], greedy: bool) -> Self {
        Self {
            tokens: &pattern.0,
            value,
            greedy,
            failed: vec![false; pattern.0.len() * (value.len() + 1)],
        }
    }

    /// The end of a match of the tokens from `token` on that starts at `at`.
    fn end(&mut self, token: usize, at: usize) -> Option<usize> {
        let Some(this) = self.tokens.get(token) else {
            return Some(at);
        };
        let index = token * (self.value.len() + 1) + at;
        if self.failed[index] {
            return None;
        }
        let next = self.value.get(at).copied();
        let found = match this {
            Token::Literal(c) if next == Some(*c) => self.end(token + 1, at + 1),
            // A line break does not match `?` and `*`.
            Token::One if next.is_some_and(|c| c != '\n') => self.end(token + 1, at + 1),
            Token::Many => {
                let rest = &self.value[at..];
                let line = rest.iter().take_while(|c| **c != '\n').count();
                if self.greedy {
                    (at..=at + line)
                        .rev()
                        .find_map(|at| self.end(token + 1, at))
                } else {
                    (at..=at + line).find_map(|at| self.end(token + 1, at))
                }
            }
            _ => None,
        };
        self.failed[index] = found.is_none();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_suffixes() {
        let pattern = |text| Pattern::parse(text).unwrap();
        for (text, value, longest, prefix, suffix) in [
            ("*.", "a.b.c", false, "b.c", "a.b.c"),
            ("*.", "a.b.c", true, "c", "a.b.c"),
            (".*", "a.b.c", false, "a.b.c", "a.b"),
            (".*", "a.b.c", true, "a.b.c", "a"),
            ("?", "äb", false, "b", "ä"),
            ("a\\*", "a*b", false, "b", "a*b"),
            ("x", "abc", true, "abc", "abc"),
            ("", "abc", true, "abc", "abc"),
        ] {
            assert_eq!(pattern(text).trim_prefix(value, longest), prefix, "#{text}");
            assert_eq!(pattern(text).trim_suffix(value, longest), suffix, "%{text}");
        }
    }

    #[test]
    fn replacements() {
        for (text, value, all, want) in [
            ("a", "banana", false, "bXnana"),
            ("a", "banana", true, "bXnXnX"),
            ("a*a", "banana", true, "bX"),
            ("*", "banana", true, "X"),
            ("?", "abc", true, "XXX"),
            ("z", "abc", true, "abc"),
            ("", "ab", true, "XaXbX"),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(
                pattern.replace(value, "X", all, 100),
                want,
                "{text} in {value}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = Pattern::parse(&"*a".repeat(30)).unwrap();
        let value = "a".repeat(29);
        assert_eq!(pattern.trim_prefix(&value, true), value);
    }

    #[test]
    fn what_would_take_long_is_refused() {
        let many = Pattern::parse(&"?".repeat(101)).unwrap();
        assert!(many.check("").is_err());
        let star = Pattern::parse("*a").unwrap();
        assert!(star.check(&"a".repeat(4097)).is_err());
        assert!(
            Pattern::parse("a")
                .unwrap()
                .check(&"a".repeat(9999))
                .is_ok()
        );
    }

    #[test]
    fn an_escape_needs_something_to_escape() {
        assert!(Pattern::parse("a\\b").is_err());
        assert!(Pattern::parse("a\\").is_err());
    }
}
