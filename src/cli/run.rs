//! `deployer run`, and what `deployer deploy` and `deployer rollback` share with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::Value;
use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::config::{Config, script_parameters};
use super::preflight::{self, declaration};
use super::script_file::ScriptFile;
use super::{EngineArgs, ShowAs, completion_values, confirm, run_help, signals, terminal};
use crate::app::{App, is_dead, new_run_id};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::gateway::Cancel;
use crate::journal::entry::{RunEnd, RunEvent, RunStatus};
use crate::journal::run_state::RunState;
use crate::journal::{Journal, JournalError};
use crate::plan::Plan;
use crate::report::Reporter;
use crate::run::runner::Runner;
use crate::run::unfinished::unfinished;
use crate::script::params::Declaration;

/// The number of changes that are named one by one.
const LISTED: usize = 3;

/// The options of every command that runs a script of the user.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// Environment from the configuration file: its table `[env.NAME]` overlays the other values
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Set a parameter; a.b=3 sets a nested one. Takes precedence over the configuration file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub show_as: ShowAs,
    /// Roll back when the run takes longer, such as 10m
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<DurationText>,
    /// Show the plan first, and ask before continuing
    #[arg(long)]
    pub plan_first: bool,
    /// Answer yes to the confirmation question of `--plan-first`
    #[arg(long, short, requires = "plan_first")]
    pub yes: bool,
    /// How long to wait for another run that holds the service's lock [default: not at all]
    #[arg(long, value_name = "DURATION")]
    pub lock_wait: Option<DurationText>,
}

impl RunOptions {
    /// Returns the options of a command that offers only these.
    pub fn new(sets: Vec<String>, env: Option<String>, engine: EngineArgs, show_as: ShowAs) -> Self {
        Self { env, sets, engine, show_as, timeout: None, plan_first: false, yes: false, lock_wait: None }
    }
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A file, the name of an included script (such as bluegreen.rhai), or - for standard input [default: the script
    /// of deployer.toml]
    #[arg(add = ArgValueCompleter::new(completion_values::scripts))]
    script: Option<String>,
    /// Parameters of the script as TOML [default: deployer.toml, if it is in this folder]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
    /// Print help; with SCRIPT, the parameters that it declares
    #[arg(long, short)]
    help: bool,
}

pub async fn run(args: RunArgs) -> Result<u8, CommandError> {
    let config = Config::read(args.config.as_deref(), args.options.env.as_deref(), args.script.as_deref());
    if args.help {
        // Help must work without a configuration file, and with an invalid one.
        let config = config.ok();
        return help(args.script.as_deref().or(config.as_ref().and_then(Config::script))).await;
    }
    let config = config?;
    let script = config.script_or(args.script.as_deref(), "run")?.to_owned();
    run_script(&script, config, args.options).await
}

/// Prints the parameters of a script, or the help of the command.
async fn help(script: Option<&str>) -> Result<u8, CommandError> {
    let Some(script) = script else {
        let mut command = super::definition();
        // Makes the usage line name the whole command.
        command.build();
        let run = command.find_subcommand_mut("run").map(|run| run.render_long_help());
        terminal::print(&format!("{}\n", run.unwrap_or_default()))?;
        return Ok(0);
    };
    let script = ScriptFile::find(script)?;
    let declaration = declaration(&script).await?;
    terminal::print(&run_help::text(&script.source, &declaration))?;
    Ok(0)
}

/// Runs a script of the user with the parameters of `config` and `options`.
///
/// # Errors
/// When the run cannot begin.
pub async fn run_script(script: &str, config: Config, options: RunOptions) -> Result<u8, CommandError> {
    let script = ScriptFile::find(script)?;
    let declaration = declaration(&script).await?;
    preflight::check_script(&script).await?;
    let given = script_parameters(&declaration, &config, &options.sets)?;
    let mut engine = options.engine;
    engine.or_host(config.project.docker_host);
    let mut app = App::open(&engine.options()?).await?;
    app.lock_wait = options.lock_wait.unwrap_or_default().into();
    refuse_unfinished(&app, &declaration, &given)?;
    if options.plan_first {
        let plan = preflight::plan_in(&app, &script, &declaration, given.clone()).await?;
        terminal::say(plan.to_string().trim_end());
        if !options.yes
            && let Some(declined) = confirm_plan(&app, &script, &declaration, &given, plan).await?
        {
            terminal::say("nothing was changed");
            return Ok(declined.exit_code());
        }
    }
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), options.timeout.map(Into::into));
    let end = run_once(&app, script, given, cancel, terminal::show(options.show_as, true)).await?;
    watch.abort();
    Ok(end.exit_code)
}

