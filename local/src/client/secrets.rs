//! The values of secrets on this machine: in variables of the caller's environment, or in a file of the
//! caller that no other user can read.
//!
//! The file replaces Parameter Store and Secrets Manager. It is outside every project: values beside
//! the code often get into an image or a repository. Errors name variables, references and lines, never values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::ErrorKind as Io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use landfall_compute::{SecretReference, Workload};
use landfall_provider::{Error, ErrorKind, read_text};
use serde_json::Value;

use crate::secrets::{SECRET, Secrets};

/// The variable with the path of the file.
const FILE: &str = "LANDFALL_SECRETS";

/// The maximum size of the file, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The sources of values.
#[derive(Debug, Clone)]
pub(super) struct Safe {
    file: Option<PathBuf>,
}

impl Safe {
    /// The caller's sources: this file, or the file of `LANDFALL_SECRETS`, or the default one.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        let named = |name: &str| {
            let path = std::env::var_os(name).filter(|path| !path.is_empty());
            path.map(PathBuf::from)
        };
        let usual = || {
            let config = named("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
            let config = config.or_else(|| Some(std::env::home_dir()?.join(".config")))?;
            Some(config.join("landfall/secrets.toml"))
        };
        Self {
            file: file.or_else(|| named(FILE)).or_else(usual),
        }
    }

    /// The values of a workload's secrets.
    ///
    /// # Errors
    /// All missing and unreadable values at once.
    pub(super) fn open(&self, workload: &Workload) -> Result<Secrets, Vec<Error>> {
        self.open_with(&workload.secrets, |name| std::env::var_os(name))
    }

    fn open_with(
        &self,
        wanted: &BTreeMap<String, SecretReference>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Secrets, Vec<Error>> {
        let mut found = BTreeMap::new();
        let mut errors = Vec::new();
        let mut in_file = BTreeMap::new();
        for (variable, reference) in wanted {
            match env(&format!("{SECRET}{variable}")).map(OsString::into_string) {
                Some(Ok(value)) => {
                    found.insert(variable.clone(), value);
                }
                Some(Err(_)) => errors.push(invalid(format_args!(
                    "{SECRET}{variable} in the environment is not UTF-8 text"
                ))),
                None => {
                    in_file.insert(variable, reference);
                }
            }
        }
        let kept = match in_file.is_empty() {
            true => BTreeMap::new(),
            false => match &self.file {
                None => BTreeMap::new(),
                Some(file) => read(file).map_err(|error| vec![error])?,
            },
        };
        for (variable, reference) in in_file {
            match self.value(variable, reference, &kept) {
                Ok(value) => {
                    found.insert(variable.clone(), value);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(found.into_iter().collect())
        } else {
            Err(errors)
        }
    }

    fn value(
        &self,
        variable: &str,
        reference: &SecretReference,
        kept: &BTreeMap<SecretReference, String>,
    ) -> Result<String, Error> {
        let Some(value) = kept.get(&reference.whole()) else {
            return Err(self.missing(variable, reference));
        };
        let value = match reference.key() {
            None => value.clone(),
            Some(key) => under(value, key).ok_or_else(|| {
                invalid(format_args!(
                    "the value of {variable} = \"{reference}\" on this machine is no JSON object with a key `{key}`"
                ))
            })?,
        };
        if value.contains('\0') {
            return Err(invalid(format_args!(
                "the value of {variable} on this machine has a zero character, and no environment can hold one"
            )));
        }
        Ok(value)
    }

    fn missing(&self, variable: &str, reference: &SecretReference) -> Error {
        let whole = match reference.key() {
            None => reference.to_string(),
            Some(_) => reference
                .to_string()
                .split('#')
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        let what = match reference.key() {
            None => "value",
            Some(_) => "JSON object",
        };
        let error = Error::new(
            ErrorKind::NotFound,
            format_args!("{variable} = \"{reference}\" has no value on this machine"),
        );
        match &self.file {
            Some(file) => error.hint(format_args!(
                "put a line into {} (mode 600): \"{whole}\" = 'the {what}'; or set {SECRET}{variable}",
                file.display()
            )),
            None => error.hint(format_args!("set {SECRET}{variable}")),
        }
    }
}

/// The value of a key in a JSON object, as an instance on AWS reads it: a string as it is, other values as JSON.
fn under(object: &str, key: &str) -> Option<String> {
    let object: Value = serde_json::from_str(object).ok()?;
    Some(match object.get(key)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// The values of the file, by reference; empty without a file.
fn read(path: &Path) -> Result<BTreeMap<SecretReference, String>, Error> {
    let failed = |error: std::io::Error| {
        let message = format_args!("the secrets in {} cannot be read", path.display());
        Error::new(ErrorKind::Denied, message).caused_by(error)
    };
    let facts = match std::fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == Io::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let shared = facts.mode() & 0o077;
    if facts.is_file() && shared != 0 {
        let message = format_args!(
            "{} contains secrets, and users other than its owner have access: its mode is {:o}",
            path.display(),
            facts.mode() & 0o777
        );
        let hint = format_args!("chmod 600 '{}'", path.display());
        return Err(Error::new(ErrorKind::Denied, message).hint(hint));
    }
    let text = read_text(path, MOST_BYTES).map_err(failed)?;
    parse(&text).map_err(|(line, why)| invalid(format_args!("{}:{line}: {why}", path.display())))
}

/// Parses the file, or returns the line of the error.
fn parse(text: &str) -> Result<BTreeMap<SecretReference, String>, (usize, String)> {
    let line = |at: usize| {
        text.as_bytes()
            .iter()
            .take(at)
            .filter(|&&byte| byte == b'\n')
            .count()
            + 1
    };
    // The parser's own message may quote a value.
    let mut root = toml_span::parse(text).map_err(|error| {
        let why = "this is not TOML; a line is \"ssm:/digipay/url\" = 'the value'";
        (line(error.span.start), why.to_owned())
    })?;
    let mut kept = BTreeMap::new();
    let toml_span::value::ValueInner::Table(table) = root.take() else {
        return Ok(kept);
    };
    for (key, value) in table {
        let at = line(key.span.start);
        let reference: SecretReference =
            key.name.parse().map_err(|error| (at, format!("{error}")))?;
        if reference.key().is_some() {
            let why = format!("`{}`: a secret is kept as a whole, without `#`", key.name);
            return Err((at, why));
        }
        let value = value.as_str().ok_or_else(|| {
            (
                at,
                format!("the value of `{}` is not text in quotes", key.name),
            )
        })?;
        if kept.insert(reference.whole(), value.to_owned()).is_some() {
            return Err((at, format!("`{}` is defined by another line too", key.name)));
        }
    }
    Ok(kept)
}

fn invalid(why: impl Display) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn wanted(secrets: &[(&str, &str)]) -> BTreeMap<String, SecretReference> {
        let secrets = secrets.iter();
        secrets
            .map(|(name, reference)| ((*name).to_owned(), reference.parse().unwrap()))
            .collect()
    }

    fn safe(dir: &Path, text: &str, mode: u32) -> Safe {
        let file = dir.join("secrets.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        Safe { file: Some(file) }
    }

    fn open(
        safe: &Safe,
        secrets: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Result<Secrets, String> {
        let lookup = |name: &str| {
            let set = env.iter().find(|(set, _)| *set == name);
            set.map(|(_, value)| OsString::from(value))
        };
        safe.open_with(&wanted(secrets), lookup).map_err(|errors| {
            let reported = errors.iter().map(|error| format!("{error}; {error:?}"));
            reported.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn a_value_comes_from_the_environment_or_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\"ssm:/shop/url\" = 'from the file'\n\
                    \"ssm:flat\" = 'flat'\n\
                    \"secretsmanager:shop/db\" = '{\"user\": \"ana\", \"port\": 5432}'\n";
        let safe = safe(dir.path(), text, 0o600);
        let secrets = [
            ("URL", "ssm:/shop/url"),
            ("FLAT", "ssm:/flat"),
            ("USER", "secretsmanager:shop/db#user"),
            ("PORT_OF_DB", "secretsmanager:shop/db#port"),
            ("TOKEN", "ssm:/shop/token"),
        ];
        let env = [("LANDFALL_SECRET_TOKEN", "from outside")];
        let mut got = BTreeMap::new();
        open(&safe, &secrets, &env).unwrap().add_to(&mut got);
        let got: Vec<_> = got
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let desired = [
            ("FLAT", "flat"),
            ("PORT_OF_DB", "5432"),
            ("TOKEN", "from outside"),
            ("URL", "from the file"),
            ("USER", "ana"),
        ];
        assert_eq!(got, desired);
        // If variables give all values, the file is not read.
        let env = [("LANDFALL_SECRET_URL", "outside")];
        std::fs::write(safe.file.as_ref().unwrap(), "no TOML").unwrap();
        assert!(open(&safe, &secrets[..1], &env).is_ok());
    }

    #[test]
    fn what_is_missing_is_told_all_at_once_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let safe = Safe {
            file: Some(dir.path().join("none.toml")),
        };
        let secrets = [
            ("URL", "ssm:/shop/url"),
            ("USER", "secretsmanager:shop/db#user"),
        ];
        let reported = open(&safe, &secrets, &[]).unwrap_err();
        for part in [
            "URL = \"ssm:/shop/url\" has no value on this machine",
            "\\\"ssm:/shop/url\\\" = 'the value'; or set LANDFALL_SECRET_URL",
            "\\\"secretsmanager:shop/db\\\" = 'the JSON object'",
            "none.toml",
        ] {
            assert!(reported.contains(part), "{part} is missing in {reported}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_its_values() {
        let dir = tempfile::tempdir().unwrap();
        let url = [("URL", "ssm:/shop/url")];
        let key = [("URL", "ssm:/shop/url#key")];
        let good = "\"ssm:/shop/url\" = 'hunter2'\n";
        for (text, mode, secrets, reported) in [
            (good, 0o644, &url, "its mode is 644"),
            (good, 0o640, &url, "chmod 600"),
            (good, 0o600, &key, "no JSON object with a key `key`"),
            (
                "\n\"ssm:/shop/url\" = hunter2\n",
                0o600,
                &url,
                ":2: this is not TOML",
            ),
            (
                "\"ssm:/shop/url\" = 2\n",
                0o600,
                &url,
                ":1: the value of `ssm:/shop/url` is not text",
            ),
            (
                "\n\"shop/url\" = 'hunter2'\n",
                0o600,
                &url,
                ":2: `shop/url` is not a secret reference",
            ),
            ("\"ssm:/a#b\" = 'hunter2'\n", 0o600, &url, "kept as a whole"),
            (
                "\"ssm:a\" = 'hunter2'\n\"ssm:/a\" = 'hunter2'",
                0o600,
                &url,
                "is defined by another line too",
            ),
            (
                "\"ssm:/shop/url\" = \"hunter2\\u0000\"\n",
                0o600,
                &url,
                "zero character",
            ),
        ] {
            let errors = open(&safe(dir.path(), text, mode), secrets, &[]).unwrap_err();
            assert!(
                errors.contains(reported),
                "{reported} is missing in {errors}"
            );
            assert!(!errors.contains("hunter2"), "{errors}");
        }
    }
}
