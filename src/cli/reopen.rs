//! What `deployer resume` and `deployer abort` share: finding an interrupted run, reopening it, and showing it from its
//! beginning.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{IntoDiagnostic, miette};
use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::folder_sources::FolderSources;
use super::reopen_error::refused;
use super::show::{find, journal};
use super::{EngineArgs, ShowAs, StateArgs, repl, signals, terminal};
use crate::app::{App, EngineChoice, Options, enter_working_dir, is_dead};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::gateway::Cancel;
use crate::journal::entry::{Purpose, RunEvent, RunHeader, RunStatus, RunSummary};
use crate::journal::run_state::RunState;
use crate::journal::{Journal, JournalError};
use crate::run::pinned_sources::PinnedSources;
use crate::run::reopen::{Decisions, Reopening};
use crate::run::runner::Runner;
use crate::run::session_run::SESSION;
use crate::script::source::Source;

/// How to reopen an interrupted run.
pub struct ReopenRequest<'a> {
    pub run: &'a str,
    pub engine: &'a EngineArgs,
    pub show_as: ShowAs,
    pub purpose: Purpose,
    pub decisions: Decisions,
    pub timeout: Option<DurationText>,
    pub lock_wait: DurationText,
}

/// Finishes the run or rolls it back, and returns the exit code.
///
/// # Errors
/// When there is no such run, when it was not interrupted, or when it cannot be reopened.
pub async fn reopen(request: ReopenRequest<'_>) -> Result<u8, CommandError> {
    let journal = journal(&request.engine.state)?;
    let id = find(journal.as_ref(), request.run, &request.engine.state)?;
    let summary = journal.runs(usize::MAX)?.into_iter().find(|run| run.run == id);
    let Some(summary) = summary else { return Err(CommandError::usage(miette!("there is no run `{id}`"))) };
    refuse_ended(&summary, request.purpose, &request.engine.state)?;
    let Some(text) = journal.source(&summary.header.digest)? else {
        return Err(CommandError::usage(miette!("the script of run {id} is missing from the journal")));
    };
    let mut app = App::open(&same_engine(request.engine, &summary.header.engine, &summary.header.address)?).await?;
    app.lock_wait = request.lock_wait.into();
    refuse_live(&id, &summary.header, &app)?;
    if summary.header.version != app.version() {
        let (then, now) = (&summary.header.version, app.version());
        terminal::say(format!(
            "warning: deployer {then} started run {id}, and this is {now}: if the replay ends with a difference, use {then}"
        ));
    }
    enter_working_dir(&summary.header)?;
    let reopening = Reopening { purpose: request.purpose, process: app.process(), decisions: request.decisions };
    if request.purpose == Purpose::Resume && is_open_session(app.journal.as_ref(), &summary)? {
        let flags = app.state_flags.clone();
        return repl::resume(app, &summary, reopening, &flags).await;
    }
    let reporter = Arc::new(Mutex::new(terminal::show(request.show_as, true)));
    let shown = reporter.clone();
    let listener = Arc::new(move |event: &RunEvent| shown.lock().unwrap_or_else(PoisonError::into_inner).show(event));
    for record in app.journal.records(&id)? {
        listener(&RunEvent::Recorded(record));
    }
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), request.timeout.map(Into::into));
    let gateway = Arc::new(app.gateway(id.clone(), listener, cancel, true)?);
    // Another process may have reopened it since. If one does from now on, the journal refuses this process.
    let header = gateway.ledger().state().header.clone();
    refuse_live(&id, header.as_ref().unwrap_or(&summary.header), &app)?;
    let folder = Path::new(&summary.header.script).parent().map_or_else(PathBuf::new, Path::to_owned);
    let runner = Runner {
        clock: app.world.clock(),
        source: Source::new(summary.header.script.clone(), text),
        loader: Arc::new(PinnedSources { ledger: gateway.ledger().clone(), others: Arc::new(FolderSources(folder)) }),
        gateway,
        given: summary.header.params.clone(),
        header: summary.header.clone(),
        render: Arc::new(terminal::render),
    };
    let handle = Handle::current();
    let ended = tokio::task::spawn_blocking(move || runner.reopen(&handle, &reopening)).await;
    watch.abort();
    reporter.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let end = ended.into_diagnostic()?.map_err(|error| refused(&id, &app.state_flags, error))?;
    // A run that stays open has no last entry that the reporter could show.
    if let (RunStatus::Running, Some(report)) = (end.status, &end.report) {
        terminal::say(report.trim_end_matches('\n'));
    }
    Ok(end.exit_code)
}

/// Refuses a run whose process may still exist.
fn refuse_live(id: &RunId, header: &RunHeader, app: &App) -> Result<(), CommandError> {
    if is_dead(header, &app.holder) {
        return Ok(());
    }
    let process = &header.process;
    let help = format!("first stop process {} on {}", process.pid, process.host);
    let report = miette!(help = help, "run {id} may still be running");
    Err(CommandError::usage(report).with_code(RunStatus::Locked.exit_code()))
}

/// Returns whether the run is an interactive session that can continue. A session has no script to run again.
fn is_open_session(journal: &dyn Journal, summary: &RunSummary) -> Result<bool, JournalError> {
    if summary.header.script != SESSION {
        return Ok(false);
    }
    let mut state = RunState::default();
    for record in journal.records(&summary.run)? {
        state.apply(&record.entry)?;
    }
    Ok(!state.rolling_back)
}

fn refuse_ended(summary: &RunSummary, purpose: Purpose, state: &StateArgs) -> Result<(), CommandError> {
    if summary.status == RunStatus::Running {
        return Ok(());
    }
    let id = &summary.run;
    let verb = match purpose {
        Purpose::Resume => "resumed",
        Purpose::Abort => "aborted",
    };
    let help = match summary.status {
        RunStatus::Stuck => {
            let command = |command: &str| state.command(&format!("deployer {command} {id}"));
            format!("`{}` lists what is left to do; afterwards: `{}`", command("show"), command("resolve"))
        }
        _ => format!("only an interrupted run can be {verb}; `{}` lists the runs", state.command("deployer runs")),
    };
    Err(CommandError::usage(miette!(help = help, "run {id} has ended: {}", summary.status)))
}

/// Returns the engine of the run, unless the arguments name one.
fn same_engine(args: &EngineArgs, engine: &str, address: &str) -> Result<Options, CommandError> {
    let mut options = args.options()?;
    if options.engine.is_none() {
        options.engine = Some(if engine == "local" { EngineChoice::Local } else { EngineChoice::Docker });
    }
    if options.docker_host.is_none() && engine == "docker" {
        options.docker_host = Some(address.to_owned());
    }
    Ok(options)
}
