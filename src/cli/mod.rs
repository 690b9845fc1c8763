//! The command line: one file per verb. Reads arguments, asks `app` for a world and a journal, shows faces.

mod abort;
mod approve;
mod census;
mod check;
mod completions;
mod config;
mod demo;
mod demo_app;
mod doctor;
mod exec;
mod fault;
mod folder_sources;
mod gc;
mod hangup;
mod help;
mod init;
mod library_closure;
mod live_names;
mod logs;
mod person;
mod plan;
mod planned;
mod project;
mod proxy;
mod prune;
mod releases;
mod reopen;
mod repl;
mod resolve;
mod resume;
mod rollback;
mod run;
mod run_help;
mod runs;
mod script_file;
mod show;
mod signals;
mod status;
mod surroundings;
mod terminal;
mod test;
mod unlock;
mod verify;
mod visitor;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use miette::miette;

use crate::app::{EngineChoice, Options, state_folder};
use crate::report::Format;
use fault::Fault;

/// Deploys containers by scripts: journalled, taken back when they fail.
///
/// Exit codes: 0 done; 1 failed, and everything was taken back; 2 usage, configuration or script error, nothing was
/// touched; 3 stuck, a person must act; 4 another run holds the lock; 5 a killed run must be resumed or aborted first;
/// 130 cancelled, and everything was taken back.
#[derive(Debug, Parser)]
#[command(name = "deployer", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a script
    #[command(disable_help_flag = true)]
    Run(run::RunArgs),
    /// Show what a run would do, and change nothing: exit 0 nothing to do, 10 changes, 2 errors
    Plan(plan::PlanArgs),
    /// Run a script in a simulated copy of the host, under every fault and every crash
    Verify(Box<verify::VerifyArgs>),
    /// Run the cases of a folder: a host, a script, what goes wrong, and the end that is expected
    Test(test::TestArgs),
    /// Begin a project: writes deployer.toml from what this folder holds
    Init(init::InitArgs),
    /// Put a copy of a shipped script here, to be changed
    New(init::NewArgs),
    /// Go back to the release before
    Rollback(rollback::RollbackArgs),
    /// List the releases of a service that are on the engine
    Releases(releases::ReleasesArgs),
    /// Show what a service wrote, or what happened in a run
    Logs(logs::LogsArgs),
    /// Run a program inside a service's container
    Exec(exec::ExecArgs),
    /// Find what is wrong with this machine and its engine
    Doctor(doctor::DoctorArgs),
    /// Find what is wrong with a script without running it
    Check(check::CheckArgs),
    /// List past runs
    Runs(runs::RunsArgs),
    /// Show what happened in a run
    Show(show::ShowArgs),
    /// Show who serves, and what is left over: the truth of the engine
    Status(status::StatusArgs),
    /// List or remove what nothing refers to any more
    Gc(gc::GcArgs),
    /// Go on with a run that was killed
    Resume(resume::ResumeArgs),
    /// Take back a run that was killed
    Abort(abort::AbortArgs),
    /// Answer a run that asks before it goes on
    Approve(approve::ApproveArgs),
    /// Say that what a stuck run left is done
    Resolve(resolve::ResolveArgs),
    /// Take a lock away whose run is gone for good
    Unlock(unlock::UnlockArgs),
    /// See a blue-green deploy of a tiny app, with visitors, on this machine
    Demo(demo::DemoArgs),
    /// Run, show or replace the embedded reverse proxy
    Proxy(proxy::ProxyArgs),
    /// Ask and change an engine by hand, journalled and undoable
    Repl(repl::ReplArgs),
    /// Explain a verb, or a word or primitive of scripts
    Help(help::HelpArgs),
    /// Print the reference of the language of scripts
    Reference(help::ReferenceArgs),
    /// Print what makes a shell complete verbs, options and live names
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    Man(completions::ManArgs),
    /// Write definitions for editors with the Rhai language server
    Definitions(help::DefinitionsArgs),
    #[command(hide = true)]
    LocalShim { folder: PathBuf },
    #[command(hide = true)]
    DemoApp,
}

