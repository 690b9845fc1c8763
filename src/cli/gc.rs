//! `deployer gc`

use clap::Args;
use serde_json::{Value, json};

use super::fault::Fault;
use super::run::run_once;
use super::script_file::ScriptFile;
use super::status::format_of;
use super::{EngineArgs, ShowAs, census, signals, terminal};
use crate::app::App;
use crate::base::duration_text::DurationText;
use crate::gateway::Cancel;
use crate::report::Format;
use crate::report::garbage::GarbageText;
use crate::run::census::garbage::{Garbage, Item, Kind, Terms};

/// What the run of a collection is called in the history.
const SCRIPT: (&str, &str) = ("deployer gc", include_str!("gc.rhai"));

/// Lists what deployer made and nothing refers to any more: no container, no service, no kept release, no unfinished
/// run. Left over containers, stopped old releases, images, networks, and locks of the dead. Never what somebody else
/// made, and no data volume unless `--volumes` is given.
///
/// Exit codes: 0 done, or nothing to do; 1 something could not be removed; 2 the engine or the journal cannot be
/// asked; 4 another run holds a lock.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Remove it: a run of its own, with a journal, under the services' locks
    #[arg(long)]
    yes: bool,
    /// Only what belongs to this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only what was made longer ago, such as 7d; what does not tell its age stays
    #[arg(long, value_name = "DURATION")]
    older_than: Option<DurationText>,
    /// Old releases to keep for a rollback, of each service and of each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
    /// Also volumes of services that no container uses: their data is gone then
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn gc(args: GcArgs) -> Result<u8, Fault> {
    let found = census::look(&args.engine).await?;
    let age_ms = args.older_than.map(|age| i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX));
    let terms = Terms {
        service: args.service.clone(),
        before_ms: age_ms.map(|age_ms| found.now_ms.saturating_sub(age_ms)),
        keep: args.keep,
        volumes: args.volumes,
    };
    let garbage = Garbage::of(&found.census, &found.open, &terms);
    let format = format_of(args.show_as.format);
    // The events of the run are what a program reads then.
    let events = args.yes && format == Format::Json && !garbage.items.is_empty();
    if !events {
        let (width, colour) = (terminal::width(), terminal::colour_on(&std::io::stdout()));
        let text = GarbageText { garbage: &garbage, now_ms: found.now_ms, width, colour };
        terminal::print(&text.text(format))?;
    }
    if garbage.items.is_empty() {
        terminal::say("nothing to remove");
        return Ok(0);
    }
    if !args.yes {
        terminal::say("nothing was removed; remove it: `deployer gc --yes`, with the same arguments");
        return Ok(0);
    }
    let app = App::open(&args.engine.options()?).await?;
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), None);
    let script = ScriptFile::of_text(SCRIPT.0, SCRIPT.1);
    let end = run_once(&app, script, params(&garbage), cancel, terminal::show(args.show_as, true)).await?;
    watch.abort();
    Ok(end.exit_code)
}

/// What the script is told.
fn params(garbage: &Garbage) -> Value {
    let of = |kind: Kind| garbage.items.iter().filter(move |item| item.kind == kind);
    let keys = |kind: Kind| of(kind).flat_map(|item| &item.keys).collect::<Vec<_>>();
    let container = |item: &Item| json!({ "id": item.keys.first(), "name": item.name, "state": item.state });
    json!({
        "services": garbage.services(),
        "containers": of(Kind::Container).map(container).collect::<Vec<_>>(),
        "images": keys(Kind::Image),
        "networks": keys(Kind::Network),
        "volumes": keys(Kind::Volume),
    })
}
