//! `deployer init` and `deployer new`: create the configuration of a project from its folder, and copies of scripts.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
use super::project::FILE;
use super::{EngineArgs, terminal};
use crate::app::open_world;
use crate::base::suggest::did_you_mean;
use crate::effect::container::Container;
use crate::run::inventory::Inventory;
use crate::script::source::SHIPPED;
use crate::world::process_identity::ProcessIdentity;

/// The names of compose files.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// The container port when the Dockerfile exposes none.
const PORT: u16 = 5000;

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Name of the service [default: the name of the folder]
    service: Option<String>,
    /// Also copy the script into this folder, to be edited
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Args)]
pub struct NewArgs {
    /// An included script, such as bluegreen
    script: String,
    /// The new file [default: the name of the script, in this folder]
    file: Option<PathBuf>,
}

/// What was found in the folder.
struct Findings {
    service: String,
    dockerfile: bool,
    exposed: Option<u16>,
    compose: Option<&'static str>,
    git: bool,
    live: Option<Container>,
}

pub async fn init(args: InitArgs) -> Result<u8, CommandError> {
    let findings = inspect_folder(&args).await?;
    let script = if args.copy { "./bluegreen.rhai" } else { "bluegreen.rhai" };
    if args.copy {
        write_new(Path::new("bluegreen.rhai"), shipped("bluegreen")?.1)?;
    }
    write_new(Path::new(FILE), &text(&findings, script))?;
    terminal::say(format!("{FILE}: created for service `{}`", findings.service));
    for line in notes(&findings) {
        terminal::say(format!("  {line}"));
    }
    terminal::say("next: review the file, then run `deployer deploy`");
    Ok(0)
}

pub fn new(args: &NewArgs) -> Result<u8, CommandError> {
    let (name, text) = shipped(&args.script)?;
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from(name));
    write_new(&path, text)?;
    terminal::say(format!("{}: created; run it with `deployer run {}`", path.display(), in_folder(&path)));
    if super::project::find().is_some() {
        terminal::say(format!("to run it with `deployer deploy`, set `script = \"{}\"` in {FILE}", in_folder(&path)));
    }
    Ok(0)
}

/// Returns the path in a form that names the file even if an included script has the same name.
fn in_folder(path: &Path) -> String {
    let bare = path.components().count() == 1;
    if bare { format!("./{}", path.display()) } else { path.display().to_string() }
}

fn shipped(name: &str) -> Result<&'static (&'static str, &'static str), CommandError> {
    let stem = name.trim_end_matches(".rhai");
    SHIPPED.iter().find(|(known, _)| known.trim_end_matches(".rhai") == stem).ok_or_else(|| {
        let names = SHIPPED.iter().map(|(name, _)| name.trim_end_matches(".rhai"));
        let all = names.clone().collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(stem, names).unwrap_or_else(|| format!("the included scripts are: {all}"));
        CommandError::usage(miette!(help = hint, "there is no included script `{name}`"))
    })
}

fn write_new(path: &Path, text: &str) -> Result<(), CommandError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let help = "move or delete it first";
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                CommandError::usage(miette!(help = help, "`{}` already exists", path.display()))
            }
            _ => CommandError::usage(miette!("`{}` cannot be written: {error}", path.display())),
        }
    })
}

async fn inspect_folder(args: &InitArgs) -> Result<Findings, CommandError> {
    let dockerfile = std::fs::read_to_string("Dockerfile").ok();
    let service = args.service.clone().unwrap_or_else(folder_name);
    let live = live(&args.engine, &service).await;
    Ok(Findings {
        exposed: dockerfile.as_deref().and_then(exposed),
        dockerfile: dockerfile.is_some(),
        compose: COMPOSE.into_iter().find(|name| Path::new(name).is_file()),
        git: Path::new(".git").exists(),
        live,
        service,
    })
}

/// Returns the name of the folder as a valid container name.
fn folder_name() -> String {
    let folder = std::env::current_dir().ok();
    let name = folder.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().to_lowercase());
    let name: String = name
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '_', '.']);
    if name.is_empty() { "web".into() } else { name.to_owned() }
}

fn exposed(dockerfile: &str) -> Option<u16> {
    let line = dockerfile.lines().map(str::trim).find_map(|line| line.strip_prefix("EXPOSE "))?;
    line.trim().split(['/', ' ']).next()?.parse().ok()
}

