//! How long the public address would answer nobody. Knows nothing of scripts.

use crate::world::sim::Spell;

/// Milliseconds without a good answer, from the first good one on.
pub fn downtime_ms(spells: &[Spell]) -> u64 {
    let from_first = spells.iter().skip_while(|spell| !spell.saw.is_good());
    from_first.filter(|spell| !spell.saw.is_good()).map(Spell::lasted_ms).sum()
}
