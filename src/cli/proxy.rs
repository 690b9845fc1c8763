//! `deployer proxy`: runs, inspects and replaces the embedded proxy. Reads the arguments and the sockets of the service
//! manager.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use listenfd::ListenFd;
use miette::miette;

use super::command_error::CommandError;
use super::output_format::FormatOrJsonArgs;
use super::terminal;
use crate::app::environment;
use crate::base::duration_text::DurationText;
use crate::effect::traffic::RouteView;
use crate::proxy::command::{Command, CommandReply, ProxyStatus, Refusal};
use crate::proxy::{Client, Limits, ProxyOptions, TrustedNetworks, run};

/// How long to wait for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for another process to take over.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct ProxyArgs {
    #[command(subcommand)]
    command: ProxyCommand,
}

#[derive(Debug, Subcommand)]
enum ProxyCommand {
    /// Run the proxy until SIGTERM
    Run(Box<RunArgs>),
    /// Show routes, targets and requests in flight
    Status(StatusArgs),
    /// Replace the running proxy by a new process without refusing connections
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
    /// File that keeps the routes
    #[arg(long, value_name = "FILE", default_value = "/var/lib/deployer/proxy.json")]
    state: PathBuf,
    /// Public address that is open even without a route; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Public address that speaks TLS; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Vec<SocketAddr>,
    /// Folder with HOST.crt and HOST.key, or default.crt and default.key; read again when they change
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Access log with one JSON line for each request; - for standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Address that serves the metrics, in addition to the control socket
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Networks of the proxies in front, whose X-Forwarded headers are kept, such as 10.0.0.0/8,::1
    #[arg(long, value_name = "NETWORKS", num_args = 0..=1, default_missing_value = "")]
    trust_forwarded: Option<String>,
    /// Number of serving threads [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Client connections at a time; further ones wait
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    connections: usize,
    /// Largest request body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes)]
    body_max: u64,
    /// Time for a request's head, and between two requests
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().head_timeout))]
    head_timeout: DurationText,
    /// Longest pause of a request body
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().idle_timeout))]
    idle_timeout: DurationText,
    /// Time for a target's response to begin, and longest pause of its body
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().answer_timeout))]
    answer_timeout: DurationText,
    /// How long an upgraded stream, such as a WebSocket, may carry nothing
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().stream_idle_timeout))]
    stream_idle_timeout: DurationText,
    /// Time for requests to finish at shutdown
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().drain))]
    drain: DurationText,
    /// Time for upgraded streams to finish at shutdown
    #[arg(long, value_name = "DURATION", default_value_t = DurationText(Limits::default().drain_streams))]
    drain_streams: DurationText,
    /// Replace the running proxy, if there is one
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    control: ControlArgs,
    #[command(flatten)]
    format: FormatOrJsonArgs,
}

#[derive(Debug, Args)]
struct UpgradeArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// The new program [default: the path of the running one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Runs a subcommand of `deployer proxy`.
///
/// # Errors
/// When the proxy cannot start, or cannot be reached.
pub async fn proxy(args: ProxyArgs) -> Result<u8, CommandError> {
    match args.command {
        ProxyCommand::Run(args) => {
            let options = options(*args)?;
            run(options).await.map_err(|error| CommandError::usage(miette!("{error}")))?;
            Ok(0)
        }
        ProxyCommand::Status(args) => status(&args).await,
        ProxyCommand::Upgrade(args) => upgrade(args).await,
    }
}

fn options(args: RunArgs) -> Result<ProxyOptions, CommandError> {
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
        stream_idle_timeout: args.stream_idle_timeout.0,
        drain: args.drain.0,
        drain_streams: args.drain_streams.0,
    };
    let program = std::env::current_exe().map_err(|error| miette!("the path of this program is unknown: {error}"))?;
    Ok(ProxyOptions {
        listen: args.listen,
        listen_tls: args.listen_tls,
        tls_folder: args.tls_dir,
        control: args.control.control,
        state: args.state,
        access_log: args.access_log,
        metrics: args.metrics,
        trusted: trusted_networks(args.trust_forwarded.as_deref())?,
        threads,
        limits,
        take_over: args.take_over,
        sockets: inherited_sockets()
            .map_err(|error| miette!("a socket of the service manager cannot be used: {error}"))?,
        notify: environment("NOTIFY_SOCKET").map(Into::into),
        program,
        arguments: std::env::args_os().skip(1).collect(),
    })
}

