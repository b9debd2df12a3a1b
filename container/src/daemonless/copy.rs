//! `COPY` and `ADD`: sources, destinations, owners and modes.
//!
//! The rules are those of the Dockerfile reference. A directory is copied by its contents. A file
//! is copied into the destination if that ends with `/` or is a directory, otherwise to the
//! destination's name. Links named as a source are followed, links below a directory are copied as
//! links. An existing destination keeps its owner and mode; a directory below it takes the
//! source's. A destination that is a link stands for its target. A leading `..` of a source is
//! removed, as in Docker: a build cannot access files outside its context.

use std::collections::BTreeSet;

use super::archive;
use super::fault::Fault;
use super::layer::Contents;
use super::mode::Mode;
use super::tree::{Kind, Node, Tree};
use super::users::Owner;
use crate::glob::{Dialect, Glob};
use crate::ignore::{Ignore, clean};

/// The arguments of a `COPY` or `ADD`, expanded.
#[derive(Debug)]
pub(super) struct Copy {
    /// Files by name or pattern.
    pub(super) sources: Vec<Input>,
    /// Absolute; a trailing `/` means a directory.
    pub(super) destination: String,
    /// The owner of all copied files; if not given, their own, which is 0:0 for files of the
    /// context.
    pub(super) owner: Option<Owner>,
    /// The mode of all copied files and directories; their own if not given.
    pub(super) mode: Option<Mode>,
    /// Unpack sources that are tar archives.
    pub(super) unpack: bool,
    /// `--parents`: keep the parent directories of a source.
    pub(super) parents: bool,
    /// `--exclude`: the excluded files below a source directory.
    pub(super) exclude: Ignore,
}

/// One source.
#[derive(Debug)]
pub(super) enum Input {
    /// A path or pattern in the source tree.
    Path(String),
    /// A here-document with its name, already a node.
    Document { name: String, node: Node },
}

/// A resolved source.
struct Found {
    /// Its path in the tree after following links; `None` for a here-document.
    from: Option<String>,
    /// Its name.
    name: String,
    node: Node,
}

/// Copies into `to`; returns the new and changed paths.
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
            Input::Path(pattern) if copy.parents => work.with_parents(from, pattern)?,
            Input::Path(pattern) => found.extend(find(from, pattern)?),
            Input::Document { name, node } => found.push(Found {
                from: None,
                name: name.clone(),
                node: node.clone(),
            }),
        }
    }
    let several = found.len() > 1 || copy.sources.len() > 1;
    for Found {
        from: place,
        name,
        node,
    } in found
    {
        let unpacked = match &node.kind {
            // Only a file of the tree can be an archive; a here-document is text.
            Kind::File { content, .. } if copy.unpack && place.is_some() => {
                archive::unpack(content, contents)?
            }
            _ => None,
        };
        match (&node.kind, unpacked) {
            (_, Some(unpacked)) => work.unpacked(&unpacked)?,
            (Kind::Directory, _) => {
                let root = place.unwrap_or_default();
                work.contents(from, &root, |path| !copy.exclude.excludes(path))?;
            }
            (Kind::Symlink { .. }, _) => return Err(missing(&name)),
            (Kind::File { .. } | Kind::Special { .. }, _) => work.file(&name, node, several)?,
        }
    }
    Ok(work.changed)
}

fn missing(path: &str) -> Fault {
    Fault::hint(
        format!("\"{path}\" is not there"),
        "paths are relative to the build context, and files that the ignore file excludes cannot be copied",
    )
}

/// Checks that an expanded source can be copied from `tree`.
pub(super) fn check_source(tree: &Tree, source: &str) -> Result<(), Fault> {
    find(tree, source).map(|_| ())
}

