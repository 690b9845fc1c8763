//! `deployer init` and `deployer new`: the first file of a project, from what its folder holds, and scripts to change.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::miette;

use super::fault::Fault;
use super::project::FILE;
use super::{EngineArgs, terminal};
use crate::app::open_world;
use crate::base::suggest::did_you_mean;
use crate::effect::container::Container;
use crate::run::census::Census;
use crate::script::source::SHIPPED;
use crate::world::holder::Holder;

/// What compose files are called.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// What the container listens on when no Dockerfile says.
const PORT: u16 = 5000;

/// Looks at this folder (Dockerfile, compose file, git, a running container of that name) and writes a commented
/// `deployer.toml`, which `deployer run` finds by itself.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Name of the service [default: the folder's]
    service: Option<String>,
    /// Also put a copy of the script here, to be changed
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Args)]
pub struct NewArgs {
    /// A script that comes along, such as bluegreen
    script: String,
    /// The new file [default: the script's own name, here]
    file: Option<PathBuf>,
}

/// What the folder tells.
struct Seen {
    service: String,
    dockerfile: bool,
    exposed: Option<u16>,
    compose: Option<&'static str>,
    git: bool,
    live: Option<Container>,
}

pub async fn init(args: InitArgs) -> Result<u8, Fault> {
    let seen = look(&args).await?;
    let script = if args.copy { "./bluegreen.rhai" } else { "bluegreen.rhai" };
    if args.copy {
        write_new(Path::new("bluegreen.rhai"), shipped("bluegreen")?.1)?;
    }
    write_new(Path::new(FILE), &text(&seen, script))?;
    terminal::say(format!("{FILE}: written for service `{}`", seen.service));
    for line in told(&seen) {
        terminal::say(format!("  {line}"));
    }
    terminal::say("next: read it, then `deployer run`; `deployer help run` tells the rest");
    Ok(0)
}

pub fn new(args: &NewArgs) -> Result<u8, Fault> {
    let (name, text) = shipped(&args.script)?;
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from(name));
    write_new(&path, text)?;
    terminal::say(format!("{}: yours to change; run it: `deployer run {}`", path.display(), in_folder(&path)));
    if super::project::found().is_some() {
        terminal::say(format!("to have it run by `deployer run` alone: `script = \"{}\"` in {FILE}", in_folder(&path)));
    }
    Ok(0)
}

/// Where both a file and a shipped script may be meant, the file.
fn in_folder(path: &Path) -> String {
    let bare = path.components().count() == 1;
    if bare { format!("./{}", path.display()) } else { path.display().to_string() }
}

fn shipped(name: &str) -> Result<&'static (&'static str, &'static str), Fault> {
    let stem = name.trim_end_matches(".rhai");
    SHIPPED.iter().find(|(known, _)| known.trim_end_matches(".rhai") == stem).ok_or_else(|| {
        let names = SHIPPED.iter().map(|(name, _)| name.trim_end_matches(".rhai"));
        let all = names.clone().collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(stem, names).unwrap_or_else(|| format!("there are {all}"));
        Fault::usage(miette!(help = hint, "no script `{name}` comes along"))
    })
}

fn write_new(path: &Path, text: &str) -> Result<(), Fault> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let help = "move it away first";
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Fault::usage(miette!(help = help, "`{}` is there already", path.display()))
            }
            _ => Fault::usage(miette!("`{}` cannot be written: {error}", path.display())),
        }
    })
}

async fn look(args: &InitArgs) -> Result<Seen, Fault> {
    let dockerfile = std::fs::read_to_string("Dockerfile").ok();
    let service = args.service.clone().unwrap_or_else(folder_name);
    let live = live(&args.engine, &service).await;
    Ok(Seen {
        exposed: dockerfile.as_deref().and_then(exposed),
        dockerfile: dockerfile.is_some(),
        compose: COMPOSE.into_iter().find(|name| Path::new(name).is_file()),
        git: Path::new(".git").exists(),
        live,
        service,
    })
}

/// The folder's name as a container may be called.
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

