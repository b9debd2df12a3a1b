//! Open files that processes send each other over Unix sockets.
#![expect(
    unsafe_code,
    reason = "file descriptors are numbers here: received ones get an owner, ranges are closed"
)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// The maximum number of files in one message.
const MAX_FDS: usize = 4;

/// A pair of connected sockets that keep message boundaries, closed on exec.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends one message, with copies of the open files `fds` (at most `MAX_FDS`).
pub fn send(socket: BorrowedFd<'_>, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let sent = retry(|| {
        sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(text)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
    })?;
    if sent == text.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Receives up to `buffer.len()` bytes and the files of the message, closed on exec. Zero bytes mean that the other
/// side has closed the socket.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = retry(|| {
        recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        // Only plain values leave the closure: the message borrows the buffers.
        .and_then(|message| {
            let mut raw = Vec::new();
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    raw.extend(fds);
                }
            }
            Ok((message.bytes, raw))
        })
    });
    let (bytes, raw) = message?;
    let fds = raw
        .into_iter()
        // SAFETY: the kernel has just put these descriptors into this process for the receiver of
        // this message, so nobody else owns them.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect();
    Ok((bytes, fds))
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Closes every open file except standard input, output and error, so that a background process does not keep files
/// that its caller did not mark.
///
/// Only for the start of a process, before it owns any file.
pub fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The listing's own descriptor is already closed.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Closes every open file except standard input, output and error and those of `kept`.
///
/// Only for a process that is about to execute another program: the owners of these files must not use them again.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().chain([u32::MAX]) {
        if first < end {
            // SAFETY: no memory is passed. By this function's contract nobody uses the files any more.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
            Errno::result(result)?;
        }
        first = first.max(end.saturating_add(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_open_file_arrives_with_its_message() {
        let (ours, theirs) = message_pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(ours.as_fd(), b"here", &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 16];
        let (length, fds) = receive(theirs.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"here");
        let [fd] = <[OwnedFd; 1]>::try_from(fds).unwrap();
        std::io::Write::write_all(&mut std::fs::File::from(fd), b"through").unwrap();
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_closed_socket_reads_as_nothing() {
        let (ours, theirs) = message_pair().unwrap();
        drop(ours);
        let (length, fds) = receive(theirs.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!((length, fds.len()), (0, 0));
    }
}
