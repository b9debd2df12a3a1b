//! The processor architecture of an instance type, from its name.

use std::fmt;

/// What an instance type's processors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// Intel and AMD.
    X86_64,
    /// AWS Graviton, and NVIDIA Grace.
    Arm64,
}

impl Architecture {
    /// The architecture of an instance type: `t3.micro` has x86-64 processors, `t4g.micro` has Arm ones.
    ///
    /// A family's name is letters for the series, the generation's number, and letters for options, of which `g` is
    /// Graviton: <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>. The `a1` of the
    /// first generation is named otherwise. The last word has `DescribeInstanceTypes`; this one needs no call.
    #[must_use]
    pub fn of(instance_type: &str) -> Self {
        let family = instance_type.split('.').next().unwrap_or_default();
        let options = family
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .trim_start_matches(|c: char| c.is_ascii_digit());
        if family == "a1" || options.contains('g') {
            Self::Arm64
        } else {
            Self::X86_64
        }
    }

    /// Its name in an image's platform: `amd64`, `arm64`.
    #[must_use]
    pub fn in_platforms(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// As EC2 names it: `x86_64`, `arm64`.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graviton_is_known_by_its_letter_behind_the_generation() {
        for arm in [
            "t4g.micro",
            "m6g.large",
            "m7gd.xlarge",
            "c6gn.medium",
            "c8g.large",
            "im4gn.large",
            "is4gen.large",
            "i4g.large",
            "x2gd.medium",
            "g5g.xlarge",
            "hpc7g.4xlarge",
            "r8gb.large",
            "a1.medium",
            "p6e-gb200.36xlarge",
        ] {
            assert_eq!(Architecture::of(arm), Architecture::Arm64, "{arm}");
        }
        for x86 in [
            "t2.nano",
            "t3.micro",
            "t3a.small",
            "m7i-flex.large",
            "m6idn.large",
            "c7a.large",
            "g4dn.xlarge",
            "g5.xlarge",
            "g6e.xlarge",
            "gr6.4xlarge",
            "inf2.xlarge",
            "trn1.2xlarge",
            "u-6tb1.metal",
            "u7in-16tb.224xlarge",
            "x2iedn.xlarge",
            "p5en.48xlarge",
            "z1d.large",
        ] {
            assert_eq!(Architecture::of(x86), Architecture::X86_64, "{x86}");
        }
    }
}
