//! Ctrl-C and SIGTERM: the first signal rolls the run back, the second stops at once and leaves it unfinished.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::terminal;
use crate::base::duration_text::DurationText;
use crate::gateway::Cancel;

/// Signals that follow the first one within this time count as the same one.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Watches both signals and the time limit of the run until the task is aborted.
pub fn watch(cancel: Cancel, timeout: Option<Duration>) -> tokio::task::JoinHandle<()> {
    // Registered here and not in the task: a signal before the task first runs would kill the process.
    let watched = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = watched else {
            terminal::say(
                "warning: signals cannot be watched; if you kill this process, use `deployer abort` afterwards",
            );
            return;
        };
        let deadline = async {
            match timeout {
                Some(timeout) => {
                    tokio::time::sleep(timeout).await;
                    DurationText(timeout)
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let (reason, cause) = tokio::select! {
            _ = interrupt.recv() => ("interrupted", "the run was cancelled by Ctrl-C (SIGINT)".to_owned()),
            _ = terminate.recv() => ("terminated", "the run was cancelled by SIGTERM".to_owned()),
            limit = &mut deadline => {
                ("time limit reached", format!("the run was cancelled at its time limit: --timeout {limit}"))
            }
        };
        // Printed before the cancellation, so that it appears above the rollback.
        terminal::say(format!("{reason}: rolling back; signal again to stop at once and leave the run unfinished"));
        cancel.forward_because(&cause);
        // A wrapper may forward a signal that the terminal has already sent to this process.
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
        terminal::say("stopping at once; roll back later with `deployer abort`");
    })
}
