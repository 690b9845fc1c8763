//! `deployer demo`: a blue-green deploy of a tiny app with visitors, by the shipped script, cleaned up afterwards.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::{Value, json};

use super::fault::Fault;
use super::library_closure::libraries;
use super::run::run_once;
use super::script_file::ScriptFile;
use super::visitor::{Noticed, Visitor};
use super::{EngineArgs, ShowAs, signals, terminal};
use crate::app::{App, EngineChoice};
use crate::gateway::Cancel;
use crate::journal::entry::RunStatus;

/// Everything that the demo makes has this name.
const SERVICE: &str = "deployer-demo";
const APP_PORT: u16 = 8080;
/// Exit code when another demo is under way on the same engine.
const LOCKED: u8 = 4;

const CLEAN_UP: &str = r#"
let p = params(#{ service: required("string", "what to remove") });
for container in docker_list(#{ service: p.service, all: true }) {
    docker_remove(container, #{ force: true, disposable: true });
}
commit();
for image in docker_images(p.service) {
    for tag in image.tags { docker_image_remove(tag, #{ force: true, missing_ok: true }); }
}
"#;

#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

struct Demo {
    app: App,
    show_as: ShowAs,
    cancel: Cancel,
    context: PathBuf,
    port: u16,
    green_port: u16,
}

pub async fn demo(args: DemoArgs) -> Result<u8, Fault> {
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), None);
    let folder = tempfile::Builder::new().prefix("deployer-demo-").tempdir().into_diagnostic()?;
    let app = open(&args, folder.path()).await?;
    let context = folder.path().join("app");
    let on_docker = app.world.name() == "docker";
    let built = tokio::task::spawn_blocking({
        let context = context.clone();
        move || write_context(&context, on_docker)
    });
    built.await.into_diagnostic()?.into_diagnostic().wrap_err("the demo's app cannot be written")?;
    let (port, green_port) = free_ports().into_diagnostic()?;
    let demo = Demo { app, show_as: args.show_as, cancel, context, port, green_port };
    let result = demo.play().await;
    let cleaned = match &result {
        // What is there belongs to the other one.
        Err(fault) if fault.exit_code() == LOCKED => Ok(()),
        _ => demo.clean_up().await,
    };
    watch.abort();
    let code = result?;
    cleaned?;
    Ok(code)
}

/// Docker where a daemon answers, else local processes: the demo runs anywhere.
async fn open(args: &DemoArgs, folder: &Path) -> Result<App, Fault> {
    let mut options = args.engine.options()?;
    // The demo leaves no trace in the user's own history.
    options.state.get_or_insert_with(|| folder.join("state"));
    match App::open(&options).await {
        Ok(app) => Ok(app),
        Err(_) if options.engine.is_none() && options.docker_host.is_none() => {
            say("no Docker Engine answers: the demo runs as processes of this machine");
            options.engine = Some(EngineChoice::Local);
            Ok(App::open(&options).await?)
        }
        Err(report) => Err(report.into()),
    }
}

impl Demo {
    async fn play(&self) -> Result<u8, Fault> {
        say(&format!("Visitors come to http://127.0.0.1:{}/ all the time, 50 a second.", self.port));
        say("\n1. The first release, v1:");
        if self.deploy("v1", "no").await? != RunStatus::Succeeded {
            return Ok(1);
        }
        let visitor = Visitor::start(format!("http://127.0.0.1:{}/", self.port));
        say("\n2. The next one, v2, while they visit:");
        let second = self.deploy("v2", "no").await;
        let after_second = visitor.noticed();
        say("\n3. A broken one, v3, which answers 500 to everybody:");
        let third = match second {
            Ok(RunStatus::Succeeded) => self.deploy("v3", "yes").await,
            other => other,
        };
        let noticed = visitor.end().await;
        let third = third?;
        self.tell(&after_second, &noticed);
        let refused = third == RunStatus::Failed && !noticed.versions.contains_key("v3");
        Ok(if refused { 0 } else { 1 })
    }

    async fn deploy(&self, version: &str, broken: &str) -> Result<RunStatus, Fault> {
        let given = json!({
            "service": SERVICE,
            "image": format!("{SERVICE}:{version}"),
            "build": self.context,
            "build_args": {"VERSION": version, "BROKEN": broken},
            "container_port": APP_PORT,
            "port": self.port,
            "green_port": self.green_port,
            "restart": "no",
            "drain": "5s",
            "bake": "1s",
            "health": {"timeout": "5s"},
        });
        self.run(ScriptFile::find("bluegreen.rhai")?, given).await
    }

    async fn run(&self, script: ScriptFile, given: Value) -> Result<RunStatus, Fault> {
        let end = run_once(&self.app, script, given, self.cancel.clone(), terminal::show(self.show_as, true)).await?;
        match end.status {
            // What a second signal left behind is cleaned up like everything else.
            RunStatus::Cancelled | RunStatus::Running => {
                Err(Fault::usage(miette!("the demo was cancelled")).with_code(130))
            }
            RunStatus::Locked => {
                let help = "wait until it has ended";
                Err(Fault::usage(miette!(help = help, "another demo is under way on this engine")).with_code(LOCKED))
            }
            status => Ok(status),
        }
    }

    async fn clean_up(&self) -> Result<(), Fault> {
        let script = ScriptFile::of_text("clean_up.rhai", CLEAN_UP);
        let quiet = ShowAs { format: Some(crate::report::Format::Plain), verbose: false };
        let face = if self.show_as.verbose { terminal::show(quiet, true) } else { terminal::silent() };
        // Also after Ctrl-C: nothing may stay behind.
        let end = run_once(&self.app, script, json!({"service": SERVICE}), Cancel::default(), face).await?;
        match end.status {
            RunStatus::Succeeded => Ok(()),
            _ => {
                let why = end.error.unwrap_or_default();
                let help = format!("look for what is called `{SERVICE}`");
                Err(Fault::usage(miette!(help = help, "the demo could not be cleaned up: {why}")).with_code(3))
            }
        }
    }

    fn tell(&self, after_second: &Noticed, noticed: &Noticed) {
        let versions: Vec<String> = noticed.versions.iter().map(|(name, count)| format!("{count} by {name}")).collect();
        say("\nWhat the visitors noticed:");
        say(&format!("  requests   {} ({})", noticed.requests, versions.join(", ")));
        say(&format!("  failures   {}, all of them while v2 took v1's place", noticed.failures));
        if noticed.failures != after_second.failures {
            say(&format!("             except {} during v3", noticed.failures - after_second.failures));
        }
        say(&format!("  slowest    {} ms", noticed.slowest_ms));
        say(&format!("  no answer  for {} ms at the longest", noticed.longest_gap_ms));
        say("The driver `port` stops the old container and starts the new one on the same port: that is the gap.");
        say("v3 was refused before any visitor met it. Everything the demo made is removed again.");
    }
}

fn say(text: &str) {
    terminal::say(text);
}

/// A folder to build the app's image from: this very program, and for Docker the libraries it needs.
fn write_context(folder: &Path, on_docker: bool) -> std::io::Result<()> {
    let root = folder.join("root");
    std::fs::create_dir_all(&root)?;
    std::fs::copy(std::env::current_exe()?, root.join("deployer"))?;
    if on_docker {
        for (library, place) in libraries()? {
            let target = root.join(place.strip_prefix("/").unwrap_or(&place));
            std::fs::create_dir_all(target.parent().unwrap_or(&root))?;
            std::fs::copy(&library, &target)?;
        }
    }
    let dockerfile = format!(
        "FROM scratch\nARG VERSION\nARG BROKEN\nCOPY root/ /\nENV PORT={APP_PORT} APP_VERSION=${{VERSION}} APP_BROKEN=${{BROKEN}}\n\
         EXPOSE {APP_PORT}\nCMD [\"/deployer\", \"demo-app\"]\n"
    );
    std::fs::write(folder.join("Dockerfile"), dockerfile)
}

/// Two ports that nobody listens on.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}
