//! Owners of copied files: `--chown`, and `USER` for the directories of `WORKDIR`.

use super::fault::Fault;
use super::layer::Contents;
use super::tree::Tree;

/// An owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u64,
    pub(super) gid: u64,
}

/// Parses `user[:group]`, each a number or a name in the image's `/etc/passwd` and `/etc/group`.
///
/// A single number is both user and group; a single name has its group from `/etc/passwd`; a
/// missing user, or a missing group after the colon, is root.
pub(super) fn owner(text: &str, tree: &Tree, contents: &mut Contents) -> Result<Owner, Fault> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let uid = match user.parse::<u32>() {
        Err(_) if user.is_empty() => Some(Owner::default()),
        Ok(uid) => Some(Owner {
            uid: uid.into(),
            gid: uid.into(),
        }),
        Err(_) => entry(contents.read(tree, "etc/passwd")?, user, |fields| {
            Some(Owner {
                uid: number(fields.get(2)?)?,
                gid: number(fields.get(3)?)?,
            })
        }),
    };
    let Some(mut owner) = uid else {
        return Err(unknown("user", user, "/etc/passwd"));
    };
    if let Some(group) = group {
        let gid = match group.parse::<u32>() {
            Err(_) if group.is_empty() => Some(0),
            Ok(gid) => Some(gid.into()),
            Err(_) => entry(contents.read(tree, "etc/group")?, group, |fields| {
                number(fields.get(2)?)
            }),
        };
        match gid {
            Some(gid) => owner.gid = gid,
            None => return Err(unknown("group", group, "/etc/group")),
        }
    }
    Ok(owner)
}

fn unknown(kind: &str, name: &str, file: &str) -> Fault {
    Fault::hint(
        format!("there is no {kind} \"{name}\" in the image's {file}"),
        "a number needs no such file",
    )
}

/// The entry `name` of a colon-separated file.
fn entry<T>(file: Option<Vec<u8>>, name: &str, read: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    let text = String::from_utf8_lossy(&file?).into_owned();
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        if name.is_empty() || fields.first() != Some(&name) {
            None
        } else {
            read(&fields)
        }
    })
}

fn number(field: &str) -> Option<u64> {
    field.parse::<u32>().ok().map(Into::into)
}
