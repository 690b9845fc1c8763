//! The command line: one file per command. Parses arguments, asks `app` for an engine and a journal, and selects the
//! reporters.

mod abort;
mod approve;
mod check;
mod command_error;
mod command_groups;
mod completion_values;
mod completions;
mod config;
mod confirm;
mod demo;
mod demo_app;
mod deploy;
mod doctor;
mod exec;
mod folder_sources;
mod gc;
mod hangup;
mod help;
mod init;
mod inventory;
mod load_generator;
mod logs;
mod output_format;
mod plan;
mod preflight;
mod project;
mod proxy;
mod releases;
mod reopen;
mod reopen_error;
mod repl;
mod resolve;
mod resume;
mod rollback;
mod run;
mod run_help;
mod runs;
mod runs_prune;
mod script_file;
mod session_context;
mod shared_libraries;
mod show;
mod signals;
mod status;
mod terminal;
mod test;
mod unlock;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use miette::miette;

use crate::app::{EngineChoice, Options, engine_flags, state_flags, state_folder};
use crate::report::Format;
use command_error::CommandError;

/// Deploys Docker containers with readable scripts, and rolls back when a deploy fails.
///
/// Exit codes:
///   0    done
///   1    failed; rolled back, except what came before `commit()`
///   2    usage, configuration or script error; nothing was changed
///   3    stuck: the run could not be rolled back, and an operator must act
///   4    another run holds the lock
///   5    an interrupted or stuck run of the service must be dealt with first
///   130  cancelled; rolled back, except what came before `commit()`
#[derive(Debug, Parser)]
#[command(name = "deployer", version, max_term_width = 100, disable_help_subcommand = true, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands. `command_groups` lists each of them under a heading.
#[derive(Debug, Subcommand)]
enum Command {
    /// Deploy the project of this folder
    ///
    /// Runs the script that `deployer.toml` names, with the parameters of that file. To run another script, use
    /// `deployer run SCRIPT`.
    Deploy(deploy::DeployArgs),
    /// Run a script
    ///
    /// SCRIPT is a file, the name of an included script, or `-` for standard input. Without SCRIPT, runs the one that
    /// `deployer.toml` names. `deployer run SCRIPT --help` shows the parameters of a script.
    #[command(disable_help_flag = true)]
    Run(run::RunArgs),
    /// Show what a run would change, without changing anything
    ///
    /// Exit codes: 0 nothing to change; 10 there are changes; 2 error.
    Plan(plan::PlanArgs),
    /// Test a script in a simulated host under every fault and every crash
    ///
    /// Simulates a copy of the host, or the host of a scenario file, and runs the script once for each fault and for
    /// each moment at which deployer may be killed. Each violation of a property is printed as a timeline and written
    /// to a file that `--replay` runs again.
    ///
    /// Exit codes: 0 all properties hold; 1 violations; 2 error.
    Verify(Box<verify::VerifyArgs>),
    /// Run deploy test cases from a folder
    ///
    /// A case is a TOML file with a host, a script, the faults that happen and the expected end. See docs/src/verify.md.
    ///
    /// Exit codes: 0 all cases passed; 1 a case failed; 2 error.
    Test(test::TestArgs),
    /// Create deployer.toml for this folder
    ///
    /// Looks at the folder (Dockerfile, compose file, git, a running container with the name of the service) and writes
    /// a commented `deployer.toml`, which `deployer deploy` uses.
    Init(init::InitArgs),
    /// Copy an included script into this folder, to be edited
    New(init::NewArgs),
    /// Put a previous release of a service back into service
    ///
    /// Deploys the previous release, or the one that `--to` names, with the script rollback.rhai. Like every deploy it
    /// is checked before the cutover, and rolled back when it fails.
    Rollback(rollback::RollbackArgs),
    /// List the releases of a service on the engine
    ///
    /// Lists the images of a service, newest first, and which of them is live. `deployer rollback SERVICE --to RELEASE`
    /// deploys one of them.
    Releases(releases::ReleasesArgs),
    /// Show the output of a service, or the events of a run
    Logs(logs::LogsArgs),
    /// Run a program inside a service's container
    ///
    /// Runs the program in the live container of a service. No shell interprets the arguments, and the program gets no
    /// input. The run is journalled. Exits with the program's exit code.
    Exec(exec::ExecArgs),
    /// Check this machine and its engine for problems
    ///
    /// Checks the engine, compose, git, disk space, clock, permissions and the proxy. Changes nothing.
    ///
    /// Exit codes: 0 no problem found; 1 a problem was found.
    Doctor(doctor::DoctorArgs),
    /// Check a script for errors without running it
    ///
    /// Without SCRIPT, checks the one that `deployer.toml` names.
    ///
    /// Exit codes: 0 no errors; 2 errors.
    Check(check::CheckArgs),
    /// List past runs
    Runs(runs::RunsArgs),
    /// Show the events of a run
    Show(show::ShowArgs),
    /// Show which versions are live, and what needs attention
    ///
    /// Reads the state from the engine, so it works on a machine that has never deployed: the live version of each
    /// service, its image, commit and start, the run that deployed it, who holds the lock, and what interrupted deploys
    /// left. docs/src/status.md describes the JSON.
    ///
    /// Exit codes: 0 nothing needs attention; 1 something does (no live version, an unhealthy one, an unfinished run,
    /// leftovers); 2 the engine or the journal cannot be read.
    Status(status::StatusArgs),
    /// List and remove what is no longer used
    ///
    /// Lists what deployer created and what no container, service, kept release or unfinished run uses: leftover
    /// containers, stopped old releases, images, networks and locks of dead processes. Never lists what others created,
    /// and lists data volumes only with `--volumes`. Asks before it removes anything; without a terminal it only lists,
    /// unless there is `--yes`.
    ///
    /// Exit codes: 0 done, or nothing to do; 1 something could not be removed; 2 the engine or the journal cannot be
    /// read; 4 another run holds a lock.
    Gc(gc::GcArgs),
    /// Finish an interrupted run
    ///
    /// Runs the script again. Steps that are already done are answered from the journal.
    Resume(resume::ResumeArgs),
    /// Roll back an interrupted run
    Abort(abort::AbortArgs),
    /// Answer a run that waits for approval
    ///
    /// Without RUN, lists the open questions of all runs.
    Approve(approve::ApproveArgs),
    /// Mark a stuck run as resolved
    ///
    /// Use it after you have done what the run could not undo; `deployer show RUN` lists it.
    Resolve(resolve::ResolveArgs),
    /// Release a stale lock
    Unlock(unlock::UnlockArgs),
    /// Watch blue-green deploys of a small app under load, on this machine
    Demo(demo::DemoArgs),
    /// Run, inspect or replace the embedded reverse proxy
    Proxy(proxy::ProxyArgs),
    /// Start an interactive shell on an engine
    ///
    /// Every change is journalled and can be undone with `:undo`. Asks before it stops or removes a live container.
    /// `:help` lists the commands.
    ///
    /// From a pipe, reads inputs until one fails; then all changes are rolled back (exit code 1).
    Repl(repl::ReplArgs),
    /// Explain a command, or a function or keyword of scripts
    Help(help::HelpArgs),
    /// Print the reference of the script language
    Reference(help::ReferenceArgs),
    /// Generate shell completions
    ///
    /// For bash: `source <(deployer completions bash)`.
    Completions(completions::CompletionsArgs),
    /// Generate man pages
    Man(completions::ManArgs),
    /// Generate definitions for the Rhai language server
    Definitions(help::DefinitionsArgs),
    #[command(hide = true)]
    LocalShim { folder: PathBuf },
    #[command(hide = true)]
    DemoApp,
}

