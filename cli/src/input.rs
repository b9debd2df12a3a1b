//! Standard input, read on a separate thread: a blocking read of it cannot be cancelled.

use std::io::Read;

use tokio::sync::mpsc;

/// The maximum number of bytes in one read.
const CHUNK: usize = 32 * 1024;

/// The input, chunk by chunk, until its end. The thread ends with the program.
pub(crate) fn chunks() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
