//! The name of a group of CloudWatch Logs.

use std::fmt;
use std::str::FromStr;

use landfall_provider::InvalidName;
use serde::{Deserialize, Serialize};

/// The log group of containers: `/digipay/web`.
///
/// 1 to 512 letters, digits and `_-/.#`, not beginning with `aws/`:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogGroup(String);

impl LogGroup {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogGroup {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let good = (1..=512).contains(&text.len())
            && !text.starts_with("aws/")
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-/.#".contains(c));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "log group",
                text: text.to_owned(),
                rule: "1 to 512 letters, digits and `_-/.#`, not beginning with `aws/`",
            })
        }
    }
}

impl TryFrom<String> for LogGroup {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<LogGroup> for String {
    fn from(group: LogGroup) -> Self {
        group.0
    }
}

impl fmt::Display for LogGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_by_the_services_rule() {
        for good in ["web", "/digipay/web", "a.b#c_d-9"] {
            assert_eq!(good.parse::<LogGroup>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "aws/web", "web:1", &"x".repeat(513)] {
            assert!(bad.parse::<LogGroup>().is_err(), "{bad}");
        }
    }
}
