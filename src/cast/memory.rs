//! The budget of retained bytes, shared by all casts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much the logs of all casts may hold together. New streams are refused above `bytes_max`; what runs may go
/// one eighth further, and is ended beyond that.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
    running: AtomicUsize,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: AtomicUsize::new(0), running: AtomicUsize::new(0) })
    }

    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether new work can be taken.
    pub fn has_room(&self) -> bool {
        self.held() < self.bytes_max
    }

    /// Whether the budget and its reserve are used up.
    pub fn is_exhausted(&self) -> bool {
        self.held() > self.bytes_max + self.bytes_max / 8
    }

    /// How many casts have not ended.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// The share of a new cast, which holds nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        self.running.fetch_add(1, Ordering::Relaxed);
        Share { budget: self.clone(), held: 0, running: true }
    }
}

/// What one cast holds of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    held: usize,
    running: bool,
}

impl Share {
    /// Holds exactly `bytes` from now on.
    pub fn hold(&mut self, bytes: usize) {
        // Every read of every viewer comes by here, and nearly none changes anything.
        match bytes.cmp(&self.held) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => self.budget.held.fetch_add(bytes - self.held, Ordering::Relaxed),
            std::cmp::Ordering::Less => self.budget.held.fetch_sub(self.held - bytes, Ordering::Relaxed),
        };
        self.held = bytes;
    }

    /// Notes that the cast has ended.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.running) {
            self.budget.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether the budget and its reserve are used up.
    pub fn is_exhausted(&self) -> bool {
        self.budget.is_exhausted()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.finish();
        self.hold(0);
    }
}
