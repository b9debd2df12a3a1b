//! Deterministic names and tokens, so that a second attempt finds the result of the first.

use landfall_provider::{Key, StackName};
use sha2::{Digest, Sha256};

/// The number of hexadecimal digits that distinguish two names with the same truncated prefix, or
/// two generations.
const DIGITS: usize = 8;

/// A name of at most `max` characters from the stack's and the resource's name, for kinds with
/// short names that are unique in a region (load balancers and target groups: 32).
///
/// `generation` is the value that forces a replacement: another value gives another name, so that
/// the new resource can exist beside the old one. Letters, digits and hyphens; it neither begins
/// nor ends with a hyphen.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html>
///
/// # Panics
/// If `max` is less than 16: no kind of AWS is that narrow.
#[must_use]
pub fn short_name(max: usize, stack: &StackName, key: &Key, generation: &str) -> String {
    assert!(max >= 16, "a name of {max} characters tells nothing");
    let digits = digest([stack.as_str(), &key.to_string(), generation]);
    let mut readable = format!("{stack}-{}", key.name);
    readable.truncate(max - DIGITS - 1);
    format!("{}-{}", readable.trim_end_matches('-'), &digits[..DIGITS])
}

/// The prefix of every [`short_name`] of a stack, to filter a listing. Other stacks' names may have
/// the same prefix.
#[must_use]
pub fn short_prefix(max: usize, stack: &StackName) -> String {
    let mut prefix = format!("{stack}-");
    prefix.truncate(max.saturating_sub(DIGITS + 1));
    prefix
}

/// An idempotency token: the same for the same parts, so that AWS recognises a repeated request.
///
/// At most 64 ASCII characters, which every AWS API accepts.
#[must_use]
pub fn token<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    digest(parts)
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length distinguishes `ab`, `c` from `a`, `bc`.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stack: &str, key: &str, generation: &str) -> String {
        short_name(
            32,
            &stack.parse().unwrap(),
            &key.parse().unwrap(),
            generation,
        )
    }

    #[test]
    fn a_name_is_readable_short_and_its_own() {
        let web = name("digipay", "target-group/web", "8000");
        assert!(web.starts_with("digipay-web-"), "{web}");
        let long = name(
            "a-stack-with-a-long-name",
            "target-group/and-a-long-service-name",
            "",
        );
        assert!(long.len() <= 32, "{long}");
        assert!(!long.ends_with('-') && !long.contains("--"), "{long}");
    }

    #[test]
    fn every_name_of_a_stack_begins_with_its_prefix() {
        for stack in ["a", "digipay", "a-stack-with-a-long-name"] {
            let prefix = short_prefix(32, &stack.parse().unwrap());
            let name = name(stack, "target-group/web", "8000");
            assert!(name.starts_with(&prefix), "{name} {prefix}");
        }
    }

    #[test]
    fn generation_is_part_of_the_name() {
        let key = "target-group/web";
        assert_eq!(name("digipay", key, "8000"), name("digipay", key, "8000"));
        assert_ne!(name("digipay", key, "8000"), name("digipay", key, "9000"));
        assert_ne!(token(["ab", "c"]), token(["a", "bc"]));
        assert_eq!(token(["a"]).len(), 64);
    }
}
