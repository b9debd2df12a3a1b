//! The form of each instruction: its arguments and their notation.

use super::parser::{self, Document, Flag, RawInstruction};
use super::words;

/// An instruction of a stage.
#[derive(Debug)]
pub(super) struct Instruction {
    /// Its first line, counted from 1.
    pub(super) line: usize,
    pub(super) flags: Vec<Flag>,
    pub(super) kind: Kind,
}

/// The kind of an instruction, with its arguments not expanded.
#[derive(Debug)]
pub(super) enum Kind {
    Add(Transfer),
    Arg(Vec<Argument>),
    Cmd(Command),
    Copy(Transfer),
    /// `None` removes the base's.
    Entrypoint(Option<Command>),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    From {
        image: String,
        /// In lower case, for comparison.
        name: Option<String>,
    },
    /// `None` switches it off.
    Healthcheck(Option<Command>),
    Label(Vec<(String, String)>),
    Maintainer(String),
    Onbuild,
    Run,
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// The arguments of a `COPY` or `ADD`.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) sources: Vec<Source>,
    pub(super) destination: String,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug)]
pub(super) enum Source {
    Path(String),
    Document(Document),
}

/// `NAME` or `NAME=default`.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) default: Option<String>,
}

/// A command line.
#[derive(Debug)]
pub(super) enum Command {
    /// A list, executed without a shell.
    Exec(Vec<String>),
    /// A text for the shell.
    Shell(String),
}

/// The notation of arguments.
enum Notation {
    List(Vec<String>),
    Text,
}

/// Parses `raw`, or returns the fault of its arguments.
pub(super) fn instruction(raw: RawInstruction, escape: char) -> Result<Instruction, String> {
    let keyword = raw.keyword.to_uppercase();
    let text = raw.arguments.as_str();
    let known_flags: &[&str] = match keyword.as_str() {
        "FROM" => &["platform"],
        "COPY" => &["chown", "chmod", "from", "link", "parents", "exclude"],
        "ADD" => &[
            "chown",
            "chmod",
            "link",
            "exclude",
            "checksum",
            "keep-git-dir",
            "unpack",
        ],
        "HEALTHCHECK" => &[
            "interval",
            "timeout",
            "start-period",
            "start-interval",
            "retries",
        ],
        "RUN" => &["mount", "network", "security", "device"],
        _ => &[],
    };
    // These two instructions ignore flags.
    if !matches!(keyword.as_str(), "ARG" | "STOPSIGNAL") {
        check_flags(&raw.flags, known_flags)?;
    }
    let kind = match keyword.as_str() {
        "ADD" => Kind::Add(transfer(&keyword, text, &raw.documents)?),
        "ARG" => Kind::Arg(arguments(&keyword, text, escape)?),
        "CMD" => Kind::Cmd(command(text)?),
        "COPY" => Kind::Copy(transfer(&keyword, text, &raw.documents)?),
        "ENTRYPOINT" => Kind::Entrypoint(match command(text)? {
            Command::Exec(list) if list.is_empty() => None,
            command => Some(command),
        }),
        "ENV" => Kind::Env(words::pairs(text, escape)?),
        "EXPOSE" => Kind::Expose(at_least_one(&keyword, blank_separated(text))?),
        "FROM" => from(text)?,
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(text)?),
        "LABEL" => Kind::Label(words::pairs(text, escape)?),
        "MAINTAINER" => Kind::Maintainer(exactly_one(&keyword, text)?),
        "ONBUILD" => {
            exactly_one(&keyword, text)?;
            Kind::Onbuild
        }
        "RUN" => {
            command(text)?;
            Kind::Run
        }
        "SHELL" => match notation(text)? {
            Notation::List(list) => Kind::Shell(at_least_one(&keyword, list)?),
            Notation::Text if text.is_empty() => {
                return Err("SHELL requires at least one argument".to_owned());
            }
            Notation::Text => {
                return Err(
                    "SHELL takes a JSON list only, such as [\"/bin/sh\", \"-c\"]".to_owned(),
                );
            }
        },
        "STOPSIGNAL" => Kind::Stopsignal(exactly_one(&keyword, text)?),
        "USER" => Kind::User(exactly_one(&keyword, text)?),
        "VOLUME" => {
            let list = at_least_one(&keyword, list(text)?)?;
            if list.iter().any(|path| path.trim().is_empty()) {
                return Err("VOLUME names an empty path".to_owned());
            }
            Kind::Volume(list)
        }
        "WORKDIR" => Kind::Workdir(exactly_one(&keyword, text)?),
        _ => return Err(format!("unknown instruction '{}'", raw.keyword)),
    };
    Ok(Instruction {
        line: raw.line,
        flags: raw.flags,
        kind,
    })
}

