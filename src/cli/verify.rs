//! `deployer verify`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{ArgAction, Args};
use clap_complete::engine::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miette::{IntoDiagnostic, miette};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::config::{Config, io_error_text, script_parameters};
use super::output_format::FormatArgs;
use super::preflight;
use super::script_file::ScriptFile;
use super::{EngineArgs, completion_values, terminal};
use crate::base::duration_text::DurationText;
use crate::effect::EffectError;
use crate::report::Format;
use crate::verify::search::{Progress, SearchError, SearchLimits, search};
use crate::verify::story::story;
use crate::verify::summary::Summary;
use crate::verify::target::{Gap, PublicAddress, Scenario, VerifyTarget};
use crate::verify::violation::{ReportedViolation, ViolationFile, tell};
use crate::world::clock::{Clock, SystemClock};

/// The number of violations that are printed with their timeline.
const EXPLAINED: usize = 20;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A file, the name of an included script, or - for standard input [default: the script of deployer.toml]
    #[arg(add = ArgValueCompleter::new(completion_values::scripts))]
    script: Option<String>,
    /// Parameters of the script as TOML [default: deployer.toml, if it is in this folder]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Environment from the configuration file: its table `[env.NAME]` overlays the other values
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Set a parameter; a.b=3 sets a nested one. Takes precedence over the configuration file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Simulate the host of this TOML file instead of a copy of the real one
    #[arg(long, value_name = "FILE.toml")]
    scenario: Option<PathBuf>,
    /// 1: every fault at every effect and every crash; 2: also all pairs of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    depth: u8,
    /// Number of extra random runs
    #[arg(long, value_name = "N", default_value_t = 0)]
    seeds: u64,
    /// First seed of the random runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Stop the search after this many seconds, and report what was not tried
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The public port [default: taken from the parameters]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Longest allowed time without an answer [default: the script's parameter `gap`]
    #[arg(long, value_name = "DURATION")]
    gap: Option<DurationText>,
    #[command(flatten)]
    format: FormatArgs,
    /// Also write the result as JUnit XML
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,
    /// Folder for the violation files
    #[arg(long, value_name = "DIR", default_value = "violations")]
    out: PathBuf,
    /// Replay the violation of this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["depth", "seeds", "seconds", "scenario", "config", "sets"])]
    replay: Option<PathBuf>,
    /// Write no violation files
    #[arg(long, action = ArgAction::SetTrue)]
    no_files: bool,
}

pub async fn verify(args: VerifyArgs) -> Result<u8, CommandError> {
    if let Some(file) = &args.replay {
        return replay(&args, file).await;
    }
    let subject = subject(&args).await?;
    let limits = SearchLimits {
        depth: args.depth,
        seeds: args.seeds,
        first_seed: args.seed,
        seconds: args.seconds,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let stop = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn({
        let stop = stop.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.store(true, Ordering::Release);
            }
        }
    });
    let began_ms = clock.steady_ms();
    let bar = bar(args.format.given());
    let (searched, handle) = (subject.clone(), Handle::current());
    let (reached, ticking) = (limits.clone(), clock.clone());
    let found = tokio::task::spawn_blocking(move || {
        let shown = |progress: Progress| show(&bar, progress);
        let found = search(&searched, &reached, &handle, &ticking, &stop, &shown)?;
        let told: Vec<Result<ReportedViolation, EffectError>> =
            found.violations.iter().take(EXPLAINED).map(|violation| tell(&searched, violation, &handle)).collect();
        bar.finish_and_clear();
        Ok::<_, SearchError>((found, told))
    });
    let (found, told) = found.await.into_diagnostic()?.map_err(no_search)?;
    watch.abort();
    let public = subject.public.as_ref().map(|public| format!("port {} {}", public.port, public.path));
    let mut summary = Summary::new(&subject.source.name, public, &limits, found, clock.steady_ms() - began_ms);
    for (number, told) in (1..).zip(told) {
        let mut told = told.map_err(CommandError::from)?;
        if !args.no_files {
            told.file = Some(write_violation(&args.out, number, &ViolationFile::new(&subject, &told))?);
        }
        summary.violations.push(told);
    }
    if let Some(file) = &args.junit {
        write(file, &summary.junit())?;
    }
    match args.format.is_json() {
        true => terminal::print(&format!("{}\n", serde_json::to_string(&summary).into_diagnostic()?))?,
        false => terminal::print(&summary.text())?,
    }
    Ok(u8::from(!summary.holds))
}