fn trusted_networks(given: Option<&str>) -> Result<TrustedNetworks, CommandError> {
    match given {
        None => Ok(TrustedNetworks::default()),
        Some("") => {
            terminal::say(
                "warning: `--trust-forwarded` without networks trusts loopback and private networks. A later version \
                 will refuse it: name the networks, such as `--trust-forwarded 10.0.0.0/8,::1`",
            );
            Ok(TrustedNetworks::private())
        }
        Some(text) => text.parse().map_err(|error| CommandError::usage(miette!("`--trust-forwarded`: {error}"))),
    }
}

/// Returns the sockets that the service manager opened (`LISTEN_FDS`).
fn inherited_sockets() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..sockets.len() {
        taken.extend(sockets.take_tcp_listener(index)?);
    }
    Ok(taken)
}

async fn status(args: &StatusArgs) -> Result<u8, CommandError> {
    let client = Client::new(&args.control.control);
    let CommandReply::Status(status) = ask(&client, &Command::Status, REPLY_TIMEOUT).await? else {
        return Err(CommandError::usage(miette!("the proxy sent an unexpected reply")));
    };
    let CommandReply::Routes(routes) = ask(&client, &Command::Show, REPLY_TIMEOUT).await? else {
        return Err(CommandError::usage(miette!("the proxy sent an unexpected reply")));
    };
    if args.format.is_json() {
        let all = serde_json::json!({ "status": status, "routes": routes });
        terminal::print(&format!("{all:#}\n"))?;
    } else {
        terminal::print(&shown(&status, &routes))?;
    }
    Ok(0)
}

fn shown(status: &ProxyStatus, routes: &[RouteView]) -> String {
    let uptime = DurationText(Duration::from_secs(status.uptime_ms / 1_000));
    let mut lines = vec![format!(
        "proxy {} (pid {}), up {uptime}, {} connections, listening on {}",
        status.version,
        status.pid,
        status.connections,
        if status.addresses.is_empty() { "no address".to_owned() } else { status.addresses.join(", ") },
    )];
    lines.extend(status.warnings.iter().map(|warning| format!("warning: {warning}")));
    for view in routes {
        let route = &view.route;
        let address = format!(
            "{}{} on {}",
            route.host.as_deref().unwrap_or("*"),
            route.path_prefix.as_deref().unwrap_or("/"),
            route.address
        );
        let held = view.held.map(|waiting| format!(", HELD with {waiting} waiting")).unwrap_or_default();
        lines.push(format!("{}  {address}{held}", route.service));
        for target in &view.targets {
            let health = if target.healthy { "healthy" } else { "UNHEALTHY" };
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

async fn upgrade(args: UpgradeArgs) -> Result<u8, CommandError> {
    let client = Client::new(&args.control.control);
    match ask(&client, &Command::Upgrade { binary: args.binary }, UPGRADE_TIMEOUT).await? {
        CommandReply::Upgraded { pid } => {
            terminal::say(format!("process {pid} has taken over"));
            Ok(0)
        }
        _ => Err(CommandError::usage(miette!("the proxy sent an unexpected reply"))),
    }
}

async fn ask(client: &Client, command: &Command, timeout: Duration) -> Result<CommandReply, CommandError> {
    let refused = |refusal: Refusal| CommandError::usage(miette!("{refusal}")).with_code(1);
    match client.ask(command, timeout).await {
        Ok(answer) => answer.map_err(refused),
        Err(error) => {
            let path = client.path().display();
            let help = format!("start one with `deployer proxy run --control {path}`");
            Err(CommandError::usage(miette!(help = help, "no proxy answers at `{path}`: {error}")).with_code(1))
        }
    }
}
