//! The public key that may log in: from the file that the configuration names, or from the usual places.

use std::path::{Path, PathBuf};

use landfall_compute::PublicKey;
use landfall_provider::read_text;

use super::Bastion;
use super::fault::Diagnostic;

/// The default files of public keys, relative to the home directory.
const USUAL: [&str; 2] = [".ssh/id_ed25519.pub", ".ssh/id_rsa.pub"];

/// The maximum size of a public key file, in bytes.
const MOST_BYTES: u64 = 64 << 10;

impl Bastion {
    /// Reads the public key. A named file must exist; of the default files, the first valid one is used.
    pub(super) fn read_key(
        &mut self,
        directory: &Path,
        home: Option<&Path>,
        at: &str,
    ) -> Option<Diagnostic> {
        let Some(key) = &self.key else {
            let usual = USUAL.iter().filter_map(|file| Some(home?.join(file)));
            self.public_key = usual
                .filter_map(|file| read_text(&file, MOST_BYTES).ok())
                .find_map(|text| PublicKey::new(&text).ok());
            return None;
        };
        let path = match (key.strip_prefix("~"), home) {
            (Ok(inside), Some(home)) => home.join(inside),
            (Ok(_), None) => {
                return Some(
                    Diagnostic::new(at, "`~` needs a home directory, and there is none")
                        .hint("set HOME, or write the whole path"),
                );
            }
            (Err(_), _) => directory.join(key).components().collect::<PathBuf>(),
        };
        let text = match read_text(&path, MOST_BYTES) {
            Ok(text) => text,
            Err(error) => {
                return Some(
                    Diagnostic::new(at, format_args!("cannot read {}: {error}", path.display()))
                        .hint("create a key pair with `ssh-keygen -t ed25519`, and set this to its `.pub` file"),
                );
            }
        };
        match PublicKey::new(&text) {
            Ok(public_key) => {
                self.public_key = Some(public_key);
                None
            }
            Err(error) => Some(Diagnostic::new(
                at,
                format_args!("{}: {error}", path.display()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";

    fn read(key: Option<&str>, home: &Path) -> (Option<PublicKey>, Option<String>) {
        let mut bastion = Bastion::new([]);
        bastion.key = key.map(PathBuf::from);
        let problem = bastion.read_key(&home.join("app"), Some(home), "network.bastion.key");
        (bastion.public_key, problem.map(|problem| problem.message))
    }

    #[test]
    fn default_keys_are_optional() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(None, home.path()), (None, None));
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        std::fs::write(home.path().join(".ssh/id_rsa.pub"), KEY).unwrap();
        assert_eq!(read(None, home.path()), (Some(KEY.parse().unwrap()), None));
        // A key type that EC2 does not accept: the next file is tried.
        std::fs::write(home.path().join(".ssh/id_ed25519.pub"), "sk-x AAAA").unwrap();
        assert_eq!(read(None, home.path()), (Some(KEY.parse().unwrap()), None));
    }

    #[test]
    fn a_key_that_is_named_is_read_from_its_place_or_a_fault() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("app")).unwrap();
        std::fs::write(home.path().join("ana.pub"), format!("{KEY} ana")).unwrap();
        std::fs::write(home.path().join("app/id"), "-----BEGIN PRIVATE KEY-----").unwrap();
        let ana = Some(KEY.parse().unwrap());
        assert_eq!(read(Some("~/ana.pub"), home.path()), (ana.clone(), None));
        assert_eq!(read(Some("../ana.pub"), home.path()), (ana, None));
        let (key, problem) = read(Some("id"), home.path());
        let problem = problem.unwrap();
        assert!(
            key.is_none() && problem.contains("private key"),
            "{problem}"
        );
        let (_, problem) = read(Some("~/bob.pub"), home.path());
        assert!(problem.unwrap().contains("cannot read"));
    }
}
