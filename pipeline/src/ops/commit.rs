//! The commit of a file's directory: a label of releases, without influence on them.

use std::path::Path;
use std::process::{Command, Stdio};

/// The commit, `1a2b3c4d5e6f`, with `-dirty` if tracked files have changes. `None` without
/// git, a repository or a commit.
pub(crate) async fn of(directory: &Path) -> Option<String> {
    let directory = directory.to_owned();
    let looked = tokio::task::spawn_blocking(move || describe(&directory)).await;
    looked.ok().flatten()
}

fn describe(directory: &Path) -> Option<String> {
    // A bare file name is in the current directory.
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let described = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        // Only the directory decides, even in a hook of another repository.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        // Read-only: no lock that would disturb other git commands.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let commit = String::from_utf8(described.stdout).ok()?;
    Some(commit.trim().to_owned()).filter(|commit| !commit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_there_is_no_repository_there_is_no_commit() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(of(directory.path()).await, None);
        assert_eq!(of(&directory.path().join("gone")).await, None);
    }

    #[tokio::test]
    async fn needs_git_commit_and_changes_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let ran = Command::new("git")
                .args(["-c", "user.name=ana", "-c", "user.email=ana@example.com"])
                .args(args)
                .current_dir(directory.path())
                .env_remove("GIT_DIR")
                .output()
                .unwrap();
            assert!(ran.status.success(), "{args:?}: {ran:?}");
            String::from_utf8(ran.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet"]);
        assert_eq!(of(directory.path()).await, None, "no commit yet");
        let file = directory.path().join("landfall.toml");
        std::fs::write(&file, "stack = 'digipay'\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message=first"]);
        // Without this, a tag would replace the commit.
        git(&["tag", "--annotate", "v1", "--message=first"]);
        let commit = git(&["rev-parse", "--short=12", "HEAD"]);
        assert_eq!(of(directory.path()).await, Some(commit.clone()));
        std::fs::write(&file, "stack = 'digi'\n").unwrap();
        assert_eq!(of(directory.path()).await, Some(format!("{commit}-dirty")));
    }
}
