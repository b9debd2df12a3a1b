//! The lines of a Dockerfile: directives, comments, continuation lines, flags and here-documents.
//!
//! The rules are those of BuildKit's parser. No variable is expanded here, and no quote is removed.

use super::words;

/// The valid directives of `#` lines at the top.
const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

/// The reason why a Dockerfile cannot be read, and its line, counted from 1.
#[derive(Debug)]
pub(super) struct ParseError {
    pub(super) line: usize,
    pub(super) problem: String,
}

/// One instruction as in the file, its lines joined.
#[derive(Debug)]
pub(super) struct RawInstruction {
    /// Its first line, counted from 1.
    pub(super) line: usize,
    /// Its keyword as written.
    pub(super) keyword: String,
    pub(super) flags: Vec<Flag>,
    /// Everything after the flags, without spaces around it.
    pub(super) arguments: String,
    pub(super) documents: Vec<Document>,
}

/// `--name` or `--name=value`, quotes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Its delimiter, which is also the name of the resulting file.
    pub(super) name: String,
    pub(super) text: String,
    /// Whether variables in it are expanded: its delimiter is not quoted.
    pub(super) expand: bool,
    /// `<<-`: leading tabs are removed.
    pub(super) remove_tabs: bool,
}

/// Splits a Dockerfile into instructions; also returns the escape character.
pub(super) fn parse(text: &str) -> Result<(char, Vec<RawInstruction>), ParseError> {
    let mut lines = text.split_inclusive('\n').zip(1..);
    let mut directives = Directives::default();
    let mut instructions = Vec::new();
    while let Some((line, start)) = lines.next() {
        let text = trim_newline(line).trim_start();
        directives.read(text).map_err(|problem| ParseError {
            line: start,
            problem,
        })?;
        let escape = directives.escape;
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (text, mut ends) = continuation(text, escape);
        if ends && text.is_empty() {
            continue;
        }
        let mut joined = text.to_owned();
        while !ends {
            let Some((line, _)) = lines.next() else { break };
            let text = trim_newline(line);
            let trimmed = text.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (text, last) = continuation(text, escape);
            joined.push_str(text);
            ends = last;
        }
        let at_start = |problem| ParseError {
            line: start,
            problem,
        };
        let mut instruction = split_line(&joined, escape, start);
        if may_have_documents(&instruction) {
            let mut found = documents(&instruction.arguments).map_err(at_start)?;
            for document in &mut found {
                let missing = || {
                    at_start(format!(
                        "the here-document {} has no end: no line is {} alone",
                        document.name, document.name
                    ))
                };
                loop {
                    let (line, _) = lines.next().ok_or_else(missing)?;
                    let mut end = trim_newline(line);
                    if document.remove_tabs {
                        end = end.trim_start_matches('\t');
                    }
                    if end == document.name {
                        break;
                    }
                    let kept = if document.remove_tabs {
                        line.trim_start_matches('\t')
                    } else {
                        line
                    };
                    document.text.push_str(kept);
                }
            }
            instruction.documents = found;
        }
        instructions.push(instruction);
    }
    Ok((directives.escape, instructions))
}

/// The `# name=value` lines before all others.
struct Directives {
    escape: char,
    seen: Vec<String>,
    done: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            escape: '\\',
            seen: Vec::new(),
            done: false,
        }
    }
}

impl Directives {
    fn read(&mut self, line: &str) -> Result<(), String> {
        if self.done {
            return Ok(());
        }
        let directive = line
            .strip_prefix('#')
            .and_then(|rest| rest.split_once('='))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim()))
            .filter(|(name, value)| DIRECTIVES.contains(&name.as_str()) && !value.is_empty());
        let Some((name, value)) = directive else {
            self.done = true;
            return Ok(());
        };
        if self.seen.contains(&name) {
            return Err(format!("the directive {name} is given twice"));
        }
        if name == "escape" {
            self.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    return Err(format!(
                        "\"{value}\" cannot be the escape character; there are \\ and `"
                    ));
                }
            };
        }
        self.seen.push(name);
        Ok(())
    }
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without its continuation mark, and whether it is the last one.
fn continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        // An escaped escape character is not a continuation mark.
        Some(start) if !start.ends_with(escape) => (start, false),
        _ => (line, true),
    }
}

/// Keyword, flags, and the rest.
fn split_line(line: &str, escape: char, start: usize) -> RawInstruction {
    let line = line.trim();
    let (keyword, rest) = line.split_once(words::is_blank).unwrap_or((line, ""));
    let (flags, rest) = flags(rest, escape);
    RawInstruction {
        line: start,
        keyword: keyword.to_owned(),
        flags,
        arguments: rest.trim().to_owned(),
        documents: Vec::new(),
    }
}

/// The flags at the start of `text`, and the rest.
fn flags(text: &str, escape: char) -> (Vec<Flag>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let mut word = String::new();
        let mut quote = None;
        let mut end = rest.len();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = at;
                    break;
                }
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
                _ => word.push(c),
            }
        }
        rest = rest[end..].trim_start();
        let Some(word) = word.strip_prefix("--").filter(|word| !word.is_empty()) else {
            // A lone `--` ends the flags.
            break;
        };
        flags.push(match word.split_once('=') {
            Some((name, value)) => Flag {
                name: name.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Flag {
                name: word.to_owned(),
                value: None,
            },
        });
    }
    (flags, rest)
}

