//! A Java server, which all tests of its store share that run at the same time.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, MutexGuard};

/// Each has half a gigabyte: one at a time.
static JAVA: Mutex<()> = Mutex::const_new(());

/// Where the tests of a store find its server.
pub(crate) struct Shared<S>(Mutex<Weak<Running<S>>>);

/// A server that runs until the last of its tests has ended.
pub(crate) struct Running<S> {
    // Before its place is free it has to have stopped.
    server: S,
    _alone: MutexGuard<'static, ()>,
}

impl<S> Shared<S> {
    pub(crate) const fn new() -> Shared<S> {
        Shared(Mutex::const_new(Weak::new()))
    }

    /// The server that runs, or one that is started.
    pub(crate) async fn server(&self, start: impl FnOnce() -> S) -> Arc<Running<S>> {
        let mut known = self.0.lock().await;
        if let Some(running) = known.upgrade() {
            return running;
        }
        let alone = JAVA.lock().await;
        let running = Arc::new(Running { server: start(), _alone: alone });
        *known = Arc::downgrade(&running);
        running
    }
}

impl<S> Deref for Running<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.server
    }
}
