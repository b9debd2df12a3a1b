//! A region and its zones.

use std::fmt;
use std::str::FromStr;

use landfall_provider::Zone;

/// A region, by its name on AWS: `ap-south-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// An invalid region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a region: lower-case words and a number joined by hyphens, such as `ap-south-1`"
)]
pub struct InvalidRegion(String);

impl Region {
    /// The default region of a file: `local-1`. AWS has no such region, so a deployment to AWS never
    /// uses a region that nobody chose.
    pub fn local() -> Self {
        Self("local-1".to_owned())
    }

    /// Whether it is the default region.
    pub fn is_local(&self) -> bool {
        *self == Self::local()
    }

    /// Checks the text.
    ///
    /// # Errors
    /// [`InvalidRegion`] unless it consists of words and a number, joined by hyphens, with at most 24 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidRegion> {
        let text = text.into();
        let good = text.len() <= 24
            && text.rsplit_once('-').is_some_and(|(words, number)| {
                let is = |part: &str, of: fn(&u8) -> bool| {
                    !part.is_empty() && part.as_bytes().iter().all(of)
                };
                words
                    .split('-')
                    .all(|word| is(word, u8::is_ascii_lowercase))
                    && is(number, u8::is_ascii_digit)
            });
        if good {
            Ok(Self(text))
        } else {
            Err(InvalidRegion(text))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(text: &str) -> Result<Self, InvalidRegion> {
        Self::new(text)
    }
}

/// The first zones of a region, at most 26: `ap-south-1a`, `ap-south-1b`, …
pub fn zones(region: &Region, count: usize) -> Vec<Zone> {
    ('a'..='z')
        .take(count)
        .map(|letter| {
            Zone::new(format!("{region}{letter}")).expect("a region and a letter make a zone")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_every_partition_are_regions() {
        for good in [
            "local-1",
            "eu-west-1",
            "us-gov-west-1",
            "us-iso-east-1",
            "ap-southeast-7",
        ] {
            let region = Region::new(good).unwrap();
            assert_eq!(zones(&region, 6).len(), 6, "{good}");
        }
        for bad in [
            "",
            "1",
            "-1",
            "eu",
            "eu-west",
            "eu-west-1a",
            "EU-west-1",
            "eu--west-1",
            "eu-west-",
        ] {
            assert!(Region::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_are_lettered_from_a() {
        let names: Vec<_> = zones(&Region::local(), 3)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["local-1a", "local-1b", "local-1c"]);
    }
}
