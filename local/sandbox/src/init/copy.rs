//! Copies a folder, for machines whose kernel refuses an overlay.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

/// Copies the content of `from` to the existing folder `to`: files, folders and links with their modes, and their
/// owners as far as the kernel allows. Sockets, pipes and devices are left out.
pub(super) fn tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let it = entry.metadata()?;
        if it.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if it.is_dir() {
            fs::create_dir(&target)?;
            tree(&source, &target)?;
        } else if it.is_file() {
            fs::copy(&source, &target)?;
        } else {
            continue;
        }
        match lchown(&target, Some(it.uid()), Some(it.gid())) {
            // An ordinary user's namespace has only one owner.
            Err(error)
                if error.raw_os_error() != Some(nix::libc::EINVAL)
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                return Err(error);
            }
            _ => {}
        }
        if !it.is_symlink() {
            // After the owner, because a change of owner removes the set-user-ID bit.
            fs::set_permissions(&target, it.permissions())?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_has_the_same_files_modes_and_links() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a/b/run"), "text").unwrap();
        fs::set_permissions(from.join("a/b/run"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("/nowhere", from.join("a/link")).unwrap();
        tree(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/run")).unwrap(), "text");
        assert_eq!(
            fs::metadata(to.join("a/b/run")).unwrap().mode() & 0o7777,
            0o751
        );
        assert_eq!(fs::metadata(to.join("a/b")).unwrap().mode() & 0o7777, 0o555);
        assert_eq!(
            fs::read_link(to.join("a/link")).unwrap(),
            Path::new("/nowhere")
        );
        // So that the test can remove the folder.
        for dir in [&from, &to] {
            fs::set_permissions(dir.join("a/b"), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