/// Finds the running container of that name. Without an engine there is none, which is no error.
async fn live(args: &EngineArgs, service: &str) -> Option<Container> {
    let here = ProcessIdentity::this_process().ok()?;
    let (world, _) = open_world(&args.options().ok()?, &here).await.ok()?;
    let inventory = Inventory::take(world.as_ref()).await.ok()?;
    inventory.containers.into_iter().find(|container| container.name == service && container.is_running())
}

fn notes(findings: &Findings) -> Vec<String> {
    let mut notes = Vec::new();
    match (findings.dockerfile, findings.exposed) {
        (true, Some(port)) => notes.push(format!("Dockerfile: the image is built from it; port {port}")),
        (true, None) => {
            notes.push(format!("Dockerfile: the image is built from it; it exposes no port, so {PORT} is assumed"))
        }
        (false, _) => notes.push("no Dockerfile: set `image`, or `build` to the folder of a Dockerfile".into()),
    }
    if let Some(file) = findings.compose {
        notes.push(format!("{file}: to deploy with it, uncomment `[compose]`"));
    }
    if findings.git {
        notes.push("git repository: `safe_deploy.rhai` can decide from the changed files what to do".into());
    }
    if let Some(live) = &findings.live {
        notes.push(format!("container `{}` is running ({}): its port and volumes are used", live.name, live.image));
    }
    notes
}

fn text(findings: &Findings, script: &str) -> String {
    let live = findings.live.as_ref();
    let published = live.and_then(|live| live.ports.first());
    let inside = published.map(|port| port.container_port).or(findings.exposed).unwrap_or(PORT);
    let port = published.map_or(8080, |port| port.host_port);
    let mut out = format!(
        "# Configuration of `deployer deploy`. All parameters: `deployer run {script} --help`.\n\
         script = \"{script}\"\n\nservice = \"{}\"\n",
        findings.service
    );
    let image = live.map_or_else(|| format!("{}:latest", findings.service), |live| live.image.clone());
    let _ = match findings.dockerfile {
        true => writeln!(out, "build = \".\"                   # folder of the Dockerfile"),
        false => writeln!(out, "image = \"{image}\"   # or: build = \"FOLDER\""),
    };
    let _ = writeln!(out, "container_port = {inside}         # the port that the app listens on");
    let _ = writeln!(out, "port = {port}                   # the public port");
    let _ = writeln!(
        out,
        "green_port = {}             # the port where a new version is checked before the cutover",
        port + 1
    );
    let mounts: Vec<&String> = live.map_or_else(Vec::new, |live| live.mounts.iter().collect());
    let _ = match mounts.is_empty() {
        true => writeln!(out, "# volumes = [\"data:/app/data\"]"),
        false => writeln!(out, "volumes = {mounts:?}"),
    };
    let _ = writeln!(out, "drain = \"30s\"                 # time for requests in flight at the cutover");
    let _ = writeln!(
        out,
        "bake = \"10s\"                  # how long the new version is watched before the old one is retired"
    );
    let _ = writeln!(out, "\n[health]\npath = \"/\"                    # answers when the app is healthy");
    let _ = writeln!(
        out,
        "\n# [environment]\n# LOG_LEVEL = \"info\"\n\n# [secrets]                   # values come from deployer's environment\n# API_TOKEN = \"API_TOKEN\""
    );
    if let Some(file) = findings.compose {
        let _ = writeln!(
            out,
            "\n# Deploys with the compose file instead of a single container:\n# [compose]\n# file = \"{file}\""
        );
    }
    let _ = writeln!(
        out,
        "\n# `deployer deploy --env staging` overlays these values:\n# [env.staging]\n# docker_host = \"ssh://me@staging.example.com\"\n# port = 8090"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_valid_toml() {
        let findings = Findings {
            service: "shop".into(),
            dockerfile: true,
            exposed: exposed("FROM x\nEXPOSE 3000/tcp\n"),
            compose: Some("compose.yml"),
            git: true,
            live: None,
        };
        let table: toml::Table = text(&findings, "bluegreen.rhai").parse().unwrap();
        assert_eq!(table["container_port"].as_integer(), Some(3000));
        assert_eq!(table["service"].as_str(), Some("shop"));
        // It must still be TOML with every key uncommented.
        let open: String = text(&findings, "bluegreen.rhai")
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains('=') || key.starts_with('[') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let table: toml::Table = open.parse().unwrap();
        assert_eq!(table["env"]["staging"]["port"].as_integer(), Some(8090));
    }
}
