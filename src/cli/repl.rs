//! `deployer repl`

use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use miette::{IntoDiagnostic, Report, miette};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::fault::Fault;
use super::person::consent;
use super::reopen::refused;
use super::script_file::ScriptFile;
use super::surroundings::Around;
use super::{EngineArgs, hangup, terminal};
use crate::app::App;
use crate::base::seq::Branch;
use crate::effect::EffectError;
use crate::gateway::ledger::Listener;
use crate::journal::entry::{RunEnd, RunSummary};
use crate::repl::editor;
use crate::repl::former::Former;
use crate::repl::interrupt::Interrupt;
use crate::repl::pipe::{self, Streams};
use crate::repl::session::{Opening, Session};
use crate::repl::table::Look;
use crate::repl::voice::voice;
use crate::report::layout::one_line;
use crate::run::reopen::Reopening;
use crate::run::session_run::SessionRun;
use crate::script::diagnostic::effect_diagnostic;
use crate::script::host::on_branch;
use crate::script::stack::deep;

/// The file of former inputs, in the state folder.
const HISTORY: &str = "repl_history";

/// Asks and changes an engine by hand. Every change is journalled, can be taken back with `:undo`, and is asked for
/// first when it stops or removes something live. `:help` tells the rest.
///
/// From a pipe, inputs are taken until one fails; then everything is taken back (exit code 1).
#[derive(Debug, Args)]
pub struct ReplArgs {
    /// A script whose functions and imports are at hand; none of its statements is run
    script: Option<String>,
    /// Act on a simulated copy of the engine: nothing that is done there is done
    #[arg(long)]
    dry: bool,
    /// Ask nothing, also before something live is stopped or removed
    #[arg(long)]
    yes: bool,
    /// Show results as JSON, one line each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn repl(args: ReplArgs) -> Result<u8, Fault> {
    let script = args.script.as_deref().map(ScriptFile::find).transpose()?;
    let app = App::open(&args.engine.options()?).await?;
    let app = Arc::new(if args.dry { app.dry().await.map_err(report)? } else { app });
    let manner = Manner::of(args.json);
    let run = app.session(manner.listener(), consent(manner.person, args.yes || args.dry)).map_err(report)?;
    run.begin()?;
    let history = if args.dry { None } else { history_file(&app)? };
    sit_down(Sitting { app, run, manner, script, history, former: None }).await
}

/// Goes on with a session that was killed, as far as there is something to go on with: what it did.
pub async fn go_on(app: App, summary: &RunSummary, reopening: Reopening, flags: &str) -> Result<u8, Fault> {
    let (app, id) = (Arc::new(app), &summary.run);
    let manner = Manner::of(false);
    let former = Former::of(id, &app.journal.records(id)?);
    let consent = consent(manner.person, false);
    let run = app.session_again(id.clone(), summary.header.clone(), manner.listener(), consent)?;
    let (run, opened) = tokio::task::spawn_blocking(move || {
        let opened = run.reopen(&Handle::current(), &reopening);
        (run, opened)
    })
    .await
    .into_diagnostic()?;
    opened.map_err(|error| refused(id, flags, error))?;
    let history = history_file(&app)?;
    sit_down(Sitting { app, run, manner, script: None, history, former: Some(former) }).await
}

/// How a session talks.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether somebody is at the keyboard.
    person: bool,
    look: Look,
    json: bool,
}

impl Manner {
    fn of(json: bool) -> Self {
        let person = std::io::stdin().is_terminal();
        let look = Look { width: terminal::width(), colour: person && terminal::colour_on(&std::io::stdout()) };
        Self { person, look, json }
    }

    fn listener(&self) -> Listener {
        let colour = self.person && terminal::colour();
        voice(self.look.width, colour, Box::new(std::io::stderr()), Box::new(std::io::stdout()))
    }
}

/// A session that can begin.
struct Sitting {
    app: Arc<App>,
    run: SessionRun,
    manner: Manner,
    script: Option<ScriptFile>,
    history: Option<PathBuf>,
    former: Option<Former>,
}

async fn sit_down(sitting: Sitting) -> Result<u8, Fault> {
    let Sitting { app, run, manner, script, history, former } = sitting;
    let interrupt = Interrupt::default();
    let watch = watch(interrupt.clone());
    let place = format!("{} {}", run.header.engine, app.address);
    let opening = Opening {
        run,
        handle: Handle::current(),
        loader: script.as_ref().map_or_else(|| ScriptFile::of_text("", "").loader, |script| script.loader.clone()),
        surroundings: Arc::new(Around { app, handle: Handle::current(), look: manner.look }),
        interrupt,
        render: Arc::new(terminal::render),
        look: manner.look,
        json: manner.json,
        place,
    };
    let main = Branch::root_after(former.as_ref().map_or(0, |former| former.last));
    let sitting = move || deep(|| on_branch(main, || sit(opening, script, former, manner.person, history)));
    let end = tokio::task::spawn_blocking(sitting).await.into_diagnostic()?.map_err(Report::msg)?;
    watch.abort();
    for left in &end.remaining {
        terminal::say(format!("left to you: {}", left.what));
        left.command.iter().for_each(|command| terminal::say(format!("  {command}")));
    }
    Ok(end.exit_code)
}

/// The whole session, on a thread of its own.
fn sit(
    opening: Opening,
    script: Option<ScriptFile>,
    former: Option<Former>,
    person: bool,
    history: Option<PathBuf>,
) -> Result<RunEnd, String> {
    let greeting = format!(
        "deployer {} on {}\n`:help` tells what there is, Ctrl-D ends",
        env!("CARGO_PKG_VERSION"),
        one_line(&opening.place)
    );
    let mut session = Session::new(opening);
    if person {
        terminal::say(greeting);
    }
    if let Some(former) = former {
        let back = session.go_on(&former);
        terminal::say(format!(
            "the session goes on without its variables\n{back} of its inputs can be taken back: `:pile`, `:undo`; \
             `:quit` keeps it all"
        ));
    }
    if let Some(script) = script {
        terminal::say(session.load(&script.source)?.trim_end());
    }
    if !person {
        let (mut input, mut data, mut talk) = (std::io::stdin().lock(), std::io::stdout(), std::io::stderr());
        return Ok(pipe::run(&mut session, Streams { input: &mut input, data: &mut data, talk: &mut talk }));
    }
    hangup::end_with_terminal();
    let sat = editor::run(&mut session, history.as_deref(), &mut std::io::stdout());
    let end = session.finish();
    sat.map(|()| end)
}

/// The file of former inputs: its owner's alone.
fn history_file(app: &App) -> Result<Option<PathBuf>, Fault> {
    let path = app.state.join(HISTORY);
    let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    made.map_err(|error| Fault::usage(miette!("the history `{}` cannot be written: {error}", path.display())))?;
    Ok(Some(path))
}

/// Ctrl-C stops what is under way; SIGTERM, and a terminal that is gone, end the session.
fn watch(interrupt: Interrupt) -> tokio::task::JoinHandle<()> {
    let watched = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    tokio::spawn(async move {
        let (Ok(mut stop), Ok(mut terminate), Ok(mut hangup)) = watched else {
            terminal::say("warning: signals cannot be watched");
            return;
        };
        loop {
            tokio::select! {
                _ = stop.recv() => interrupt.fire(),
                _ = terminate.recv() => interrupt.end(),
                _ = hangup.recv() => interrupt.end(),
            }
        }
    })
}

fn report(error: EffectError) -> Fault {
    Fault::usage(Report::new(effect_diagnostic(&error)))
}
