//! Groups on folders that look like the kernel's, and on the kernel's where it lets root make them.

use super::*;

/// A folder that looks like a mounted tree of groups.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A group with these files, all of them empty.
    fn group(&self, path: &str, files: &[&str]) {
        fs::create_dir_all(self.path(path)).unwrap();
        for file in files {
            fs::write(self.path(path).join(file), "").unwrap();
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    /// As the kernel lists its mount.
    fn mount(&self, kind: &str, root: &str, place: &str, options: &str) -> String {
        let place = self.path(place);
        format!(
            "33 24 0:29 {root} {} rw,nosuid shared:9 - {kind} {kind} rw,{options}\n",
            place.display()
        )
    }
}

const LIMITS: GroupLimits = GroupLimits {
    memory: 1 << 30,
    processes: 100,
    cpu: Some(1500),
};

const FILES: &[&str] = &[
    "cgroup.procs",
    "cgroup.subtree_control",
    "cpu.max",
    "memory.max",
    "memory.oom.group",
    "memory.swap.max",
    "pids.max",
];

#[test]
fn version_2_below_a_delegated_group() {
    let tree = Tree::new();
    // Where this process is, controllers cannot be enabled; one above, systemd has delegated.
    tree.group("user/app", &["cgroup.subtree_control"]);
    tree.group("user/app/shell.scope", &[]);
    tree.group("user/app/landfall-x", FILES);
    tree.group("user/app/landfall-x/i-1", FILES);
    let mounts = tree.mount("cgroup2", "/", "", "nsdelegate");
    let groups = Groups::find(&mounts, "0::/user/app/shell.scope\n", "x");
    assert_eq!(groups.folders.len(), 3, "{groups:?}");
    assert!(!tree.path("user/app/shell.scope/landfall-x").exists());

    let group = groups.create("i-1", &LIMITS).unwrap();
    group.add_process(4711).unwrap();
    for (file, text) in [
        ("memory.max", "1073741824"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("pids.max", "100"),
        ("cpu.max", "150000 100000"),
        ("cgroup.procs", "4711"),
    ] {
        assert_eq!(tree.read(&format!("user/app/landfall-x/i-1/{file}")), text);
    }
    let at = |file: &str| format!("user/app/landfall-x/i-1/{file}");
    tree.write(
        &at("memory.stat"),
        "anon 1000\nfile 5000\nshmem 24\nanon_thp 7\n",
    );
    tree.write(
        &at("memory.events"),
        "low 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 1\n",
    );
    tree.write(&at("pids.current"), "17\n");
    tree.write(&at("pids.events"), "max 3\n");
    assert_eq!(group.memory(), Some(1024));
    assert_eq!(group.oom_kills(), 2);
    assert_eq!(group.processes(), Some(17));
    assert_eq!(group.refused_processes(), 3);
}

#[test]
fn version_2_without_delegation() {
    let tree = Tree::new();
    // Folders without the files of controllers, in none of which one can be enabled.
    tree.group("system/ssh/session.scope", &[]);
    let mounts = tree.mount("cgroup2", "/", "", "nsdelegate");
    let groups = Groups::find(&mounts, "0::/system/ssh/session.scope\n", "x");
    assert!(groups.folders.is_empty(), "{groups:?}");
    assert!(!tree.path("landfall-x").exists());
    assert!(!tree.path("system/landfall-x").exists());
    // There is nothing to limit, and nothing to fail of.
    let group = groups.create("i-1", &LIMITS).unwrap();
    assert!(!group.has(Controller::Memory));
    group.add_process(4711).unwrap();
    assert_eq!((group.memory(), group.processes()), (None, None));
}

#[test]
fn version_1_has_a_tree_for_each_controller() {
    let tree = Tree::new();
    let files = [
        "cgroup.procs",
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
    ];
    tree.group("memory/box/landfall-x", &files);
    tree.group("memory/box/landfall-x/i-1", &files);
    tree.group("pids/landfall-x", &["cgroup.procs"]);
    tree.group("pids/landfall-x/i-1", &["cgroup.procs", "pids.max"]);
    // A container sees its part of the tree only.
    let mounts = [
        tree.mount("cgroup", "/", "memory", "memory"),
        tree.mount("cgroup", "/docker/1", "pids", "cpuset,pids"),
    ]
    .concat();
    let own = "9:name=systemd:/\n4:memory:/box\n3:cpuset,pids:/docker/1\n0::/\n";
    let groups = Groups::find(&mounts, own, "x");
    let group = groups.create("i-1", &LIMITS).unwrap();
    assert!(group.has(Controller::Memory) && group.has(Controller::Pids));
    assert!(!group.has(Controller::Cpu));
    let memory = |file: &str| tree.read(&format!("memory/box/landfall-x/i-1/{file}"));
    assert_eq!(memory("memory.limit_in_bytes"), "1073741824");
    assert_eq!(memory("memory.memsw.limit_in_bytes"), "1073741824");
    tree.write(
        "memory/box/landfall-x/i-1/memory.stat",
        "rss 1\nshmem 1\ntotal_rss 4096\ntotal_rss_huge 0\ntotal_shmem 100\n",
    );
    assert_eq!(group.memory(), Some(4196));
}

#[test]
fn what_killed_clouds_left_is_swept() {
    let tree = Tree::new();
    tree.group("pids/landfall-old/i-1", &[]);
    tree.group("pids/landfall-old/i-2", &[]);
    tree.group("pids/another/i-1", &[]);
    // The kernel keeps a group that has processes; a folder that is not empty stays in the same way.
    tree.group("pids/landfall-live/i-1", &["cgroup.procs"]);
    tree.group("pids/landfall-x", &["cgroup.procs"]);
    let mounts = tree.mount("cgroup", "/", "pids", "pids");
    let groups = Groups::find(&mounts, "2:pids:/\n", "x");
    assert!(!tree.path("pids/landfall-old").exists());
    assert!(tree.path("pids/landfall-live/i-1").exists());
    assert!(tree.path("pids/another/i-1").exists());
    // The cloud's own group goes with it, and comes back for an instance if somebody took it away.
    fs::remove_file(tree.path("pids/landfall-x/cgroup.procs")).unwrap();
    groups.remove();
    assert!(!tree.path("pids/landfall-x").exists());
}
