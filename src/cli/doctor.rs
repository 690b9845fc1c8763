//! `deployer doctor`: what is wrong with this machine and its engine, and how to mend it. Changes nothing.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::fault::Fault;
use super::{EngineArgs, terminal};
use crate::app::{App, environment, open_world, state_folder, this_holder};
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::{Effect, EffectError};
use crate::report::layout::{Paint, Tone, one_line, wrap};
use crate::run::census::Census;
use crate::world::{Call, World};

/// Less than this free is little for images.
const DISK_MB: u64 = 2_048;
/// Before this the clock cannot be right: 2025-01-01, in milliseconds since 1970.
const EARLIEST_MS: i64 = 1_735_689_600_000;
/// Where the proxy listens for commands when nobody says otherwise.
const PROXY: &str = "/run/deployer/proxy.sock";

/// Looks at the engine, compose, git, disk, clock, permissions and the proxy. Ends with 1 when something is wrong.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One object a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// It works; something that some scripts need does not.
    Lacking,
    Wrong,
}

/// One thing that was looked at.
struct Finding {
    of: &'static str,
    state: State,
    text: String,
    mend: Option<String>,
}

impl Finding {
    fn well(of: &'static str, text: impl Into<String>) -> Self {
        Self { of, state: State::Well, text: text.into(), mend: None }
    }

    fn lacking(of: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { of, state: State::Lacking, text: text.into(), mend: Some(mend.into()) }
    }

    fn wrong(of: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { of, state: State::Wrong, text: text.into(), mend: Some(mend.into()) }
    }
}

pub async fn doctor(args: DoctorArgs) -> Result<u8, Fault> {
    let mut found = vec![state(&args)];
    let here = this_holder()?;
    match open_world(&args.engine.options()?, &here).await {
        Ok((world, address)) => {
            found.push(engine(world.as_ref(), &address).await);
            found.push(clock(world.as_ref()));
            found.push(disk(world.as_ref()).await);
            found.push(
                program(
                    world.as_ref(),
                    "compose",
                    &[&["docker", "compose", "version"], &["docker-compose", "version"]],
                    "`compose_*` and `compose.file` need it: install docker-compose-plugin, or docker-compose",
                )
                .await,
            );
            found.push(
                program(
                    world.as_ref(),
                    "git",
                    &[&["git", "--version"]],
                    "repositories are read without it; only your own scripts may miss it",
                )
                .await,
            );
        }
        Err(error) => {
            let mend = error.help().map_or_else(
                || "start the daemon, or say where it is: `--docker-host URL`; without Docker: `--engine local`".into(),
                |help| help.to_string(),
            );
            found.push(Finding::wrong("engine", error.to_string(), mend));
        }
    }
    found.push(proxy());
    let text = if args.json { found.iter().map(|one| format!("{}\n", as_json(one))).collect() } else { table(&found) };
    terminal::print(&text)?;
    Ok(u8::from(found.iter().any(|one| one.state == State::Wrong)))
}

/// Whether the journal can be written: the folder, and what is in it.
fn state(args: &DoctorArgs) -> Finding {
    let folder = state_folder(args.engine.state.state.as_ref());
    let place = folder.display().to_string();
    let mend = || format!("make it yours: `chown -R $USER {place}`, or use another with `--state DIR`");
    if let Err(error) = App::journal(args.engine.state.state.as_ref()) {
        return Finding::wrong("journal", error.to_string(), "move `journal.db` away, or restore it from a backup");
    }
    // The nearest folder that is there tells whether the rest can be made.
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(there) {
        Ok(_) if folder.is_dir() => Finding::well("journal", place),
        Ok(_) => Finding::well("journal", format!("{place}, made by the first run")),
        Err(error) => Finding::wrong("journal", format!("`{place}` cannot be written: {error}"), mend()),
    }
}

