//! The public sockets: bound here, or handed over by the service manager or by the process before. Knows no route.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Accepted};
use super::shared::Shared;
use super::threads::Threads;
use super::tls::Tls;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// After an accept that failed for want of something.
const BREATH: Duration = Duration::from_millis(10);

/// All of them, by their address.
pub struct Listeners {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    tls: Option<Arc<Tls>>,
    open: BTreeMap<SocketAddr, Open>,
    /// Stay open without a route.
    kept: Vec<SocketAddr>,
}

struct Open {
    /// The same socket once more, for whoever takes over.
    copy: StdListener,
    /// Bound, with nobody who accepts yet: connections wait in its queue.
    waiting: Option<TcpListener>,
    end: CancellationToken,
}

impl Listeners {
    pub fn new(shared: Arc<Shared>, threads: Arc<Threads>, tls: Option<Arc<Tls>>) -> Self {
        Self { shared, threads, tls, open: BTreeMap::new(), kept: Vec::new() }
    }

    /// Takes a socket that is bound already. Accepts nothing before [`Self::begin`].
    ///
    /// # Errors
    /// When it is no listening socket.
    pub fn adopt(&mut self, socket: StdListener, keep: bool) -> io::Result<SocketAddr> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let copy = socket.try_clone()?;
        let waiting = Some(TcpListener::from_std(socket)?);
        self.open.insert(address, Open { copy, waiting, end: CancellationToken::new() });
        if keep {
            self.kept.push(address);
        }
        Ok(address)
    }

    /// Listens there, unless it does already. Accepts nothing before [`Self::begin`].
    ///
    /// # Errors
    /// When the address is taken, or not of this machine.
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

    /// Begins to accept on all that wait for it. To be called when the table knows their routes: who is accepted before
    /// finds none.
    pub fn begin(&mut self) {
        for (address, open) in &mut self.open {
            let Some(listener) = open.waiting.take() else { continue };
            let tls = self.tls.clone().filter(|tls| tls.serves(*address));
            let (shared, threads) = (Arc::clone(&self.shared), Arc::clone(&self.threads));
            tokio::spawn(accept(listener, *address, tls, shared, threads, open.end.clone()));
        }
    }

    /// Closes those that no route wants, and that were not asked for by name.
    pub fn retain(&mut self, wanted: &[SocketAddr]) {
        let kept = &self.kept;
        self.open.retain(|address, open| {
            let stays = wanted.contains(address) || kept.contains(address);
            if !stays {
                open.end.cancel();
            }
            stays
        });
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.keys().copied().collect()
    }

    /// The sockets, for the process that takes over.
    ///
    /// # Errors
    /// When the system gives no more descriptors.
    pub fn copies(&self) -> io::Result<Vec<StdListener>> {
        self.open.values().map(|open| open.copy.try_clone()).collect()
    }

    /// Accepts nothing more. The queue of a socket that another process has too stays for that one.
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
        // First a place, then a connection: what is too much waits in the queue of the socket.
        let place = tokio::select! {
            () = end.cancelled() => return,
            place = Arc::clone(&shared.places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        shared.kept.fetch_add(1, Ordering::AcqRel);
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => None,
            accepted = listener.accept() => Some(accepted),
        };
        shared.kept.fetch_sub(1, Ordering::AcqRel);
        let Some(accepted) = accepted else { return };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, or a visitor who left in the queue.
            tokio::time::sleep(BREATH).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // Whoever takes nothing off for so long is gone.
        let patience = u32::try_from(shared.limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience);
        drop(stream.set_nodelay(true));
        let Ok(stream) = stream.into_std() else { continue };
        let accepted = Accepted { stream, peer, address, tls: tls.as_ref().map(|tls| tls.acceptor()), place };
        let shared = Arc::clone(&shared);
        threads.spawn(move |thread| connection::serve(accepted, shared, thread));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::super::limits::Limits;
    use super::*;

    #[tokio::test]
    async fn who_comes_before_the_routes_waits_for_them() {
        let threads = Arc::new(Threads::start(1).unwrap());
        let shared = Arc::new(Shared::new(Limits::default(), false, None, 0));
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
