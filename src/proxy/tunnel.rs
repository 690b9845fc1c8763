//! An upgraded stream (WebSocket and others): bytes both ways until one side ends, or a drain's deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use super::forward::Context;
use super::limits::HANDSHAKE_TIMEOUT;
use super::upstream::StreamClaim;

/// Bytes flow from when both sides are upgraded.
pub fn open(context: Arc<Context>, visitor: OnUpgrade, target: OnUpgrade, claim: StreamClaim) {
    let counted = Counted::new(context);
    tokio::spawn(async move {
        let cut = claim.cut.clone();
        let ended = counted.0.shared.cut_streams.clone();
        tokio::select! {
            () = copy(visitor, target) => {}
            () = cut.cancelled() => {}
            () = ended.cancelled() => {}
        }
        drop((claim, counted));
    });
}

async fn copy(visitor: OnUpgrade, target: OnUpgrade) {
    let upgraded = async { tokio::try_join!(visitor, target) };
    let Ok(Ok((visitor, target))) = timeout(HANDSHAKE_TIMEOUT, upgraded).await else { return };
    // Either side's end is the end; who broke off is of no interest.
    drop(copy_bidirectional(&mut TokioIo::new(visitor), &mut TokioIo::new(target)).await);
}

/// Counted for the end of the process; keeps the connection's place.
struct Counted(Arc<Context>);

impl Counted {
    fn new(context: Arc<Context>) -> Self {
        context.shared.streams.fetch_add(1, Ordering::AcqRel);
        Self(context)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
