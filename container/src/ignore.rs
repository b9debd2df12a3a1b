//! `.dockerignore`: the files excluded from a build context, by Docker's rules.
//!
//! The rules are those of the Dockerfile reference ("`.dockerignore` file") and, where it is
//! silent, of the matcher in Docker and `BuildKit`: a line is a path or a pattern; it matches the
//! path itself and everything below it; `!` includes a path again; the last matching line decides;
//! `#` starts a comment in the first column only; `**` crosses directories. If
//! `Dockerfile.dockerignore`, named after the Dockerfile and beside it, exists, it replaces the
//! context's `.dockerignore`.

use std::path::{Path, PathBuf};

use landfall_provider::read_text;

use crate::glob::{Dialect, Glob};
use crate::{Error, Result};

/// The maximum size of an ignore file, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The parsed lines of an ignore file.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    glob: Glob,
    /// The line starts with `!`: it includes matching paths.
    keep: bool,
}

/// The rules that match a directory; passed to [`Ignore::check`] for the paths below it.
#[derive(Clone, Debug, Default)]
pub struct Covered(Vec<bool>);

impl Ignore {
    /// The ignore file for `dockerfile` in `context`: the file named after the Dockerfile if it
    /// exists, otherwise the context's `.dockerignore`, if it exists.
    #[must_use]
    pub fn find(context: &Path, dockerfile: &Path) -> Option<PathBuf> {
        let mut beside = dockerfile.as_os_str().to_owned();
        beside.push(".dockerignore");
        [PathBuf::from(beside), context.join(".dockerignore")]
            .into_iter()
            .find(|path| path.exists())
    }

    /// Reads and parses `file`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or one of its lines is not a pattern.
    pub fn read(file: &Path) -> Result<Self> {
        let text = read_text(file, MOST_BYTES).map_err(Error::io("read", file))?;
        Self::parse(&text).map_err(|(line, problem)| Error::Ignore {
            file: file.to_owned(),
            line,
            problem,
        })
    }

    /// Parses the text of an ignore file.
    ///
    /// # Errors
    ///
    /// The number of the invalid line, counted from 1, and its fault.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // A `#` outside the first column is part of a pattern.
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (keep, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let at_line =
                |problem: String| (index + 1, format!("\"{line}\" is not a pattern: {problem}"));
            if pattern.is_empty() {
                return Err(at_line("there is nothing after the !".to_owned()));
            }
            let cleaned = clean(pattern);
            let relative = if cleaned.len() > 1 {
                cleaned.strip_prefix('/').unwrap_or(&cleaned)
            } else {
                &cleaned
            };
            rules.push(Rule {
                glob: Glob::parse(relative, Dialect::Ignore).map_err(at_line)?,
                keep,
            });
        }
        Ok(Self { rules })
    }

    /// The patterns of `--exclude`, each written as a line of an ignore file.
    pub(crate) fn of_patterns(patterns: &[String]) -> Result<Self, String> {
        Self::parse(&patterns.join("\n")).map_err(|(_, problem)| problem)
    }

    /// Whether `path` is excluded, given the rules that match its directory; also returns the rules
    /// that match `path`, for the paths below it. `path` is relative to the context, with `/` as
    /// the separator.
    #[must_use]
    pub fn check(&self, path: &str, parent: &Covered) -> (bool, Covered) {
        self.check_from(false, path, parent)
    }

    /// [`Ignore::check`] for a path that is already excluded if `excluded`, unless a line includes
    /// it again.
    #[must_use]
    pub(crate) fn check_from(
        &self,
        mut excluded: bool,
        path: &str,
        parent: &Covered,
    ) -> (bool, Covered) {
        let mut covered = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let covers = parent.0.get(index).copied().unwrap_or(false) || rule.glob.matches(path);
            covered.push(covers);
            if covers {
                excluded = !rule.keep;
            }
        }
        (excluded, Covered(covered))
    }

    /// Whether `path` is excluded. For single queries; a traversal uses [`Ignore::check`].
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let mut covered = Covered::default();
        let mut excluded = false;
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (excluded, covered) = self.check(&path[..end], &covered);
        }
        excluded
    }

    /// Whether an excluded directory may contain a path that a `!` line includes.
    #[must_use]
    pub fn keeps_below(&self, dir: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.keep && rule.glob.may_match_below(dir))
    }
}

/// A path without `.`, `..`, empty parts and a trailing `/`, like Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_follows_dockers_rules() {
        // (ignore file, path, excluded)
        let table: &[(&str, &str, bool)] = &[
            ("", "a", false),
            ("a", "a", true),
            ("a", "a/b/c", true),
            ("a", "b/a", false),
            ("/a", "a", true),
            ("a/", "a", true),
            ("./a", "a", true),
            ("b/../a", "a", true),
            ("  a  ", "a", true),
            ("# a", "a", false),
            ("#a", "#a", false),
            (" #a", "#a", true),
            ("a\r\nb", "b", true),
            ("\u{feff}a", "a", true),
            // One star does not cross directories.
            ("*.log", "x.log", true),
            ("*.log", "d/x.log", false),
            ("*/*.log", "d/x.log", true),
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("*", "a/b", true),
            // Two stars cross any number of directories, also none.
            ("**/x.log", "x.log", true),
            ("**/x.log", "a/b/x.log", true),
            ("**/x.log", "a/b/yx.log", false),
            ("**/*.go", "main.go", true),
            ("**/*.go", "a/b/main.go", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "anything/at/all", true),
            ("**/", "anything", true),
            ("a/**/b/**/c", "a/x/b/y/z/c", true),
            ("a/**/b/**/c", "a/x/y/z/c", false),
            ("**suffix", "some/presuffix", true),
            ("abc**", "abcdef/ghi", true),
            ("**/.git", "sub/module/.git/config", true),
            // Inclusion; the last line decides.
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "OTHER.md", true),
            (
                "*.md\n!README*.md\nREADME-secret.md",
                "README-secret.md",
                true,
            ),
            (
                "*.md\nREADME-secret.md\n!README*.md",
                "README-secret.md",
                false,
            ),
            ("*\n!src", "src/lib.rs", false),
            ("*\n!src\nsrc/gen", "src/gen/a.rs", true),
            ("*\n! src", "src/lib.rs", false),
            ("*\n!/src/", "src/lib.rs", false),
            ("target\n!target/release/app", "target/release/app", false),
            ("target\n!target/release/app", "target/release/app.d", true),
            ("**\n!**/*.rs", "a/b/c.rs", false),
            ("!a", "a", false),
            // Classes and escapes.
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a.b", "axb", false),
            ("a+(b)", "a+(b)", true),
            // A pattern that cannot match any path in the context.
            ("..", "a", false),
            ("../a", "a", false),
            (".", "a", false),
            ("/", "a", false),
        ];
        for (text, path, want) in table {
            assert_eq!(
                Ignore::parse(text).unwrap().excludes(path),
                *want,
                "{text:?} on {path}"
            );
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        assert_eq!(
            Ignore::parse("ok\n\n!\n").unwrap_err(),
            (
                3,
                "\"!\" is not a pattern: there is nothing after the !".to_owned()
            )
        );
        assert_eq!(
            Ignore::parse("a[\n").unwrap_err(),
            (
                1,
                "\"a[\" is not a pattern: a [ has no matching ]".to_owned()
            )
        );
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, want) in [
            ("a//b/./c/", "a/b/c"),
            ("../a/../b", "../b"),
            ("/../a", "/a"),
            ("/", "/"),
            ("", "."),
            ("a/..", "."),
            ("../..", "../.."),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }
}
