//! Standard input, read on a thread of its own: a read of it cannot be given up.

use std::io::Read;

use tokio::sync::mpsc;

/// The most bytes that are read at once.
const CHUNK: usize = 32 * 1024;

/// What comes in, chunk by chunk, until the end. The thread ends with the program.
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
