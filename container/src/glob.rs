//! Docker's two pattern languages over `/`-separated paths.
//!
//! `COPY` uses the patterns of Go's `path.Match`: `*` and `?` stop at a `/`, `[a-z]` and `[^a]` are
//! classes, `\` makes the next character literal. Ignore files add `**`, which crosses `/`. The
//! globset crate differs in both (`{a,b}`, `[!a]`, `**` inside a name), so its patterns would
//! differ from an engine's; this is a small automaton instead, linear in pattern times path.

/// The language of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `COPY` and `ADD`: `**` is the same as `*`.
    Copy,
    /// `.dockerignore`: `**` matches any number of directories.
    Ignore,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    Literal(char),
    /// `?`: one character except `/`.
    One,
    /// `[…]`: one character of the class.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `*`: any characters except `/`.
    Many,
    /// Any characters at all.
    All,
    /// Entry of `**/`: either nothing, or the loop that follows.
    DirsEnter,
    /// Loop of `**/`: any characters, left after a `/` only.
    DirsLoop,
}

impl Glob {
    /// Parses `pattern`, or returns its fault.
    pub(crate) fn parse(pattern: &str, dialect: Dialect) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                '*' if dialect == Dialect::Ignore && chars.peek() == Some(&'*') => {
                    chars.next();
                    let slash = chars.next_if_eq(&'/').is_some();
                    // `**` at the end matches everything; `**name` at the start means "ends with
                    // name" in Docker as long as the rest is literal; every other `**` is `**/`.
                    let rest: String = chars.clone().collect();
                    if rest.is_empty()
                        || (first && !slash && !rest.contains(['*', '?', '[', ']', '\\']))
                    {
                        tokens.push(Token::All);
                    } else {
                        tokens.extend([Token::DirsEnter, Token::DirsLoop]);
                    }
                }
                '*' => tokens.push(Token::Many),
                '?' => tokens.push(Token::One),
                '[' => tokens.push(class(&mut chars)?),
                '\\' => {
                    let escaped = chars
                        .next()
                        .ok_or("a \\ at the end has nothing to escape")?;
                    tokens.push(Token::Literal(escaped));
                }
                c => tokens.push(Token::Literal(c)),
            }
            first = false;
        }
        Ok(Self { tokens })
    }

    /// Whether the pattern matches the whole of `path`.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.states_after(path)[self.tokens.len()]
    }

    /// Whether any path below the directory `dir` could match. Never false when one does.
    pub(crate) fn may_match_below(&self, dir: &str) -> bool {
        let mut states = self.states_after(&format!("{dir}/"));
        states.pop();
        states.contains(&true)
    }

    /// The positions of the pattern that are reachable by reading `text`; the last one is its end.
    fn states_after(&self, text: &str) -> Vec<bool> {
        let end = self.tokens.len();
        let mut now = vec![false; end + 1];
        self.enter(0, &mut now);
        for c in text.chars() {
            let mut next = vec![false; end + 1];
            for at in (0..end).filter(|at| now[*at]) {
                match &self.tokens[at] {
                    Token::Literal(want) if *want == c => self.enter(at + 1, &mut next),
                    Token::One if c != '/' => self.enter(at + 1, &mut next),
                    Token::Class { negated, ranges }
                        if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
                            != *negated =>
                    {
                        self.enter(at + 1, &mut next);
                    }
                    Token::Many if c != '/' => self.enter(at, &mut next),
                    Token::All => self.enter(at, &mut next),
                    Token::DirsLoop => {
                        next[at] = true;
                        if c == '/' {
                            self.enter(at + 1, &mut next);
                        }
                    }
                    _ => {}
                }
            }
            now = next;
        }
        now
    }

    /// Marks `at` and every position that is reachable from it without a character.
    fn enter(&self, at: usize, states: &mut [bool]) {
        if states[at] {
            return;
        }
        states[at] = true;
        match self.tokens.get(at) {
            Some(Token::Many | Token::All) => self.enter(at + 1, states),
            Some(Token::DirsEnter) => {
                states[at + 1] = true;
                self.enter(at + 2, states);
            }
            _ => {}
        }
    }
}

/// The rest of a class, after its `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, String> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            class_char(chars)?
        } else {
            low
        };
        if low > high {
            return Err(format!("the range {low}-{high} runs backwards"));
        }
        ranges.push((low, high));
    }
}

/// One end of a range; `]` and `-` need a `\`, as in Go.
fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, String> {
    match chars.next() {
        Some('\\') => chars
            .next()
            .ok_or_else(|| "a \\ at the end has nothing to escape".to_owned()),
        Some(c @ (']' | '-')) => Err(format!(
            "\"{c}\" has no place there in a class; write \\{c} for the character itself"
        )),
        Some(c) => Ok(c),
        None => Err("a [ has no matching ]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, dialect: Dialect, path: &str) -> bool {
        Glob::parse(pattern, dialect).unwrap().matches(path)
    }

    #[test]
    fn copy_patterns_are_those_of_go() {
        for (pattern, path, want) in [
            ("*.rs", "main.rs", true),
            ("*.rs", "src/main.rs", false),
            ("src/*.rs", "src/main.rs", true),
            ("**/main.rs", "a/b/main.rs", false),
            ("**/main.rs", "a/main.rs", true),
            ("?.c", "a.c", true),
            ("?.c", "/.c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[!a]x", "!x", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[\\]]", "]", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("", "", true),
            ("ä?", "äö", true),
        ] {
            assert_eq!(
                matches(pattern, Dialect::Copy, path),
                want,
                "{pattern} on {path}"
            );
        }
    }

    #[test]
    fn malformed_patterns_say_why() {
        for (pattern, why) in [
            ("a[", "a [ has no matching ]"),
            ("a[b", "a [ has no matching ]"),
            (
                "[]a]",
                "\"]\" has no place there in a class; write \\] for the character itself",
            ),
            (
                "[a-]",
                "\"]\" has no place there in a class; write \\] for the character itself",
            ),
            ("[z-a]", "the range z-a runs backwards"),
            ("a\\", "a \\ at the end has nothing to escape"),
        ] {
            assert_eq!(
                Glob::parse(pattern, Dialect::Ignore).unwrap_err(),
                why,
                "{pattern}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = "*a".repeat(40);
        assert!(!matches(&pattern, Dialect::Ignore, &"a".repeat(39)));
        assert!(matches(&pattern, Dialect::Ignore, &"a".repeat(400)));
    }

    #[test]
    fn a_directory_is_entered_when_something_below_may_match() {
        for (pattern, dir, want) in [
            ("target/release/app", "target", true),
            ("target/release/app", "target/release", true),
            ("target/release/app", "target/debug", false),
            ("target/release/app", "node_modules", false),
            ("target/*/app", "target/debug", true),
            ("target/*/app", "target/debug/deps", false),
            ("**/app", "anything/below", true),
            ("src/**", "src/a/b", true),
            ("src/**", "lib", false),
            ("app", "app", false),
        ] {
            assert_eq!(
                Glob::parse(pattern, Dialect::Ignore)
                    .unwrap()
                    .may_match_below(dir),
                want,
                "{pattern} below {dir}"
            );
        }
    }
}