/// The container of that name, where an engine answers: a project without one begins all the same.
async fn live(args: &EngineArgs, service: &str) -> Option<Container> {
    let here = Holder::this_process().ok()?;
    let (world, _) = open_world(&args.options().ok()?, &here).await.ok()?;
    let census = Census::take(world.as_ref()).await.ok()?;
    census.containers.into_iter().find(|container| container.name == service && container.is_running())
}

fn told(seen: &Seen) -> Vec<String> {
    let mut told = Vec::new();
    match (seen.dockerfile, seen.exposed) {
        (true, Some(port)) => told.push(format!("Dockerfile: the image is built here; port {port}")),
        (true, None) => {
            told.push(format!("Dockerfile: the image is built here; it exposes no port, {PORT} is guessed"))
        }
        (false, _) => told.push("no Dockerfile: write `image`, or `build` with the folder of one".into()),
    }
    if let Some(file) = seen.compose {
        told.push(format!("{file}: to cut over by it, take the comment signs away below `[compose]`"));
    }
    if seen.git {
        told.push("a git repository: `safe_deploy.rhai` decides from what changed what must be done".into());
    }
    if let Some(live) = &seen.live {
        told.push(format!("container `{}` runs ({}): its port and volumes are taken over", live.name, live.image));
    }
    told
}

fn text(seen: &Seen, script: &str) -> String {
    let live = seen.live.as_ref();
    let published = live.and_then(|live| live.ports.first());
    let inside = published.map(|port| port.container_port).or(seen.exposed).unwrap_or(PORT);
    let port = published.map_or(8080, |port| port.host_port);
    let mut out = format!(
        "# What `deployer run` does in this folder. All parameters: `deployer run {script} --help`.\n\
         script = \"{script}\"\n\nservice = \"{}\"\n",
        seen.service
    );
    let image = live.map_or_else(|| format!("{}:latest", seen.service), |live| live.image.clone());
    let _ = match seen.dockerfile {
        true => writeln!(out, "build = \".\"                   # folder of the Dockerfile"),
        false => writeln!(out, "image = \"{image}\"   # or: build = \"FOLDER\""),
    };
    let _ = writeln!(out, "container_port = {inside}         # what the app listens on");
    let _ = writeln!(out, "port = {port}                   # the public one");
    let _ = writeln!(out, "green_port = {}             # where a new version is proved beside the old one", port + 1);
    let mounts: Vec<&String> = live.map_or_else(Vec::new, |live| live.mounts.iter().collect());
    let _ = match mounts.is_empty() {
        true => writeln!(out, "# volumes = [\"data:/app/data\"]"),
        false => writeln!(out, "volumes = {mounts:?}"),
    };
    let _ = writeln!(out, "drain = \"30s\"                 # time for running requests when versions change");
    let _ =
        writeln!(out, "bake = \"10s\"                  # how long the new one is watched before there is no way back");
    let _ = writeln!(out, "\n[health]\npath = \"/\"                    # answers when the app is well");
    let _ = writeln!(
        out,
        "\n# [environment]\n# LOG_LEVEL = \"info\"\n\n# [secrets]                   # values come from the environment of deployer\n# API_TOKEN = \"API_TOKEN\""
    );
    if let Some(file) = seen.compose {
        let _ = writeln!(
            out,
            "\n# Cuts over by the compose file in place of a container of deployer's own:\n# [compose]\n# file = \"{file}\""
        );
    }
    let _ = writeln!(
        out,
        "\n# `deployer run --env staging` lays this over the rest:\n# [env.staging]\n# docker_host = \"ssh://me@staging.example.com\"\n# port = 8090"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_toml_that_the_script_takes() {
        let seen = Seen {
            service: "shop".into(),
            dockerfile: true,
            exposed: exposed("FROM x\nEXPOSE 3000/tcp\n"),
            compose: Some("compose.yml"),
            git: true,
            live: None,
        };
        let table: toml::Table = text(&seen, "bluegreen.rhai").parse().unwrap();
        assert_eq!(table["container_port"].as_integer(), Some(3000));
        assert_eq!(table["service"].as_str(), Some("shop"));
        // With every comment sign before a key taken away it is TOML still.
        let open: String = text(&seen, "bluegreen.rhai")
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
