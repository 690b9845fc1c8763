//! `deployer releases`: what a service can go to.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::{Value, json};

use super::fault::Fault;
use super::{EngineArgs, census, live_names, terminal};
use crate::base::labels;
use crate::effect::container::Container;
use crate::effect::image::Image;
use crate::repl::table::{Look, shown};
use crate::run::census::Census;

/// Letters of an id that people compare.
const SHORT: usize = 12;

/// Lists the images of a service on the engine, newest first, and which of them serves. `deployer rollback SERVICE
/// --to RELEASE` goes to one.
#[derive(Debug, Args)]
pub struct ReleasesArgs {
    #[arg(add = ArgValueCompleter::new(live_names::services))]
    service: String,
    /// One object a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn releases(args: ReleasesArgs) -> Result<u8, Fault> {
    let found = census::look(&args.engine).await?;
    let rows = rows(&found.census, &args.service);
    if rows.is_empty() {
        let help = "`deployer status` lists the services";
        return Err(Fault::usage(miette!(
            help = help,
            "no image of a service `{}` on {}",
            args.service,
            found.address
        )));
    }
    let text = if args.json {
        rows.iter().map(|row| format!("{row}\n")).collect()
    } else {
        let colour = terminal::colour_on(&std::io::stdout());
        shown(&Value::Array(rows), Look { width: terminal::width(), colour })
    };
    terminal::print(&text)?;
    Ok(0)
}

fn rows(census: &Census, service: &str) -> Vec<Value> {
    let own: Vec<&Container> =
        census.own_containers().filter(|(_, of)| *of == service).map(|(container, _)| container).collect();
    let mut repositories: BTreeSet<&str> = own.iter().map(|container| repository(&container.image)).collect();
    repositories.insert(service);
    let images = census.images.iter().filter(|image| {
        image.labels.get(labels::SERVICE).is_some_and(|of| of == service)
            || image.tags.iter().any(|tag| repositories.contains(repository(tag)))
            || own.iter().any(|container| container.image_id == image.id)
    });
    images.map(|image| row(image, &own)).collect()
}

fn row(image: &Image, own: &[&Container]) -> Value {
    let serves = own.iter().any(|container| container.image_id == image.id && container.is_running());
    let before = image.tags.iter().any(|tag| tag.ends_with(":rollback"));
    let state = match (serves, before) {
        (true, _) => "serves",
        (false, true) => "before",
        (false, false) => "",
    };
    let id = image.id.trim_start_matches("sha256:").chars().take(SHORT).collect::<String>();
    json!({
        "name": if image.tags.is_empty() { id.clone() } else { image.tags.join(", ") },
        "state": state,
        "created_at": image.created_at,
        "commit": image.labels.get(labels::COMMIT).map(|commit| commit.chars().take(SHORT).collect::<String>()),
        "id": id,
    })
}

/// The name without its tag; the colon of a registry's port is none.
fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}
