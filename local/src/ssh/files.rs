//! An SFTP server. It runs inside an instance as the instance's user, with that user's permissions.
//!
//! It is version 3 of the protocol, which OpenSSH speaks: <https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use russh_sftp::protocol::{
    Attrs, Data, File as Entry, FileAttributes, Handle, Name, OpenFlags, Packet, Status,
    StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// The maximum number of directory entries per answer.
const ENTRIES: usize = 100;

/// The maximum size of a read, in bytes.
const LONGEST: u32 = 256 * 1024;

/// Serves over standard input and output until the end; returns an exit code.
pub(crate) fn serve() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            landfall_kernel::log(format_args!("serve files: {error}"));
            1
        }
    }
}

fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (over, ended) = oneshot::channel::<()>();
        let files = Files {
            open: BTreeMap::new(),
            next: 0,
            _over: over,
        };
        let input = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
        let output = pipe::Sender::from_owned_fd(io::stdout().as_fd().try_clone_to_owned()?)?;
        russh_sftp::server::run(tokio::io::join(input, output), files).await;
        // The library drops the server when the client disconnects.
        drop(ended.await);
        Ok(())
    })
}

/// The open files and directories of a client.
enum Open {
    File(File),
    Directory(Vec<Entry>),
}

struct Files {
    open: BTreeMap<u64, Open>,
    next: u64,
    _over: oneshot::Sender<()>,
}

/// The error of an operation.
struct Refused(StatusCode, Option<String>);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => StatusCode::NoSuchFile,
            io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
            io::ErrorKind::UnexpectedEof => StatusCode::Eof,
            _ => StatusCode::Failure,
        };
        Self(code, Some(error.to_string()))
    }
}

impl From<Refused> for StatusReply {
    fn from(Refused(code, text): Refused) -> Self {
        let reply = StatusReply::from(code);
        match text {
            Some(text) => reply.with_message(text),
            None => reply,
        }
    }
}

type Done<T> = Result<T, Refused>;

impl Files {
    fn keep(&mut self, id: u32, open: Open) -> Handle {
        self.next += 1;
        self.open.insert(self.next, open);
        Handle {
            id,
            handle: self.next.to_string(),
        }
    }

    fn file(&self, handle: &str) -> Done<&File> {
        let number = handle.parse::<u64>().ok();
        match number.and_then(|number| self.open.get(&number)) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(Refused(StatusCode::Failure, None)),
        }
    }
}

fn done(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "Ok".to_owned(),
        language_tag: "en-US".to_owned(),
    }
}

fn attributes(found: &Metadata) -> FileAttributes {
    let seconds = |time: i64| u32::try_from(time).unwrap_or(0);
    FileAttributes {
        size: Some(found.len()),
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        permissions: Some(found.mode()),
        atime: Some(seconds(found.atime())),
        mtime: Some(seconds(found.mtime())),
        ..FileAttributes::empty()
    }
}

/// An entry in the format of `ls -l`, which some clients show.
fn entry(name: String, found: Option<&Metadata>) -> Entry {
    match found {
        Some(found) => Entry::new(name, attributes(found)),
        None => Entry::new(name, FileAttributes::empty()),
    }
}

fn text(path: &Path) -> Done<String> {
    String::from_utf8(path.as_os_str().as_bytes().to_vec()).map_err(|_| {
        Refused(
            StatusCode::Failure,
            Some("a name that is no UTF-8".to_owned()),
        )
    })
}

