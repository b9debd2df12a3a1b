//! Reads a file that a user names, with a limit on its size and on the time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The time limit for reading a file. A pipe blocks until its writer sends something; a file of the
/// kernel (`/proc/kmsg`) or of an unreachable file server blocks too, and is a regular file.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads a file as UTF-8 text. A pipe, such as `<(command)` in a shell, is read like a file. Reading
/// takes one second at most.
///
/// # Errors
/// When it is neither a file nor a pipe, has more than `most` bytes, is not UTF-8 text, does not end in
/// time, or the system refuses.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let (send, receive) = mpsc::channel();
    let (reading, is_piped) = (path.to_owned(), Arc::<AtomicBool>::default());
    let piped = Arc::clone(&is_piped);
    // In a separate thread: inspecting, opening and reading it may each block for ever.
    std::thread::spawn(move || {
        // The receiver may have stopped waiting.
        let _ = send.send(read(&reading, most, &piped));
    });
    let bytes = receive.recv_timeout(READ_TIMEOUT).unwrap_or_else(|_| {
        let within = READ_TIMEOUT.as_secs();
        let text = match is_piped.load(Ordering::Relaxed) {
            true => format!("it is a pipe, and its writer has not ended within {within} s"),
            false => format!("reading it has not ended within {within} s"),
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn read(path: &Path, most: u64, piped: &AtomicBool) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory, not a file",
        ));
    }
    piped.store(is_pipe(kind), Ordering::Relaxed);
    if !kind.is_file() && !is_pipe(kind) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a device or a socket, not a file",
        ));
    }
    bounded(File::open(path)?, most)
}

fn bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let too_large = |size: Option<u64>| {
        let (most, unit) = match most {
            most if most < 1 << 20 => (most >> 10, "KiB"),
            most => (most >> 20, "MiB"),
        };
        let has = size.map_or_else(String::new, |size| format!("it has {size} bytes, "));
        let text = format!("{has}and at most {most} {unit} are read");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > most {
        return Err(too_large(Some(metadata.len())));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_large(None)),
        false => Ok(bytes),
    }
}

#[cfg(unix)]
fn is_pipe(kind: std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: std::fs::FileType) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_up_to_the_bound_is_read() {
        let dir = std::env::temp_dir().join(format!("landfall-text-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("file");
        std::fs::write(&file, "x".repeat(2048)).unwrap();
        assert_eq!(read_text(&file, 2048).unwrap().len(), 2048);
        let error = read_text(&file, 2047).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            error.to_string(),
            "it has 2048 bytes, and at most 1 KiB are read"
        );
        std::fs::write(&file, [0xff]).unwrap();
        let kind = |path: &Path| read_text(path, 9).unwrap_err().kind();
        assert_eq!(kind(&file), io::ErrorKind::InvalidData);
        assert_eq!(kind(&dir), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&dir.join("none")), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// A regular file whose reading waits: the log of the kernel for root, for others a pipe in a folder of links.
    #[cfg(target_os = "linux")]
    #[test]
    fn files_that_block_are_given_up() {
        let (ours, _writer) = io::pipe().unwrap();
        let ours = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&ours));
        for path in ["/proc/kmsg", &ours] {
            let began = std::time::Instant::now();
            let error = read_text(Path::new(path), 1 << 20).unwrap_err();
            assert!(began.elapsed() < 2 * READ_TIMEOUT, "{path}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused() {
        let error = read_text(Path::new("/dev/zero"), 9).unwrap_err();
        assert_eq!(error.to_string(), "it is a device or a socket, not a file");
    }
}
