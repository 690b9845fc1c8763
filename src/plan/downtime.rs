//! The expected downtime of the public address. Knows no scripts.

use crate::world::sim::TrafficInterval;

/// Returns the time without a good answer, in milliseconds, from the first good answer on.
pub fn downtime_ms(spells: &[TrafficInterval]) -> u64 {
    let from_first = spells.iter().skip_while(|spell| !spell.result.is_good());
    from_first.filter(|spell| !spell.result.is_good()).map(TrafficInterval::duration_ms).sum()
}
