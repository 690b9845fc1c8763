//! Ends the process when its terminal is gone, as SIGHUP does where nobody ignores it: a line editor would ask a dead
//! terminal for ever. What runs stays unfinished, as after a kill.

use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};

/// Watches from now on, beside everything else.
pub fn end_with_terminal() {
    thread::spawn(|| {
        let input = std::io::stdin();
        // Nothing is asked for but what is told unasked: a hang-up, an error.
        let mut ends = [PollFd::new(input.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut ends, PollTimeout::NONE) {
                // One that cannot be ignored: whoever started this may have ignored SIGHUP.
                Ok(_) => drop(raise(Signal::SIGKILL)),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    });
}
