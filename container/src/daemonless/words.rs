//! The words of a Dockerfile: quotes, escapes, variables, and `name=value` lists.
//!
//! The rules are those of the Dockerfile reference ("Environment replacement") and of `BuildKit`'s
//! lexer where the reference is silent. The parser joins continuation lines and leaves the rest of
//! the text unchanged.

use std::iter::Peekable;
use std::str::Chars;

use super::pattern::Pattern;

/// The separators between words without quotes.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Looks up a variable; `None` if it is not set.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The maximum length of an expanded word in bytes: the kernel passes no longer argument or
/// variable to a process (`MAX_ARG_STRLEN`).
const MAX_EXPANDED: usize = 128 << 10;

/// The maximum nesting of `${NAME:-${NAME:-…}}`.
const MAX_DEPTH: usize = 32;

/// Expands one word or text: replaces variables, removes quotes and escapes.
pub(super) fn expand(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, String> {
    let mut lexer = Lexer {
        chars: text.chars().peekable(),
        escape,
        lookup,
        quotes: true,
        most: MAX_EXPANDED,
        depth: 0,
    };
    lexer.until(None, false)
}

/// Expands a here-document, where quotes are ordinary characters.
pub(super) fn expand_document(text: &str, lookup: &Lookup<'_>) -> Result<String, String> {
    let mut lexer = Lexer {
        chars: text.chars().peekable(),
        escape: '\\',
        lookup,
        quotes: false,
        most: text.len() + MAX_EXPANDED,
        depth: 0,
    };
    lexer.until(None, false)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a Lookup<'a>,
    /// Whether quotes group words; in a here-document they do not.
    quotes: bool,
    /// The longest result, in bytes.
    most: usize,
    /// The number of open modifiers.
    depth: usize,
}

impl Lexer<'_> {
    /// Reads up to and including `stop`, or to the end without one. In a pattern, escapes are kept.
    fn until(&mut self, stop: Option<char>, pattern: bool) -> Result<String, String> {
        let mut out = String::new();
        loop {
            self.bounded(&out)?;
            let Some(c) = self.chars.next() else {
                return match stop {
                    Some(stop) => Err(format!("a {stop} is missing")),
                    None => Ok(out),
                };
            };
            match c {
                c if Some(c) == stop => return Ok(out),
                '\'' if self.quotes => loop {
                    match self.chars.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err("a ' has no matching '".to_owned()),
                    }
                },
                '"' if self.quotes => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => {
                    if pattern {
                        out.push(c);
                    }
                    out.extend(self.chars.next());
                }
                c => out.push(c),
            }
        }
    }

    /// Refuses a text that is too long.
    fn bounded(&self, out: &str) -> Result<(), String> {
        match out.len() > self.most {
            true => Err(format!(
                "it expands to more than {} KiB, and no process can be given that",
                self.most >> 10
            )),
            false => Ok(()),
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            self.bounded(out)?;
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => {
                    // The escape is removed only where it protects a character.
                    match self.chars.peek() {
                        Some(&next) if next == '"' || next == '$' || next == self.escape => {
                            out.push(next);
                            self.chars.next();
                        }
                        _ => out.push(c),
                    }
                }
                Some(c) => out.push(c),
                None => return Err("a \" has no matching \"".to_owned()),
            }
        }
    }

    /// The text after a `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                (self.lookup)(&name).unwrap_or_default()
            });
        }
        let name = self.name();
        if name.is_empty() {
            return Err("a ${…} names no variable".to_owned());
        }
        let value = (self.lookup)(&name);
        let colon = match self.chars.next() {
            Some('}') => return Ok(value.unwrap_or_default()),
            Some(':') => true,
            Some(trim @ ('#' | '%')) => return self.trimmed(value, trim),
            Some('/') => return self.replaced(value),
            Some(other) => return self.modified(&name, value, other, false),
            None => return Err(format!("${{{name} lacks its }}")),
        };
        match self.chars.next() {
            Some(modifier) => self.modified(&name, value, modifier, colon),
            None => Err(format!("${{{name}: lacks its }}")),
        }
    }

    /// `${name-word}`, `${name:+word}` and so on; a colon makes an empty value count as unset.
    fn modified(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: char,
        colon: bool,
    ) -> Result<String, String> {
        if !matches!(modifier, '-' | '+' | '?') {
            let colon = if colon { ":" } else { "" };
            return Err(format!(
                "${{{name}{colon}{modifier}…}} is not known; there are ${{{name}:-default}}, ${{{name}:+other}}, \
                 ${{{name}:?message}}, ${{{name}#prefix}}, ${{{name}%suffix}} and ${{{name}/old/new}}"
            ));
        }
        let word = self.nested('}', false)?;
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(if value.is_some() { word } else { String::new() }),
            (_, Some(value)) => Ok(value),
            (_, None) if word.is_empty() => Err(format!("{name} has to be set")),
            (_, None) => Err(format!("{name}: {word}")),
        }
    }

    /// Reads a part of a `${…}` up to `stop`.
    fn nested(&mut self, stop: char, pattern: bool) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("${{…}} is nested more than {MAX_DEPTH} deep"));
        }
        let word = self.until(Some(stop), pattern)?;
        self.depth -= 1;
        Ok(word)
    }

    /// `${name#pattern}` and `${name%pattern}`, with a double sign for the longest match.
    fn trimmed(&mut self, value: Option<String>, sign: char) -> Result<String, String> {
        let word = self.nested('}', true)?;
        let (word, longest) = match word.strip_prefix(sign) {
            Some(rest) => (rest, true),
            None => (word.as_str(), false),
        };
        let pattern = Pattern::parse(word)?;
        let value = value.unwrap_or_default();
        pattern.check(&value)?;
        Ok(if sign == '#' {
            pattern.trim_prefix(&value, longest)
        } else {
            pattern.trim_suffix(&value, longest)
        })
    }

    /// `${name/pattern/replacement}`, with a double first `/` for every match.
    fn replaced(&mut self, value: Option<String>) -> Result<String, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = Pattern::parse(&self.nested('/', true)?)?;
        let replacement = self.nested('}', true)?;
        let value = value.unwrap_or_default();
        pattern.check(&value)?;
        let replaced = pattern.replace(&value, &replacement, all, self.most);
        self.bounded(&replaced)?;
        Ok(replaced)
    }

    /// A variable's name: letters, digits and `_`, or one of the shell's special parameters, which
    /// a build never sets.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }
}

