//! Reads a file into a configuration, or into all its diagnostics.

use std::path::{Path, PathBuf};

use landfall_provider::{StackName, read_text};
use toml_span::value::{Table, ValueInner};
use toml_span::{ErrorKind, Span, Value};

use super::fault::{ConfigErrors, Diagnostic, LocatedDiagnostic, MOST_FAULTS};
use super::reading::Reading;
use super::setting::{Field, Setting};
use super::{Config, ImageSource, overlay};
use crate::config::Region;

/// The maximum size of a file, in bytes.
const MOST_BYTES: u64 = 2 << 20;

impl Config {
    /// The location of a file's stack, even if the rest of the file is invalid: enough for `status` and `destroy`.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, has no valid `stack`, or an invalid `region` or `account`, or not
    /// the environment.
    pub fn whereabouts(
        path: &Path,
        environment: Option<&str>,
    ) -> Result<StackLocation, ConfigErrors> {
        let file = path.display().to_string();
        let (source, _) = read(path, &file)?;
        Document::new(&source, &file)?.whereabouts(environment)
    }
}

/// The diagnostics of a configuration whose keys are readable.
pub(crate) type Check<'a> = &'a dyn Fn(&Config) -> Vec<Diagnostic>;

/// Reads a file with one of its environments, and checks that the files it names exist.
pub(crate) fn load(
    path: &Path,
    environment: Option<&str>,
    check: Check<'_>,
) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let (source, directory) = read(path, &file)?;
    let in_use = path.file_name().map(|name| directory.join(name));
    let document = Document::new(&source, &file)?;
    let mut config = document.config(environment, directory, true, check)?;
    config.file = in_use;
    Ok(config)
}

/// Reads the text of a file with one of its environments, without access to other files.
pub(crate) fn parse(
    source: &str,
    file: &str,
    environment: Option<&str>,
    check: Check<'_>,
) -> Result<Config, ConfigErrors> {
    let directory = directory_of(Path::new(file));
    Document::new(source, file)?.config(environment, directory, false, check)
}

/// The directory of a file; the current one for a bare file name.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The text of a file, and its directory as an absolute path.
fn read(path: &Path, file: &str) -> Result<(String, PathBuf), ConfigErrors> {
    let source = read_text(path, MOST_BYTES).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "create one; the smallest is\n\n  stack = \"my-app\"\n\n  [service.web]\n  port = 8000"
            }
            std::io::ErrorKind::InvalidData => "the file must be UTF-8 text",
            std::io::ErrorKind::FileTooLarge => "a landfall.toml usually has a few kilobytes",
            std::io::ErrorKind::IsADirectory | std::io::ErrorKind::InvalidInput => {
                "name the file itself with --config"
            }
            std::io::ErrorKind::TimedOut => "check the program that writes to it",
            _ => "check that it is readable",
        };
        ConfigErrors::unreadable(file, format!("cannot read it: {error}"), hint)
    })?;
    let directory = directory_of(path);
    let directory = std::path::absolute(&directory).map_err(|error| {
        let message = format!(
            "its directory {} has no absolute path: {error}",
            directory.display()
        );
        ConfigErrors::unreadable(file, message, "check that the current directory exists")
    })?;
    Ok((source, directory))
}

/// The location of a stack, as far as its file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackLocation {
    /// The stack's name.
    pub stack: StackName,
    /// The region, on providers that have regions.
    pub region: Option<Region>,
    /// The required account.
    pub account: Option<String>,
}

/// A value of the top level.
fn one<T: Setting>(table: &mut Table<'_>, key: &str, reading: &mut Reading) -> Option<T> {
    let field = Field {
        at: key.to_owned(),
        range: None,
    };
    T::read(&mut table.remove(key)?, &field, reading)
}

