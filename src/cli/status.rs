//! `deployer status`

use std::io::IsTerminal;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::fault::Fault;
use super::{EngineArgs, census, live_names, terminal};
use crate::report::Format;
use crate::report::standing::StandingText;
use crate::run::census::standing::Standing;

/// The code of an answer that says: a person must look.
const NEEDS_A_PERSON: u8 = 1;

/// Tells the truth of the engine, also from a machine that never deployed: who serves, from which image and commit,
/// since when, by which run; who holds the lock; what is left over.
///
/// Exit codes: 0 all is well; 1 something needs a person (nobody serves, unhealthy, an unfinished run, something left
/// over); 2 the engine or the journal cannot be asked. See docs/status.md for the JSON.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this service
    #[arg(add = ArgValueCompleter::new(live_names::services))]
    service: Option<String>,
    /// [default: pretty on a terminal, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn status(args: StatusArgs) -> Result<u8, Fault> {
    let found = census::look(&args.engine).await?;
    let service = args.service.as_deref();
    let standing = Standing::of(&found.census, &found.open, found.engine, &found.address, service);
    let text = StandingText {
        standing: &standing,
        now_ms: found.now_ms,
        width: terminal::width(),
        colour: terminal::colour_on(&std::io::stdout()),
    };
    terminal::print(&text.text(format_of(args.format)))?;
    if let Some(service) = service.filter(|_| standing.services.is_empty()) {
        terminal::say(format!("nothing on {} belongs to a service `{service}`", found.address));
        return Ok(NEEDS_A_PERSON);
    }
    Ok(if standing.well { 0 } else { NEEDS_A_PERSON })
}

/// The format of text that was asked for.
pub fn format_of(given: Option<Format>) -> Format {
    given.unwrap_or(if std::io::stdout().is_terminal() { Format::Pretty } else { Format::Plain })
}
