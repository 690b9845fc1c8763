//! `deployer run`

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, CommandFactory};
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::Value;
use tokio::runtime::Handle;

use super::config::{Config, given};
use super::fault::Fault;
use super::planned::{self, declaration};
use super::script_file::ScriptFile;
use super::{EngineArgs, ShowAs, live_names, run_help, signals, terminal};
use crate::app::{App, is_dead, new_run_id};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::gateway::Cancel;
use crate::journal::entry::{RunEnd, RunEvent, RunStatus};
use crate::journal::run_state::RunState;
use crate::journal::{Journal, JournalError};
use crate::report::Face;
use crate::run::runner::Runner;
use crate::run::unfinished::unfinished;
use crate::script::params::Declaration;

/// Effects that are named one by one.
const LISTED: usize = 3;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A file, the name of a shipped script (bluegreen.rhai, safe_deploy.rhai, rollback.rhai), or - for standard input
    /// [default: what `deployer.toml` says]
    #[arg(add = ArgValueCompleter::new(live_names::scripts))]
    script: Option<String>,
    /// Parameters of the script, as TOML [default: deployer.toml, when it is in this folder]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The environment of the file that is meant: its table `[env.NAME]` lies over the rest
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// One parameter; a.b=3 reaches nested ones, and wins over the file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
    /// Take the run back when it is not done by then, such as 10m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<DurationText>,
    /// Show what it would do, and ask before it goes on
    #[arg(long)]
    plan_first: bool,
    /// How long to wait for another run that holds the service's lock [default: not at all]
    #[arg(long, value_name = "DURATION")]
    lock_wait: Option<DurationText>,
    /// Print help; after SCRIPT, the parameters that it declares
    #[arg(long, short)]
    help: bool,
}

impl RunArgs {
    /// `deployer run SCRIPT --set ...` as other verbs ask for it.
    pub fn of(script: &str, sets: Vec<String>, env: Option<String>, engine: EngineArgs, show_as: ShowAs) -> Self {
        let script = Some(script.to_owned());
        Self {
            script,
            config: None,
            env,
            sets,
            engine,
            show_as,
            timeout: None,
            plan_first: false,
            lock_wait: None,
            help: false,
        }
    }
}

pub async fn run(mut args: RunArgs) -> Result<u8, Fault> {
    let config = Config::read(args.config.as_deref(), args.env.as_deref(), args.script.as_deref());
    // Help is given without a file, and in spite of one that is wrong.
    let config = if args.help { config.ok() } else { Some(config?) };
    let named = match &config {
        Some(config) if !args.help => Some(config.script_or(args.script.as_deref(), "run")?),
        config => args.script.as_deref().or(config.as_ref().and_then(Config::script)),
    };
    let script = match named {
        Some(script) => ScriptFile::find(script)?,
        None => {
            let mut command = super::Cli::command();
            // So that the usage line names the whole command.
            command.build();
            let run = command.find_subcommand_mut("run").map(|run| run.render_long_help());
            terminal::print(&format!("{}\n", run.unwrap_or_default()))?;
            return Ok(0);
        }
    };
    let declaration = declaration(&script).await?;
    if args.help {
        terminal::print(&run_help::text(&script.source, &declaration))?;
        return Ok(0);
    }
    let Some(config) = config else { return Ok(0) };
    planned::sound(&script).await?;
    let given = given(&declaration, &config, &args.sets)?;
    args.engine.or_host(config.project.docker_host);
    let mut app = App::open(&args.engine.options()?).await?;
    app.lock_wait = args.lock_wait.unwrap_or_default().into();
    refuse_unfinished(&app, &declaration, &given)?;
    if args.plan_first {
        let plan = planned::of_app(&app, &script, &declaration, given.clone()).await?;
        terminal::say(plan.to_string().trim_end());
        if !terminal::agrees("go on?")? {
            terminal::say("nothing was done");
            return Ok(plan.exit_code());
        }
    }
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), args.timeout.map(Into::into));
    let end = run_once(&app, script, given, cancel, terminal::show(args.show_as, true)).await?;
    watch.abort();
    Ok(end.exit_code)
}