/// Reads a whole document with one of its environments, and collects its diagnostics.
fn read_root(
    root: &mut Value<'_>,
    environment: Option<&str>,
    directory: &Path,
    look: bool,
    check: Check<'_>,
) -> (Option<Config>, Reading) {
    let mut reading = Reading::default();
    if let Some(environment) = environment {
        overlay::lay(root, environment, &mut reading);
    }
    let Some(read) = Config::read(root, &Field::top(), &mut reading) else {
        return (None, reading);
    };
    let directory = directory.to_owned();
    let mut config = Config { directory, ..read };
    reading.add(check(&config));
    // A key with its default value is misplaced, too.
    let misplaced = config.misplaced(|key| reading.has(key));
    reading.add(misplaced);
    if look {
        reading.add(config.missing_files());
        if let Some(bastion) = &mut config.network.bastion {
            let home = std::env::home_dir();
            let at = "network.bastion.key";
            let problem = bastion.read_key(&config.directory, home.as_deref(), at);
            reading.add(problem.into_iter().collect());
        }
    }
    (Some(config), reading)
}

/// The maximum number of services, and of environments, in a file.
///
/// An application load balancer on AWS has at most 100 target groups. Each environment is checked by another read of the
/// whole file, so many of them take long.
const MOST_NAMES: usize = 100;

/// The first table with too many names, before they are read.
fn too_many(root: &Value<'_>) -> Option<(Span, Diagnostic)> {
    let tables = root.as_table()?.iter();
    tables
        .filter(|(key, _)| matches!(key.name.as_ref(), "service" | "env"))
        .find_map(|(key, value)| {
            let number = value.as_table()?.len();
            let message = format!(
                "there are {number} tables [{}.…], and a file has at most {MOST_NAMES}",
                key.name
            );
            (number > MOST_NAMES).then(|| (key.span, Diagnostic::new(key.name.clone(), message)))
        })
}

/// A parsed TOML text.
struct Document<'a> {
    source: &'a str,
    file: &'a str,
    root: Value<'a>,
}

impl<'a> Document<'a> {
    fn new(source: &'a str, file: &'a str) -> Result<Self, ConfigErrors> {
        let root = toml_span::parse(source).map_err(|error| ConfigErrors {
            file: file.to_owned(),
            source_text: source.to_owned(),
            faults: vec![syntax(source, &error)],
            more: 0,
        })?;
        Ok(Self { source, file, root })
    }

    /// Reads it with one of its environments, and checks all others: their errors would otherwise appear
    /// only when they are used.
    fn config(
        mut self,
        environment: Option<&str>,
        directory: PathBuf,
        look: bool,
        check: Check<'_>,
    ) -> Result<Config, ConfigErrors> {
        let names = self.environments(environment)?;
        let mut root = std::mem::replace(&mut self.root, Value::new(ValueInner::Boolean(false)));
        let (config, reading) = read_root(&mut root, environment, &directory, look, check);
        let mut errors = self.errors(reading);
        for other in names
            .iter()
            .filter(|name| Some(name.as_str()) != environment)
        {
            // The reader consumes a document, so each environment gets its own copy.
            let mut root = Self::new(self.source, self.file)?.root;
            let (_, reading) = read_root(&mut root, Some(other), &directory, false, check);
            let others = self.errors(reading);
            errors.more = errors.more.max(others.more);
            for mut fault in others.faults {
                let is_same = |known: &LocatedDiagnostic| {
                    known.span == fault.span && fault.message == known.message
                };
                if !errors.faults.iter().any(is_same) {
                    fault.message = format!("{}, with --env {other}", fault.message);
                    errors.faults.push(fault);
                }
            }
        }
        errors.faults.sort_by_key(|fault| fault.span.start);
        errors.more += errors.faults.len().saturating_sub(MOST_FAULTS);
        errors.faults.truncate(MOST_FAULTS);
        match config {
            Some(config) if errors.faults.is_empty() => Ok(config),
            _ => Err(errors),
        }
    }

