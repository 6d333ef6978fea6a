//! Hands columns out to the threads that encode them, and their results back in order.
//!
//! Invariant: at most `window` columns are claimed and not yet taken, which bounds the memory of finished ones.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};

/// Hands out column indices and collects results, at most `window` ahead of the consumer.
pub(crate) struct ColumnQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    count: usize,
    window: usize,
}

struct State<T> {
    claimed: usize,
    taken: usize,
    done: HashMap<usize, T>,
    stopped: bool,
}

impl<T> ColumnQueue<T> {
    pub(crate) fn new(count: usize, window: usize) -> ColumnQueue<T> {
        let state = State { claimed: 0, taken: 0, done: HashMap::new(), stopped: false };
        ColumnQueue { state: Mutex::new(state), changed: Condvar::new(), count, window }
    }

    /// The next index to work on; waits while the consumer is too far behind; `None` at the end.
    pub(crate) fn claim(&self) -> Option<usize> {
        let mut state = self.state.lock();
        loop {
            if state.stopped || state.claimed == self.count {
                return None;
            }
            if state.claimed < state.taken + self.window {
                state.claimed += 1;
                return Some(state.claimed - 1);
            }
            self.changed.wait(&mut state);
        }
    }

    pub(crate) fn put(&self, index: usize, encoded: T) {
        self.state.lock().done.insert(index, encoded);
        self.changed.notify_all();
    }

    /// Waits for the result of `index`; `None` if the queue was stopped before.
    pub(crate) fn take(&self, index: usize) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(encoded) = state.done.remove(&index) {
                state.taken = index + 1;
                self.changed.notify_all();
                return Some(encoded);
            }
            if state.stopped {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Stops the queue if the thread that holds this panics, so that nobody waits for it.
pub(crate) struct StopOnPanic<'a, T>(pub(crate) &'a ColumnQueue<T>);

impl<T> Drop for StopOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_window_holds() {
        let queue = ColumnQueue::new(3, 2);
        assert_eq!((queue.claim(), queue.claim()), (Some(0), Some(1)));
        queue.put(1, 'b');
        queue.put(0, 'a');
        assert_eq!(queue.take(0), Some('a'));
        assert_eq!(queue.claim(), Some(2));
        assert_eq!((queue.take(1), queue.claim()), (Some('b'), None));
        queue.stop();
        assert_eq!(queue.take(2), None);
    }
}