fn refuse_unfinished(app: &App, declaration: &Declaration, given: &Value) -> Result<(), Fault> {
    let params = declaration.fill(given).unwrap_or(Value::Null);
    let found = unfinished(app.journal.as_ref(), &params, &app.address, &|header| is_dead(header, &app.holder))?;
    let Some(run) = found else { return Ok(()) };
    let id = format!("{} {}", run.run, app.state_flags);
    let id = id.trim_end();
    let state = fold(app.journal.as_ref(), &run.run)?;
    let report = match run.status {
        RunStatus::Stuck => miette!(
            code = "deployer::run::stuck",
            help = format!("do what is left: `deployer show {id}` says what; then `deployer resolve {id}`"),
            "run {} of `{}` is stuck; nothing was touched now",
            run.run,
            run.header.script
        ),
        _ => miette!(
            code = "deployer::run::unfinished",
            help = ways_on(id, &state),
            "run {} of `{}` was killed before its end; nothing was touched now",
            run.run,
            run.header.script
        ),
    };
    Err(Fault::usage(report).with_code(5))
}

/// The state of a run of this journal.
fn fold(journal: &dyn Journal, run: &RunId) -> Result<RunState, JournalError> {
    let mut state = RunState::default();
    for record in journal.records(run)? {
        state.apply(&record.entry)?;
    }
    Ok(state)
}

/// What can be done about a run that was killed, and what each of it would do.
fn ways_on(id: &str, state: &RunState) -> String {
    let of = |steps: Vec<&str>| match steps.as_slice() {
        [] => "nothing".to_owned(),
        few if few.len() <= LISTED => format!("`{}`", few.join("`, `")),
        [first @ .., last] => format!("`{last}` and {} more, down to `{}`", first.len(), first[0]),
    };
    let back = of(state.undo_stack.iter().map(|step| step.of.trim_end()).collect());
    let on = match state.under_way.values().next() {
        _ if state.unwinding => "goes on taking it back".to_owned(),
        Some(intent) => format!("goes on with `{} {}`", intent.kind, intent.subject),
        None => "goes on after what was done".to_owned(),
    };
    format!("see it: `deployer show {id}`\n  `deployer resume {id}` {on}\n  `deployer abort {id}` takes back {back}")
}

/// A fault of the program itself in the middle of a run: the run stays open.
fn broken(id: &str, error: &tokio::task::JoinError) -> Fault {
    let id = id.trim_end();
    let help = format!("`deployer resume {id}` or `deployer abort {id}`; and please report this");
    Fault::usage(miette!(help = help, "deployer itself failed: {error}")).with_code(RunStatus::Unfinished.exit_code())
}

/// Runs a script in this app, shown by `face`.
pub async fn run_once(
    app: &App,
    script: ScriptFile,
    given: Value,
    cancel: Cancel,
    face: Box<dyn Face>,
) -> Result<RunEnd, Fault> {
    let face = Arc::new(Mutex::new(face));
    let shown = face.clone();
    let listener = Arc::new(move |event: &RunEvent| shown.lock().unwrap_or_else(PoisonError::into_inner).show(event));
    let declaration = declaration(&script).await?;
    let params = declaration.fill(&given).unwrap_or(Value::Null);
    let id = new_run_id()?;
    let gateway = Arc::new(app.gateway(id.clone(), listener, cancel, false)?);
    let runner = Runner {
        gateway,
        clock: app.world.clock(),
        header: app.header(&script.source.name, script.source.digest().to_owned(), params),
        source: script.source,
        loader: script.loader,
        given,
        render: Arc::new(terminal::render),
    };
    let handle = Handle::current();
    let ran = tokio::task::spawn_blocking(move || runner.run(&handle)).await;
    let end = ran.map_err(|error| broken(&format!("{id} {}", app.state_flags), &error))??;
    face.lock().unwrap_or_else(PoisonError::into_inner).finish();
    Ok(end)
}