async fn subject(args: &VerifyArgs) -> Result<VerifyTarget, CommandError> {
    let config = Config::read(args.config.as_deref(), args.env.as_deref(), args.script.as_deref())?;
    let script = ScriptFile::find(config.script_or(args.script.as_deref(), "verify")?)?;
    preflight::check_script(&script).await?;
    let declaration = preflight::declaration(&script).await?;
    let given = script_parameters(&declaration, &config, &args.sets)?;
    let mut engine = args.engine.clone();
    engine.or_host(config.project.docker_host);
    let scenario = match &args.scenario {
        Some(file) => read_toml::<Scenario>(file)?,
        None => preflight::plan(&engine, &script, &declaration, given.clone()).await?.scenario,
    };
    let mut subject = VerifyTarget::new(script.source, script.loader, &declaration, given, scenario);
    if let Some(port) = args.port {
        let public = subject.public.take();
        let public = public.unwrap_or(PublicAddress { port, path: "/".into(), status: Vec::new() });
        subject.public = Some(PublicAddress { port, ..public });
    }
    if let Some(gap) = args.gap {
        subject.gap = Some(Gap::of(u64::try_from(gap.0.as_millis()).unwrap_or(u64::MAX)));
    }
    Ok(subject)
}

async fn replay(args: &VerifyArgs, file: &Path) -> Result<u8, CommandError> {
    let name = file.display().to_string();
    let unreadable = |why: String| CommandError::usage(miette!("the violation file `{name}` cannot be read: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(io_error_text(&error)))?;
    let violation: ViolationFile = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let script = ScriptFile::find(args.script.as_ref().unwrap_or(&violation.script))?;
    let changed = script.source.digest() != violation.digest;
    let subject = VerifyTarget {
        source: script.source,
        loader: script.loader,
        given: violation.given.clone(),
        scenario: violation.scenario.clone(),
        public: violation.public.clone(),
        gap: violation.gap,
    };
    let handle = Handle::current();
    let (run, found, recorded) = tokio::task::spawn_blocking(move || {
        let (run, found) = violation.replay(&subject, &handle)?;
        Ok::<_, EffectError>((run, found, violation.finding))
    })
    .await
    .into_diagnostic()?
    .map_err(CommandError::from)?;
    let mut text = String::new();
    if changed {
        text.push_str("note: the script has changed since this violation was found\n");
    }
    let still = found.iter().find(|found| found.class() == recorded.class()).or(found.first());
    match still {
        Some(found) => {
            text.push_str(&format!("violated: {}\n  {}\n", found.property.sentence(), found.what));
            text.push_str(&format!("  when {}\n", run.attempt));
            for line in story(&run, found) {
                text.push_str(&format!("  {line}\n"));
            }
        }
        None => text.push_str("passed: the violation no longer occurs\n"),
    }
    terminal::print(&text)?;
    Ok(u8::from(still.is_some()))
}

fn bar(format: Option<Format>) -> ProgressBar {
    if format.is_some_and(|format| format != Format::Pretty) || !terminal::colour() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {bar:30} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.planned);
    bar.set_position(progress.done);
    let found = if progress.violations > 0 { format!(", {} found", progress.violations) } else { String::new() };
    bar.set_message(format!("{}{found}", progress.phase));
}

fn write_violation(folder: &Path, number: usize, violation: &ViolationFile) -> Result<String, CommandError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        CommandError::usage(miette!("the folder `{}` cannot be created: {error}", folder.display()))
    })?;
    let stem = violation.script.rsplit('/').next().unwrap_or_default().trim_end_matches(".rhai");
    let file = folder.join(format!("{stem}-{number}.json"));
    write(&file, &serde_json::to_string_pretty(violation).into_diagnostic()?)?;
    Ok(file.display().to_string())
}

fn write(file: &Path, text: &str) -> Result<(), CommandError> {
    std::fs::write(file, text).map_err(|error| {
        CommandError::usage(miette!("`{}` cannot be written: {}", file.display(), io_error_text(&error)))
    })
}

/// Reads a TOML file.
///
/// # Errors
/// When it cannot be read, or has another content.
pub(super) fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T, CommandError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandError::usage(miette!("`{name}` cannot be read: {}", io_error_text(&error))))?;
    toml::from_str(&text).map_err(|error| CommandError::usage(miette!("`{name}` is invalid: {error}")))
}

fn no_search(why: SearchError) -> CommandError {
    match why {
        SearchError::Scenario(error) => error.into(),
        SearchError::Fails { status, why } => CommandError::usage(miette!(
            help = "`deployer plan` shows how far it gets",
            "the script ends `{status}` even without a fault: {why}"
        )),
    }
}