/// The files of a source. A pattern may match nothing; a plain name must exist.
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
    // Parts before the first pattern may contain links; the rest is matched name by name.
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
    /// Copies one file, as `name` if the destination is a directory.
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
        self.put(path, node)
    }

    /// Copies the contents of the directory `root` of `from` into the destination, filtered by
    /// `included`.
    fn contents(
        &mut self,
        from: &Tree,
        root: &str,
        included: impl Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        let destination = self.to.resolve(&self.copy.destination, true)?;
        self.directories(&destination)?;
        let skip = if root.is_empty() { 0 } else { root.len() + 1 };
        for (path, node) in from.below(root) {
            let relative = &path[skip..];
            if !included(relative) {
                continue;
            }
            // Parent directories may be excluded themselves, but are still needed.
            for (end, _) in relative.match_indices('/') {
                let to = join(&destination, &relative[..end]);
                if self.to.get(&to).is_none() {
                    let node = from.get(&path[..skip + end]);
                    self.put(to, node.unwrap_or_else(Node::directory))?;
                }
            }
            self.put(join(&destination, relative), node.clone())?;
        }
        Ok(())
    }

    /// Copies the matches of `source` into the destination with their parent directories, without
    /// those before a `/./`.
    fn with_parents(&mut self, from: &Tree, source: &str) -> Result<(), Fault> {
        let (base, pattern) = source.split_once("/./").unwrap_or(("", source));
        let cleaned = clean(&format!("/{pattern}"));
        let pattern = cleaned.trim_start_matches('/');
        let everything = pattern.is_empty();
        let wanted = Ignore::of_patterns(&[pattern.to_owned()])?;
        let exclude = &self.copy.exclude;
        for base in find(from, base)? {
            let Some(root) = base.from.filter(|_| base.node.is_directory()) else {
                return Err(missing(source));
            };
            if !has_pattern(source) && !everything && from.get(&join(&root, pattern)).is_none() {
                return Err(missing(source));
            }
            self.contents(from, &root, |path| {
                (everything || wanted.excludes(path)) && !exclude.excludes(path)
            })?;
        }
        Ok(())
    }

    /// Copies the contents of an archive into the destination. Its entries replace existing files,
    /// and keep their modes.
    fn unpacked(&mut self, archive: &Tree) -> Result<(), Fault> {
        let destination = self.to.resolve(&self.copy.destination, true)?;
        let owner = self.copy.owner.unwrap_or_default();
        let parent = Node {
            uid: owner.uid,
            gid: owner.gid,
            ..Node::directory()
        };
        let made = self.to.make_directories(&destination, &parent)?;
        self.changed.extend(made);
        for (path, node) in archive.below("") {
            let path = join(&destination, path);
            // An archive need not list the parent directories of its files.
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
            let made = self.to.make_directories(&dir, &Node::directory())?;
            self.changed.extend(made);
            if self
                .to
                .get(&path)
                .is_some_and(|old| old.is_directory() && !node.is_directory())
            {
                self.to.remove_below(&path);
            }
            let mut node = node.clone();
            if let Some(owner) = self.copy.owner {
                (node.uid, node.gid) = (owner.uid, owner.gid);
            }
            self.to.put(&path, node);
            self.changed.insert(path);
        }
        Ok(())
    }

    fn directories(&mut self, path: &str) -> Result<(), Fault> {
        let owner = self.copy.owner.unwrap_or_default();
        let mode = self.copy.mode.as_ref().and_then(Mode::of_new_directory);
        let node = Node {
            uid: owner.uid,
            gid: owner.gid,
            mode: mode.unwrap_or(0o755),
            ..Node::directory()
        };
        let made = self.to.make_directories(path, &node)?;
        self.changed.extend(made);
        Ok(())
    }

    fn put(&mut self, path: String, mut node: Node) -> Result<(), Fault> {
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
        if let Some(owner) = self.copy.owner {
            (node.uid, node.gid) = (owner.uid, owner.gid);
        }
        if let Some(mode) = &self.copy.mode
            && !matches!(node.kind, Kind::Symlink { .. })
        {
            node.mode = mode.apply(node.mode, node.is_directory());
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