/// Splits at spaces that are not quoted or escaped; the words keep their quotes and escapes.
pub(super) fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        // Inside single quotes an escape is an ordinary character.
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The pairs of an `ENV` or `LABEL`, not expanded: `name=value …`, or the old `name value with spaces`.
pub(super) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split(text, escape);
    let Some(first) = words.first() else {
        return Err("a name is missing".to_owned());
    };
    if !first.contains('=') {
        // The old form: the name ends at the first space, even inside quotes.
        let (name, value) = text.split_once(is_blank).unwrap_or((text, ""));
        if value.trim().is_empty() {
            return Err(format!("{first} has no value; write {first}=value"));
        }
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{word} names nothing before its =")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!(
                "{word} has no value; write {word}=value, or quote a value that has spaces"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "SPACE" => Some("a b".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn words_are_expanded_as_docker_expands_them() {
        for (text, want) in [
            ("plain", "plain"),
            ("$A", "alpha"),
            ("${A}x", "alphax"),
            ("$Ax", ""),
            ("$A.x", "alpha.x"),
            ("\\$A", "$A"),
            ("'$A'", "$A"),
            ("\"$A\"", "alpha"),
            ("\"\\$A \\n\"", "$A \\n"),
            ("a\\ b", "a b"),
            ("a\\", "a"),
            ("\"a b\"c'd e'", "a bcd e"),
            ("${NONE}", ""),
            ("${NONE:-dflt}", "dflt"),
            ("${NONE-dflt}", "dflt"),
            ("${EMPTY:-dflt}", "dflt"),
            ("${EMPTY-dflt}", ""),
            ("${A:-dflt}", "alpha"),
            ("${A:+other}", "other"),
            ("${EMPTY:+other}", ""),
            ("${EMPTY+other}", "other"),
            ("${NONE:+other}", ""),
            ("${NONE:-${A}/x}", "alpha/x"),
            ("${NONE:-\"a b\"}", "a b"),
            ("${A:?must}", "alpha"),
            ("$SPACE", "a b"),
            ("${A#al}", "pha"),
            ("${A%ha}", "alp"),
            ("${A##*a}", ""),
            ("${A%%p*}", "al"),
            ("${A/a/o}", "olpha"),
            ("${A//a/$SPACE}", "a blpha b"),
            ("${A//a/}", "lph"),
            ("${NONE#x}", ""),
            ("$", "$"),
            ("a$/b", "a$/b"),
            ("$1$?", ""),
        ] {
            assert_eq!(expand(text, '\\', &lookup).as_deref(), Ok(want), "{text}");
        }
        assert_eq!(
            expand("C:\\dir`$A", '`', &lookup).as_deref(),
            Ok("C:\\dir$A")
        );
    }

    #[test]
    fn malformed_words_say_why() {
        for (text, why) in [
            ("'a", "a ' has no matching '"),
            ("\"a", "a \" has no matching \""),
            ("${A", "${A lacks its }"),
            ("${A:", "${A: lacks its }"),
            ("${A:-x", "a } is missing"),
            ("${}", "a ${…} names no variable"),
            ("${:-x}", "a ${…} names no variable"),
            (
                "${A:=x}",
                "${A:=…} is not known; there are ${A:-default}, ${A:+other}, ${A:?message}, ${A#prefix}, ${A%suffix} and ${A/old/new}",
            ),
            ("${A/x}", "a / is missing"),
            ("${A#\\x}", "the pattern \\x escapes what needs no escape"),
            ("${NONE:?give a version}", "NONE: give a version"),
            ("${NONE?}", "NONE has to be set"),
        ] {
            assert_eq!(expand(text, '\\', &lookup), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn documents_keep_their_quotes() {
        let text = "say \"$A\" it's \\$A \\n ${NONE:-x}\n";
        assert_eq!(
            expand_document(text, &lookup).unwrap(),
            "say \"alpha\" it's $A n x\n"
        );
    }

    #[test]
    fn pairs_are_split_at_spaces_outside_quotes() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, want) in [
            ("A=1", vec![pair("A", "1")]),
            (
                "A=1 B=\"x y\" C=a\\ b",
                vec![pair("A", "1"), pair("B", "\"x y\""), pair("C", "a\\ b")],
            ),
            ("A one two", vec![pair("A", "one two")]),
            ("A=", vec![pair("A", "")]),
            ("A=b=c", vec![pair("A", "b=c")]),
        ] {
            assert_eq!(pairs(text, '\\').unwrap(), want, "{text}");
        }
        assert_eq!(
            pairs("A=1 B", '\\').unwrap_err(),
            "B has no value; write B=value, or quote a value that has spaces"
        );
        assert_eq!(
            pairs("A", '\\').unwrap_err(),
            "A has no value; write A=value"
        );
        assert_eq!(
            pairs("=1", '\\').unwrap_err(),
            "=1 names nothing before its ="
        );
    }

    #[test]
    fn expansion_is_bounded() {
        let long = "x".repeat(100 << 10);
        let lookup = |name: &str| (name == "X").then(|| long.clone());
        assert_eq!(expand("$X", '\\', &lookup).as_deref(), Ok(long.as_str()));
        for text in ["$X$X", "\"$X$X\"", "${NONE:-$X$X}", "${X}${X}"] {
            let why = expand(text, '\\', &lookup).unwrap_err();
            assert!(why.contains("more than 128 KiB"), "{text}: {why}");
        }
        let document = "$X".repeat(10_000);
        assert!(expand_document(&document, &lookup).is_err());
        let deep = "${N:-".repeat(100_000);
        let why = expand(&deep, '\\', &lookup).unwrap_err();
        assert!(why.contains("nested more than 32 deep"), "{why}");
    }
}