/// Sets the attributes of an open file.
fn set(file: &File, wanted: &FileAttributes) -> Done<()> {
    if let Some(size) = wanted.size {
        file.set_len(size)?;
    }
    if let Some(mode) = wanted.permissions {
        file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    }
    if let (Some(read), Some(written)) = (wanted.atime, wanted.mtime) {
        let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
        let times = fs::FileTimes::new()
            .set_accessed(at(read))
            .set_modified(at(written));
        file.set_times(times)?;
    }
    if let (Some(uid), Some(gid)) = (wanted.uid, wanted.gid) {
        std::os::unix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// A path without `.` and `..`. Relative paths start at the working directory of the service.
fn whole(path: &str) -> Done<PathBuf> {
    let here = std::env::current_dir()?;
    let path = here.join(path);
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    // A file that will be created does not exist yet.
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => Ok(parent.join(name)),
        _ => Ok(path),
    }
}

impl Handler for Files {
    type Error = Refused;

    fn unimplemented(&self) -> Refused {
        Refused(StatusCode::OpUnsupported, None)
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Done<Version> {
        Ok(Version::new())
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        flags: OpenFlags,
        wanted: FileAttributes,
    ) -> Done<Handle> {
        let file = OpenOptions::new()
            .read(flags.contains(OpenFlags::READ))
            .write(flags.contains(OpenFlags::WRITE) && !flags.contains(OpenFlags::APPEND))
            .append(flags.contains(OpenFlags::APPEND))
            .create(flags.contains(OpenFlags::CREATE))
            .create_new(flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUDE))
            .truncate(flags.contains(OpenFlags::TRUNCATE) && !flags.contains(OpenFlags::APPEND))
            .mode(wanted.permissions.unwrap_or(0o666) & 0o7777)
            .open(&filename)?;
        Ok(self.keep(id, Open::File(file)))
    }

    async fn close(&mut self, id: u32, handle: String) -> Done<Status> {
        let number = handle.parse().unwrap_or(0);
        match self.open.remove(&number) {
            Some(_) => Ok(done(id)),
            None => Err(Refused(StatusCode::Failure, None)),
        }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Done<Data> {
        let mut data = vec![0; length.min(LONGEST) as usize];
        let read = self.file(&handle)?.read_at(&mut data, offset)?;
        if read == 0 && length > 0 {
            return Err(Refused(StatusCode::Eof, None));
        }
        data.truncate(read);
        Ok(Data { id, data })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Done<Status> {
        self.file(&handle)?.write_all_at(&data, offset)?;
        Ok(done(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Done<Attrs> {
        let attrs = attributes(&fs::symlink_metadata(path)?);
        Ok(Attrs { id, attrs })
    }

    async fn stat(&mut self, id: u32, path: String) -> Done<Attrs> {
        let attrs = attributes(&fs::metadata(path)?);
        Ok(Attrs { id, attrs })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Done<Attrs> {
        let attrs = attributes(&self.file(&handle)?.metadata()?);
        Ok(Attrs { id, attrs })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Done<Status> {
        let mut options = OpenOptions::new();
        options
            .read(attrs.size.is_none())
            .write(attrs.size.is_some());
        set(&options.open(path)?, &attrs)?;
        Ok(done(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Done<Status> {
        set(self.file(&handle)?, &attrs)?;
        Ok(done(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Done<Handle> {
        let mut entries = Vec::new();
        for name in [".", ".."] {
            let found = fs::symlink_metadata(Path::new(&path).join(name)).ok();
            entries.push(entry(name.to_owned(), found.as_ref()));
        }
        for found in fs::read_dir(&path)? {
            let found = found?;
            let metadata = found.metadata().ok();
            // The protocol uses bytes, and the library text: other names cannot be sent.
            if let Ok(name) = text(Path::new(&found.file_name())) {
                entries.push(entry(name, metadata.as_ref()));
            }
        }
        // Entries are taken from the end.
        entries.reverse();
        Ok(self.keep(id, Open::Directory(entries)))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Done<Name> {
        let number = handle.parse::<u64>().unwrap_or(0);
        let Some(Open::Directory(entries)) = self.open.get_mut(&number) else {
            return Err(Refused(StatusCode::Failure, None));
        };
        if entries.is_empty() {
            return Err(Refused(StatusCode::Eof, None));
        }
        let rest = entries.len().saturating_sub(ENTRIES);
        let files = entries.drain(rest..).rev().collect();
        Ok(Name { id, files })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Done<Status> {
        fs::remove_file(filename)?;
        Ok(done(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Done<Status> {
        fs::DirBuilder::new()
            .mode(attrs.permissions.unwrap_or(0o777) & 0o7777)
            .create(path)?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Done<Status> {
        fs::remove_dir(path)?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Done<Name> {
        let path = text(&whole(&path)?)?;
        Ok(Name {
            id,
            files: vec![Entry::dummy(path)],
        })
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Done<Status> {
        // The protocol forbids a rename to an existing file.
        if fs::symlink_metadata(&newpath).is_ok() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        fs::rename(oldpath, newpath)?;
        Ok(done(id))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Done<Name> {
        let target = text(&fs::read_link(path)?)?;
        Ok(Name {
            id,
            files: vec![Entry::dummy(target)],
        })
    }

    async fn symlink(&mut self, id: u32, target: String, link: String) -> Done<Status> {
        // OpenSSH's order of arguments, which differs from the draft; sftp-server(8) keeps it for its clients.
        symlink(target, link)?;
        Ok(done(id))
    }

    async fn extended(&mut self, _: u32, _: String, _: Vec<u8>) -> Done<Packet> {
        Err(self.unimplemented())
    }
}