async fn engine(world: &dyn World, address: &str) -> Finding {
    match Census::take(world).await {
        Ok(census) => {
            let (containers, images) = (census.containers.len(), census.images.len());
            let text = format!("{} at {address}: {containers} containers, {images} images", world.name());
            Finding::well("engine", text)
        }
        Err(error) => {
            let mend = error.hint.clone().unwrap_or_else(|| "see the daemon's own log".into());
            Finding::wrong("engine", error.to_string(), mend)
        }
    }
}

fn clock(world: &dyn World) -> Finding {
    let now_ms = world.clock().unix_ms();
    if now_ms < EARLIEST_MS {
        return Finding::wrong("clock", "this machine's clock is years behind", "set it: `timedatectl set-ntp true`");
    }
    let text = jiff::Timestamp::from_millisecond(now_ms).map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    Finding::well("clock", text.unwrap_or_default())
}

async fn disk(world: &dyn World) -> Finding {
    let asked = crate::effect::host::HostDisk { path: ".".into() };
    match ask(world, asked.into()).await {
        Ok(disk) => {
            let free = disk["available_mb"].as_u64().unwrap_or(0);
            let text = format!("{free} of {} MB free", disk["total_mb"]);
            let mend = "make room: `deployer gc`, `docker system prune`";
            if free < DISK_MB { Finding::wrong("disk", text, mend) } else { Finding::well("disk", text) }
        }
        Err(error) => Finding::lacking("disk", error.to_string(), "look at it yourself: `df -h`"),
    }
}

/// The first of the commands that is there.
async fn program(world: &dyn World, of: &'static str, commands: &[&[&str]], mend: &str) -> Finding {
    for command in commands {
        let asked = json!({ "command": command, "timeout": "10s" });
        let Ok(effect) = Effect::decode("exec", asked) else { continue };
        if let Ok(done) = ask(world, effect).await {
            let said = done["stdout"].as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
            return Finding::well(of, if said.is_empty() { command.join(" ") } else { said });
        }
    }
    Finding::lacking(
        of,
        format!("no `{}` on this machine", commands.last().unwrap_or(&(&[] as &[&str])).first().unwrap_or(&of)),
        mend,
    )
}

fn proxy() -> Finding {
    let socket = environment("DEPLOYER_PROXY_CONTROL").unwrap_or_else(|| PROXY.into());
    match std::os::unix::net::UnixStream::connect(&socket) {
        Ok(_) => Finding::well("proxy", format!("answers at {socket}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::well("proxy", "none runs here, and none need")
        }
        Err(error) => Finding::wrong(
            "proxy",
            format!("`{socket}`: {error}"),
            "start it: `deployer proxy run`, or remove the socket",
        ),
    }
}

async fn ask(world: &dyn World, effect: Effect) -> Result<Value, EffectError> {
    let nobody = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
    world.perform(&nobody, &effect).await.map(|outcome| outcome.value())
}

fn as_json(finding: &Finding) -> Value {
    let state = match finding.state {
        State::Well => "well",
        State::Lacking => "lacking",
        State::Wrong => "wrong",
    };
    json!({ "of": finding.of, "state": state, "text": finding.text, "mend": finding.mend })
}

fn table(found: &[Finding]) -> String {
    let paint = Paint { colour: terminal::colour_on(&std::io::stdout()) };
    let room = terminal::width().saturating_sub(12);
    let mut text = String::new();
    for one in found {
        let (sign, tone) = match one.state {
            State::Well => ("✓", Tone::Good),
            State::Lacking => ("!", Tone::Warn),
            State::Wrong => ("✗", Tone::Bad),
        };
        let mend = one.mend.iter().map(|mend| format!("-> {mend}"));
        let said = std::iter::once(one.text.clone()).chain(mend);
        let lines = said.flat_map(|said| wrap(&one_line(&said), room)).enumerate();
        for (at, line) in lines {
            let (sign, of) = if at == 0 { (paint.on(tone, sign), one.of) } else { (" ".into(), "") };
            text += format!("{sign} {of:8}  {line}").trim_end();
            text.push('\n');
        }
    }
    text
}