/// Asks until the answer is to the plan of the host as it is now: it may change while the question is open. Returns the
/// plan that was declined.
async fn confirm_plan(
    app: &App,
    script: &ScriptFile,
    declaration: &Declaration,
    given: &Value,
    mut plan: Plan,
) -> Result<Option<Plan>, CommandError> {
    loop {
        if !confirm::ask("continue?", "leave `--plan-first` out, answer `y`, or add `--yes`")? {
            return Ok(Some(plan));
        }
        let now = preflight::plan_in(app, script, declaration, given.clone()).await?;
        if now.has_same_steps(&plan) {
            return Ok(None);
        }
        terminal::say("the host has changed since; the plan is now:");
        terminal::say(now.to_string().trim_end());
        plan = now;
    }
}

/// Refuses to begin while an earlier run of the same service is interrupted or stuck.
fn refuse_unfinished(app: &App, declaration: &Declaration, given: &Value) -> Result<(), CommandError> {
    let params = declaration.fill(given).unwrap_or(Value::Null);
    let found = unfinished(app.journal.as_ref(), &params, app.engine(), &|header| is_dead(header, &app.holder))?;
    let Some(run) = found else { return Ok(()) };
    let id = format!("{} {}", run.run, app.state_flags);
    let id = id.trim_end();
    let state = fold(app.journal.as_ref(), &run.run)?;
    let report = match run.status {
        RunStatus::Stuck => miette!(
            code = "deployer::run::stuck",
            help = format!("`deployer show {id}` lists what is left to do; afterwards: `deployer resolve {id}`"),
            "run {} of `{}` is stuck; this command changed nothing",
            run.run,
            run.header.script
        ),
        _ => miette!(
            code = "deployer::run::unfinished",
            help = ways_to_finish(id, &state),
            "run {} of `{}` was interrupted; this command changed nothing",
            run.run,
            run.header.script
        ),
    };
    Err(CommandError::usage(report).with_code(5))
}

/// Returns the state of a run of this journal.
fn fold(journal: &dyn Journal, run: &RunId) -> Result<RunState, JournalError> {
    let mut state = RunState::default();
    for record in journal.records(run)? {
        state.apply(&record.entry)?;
    }
    Ok(state)
}

/// Describes the commands that finish an interrupted run, and what each would do.
fn ways_to_finish(id: &str, state: &RunState) -> String {
    let listed = |steps: Vec<&str>| match steps.as_slice() {
        [] => "nothing".to_owned(),
        few if few.len() <= LISTED => format!("`{}`", few.join("`, `")),
        [first @ .., last] => format!("`{last}` and {} more, down to `{}`", first.len(), first[0]),
    };
    let undone = listed(state.undo_stack.iter().map(|step| step.of.trim_end()).collect());
    let next = match state.under_way.values().next() {
        _ if state.rolling_back => "continues to roll back".to_owned(),
        Some(intent) => format!("continues with `{} {}`", intent.kind, intent.subject),
        None => "continues after the last step".to_owned(),
    };
    format!(
        "inspect it: `deployer show {id}`\n  `deployer resume {id}` {next}\n  `deployer abort {id}` rolls back {undone}"
    )
}

/// Reports a panic of the program itself during a run. The run stays open.
fn internal_error(id: &str, error: &tokio::task::JoinError) -> CommandError {
    let id = id.trim_end();
    let help = format!("`deployer resume {id}` or `deployer abort {id}`; please report this bug");
    let report = miette!(help = help, "deployer itself failed: {error}");
    CommandError::usage(report).with_code(RunStatus::Unfinished.exit_code())
}

/// Runs a script once and shows its events with `reporter`.
///
/// # Errors
/// When the run cannot begin.
pub async fn run_once(
    app: &App,
    script: ScriptFile,
    given: Value,
    cancel: Cancel,
    reporter: Box<dyn Reporter>,
) -> Result<RunEnd, CommandError> {
    let reporter = Arc::new(Mutex::new(reporter));
    let shown = reporter.clone();
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
    let end = ran.map_err(|error| internal_error(&format!("{id} {}", app.state_flags), &error))??;
    reporter.lock().unwrap_or_else(PoisonError::into_inner).finish();
    Ok(end)
}
