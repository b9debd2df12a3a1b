//! A file system in memory: the files of an image's layers, or of a build context.
//!
//! It holds only names and metadata; contents stay in place until a layer is written. Paths are
//! relative to the root with `/` as the separator, and the root itself is the empty path. Links are
//! resolved inside the tree, so no path leaves it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;

use crate::context::{Context, EntryKind};

/// The maximum number of links in the resolution of one path, as on Linux.
const LINKS: usize = 40;

/// A file system.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
}

/// The kind of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File {
        content: Content,
        size: u64,
    },
    Symlink {
        target: String,
    },
    /// A device or a named pipe, from a base image or an archive.
    Special {
        /// Its type in a tar archive.
        entry: u8,
        /// The device's number; 0 for a pipe.
        major: u32,
        minor: u32,
    },
}

/// The location of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A separate file, in the context or unpacked.
    File(PathBuf),
    /// In memory: a here-document.
    Bytes(Vec<u8>),
    /// An entry of a layer, by its number in the archive.
    Layer { digest: crate::Digest, entry: usize },
}

impl Node {
    pub(super) fn directory() -> Self {
        Self {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

impl Tree {
    /// The tree of a build context.
    pub(super) fn of_context(context: &Context) -> Self {
        let mut tree = Self::default();
        for entry in context.entries() {
            let kind = match &entry.kind {
                EntryKind::Directory => Kind::Directory,
                EntryKind::Symlink { target } => Kind::Symlink {
                    target: target.clone(),
                },
                EntryKind::File { size, .. } => Kind::File {
                    content: Content::File(context.root().join(&entry.path)),
                    size: *size,
                },
            };
            tree.nodes.insert(
                entry.path.clone(),
                Node {
                    kind,
                    mode: entry.mode,
                    uid: 0,
                    gid: 0,
                },
            );
        }
        tree
    }

    /// The node at `path`, without following a link. The root is always a directory.
    pub(super) fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() {
            return Some(self.nodes.get("").cloned().unwrap_or_else(Node::directory));
        }
        self.nodes.get(path).cloned()
    }

    /// Sets `node` at `path`; entries below it stay.
    pub(super) fn put(&mut self, path: &str, node: Node) {
        self.nodes.insert(path.to_owned(), node);
    }

    /// Removes `path` and everything below it.
    pub(super) fn remove(&mut self, path: &str) {
        self.remove_below(path);
        self.nodes.remove(path);
    }

    /// Removes everything below `path`.
    pub(super) fn remove_below(&mut self, path: &str) {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// Everything below the directory `path`, ordered by whole path.
    pub(super) fn below<'t>(
        &'t self,
        path: &str,
    ) -> impl Iterator<Item = (&'t str, &'t Node)> + use<'t> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let range = (Bound::Excluded(prefix.clone()), Bound::Unbounded);
        self.nodes
            .range::<String, _>(range)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, node)| (path.as_str(), node))
    }

    /// Resolves the links in `path`, including its last part if `last` is set. Missing parts are
    /// kept as they are.
    pub(super) fn resolve(&self, path: &str, last: bool) -> Result<String, String> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let here = done.join("/");
            let ends = rest.iter().all(|part| part.is_empty() || part == ".");
            let Some(Node {
                kind: Kind::Symlink { target },
                ..
            }) = self.nodes.get(&here)
            else {
                continue;
            };
            if ends && !last {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(format!("/{path} leads through too many symbolic links"));
            }
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(done.join("/"))
    }

    /// Creates the directory `path` and its missing parents, each like `node`. `path` must be
    /// resolved. Returns the created directories.
    pub(super) fn make_directories(
        &mut self,
        path: &str,
        node: &Node,
    ) -> Result<Vec<String>, String> {
        let mut made = Vec::new();
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for dir in ends.map(|end| &path[..end]).filter(|dir| !dir.is_empty()) {
            match self.nodes.get(dir) {
                Some(node) if node.is_directory() => {}
                Some(_) => return Err(format!("/{dir} is not a directory")),
                None => {
                    self.put(dir, node.clone());
                    made.push(dir.to_owned());
                }
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(items: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, target) in items {
            let kind = match *target {
                "/dir" => Kind::Directory,
                "" => Kind::File {
                    content: Content::Bytes(Vec::new()),
                    size: 0,
                },
                target => Kind::Symlink {
                    target: target.to_owned(),
                },
            };
            tree.put(
                path,
                Node {
                    kind,
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                },
            );
        }
        tree
    }

    #[test]
    fn links_are_followed_and_never_lead_out() {
        let tree = tree(&[
            ("bin", "usr/bin"),
            ("usr", "/dir"),
            ("usr/bin", "/dir"),
            ("usr/bin/sh", "dash"),
            ("usr/bin/dash", ""),
            ("out", "../../../usr"),
            ("abs", "/usr/bin"),
            ("loop", "loop"),
        ]);
        for (path, last, want) in [
            ("bin/sh", true, "usr/bin/dash"),
            ("bin/sh", false, "usr/bin/sh"),
            ("bin", false, "bin"),
            ("bin/", true, "usr/bin"),
            ("bin/new/deep", true, "usr/bin/new/deep"),
            ("out/bin/dash", true, "usr/bin/dash"),
            ("abs/dash", true, "usr/bin/dash"),
            ("../../etc/passwd", true, "etc/passwd"),
            ("", true, ""),
        ] {
            assert_eq!(tree.resolve(path, last).as_deref(), Ok(want), "{path}");
        }
        assert_eq!(
            tree.resolve("loop/x", true),
            Err("/loop/x leads through too many symbolic links".to_owned())
        );
        assert_eq!(tree.resolve("loop", false).as_deref(), Ok("loop"));
    }

    #[test]
    fn below_is_only_what_is_below() {
        let tree = tree(&[
            ("a", "/dir"),
            ("a.b", ""),
            ("a/b", "/dir"),
            ("a/b/c", ""),
            ("a0", ""),
        ]);
        let names = |path: &str| {
            tree.below(path)
                .map(|(path, _)| path.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a"), ["a/b", "a/b/c"]);
        assert_eq!(names(""), ["a", "a.b", "a/b", "a/b/c", "a0"]);
    }

    #[test]
    fn directories_are_made_where_they_are_missing() {
        let mut tree = tree(&[("a", "/dir"), ("f", "")]);
        let node = Node {
            uid: 7,
            ..Node::directory()
        };
        assert_eq!(
            tree.make_directories("a/b/c", &node).unwrap(),
            ["a/b", "a/b/c"]
        );
        assert_eq!(tree.get("a/b").unwrap().uid, 7);
        assert_eq!(
            tree.make_directories("a/b/c", &node).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(
            tree.make_directories("f/x", &node),
            Err("/f is not a directory".to_owned())
        );
        assert_eq!(
            tree.make_directories("", &node).unwrap(),
            Vec::<String>::new()
        );
    }
}
