//! A thread that calls a function periodically until it is stopped.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Stops its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `tick` every `pause`, the first time after one pause.
    pub(crate) fn start(pause: Duration, tick: impl Fn() + Send + 'static) -> Self {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::spawn({
            let shared = Arc::clone(&ended);
            move || {
                let (ended, wake) = &*shared;
                let mut over = ended.lock().unwrap_or_else(PoisonError::into_inner);
                while !*over {
                    let (guard, waited) = wake
                        .wait_timeout(over, pause)
                        .unwrap_or_else(PoisonError::into_inner);
                    over = guard;
                    if waited.timed_out() && !*over {
                        tick();
                    }
                }
            }
        });
        Self {
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (ended, wake) = &*self.ended;
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_ticks_until_it_is_dropped() {
        let (reported, ticks) = mpsc::channel();
        let ticker = Ticker::start(Duration::from_millis(1), move || {
            let _ = reported.send(());
        });
        for _ in 0..3 {
            ticks.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        drop(ticker);
        // The thread held the sender: a closed channel means that it has ended.
        while ticks.try_recv().is_ok() {}
        assert_eq!(ticks.recv(), Err(mpsc::RecvError));
    }
}
