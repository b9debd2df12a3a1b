//! `COPY` and `ADD`: which files go where.
//!
//! The rules are those of the Dockerfile reference. A directory is copied by its contents; a file goes into
//! the destination if that ends with `/` or is a directory, else it takes the destination as its name; links
//! named as a source are followed, links below a directory are copied as links; the destination itself
//! keeps its owner and mode if it is there already, a directory below it takes the source's. A destination that is
//! a link means what it points at. A leading `..` of a source is taken off, as Docker does: a build cannot
//! see beyond its context.

use std::collections::BTreeSet;

use super::archive;
use super::fault::Fault;
use super::layer::Contents;
use super::tree::{Kind, Node, Tree};
use super::users::Owner;
use crate::glob::{Dialect, Glob};
use crate::ignore::clean;

/// What a `COPY` or `ADD` says, with everything expanded.
#[derive(Debug)]
pub(super) struct Copy {
    /// Files by name or pattern.
    pub(super) sources: Vec<Input>,
    /// Absolute; a trailing `/` means a directory.
    pub(super) destination: String,
    /// Owner of everything that is copied; their own if not given, which is 0:0 for what is in the context.
    pub(super) owner: Option<Owner>,
    /// Mode of every file and directory that is copied; their own if not given.
    pub(super) mode: Option<u32>,
    /// Unpack sources that are tar archives.
    pub(super) unpack: bool,
}

/// One source.
#[derive(Debug)]
pub(super) enum Input {
    /// A path or pattern in the tree that is copied from.
    Path(String),
    /// A here-document, already a node, and its name.
    Document { name: String, node: Node },
}

impl Input {
    fn name(&self) -> &str {
        match self {
            Self::Path(name) | Self::Document { name, .. } => name,
        }
    }
}

/// A source that was found.
struct Found {
    /// Where it is in the tree once links are followed; nowhere for a here-document.
    from: Option<String>,
    /// The name it goes by.
    name: String,
    node: Node,
}

/// Copies into `to`; gives the paths that are new or changed.
pub(super) fn copy(
    copy: &Copy,
    from: &Tree,
    to: &mut Tree,
    contents: &mut Contents,
) -> Result<BTreeSet<String>, Fault> {
    let mut work = Work {
        copy,
        to,
        changed: BTreeSet::new(),
    };
    let mut found = Vec::new();
    for source in &copy.sources {
        match source {
            Input::Path(pattern) => found.extend(find(from, pattern)?),
            Input::Document { name, node } => found.push(Found {
                from: None,
                name: name.clone(),
                node: node.clone(),
            }),
        }
    }
    if found.is_empty() {
        let names: Vec<&str> = copy.sources.iter().map(Input::name).collect();
        return Err(Fault::problem(format!(
            "nothing matches {}",
            names.join(", ")
        )));
    }
    let several = found.len() > 1;
    for Found {
        from: place,
        name,
        node,
    } in found
    {
        let unpacked = match &node.kind {
            // Only what comes from the tree can be an archive; a here-document is text.
            Kind::File { content, .. } if copy.unpack && place.is_some() => {
                archive::unpack(content, contents)?
            }
            _ => None,
        };
        match (&node.kind, unpacked) {
            (_, Some(unpacked)) => work.contents(&unpacked, "", true)?,
            (Kind::Directory, _) => work.contents(from, &place.unwrap_or_default(), false)?,
            (Kind::Symlink { .. }, _) => return Err(missing(&name)),
            (Kind::File { .. } | Kind::Special, _) => work.file(&name, node, several)?,
        }
    }
    Ok(work.changed)
}

fn missing(path: &str) -> Fault {
    Fault::hint(
        format!("\"{path}\" is not there"),
        "paths are relative to the build context, and what its ignore file leaves out cannot be copied",
    )
}

/// Whether a source, with everything expanded, can be copied from `tree`.
pub(super) fn check_source(tree: &Tree, source: &str) -> Result<(), Fault> {
    find(tree, source).map(|_| ())
}

