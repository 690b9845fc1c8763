//! The supervisor of one local container: `deployer local-shim FOLDER`. Starts the program, writes its log and exit
//! code, and restarts it if the policy says so. Uses only std, blocking; outlives the deployer process that started it.
//! Knows its folder and what it reads from standard input; nothing of images, names or other containers.

pub(super) mod child;
pub(super) mod health_probe;
pub(super) mod log_file;
pub(super) mod state;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use self::child::{CANNOT_START, code_of, tie_to_supervisor};
use self::log_file::{LogFile, each_line};
use self::state::SupervisorState;
use super::container::record::{LOG, Launch, Phase, ProcessState, STATE, SUPERVISED, SupervisorReport};
use super::process::{ProcessId, as_pid};
use super::state_folder::{instant_text, write_json};
use crate::effect::container::RestartPolicy;

/// More than any argument list and environment on Linux.
const MAX_LAUNCH: u64 = 16 << 20;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A program that ran this long is restarted with the first backoff again.
const BACKOFF_RESET: Duration = Duration::from_secs(10);
/// How long to keep reading after the program exited: a child of it that left the group may keep the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the previous supervisor may take to exit after it has recorded the end.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(1);
const BACKOFF_POLL: Duration = Duration::from_millis(10);

/// Supervises the container in this folder until it exits and is not restarted. Returns 0 unless it could not be
/// started.
pub fn shim_main(container_folder: &Path) -> i32 {
    match supervise(container_folder) {
        Ok(()) => 0,
        Err(why) => {
            report(&SupervisorReport::Failed(why));
            1
        }
    }
}

fn report(report: &SupervisorReport) {
    let line = serde_json::to_string(report).unwrap_or_default();
    let mut output = io::stdout();
    // The process that waits for the report may have died.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

fn supervise(folder: &Path) -> Result<(), String> {
    let mut input = Vec::new();
    io::stdin().take(MAX_LAUNCH).read_to_end(&mut input).map_err(|why| why.to_string())?;
    let launch: Launch = serde_json::from_slice(&input).map_err(|why| format!("no launch on standard input: {why}"))?;
    drop(input);
    // Leaves the terminal's session; fails only if it already leads one.
    let _ = nix::unistd::setsid();
    let lock =
        File::options().create(true).append(true).open(folder.join(SUPERVISED)).map_err(|why| why.to_string())?;
    let until = Instant::now() + HANDOVER_TIMEOUT;
    while lock.try_lock().is_err() {
        if Instant::now() >= until {
            return Err("another supervisor is running".into());
        }
        thread::sleep(LOCK_POLL);
    }
    let own = ProcessId::of(std::process::id()).ok_or("`/proc` cannot be read")?;
    let log = LogFile::open(&folder.join(LOG)).map_err(|why| format!("the log cannot be written: {why}"))?;
    let log = Arc::new(Mutex::new(log));
    let shared =
        Arc::new(SupervisorState { folder: folder.into(), state: Mutex::new(None), ending: AtomicBool::new(false) });
    forward_signals(&shared)?;

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
        let again = !shared.is_stopping() && should_restart(&launch.restart, code, restarts);
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
        backoff = if started.elapsed() >= BACKOFF_RESET { FIRST_BACKOFF } else { backoff };
        let until = Instant::now() + backoff;
        while Instant::now() < until && !shared.is_stopping() {
            thread::sleep(BACKOFF_POLL);
        }
        if shared.is_stopping() {
            own.kill_session();
            shared.change(|state| state.phase = Phase::Exited);
            return Ok(());
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
        restarts += 1;
    }
}

fn should_restart(policy: &RestartPolicy, code: i64, restarts: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { attempts } => code != 0 && (*attempts == 0 || restarts < *attempts),
    }
}

/// Forwards SIGTERM, SIGINT and SIGHUP to the program, which is not restarted after one.
fn forward_signals(shared: &Arc<SupervisorState>) -> Result<(), String> {
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

/// Supervises one start of the program until it exits. Returns the exit code.
fn run(
    mut child: Child,
    own: &ProcessId,
    restarts: u32,
    launch: &Launch,
    shared: &Arc<SupervisorState>,
    log: &Arc<Mutex<LogFile>>,
) -> Result<i64, String> {
    let mark = ProcessId::of(child.id());
    let now = ProcessState {
        supervisor: own.clone(),
        child: mark.clone(),
        phase: Phase::Running,
        exit_code: None,
        started_at: instant_text(),
        finished_at: None,
        health: launch.probe.as_ref().map(|_| String::from(health_probe::STARTING)),
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
        report(&SupervisorReport::Spawned);
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
        health_probe::begin(plan, mark, shared.clone(), launch);
    }
    // Until the child is reaped, its pid and group id cannot be reused.
    while let Err(nix::errno::Errno::EINTR) =
        waitid(Id::Pid(as_pid(child.id())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
    {}
    let _ = killpg(as_pid(child.id()), Signal::SIGKILL);
    let status = child.wait().map_err(|why| why.to_string())?;
    let until = Instant::now() + DRAIN_TIMEOUT;
    while all_read.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
    Ok(code_of(status))
}

fn write_line(log: &Mutex<LogFile>, line: &[u8]) {
    // A full disk must not stop the service.
    let _ = log.lock().unwrap_or_else(PoisonError::into_inner).write_line(line);
}
