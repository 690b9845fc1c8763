//! The life of the process: state, sockets, readiness; then signals, drain and end.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::access_log::AccessLog;
use super::control;
use super::handover::{self, Taken};
use super::limits::Limits;
use super::listeners::Listeners;
use super::notice::notice;
use super::shared::Shared;
use super::state::State;
use super::state_file::{Loaded, StateFile};
use super::steering::{Steering, addresses};
use super::threads::Threads;
use super::tls::Tls;

/// Certificates are looked at again.
const TLS_LOOK: Duration = Duration::from_secs(30);
/// Between two looks at who is still there.
const LOOK: Duration = Duration::from_millis(10);
/// For tasks that were told to end, and for answers to commands.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a proxy is started.
#[derive(Debug)]
pub struct ProxyOptions {
    /// Public addresses that are open without a route.
    pub listen: Vec<SocketAddr>,
    /// Those among all that speak TLS.
    pub listen_tls: Vec<SocketAddr>,
    pub tls_folder: Option<PathBuf>,
    /// The control socket.
    pub control: PathBuf,
    pub state: PathBuf,
    /// `-` for standard output.
    pub access_log: Option<PathBuf>,
    /// Where the metrics are, besides the control socket.
    pub metrics: Option<SocketAddr>,
    /// There is a proxy in front whose forwarded headers are true.
    pub trusted: bool,
    pub threads: usize,
    pub limits: Limits,
    /// Take the place of one that runs.
    pub take_over: bool,
    /// Sockets of the service manager.
    pub sockets: Vec<StdListener>,
    /// Where the service manager wants to hear of readiness.
    pub notify: Option<OsString>,
    /// How to start this program again.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

/// A proxy that runs.
pub struct Proxy {
    pub options: ProxyOptions,
    pub steering: Arc<Steering>,
    /// Another process has taken over.
    pub taken_over: watch::Sender<bool>,
    /// Counts those who talk to the control socket.
    controllers: Arc<()>,
}

/// Somebody who talks to the control socket.
pub struct Listening {
    _count: Arc<()>,
}

impl Proxy {
    pub fn listen(&self) -> Listening {
        Listening { _count: Arc::clone(&self.controllers) }
    }

    fn controllers(&self) -> usize {
        Arc::strong_count(&self.controllers).saturating_sub(1)
    }
}

/// Serves until a signal, or until another process takes over.
///
/// # Errors
/// When it cannot start: a damaged state, an address that is taken, a proxy that runs already.
pub async fn run(mut options: ProxyOptions) -> Result<(), String> {
    let taken = if options.take_over {
        handover::take(&options.control).map_err(|error| format!("the proxy that runs cannot be replaced: {error}"))?
    } else {
        refuse_second(&options)?;
        None
    };
    let threads = Arc::new(Threads::start(options.threads).map_err(|error| format!("no threads: {error}"))?);
    let (steering, taken) = assemble(&mut options, taken, &threads)?;
    let name = |what: &str| format!("the control socket {what} `{}`", options.control.display());
    let commands = control::bind(&options.control).map_err(|error| format!("{}: {error}", name("at")))?;
    let offers =
        control::bind(&handover::socket(&options.control)).map_err(|error| format!("{}: {error}", name("beside")))?;
    let metrics = match options.metrics {
        Some(address) => Some(metrics_socket(address).map_err(|error| format!("metrics at {address}: {error}"))?),
        None => None,
    };
    let watched = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(hangup)) = watched else {
        return Err("signals cannot be watched".to_owned());
    };
    if let Some(taken) = taken {
        let ready = taken.ready(&steering);
        ready.map_err(|error| format!("the proxy that was to be replaced is gone: {error}"))?;
    }
    // Last of all that can fail: whoever is accepted by a process that ends is lost, whoever waits in the queue is not.
    steering.wheel().await.listeners.begin();
    let (taken_over, mut taken_over_seen) = watch::channel(false);
    let proxy = Arc::new(Proxy { options, steering, taken_over, controllers: Arc::default() });
    tokio::spawn(control::serve(commands, Arc::clone(&proxy)));
    tokio::spawn(handover::offer(offers, Arc::clone(&proxy)));
    if let Some(metrics) = metrics {
        tokio::spawn(control::serve_metrics(metrics, Arc::clone(&proxy)));
    }
    tokio::spawn(watch_certificates(Arc::clone(&proxy), hangup));
    tell_manager(proxy.options.notify.as_ref());
    let listening = proxy.steering.wheel().await.listeners.addresses();
    let shown: Vec<String> = listening.iter().map(ToString::to_string).collect();
    notice(format!("ready; listens on {}", if shown.is_empty() { "nothing yet".to_owned() } else { shown.join(", ") }));
    tokio::select! {
        _ = terminate.recv() => notice("terminated: no new connections; ends when its requests have"),
        _ = interrupt.recv() => notice("interrupted: no new connections; ends when its requests have"),
        _ = taken_over_seen.wait_for(|taken| *taken) => {}
    }
    tokio::select! {
        () = end(&proxy) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn refuse_second(options: &ProxyOptions) -> Result<(), String> {
    if std::os::unix::net::UnixStream::connect(&options.control).is_ok() {
        let control = options.control.display();
        return Err(format!(
            "a proxy runs already with `{control}`: `deployer proxy upgrade` replaces it, and so does `{}`",
            handover::TAKE_OVER
        ));
    }
    Ok(())
}

fn assemble(
    options: &mut ProxyOptions,
    mut taken: Option<Taken>,
    threads: &Arc<Threads>,
) -> Result<(Arc<Steering>, Option<Taken>), String> {
    let file = StateFile::new(options.state.clone());
    file.make_folder().map_err(|error| format!("the folder of `{}`: {error}", options.state.display()))?;
    let mut warning = None;
    let mut state = match file.load()? {
        Loaded::Fresh => {
            notice(format!("no state at `{}`: starts without routes", options.state.display()));
            State::default()
        }
        Loaded::Good(state) => state,
        Loaded::Previous(state, why) => {
            warning = Some(format!("{why}: THE COPY BEFORE IT IS USED, the last command may be missing"));
            file.set_aside();
            state
        }
    };
    let prefix = random()?;
    if state.seed.is_empty() {
        state.seed = format!("{:08x}{:08x}", random()?, random()?);
    }
    let log = match &options.access_log {
        Some(path) => Some(AccessLog::open(path).map_err(|error| format!("access log `{}`: {error}", path.display()))?),
        None => None,
    };
    let tls = match &options.tls_folder {
        Some(folder) => Some(Arc::new(Tls::open(folder.clone(), options.listen_tls.clone())?)),
        None if options.listen_tls.is_empty() => None,
        None => return Err("`--listen-tls` needs `--tls-dir`".to_owned()),
    };
    let shared = Arc::new(Shared::new(options.limits, options.trusted, log, prefix));
    let mut listeners = Listeners::new(Arc::clone(&shared), Arc::clone(threads), tls.clone());
    let wanted = addresses(&state);
    let handed = std::mem::take(&mut options.sockets);
    let before = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets)).unwrap_or_default();
    for (socket, keep) in handed.into_iter().map(|socket| (socket, true)).chain(before.into_iter().map(|s| (s, false)))
    {
        listeners.adopt(socket, keep).map_err(|error| format!("a socket that was handed over: {error}"))?;
    }
    for address in options.listen.iter().chain(&options.listen_tls) {
        listeners.ensure(*address, true).map_err(|error| format!("{address} cannot be listened on: {error}"))?;
    }
    for address in wanted {
        listeners.ensure(address, false).map_err(|error| format!("{address} cannot be listened on: {error}"))?;
    }
    let steering = Arc::new(Steering::new(shared, tls, threads.count(), file, state, listeners));
    if let Some(warning) = warning {
        steering.warn(warning);
    }
    Ok((steering, taken))
}

