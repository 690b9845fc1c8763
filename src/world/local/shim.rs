//! The supervisor of one local container: `deployer local-shim FOLDER`. Starts the program, keeps its log, writes down
//! how it ends, starts it again where the policy says so. Std only, blocking; outlives the deployer that started it.
//! Knows its folder and what it is told on its standard input; nothing of images, names or other containers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::folder::{instant_text, write_json};
use super::log_file::{LogFile, each_line};
use super::probe;
use super::process::{ProcessMark, as_pid};
use super::record::{LOG, Launch, Phase, Report, RunState, STATE, STOP_REQUESTED, SUPERVISED};
use crate::effect::container::RestartPolicy;

/// More than any argument list and environment of Linux.
const LONGEST_LAUNCH: u64 = 16 << 20;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A program that ran this long starts with the first backoff again.
const STEADY_RUN: Duration = Duration::from_secs(10);
/// How long to read on after the program ended: a child of its own that left the group may hold the pipe open.
const LAST_LINES: Duration = Duration::from_millis(300);
/// How long the supervisor of the run before may take to vanish once it has written down the end.
const HAND_OVER: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(1);
const BACKOFF_POLL: Duration = Duration::from_millis(10);
/// As a shell says that a program cannot be started.
const CANNOT_START: i64 = 127;

/// What the threads of the supervisor share.
pub(super) struct Shared {
    folder: PathBuf,
    state: Mutex<Option<RunState>>,
    /// The supervisor itself was told to end.
    ending: AtomicBool,
}

impl Shared {
    /// Changes the state and writes it down.
    pub(super) fn change(&self, change: impl FnOnce(&mut RunState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_mut() {
            change(state);
            // A full disk must not end the service; without the file it shows as it was before.
            let _ = write_json(&self.folder.join(STATE), state);
        }
    }

    pub(super) fn runs(&self, child: &ProcessMark) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().is_some_and(|state| state.phase == Phase::Running && state.child.as_ref() == Some(child))
    }

    fn is_stopping(&self) -> bool {
        self.ending.load(Ordering::SeqCst) || self.folder.join(STOP_REQUESTED).exists()
    }
}

/// Supervises the container of this folder until it ends for good. The code is 0 unless it could not be started.
pub fn shim_main(container_folder: &Path) -> i32 {
    match supervise(container_folder) {
        Ok(()) => 0,
        Err(why) => {
            report(&Report::Failed(why));
            1
        }
    }
}

fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    let mut output = io::stdout();
    // Whoever waited for it may be gone.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

fn supervise(folder: &Path) -> Result<(), String> {
    let mut told = Vec::new();
    io::stdin().take(LONGEST_LAUNCH).read_to_end(&mut told).map_err(|why| why.to_string())?;
    let launch: Launch = serde_json::from_slice(&told).map_err(|why| format!("no launch on standard input: {why}"))?;
    drop(told);
    // Out of the terminal's session; fails only if it leads one already.
    let _ = nix::unistd::setsid();
    let lock =
        File::options().create(true).append(true).open(folder.join(SUPERVISED)).map_err(|why| why.to_string())?;
    let until = Instant::now() + HAND_OVER;
    while lock.try_lock().is_err() {
        if Instant::now() >= until {
            return Err("another supervisor has it".into());
        }
        thread::sleep(LOCK_POLL);
    }
    let own = ProcessMark::of(std::process::id()).ok_or("`/proc` cannot be read")?;
    let log = LogFile::open(&folder.join(LOG)).map_err(|why| format!("the log cannot be written: {why}"))?;
    let log = Arc::new(Mutex::new(log));
    let shared = Arc::new(Shared { folder: folder.into(), state: Mutex::new(None), ending: AtomicBool::new(false) });
    pass_signals_on(&shared)?;

    let mut backoff = FIRST_BACKOFF;
    let mut restarts = 0;
    loop {
        let started = Instant::now();
        let code = match spawn(&launch) {
            Ok(child) => run(child, &own, restarts, &launch, &shared, &log)?,
            Err(why) if restarts == 0 => return Err(why),
            Err(why) => {
                write_line(&log, format!("cannot be started again: {why}").as_bytes());
                CANNOT_START
            }
        };
        let again = !shared.is_stopping() && is_wanted(&launch.restart, code, restarts);
        let phase = if again { Phase::Restarting } else { Phase::Exited };
        if !again {
            own.kill_session();
        }
        shared.change(|state| {
            state.phase = phase;
            state.exit_code = Some(code);
            state.finished_at = Some(instant_text());
            state.health = None;
        });
        if !again {
            return Ok(());
        }
        backoff = if started.elapsed() >= STEADY_RUN { FIRST_BACKOFF } else { backoff };
        let until = Instant::now() + backoff;
        while Instant::now() < until && !shared.is_stopping() {
            thread::sleep(BACKOFF_POLL);
        }
        if shared.is_stopping() {
            own.kill_session();
            shared.change(|state| state.phase = Phase::Exited);
            return Ok(());
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
        restarts += 1;
    }
}

fn is_wanted(policy: &RestartPolicy, code: i64, restarts: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { attempts } => code != 0 && (*attempts == 0 || restarts < *attempts),
    }
}