fn may_have_documents(instruction: &RawInstruction) -> bool {
    let takes_them = |word: &str| {
        ["ADD", "COPY", "RUN"]
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
    };
    let first = instruction.arguments.split_whitespace().next();
    instruction.arguments.contains("<<")
        && (takes_them(&instruction.keyword)
            || (instruction.keyword.eq_ignore_ascii_case("ONBUILD")
                && first.is_some_and(takes_them)))
}

/// The here-documents of a line, still without text.
fn documents(line: &str) -> Result<Vec<Document>, String> {
    // Spaces are allowed between the mark and the delimiter.
    let mut documents = Vec::new();
    let mut words = words::split(line, '\\').into_iter();
    while let Some(mut word) = words.next() {
        if matches!(
            word.trim_start_matches(|c: char| c.is_ascii_digit()),
            "<<" | "<<-"
        ) && let Some(next) = words.next()
        {
            word.push_str(&next);
        }
        documents.extend(document(&word)?);
    }
    Ok(documents)
}

/// The here-document of a word: `<<EOF`, `<<-EOF`, `<<"EOF"`.
pub(super) fn document(word: &str) -> Result<Option<Document>, String> {
    let Some(rest) = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")
    else {
        return Ok(None);
    };
    let (remove_tabs, delimiter) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if delimiter.is_empty() || delimiter.contains('<') {
        return Ok(None);
    }
    let name = words::expand(delimiter, '\\', &|name| Some(format!("${name}")))?;
    Ok((!name.is_empty()).then(|| Document {
        name,
        text: String::new(),
        expand: !delimiter.contains(['"', '\'']),
        remove_tabs,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> RawInstruction {
        let (_, mut instructions) = parse(text).unwrap();
        assert_eq!(instructions.len(), 1, "{text}");
        instructions.remove(0)
    }

    fn problem(text: &str) -> (usize, String) {
        let error = parse(text).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn continued_lines_are_joined() {
        for (text, arguments) in [
            ("CMD a \\\n  b", "a   b"),
            ("CMD a\\\nb", "ab"),
            ("CMD a \\  \n# comment\n  # indented\n\n b", "a  b"),
            ("CMD a \\\\\n", "a \\\\"),
            ("CMD a \\\r\n b\r\n", "a  b"),
            ("CMD a \\", "a"),
            ("# escape=`\nCMD a `\n b\\", "a  b\\"),
            ("\\\nCMD a", "a"),
        ] {
            assert_eq!(one(text).arguments, arguments, "{text:?}");
        }
    }

    #[test]
    fn directives_come_first_and_once() {
        for (text, escape) in [
            ("# escape=`\nCMD a", '`'),
            ("#escape = `\nCMD a", '`'),
            ("# check=skip=all\n# escape=`\nCMD a", '`'),
            ("# syntax=x\n# ESCAPE=`\nCMD a", '`'),
            ("# comment\n# escape=`\nCMD a", '\\'),
            ("\n# escape=`\nCMD a", '\\'),
            ("# other=x\n# escape=`\nCMD a", '\\'),
        ] {
            assert_eq!(parse(text).unwrap().0, escape, "{text:?}");
        }
        assert_eq!(
            problem("# escape=`\n# escape=`\nCMD a"),
            (2, "the directive escape is given twice".to_owned())
        );
        assert_eq!(
            problem("# escape=x\nCMD a").1,
            "\"x\" cannot be the escape character; there are \\ and `"
        );
    }

    #[test]
    fn flags_stand_before_everything_else() {
        let copy = one("copy --chown=1:2  --link \"--exclude=a b\" --x\\ y=z f /");
        let copy_flags = |flags: &[Flag]| -> Vec<String> {
            flags
                .iter()
                .map(|flag| format!("{}={:?}", flag.name, flag.value))
                .collect()
        };
        assert_eq!(
            copy_flags(&copy.flags),
            ["chown=Some(\"1:2\")", "link=None"]
        );
        assert_eq!(copy.arguments, "\"--exclude=a b\" --x\\ y=z f /");
        let add = one("ADD --a=\"b c\" -- --d /");
        assert_eq!(copy_flags(&add.flags), ["a=Some(\"b c\")"]);
        assert_eq!(add.arguments, "--d /");
    }

    #[test]
    fn here_documents_follow_their_line() {
        let copy = one("COPY <<A <<-\"B\" f /x/\n1\n\tA\nA\n\t\t2 $x\n\tB\n");
        let document = |name: &str, text: &str, expand, remove_tabs| Document {
            name: name.to_owned(),
            text: text.to_owned(),
            expand,
            remove_tabs,
        };
        assert_eq!(
            copy.documents,
            [
                document("A", "1\n\tA\n", true, false),
                document("B", "2 $x\n", false, true)
            ]
        );
        assert_eq!(one("RUN 3<< EOF\nx\nEOF\n").documents.len(), 1);
        assert_eq!(one("CMD a << b").documents, []);
        assert_eq!(
            problem("FROM x\nCOPY <<EOF /\nx"),
            (
                2,
                "the here-document EOF has no end: no line is EOF alone".to_owned()
            )
        );
    }
}
