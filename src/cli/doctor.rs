//! `deployer doctor`: finds problems of this machine and its engine, and says how to fix them. Changes nothing.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::output_format::FormatOrJsonArgs;
use super::{EngineArgs, terminal};
use crate::app::{App, environment, open_world, state_folder, this_holder};
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::{Effect, EffectError};
use crate::report::layout::{Paint, Tone, one_line, wrap};
use crate::run::inventory::Inventory;
use crate::world::{Call, World};

/// Less free space than this is reported as a problem.
const DISK_MB: u64 = 2_048;
/// A clock before this time is wrong: 2025-01-01, in milliseconds since 1970.
const EARLIEST_MS: i64 = 1_735_689_600_000;
/// The default control socket of the proxy.
const PROXY: &str = "/run/deployer/proxy.sock";

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    format: FormatOrJsonArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    /// Something that only some scripts need is missing.
    Warning,
    Problem,
}

/// The result of one check.
struct Finding {
    subject: &'static str,
    level: Level,
    text: String,
    fix: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, level: Level::Ok, text: text.into(), fix: None }
    }

    fn warning(subject: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject, level: Level::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    fn problem(subject: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject, level: Level::Problem, text: text.into(), fix: Some(fix.into()) }
    }
}

pub async fn doctor(args: DoctorArgs) -> Result<u8, CommandError> {
    let mut found = vec![journal(&args)];
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
                    "needed by `compose_*` and `compose.file`: install docker-compose-plugin or docker-compose",
                )
                .await,
            );
            found.push(
                program(
                    world.as_ref(),
                    "git",
                    &[&["git", "--version"]],
                    "deployer reads repositories without it; install it if your scripts run it",
                )
                .await,
            );
        }
        Err(error) => {
            let fix = error.help().map_or_else(
                || "start the daemon, or set `--docker-host URL`; without Docker use `--engine local`".into(),
                |help| help.to_string(),
            );
            found.push(Finding::problem("engine", error.to_string(), fix));
        }
    }
    found.push(proxy());
    let text = match args.format.is_json() {
        true => found.iter().map(|finding| format!("{}\n", as_json(finding))).collect(),
        false => table(&found),
    };
    terminal::print(&text)?;
    Ok(u8::from(found.iter().any(|finding| finding.level == Level::Problem)))
}

/// Checks whether the journal can be opened and its folder written to.
fn journal(args: &DoctorArgs) -> Finding {
    let folder = state_folder(args.engine.state.state.as_ref());
    let shown = folder.display().to_string();
    let fix = || format!("take ownership of it with `chown -R $USER {shown}`, or use another with `--state DIR`");
    if let Err(error) = App::journal(args.engine.state.state.as_ref()) {
        return Finding::problem("journal", error.to_string(), "move `journal.db` away, or restore it from a backup");
    }
    // The nearest existing folder decides whether the rest can be created.
    let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(existing) {
        Ok(_) if folder.is_dir() => Finding::ok("journal", shown),
        Ok(_) => Finding::ok("journal", format!("{shown} (the first run creates it)")),
        Err(error) => Finding::problem("journal", format!("`{shown}` cannot be written: {error}"), fix()),
    }
}

async fn engine(world: &dyn World, address: &str) -> Finding {
    match Inventory::take(world).await {
        Ok(inventory) => {
            let (containers, images) = (inventory.containers.len(), inventory.images.len());
            let text = format!("{} at {address}: {containers} containers, {images} images", world.name());
            Finding::ok("engine", text)
        }
        Err(error) => {
            let fix = error.hint.clone().unwrap_or_else(|| "read the log of the daemon".into());
            Finding::problem("engine", error.to_string(), fix)
        }
    }
}

fn clock(world: &dyn World) -> Finding {
    let now_ms = world.clock().unix_ms();
    if now_ms < EARLIEST_MS {
        return Finding::problem(
            "clock",
            "the clock of this machine is years behind",
            "set it with `timedatectl set-ntp true`",
        );
    }
    let text = jiff::Timestamp::from_millisecond(now_ms).map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    Finding::ok("clock", text.unwrap_or_default())
}

async fn disk(world: &dyn World) -> Finding {
    let asked = crate::effect::host::HostDisk { path: ".".into() };
    match ask(world, asked.into()).await {
        Ok(disk) => {
            let free = disk["available_mb"].as_u64().unwrap_or(0);
            let text = format!("{free} of {} MB free", disk["total_mb"]);
            let fix = "free some space with `deployer gc` or `docker system prune`";
            if free < DISK_MB { Finding::problem("disk", text, fix) } else { Finding::ok("disk", text) }
        }
        Err(error) => Finding::warning("disk", error.to_string(), "check it with `df -h`"),
    }
}

/// Runs the commands until one succeeds.
async fn program(world: &dyn World, subject: &'static str, commands: &[&[&str]], fix: &str) -> Finding {
    for command in commands {
        let asked = json!({ "command": command, "timeout": "10s" });
        let Ok(effect) = Effect::decode("exec", asked) else { continue };
        if let Ok(done) = ask(world, effect).await {
            let said = done["stdout"].as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
            return Finding::ok(subject, if said.is_empty() { command.join(" ") } else { said });
        }
    }
    Finding::warning(
        subject,
        format!("no `{}` on this machine", commands.last().and_then(|command| command.first()).unwrap_or(&subject)),
        fix,
    )
}

fn proxy() -> Finding {
    let socket = environment("DEPLOYER_PROXY_CONTROL").unwrap_or_else(|| PROXY.into());
    match std::os::unix::net::UnixStream::connect(&socket) {
        Ok(_) => Finding::ok("proxy", format!("answers at {socket}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::ok("proxy", "not running, which is fine if no route uses it")
        }
        Err(error) => Finding::problem(
            "proxy",
            format!("`{socket}`: {error}"),
            "start it with `deployer proxy run`, or remove the socket",
        ),
    }
}

async fn ask(world: &dyn World, effect: Effect) -> Result<Value, EffectError> {
    let call = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
    world.perform(&call, &effect).await.map(|outcome| outcome.value())
}

/// One finding for programs. The words are a contract.
fn as_json(finding: &Finding) -> Value {
    let state = match finding.level {
        Level::Ok => "well",
        Level::Warning => "lacking",
        Level::Problem => "wrong",
    };
    json!({ "of": finding.subject, "state": state, "text": finding.text, "mend": finding.fix })
}

fn table(found: &[Finding]) -> String {
    let paint = Paint { colour: terminal::colour_on(&std::io::stdout()) };
    let room = terminal::width().saturating_sub(12);
    let mut text = String::new();
    for finding in found {
        let (sign, tone) = match finding.level {
            Level::Ok => ("✓", Tone::Good),
            Level::Warning => ("!", Tone::Warn),
            Level::Problem => ("✗", Tone::Bad),
        };
        let fix = finding.fix.iter().map(|fix| format!("-> {fix}"));
        let parts = std::iter::once(finding.text.clone()).chain(fix);
        let lines = parts.flat_map(|part| wrap(&one_line(&part), room)).enumerate();
        for (at, line) in lines {
            let (sign, subject) = if at == 0 { (paint.on(tone, sign), finding.subject) } else { (" ".into(), "") };
            text += format!("{sign} {subject:8}  {line}").trim_end();
            text.push('\n');
        }
    }
    text
}
