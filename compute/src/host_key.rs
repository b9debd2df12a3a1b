//! The SSH host key of a machine, as its cloud reports it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::boot::SAYS;

/// The marker that cloud-init prints before the host keys on the console, when an instance boots
/// for the first time: <https://cloudinit.readthedocs.io/en/latest/reference/modules.html#ssh>,
/// `emit_keys_to_console`.
const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";

/// Possible prefixes of cloud-init's lines: its name, and that of its logger.
const PROGRAMS: [&str; 2] = ["cloud-init", "ec2"];

/// A public host key in OpenSSH's format, without a comment: `ssh-ed25519 AAAA…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey(String);

/// The error for a text that is not a host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host key in OpenSSH's format: `ssh-ed25519 AAAA…`")]
pub struct InvalidHostKey;

impl HostKey {
    /// Validates a line such as those of `/etc/ssh/ssh_host_*_key.pub`; its comment is dropped.
    ///
    /// # Errors
    /// [`InvalidHostKey`] when it is not a public key in OpenSSH's format.
    pub fn new(line: &str) -> Result<Self, InvalidHostKey> {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else {
            return Err(InvalidHostKey);
        };
        let blob = STANDARD.decode(data).map_err(|_| InvalidHostKey)?;
        // The data begins with the key type: a length of four bytes and the text (RFC 4253, section
        // 6.6).
        let inner = blob
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
        if inner != Some(kind.as_bytes()) {
            return Err(InvalidHostKey);
        }
        Ok(Self(format!("{kind} {data}")))
    }

    /// The host keys in an instance's console output. After several boots, the last ones.
    ///
    /// The boot script's output may quote a container, and every line of it begins with the
    /// script's prefix: such a line is never taken for cloud-init's.
    #[must_use]
    pub fn from_console(console: &str) -> Vec<Self> {
        let lines: Vec<&str> = console.lines().filter_map(by_cloud_init).collect();
        let Some(begin) = lines.iter().rposition(|line| *line == BEGIN) else {
            return Vec::new();
        };
        // Without an end marker, the last line may be cut off: the lines before it are complete,
        // and the cut one is not a valid key.
        lines[begin + 1..]
            .iter()
            .take_while(|line| **line != END)
            .filter_map(|line| Self::new(line).ok())
            .collect()
    }

    /// The key as one line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A console line by cloud-init, without the time and the program names that may precede it; `None`
/// for a line of the boot script.
fn by_cloud_init(line: &str) -> Option<&str> {
    let mut line = line.trim();
    if line.contains(SAYS) {
        return None;
    }
    loop {
        let rest = match line.strip_prefix('[') {
            Some(time) => time.split_once(']').filter(|(time, _)| {
                time.chars()
                    .all(|c| c.is_ascii_digit() || matches!(c, '.' | ' '))
            }),
            None => line.split_once(": ").filter(|(program, _)| {
                let name = program.split('[').next().unwrap_or_default();
                PROGRAMS.contains(&name)
            }),
        };
        match rest {
            Some((_, rest)) => line = rest.trim_start(),
            None => return Some(line),
        }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for HostKey {
    type Error = InvalidHostKey;

    fn try_from(text: String) -> Result<Self, InvalidHostKey> {
        Self::new(&text)
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbbNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=";

    #[test]
    fn host_keys_of_the_last_boot_are_found() {
        let console = format!(
            "[    9.2] cloud-init[1612]: {BEGIN}\r\n{OTHER} root@old\r\n{END}\r\n\
             ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n\
             ec2: 256 SHA256:abc root@ip-10-0-0-4 (ED25519)\r\n\
             ec2: -----END SSH HOST KEY FINGERPRINTS-----\r\n\
             {BEGIN}\r\n{ECDSA} root@ip-10-0-0-4\r\n[   12.0] ec2: {ED25519} root@ip-10-0-0-4\r\n{END}\r\n\
             [   12.1] cloud-init finished\r\n"
        );
        let keys = HostKey::from_console(&console);
        let keys: Vec<&str> = keys.iter().map(HostKey::as_str).collect();
        assert_eq!(keys, [ECDSA, ED25519]);
    }

    #[test]
    fn truncated_console_yields_whole_keys_only() {
        assert_eq!(HostKey::from_console("login: ssh-ed25519 AAAA"), Vec::new());
        let cut = format!("{BEGIN}\n{ED25519}\nssh-rsa AAAAB3NzaC1yc2EAAAADAQA");
        assert_eq!(
            HostKey::from_console(&cut),
            [HostKey::new(ED25519).unwrap()]
        );
    }

    #[test]
    fn lines_of_containers_are_no_host_keys() {
        let block = |before: &str, key: &str| {
            format!("{before}{BEGIN}\n{before}{key} root@host\n{before}{END}\n")
        };
        let real = block("[   12.0] cloud-init[1612]: ", ED25519);
        let known = [HostKey::new(ED25519).unwrap()];
        for before in [
            "landfall: | ",
            "[   31.4] cloud-init[2101]: landfall: | ",
            "[   31.4] cloud-init[2101]: landfall: gave up: ",
            "web: ",
            "| ",
            "\u{1b}[2K",
            "[31.4x] ",
        ] {
            let planted = block(before, OTHER);
            assert_eq!(HostKey::from_console(&planted), [], "{before}");
            for console in [planted.clone() + &real, real.clone() + &planted] {
                assert_eq!(HostKey::from_console(&console), known, "{before}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let wrong_type = ED25519.replace("ssh-ed25519", "ssh-rsa");
        for text in ["", "ssh-ed25519", "ssh-ed25519 ?", wrong_type.as_str()] {
            assert_eq!(HostKey::new(text), Err(InvalidHostKey), "{text}");
        }
        let named = format!("{ED25519} root@host\n");
        assert_eq!(HostKey::new(&named).unwrap().as_str(), ED25519);
    }
}
