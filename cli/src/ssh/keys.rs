//! The operator's keys: in the agent, in ~/.ssh, and the one that Landfall generated. Private keys
//! are never read; the file's name or the agent shows that a private key exists.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use landfall_compute::PublicKey;
use landfall_provider::read_text;

use super::folder;
use crate::cli_error::CliError;

/// The first files to check for a key, relative to the home directory: the types that EC2 supports.
const USUAL: [&str; 2] = [".ssh/id_ed25519.pub", ".ssh/id_rsa.pub"];

/// The name of the key that Landfall generates, in its directory.
const OWN: &str = "ssh/id_ed25519";

/// The maximum size of a public key file, in bytes.
const MOST_BYTES: u64 = 64 << 10;

/// A key of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) public: PublicKey,
    /// The file of the private key; `None` if it is in the agent.
    pub(crate) private: Option<PathBuf>,
}

/// All keys of the operator: the agent's, then the usual ones, then any others in ~/.ssh, then
/// Landfall's own.
pub(crate) fn all() -> Vec<Key> {
    let mut keys = agent();
    if let Some(home) = folder::home() {
        keys.extend(USUAL.iter().filter_map(|file| of_file(&home.join(file))));
        keys.extend(others(&home.join(".ssh")));
    }
    keys.extend(own());
    keys
}

/// The keys in the agent, from `ssh-add -L`. Without an agent there are none.
pub(crate) fn agent() -> Vec<Key> {
    let reported = Command::new("ssh-add")
        .arg("-L")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(reported) = reported else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&reported.stdout).into_owned();
    // Skip types that EC2 does not support: certificates, hardware keys.
    text.lines()
        .filter_map(|line| PublicKey::new(line).ok())
        .map(|public| Key {
            public,
            private: None,
        })
        .collect()
}

/// The key that Landfall generated, if any.
pub(crate) fn own() -> Option<Key> {
    let folder = folder::folder().ok()?;
    of_file(&folder.join(OWN).with_extension("pub"))
}

/// The key of a `.pub` file with its private key beside it.
pub(crate) fn of_file(file: &Path) -> Option<Key> {
    let public = PublicKey::new(&read_text(file, MOST_BYTES).ok()?).ok()?;
    let private = file.with_extension("");
    private.is_file().then_some(Key {
        public,
        private: Some(private),
    })
}

fn others(folder: &Path) -> Vec<Key> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    files.sort();
    files.iter().filter_map(|file| of_file(file)).collect()
}

/// Generates a key pair in Landfall's directory, with `ssh-keygen`: without a passphrase, because
/// nobody may be there to type it, and in a file that only the owner can read.
///
/// # Errors
/// When the program does not exist, or the file cannot be created.
pub(crate) fn generate() -> Result<Key, CliError> {
    let private = folder::folder()?.join(OWN);
    let failed = |why: String| {
        CliError::usage(
            format!(
                "found no key, and cannot create one in {}: {why}",
                private.display()
            ),
            Some(
                "create one with `ssh-keygen -t ed25519`, and set `key` of [network.bastion] to its `.pub` file",
            ),
        )
    };
    if let Some(parent) = private.parent() {
        folder::make(parent).map_err(|error| failed(error.to_string()))?;
    }
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "landfall", "-f"])
        .arg(&private)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("ssh-keygen: {error}")))?;
    if !made.status.success() {
        let text = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(failed(text));
    }
    own().ok_or_else(|| failed("ssh-keygen created no key".to_owned()))
}

/// The key for a stack: one that the stack already has, if the operator has it too, because another
/// one would be another key pair and a new bastion; otherwise the first.
pub(crate) fn choose<'a>(mine: &'a [Key], theirs: &[PublicKey]) -> Option<&'a Key> {
    let known = |key: &&Key| theirs.contains(&key.public);
    mine.iter().find(known).or_else(|| mine.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbbNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";

    fn key(text: &str) -> Key {
        Key {
            public: PublicKey::new(text).unwrap(),
            private: None,
        }
    }

    #[test]
    fn a_key_that_the_stack_has_already_is_kept() {
        let mine = [key(ONE), key(OTHER)];
        assert_eq!(choose(&mine, &[]), Some(&mine[0]));
        let theirs = [PublicKey::new(OTHER).unwrap()];
        assert_eq!(choose(&mine, &theirs), Some(&mine[1]));
        assert_eq!(choose(&mine[..1], &theirs), Some(&mine[0]));
        assert_eq!(choose(&[], &theirs), None);
    }

    #[test]
    fn public_key_needs_its_private_key_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let public = home.path().join("id_work.pub");
        std::fs::write(&public, format!("{ONE} ana")).unwrap();
        assert_eq!(of_file(&public), None);
        std::fs::write(home.path().join("id_work"), "private").unwrap();
        std::fs::write(home.path().join("known_hosts"), "x").unwrap();
        let found = of_file(&public).unwrap();
        assert_eq!(found.private, Some(home.path().join("id_work")));
        assert_eq!(others(home.path()), [found]);
    }
}
