//! `deployer status`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::command_error::CommandError;
use super::output_format::FormatArgs;
use super::{EngineArgs, completion_values, inventory, terminal};
use crate::report::service_status::StatusText;
use crate::run::inventory::service_status::ServiceStatuses;

/// The exit code when something needs attention.
const NEEDS_ATTENTION: u8 = 1;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show only this service
    #[arg(add = ArgValueCompleter::new(completion_values::services))]
    service: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn status(args: StatusArgs) -> Result<u8, CommandError> {
    let found = inventory::query(&args.engine).await?;
    let service = args.service.as_deref();
    let statuses = ServiceStatuses::of(&found.inventory, &found.open, found.engine, &found.address, service);
    let text = StatusText {
        statuses: &statuses,
        now_ms: found.now_ms,
        width: terminal::width(),
        colour: terminal::colour_on(&std::io::stdout()),
    };
    terminal::print(&text.text(args.format.format()))?;
    if let Some(service) = service.filter(|_| statuses.services.is_empty()) {
        terminal::say(format!("there is no service `{service}` on {}", found.address));
        return Ok(NEEDS_ATTENTION);
    }
    Ok(if statuses.well { 0 } else { NEEDS_ATTENTION })
}
