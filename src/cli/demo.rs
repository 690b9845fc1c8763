//! `deployer demo`: deploys a small app under load with the script bluegreen.rhai, and cleans up afterwards.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::load_generator::{LoadGenerator, LoadStats};
use super::run::run_once;
use super::script_file::ScriptFile;
use super::shared_libraries::libraries;
use super::{EngineArgs, ShowAs, signals, terminal};
use crate::app::{App, EngineChoice};
use crate::gateway::Cancel;
use crate::journal::entry::RunStatus;

/// The name of everything that the demo creates.
const SERVICE: &str = "deployer-demo";
const APP_PORT: u16 = 8080;
/// The exit code when another demo is running on the same engine.
const LOCKED: u8 = 4;

const CLEAN_UP: &str = r#"
let p = params(#{ service: required("string", "service to remove") });
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
    /// Whether the journal is deleted at the end.
    temporary: bool,
    cancel: Cancel,
    context: PathBuf,
    port: u16,
    green_port: u16,
}

pub async fn demo(args: DemoArgs) -> Result<u8, CommandError> {
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
    let temporary = args.engine.state.state.is_none();
    let demo = Demo { app, show_as: args.show_as, temporary, cancel, context, port, green_port };
    let result = demo.run_deploys().await;
    let cleaned = match &result {
        // The containers belong to the other demo.
        Err(error) if error.exit_code() == LOCKED => Ok(()),
        _ => demo.clean_up().await,
    };
    watch.abort();
    let code = result?;
    cleaned?;
    say("Everything that the demo created has been removed.");
    Ok(code)
}

/// Opens Docker if a daemon answers, else local processes.
async fn open(args: &DemoArgs, folder: &Path) -> Result<App, CommandError> {
    let mut options = args.engine.options()?;
    // Keeps the demo out of the user's history.
    options.state.get_or_insert_with(|| folder.join("state"));
    match App::open(&options).await {
        Ok(app) => Ok(app),
        Err(_) if options.engine.is_none() && options.docker_host.is_none() => {
            say("no Docker Engine answers: running the demo with local processes");
            options.engine = Some(EngineChoice::Local);
            Ok(App::open(&options).await?)
        }
        Err(report) => Err(report.into()),
    }
}

impl Demo {
    async fn run_deploys(&self) -> Result<u8, CommandError> {
        say(&format!("A load generator sends 50 requests a second to http://127.0.0.1:{}/.", self.port));
        say("\n1. Deploy the first release, v1:");
        if self.deploy("v1", "no").await? != RunStatus::Succeeded {
            return Ok(1);
        }
        let load = LoadGenerator::start(format!("http://127.0.0.1:{}/", self.port));
        say("\n2. Deploy the next release, v2, under load:");
        let second = self.deploy("v2", "no").await;
        let after_second = load.stats();
        say("\n3. Deploy a broken release, v3, which answers every request with status 500:");
        let third = match second {
            Ok(RunStatus::Succeeded) => self.deploy("v3", "yes").await,
            other => other,
        };
        let stats = load.stop().await;
        let third = third?;
        self.print_results(&after_second, &stats);
        let rejected = third == RunStatus::Failed;
        if rejected {
            say("The deploy of v3 failed its checks and was rolled back; v2 stayed live until the clean-up.");
        }
        Ok(if rejected && !stats.versions.contains_key("v3") { 0 } else { 1 })
    }

    async fn deploy(&self, version: &str, broken: &str) -> Result<RunStatus, CommandError> {
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

    async fn run(&self, script: ScriptFile, given: Value) -> Result<RunStatus, CommandError> {
        let reporter = match self.temporary {
            true => terminal::show_temporary(self.show_as),
            false => terminal::show(self.show_as, true),
        };
        let end = run_once(&self.app, script, given, self.cancel.clone(), reporter).await?;
        match end.status {
            // After a second signal the run is unfinished; the clean-up removes its containers, too.
            RunStatus::Cancelled | RunStatus::Running => {
                Err(CommandError::usage(miette!("the demo was cancelled")).with_code(130))
            }
            RunStatus::Locked => {
                let help = "wait until it has finished";
                Err(CommandError::usage(miette!(help = help, "another demo is running on this engine"))
                    .with_code(LOCKED))
            }
            status => Ok(status),
        }
    }

    async fn clean_up(&self) -> Result<(), CommandError> {
        let script = ScriptFile::of_text("clean_up.rhai", CLEAN_UP);
        let quiet = ShowAs { format: Some(crate::report::Format::Plain), verbose: false };
        let reporter = if self.show_as.verbose { terminal::show(quiet, true) } else { terminal::silent() };
        // Not cancelled by Ctrl-C, so that nothing is left behind.
        let end = run_once(&self.app, script, json!({"service": SERVICE}), Cancel::default(), reporter).await?;
        match end.status {
            RunStatus::Succeeded => Ok(()),
            _ => {
                let why = end.error.unwrap_or_default();
                let help = format!("remove the containers and images named `{SERVICE}`");
                Err(CommandError::usage(miette!(help = help, "the demo could not clean up: {why}")).with_code(3))
            }
        }
    }

    fn print_results(&self, after_second: &LoadStats, stats: &LoadStats) {
        let versions: Vec<String> = stats.versions.iter().map(|(name, count)| format!("{count} by {name}")).collect();
        say("\nResults of the load generator:");
        say(&format!("  requests   {} ({})", stats.requests, versions.join(", ")));
        say(&format!("  failures   {}, all during the cutover from v1 to v2", stats.failures));
        if stats.failures != after_second.failures {
            say(&format!("             except {} during the deploy of v3", stats.failures - after_second.failures));
        }
        say(&format!("  slowest    {} ms", stats.slowest_ms));
        say(&format!("  no answer  for {} ms at the longest", stats.longest_gap_ms));
        say(
            "The gap is due to the driver `port`, which stops the old container and starts the new one on the same port.",
        );
    }
}

fn say(text: &str) {
    terminal::say(text);
}

/// Writes the build context of the app's image: this program and, for Docker, the libraries that it needs.
fn write_context(folder: &Path, on_docker: bool) -> std::io::Result<()> {
    let root = folder.join("root");
    std::fs::create_dir_all(&root)?;
    std::fs::copy(std::env::current_exe()?, root.join("deployer"))?;
    if on_docker {
        for (library, image_path) in libraries()? {
            let target = root.join(image_path.strip_prefix("/").unwrap_or(&image_path));
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

/// Returns two free ports.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}
