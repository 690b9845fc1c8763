//! The one place that orders the layers, outermost first.

use std::sync::Arc;

use super::deadline::Deadline;
use super::fault::{Fault, Faults};
use super::fence::Fence;
use super::guard::Guard;
use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::record::Record;
use super::redact::Redact;
use super::replay::Replay;
use super::retry::Retry;
use super::trace::Trace;
use super::{Door, Floor};
use crate::world::World;

/// The door to `world`.
///
/// 1. trace: a span around everything, retries included;
/// 2. replay: what a killed run had done already is answered from its journal;
/// 3. record: intent before, outcome after; what it writes has passed redaction;
/// 4. redact: known secrets are scrubbed from what comes back;
/// 5. retry: passing faults of what is safe to repeat;
/// 6. fence: each try of a change needs the run's locks to be the run's own still;
/// 7. guard: nothing is taken down that a route still refers to;
/// 8. deadline: each try ends in time, and at once when the run is cancelled;
/// 9. fault: what tests and `verify` let go wrong, as close to the world as can be.
pub fn stack(
    world: Arc<dyn World>,
    ledger: Arc<Ledger>,
    faults: Option<Arc<Faults>>,
    locks: Arc<HeldLocks>,
) -> Arc<dyn Door> {
    let clock = world.clock();
    let door: Arc<dyn Door> = Arc::new(Floor(world));
    let door: Arc<dyn Door> = match faults {
        Some(faults) => Arc::new(Fault::new(door, faults)),
        None => door,
    };
    let door: Arc<dyn Door> = Arc::new(Deadline::new(door));
    let door: Arc<dyn Door> = Arc::new(Guard::new(door));
    let door: Arc<dyn Door> = Arc::new(Fence::new(door, ledger.clone(), locks, clock.clone()));
    let door: Arc<dyn Door> = Arc::new(Retry::new(door, clock.clone()));
    let door: Arc<dyn Door> = Arc::new(Redact::new(door));
    let door: Arc<dyn Door> = Arc::new(Record::new(door, ledger.clone(), clock));
    let door: Arc<dyn Door> = Arc::new(Replay::new(door, ledger));
    Arc::new(Trace::new(door))
}