fn check_flags(flags: &[Flag], known: &[&str]) -> Result<(), String> {
    for (index, flag) in flags.iter().enumerate() {
        let name = flag.name.as_str();
        let boolean = ["link", "parents", "keep-git-dir", "unpack"].contains(&name);
        let several = ["exclude", "mount", "device"].contains(&name);
        if !known.contains(&name) {
            let mut problem = format!("there is no flag --{name} here");
            if !known.is_empty() {
                let list: Vec<String> = known.iter().map(|name| format!("--{name}")).collect();
                problem.push_str(&format!("; known: {}", list.join(", ")));
            }
            return Err(problem);
        }
        match &flag.value {
            None if !boolean => return Err(format!("--{name} needs a value")),
            Some(value)
                if boolean && !["true", "false"].contains(&value.to_lowercase().as_str()) =>
            {
                return Err(format!("--{name} is true or false, and not \"{value}\""));
            }
            _ => {}
        }
        if !several && flags[..index].iter().any(|other| other.name == name) {
            return Err(format!("--{name} is given twice"));
        }
    }
    Ok(())
}

/// A JSON list if it is one. Text that only starts like one is text; a list with elements other
/// than strings is an error.
fn notation(text: &str) -> Result<Notation, String> {
    if !text.starts_with('[') {
        return Ok(Notation::Text);
    }
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(Notation::Text);
    };
    list.into_iter()
        .map(|item| match item {
            serde_json::Value::String(text) => Ok(text),
            other => Err(format!(
                "{other} is not a string; a JSON list here holds strings only"
            )),
        })
        .collect::<Result<_, _>>()
        .map(Notation::List)
}

fn blank_separated(text: &str) -> Vec<String> {
    text.split(words::is_blank)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A JSON list, or words without any quoting.
fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(match notation(text)? {
        Notation::List(list) => list,
        Notation::Text => blank_separated(text),
    })
}

fn command(text: &str) -> Result<Command, String> {
    Ok(match notation(text)? {
        Notation::List(list) => Command::Exec(list),
        Notation::Text => Command::Shell(text.to_owned()),
    })
}

fn exactly_one(keyword: &str, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("{keyword} requires exactly one argument"));
    }
    Ok(text.to_owned())
}

fn at_least_one(keyword: &str, list: Vec<String>) -> Result<Vec<String>, String> {
    if list.is_empty() {
        return Err(format!("{keyword} requires at least one argument"));
    }
    Ok(list)
}

fn transfer(keyword: &str, text: &str, documents: &[Document]) -> Result<Transfer, String> {
    let mut words = list(text)?;
    let destination = words
        .pop()
        .filter(|_| !words.is_empty())
        .ok_or_else(|| format!("{keyword} instruction requires at least two arguments"))?;
    if parser::document(&destination)?.is_some() {
        return Err(format!(
            "a here-document cannot be the destination of {keyword}"
        ));
    }
    let sources = words
        .into_iter()
        .map(|word| {
            Ok(match parser::document(&word)? {
                None => Source::Path(word),
                Some(announced) => {
                    // If two have the same name, the last one's text is used for both.
                    let found = documents
                        .iter()
                        .rfind(|document| document.name == announced.name);
                    Source::Document(found.cloned().unwrap_or(announced))
                }
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(Transfer {
        sources,
        destination,
    })
}

fn arguments(keyword: &str, text: &str, escape: char) -> Result<Vec<Argument>, String> {
    at_least_one(keyword, words::split(text, escape))?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!(
                "{word} names no argument; write ARG NAME or ARG NAME=default"
            )),
            Some((name, default)) => Ok(Argument {
                name: name.to_owned(),
                default: Some(default.to_owned()),
            }),
            None => Ok(Argument {
                name: word,
                default: None,
            }),
        })
        .collect()
}

fn from(text: &str) -> Result<Kind, String> {
    let words = blank_separated(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [image] => Ok(Kind::From {
            image: image.to_owned(),
            name: None,
        }),
        [image, as_, name] if as_.eq_ignore_ascii_case("as") => {
            let name = name.to_lowercase();
            let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !valid {
                return Err(format!(
                    "\"{name}\" cannot be a stage's name; it starts with a letter and holds letters, digits, -, _ and . only"
                ));
            }
            Ok(Kind::From {
                image: image.to_owned(),
                name: Some(name),
            })
        }
        _ => Err("FROM takes an image, or an image AS a name".to_owned()),
    }
}

fn healthcheck(text: &str) -> Result<Option<Command>, String> {
    let (kind, rest) = text.split_once(words::is_blank).unwrap_or((text, ""));
    let rest = rest.trim();
    match kind.to_uppercase().as_str() {
        "NONE" if rest.is_empty() => Ok(None),
        "NONE" => Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => match command(rest)? {
            Command::Exec(list) if list.is_empty() => {
                Err("HEALTHCHECK CMD names no command".to_owned())
            }
            Command::Shell(text) if text.is_empty() => {
                Err("HEALTHCHECK CMD names no command".to_owned())
            }
            command => Ok(Some(command)),
        },
        _ => Err("HEALTHCHECK takes CMD or NONE".to_owned()),
    }
}
