//! Child processes of a supervisor.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};

/// A shell's exit code for a program that cannot be started.
pub(crate) const CANNOT_START: i64 = 127;

/// Ties a child process to the supervisor: the kernel kills it when the thread that starts it here exits, so that no
/// program outlives its supervisor unseen. The child does not inherit the supervisor's blocked signals.
#[allow(unsafe_code, reason = "this can only be done between fork and exec; all the calls are async-signal-safe")]
pub(crate) fn tie_to_supervisor(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let tie = move || {
        SigSet::empty().thread_set_mask()?;
        set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure allocates nothing, takes no lock and makes three system calls.
    unsafe {
        command.pre_exec(tie);
    }
}

pub(crate) fn code_of(status: ExitStatus) -> i64 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).map_or(CANNOT_START, i64::from)
}
