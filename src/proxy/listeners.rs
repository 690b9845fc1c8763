//! The public sockets: bound here, or inherited from the service manager or the previous process. Knows no route.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::client_connection::{self, Accepted};
use super::keep_alive;
use super::shared::Shared;
use super::threads::Threads;
use super::tls::Tls;

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;
/// The pause after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The public sockets by address.
pub struct Listeners {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    tls: Option<Arc<Tls>>,
    open: BTreeMap<SocketAddr, OpenSocket>,
    /// Addresses that stay open without a route.
    kept: Vec<SocketAddr>,
}

struct OpenSocket {
    /// A duplicate of the socket, for a process that takes over.
    copy: StdListener,
    /// The socket until accepting begins; meanwhile connections wait in its queue.
    waiting: Option<TcpListener>,
    end: CancellationToken,
}

impl Listeners {
    pub fn new(shared: Arc<Shared>, threads: Arc<Threads>, tls: Option<Arc<Tls>>) -> Self {
        Self { shared, threads, tls, open: BTreeMap::new(), kept: Vec::new() }
    }

    /// Adds a socket that is already bound. Accepts nothing before [`Self::begin`].
    ///
    /// # Errors
    /// When it is not a listening socket.
    pub fn adopt(&mut self, socket: StdListener, keep: bool) -> io::Result<SocketAddr> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let copy = socket.try_clone()?;
        let waiting = Some(TcpListener::from_std(socket)?);
        self.open.insert(address, OpenSocket { copy, waiting, end: CancellationToken::new() });
        if keep {
            self.kept.push(address);
        }
        Ok(address)
    }

    /// Listens on the address, unless it already does. Accepts nothing before [`Self::begin`].
    ///
    /// # Errors
    /// When the address is in use or does not belong to this machine.
    pub fn ensure(&mut self, address: SocketAddr, keep: bool) -> io::Result<()> {
        if self.open.contains_key(&address) {
            if keep && !self.kept.contains(&address) {
                self.kept.push(address);
            }
            return Ok(());
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        self.adopt(socket.listen(BACKLOG)?.into_std()?, keep)?;
        Ok(())
    }

    /// Begins to accept on all new sockets. Call it once the route table is in place: an earlier request would find no
    /// route.
    pub fn begin(&mut self) {
        for (address, open) in &mut self.open {
            let Some(listener) = open.waiting.take() else { continue };
            let tls = self.tls.clone().filter(|tls| tls.serves(*address));
            let (shared, threads) = (Arc::clone(&self.shared), Arc::clone(&self.threads));
            tokio::spawn(accept(listener, *address, tls, shared, threads, open.end.clone()));
        }
    }

    /// Closes the sockets that no route needs, except those that are to stay open.
    pub fn retain(&mut self, needed: &[SocketAddr]) {
        let kept = &self.kept;
        self.open.retain(|address, open| {
            let stays = needed.contains(address) || kept.contains(address);
            if !stays {
                open.end.cancel();
            }
            stays
        });
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.keys().copied().collect()
    }

    /// Returns duplicates of the sockets for the process that takes over.
    ///
    /// # Errors
    /// When the system is out of file descriptors.
    pub fn copies(&self) -> io::Result<Vec<StdListener>> {
        self.open.values().map(|open| open.copy.try_clone()).collect()
    }

    /// Stops accepting. Connections in the queue of a shared socket stay there for the other process.
    pub fn close(&mut self) {
        for open in std::mem::take(&mut self.open).into_values() {
            open.end.cancel();
        }
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    end: CancellationToken,
) {
    loop {
        // Reserve a slot before accepting, so that excess connections wait in the queue of the socket.
        let slot = tokio::select! {
            () = end.cancelled() => return,
            slot = Arc::clone(&shared.slots).acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return };
        shared.reserved.fetch_add(1, Ordering::AcqRel);
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => None,
            accepted = listener.accept() => Some(accepted),
        };
        shared.reserved.fetch_sub(1, Ordering::AcqRel);
        let Some(accepted) = accepted else { return };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, or the client disconnected while it was queued.
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // A client that acknowledges no data for this long is disconnected.
        let timeout_ms = u32::try_from(shared.limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, timeout_ms);
        drop(stream.set_nodelay(true));
        keep_alive::enable(&stream);
        let Ok(stream) = stream.into_std() else { continue };
        let accepted = Accepted { stream, peer, address, tls: tls.as_ref().map(|tls| tls.acceptor()), slot };
        let shared = Arc::clone(&shared);
        threads.spawn(move |thread| client_connection::serve(accepted, shared, thread));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::super::limits::Limits;
    use super::super::trusted_networks::TrustedNetworks;
    use super::*;

    #[tokio::test]
    async fn connections_wait_until_accepting_begins() {
        let threads = Arc::new(Threads::start(1).unwrap());
        let shared = Arc::new(Shared::new(Limits::default(), TrustedNetworks::default(), None, 0));
        let mut listeners = Listeners::new(Arc::clone(&shared), threads, None);
        let address = listeners.adopt(StdListener::bind("127.0.0.1:0").unwrap(), true).unwrap();
        let _early = TcpStream::connect(address).unwrap();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shared.accepted.load(Ordering::Relaxed), 0);
        listeners.begin();
        let accepted = async {
            while shared.accepted.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), accepted).await.unwrap();
    }
}
