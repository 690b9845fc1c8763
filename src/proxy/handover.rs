//! One process takes over from another: sockets by SCM_RIGHTS, then the commands, then the old one drains and ends.
//!
//! The old process listens beside its control socket. The new one connects, gets the addresses and the sockets, starts,
//! and says that it is ready; from then on the old one accepts nothing and refuses commands. Until it ends it follows
//! every change of the new one, for its kept connections may ask once more, and tells it what it has in flight, so that a
//! drain there counts it.

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
use super::notice::notice;
use super::predecessor::{Change, Predecessor, Report, read_line, write_line};
use super::proxy::Proxy;
use super::steering::Steering;

/// Asks for the place of a proxy that runs.
pub const TAKE_OVER: &str = "--take-over";
/// Sockets that fit one message.
const SOCKETS_MAX: usize = 200;
/// From the first word to the last one.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two reports of what is in flight.
const REPORT: Duration = Duration::from_millis(50);
const READY: &[u8] = b"ready\n";

/// Where the old process listens.
pub fn socket(control: &Path) -> PathBuf {
    let mut path = control.to_owned().into_os_string();
    path.push(".handover");
    PathBuf::from(path)
}

/// Starts the new process, and waits until it has taken over.
///
/// # Errors
/// When it did not; this process goes on as it was.
pub async fn upgrade(proxy: &Arc<Proxy>, binary: Option<PathBuf>) -> Result<u32, Refusal> {
    if proxy.steering.wheel().await.handed_over {
        return Err(Refusal::conflict("another process has taken over already"));
    }
    let program = binary.unwrap_or_else(|| proxy.options.program.clone());
    let mut process = Process::new(&program);
    process.args(&proxy.options.arguments).stdin(Stdio::null());
    if !proxy.options.arguments.iter().any(|argument| argument == TAKE_OVER) {
        process.arg(TAKE_OVER);
    }
    // The sockets come by the handover alone.
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"] {
        process.env_remove(name);
    }
    let mut child = process
        .spawn()
        .map_err(|error| Refusal::failed(format!("`{}` cannot be started: {error}", program.display())))?;
    let pid = child.id().unwrap_or_default();
    let mut taken = proxy.taken_over.subscribe();
    let taken_over = async {
        // Ends early only with the sender, which lives as long as the proxy.
        drop(taken.wait_for(|taken| *taken).await);
    };
    tokio::select! {
        done = timeout(PATIENCE, taken_over) => {
            if done.is_ok() {
                return Ok(pid);
            }
            drop(child.start_kill());
            drop(child.wait().await);
            Err(Refusal::failed("the new process did not take over in time; this one goes on"))
        }
        ended = child.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Refusal::failed(format!("the new process ended before it took over ({how}); this one goes on")))
        }
    }
}

/// The old process: offers its place to whoever asks, one at a time.
pub async fn offer(listener: UnixListener, proxy: Arc<Proxy>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(REPORT).await;
            continue;
        };
        match give(stream, &proxy).await {
            Ok(stream) => {
                notice("another process has taken over; this one ends when its requests have");
                proxy.taken_over.send_replace(true);
                report(stream, &proxy.steering).await;
                return;
            }
            Err(error) => notice(format!("a handover came to nothing: {error}")),
        }
    }
}

async fn give(stream: tokio::net::UnixStream, proxy: &Arc<Proxy>) -> io::Result<StdStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Held until the new process is ready: no command is lost between both.
    let mut wheel = proxy.steering.wheel().await;
    let sockets = wheel.listeners.copies()?;
    let stream = tokio::task::spawn_blocking(move || {
        send(&stream, &sockets)?;
        let mut word = [0; READY.len()];
        (&stream).read_exact(&mut word)?;
        if word == READY { Ok(stream) } else { Err(io::Error::other("the other side is no proxy")) }
    })
    .await??;
    wheel.handed_over = true;
    wheel.listeners.close();
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
        return Err(io::Error::other("the sockets do not fit one message"));
    }
    let count = [sockets.len() as u8];
    sendmsg(stream, &[IoSlice::new(&count)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Follows the new process, and says what is in flight here, until this one ends.
async fn report(stream: StdStream, steering: &Arc<Steering>) {
    let (followed, mut follows) = watch::channel(0);
    let Ok(changes) = stream.try_clone() else { return };
    let (own, runtime) = (Arc::clone(steering), tokio::runtime::Handle::current());
    let follower = std::thread::Builder::new().name("handover".to_owned()).spawn(move || {
        let mut changes = BufReader::new(changes);
        while let Some(change) = read_line::<Change>(&mut changes) {
            runtime.block_on(own.follow(change.state));
            followed.send_replace(change.number);
        }
    });
    if let Err(error) = follower {
        notice(format!("the process that took over is not followed: {error}"));
    }
    loop {
        let number = *follows.borrow_and_update();
        let report = Report { follows: number, here: steering.here().await };
        if write_line(&stream, &report).is_err() {
            return;
        }
        // At once after a change, else now and then.
        if let Ok(Err(_)) = timeout(REPORT, follows.changed()).await {
            sleep(REPORT).await;
        }
    }
}

/// What the new process got.
pub struct Taken {
    pub sockets: Vec<StdListener>,
    stream: StdStream,
}

/// The new process: asks the one that runs for its sockets. `None`: none runs.
///
/// # Errors
/// When one runs and does not give them.
pub fn take(control: &Path) -> io::Result<Option<Taken>> {
    let stream = match StdStream::connect(socket(control)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
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
        return Err(io::Error::other("the process that runs did not give its sockets"));
    }
    Ok(Some(Taken { sockets, stream }))
}

impl Taken {
    /// Tells the old process that this one serves, and listens to what that one has still in flight.
    ///
    /// # Errors
    /// When it is gone.
    pub fn ready(self, steering: &Arc<Steering>) -> io::Result<()> {
        (&self.stream).write_all(READY)?;
        self.stream.set_read_timeout(None)?;
        Predecessor::attend(steering, self.stream)
    }
}
