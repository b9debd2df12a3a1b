//! A key pair for logins to instances. Landfall only ever has the public key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_provider::{KeyPairId, Kind, Reference, Resource, kind};
use serde::{Deserialize, Serialize};

/// A key pair by its public key. The private key stays with its owner.
///
/// Another key creates another key pair beside the old one, to which instances and launch templates
/// refer until they are changed: a provider that names key pairs gives the two different names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The public key.
    pub public_key: PublicKey,
}

impl Resource for KeyPair {
    const KIND: Kind = kind::KEY_PAIR;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["public_key"];
    type Id = KeyPairId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        Vec::new()
    }
}

/// An SSH public key in OpenSSH's format, without its comment: `ssh-ed25519 AAAA…`.
///
/// Ed25519 or RSA, the types that EC2 supports:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-key-pairs.html>. Two files with the
/// same key and different comments are the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

/// The reason why a text is not a public key. The text itself is not repeated: it may be a private
/// key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// It is a private key.
    #[error("this is a private key; the public one is in the file of the same name with `.pub`")]
    Private,
    /// EC2 does not support this type of key.
    #[error("a key of type `{0}`; EC2 takes ssh-ed25519 and ssh-rsa")]
    Type(String),
    /// Any other format.
    #[error("not a public key in OpenSSH's format: `ssh-ed25519 AAAA… comment` in one line")]
    Format,
}

/// The key types that EC2 supports.
const TYPES: [&str; 2] = ["ssh-ed25519", "ssh-rsa"];

impl PublicKey {
    /// Validates the text: the content of a file such as `~/.ssh/id_ed25519.pub`.
    ///
    /// # Errors
    /// [`InvalidPublicKey`] when it is not a single Ed25519 or RSA key in OpenSSH's format.
    pub fn new(text: &str) -> Result<Self, InvalidPublicKey> {
        if text.contains("PRIVATE KEY") {
            return Err(InvalidPublicKey::Private);
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(InvalidPublicKey::Format);
        };
        let mut words = line.split_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else {
            return Err(InvalidPublicKey::Format);
        };
        // The data begins with the key type: a length of four bytes and the text (RFC 4253, section
        // 6.6).
        let blob = STANDARD
            .decode(data)
            .map_err(|_| InvalidPublicKey::Format)?;
        let inner = blob
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
        if inner != Some(kind.as_bytes()) {
            return Err(InvalidPublicKey::Format);
        }
        if !TYPES.contains(&kind) {
            return Err(InvalidPublicKey::Type(kind.to_owned()));
        }
        Ok(Self(format!("{kind} {data}")))
    }

    /// The key as one line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::new(text)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidPublicKey;

    fn try_from(text: String) -> Result<Self, InvalidPublicKey> {
        Self::new(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=";

    #[test]
    fn a_key_is_known_by_its_data_and_not_by_its_comment() {
        let bare = PublicKey::new(ED25519).unwrap();
        assert_eq!(bare.as_str(), ED25519);
        let file = format!("{ED25519} ana@build-3\n");
        assert_eq!(PublicKey::new(&file).unwrap(), bare);
    }

    #[test]
    fn what_is_no_public_key_is_refused_and_not_repeated() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n";
        assert_eq!(PublicKey::new(private), Err(InvalidPublicKey::Private));
        let another = ED25519.replace("ssh-ed25519", "ssh-rsa");
        let two = format!("{ED25519}\n{ED25519}\n");
        for text in ["", "ssh-ed25519", "ssh-ed25519 AA==", "x y", &another, &two] {
            assert_eq!(
                PublicKey::new(text),
                Err(InvalidPublicKey::Format),
                "{text}"
            );
        }
        let error = PublicKey::new(ECDSA).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a key of type `ecdsa-sha2-nistp256`; EC2 takes ssh-ed25519 and ssh-rsa"
        );
    }
}
