//! What `deployer resume` and `deployer abort` share: a killed run is found, opened again, and shown from its beginning.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{IntoDiagnostic, Report, miette};
use tokio::runtime::Handle;

use super::fault::Fault;
use super::folder_sources::FolderSources;
use super::show::{find, journal};
use super::{EngineArgs, ShowAs, repl, signals, terminal};
use crate::app::{App, EngineChoice, Options, enter_working_dir, is_dead};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::Cancel;
use crate::journal::entry::{Intent, Purpose, RunEvent, RunStatus, RunSummary};
use crate::journal::run_state::RunState;
use crate::journal::{Journal, JournalError};
use crate::run::pinned_sources::PinnedSources;
use crate::run::reopen::{Decisions, ReopenError, Reopening};
use crate::run::runner::Runner;
use crate::run::session_run::SESSION;
use crate::script::diagnostic::effect_diagnostic;
use crate::script::source::Source;

/// What is wanted of a killed run.
pub struct Wanted<'a> {
    pub run: &'a str,
    pub engine: &'a EngineArgs,
    pub show_as: ShowAs,
    pub purpose: Purpose,
    pub decisions: Decisions,
    pub timeout: Option<DurationText>,
    pub lock_wait: DurationText,
}

/// Goes on with the run, or takes it back; returns what the process exits with.
///
/// # Errors
/// When there is no such run, when it is not one that was killed, or when it cannot be gone on with.
pub async fn reopen(wanted: Wanted<'_>) -> Result<u8, Fault> {
    let journal = journal(&wanted.engine.state)?;
    let id = find(journal.as_ref(), wanted.run)?;
    let summary = journal.runs(usize::MAX)?.into_iter().find(|run| run.run == id);
    let Some(summary) = summary else { return Err(Fault::usage(miette!("there is no run `{id}`"))) };
    refuse_ended(&summary, wanted.purpose)?;
    let Some(text) = journal.source(&summary.header.digest)? else {
        return Err(Fault::usage(miette!("the journal has lost the script of run {id}")));
    };
    let mut app = App::open(&same_engine(wanted.engine, &summary.header.engine, &summary.header.address)?).await?;
    app.lock_wait = wanted.lock_wait.into();
    if !is_dead(&summary.header, &app.holder) {
        let process = &summary.header.process;
        let help = format!("stop process {} on {} first", process.pid, process.host);
        return Err(Fault::usage(miette!(help = help, "run {id} may still be under way")));
    }
    enter_working_dir(&summary.header)?;
    let reopening = Reopening { purpose: wanted.purpose, process: app.process(), decisions: wanted.decisions };
    if wanted.purpose == Purpose::Resume && is_open_session(app.journal.as_ref(), &summary)? {
        let flags = app.state_flags.clone();
        return repl::go_on(app, &summary, reopening, &flags).await;
    }
    let face = Arc::new(Mutex::new(terminal::show(wanted.show_as, true)));
    let shown = face.clone();
    let listener = Arc::new(move |event: &RunEvent| shown.lock().unwrap_or_else(PoisonError::into_inner).show(event));
    for record in app.journal.records(&id)? {
        listener(&RunEvent::Recorded(record));
    }
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), wanted.timeout.map(Into::into));
    let gateway = Arc::new(app.gateway(id.clone(), listener, cancel, true)?);
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
    face.lock().unwrap_or_else(PoisonError::into_inner).finish();
    let end = ended.into_diagnostic()?.map_err(|error| refused(&id, &app.state_flags, error))?;
    // A run that stays open has no last entry that would say why.
    if let (RunStatus::Running, Some(report)) = (end.status, &end.report) {
        terminal::say(report.trim_end_matches('\n'));
    }
    Ok(end.exit_code)
}

/// Whether it is a session that a person can go on with: there is no script to run again.
fn is_open_session(journal: &dyn Journal, summary: &RunSummary) -> Result<bool, JournalError> {
    if summary.header.script != SESSION {
        return Ok(false);
    }
    let mut state = RunState::default();
    for record in journal.records(&summary.run)? {
        state.apply(&record.entry)?;
    }
    Ok(!state.unwinding)
}

fn refuse_ended(summary: &RunSummary, purpose: Purpose) -> Result<(), Fault> {
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
            format!("what is left to do is said by `deployer show {id}`; once it is done: `deployer resolve {id}`")
        }
        _ => format!("only a run that was killed can be {verb}: see `deployer runs`"),
    };
    Err(Fault::usage(miette!(help = help, "run {id} has ended: {}", summary.status)))
}

pub fn refused(id: &RunId, flags: &str, error: ReopenError) -> Fault {
    let id = format!("{id} {flags}");
    let id = id.trim_end();
    let code = RunStatus::Unfinished.exit_code();
    match error {
        ReopenError::Journal(error) => Fault::usage(Report::new(error)),
        ReopenError::Effect(error) => {
            let code = if error.kind == ErrorKind::Locked { RunStatus::Locked.exit_code() } else { code };
            Fault::usage(effect_report(&error)).with_code(code)
        }
        ReopenError::NothingToDecide(seq) => {
            let help = format!("see what was under way: `deployer show {id}`");
            Fault::usage(miette!(help = help, "there is nothing to decide at `{seq}`"))
        }
        ReopenError::Undecided(intents) => undecided(id, &intents).with_code(code),
    }
}

fn effect_report(error: &EffectError) -> Report {
    Report::new(effect_diagnostic(error))
}

fn undecided(id: &str, intents: &[Intent]) -> Fault {
    let list: Vec<String> = intents
        .iter()
        .map(|intent| {
            let place = intent.site.as_ref().map(|site| format!(", {site}")).unwrap_or_default();
            format!("{}: {} {}{place}", intent.seq, intent.kind, intent.subject)
        })
        .collect();
    let seq = intents.first().map(|intent| intent.seq.to_string()).unwrap_or_default();
    let help = format!(
        "look whether it was done, then say so:\n  it was:     deployer resume {id} --skip-step {seq}\n  it was \
         not: deployer resume {id} --redo-step {seq}\n  take all back: deployer abort {id}\nA script can say it \
         beforehand: `idempotent: true`, or `done_when: [\"command\"]`."
    );
    Fault::usage(miette!(
        code = "deployer::run::undecided",
        help = help,
        "nobody knows whether this was done before the run was killed:\n  {}",
        list.join("\n  ")
    ))
}

/// The engine that the run was on, unless the arguments name one.
fn same_engine(args: &EngineArgs, engine: &str, address: &str) -> Result<Options, Fault> {
    let mut options = args.options()?;
    if options.engine.is_none() {
        options.engine = Some(if engine == "local" { EngineChoice::Local } else { EngineChoice::Docker });
    }
    if options.docker_host.is_none() && engine == "docker" {
        options.docker_host = Some(address.to_owned());
    }
    Ok(options)
}