/// Which engine, and where the state is.
#[derive(Clone, Debug, Args)]
pub struct EngineArgs {
    /// Where services run [default: docker, when a daemon answers]
    #[arg(long, value_enum)]
    engine: Option<EngineChoice>,
    /// The Docker Engine, such as ssh://user@host or tcp://host:2375 [default: DOCKER_HOST, then the active context]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

/// Where the journal is.
#[derive(Clone, Debug, Args)]
pub struct StateArgs {
    /// Folder of the journal [default: $DEPLOYER_STATE, else ~/.local/state/deployer]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShowAs {
    /// [default: pretty on a terminal, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Show every effect, those that only read too
    #[arg(long, short)]
    verbose: bool,
}

impl StateArgs {
    /// The folder, for people.
    fn folder(&self) -> String {
        state_folder(self.state.as_ref()).display().to_string()
    }
}

impl EngineArgs {
    /// The engine of a project, where the command line names none.
    fn or_host(&mut self, docker_host: Option<String>) {
        if self.engine != Some(EngineChoice::Local) && self.docker_host.is_none() {
            self.docker_host = docker_host;
        }
    }

    /// # Errors
    /// When they contradict each other.
    fn options(&self) -> Result<Options, Fault> {
        if self.engine == Some(EngineChoice::Local) && self.docker_host.is_some() {
            let help = "leave one of them out";
            return Err(Fault::usage(miette!(help = help, "`--docker-host` has no meaning with `--engine local`")));
        }
        Ok(Options { engine: self.engine, docker_host: self.docker_host.clone(), state: self.state.state.clone() })
    }
}

/// Parses the arguments, does what they ask, and says how it ended.
pub fn main() -> ExitCode {
    completions::answer_shell();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is one of usage.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    // The supervisor stays free of threads and of all that the other verbs need.
    if let Verb::LocalShim { folder } = &cli.verb {
        return exit(crate::world::local::shim::shim_main(Path::new(folder)));
    }
    terminal::trace();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::say(format!("error: no threads: {error}"));
            return ExitCode::from(2);
        }
    };
    let result = runtime.block_on(dispatch(cli.verb));
    // Waits for nobody: a stuck call to an engine must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            terminal::say(terminal::render(fault.report().as_ref()).trim_end_matches('\n'));
            ExitCode::from(fault.exit_code())
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

async fn dispatch(verb: Verb) -> Result<u8, Fault> {
    match verb {
        Verb::Run(args) => run::run(args).await,
        Verb::Plan(args) => plan::plan(args).await,
        Verb::Verify(args) => verify::verify(*args).await,
        Verb::Test(args) => test::test(args).await,
        Verb::Init(args) => init::init(args).await,
        Verb::New(args) => init::new(&args),
        Verb::Rollback(args) => rollback::rollback(args).await,
        Verb::Releases(args) => releases::releases(args).await,
        Verb::Logs(args) => logs::logs(args).await,
        Verb::Exec(args) => exec::exec(args).await,
        Verb::Doctor(args) => doctor::doctor(args).await,
        Verb::Completions(args) => completions::completions(&args),
        Verb::Man(args) => completions::man(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Runs(args) => runs::runs(&args),
        Verb::Show(args) => show::show(&args),
        Verb::Status(args) => status::status(args).await,
        Verb::Gc(args) => gc::gc(args).await,
        Verb::Resume(args) => resume::resume(args).await,
        Verb::Abort(args) => abort::abort(args).await,
        Verb::Approve(args) => approve::approve(&args),
        Verb::Resolve(args) => resolve::resolve(&args),
        Verb::Unlock(args) => unlock::unlock(args).await,
        Verb::Demo(args) => demo::demo(args).await,
        Verb::Proxy(args) => proxy::proxy(args).await,
        Verb::Repl(args) => repl::repl(args).await,
        Verb::Help(args) => help::help(&args),
        Verb::Reference(args) => help::reference(&args),
        Verb::Definitions(args) => help::write_definitions(&args),
        Verb::DemoApp => demo_app::serve().await,
        Verb::LocalShim { .. } => Ok(0),
    }
}