/// The engine and the state folder.
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

/// The state folder.
#[derive(Clone, Debug, Args)]
pub struct StateArgs {
    /// Folder of the journal [default: $DEPLOYER_STATE, else ~/.local/state/deployer]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct ShowAs {
    /// Output format [default: pretty on a terminal, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Show all effects, including those that only read
    #[arg(long, short)]
    verbose: bool,
}

impl StateArgs {
    /// Returns a command for a hint, with the options that lead to the same journal.
    fn command(&self, command: &str) -> String {
        joined([command, &state_flags(self.state.as_ref())])
    }

    /// Returns the folder for messages.
    fn folder(&self) -> String {
        state_folder(self.state.as_ref()).display().to_string()
    }
}

impl EngineArgs {
    /// Returns a command for a hint, with the options that lead to the same engine and journal.
    fn command(&self, command: &str) -> String {
        let options = Options { engine: self.engine, docker_host: self.docker_host.clone(), state: None };
        self.state.command(&joined([command, &engine_flags(&options)]))
    }

    /// Uses the project's Docker host where the command line names no engine.
    fn or_host(&mut self, docker_host: Option<String>) {
        if self.engine != Some(EngineChoice::Local) && self.docker_host.is_none() {
            self.docker_host = docker_host;
        }
    }

