//! Ctrl-C and SIGTERM: the first takes the run back, the second leaves it as it is.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::terminal;
use crate::gateway::Cancel;

/// Signals that follow the first one so closely are the same wish.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Watches both signals, and the deadline of the whole run, until the task is dropped.
pub fn watch(cancel: Cancel, timeout: Option<Duration>) -> tokio::task::JoinHandle<()> {
    // From here on, and not from when the task first runs: a signal in between would kill.
    let watched = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = watched else {
            terminal::say("warning: signals cannot be watched; stop this run with `deployer abort`");
            return;
        };
        let deadline = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let reason = tokio::select! {
            _ = interrupt.recv() => "interrupted",
            _ = terminate.recv() => "terminated",
            () = &mut deadline => "out of time",
        };
        // Said first, so that it stands above what it brings about.
        terminal::say(format!("{reason}: taking back what was done; once more leaves it as it is"));
        cancel.forward.cancel();
        // Wrappers pass a signal on that the terminal has sent already: two at once are one.
        let settled = tokio::time::sleep(SAME_SIGNAL);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => break,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.everything.cancel();
        terminal::say("stopping at once; take it back later with `deployer abort`");
    })
}