/// Passes SIGTERM, SIGINT and SIGHUP to the program, and does not start it again after one.
fn pass_signals_on(shared: &Arc<Shared>) -> Result<(), String> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    // Before any thread starts, so that all of them block the signals.
    signals.thread_block().map_err(|why| why.to_string())?;
    let shared = shared.clone();
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            shared.ending.store(true, Ordering::SeqCst);
            let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(child) = state.as_ref().and_then(|state| state.child.as_ref()) {
                child.signal_group(signal);
            }
        }
    });
    Ok(())
}

fn spawn(launch: &Launch) -> Result<Child, String> {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.working_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    tie_to_supervisor(&mut command);
    command.spawn().map_err(|why| format!("program `{}`: {why}", launch.program.display()))
}

/// A program must not outlive its supervisor unseen: the kernel kills it when the thread that starts it here ends.
/// And it must not inherit that the supervisor blocks signals.
#[allow(unsafe_code, reason = "this can only be done between fork and exec; all the calls are async-signal-safe")]
pub(super) fn tie_to_supervisor(command: &mut Command) {
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

/// Sees one run of the program through to its end; its code.
fn run(
    mut child: Child,
    own: &ProcessMark,
    restarts: u32,
    launch: &Launch,
    shared: &Arc<Shared>,
    log: &Arc<Mutex<LogFile>>,
) -> Result<i64, String> {
    let mark = ProcessMark::of(child.id());
    let now = RunState {
        supervisor: own.clone(),
        child: mark.clone(),
        phase: Phase::Running,
        exit_code: None,
        started_at: instant_text(),
        finished_at: None,
        health: launch.probe.as_ref().map(|_| String::from(probe::STARTING)),
        restarts,
    };
    let written = {
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = Some(now);
        write_json(&shared.folder.join(STATE), &*state)
    };
    if restarts == 0 {
        if let Err(why) = written {
            let _ = killpg(as_pid(child.id()), Signal::SIGKILL);
            let _ = child.wait();
            return Err(why.message);
        }
        report(&Report::Spawned);
    }
    let (done, all_read) = mpsc::channel();
    let output = child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    let errors = child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    for stream in output.into_iter().chain(errors) {
        let (log, done) = (log.clone(), done.clone());
        thread::spawn(move || {
            each_line(stream, |line| write_line(&log, line));
            let _ = done.send(());
        });
    }
    drop(done);
    if let (Some(plan), Some(mark)) = (launch.probe.clone(), mark) {
        probe::begin(plan, mark, shared.clone(), launch);
    }
    // As long as it is not reaped its pid, and so the group's, cannot be given to others.
    while let Err(nix::errno::Errno::EINTR) =
        waitid(Id::Pid(as_pid(child.id())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
    {}
    let _ = killpg(as_pid(child.id()), Signal::SIGKILL);
    let status = child.wait().map_err(|why| why.to_string())?;
    let until = Instant::now() + LAST_LINES;
    while all_read.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
    Ok(code_of(status))
}

pub(super) fn code_of(status: ExitStatus) -> i64 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).map_or(CANNOT_START, i64::from)
}

fn write_line(log: &Mutex<LogFile>, line: &[u8]) {
    // A full disk must not end the service.
    let _ = log.lock().unwrap_or_else(PoisonError::into_inner).write_line(line);
}
