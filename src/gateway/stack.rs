//! The one place that orders the layers, outermost first.

use std::sync::Arc;

use super::consent::{Ask, Consent};
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
/// 4. ask: in a session, a person is asked before what is live is stopped or removed;
/// 5. redact: known secrets are scrubbed from what comes back;
/// 6. retry: passing faults of what is safe to repeat;
/// 7. fence: each try of a change needs the run's locks to be the run's own still;
/// 8. guard: nothing is taken down that a route still refers to;
/// 9. deadline: each try ends in time, and at once when the run is cancelled;
/// 10. fault: what tests and `verify` let go wrong, as close to the world as can be.
pub fn stack(
    world: Arc<dyn World>,
    ledger: Arc<Ledger>,
    faults: Option<Arc<Faults>>,
    consent: Option<Arc<dyn Consent>>,
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
    // Below the journal, which keeps what a person said no to; above the deadline, for people take their time.
    let door: Arc<dyn Door> = match consent {
        Some(consent) => Arc::new(Ask::new(door, ledger.clone(), consent)),
        None => door,
    };
    let door: Arc<dyn Door> = Arc::new(Record::new(door, ledger.clone(), clock));
    let door: Arc<dyn Door> = Arc::new(Replay::new(door, ledger));
    Arc::new(Trace::new(door))
}