/// The files that a source names. A pattern may match nothing; a plain name has to be there.
fn find(tree: &Tree, source: &str) -> Result<Vec<Found>, Fault> {
    let cleaned = clean(&format!("/{source}"));
    let relative = cleaned.trim_start_matches('/');
    let name_of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    if !has_pattern(relative) {
        let path = tree.resolve(relative, true)?;
        return match tree.get(&path) {
            Some(node) => Ok(vec![Found {
                from: Some(path),
                name: name_of(relative),
                node,
            }]),
            None if clean(source).starts_with("..") => Err(Fault::hint(
                format!("\"{source}\" is not there"),
                "a leading .. is taken off: nothing outside the build context can be copied",
            )),
            None => Err(missing(source)),
        };
    }
    // Parts before the first pattern may lead through links; the rest is matched name by name.
    let parts: Vec<&str> = relative.split('/').collect();
    let plain = parts.iter().take_while(|part| !has_pattern(part)).count();
    let base = tree.resolve(&parts[..plain].join("/"), true)?;
    let rest = parts[plain..].join("/");
    let glob = Glob::parse(&rest, Dialect::Copy)
        .map_err(|problem| format!("{source} is not a pattern: {problem}"))?;
    let skip = if base.is_empty() { 0 } else { base.len() + 1 };
    tree.below(&base)
        .filter(|(path, _)| glob.matches(&path[skip..]))
        .map(|(path, _)| {
            let name = name_of(path);
            let path = tree.resolve(path, true)?;
            let node = tree.get(&path).ok_or_else(|| missing(&path))?;
            Ok(Found {
                from: Some(path),
                name,
                node,
            })
        })
        .collect()
}

fn has_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '\\'])
}

struct Work<'a> {
    copy: &'a Copy,
    to: &'a mut Tree,
    changed: BTreeSet<String>,
}

impl Work<'_> {
    /// Copies one file, named `name` if the destination is a directory.
    fn file(&mut self, name: &str, node: Node, several: bool) -> Result<(), Fault> {
        let destination = self.copy.destination.clone();
        let followed = self.to.resolve(&destination, true)?;
        let into = destination.ends_with('/')
            || self
                .to
                .get(&followed)
                .is_some_and(|node| node.is_directory());
        if several && !into {
            return Err(Fault::hint(
                format!("several sources do not fit into the one file {destination}"),
                format!("end it with a /: {destination}/"),
            ));
        }
        let path = if into {
            join(&followed, name)
        } else {
            followed
        };
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        self.directories(&dir)?;
        self.put(path, node, false)
    }

    /// Copies what is below the directory `root` of `from` into the destination; `as_is` leaves owners and
    /// modes alone, as Docker does with what an archive holds.
    fn contents(&mut self, from: &Tree, root: &str, as_is: bool) -> Result<(), Fault> {
        let destination = self.to.resolve(&self.copy.destination, true)?;
        self.directories(&destination)?;
        let skip = if root.is_empty() { 0 } else { root.len() + 1 };
        for (path, node) in from.below(root) {
            let path = join(&destination, &path[skip..]);
            // An archive need not list the directories that its files are in.
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
            self.directories(&dir)?;
            self.put(path, node.clone(), as_is)?;
        }
        Ok(())
    }

    fn directories(&mut self, path: &str) -> Result<(), Fault> {
        let owner = self.copy.owner.unwrap_or_default();
        let made = self.to.make_directories(path, owner.uid, owner.gid)?;
        self.changed.extend(made);
        Ok(())
    }

    fn put(&mut self, path: String, mut node: Node, as_is: bool) -> Result<(), Fault> {
        match self.to.get(&path) {
            Some(old) if old.is_directory() && node.is_directory() => {}
            Some(old) if old.is_directory() => {
                return Err(Fault::problem(format!(
                    "/{path} is a directory and cannot be replaced by a file"
                )));
            }
            Some(_) if node.is_directory() => {
                return Err(Fault::problem(format!(
                    "/{path} is not a directory and cannot be replaced by one"
                )));
            }
            _ => {}
        }
        if node.kind == Kind::Special {
            return Err(Fault::problem(format!(
                "/{path} would be a device or a pipe, and those cannot be copied"
            )));
        }
        if let Some(owner) = self.copy.owner.filter(|_| !as_is) {
            (node.uid, node.gid) = (owner.uid, owner.gid);
        }
        if let Some(mode) = self.copy.mode.filter(|_| !as_is)
            && !matches!(node.kind, Kind::Symlink { .. })
        {
            node.mode = mode;
        }
        let changes = !node.is_directory() || self.to.get(&path).as_ref() != Some(&node);
        self.to.put(&path, node);
        if changes {
            self.changed.insert(path);
        }
        Ok(())
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}
