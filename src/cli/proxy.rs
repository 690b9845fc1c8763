//! `deployer proxy`: runs the embedded proxy, shows it, replaces it. Reads arguments and the service manager's sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use listenfd::ListenFd;
use miette::miette;

use super::fault::Fault;
use super::terminal;
use crate::app::environment;
use crate::base::duration_text::DurationText;
use crate::effect::traffic::RouteView;
use crate::proxy::command::{Command, Refusal, Reply, Status};
use crate::proxy::{Client, Limits, ProxyOptions, run};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For another process to take over.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct ProxyArgs {
    #[command(subcommand)]
    verb: ProxyVerb,
}

#[derive(Debug, Subcommand)]
enum ProxyVerb {
    /// Serve until SIGTERM
    Run(Box<RunArgs>),
    /// Show routes, targets and what is under way
    Status(StatusArgs),
    /// Replace the running proxy by a new process; no connection is refused
    Upgrade(UpgradeArgs),
}

#[derive(Debug, Args)]
struct ControlArgs {
    /// The control socket
    #[arg(long, value_name = "PATH", env = "DEPLOYER_PROXY_CONTROL", default_value = "/run/deployer/proxy.sock")]
    control: PathBuf,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Where routes are kept
    #[arg(long, value_name = "FILE", default_value = "/var/lib/deployer/proxy.json")]
    state: PathBuf,
    /// Public address that is open without a route too; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Public address that speaks TLS; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Vec<SocketAddr>,
    /// Folder of HOST.crt and HOST.key, and of default.crt and default.key; read again when they change
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// JSON lines of all requests; - for standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Address with the metrics, besides the control socket
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Believe X-Forwarded headers that come in: another proxy is in front
    #[arg(long)]
    trust_forwarded: bool,
    /// [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Visitors' connections at a time; more wait
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    connections: usize,
    /// Largest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes)]
    body_max: u64,
    /// For a request's head, and between two requests
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().head_timeout))]
    head_timeout: DurationText,
    /// Without a byte of a request's body
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().idle_timeout))]
    idle_timeout: DurationText,
    /// For a target's answer to begin, and between two of its bytes
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().answer_timeout))]
    answer_timeout: DurationText,
    /// When it ends: for requests
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().drain))]
    drain: DurationText,
    /// When it ends: for upgraded streams
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().drain_streams))]
    drain_streams: DurationText,
    /// Take the place of the proxy that runs, if one does
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct UpgradeArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// The new program [default: the one at the running one's path]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// # Errors
/// When the proxy cannot start, or cannot be reached.
pub async fn proxy(args: ProxyArgs) -> Result<u8, Fault> {
    match args.verb {
        ProxyVerb::Run(args) => {
            let options = options(*args)?;
            run(options).await.map_err(|error| Fault::usage(miette!("{error}")))?;
            Ok(0)
        }
        ProxyVerb::Status(args) => status(&args).await,
        ProxyVerb::Upgrade(args) => upgrade(args).await,
    }
}

fn options(args: RunArgs) -> Result<ProxyOptions, Fault> {
    let threads = match args.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, NonZero::get),
    };
    let limits = Limits {
        connections: args.connections.clamp(1, tokio::sync::Semaphore::MAX_PERMITS),
        body_bytes: args.body_max,
        head_timeout: args.head_timeout.0,
        idle_timeout: args.idle_timeout.0,
        answer_timeout: args.answer_timeout.0,
        drain: args.drain.0,
        drain_streams: args.drain_streams.0,
    };
    let program = std::env::current_exe().map_err(|error| miette!("this program's own path: {error}"))?;
    Ok(ProxyOptions {
        listen: args.listen,
        listen_tls: args.listen_tls,
        tls_folder: args.tls_dir,
        control: args.control.control,
        state: args.state,
        access_log: args.access_log,
        metrics: args.metrics,
        trusted: args.trust_forwarded,
        threads,
        limits,
        take_over: args.take_over,
        sockets: handed_over().map_err(|error| miette!("a socket of the service manager: {error}"))?,
        notify: environment("NOTIFY_SOCKET").map(Into::into),
        program,
        arguments: std::env::args_os().skip(1).collect(),
    })
}

/// The sockets that the service manager opened (`LISTEN_FDS`).
fn handed_over() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..sockets.len() {
        taken.extend(sockets.take_tcp_listener(index)?);
    }
    Ok(taken)
}

async fn status(args: &StatusArgs) -> Result<u8, Fault> {
    let client = Client::new(&args.control.control);
    let Reply::Status(status) = ask(&client, &Command::Status, PATIENCE).await? else {
        return Err(Fault::usage(miette!("the proxy answered something else")));
    };
    let Reply::Routes(routes) = ask(&client, &Command::Show, PATIENCE).await? else {
        return Err(Fault::usage(miette!("the proxy answered something else")));
    };
    if args.json {
        let all = serde_json::json!({ "status": status, "routes": routes });
        terminal::print(&format!("{all:#}\n"))?;
    } else {
        terminal::print(&shown(&status, &routes))?;
    }
    Ok(0)
}

fn shown(status: &Status, routes: &[RouteView]) -> String {
    let up = DurationText(Duration::from_secs(status.uptime_ms / 1_000));
    let mut lines = vec![format!(
        "proxy {} (pid {}), up {up}, {} connections, listens on {}",
        status.version,
        status.pid,
        status.connections,
        if status.addresses.is_empty() { "nothing".to_owned() } else { status.addresses.join(", ") },
    )];
    lines.extend(status.warnings.iter().map(|warning| format!("warning: {warning}")));
    for view in routes {
        let route = &view.route;
        let place = format!(
            "{}{} on {}",
            route.host.as_deref().unwrap_or("*"),
            route.path_prefix.as_deref().unwrap_or("/"),
            route.address
        );
        let held = view.held.map(|waiting| format!(", HELD with {waiting} waiting")).unwrap_or_default();
        lines.push(format!("{}  {place}{held}", route.service));
        for target in &view.targets {
            let health = if target.healthy { "well" } else { "NOT WELL" };
            let draining = if target.draining { ", draining" } else { "" };
            lines.push(format!(
                "  {}  {}  weight {}, {health}{draining}, {} in flight, {} streams",
                target.name, target.address, target.weight, target.in_flight, target.streams
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

async fn upgrade(args: UpgradeArgs) -> Result<u8, Fault> {
    let client = Client::new(&args.control.control);
    match ask(&client, &Command::Upgrade { binary: args.binary }, UPGRADE_PATIENCE).await? {
        Reply::Upgraded { pid } => {
            terminal::say(format!("process {pid} has taken over"));
            Ok(0)
        }
        _ => Err(Fault::usage(miette!("the proxy answered something else"))),
    }
}

async fn ask(client: &Client, command: &Command, patience: Duration) -> Result<Reply, Fault> {
    let refused = |refusal: Refusal| Fault::usage(miette!("{refusal}")).with_code(1);
    match client.ask(command, patience).await {
        Ok(answer) => answer.map_err(refused),
        Err(error) => {
            let path = client.path().display();
            let help = format!("start one with `deployer proxy run --control {path}`");
            Err(Fault::usage(miette!(help = help, "no proxy answers at `{path}`: {error}")).with_code(1))
        }
    }
}
