//! The life of the proxy process: load the state, open the sockets, report readiness; then wait for a signal, drain
//! and end.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::access_log::AccessLog;
use super::control_socket;
use super::controller::{Controller, addresses};
use super::file_descriptors;
use super::handover::{self, Takeover};
use super::listeners::Listeners;
use super::notice::notice;
use super::options::ProxyOptions;
use super::running_proxy::RunningProxy;
use super::shared::Shared;
use super::state::State;
use super::state_file::{Loaded, StateFile};
use super::threads::Threads;
use super::tls::Tls;

/// How often the certificates are read again.
const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(30);
/// How often the open connections are counted during shutdown.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long shutdown waits for tasks that were cancelled and for replies to commands.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Serves until a signal arrives, or until another process takes over.
///
/// # Errors
/// When the proxy cannot start: a damaged state file, an address in use, a proxy that already runs.
pub async fn run(mut options: ProxyOptions) -> Result<(), String> {
    let takeover = if options.take_over {
        handover::request(&options.control).map_err(|error| format!("the running proxy cannot be replaced: {error}"))?
    } else {
        refuse_second(&options)?;
        None
    };
    let threads = Arc::new(Threads::start(options.threads).map_err(|error| format!("cannot start threads: {error}"))?);
    let (controller, takeover) = assemble(&mut options, takeover, &threads)?;
    let control = options.control.display();
    let commands = control_socket::bind(&options.control)
        .map_err(|error| format!("cannot open the control socket `{control}`: {error}"))?;
    let takeovers = control_socket::bind(&handover::socket(&options.control))
        .map_err(|error| format!("cannot open the handover socket next to `{control}`: {error}"))?;
    let metrics = match options.metrics {
        Some(address) => {
            Some(metrics_socket(address).map_err(|error| format!("cannot listen on {address} for metrics: {error}"))?)
        }
        None => None,
    };
    let watched = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(hangup)) = watched else {
        return Err("cannot watch for signals".to_owned());
    };
    if let Some(takeover) = takeover {
        let ready = takeover.confirm_ready(&controller);
        ready.map_err(|error| format!("the proxy to be replaced ended: {error}"))?;
    }
    // This comes after everything that can fail. A connection that a failing process has accepted is lost; one that
    // waits in the queue of the socket is not.
    controller.lock().await.listeners.begin();
    let (taken_over, mut taken_over_seen) = watch::channel(false);
    let proxy = Arc::new(RunningProxy::new(options, controller, taken_over));
    tokio::spawn(control_socket::serve(commands, Arc::clone(&proxy)));
    tokio::spawn(handover::serve(takeovers, Arc::clone(&proxy)));
    if let Some(metrics) = metrics {
        tokio::spawn(control_socket::serve_metrics(metrics, Arc::clone(&proxy)));
    }
    tokio::spawn(watch_certificates(Arc::clone(&proxy), hangup));
    notify_service_manager(proxy.options.notify.as_ref());
    let listening = proxy.controller.lock().await.listeners.addresses();
    let shown: Vec<String> = listening.iter().map(ToString::to_string).collect();
    notice(format!(
        "ready; listening on {}",
        if shown.is_empty() { "no address yet".to_owned() } else { shown.join(", ") }
    ));
    tokio::select! {
        _ = terminate.recv() => notice("terminated: no new connections; ends after the requests in flight"),
        _ = interrupt.recv() => notice("interrupted: no new connections; ends after the requests in flight"),
        _ = taken_over_seen.wait_for(|taken| *taken) => {}
    }
    tokio::select! {
        () = shut_down(&proxy) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn refuse_second(options: &ProxyOptions) -> Result<(), String> {
    if std::os::unix::net::UnixStream::connect(&options.control).is_ok() {
        let control = options.control.display();
        return Err(format!(
            "a proxy is already running with `{control}`: replace it with `deployer proxy upgrade` or `{}`",
            handover::TAKE_OVER
        ));
    }
    Ok(())
}

/// Loads the state and opens the sockets. Accepts no connection yet.
fn assemble(
    options: &mut ProxyOptions,
    mut takeover: Option<Takeover>,
    threads: &Arc<Threads>,
) -> Result<(Arc<Controller>, Option<Takeover>), String> {
    let file = StateFile::new(options.state.clone());
    let (mut state, warning) = load_state(options, &file)?;
    let prefix = random()?;
    if state.seed.is_empty() {
        state.seed = format!("{:08x}{:08x}", random()?, random()?);
    }
    let log = match &options.access_log {
        Some(path) => Some(
            AccessLog::open(path)
                .map_err(|error| format!("cannot open the access log `{}`: {error}", path.display()))?,
        ),
        None => None,
    };
    let tls = match &options.tls_folder {
        Some(folder) => Some(Arc::new(Tls::open(folder.clone(), options.listen_tls.clone())?)),
        None if options.listen_tls.is_empty() => None,
        None => return Err("`--listen-tls` needs `--tls-dir`".to_owned()),
    };
    let requested = options.limits.connections;
    let descriptors = file_descriptors::raise_limit();
    options.limits.connections = file_descriptors::connections(descriptors, requested);
    if options.limits.connections < requested {
        notice(format!(
            "{} client connections at a time instead of {requested}, because a process may open {descriptors} files: \
             raise the limit with `LimitNOFILE=` in the unit or `ulimit -Hn`",
            options.limits.connections
        ));
    }
    let shared = Arc::new(Shared::new(options.limits, options.trusted.clone(), log, prefix));
    let mut listeners = Listeners::new(Arc::clone(&shared), Arc::clone(threads), tls.clone());
    let from_manager = std::mem::take(&mut options.sockets).into_iter().map(|socket| (socket, true));
    let from_predecessor = takeover.as_mut().map(|takeover| std::mem::take(&mut takeover.sockets)).unwrap_or_default();
    for (socket, keep) in from_manager.chain(from_predecessor.into_iter().map(|socket| (socket, false))) {
        listeners.adopt(socket, keep).map_err(|error| format!("an inherited socket cannot be used: {error}"))?;
    }
    let unusable = |address: SocketAddr, error: io::Error| format!("cannot listen on {address}: {error}");
    for address in options.listen.iter().chain(&options.listen_tls) {
        listeners.ensure(*address, true).map_err(|error| unusable(*address, error))?;
    }
    for address in addresses(&state) {
        listeners.ensure(address, false).map_err(|error| unusable(address, error))?;
    }
    let controller = Arc::new(Controller::new(shared, tls, threads.count(), file, state, listeners));
    if let Some(warning) = warning {
        controller.warn(warning);
    }
    Ok((controller, takeover))
}

/// Returns the state from disk, and a warning when it had to come from the previous copy.
fn load_state(options: &ProxyOptions, file: &StateFile) -> Result<(State, Option<String>), String> {
    let path = options.state.display();
    file.make_folder().map_err(|error| format!("cannot create the folder of `{path}`: {error}"))?;
    match file.load()? {
        Loaded::Missing => {
            notice(format!("no state file `{path}`: starting without routes"));
            Ok((State::default(), None))
        }
        Loaded::Current(state) => Ok((state, None)),
        Loaded::Previous(state, why) => {
            file.keep_damaged();
            Ok((state, Some(format!("{why}: using the PREVIOUS COPY, the last command may be missing"))))
        }
    }
}

fn random() -> Result<u32, String> {
    getrandom::u32().map_err(|error| format!("no random numbers available: {error}"))
}

fn metrics_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Reads the certificates again at intervals, and on SIGHUP.
async fn watch_certificates(proxy: Arc<RunningProxy>, mut hangup: Signal) {
    let mut last = String::new();
    loop {
        tokio::select! {
            () = sleep(TLS_RELOAD_INTERVAL) => {}
            _ = hangup.recv() => {}
        }
        if proxy.controller.tls.is_none() {
            continue;
        }
        let error = proxy.controller.reload_tls().err().map(|refusal| refusal.message).unwrap_or_default();
        if !error.is_empty() && error != last {
            proxy.controller.warn(format!("a certificate cannot be read, the previous one stays in use: {error}"));
        }
        last = error;
    }
}

/// Stops accepting. Open connections end when their requests are done, or at their deadlines.
async fn shut_down(proxy: &RunningProxy) {
    proxy.controller.lock().await.listeners.close();
    let shared = &proxy.controller.shared;
    shared.closing.cancel();
    let begun = Instant::now();
    let limits = &shared.limits;
    loop {
        let streams = shared.streams.load(Ordering::Acquire);
        // A successor learns about this process's own predecessor through this process, so it waits for that one too.
        if shared.connections() == 0 && !proxy.controller.predecessor.is_alive() {
            break;
        }
        if begun.elapsed() >= limits.drain && !shared.cut.is_cancelled() {
            let cut = shared.connections().saturating_sub(streams);
            if cut > 0 {
                notice(format!("deadline reached: closing {cut} connections"));
            }
            shared.cut.cancel();
        }
        if begun.elapsed() >= limits.drain.max(limits.drain_streams) {
            if streams > 0 {
                notice(format!("deadline reached: closing {streams} streams"));
            }
            shared.cut_streams.cancel();
            break;
        }
        sleep(POLL_INTERVAL).await;
    }
    let begun = Instant::now();
    while begun.elapsed() < SHUTDOWN_GRACE && shared.connections() + proxy.control_connections() as u64 > 0 {
        sleep(POLL_INTERVAL).await;
    }
}

/// Tells the service manager that this process serves, and that it is now the main process.
fn notify_service_manager(notify: Option<&OsString>) {
    let Some(path) = notify else { return };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    let sent = UnixDatagram::unbound().and_then(|socket| match path.as_bytes().split_first() {
        Some((b'@', name)) => socket.send_to_addr(message.as_bytes(), &UnixAddr::from_abstract_name(name)?),
        _ => socket.send_to(message.as_bytes(), path),
    });
    if let Err(error) = sent {
        notice(format!("the service manager cannot be notified: {error}"));
    }
}
