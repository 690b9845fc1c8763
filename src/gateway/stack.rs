//! The one place that orders the layers, outermost first.

use std::sync::Arc;

use super::consent::{Consent, ConsentLayer};
use super::deadline::DeadlineLayer;
use super::fault::{FaultLayer, Faults};
use super::fence::FenceLayer;
use super::guard::GuardLayer;
use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::record::RecordLayer;
use super::redact::RedactLayer;
use super::replay::ReplayLayer;
use super::retry::RetryLayer;
use super::trace::TraceLayer;
use super::{Layer, WorldLayer};
use crate::world::World;

/// Builds the layers in front of `world`.
///
/// 1. trace: a span around everything, retries included;
/// 2. replay: answers what an interrupted run already did from its journal;
/// 3. record: writes the intent before and the outcome after; what it writes has passed redaction;
/// 4. consent: in a session, asks for confirmation before something live is stopped or removed;
/// 5. redact: scrubs known secrets from what comes back;
/// 6. retry: repeats an effect after a transient fault, where that is safe;
/// 7. fence: before each attempt at a change, checks that the run still holds its locks;
/// 8. guard: refuses to take down a container that a route still refers to;
/// 9. deadline: ends each attempt in time, and soon after the run is cancelled;
/// 10. fault: injects the faults of tests and of `verify`, as close to the world as possible.
pub(super) fn stack(
    world: Arc<dyn World>,
    ledger: Arc<Ledger>,
    faults: Option<Arc<Faults>>,
    consent: Option<Arc<dyn Consent>>,
    locks: Arc<HeldLocks>,
) -> Arc<dyn Layer> {
    let clock = world.clock();
    let inner: Arc<dyn Layer> = Arc::new(WorldLayer(world));
    let inner: Arc<dyn Layer> = match faults {
        Some(faults) => Arc::new(FaultLayer::new(inner, faults)),
        None => inner,
    };
    let inner: Arc<dyn Layer> = Arc::new(DeadlineLayer::new(inner));
    let inner: Arc<dyn Layer> = Arc::new(GuardLayer::new(inner));
    let inner: Arc<dyn Layer> = Arc::new(FenceLayer::new(inner, ledger.clone(), locks, clock.clone()));
    let inner: Arc<dyn Layer> = Arc::new(RetryLayer::new(inner, clock.clone()));
    let inner: Arc<dyn Layer> = Arc::new(RedactLayer::new(inner));
    // Below the journal, which records a refusal; above the deadline, because an answer may take minutes.
    let inner: Arc<dyn Layer> = match consent {
        Some(consent) => Arc::new(ConsentLayer::new(inner, ledger.clone(), consent)),
        None => inner,
    };
    let inner: Arc<dyn Layer> = Arc::new(RecordLayer::new(inner, ledger.clone(), clock));
    let inner: Arc<dyn Layer> = Arc::new(ReplayLayer::new(inner, ledger));
    Arc::new(TraceLayer::new(inner))
}
