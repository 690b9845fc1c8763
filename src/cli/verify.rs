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

use super::config::{Config, given, plainly};
use super::fault::Fault;
use super::planned;
use super::script_file::ScriptFile;
use super::{EngineArgs, live_names, terminal};
use crate::base::duration_text::DurationText;
use crate::effect::EffectError;
use crate::report::Format;
use crate::script::diagnostic::effect_diagnostic;
use crate::verify::search::{NoSearch, Progress, Reach, search};
use crate::verify::story::story;
use crate::verify::subject::{Gap, PublicAddress, Scenario, Subject};
use crate::verify::summary::Summary;
use crate::verify::violation::{Told, ViolationFile, tell};
use crate::world::clock::{Clock, SystemClock};

/// Violations that are told with their story.
const TOLD: usize = 20;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A file, the name of a shipped script, or - for standard input [default: what `deployer.toml` says]
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
    /// A host as TOML, in place of a copy of the real one
    #[arg(long, value_name = "FILE.toml")]
    scenario: Option<PathBuf>,
    /// 1: every fault at every effect, every crash; 2: all pairs of them too
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    depth: u8,
    /// Further runs that are made up by chance
    #[arg(long, value_name = "N", default_value_t = 0)]
    seeds: u64,
    /// The first of their seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End the search after so long; what was not tried is said
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The public port [default: as the parameters tell]
    #[arg(long)]
    port: Option<u16>,
    /// How long visitors may be without an answer [default: as the script states it by `gap`]
    #[arg(long, value_name = "DURATION")]
    gap: Option<DurationText>,
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the result as JUnit XML too
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,
    /// Folder for the files of violations
    #[arg(long, value_name = "DIR", default_value = "violations")]
    out: PathBuf,
    /// Run the violation of this file again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["depth", "seeds", "seconds", "scenario", "config", "sets"])]
    replay: Option<PathBuf>,
    /// No violation files
    #[arg(long, action = ArgAction::SetTrue)]
    no_files: bool,
}

pub async fn verify(args: VerifyArgs) -> Result<u8, Fault> {
    if let Some(file) = &args.replay {
        return replay(&args, file).await;
    }
    let subject = subject(&args).await?;
    let reach = Reach {
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
    let bar = bar(args.format);
    let (searched, handle) = (subject.clone(), Handle::current());
    let (reached, ticking) = (reach.clone(), clock.clone());
    let found = tokio::task::spawn_blocking(move || {
        let shown = |progress: Progress| show(&bar, progress);
        let found = search(&searched, &reached, &handle, &ticking, &stop, &shown)?;
        let told: Vec<Result<Told, EffectError>> =
            found.violations.iter().take(TOLD).map(|violation| tell(&searched, violation, &handle)).collect();
        bar.finish_and_clear();
        Ok::<_, NoSearch>((found, told))
    });
    let (found, told) = found.await.into_diagnostic()?.map_err(no_search)?;
    watch.abort();
    let public = subject.public.as_ref().map(|public| format!("port {} {}", public.port, public.path));
    let mut summary = Summary::new(&subject.source.name, public, &reach, found, clock.steady_ms() - began_ms);
    for (number, told) in (1..).zip(told) {
        let mut told = told.map_err(report)?;
        if !args.no_files {
            told.file = Some(write_violation(&args.out, number, &ViolationFile::new(&subject, &told))?);
        }
        summary.violations.push(told);
    }
    if let Some(file) = &args.junit {
        write(file, &summary.junit())?;
    }
    match args.format {
        Some(Format::Json) => terminal::print(&format!("{}\n", serde_json::to_string(&summary).into_diagnostic()?))?,
        _ => terminal::print(&summary.text())?,
    }
    Ok(u8::from(!summary.holds))
}

async fn subject(args: &VerifyArgs) -> Result<Subject, Fault> {
    let config = Config::read(args.config.as_deref(), args.env.as_deref(), args.script.as_deref())?;
    let script = ScriptFile::find(config.script_or(args.script.as_deref(), "verify")?)?;
    planned::sound(&script).await?;
    let declaration = planned::declaration(&script).await?;
    let given = given(&declaration, &config, &args.sets)?;
    let mut engine = args.engine.clone();
    engine.or_host(config.project.docker_host);
    let scenario = match &args.scenario {
        Some(file) => read_toml::<Scenario>(file)?,
        None => planned::plan(&engine, &script, &declaration, given.clone()).await?.scenario,
    };
    let mut subject = Subject::new(script.source, script.loader, &declaration, given, scenario);
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

async fn replay(args: &VerifyArgs, file: &Path) -> Result<u8, Fault> {
    let name = file.display().to_string();
    let unreadable = |why: String| Fault::usage(miette!("the violation `{name}` cannot be read: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(plainly(&error)))?;
    let violation: ViolationFile = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let script = ScriptFile::find(args.script.as_ref().unwrap_or(&violation.script))?;
    let changed = script.source.digest() != violation.digest;
    let subject = Subject {
        source: script.source,
        loader: script.loader,
        given: violation.given.clone(),
        scenario: violation.scenario.clone(),
        public: violation.public.clone(),
        gap: violation.gap,
    };
    let handle = Handle::current();
    let (run, found, wanted) = tokio::task::spawn_blocking(move || {
        let (run, found) = violation.replay(&subject, &handle)?;
        Ok::<_, EffectError>((run, found, violation.finding))
    })
    .await
    .into_diagnostic()?
    .map_err(report)?;
    let mut text = String::new();
    if changed {
        text.push_str("the script is another one than when this was found\n");
    }
    let still = found.iter().find(|found| found.class() == wanted.class()).or(found.first());
    match still {
        Some(found) => {
            text.push_str(&format!("violated: {}\n  {}\n", found.property.sentence(), found.what));
            text.push_str(&format!("  when {}\n", run.attempt));
            for line in story(&run, found) {
                text.push_str(&format!("  {line}\n"));
            }
        }
        None => text.push_str("holds: what was found does not happen any more\n"),
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

fn write_violation(folder: &Path, number: usize, violation: &ViolationFile) -> Result<String, Fault> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Fault::usage(miette!("the folder `{}` cannot be made: {error}", folder.display())))?;
    let stem = violation.script.rsplit('/').next().unwrap_or_default().trim_end_matches(".rhai");
    let file = folder.join(format!("{stem}-{number}.json"));
    write(&file, &serde_json::to_string_pretty(violation).into_diagnostic()?)?;
    Ok(file.display().to_string())
}

fn write(file: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(file, text)
        .map_err(|error| Fault::usage(miette!("`{}` cannot be written: {}", file.display(), plainly(&error))))
}

/// A file of TOML.
///
/// # Errors
/// When it cannot be read, or is something else.
pub(super) fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T, Fault> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(miette!("`{name}` cannot be read: {}", plainly(&error))))?;
    toml::from_str(&text).map_err(|error| Fault::usage(miette!("`{name}` is wrong: {error}")))
}

pub(super) fn report(error: EffectError) -> Fault {
    Fault::usage(effect_diagnostic(&error))
}

fn no_search(why: NoSearch) -> Fault {
    match why {
        NoSearch::Scenario(error) => report(error),
        NoSearch::Fails { status, why } => Fault::usage(miette!(
            help = "`deployer plan` shows how far it comes",
            "the script ends `{status}` where nothing goes wrong: {why}"
        )),
    }
}
