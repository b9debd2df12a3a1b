//! A web service for deployments in tests: a build context with a static program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("../service/main.rs");

/// Compiles the service, once for each `cache` directory, and returns the program's path.
///
/// Its environment controls its behaviour; see `testkit/service/main.rs`.
///
/// # Errors
/// When rustc is missing or cannot link statically; the text is rustc's output.
pub fn program(cache: &Path) -> io::Result<PathBuf> {
    let program = cache.join("landfall-test-service");
    let stamp = cache.join("landfall-test-service.rs");
    if program.exists() && std::fs::read_to_string(&stamp).is_ok_and(|source| source == SOURCE) {
        return Ok(program);
    }
    std::fs::create_dir_all(cache)?;
    // Tests run concurrently, so no test may see an incomplete program.
    let mine = tempfile::tempdir_in(cache)?;
    let source = mine.path().join("main.rs");
    std::fs::write(&source, SOURCE)?;
    let built = mine.path().join("service");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition=2024",
            "-Copt-level=1",
            "-Ctarget-feature=+crt-static",
            "-Cstrip=symbols",
            "-o",
        ])
        .args([&built, &source])
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    std::fs::rename(&built, &program)?;
    std::fs::rename(&source, &stamp)?;
    Ok(program)
}

/// Fills `dir` with a build context for the service: the program and a Dockerfile without `RUN`.
///
/// # Errors
/// As [`program`], or when `dir` cannot be written to.
pub fn context(dir: &Path, cache: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::copy(program(cache)?, dir.join("service"))?;
    std::fs::write(
        dir.join("Dockerfile"),
        "FROM scratch\nCOPY service /service\nUSER 10001\nENTRYPOINT [\"/service\"]\n",
    )
}
