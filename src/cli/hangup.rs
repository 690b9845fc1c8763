//! Ends the process when its terminal is closed, even if SIGHUP is ignored: otherwise the line editor would read from a
//! dead terminal forever. A run stays unfinished, as after a kill.

use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};

/// Watches the terminal on a thread of its own.
pub fn end_with_terminal() {
    thread::spawn(|| {
        let input = std::io::stdin();
        // Requests no events: hang-ups and errors are always reported.
        let mut ends = [PollFd::new(input.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut ends, PollTimeout::NONE) {
                // SIGKILL, because the parent process may have set SIGHUP to be ignored.
                Ok(_) => drop(raise(Signal::SIGKILL)),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    });
}
