//! Ends the process when its terminal is gone, as SIGHUP does where nobody ignores it: a line editor would ask a dead
//! terminal for ever. What runs stays unfinished, as after a kill.

use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// 128 and the number of SIGHUP, as shells count.
const HUNG_UP: i32 = 129;

/// Watches from now on, beside everything else.
pub fn end_with_terminal() {
    thread::spawn(|| {
        let input = std::io::stdin();
        // Nothing is asked for but what is told unasked: a hang-up, an error.
        let mut ends = [PollFd::new(input.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut ends, PollTimeout::NONE) {
                Ok(_) => std::process::exit(HUNG_UP),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    });
}
