//! References to secrets that an instance reads when it boots. Landfall never has the values.

use std::fmt;
use std::str::FromStr;

use landfall_provider::InvalidName;
use serde::{Deserialize, Serialize};

/// The store and the name of a secret: `ssm:/digipay/url`, `secretsmanager:digipay/db#password`.
///
/// `ssm:` is a parameter of Systems Manager's Parameter Store, `secretsmanager:` a secret of
/// Secrets Manager. The text after `#` is a key of the value, which must be a JSON object; the
/// environment variable then gets the value under that key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretReference {
    store: SecretStore,
    name: String,
    key: Option<String>,
}

/// A service that stores secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretStore {
    /// Systems Manager's Parameter Store.
    Ssm,
    /// Secrets Manager.
    SecretsManager,
}

impl SecretStore {
    /// The word before the colon.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::SecretsManager => "secretsmanager",
        }
    }
}

impl SecretReference {
    /// The secret in the form of a policy, so that a profile can be read back from its policy:
    /// without a key, and with no slash before a path of one level, because its ARN has none.
    #[must_use]
    pub fn whole(&self) -> Self {
        let is_flat = self.store == SecretStore::Ssm && self.name.rfind('/') == Some(0);
        Self {
            store: self.store,
            name: self.name[usize::from(is_flat)..].to_owned(),
            key: None,
        }
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> SecretStore {
        self.store
    }

    /// Its name in the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the JSON object in the value; `None` for the whole value.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// The naming rules of the two services:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html> (a name
/// with a slash is a path with a leading slash, of at most 15 levels) and
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>.
fn is_name(store: SecretStore, name: &str) -> bool {
    let of = |more: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    match store {
        SecretStore::Ssm => {
            let levels = name.strip_prefix('/').unwrap_or(name).split('/');
            (1..=1011).contains(&name.len())
                && of("_.-/")
                && name.contains('/') == name.starts_with('/')
                && levels.clone().count() <= 15
                && levels.clone().all(|level| !level.is_empty())
        }
        SecretStore::SecretsManager => (1..=512).contains(&name.len()) && of("/_+=.@-"),
    }
}

impl FromStr for SecretReference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refused = |rule| InvalidName {
            what: "secret reference",
            text: text.to_owned(),
            rule,
        };
        let stores = [SecretStore::Ssm, SecretStore::SecretsManager];
        let parts = text.split_once(':').and_then(|(word, rest)| {
            let store = stores.into_iter().find(|store| store.word() == word)?;
            Some((store, rest))
        });
        let Some((store, rest)) = parts else {
            return Err(refused(
                "`ssm:` and a parameter's name, or `secretsmanager:` and a secret's name",
            ));
        };
        let (name, key) = match rest.split_once('#') {
            Some((name, key)) => (name, Some(key)),
            None => (rest, None),
        };
        if !is_name(store, name) {
            return Err(refused(match store {
                SecretStore::Ssm => {
                    "a parameter's name has letters, digits and `_.-`; with slashes it is a path that begins with one, such as `/digipay/url`"
                }
                SecretStore::SecretsManager => {
                    "a secret's name has 1 to 512 letters, digits and `/_+=.@-`"
                }
            }));
        }
        if key.is_some_and(|key| key.is_empty() || key.chars().any(char::is_control)) {
            return Err(refused(
                "behind `#` stands a key of the JSON object that the secret is",
            ));
        }
        Ok(Self {
            store,
            name: name.to_owned(),
            key: key.map(str::to_owned),
        })
    }
}

impl TryFrom<String> for SecretReference {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store.word(), self.name)?;
        match &self.key {
            Some(key) => write!(f, "#{key}"),
            None => Ok(()),
        }
    }
}

impl From<SecretReference> for String {
    fn from(reference: SecretReference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back_as_it_was_written() {
        for text in [
            "ssm:url",
            "ssm:/digipay/url",
            "ssm:/digipay/db.json#user name",
            "secretsmanager:digipay/db@eu+1",
            "secretsmanager:digipay#a#b",
        ] {
            let reference: SecretReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
        let reference: SecretReference = "secretsmanager:digipay/db#password".parse().unwrap();
        assert_eq!(reference.store(), SecretStore::SecretsManager);
        assert_eq!(
            (reference.name(), reference.key()),
            ("digipay/db", Some("password"))
        );
    }

    #[test]
    fn what_is_no_reference_says_what_one_is() {
        for text in [
            "",
            "hunter2",
            "vault:url",
            "SSM:url",
            "ssm:",
            "ssm:digipay/url",
            "ssm:/",
            "ssm:/digipay//url",
            "ssm:/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
            "ssm:$(reboot)",
            "ssm:url#",
            "ssm:url#a\nb",
            "secretsmanager:a b",
        ] {
            assert!(text.parse::<SecretReference>().is_err(), "{text}");
        }
        assert_eq!(
            "hunter2"
                .parse::<SecretReference>()
                .unwrap_err()
                .to_string(),
            "`hunter2` is not a secret reference: `ssm:` and a parameter's name, or `secretsmanager:` and a secret's name"
        );
    }
}
