//! `deployer releases`: what a service can be rolled back to: kept containers, and images on the engine.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::output_format::FormatOrJsonArgs;
use super::{EngineArgs, completion_values, inventory, terminal};
use crate::base::labels;
use crate::effect::container::Container;
use crate::effect::image::Image;
use crate::repl::table::{TextStyle, shown};
use crate::run::inventory::Inventory;

/// The state of the live release.
const SERVES: &str = "serves";
/// The state of the release that `deployer rollback` returns to.
const BEFORE: &str = "before";
/// The length of a short id.
const SHORT_ID: usize = 12;

#[derive(Debug, Args)]
pub struct ReleasesArgs {
    /// The service
    #[arg(add = ArgValueCompleter::new(completion_values::services))]
    service: String,
    #[command(flatten)]
    format: FormatOrJsonArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub async fn releases(args: ReleasesArgs) -> Result<u8, CommandError> {
    let found = inventory::query(&args.engine).await?;
    let rows = rows(&found.inventory, &args.service);
    if rows.is_empty() {
        let help = format!("`{}` lists the services", args.engine.command("deployer status"));
        return Err(CommandError::usage(miette!(
            help = help,
            "there is no image of a service `{}` on {}",
            args.service,
            found.address
        )));
    }
    let text = if args.format.is_json() {
        rows.iter().map(|row| format!("{row}\n")).collect()
    } else {
        let colour = terminal::colour_on(&std::io::stdout());
        shown(&Value::Array(rows), TextStyle { width: terminal::width(), colour })
    };
    terminal::print(&text)?;
    Ok(0)
}

/// Lists the live release, the releases kept as stopped containers, and the other images of the service.
fn rows(inventory: &Inventory, service: &str) -> Vec<Value> {
    let own: Vec<&Container> =
        inventory.own_containers().filter(|(_, of)| *of == service).map(|(container, _)| container).collect();
    let mut releases: Vec<&Container> =
        own.iter().copied().filter(|container| container.is_running() || is_kept(container, service)).collect();
    releases.sort_by_key(|container| (!container.is_running(), std::cmp::Reverse(number(container))));
    let newest = releases.iter().find(|container| !container.is_running()).map(|container| &container.id);
    let mut rows: Vec<Value> = releases
        .iter()
        .map(|container| {
            let state = match container.is_running() {
                true => SERVES,
                false if Some(&container.id) == newest => BEFORE,
                false => "",
            };
            release_row(inventory, container, state)
        })
        .collect();
    let mut repositories: BTreeSet<&str> = own.iter().map(|container| repository(&container.image)).collect();
    repositories.insert(service);
    let images = inventory.images.iter().filter(|image| {
        let is_own = image.labels.get(labels::SERVICE).is_some_and(|of| of == service)
            || image.tags.iter().any(|tag| repositories.contains(repository(tag)))
            || own.iter().any(|container| container.image_id == image.id);
        is_own && releases.iter().all(|container| container.image_id != image.id)
    });
    let previous = format!("{service}:rollback");
    rows.extend(images.map(|image| {
        let before = newest.is_none() && image.tags.contains(&previous);
        image_row(image, if before { BEFORE } else { "" })
    }));
    rows
}

/// Returns whether a container is kept as a previous release of the service.
fn is_kept(container: &Container, service: &str) -> bool {
    number(container).is_some_and(|number| container.name == format!("{service}-release-{number}"))
}

fn number(container: &Container) -> Option<u64> {
    container.labels.get(labels::RELEASE)?.parse().ok()
}

fn release_row(inventory: &Inventory, container: &Container, state: &str) -> Value {
    let image = inventory.image(&container.image_id);
    let label = |key: &str| container.labels.get(key).or_else(|| image?.labels.get(key));
    json!({
        "release": number(container),
        "name": names(&container.image_id, image.map_or(&[], |image| &image.tags)),
        "state": state,
        "created_at": container.created_at,
        "commit": label(labels::COMMIT).map(|commit| short(commit)),
        "run": container.labels.get(labels::RUN),
        "id": short(&container.image_id),
    })
}

fn image_row(image: &Image, state: &str) -> Value {
    json!({
        "release": null,
        "name": names(&image.id, &image.tags),
        "state": state,
        "created_at": image.created_at,
        "commit": image.labels.get(labels::COMMIT).map(|commit| short(commit)),
        "run": image.labels.get(labels::RUN),
        "id": short(&image.id),
    })
}

/// Returns the tags of an image, or its id if it has none.
fn names(id: &str, tags: &[String]) -> String {
    if tags.is_empty() { short(id) } else { tags.join(", ") }
}

fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(SHORT_ID).collect()
}

/// Returns an image name without its tag. The colon before a registry's port does not begin a tag.
fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}