fn random() -> Result<u32, String> {
    getrandom::u32().map_err(|error| format!("no randomness: {error}"))
}

fn metrics_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Now and then, and when SIGHUP asks for it.
async fn watch_certificates(proxy: Arc<Proxy>, mut hangup: Signal) {
    let mut last = String::new();
    loop {
        tokio::select! {
            () = sleep(TLS_LOOK) => {}
            _ = hangup.recv() => {}
        }
        if proxy.steering.tls.is_none() {
            continue;
        }
        let told = proxy.steering.reload_tls().err().map(|refusal| refusal.message).unwrap_or_default();
        if !told.is_empty() && told != last {
            proxy.steering.warn(format!("a certificate cannot be read, the one before stays in use: {told}"));
        }
        last = told;
    }
}

/// No more connections; those that are open end when they can, or at their deadlines.
async fn end(proxy: &Proxy) {
    proxy.steering.wheel().await.listeners.close();
    let shared = &proxy.steering.shared;
    shared.closing.cancel();
    let begun = Instant::now();
    let limits = &shared.limits;
    loop {
        let streams = shared.streams.load(Ordering::Acquire);
        // Whoever took over hears of a process before this one through this one.
        if shared.connections() == 0 && !proxy.steering.predecessor.is_there() {
            break;
        }
        if begun.elapsed() >= limits.drain && !shared.cut.is_cancelled() {
            let cut = shared.connections().saturating_sub(streams);
            if cut > 0 {
                notice(format!("out of time: {cut} connections are cut"));
            }
            shared.cut.cancel();
        }
        if begun.elapsed() >= limits.drain.max(limits.drain_streams) {
            if streams > 0 {
                notice(format!("out of time: {streams} streams are cut"));
            }
            shared.cut_streams.cancel();
            break;
        }
        sleep(LOOK).await;
    }
    let begun = Instant::now();
    while begun.elapsed() < LAST_WORDS && shared.connections() + proxy.controllers() as u64 > 0 {
        sleep(LOOK).await;
    }
}

/// The service manager hears that this process serves, and that it is the main one now.
fn tell_manager(notify: Option<&OsString>) {
    let Some(path) = notify else { return };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    let sent = UnixDatagram::unbound().and_then(|socket| match path.as_bytes().split_first() {
        Some((b'@', name)) => socket.send_to_addr(message.as_bytes(), &UnixAddr::from_abstract_name(name)?),
        _ => socket.send_to(message.as_bytes(), path),
    });
    if let Err(error) = sent {
        notice(format!("the service manager cannot be told: {error}"));
    }
}
