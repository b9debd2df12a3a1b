use std::os::unix::fs::MetadataExt;

use tar::Builder;
use tempfile::TempDir;

use super::*;

/// What a test layer holds, in order.
enum Item<'a> {
    Folder(&'a str, u32),
    File(&'a str, &'a str, u32),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Device(&'a str),
}
use Item::{Device, File as Plain, Folder, Hard, Link};

fn layer(items: &[Item<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for item in items {
        let (kind, path, text, mode, target) = match *item {
            Folder(path, mode) => (EntryType::Directory, path, "", mode, ""),
            Plain(path, text, mode) => (EntryType::Regular, path, text, mode, ""),
            Link(path, target) => (EntryType::Symlink, path, "", 0o777, target),
            Hard(path, target) => (EntryType::Link, path, "", 0o644, target),
            Device(path) => (EntryType::Block, path, "", 0o666, ""),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(2345);
        header.set_mtime(1_000_000_000);
        // Written by hand: the library refuses to write the paths that it must refuse to read.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

struct Case {
    base: TempDir,
    tree: Tree,
}

impl Case {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("root")).unwrap();
        let root = base.path().join("root");
        let tree = Tree::new(&root, Limits::on(&root).unwrap()).unwrap();
        Self { base, tree }
    }

    fn with(layers: &[&[Item<'_>]]) -> Self {
        let mut case = Self::new();
        for items in layers {
            case.tree.apply(&mut layer(items).as_slice()).unwrap();
        }
        case
    }

    fn at(&self, path: &str) -> PathBuf {
        self.base.path().join("root").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Everything below the root, in order.
    fn paths(&self) -> Vec<String> {
        fn walk(dir: &Path, base: &Path, paths: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                paths.push(
                    path.strip_prefix(base)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    walk(&path, base, paths);
                }
            }
        }
        let (mut paths, root) = (Vec::new(), self.at(""));
        walk(&root, &root, &mut paths);
        paths.sort();
        paths
    }
}

#[test]
fn files_keep_their_modes_times_and_owners() {
    let case = Case::with(&[&[
        Folder("bin/", 0o711),
        Plain("./bin/su", "text", 0o4755),
        Plain("/absolute", "", 0o600),
        Link("sh", "bin/su"),
        Hard("twin", "bin/su"),
        Device("disk"),
        Plain("deep/er/file", "", 0o644),
    ]]);
    case.tree.root.dir(Path::new("bin")).unwrap();
    let root = nix::unistd::geteuid().is_root();
    let Case { base, tree } = case;
    tree.finish().unwrap();
    let at = |path: &str| fs::symlink_metadata(base.path().join("root").join(path)).unwrap();
    assert_eq!(at("bin").mode() & 0o7777, 0o711);
    assert_eq!(at("bin").mtime(), 1_000_000_000);
    assert_eq!(at("bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(at("bin/su").mtime(), 1_000_000_000);
    assert_eq!(at("absolute").mode() & 0o7777, 0o600);
    assert_eq!(at("twin").ino(), at("bin/su").ino());
    assert!(at("sh").is_symlink());
    assert_eq!(at("deep/er").mode() & 0o7777, 0o755);
    assert!(fs::symlink_metadata(base.path().join("root/disk")).is_err());
    let owner = if root {
        (1234, 2345)
    } else {
        (nix::unistd::geteuid().as_raw(), at("").gid())
    };
    for path in ["bin", "bin/su", "sh"] {
        assert_eq!((at(path).uid(), at(path).gid()), owner, "{path}");
    }
}

#[test]
fn folders_that_forbid_writing_can_be_filled_by_later_layers() {
    let case = Case::with(&[
        &[Folder("closed", 0o555)],
        &[Plain("closed/file", "text", 0o444)],
    ]);
    let Case { base, tree } = case;
    tree.finish().unwrap();
    let closed = base.path().join("root/closed");
    assert_eq!(fs::read_to_string(closed.join("file")).unwrap(), "text");
    assert_eq!(fs::metadata(&closed).unwrap().mode() & 0o777, 0o555);
    fs::set_permissions(closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn whiteouts_remove_what_lower_layers_made() {
    let case = Case::with(&[
        &[
            Plain("a/one", "", 0o644),
            Plain("a/two", "", 0o644),
            Plain("b/c/d", "", 0o644),
        ],
        &[
            Plain("a/.wh.one", "", 0o644),
            Plain(".wh.b", "", 0o644),
            Plain(".wh.missing", "", 0o644),
            Plain("a/.wh..wh.aufs", "", 0o644),
        ],
    ]);
    assert_eq!(case.paths(), ["a", "a/two"]);
}

#[test]
fn a_layers_own_files_survive_its_whiteouts() {
    let lower = [
        Plain("a/old", "", 0o644),
        Plain("a/sub/old", "", 0o644),
        Plain("a/x", "low", 0o644),
    ];
    // In either order.
    for upper in [
        [
            Plain("a/.wh..wh..opq", "", 0),
            Plain("a/new", "", 0o644),
            Plain("a/sub/new", "", 0o644),
        ],
        [
            Plain("a/new", "", 0o644),
            Plain("a/sub/new", "", 0o644),
            Plain("a/.wh..wh..opq", "", 0),
        ],
    ] {
        let case = Case::with(&[&lower, &upper]);
        assert_eq!(case.paths(), ["a", "a/new", "a/sub", "a/sub/new"]);
    }
    let case = Case::with(&[
        &lower,
        &[Plain("a/x", "high", 0o644), Plain("a/.wh.x", "", 0)],
    ]);
    assert_eq!(case.text("a/x"), "high");
}

#[test]
fn a_later_layer_replaces_whatever_is_there() {
    let case = Case::with(&[
        &[
            Plain("file", "old", 0o644),
            Plain("folder/inside", "", 0o644),
            Link("link", "folder"),
            Plain("shared", "old", 0o644),
            Hard("twin", "shared"),
        ],
        &[
            Folder("file", 0o755),
            Plain("folder", "now a file", 0o644),
            Folder("link", 0o755),
            Plain("shared", "new", 0o644),
        ],
    ]);
    assert!(case.at("file").is_dir());
    assert_eq!(case.text("folder"), "now a file");
    assert!(!case.at("link").is_symlink());
    // A hard link is another name of the old file.
    assert_eq!(
        (case.text("shared").as_str(), case.text("twin").as_str()),
        ("new", "old")
    );
}

#[test]
fn links_are_followed_inside_only() {
    let mut case = Case::with(&[&[Folder("usr/lib", 0o755), Link("lib", "/usr/lib")]]);
    let outside = case.base.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    case.tree
        .apply(&mut layer(&[Plain("lib/libc.so", "text", 0o644)]).as_slice())
        .unwrap();
    assert_eq!(case.text("usr/lib/libc.so"), "text");

    let outside_path = outside.to_str().unwrap();
    let up = "../../../../../../../../../..".to_owned() + outside_path;
    for items in [
        vec![Link("out", outside_path), Plain("out/planted", "", 0o644)],
        vec![Link("up", &up), Plain("up/planted", "", 0o644)],
        vec![Plain("../outside/planted", "", 0o644)],
        vec![Plain("lib/../../outside/planted", "", 0o644)],
        vec![Hard("stolen", "../outside/secret")],
        vec![Link("way", outside_path), Hard("stolen", "way/secret")],
        vec![Link("gone", outside_path), Plain("gone/.wh.secret", "", 0)],
        vec![
            Link("none", outside_path),
            Plain("none/.wh..wh..opq", "", 0),
        ],
    ] {
        // Refused or harmless.
        let _ = case.tree.apply(&mut layer(&items).as_slice());
    }
    let left: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["secret"]);
    assert!(fs::symlink_metadata(case.at("stolen")).is_err());
}

/// A zstd frame with the bytes as they are (RFC 8878: magic, descriptor, content size, raw blocks).
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\xa0".to_vec();
    frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    let mut blocks = bytes.chunks(64 << 10).peekable();
    while let Some(block) = blocks.next() {
        let is_last = u32::from(blocks.peek().is_none());
        let size = u32::try_from(block.len()).unwrap();
        frame.extend(&(size << 3 | is_last).to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

#[test]
fn zstd_layers_are_unpacked() {
    let mut case = Case::new();
    let plain = layer(&[Plain("file", "text", 0o640)]);
    // Several frames are one layer.
    let (one, two) = plain.split_at(700);
    let packed = [zstd(one), zstd(two)].concat();
    case.tree.apply(&mut packed.as_slice()).unwrap();
    assert_eq!(case.text("file"), "text");
}

#[test]
fn a_refusal_names_the_entry() {
    let mut case = Case::new();
    let error = case
        .tree
        .apply(&mut layer(&[Plain("../x", "", 0)]).as_slice())
        .unwrap_err();
    assert!(error.to_string().contains("../x"), "{error}");
    let error = case
        .tree
        .apply(&mut b"\x28\xb5\x2f\xfd rest".as_slice())
        .unwrap_err();
    assert!(!error.to_string().is_empty());
    // Neither gzip nor tar.
    let error = case.tree.apply(&mut [b'x'; 1024].as_slice()).unwrap_err();
    assert!(!error.to_string().is_empty());
}

mod limits {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn apply(limits: Limits, layers: &[Vec<u8>]) -> String {
        let base = tempfile::tempdir().unwrap();
        let mut tree = Tree::new(base.path(), limits).unwrap();
        for layer in layers {
            if let Err(error) = tree.apply(&mut layer.as_slice()) {
                return error.to_string();
            }
        }
        "applied".to_owned()
    }

    fn zeros(size: usize) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&layer(&[Plain("zeros", &"\0".repeat(size), 0o644)]))
            .unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn compressed_zeros_end_at_the_limit() {
        let limits = Limits {
            bytes: 4 * MIB,
            entries: 10,
        };
        let bomb = zeros(8 << 20);
        assert!(bomb.len() < 20_000, "{} bytes", bomb.len());
        let limit = "the image unpacks to more than 4 MiB, the limit on this disk";
        assert_eq!(apply(limits, &[bomb]), format!("zeros: {limit}"));
        // All layers count together.
        let layers = vec![zeros(3 << 20); 2];
        assert_eq!(apply(limits, &layers[..1]), "applied");
        assert_eq!(apply(limits, &layers), format!("zeros: {limit}"));
    }

    #[test]
    fn holes_of_sparse_files_count() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_path("sparse").unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(512);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 32);
        let offset = format!("{:011o}", (1_u64 << 32) - 512);
        gnu.sparse[0].offset[..11].copy_from_slice(offset.as_bytes());
        gnu.sparse[0].numbytes[..11].copy_from_slice(b"00000001000");
        header.set_cksum();
        let mut tar = Builder::new(Vec::new());
        tar.append(&header, [1; 512].as_slice()).unwrap();
        let limits = Limits {
            bytes: 4 * MIB,
            entries: 10,
        };
        assert_eq!(
            apply(limits, &[tar.into_inner().unwrap()]),
            "sparse: the image unpacks to more than 4 MiB, the limit on this disk"
        );
    }

    #[test]
    fn entries_are_counted_over_all_layers() {
        let limits = Limits {
            bytes: 4 * MIB,
            entries: 3,
        };
        let two = layer(&[Folder("a", 0o755), Folder("b", 0o755)]);
        assert_eq!(apply(limits, std::slice::from_ref(&two)), "applied");
        assert_eq!(
            apply(limits, &[two.clone(), two]),
            "the image has more than 3 files"
        );
    }
}
