//! `deployer abort`

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use miette::{IntoDiagnostic, miette};
use tokio::runtime::Handle;

use super::fault::Fault;
use super::show::{find, journal};
use super::{EngineArgs, ShowAs, signals, terminal};
use crate::app::{App, EngineChoice, Options, is_dead};
use crate::gateway::Cancel;
use crate::journal::entry::{RunEvent, RunStatus};
use crate::run;

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The run's id or its beginning; `last` is the newest
    #[arg(default_value = "last")]
    run: String,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn abort(args: AbortArgs) -> Result<u8, Fault> {
    let journal = journal(&args.engine.state)?;
    let id = find(journal.as_ref(), &args.run)?;
    let summary = journal.runs(usize::MAX)?.into_iter().find(|run| run.run == id);
    let Some(summary) = summary else { return Err(Fault::usage(miette!("there is no run `{id}`"))) };
    if summary.status != RunStatus::Running {
        let help = match summary.status {
            RunStatus::Stuck => format!("what is left to do is said by `deployer show {id}`"),
            _ => "only a run that was killed can be aborted: see `deployer runs`".into(),
        };
        return Err(Fault::usage(miette!(help = help, "run {id} has ended: {}", summary.status)));
    }
    let app = App::open(&same_engine(&args.engine, &summary.header.engine, &summary.header.address)?).await?;
    if !is_dead(&summary.header, &app.holder) {
        let help = format!("stop process {} on {} first", summary.header.pid, summary.header.host);
        return Err(Fault::usage(miette!(help = help, "run {id} may still be under way")));
    }
    let face = Arc::new(Mutex::new(terminal::show(args.show_as, true)));
    let shown = face.clone();
    let listener = Arc::new(move |event: &RunEvent| shown.lock().unwrap_or_else(PoisonError::into_inner).show(event));
    for record in app.journal.records(&id)? {
        listener(&RunEvent::Recorded(record));
    }
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), None);
    let gateway = Arc::new(app.gateway(id, listener, cancel, true)?);
    let (clock, handle) = (app.world.clock(), Handle::current());
    let end = tokio::task::spawn_blocking(move || run::abort::abort(&gateway, clock.as_ref(), &handle)).await;
    let end = end.into_diagnostic()??;
    watch.abort();
    face.lock().unwrap_or_else(PoisonError::into_inner).finish();
    match &end.error {
        Some(why) if end.status == RunStatus::Running => {
            let help = end.report.clone().unwrap_or_default();
            Err(Fault::usage(miette!(help = help, "{why}; nothing was taken back")).with_code(end.exit_code))
        }
        _ => Ok(end.exit_code),
    }
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
