//! Validated names: checked once, where they enter the program, and trusted afterwards.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct InvalidName {
    /// The expected sort of name, for example "stack name".
    pub what: &'static str,
    /// The text as it was given.
    pub text: String,
    /// The violated rule.
    pub rule: &'static str,
}

/// Lower-case letters, digits and single hyphens; the first character is a letter, the last is no
/// hyphen.
fn is_label(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Validates the text.
            ///
            /// # Errors
            /// [`InvalidName`] with the violated rule.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { what: $what, text, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

text_name! {
    /// The name of a stack: one deployment of one `landfall.toml`.
    ///
    /// At most 24 characters, so that derived names (`<stack>-<service>`) fit the 32 characters
    /// that AWS allows for a load balancer and a target group.
    StackName, "stack name",
    "1 to 24 lower-case letters, digits and single hyphens, starting with a letter and not ending with a hyphen",
    |text| is_label(text, 24)
}

text_name! {
    /// The name of a resource among those of its kind in one stack, for example `private-a`.
    ResourceName, "resource name",
    "1 to 63 lower-case letters, digits and single hyphens, starting with a letter and not ending with a hyphen",
    |text| is_label(text, 63)
}

text_name! {
    /// An availability zone, by its full name: `ap-south-1a`.
    Zone, "zone",
    "lower-case letters, digits and hyphens, ending in one letter, such as `ap-south-1a`",
    |text| is_label(text, 32) && text.ends_with(|c: char| c.is_ascii_lowercase())
}

impl Zone {
    /// The zone's letter, part of the names of resources that are created once per zone: `a`.
    pub fn letter(&self) -> &str {
        &self.0[self.0.len() - 1..]
    }
}

/// A TCP or UDP port that can be listened on: 1–65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(std::num::NonZeroU16);

impl Port {
    /// Validates the number.
    ///
    /// # Errors
    /// [`InvalidName`] for 0, which is not a port.
    pub fn new(number: u16) -> Result<Self, InvalidName> {
        std::num::NonZeroU16::new(number)
            .map(Self)
            .ok_or(InvalidName {
                what: "port",
                text: number.to_string(),
                rule: "1 to 65535",
            })
    }

    /// A port that is known at compile time.
    pub const fn from_non_zero(number: std::num::NonZeroU16) -> Self {
        Self(number)
    }

    /// The port as a number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for Port {
    type Error = InvalidName;
    fn try_from(number: u16) -> Result<Self, InvalidName> {
        Self::new(number)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A kind of resource, by its term in the field: `nat-gateway`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// A kind that is known at compile time.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The identity of a resource inside its stack: its kind and its name, written `vpc/main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key {
    /// The kind of the resource.
    pub kind: Kind,
    /// Its name among those of its kind.
    pub name: ResourceName,
}

impl Key {
    /// Creates a key.
    pub fn new(kind: Kind, name: ResourceName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.kind, self.name))
    }
}

impl FromStr for Key {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (kind, name) = text.split_once('/').ok_or_else(|| InvalidName {
            what: "resource key",
            text: text.to_owned(),
            rule: "a kind, a slash and a name, such as `vpc/main`",
        })?;
        if !is_label(kind, 63) {
            return Err(InvalidName {
                what: "resource kind",
                text: kind.to_owned(),
                rule: "lower-case letters and hyphens, such as `nat-gateway`",
            });
        }
        Ok(Self {
            kind: Kind(Cow::Owned(kind.to_owned())),
            name: ResourceName::new(name)?,
        })
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_names_follow_the_rule() {
        for good in ["a", "digipay", "my-app-2", "a23456789012345678901234"] {
            assert!(StackName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a--b",
            "A",
            "1a",
            "a_b",
            "a23456789012345678901234x",
            "é",
        ] {
            assert!(StackName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_reads_back_what_it_writes() {
        let key: Key = "nat-gateway/public-a".parse().unwrap();
        assert_eq!(key.kind, Kind::new("nat-gateway"));
        assert_eq!(key.to_string(), "nat-gateway/public-a");
        assert!("nat-gateway".parse::<Key>().is_err());
        assert!("Nat/x".parse::<Key>().is_err());
    }

    #[test]
    fn port_zero_is_refused_with_the_range() {
        assert_eq!(
            Port::new(0).unwrap_err().to_string(),
            "`0` is not a port: 1 to 65535"
        );
    }

    #[test]
    fn a_zone_knows_its_letter() {
        assert_eq!(Zone::new("ap-south-1b").unwrap().letter(), "b");
        assert!(Zone::new("ap-south-1").is_err());
    }
}
