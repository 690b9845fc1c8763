//! `deployer repl`

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use crossterm::event::{Event, KeyCode, KeyEventKind};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use miette::{IntoDiagnostic, Report, miette};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::census::open_runs;
use super::fault::Fault;
use super::script_file::ScriptFile;
use super::{EngineArgs, hangup, terminal};
use crate::app::App;
use crate::base::seq::Branch;
use crate::effect::EffectError;
use crate::gateway::consent::Consent;
use crate::gateway::ledger::Listener;
use crate::journal::entry::RunEnd;
use crate::repl::editor;
use crate::repl::interrupt::Interrupt;
use crate::repl::names::Names;
use crate::repl::pipe::{self, Streams};
use crate::repl::session::{Opening, Session};
use crate::repl::surroundings::Surroundings;
use crate::repl::table::Look;
use crate::repl::voice::voice;
use crate::report::standing::StandingText;
use crate::report::{Format, layout::one_line};
use crate::run::census::Census;
use crate::run::census::standing::Standing;
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
    let person = std::io::stdin().is_terminal();
    let look = Look { width: terminal::width(), colour: person && terminal::colour_on(&std::io::stdout()) };
    let listener =
        voice(look.width, person && terminal::colour(), Box::new(std::io::stderr()), Box::new(std::io::stdout()));
    let consent: Option<Arc<dyn Consent>> = match (args.yes || args.dry, person) {
        (true, _) => None,
        (false, true) => Some(Arc::new(AtTheKeyboard::default())),
        (false, false) => Some(Arc::new(NobodyThere)),
    };
    let run = app.session(listener, consent).map_err(report)?;
    run.begin()?;
    let interrupt = Interrupt::default();
    let watch = watch(interrupt.clone());
    let place = format!("{} {}", run.header.engine, app.address);
    let surroundings = Around { app: app.clone(), handle: Handle::current(), look };
    let opening = Opening {
        run,
        handle: Handle::current(),
        loader: script.as_ref().map_or_else(|| ScriptFile::of_text("", "").loader, |script| script.loader.clone()),
        surroundings: Arc::new(surroundings),
        interrupt,
        render: Arc::new(terminal::render),
        look,
        json: args.json,
        place,
    };
    let history = if args.dry { None } else { history_file(&app)? };
    let sitting = move || deep(|| on_branch(Branch::root(), || sit(opening, script, person, history)));
    let end = tokio::task::spawn_blocking(sitting).await.into_diagnostic()?.map_err(Report::msg)?;
    watch.abort();
    for left in &end.remaining {
        terminal::say(format!("left to you: {}", left.what));
        left.command.iter().for_each(|command| terminal::say(format!("  {command}")));
    }
    Ok(end.exit_code)
}

/// The whole session, on a thread of its own.
fn sit(opening: Opening, script: Option<ScriptFile>, person: bool, history: Option<PathBuf>) -> Result<RunEnd, String> {
    let greeting = format!(
        "deployer {} on {}; `:help` tells what there is, Ctrl-D ends",
        env!("CARGO_PKG_VERSION"),
        one_line(&opening.place)
    );
    let mut session = Session::new(opening);
    if person {
        terminal::say(greeting);
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

/// Asks with one key, one question at a time.
#[derive(Default)]
struct AtTheKeyboard(Mutex<()>);

impl Consent for AtTheKeyboard {
    fn allow(&self, question: &str) -> bool {
        let _one = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stderr();
        drop(write!(out, "{}\nGo on? [y/N] ", one_line(question)).and_then(|()| out.flush()));
        // Raw, so that Ctrl-C is an answer too and no line is left for the next input.
        let answer = enable_raw_mode().is_ok() && key_says_yes();
        drop(disable_raw_mode());
        drop(writeln!(out, "{}", if answer { "yes" } else { "no" }));
        answer
    }
}

fn key_says_yes() -> bool {
    loop {
        match crossterm::event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                return matches!(key.code, KeyCode::Char('y' | 'Y'));
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

struct NobodyThere;

impl Consent for NobodyThere {
    fn allow(&self, _: &str) -> bool {
        false
    }

    fn hint(&self) -> Option<&'static str> {
        Some("nobody is there to be asked: `deployer repl --yes`")
    }
}

/// What the session needs of the engine beyond single effects.
struct Around {
    app: Arc<App>,
    handle: Handle,
    look: Look,
}

impl Around {
    fn standing(&self) -> Result<(Standing, i64), String> {
        let world = &self.app.world;
        let census = self.handle.block_on(Census::take(world.as_ref())).map_err(|error| error.to_string())?;
        let open = open_runs(self.app.journal.as_ref(), &self.app.address, &self.app.holder)
            .map_err(|fault| fault.report().to_string())?;
        // This very session is under way, which goes without saying.
        let open: Vec<_> = open.into_iter().filter(|run| run.service.is_some()).collect();
        Ok((Standing::of(&census, &open, world.name(), &self.app.address, None), world.clock().unix_ms()))
    }
}

impl Surroundings for Around {
    fn services(&self) -> Result<String, String> {
        let (standing, now_ms) = self.standing()?;
        let Look { width, colour } = self.look;
        Ok(StandingText { standing: &standing, now_ms, width, colour }.text(Format::Pretty))
    }

    fn rehearsal(&self, listener: Listener) -> Result<SessionRun, String> {
        let dry = self.handle.block_on(self.app.dry()).map_err(|error| error.to_string())?;
        dry.session(listener, None).map_err(|error| error.to_string())
    }

    fn names(&self) -> Names {
        let Ok(census) = self.handle.block_on(Census::take(self.app.world.as_ref())) else {
            return Names::default();
        };
        let mut services: Vec<String> = census.own_containers().map(|(_, service)| service.to_owned()).collect();
        services.sort_unstable();
        services.dedup();
        Names {
            containers: census.containers.iter().map(|container| container.name.clone()).collect(),
            images: census.images.iter().flat_map(|image| image.tags.clone()).collect(),
            volumes: census.volumes.iter().map(|volume| volume.name.clone()).collect(),
            networks: census.networks.iter().map(|network| network.name.clone()).collect(),
            services,
        }
    }

    fn save(&self, path: &str, text: &str) -> Result<(), String> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("`{path}` is there already; save under another name"),
            _ => format!("`{path}` cannot be written: {error}"),
        })
    }
}