    /// Returns the options for `app`.
    ///
    /// # Errors
    /// When the arguments contradict each other.
    fn options(&self) -> Result<Options, CommandError> {
        if self.engine == Some(EngineChoice::Local) && self.docker_host.is_some() {
            let help = "leave one of them out";
            return Err(CommandError::usage(miette!(
                help = help,
                "`--docker-host` has no meaning with `--engine local`"
            )));
        }
        Ok(Options { engine: self.engine, docker_host: self.docker_host.clone(), state: self.state.state.clone() })
    }
}

/// Joins the parts of a command that are not empty.
fn joined<const N: usize>(parts: [&str; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the definition of the command line, with the commands grouped under headings.
fn definition() -> clap::Command {
    let command = Cli::command();
    let template = command_groups::help_template(&command);
    command.help_template(template)
}

/// Parses the arguments, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    completions::answer_shell();
    let parsed = definition().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // clap reports help and version as errors, too; those go to standard output.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    // The supervisor process must not start threads.
    if let Command::LocalShim { folder } = &cli.command {
        return exit(crate::world::local::shim::shim_main(Path::new(folder)));
    }
    terminal::trace();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::say(format!("error: cannot start threads: {error}"));
            return ExitCode::from(2);
        }
    };
    let result = runtime.block_on(dispatch(cli.command));
    // Does not wait for tasks: a call to an engine that hangs must not keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::say(terminal::render(error.report().as_ref()).trim_end_matches('\n'));
            ExitCode::from(error.exit_code())
        }
    }
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

async fn dispatch(command: Command) -> Result<u8, CommandError> {
    match command {
        Command::Deploy(args) => deploy::deploy(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Plan(args) => plan::plan(args).await,
        Command::Verify(args) => verify::verify(*args).await,
        Command::Test(args) => test::test(args).await,
        Command::Init(args) => init::init(args).await,
        Command::New(args) => init::new(&args),
        Command::Rollback(args) => rollback::rollback(args).await,
        Command::Releases(args) => releases::releases(args).await,
        Command::Logs(args) => logs::logs(args).await,
        Command::Exec(args) => exec::exec(args).await,
        Command::Doctor(args) => doctor::doctor(args).await,
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
        Command::Check(args) => check::check(&args),
        Command::Runs(args) => runs::runs(&args),
        Command::Show(args) => show::show(&args),
        Command::Status(args) => status::status(args).await,
        Command::Gc(args) => gc::gc(args).await,
        Command::Resume(args) => resume::resume(args).await,
        Command::Abort(args) => abort::abort(args).await,
        Command::Approve(args) => approve::approve(&args),
        Command::Resolve(args) => resolve::resolve(&args),
        Command::Unlock(args) => unlock::unlock(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Proxy(args) => proxy::proxy(args).await,
        Command::Repl(args) => repl::repl(args).await,
        Command::Help(args) => help::help(&args),
        Command::Reference(args) => help::reference(&args),
        Command::Definitions(args) => help::write_definitions(&args),
        Command::DemoApp => demo_app::serve().await,
        Command::LocalShim { .. } => Ok(0),
    }
}
