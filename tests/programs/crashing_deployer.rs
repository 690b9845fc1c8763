//! `deployer` with a journal that stops the process, as SIGSTOP does, at the entry that `DEPLOYER_CRASH_AT` names
//! (`before:12`, `after:12`). Tests kill it there.

use std::process::ExitCode;
use std::sync::Arc;

use deployer::app::decorate_journals;
use deployer::journal::Journal;
use deployer::journal::crashing_journal::{Crash, CrashPoint, CrashingJournal};
use nix::sys::signal::{Signal, raise};

fn main() -> ExitCode {
    decorate_journals(crashing);
    deployer::cli::main()
}

fn crashing(journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
    let Ok(at) = std::env::var("DEPLOYER_CRASH_AT") else { return journal };
    let at: CrashPoint = at.parse().expect("DEPLOYER_CRASH_AT");
    let stop = || raise(Signal::SIGSTOP).expect("a process can stop itself");
    Arc::new(CrashingJournal::new(journal, Crash::new(Some(at)), stop))
}