    /// The names of the environments.
    ///
    /// # Errors
    /// When the requested one does not exist, or a table has too many names.
    fn environments(&self, wanted: Option<&str>) -> Result<Vec<String>, ConfigErrors> {
        if let Some((span, problem)) = too_many(&self.root) {
            let mut reading = Reading::default();
            reading.fault(span, problem);
            return Err(self.errors(reading));
        }
        let names = overlay::names(&self.root);
        match wanted.filter(|wanted| !names.iter().any(|name| name == wanted)) {
            None => Ok(names),
            Some(wanted) => {
                let (span, problem) = overlay::unknown(&self.root, wanted, &names);
                let mut reading = Reading::default();
                reading.fault(span, problem);
                Err(self.errors(reading))
            }
        }
    }

    fn whereabouts(mut self, environment: Option<&str>) -> Result<StackLocation, ConfigErrors> {
        self.environments(environment)?;
        let mut reading = Reading::default();
        if let Some(environment) = environment {
            overlay::lay(&mut self.root, environment, &mut reading);
        }
        let mut table = match self.root.take() {
            ValueInner::Table(table) => table,
            _ => Table::new(),
        };
        if !table.contains_key("stack") {
            reading.missing("stack", "");
        }
        let stack = one(&mut table, "stack", &mut reading);
        let region = one(&mut table, "region", &mut reading);
        let account = one(&mut table, "account", &mut reading);
        let errors = self.errors(reading);
        match stack {
            Some(stack) if errors.faults.is_empty() => Ok(StackLocation {
                stack,
                region,
                account,
            }),
            _ => Err(errors),
        }
    }

    fn errors(&self, reading: Reading) -> ConfigErrors {
        let fault = |(span, problem): (Span, Diagnostic)| {
            LocatedDiagnostic::at(self.source, span.into(), problem.message, problem.hint)
        };
        let unknown = reading.more;
        let problems = reading.into_problems();
        let more = unknown + problems.len().saturating_sub(MOST_FAULTS);
        let shown = problems.into_iter().take(MOST_FAULTS);
        ConfigErrors {
            file: self.file.to_owned(),
            source_text: self.source.to_owned(),
            faults: shown.map(fault).collect(),
            more,
        }
    }
}

impl Config {
    /// The missing sources of images, except those that a `before` command may create.
    pub(crate) fn missing_files(&self) -> Vec<Diagnostic> {
        let missing = |(name, image): (_, &ImageSource)| {
            image.missing_files(&self.directory, &format!("service.{name}.image"))
        };
        self.service
            .iter()
            .map(|(name, service)| (name, &service.image))
            .filter(|(_, image)| image.before.0.is_empty())
            .filter_map(missing)
            .collect()
    }
}

/// The text of a syntax error. The parser stops at the first one.
fn syntax(source: &str, error: &toml_span::Error) -> LocatedDiagnostic {
    let first =
        |span: &Span| LocatedDiagnostic::at(source, (*span).into(), String::new(), None).line;
    let (message, hint) = match &error.kind {
        ErrorKind::DuplicateKey { key, first: at } => (
            format!("`{key}` is set twice; first in line {}", first(at)),
            Some("keep one of them".to_owned()),
        ),
        ErrorKind::DuplicateTable { name, first: at } => (
            format!(
                "the table [{name}] is defined twice; first in line {}",
                first(at)
            ),
            Some("put its keys under one header".to_owned()),
        ),
        ErrorKind::UnquotedString => (
            "a text without quotes".to_owned(),
            Some("write it in quotes: key = \"text\"".to_owned()),
        ),
        ErrorKind::UnterminatedString | ErrorKind::InvalidCharInString('\n') => (
            "a text without a closing quote".to_owned(),
            Some("close it in the same line".to_owned()),
        ),
        _ => (format!("this is not TOML: {error}"), None),
    };
    LocatedDiagnostic::at(source, error.span.into(), message, hint)
}
