//! Replaces a running proxy process by a new one without refusing a connection.
//!
//! The old process listens on a second socket next to its control socket. The new process connects, receives the
//! addresses and the sockets (SCM_RIGHTS), starts, and confirms that it is ready. From then on the old process accepts
//! no connection and refuses commands. Until it ends it applies every change of the new one, because its kept-alive
//! connections may send further requests, and it reports what it has in flight, so that a drain in the new process
//! counts those requests too.

use std::io::{self, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener as StdListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;
use tokio::process::Command as Process;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::command::Refusal;
use super::controller::Controller;
use super::notice::notice;
use super::predecessor::{Change, InFlightCounts, Report, read_line, write_line};
use super::running_proxy::RunningProxy;

/// The option that makes a new process replace the running one.
pub const TAKE_OVER: &str = "--take-over";
/// The number of sockets that fit into one message.
const SOCKETS_MAX: usize = 200;
/// How long a handover may take.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the old process reports what it has in flight.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);
const READY: &[u8] = b"ready\n";

/// Returns the path of the handover socket.
pub fn socket(control: &Path) -> PathBuf {
    let mut path = control.to_owned().into_os_string();
    path.push(".handover");
    PathBuf::from(path)
}

/// Starts a new process and waits until it has taken over.
///
/// # Errors
/// When it did not take over; this process continues as before.
pub async fn upgrade(proxy: &Arc<RunningProxy>, binary: Option<PathBuf>) -> Result<u32, Refusal> {
    if proxy.controller.lock().await.handed_over {
        return Err(Refusal::conflict("another process has already taken over"));
    }
    let program = binary.unwrap_or_else(|| proxy.options.program.clone());
    let mut process = Process::new(&program);
    process.args(&proxy.options.arguments).stdin(Stdio::null());
    if !proxy.options.arguments.iter().any(|argument| argument == TAKE_OVER) {
        process.arg(TAKE_OVER);
    }
    // The new process gets its sockets through the handover, not from the service manager.
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"] {
        process.env_remove(name);
    }
    let mut child = process
        .spawn()
        .map_err(|error| Refusal::failed(format!("`{}` cannot be started: {error}", program.display())))?;
    let pid = child.id().unwrap_or_default();
    let mut taken = proxy.taken_over.subscribe();
    let taken_over = async {
        // Fails only if the sender is dropped, and the proxy owns it.
        drop(taken.wait_for(|taken| *taken).await);
    };
    tokio::select! {
        done = timeout(HANDOVER_TIMEOUT, taken_over) => {
            if done.is_ok() {
                return Ok(pid);
            }
            drop(child.start_kill());
            drop(child.wait().await);
            Err(Refusal::failed("the new process did not take over in time; this process continues"))
        }
        ended = child.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Refusal::failed(format!("the new process ended before it took over ({how}); this process continues")))
        }
    }
}

/// Hands over to the first process that requests it and becomes ready. Runs in the old process.
pub async fn serve(listener: UnixListener, proxy: Arc<RunningProxy>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(REPORT_INTERVAL).await;
            continue;
        };
        match hand_over(stream, &proxy).await {
            Ok(stream) => {
                notice("another process has taken over; this one ends after its requests in flight");
                proxy.taken_over.send_replace(true);
                follow_successor(stream, &proxy.controller).await;
                return;
            }
            Err(error) => notice(format!("handover failed: {error}")),
        }
    }
}

async fn hand_over(stream: tokio::net::UnixStream, proxy: &Arc<RunningProxy>) -> io::Result<StdStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(HANDOVER_TIMEOUT))?;
    stream.set_write_timeout(Some(HANDOVER_TIMEOUT))?;
    // Locked until the new process is ready, so that no command is lost between the two.
    let mut control = proxy.controller.lock().await;
    let sockets = control.listeners.copies()?;
    let stream = tokio::task::spawn_blocking(move || {
        send(&stream, &sockets)?;
        let mut message = [0; READY.len()];
        (&stream).read_exact(&mut message)?;
        if message == READY { Ok(stream) } else { Err(io::Error::other("the other process is not a proxy")) }
    })
    .await??;
    control.handed_over = true;
    control.listeners.close();
    stream.set_read_timeout(None)?;
    Ok(stream)
}

