//! The user of an image's `USER`, according to the image's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The maximum size of an image's user files, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A user by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The other groups of the user, if the image lists it.
    pub(super) groups: Vec<u32>,
    /// The user's home folder; `/` if the image does not list the user.
    pub(super) home: String,
}

/// Finds the user `user` in the image with the files in `root`.
///
/// # Errors
///
/// A name that the image does not list.
pub(super) fn resolve(user: &str, root: &Path) -> Result<Identity, String> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let passwd = read(&root.join("etc/passwd"));
    let groups = read(&root.join("etc/group"));

    let number = name.parse::<u32>().ok();
    let entry = passwd.lines().map(fields).find(|entry| match number {
        // A number is a uid, even if it is the name of a user.
        Some(number) => field(entry, 2).parse() == Ok(number),
        None => field(entry, 0) == name,
    });
    let mut identity = match (&entry, number) {
        (Some(entry), _) => {
            let id = |at: usize| {
                let text = field(entry, at);
                text.parse().map_err(|_| {
                    format!("user {name:?}: {text:?} in the image's /etc/passwd is not a number")
                })
            };
            let home = field(entry, 5);
            Identity {
                uid: id(2)?,
                gid: id(3)?,
                groups: member_of(&groups, field(entry, 0)),
                home: if home.is_empty() { "/" } else { home }.to_owned(),
            }
        }
        (None, Some(uid)) => Identity {
            uid,
            home: "/".to_owned(),
            ..Identity::default()
        },
        (None, None) => {
            return Err(format!(
                "user {name:?} is not in the image's /etc/passwd; add it there, or give a number"
            ));
        }
    };
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        identity.groups.clear();
        identity.gid = match group.parse() {
            Ok(gid) => gid,
            Err(_) => groups
                .lines()
                .map(fields)
                .find(|entry| field(entry, 0) == group)
                .and_then(|entry| field(&entry, 2).parse().ok())
                .ok_or_else(|| {
                    format!(
                        "group {group:?} is not in the image's /etc/group; add it there, or give a number"
                    )
                })?,
        };
    }
    Ok(identity)
}

/// The text of a file; empty if the image has none.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // Only a regular file: opening a pipe would wait for its other end for ever.
    if path.metadata().is_ok_and(|it| it.is_file())
        && let Ok(file) = File::open(path)
    {
        // An unreadable file counts as missing.
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fields(line: &str) -> Vec<&str> {
    line.trim().split(':').collect()
}

fn field<'a>(entry: &[&'a str], at: usize) -> &'a str {
    entry.get(at).copied().unwrap_or("")
}

fn member_of(groups: &str, user: &str) -> Vec<u32> {
    groups
        .lines()
        .map(fields)
        .filter(|entry| field(entry, 3).split(',').any(|member| member == user))
        .filter_map(|entry| field(&entry, 2).parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("etc")).unwrap();
        std::fs::write(
            image.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/srv:/bin/false\nodd:x:nine:1::/:\n",
        )
        .unwrap();
        std::fs::write(
            image.path().join("etc/group"),
            "root:x:0:\nweb:x:102:\nlogs:x:50:root,web\nssl:x:60:web\n",
        )
        .unwrap();
        let identity = |uid, gid, groups: &[u32], home: &str| Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        for (user, expected) in [
            ("", identity(0, 0, &[50], "/root")),
            ("web", identity(101, 102, &[50, 60], "/srv")),
            ("101", identity(101, 102, &[50, 60], "/srv")),
            ("web:logs", identity(101, 50, &[], "/srv")),
            ("1000", identity(1000, 0, &[], "/")),
            ("1000:1001", identity(1000, 1001, &[], "/")),
            (":60", identity(0, 60, &[], "/root")),
        ] {
            assert_eq!(resolve(user, image.path()).unwrap(), expected, "{user:?}");
        }
        for (user, complaint) in [
            ("nobody", "\"nobody\" is not in the image's /etc/passwd"),
            ("web:none", "\"none\" is not in the image's /etc/group"),
            ("odd", "\"nine\""),
        ] {
            let error = resolve(user, image.path()).unwrap_err();
            assert!(error.contains(complaint), "{user:?}: {error}");
        }
    }

    #[test]
    fn an_image_without_user_files_knows_numbers() {
        let image = tempfile::tempdir().unwrap();
        assert_eq!(resolve("", image.path()).unwrap().uid, 0);
        assert_eq!(resolve("7:8", image.path()).unwrap().gid, 8);
    }
}
