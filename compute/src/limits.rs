//! Limits of a container on its instance: memory, processor time, processes and disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The limits of a container. An omitted limit has the provider's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The total memory of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The total processor time of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuShare>,
    /// The number of its processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// The total size of its written files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
}

impl Limits {
    /// Whether every limit is the provider's default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The units of a [`ByteSize`], largest first.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// A number of bytes, written as a whole number and a binary unit: `512 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many times 1,048,576 bytes.
    #[must_use]
    pub const fn mib(number: u64) -> Self {
        Self(number << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The error for a text that is not a size or a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct InvalidLimit {
    /// The text.
    pub text: String,
    /// The expected form, with an example.
    pub what: &'static str,
}

impl FromStr for ByteSize {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let size = || {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = text[..digits].parse().ok()?;
            let unit = text[digits..].trim_start_matches(' ');
            if unit == "B" {
                return Some(Self(number));
            }
            let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*bytes).map(Self)
        };
        size().ok_or_else(|| InvalidLimit {
            text: text.to_owned(),
            what: "a size: a whole number and a unit, such as `512 MiB` or `2 GiB`",
        })
    }
}

/// Printed in the largest unit that divides it.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match unit {
            Some((name, bytes)) => write!(f, "{} {name}", self.0 / bytes),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl TryFrom<String> for ByteSize {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// A share of processor time, in thousandths of a processor; written in processors: `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuShare(u32);

impl CpuShare {
    /// The smallest and the largest share, in thousandths. Docker and the kernel accept no less
    /// than a hundredth.
    pub const RANGE: std::ops::RangeInclusive<u32> = 10..=1_024_000;

    /// This many thousandths of a processor; `None` outside of [`RANGE`](Self::RANGE).
    #[must_use]
    pub fn from_thousandths(number: u32) -> Option<Self> {
        Self::RANGE.contains(&number).then_some(Self(number))
    }

    /// The thousandths of a processor.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuShare {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let share = || {
            let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
            let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !plain(whole) || !plain(rest) || rest.len() > 3 {
                return None;
            }
            let thousandths: u32 = format!("{rest:0<3}").parse().ok()?;
            let whole: u32 = whole.parse().ok()?;
            Self::from_thousandths(whole.checked_mul(1000)?.checked_add(thousandths)?)
        };
        share().ok_or_else(|| InvalidLimit {
            text: text.to_owned(),
            what: "a share of processors from 0.01 to 1024, with three decimals at most, such as 0.5",
        })
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

impl TryFrom<String> for CpuShare {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        text.parse()
    }
}

impl From<CpuShare> for String {
    fn from(share: CpuShare) -> Self {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("512 MiB", 512 << 20, "512 MiB"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("1024 MiB", 1 << 30, "1 GiB"),
            ("1536 MiB", 3 << 29, "1536 MiB"),
            ("3 TiB", 3 << 40, "3 TiB"),
            ("7 KiB", 7 << 10, "7 KiB"),
            ("1000 B", 1000, "1000 B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), written);
        }
        for bad in [
            "",
            "512",
            "512 MB",
            "512m",
            "1.5 GiB",
            "-1 MiB",
            "MiB",
            "1 mib",
            "512 MiB ",
            "99999999999 TiB",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shares_are_read_and_written() {
        for (text, thousandths, written) in [
            ("0.5", 500, "0.5"),
            ("2", 2000, "2"),
            ("0.01", 10, "0.01"),
            ("1.250", 1250, "1.25"),
        ] {
            let share: CpuShare = text.parse().unwrap();
            assert_eq!(share.thousandths(), thousandths, "{text}");
            assert_eq!(share.to_string(), written);
        }
        for bad in [
            "", "0", "0.001", "-1", "1e3", "0.1234", ".5", "1.", "1025", "half",
        ] {
            assert!(bad.parse::<CpuShare>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn default_limits_add_nothing_to_a_spec() {
        assert_eq!(serde_json::to_string(&Limits::default()).unwrap(), "{}");
        let limits = Limits {
            memory: Some(ByteSize::mib(512)),
            cpu: CpuShare::from_thousandths(500),
            ..Limits::default()
        };
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(json, r#"{"memory":"512 MiB","cpu":"0.5"}"#);
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
    }
}
