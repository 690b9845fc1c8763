//! `deployer repl`

use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use miette::{IntoDiagnostic, Report, miette};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::command_error::CommandError;
use super::confirm::session_consent;
use super::output_format::FormatOrJsonArgs;
use super::reopen_error::refused;
use super::script_file::ScriptFile;
use super::session_context::AppSessionContext;
use super::{EngineArgs, hangup, terminal};
use crate::app::App;
use crate::base::seq::Branch;
use crate::gateway::ledger::Listener;
use crate::journal::entry::{RunEnd, RunSummary};
use crate::repl::editor;
use crate::repl::interrupt::Interrupt;
use crate::repl::pipe::{self, Streams};
use crate::repl::recovered_session::RecoveredSession;
use crate::repl::session::{Session, SessionOptions};
use crate::repl::session_reporter::session_reporter;
use crate::repl::table::TextStyle;
use crate::report::layout::one_line;
use crate::run::reopen::Reopening;
use crate::run::session_run::SessionRun;
use crate::script::host::on_branch;
use crate::script::stack::deep;

/// The name of the history file in the state folder.
const HISTORY: &str = "repl_history";

#[derive(Debug, Args)]
pub struct ReplArgs {
    /// A script whose functions and imports to load; its statements are not run
    script: Option<String>,
    /// Work on a simulated copy of the engine; nothing is changed for real
    #[arg(long)]
    dry: bool,
    /// Answer yes to every confirmation question
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    format: FormatOrJsonArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn repl(args: ReplArgs) -> Result<u8, CommandError> {
    let script = args.script.as_deref().map(ScriptFile::find).transpose()?;
    let app = App::open(&args.engine.options()?).await?;
    let app = Arc::new(if args.dry { app.simulated().await.map_err(CommandError::from)? } else { app });
    let console = Console::new(args.format.is_json());
    let run = app
        .session(console.listener(), session_consent(console.interactive, args.yes || args.dry))
        .map_err(CommandError::from)?;
    run.begin()?;
    let history = if args.dry { None } else { history_file(&app)? };
    run_session(SessionStart { app, run, console, script, history, former: None }).await
}

/// Resumes an interrupted session: its changes can still be undone, but its variables are lost.
///
/// # Errors
/// When the session cannot be reopened.
pub async fn resume(app: App, summary: &RunSummary, reopening: Reopening, flags: &str) -> Result<u8, CommandError> {
    let (app, id) = (Arc::new(app), &summary.run);
    let console = Console::new(false);
    let former = RecoveredSession::from_records(id, &app.journal.records(id)?);
    let consent = session_consent(console.interactive, false);
    let run = app.reopened_session(id.clone(), summary.header.clone(), console.listener(), consent)?;
    let (run, opened) = tokio::task::spawn_blocking(move || {
        let opened = run.reopen(&Handle::current(), &reopening);
        (run, opened)
    })
    .await
    .into_diagnostic()?;
    opened.map_err(|error| refused(id, flags, error))?;
    let history = history_file(&app)?;
    run_session(SessionStart { app, run, console, script: None, history, former: Some(former) }).await
}

/// The terminal or pipe that a session uses.
#[derive(Clone, Copy)]
struct Console {
    /// Whether standard input is a terminal.
    interactive: bool,
    style: TextStyle,
    json: bool,
}

impl Console {
    fn new(json: bool) -> Self {
        let interactive = std::io::stdin().is_terminal();
        let style =
            TextStyle { width: terminal::width(), colour: interactive && terminal::colour_on(&std::io::stdout()) };
        Self { interactive, style, json }
    }

    fn listener(&self) -> Listener {
        let colour = self.interactive && terminal::colour();
        session_reporter(self.style.width, colour, Box::new(std::io::stderr()), Box::new(std::io::stdout()))
    }
}

/// A session that is ready to start.
struct SessionStart {
    app: Arc<App>,
    run: SessionRun,
    console: Console,
    script: Option<ScriptFile>,
    history: Option<PathBuf>,
    former: Option<RecoveredSession>,
}

async fn run_session(start: SessionStart) -> Result<u8, CommandError> {
    let SessionStart { app, run, console, script, history, former } = start;
    let interrupt = Interrupt::default();
    let watch = watch(interrupt.clone());
    let location = format!("{} {}", run.header.engine, app.address);
    let options = SessionOptions {
        run,
        handle: Handle::current(),
        loader: script.as_ref().map_or_else(|| ScriptFile::of_text("", "").loader, |script| script.loader.clone()),
        context: Arc::new(AppSessionContext { app, handle: Handle::current(), style: console.style }),
        interrupt,
        render: Arc::new(terminal::render),
        style: console.style,
        json: console.json,
        location,
    };
    let main = Branch::root_after(former.as_ref().map_or(0, |former| former.last));
    let start =
        move || deep(|| on_branch(main, || run_on_this_thread(options, script, former, console.interactive, history)));
    let end = tokio::task::spawn_blocking(start).await.into_diagnostic()?.map_err(Report::msg)?;
    watch.abort();
    for left in &end.remaining {
        terminal::say(format!("left to do: {}", left.what));
        left.command.iter().for_each(|command| terminal::say(format!("  {command}")));
    }
    Ok(end.exit_code)
}

/// Runs the whole session. Called on a thread that may block.
fn run_on_this_thread(
    options: SessionOptions,
    script: Option<ScriptFile>,
    former: Option<RecoveredSession>,
    interactive: bool,
    history: Option<PathBuf>,
) -> Result<RunEnd, String> {
    let greeting = format!(
        "deployer {} on {}\ntype `:help` for help, Ctrl-D to end",
        env!("CARGO_PKG_VERSION"),
        one_line(&options.location)
    );
    let mut session = Session::new(options);
    if interactive {
        terminal::say(greeting);
    }
    if let Some(former) = former {
        let undoable = session.resume(&former);
        terminal::say(format!(
            "the session continues without its variables\n{undoable} of its inputs can be undone: `:changes`, `:undo`; \
             `:quit` keeps all changes"
        ));
    }
    if let Some(script) = script {
        terminal::say(session.load(&script.source)?.trim_end());
    }
    if !interactive {
        let (mut input, mut data, mut talk) = (std::io::stdin().lock(), std::io::stdout(), std::io::stderr());
        return Ok(pipe::run(&mut session, Streams { input: &mut input, data: &mut data, talk: &mut talk }));
    }
    hangup::end_with_terminal();
    let edited = editor::run(&mut session, history.as_deref(), &mut std::io::stdout());
    let end = session.finish();
    edited.map(|()| end)
}

/// Creates the history file, which only its owner can read.
fn history_file(app: &App) -> Result<Option<PathBuf>, CommandError> {
    let path = app.state.join(HISTORY);
    let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    made.map_err(|error| {
        CommandError::usage(miette!("the history file `{}` cannot be written: {error}", path.display()))
    })?;
    Ok(Some(path))
}

/// Stops the current input on Ctrl-C, and ends the session on SIGTERM or when the terminal is closed.
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
