//! `deployer gc`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::output_format::format_or_default;
use super::run::run_once;
use super::script_file::ScriptFile;
use super::{EngineArgs, ShowAs, completion_values, confirm, inventory, signals, terminal};
use crate::app::App;
use crate::base::duration_text::DurationText;
use crate::gateway::Cancel;
use crate::report::Format;
use crate::report::garbage::GarbageText;
use crate::run::inventory::garbage::{Garbage, Item, Kind, Terms};

/// The name of the run in the history, and its script.
const SCRIPT: (&str, &str) = ("deployer gc", include_str!("gc.rhai"));

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Answer yes to the confirmation question
    #[arg(long, short)]
    yes: bool,
    /// List only what belongs to this service
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion_values::services))]
    service: Option<String>,
    /// List only what was created longer ago, such as 7d; what has no creation time stays
    #[arg(long, value_name = "DURATION")]
    older_than: Option<DurationText>,
    /// How many old releases of each service and each image to keep for a rollback
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
    /// Also list volumes of services that no container uses; removing them deletes their data
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn gc(args: GcArgs) -> Result<u8, CommandError> {
    let found = inventory::query(&args.engine).await?;
    let age_ms = args.older_than.map(|age| i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX));
    let terms = Terms {
        service: args.service.clone(),
        before_ms: age_ms.map(|age_ms| found.now_ms.saturating_sub(age_ms)),
        keep: args.keep,
        volumes: args.volumes,
    };
    let garbage = Garbage::of(&found.inventory, &found.open, &terms);
    let format = format_or_default(args.show_as.format);
    // With `--yes` a program reads the events of the run instead of the list.
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
    if !args.yes && !confirmed(format)? {
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

/// Asks whether to remove what was listed. Only lists where there is no terminal, or where a program reads the list.
fn confirmed(format: Format) -> Result<bool, CommandError> {
    let answer = if format == Format::Json { None } else { confirm::ask_on_terminal("remove all of these?")? };
    match answer {
        Some(true) => return Ok(true),
        Some(false) => terminal::say("nothing was removed"),
        None => terminal::say("nothing was removed; to remove it, repeat the command with `--yes`"),
    }
    Ok(false)
}

/// Returns the parameters of the script.
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