fn send(stream: &StdStream, sockets: &[StdListener]) -> io::Result<()> {
    if sockets.len() > SOCKETS_MAX {
        return Err(io::Error::other(format!("more than {SOCKETS_MAX} sockets")));
    }
    let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("the sockets do not fit into one message"));
    }
    let count = [sockets.len() as u8];
    sendmsg(stream, &[IoSlice::new(&count)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Applies the changes of the new process, and reports what is in flight here, until this process ends.
async fn follow_successor(stream: StdStream, controller: &Arc<Controller>) {
    let (applied, mut applied_seen) = watch::channel(0);
    let Ok(changes) = stream.try_clone() else { return };
    let (follower, runtime) = (Arc::clone(controller), tokio::runtime::Handle::current());
    let thread = std::thread::Builder::new().name("handover".to_owned()).spawn(move || {
        let mut changes = BufReader::new(changes);
        while let Some(change) = read_line::<Change>(&mut changes) {
            runtime.block_on(follower.apply_successor_state(change.state));
            applied.send_replace(change.number);
        }
    });
    if let Err(error) = thread {
        notice(format!("changes of the new process are not applied here: {error}"));
    }
    loop {
        let number = *applied_seen.borrow_and_update();
        let report = Report { applied: number, in_flight: controller.in_flight_counts().await };
        if write_line(&stream, &report).is_err() {
            return;
        }
        // Reports a change at once. When the sender is gone, `changed` fails at once and the interval must be waited for.
        if let Ok(Err(_)) = timeout(REPORT_INTERVAL, applied_seen.changed()).await {
            sleep(REPORT_INTERVAL).await;
        }
    }
}

/// What the new process received.
pub struct Takeover {
    pub sockets: Vec<StdListener>,
    stream: StdStream,
}

/// Requests the sockets of the running proxy. `None`: no proxy runs. Runs in the new process.
///
/// # Errors
/// When a proxy runs and does not hand over its sockets.
pub fn request(control: &Path) -> io::Result<Option<Takeover>> {
    let stream = match StdStream::connect(socket(control)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(HANDOVER_TIMEOUT))?;
    stream.set_write_timeout(Some(HANDOVER_TIMEOUT))?;
    let mut count = [0];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut count)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let sockets: Vec<StdListener> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .map(|descriptor: OwnedFd| StdListener::from(descriptor))
        .collect();
    if got.bytes != 1 || got.flags.contains(ReturnFlags::CTRUNC) || sockets.len() != usize::from(count[0]) {
        return Err(io::Error::other("the running process did not hand over its sockets"));
    }
    Ok(Some(Takeover { sockets, stream }))
}

impl Takeover {
    /// Tells the old process that this one serves, and starts to receive its reports.
    ///
    /// # Errors
    /// When the old process has ended, or no thread can be started.
    pub fn confirm_ready(self, controller: &Arc<Controller>) -> io::Result<()> {
        (&self.stream).write_all(READY)?;
        self.stream.set_read_timeout(None)?;
        controller.predecessor.attach(self.stream.try_clone()?);
        let (controller, runtime) = (Arc::clone(controller), tokio::runtime::Handle::current());
        std::thread::Builder::new().name("handover".to_owned()).spawn(move || {
            let mut lines = BufReader::new(self.stream);
            while let Some(report) = read_line::<Report>(&mut lines) {
                runtime.block_on(controller.set_predecessor_counts(&report.in_flight));
                controller.predecessor.set_applied(report.applied);
            }
            runtime.block_on(controller.set_predecessor_counts(&InFlightCounts::new()));
            controller.predecessor.detach();
        })?;
        Ok(())
    }
}
