//! Whoever goes on with a killed run is refused something at once: a sample of the pairs of mishaps, those around a
//! death that left a change in doubt. All pairs: see `shipped`.

use deployer::effect::fault::FaultKind;
use deployer::journal::entry::{Entry, EntryAccess, Purpose};
use deployer::verify::case::{Event, Killed, play};
use deployer::verify::rehearsal::Rehearsed;

use crate::rig::handle;
use crate::scenes::scenes;

/// Looks at the world and changes that are tried, from the one on with which the run is gone on with.
const TRIED: usize = 6;

fn event(effect: &str, nth: usize) -> Event {
    Event { effect: effect.into(), subject: String::new(), nth, fault: None, killed: None, then: None }
}

/// What the run reached, as events: the kind, and which of its kind it was.
fn reached(run: &Rehearsed) -> Vec<Event> {
    let kinds: Vec<&str> = run.trail.iter().map(|reached| reached.place.kind.as_str()).collect();
    let nth = |at: usize| kinds[..=at].iter().filter(|kind| **kind == kinds[at]).count();
    (0..kinds.len()).map(|at| event(kinds[at], nth(at))).collect()
}

fn goes_on_though_refused(name: &str) {
    let subject = scenes().into_iter().find(|scene| scene.name == name).unwrap().subject();
    let (whole, _) = play(&[], &subject, &handle()).unwrap();
    let changes = whole.records.iter().filter_map(|record| match &record.entry {
        Entry::Intended { intent } if intent.access == EntryAccess::Write => Some(&intent.seq),
        _ => None,
    });
    let changes: Vec<_> = changes.collect();
    let mut tried = 0;
    for (at, death) in reached(&whole).into_iter().enumerate() {
        let place = &whole.trail[at].place;
        // What a layer of the door asks beside a change has the change's place, and is none.
        if !changes.contains(&&place.seq) || at + 1 < whole.trail.len() && whole.trail[at + 1].place.seq == place.seq {
            continue;
        }
        for then in [Purpose::Resume, Purpose::Abort] {
            let death = Event { killed: Some(Killed::After), then: Some(then), ..death.clone() };
            let (killed, _) = play(std::slice::from_ref(&death), &subject, &handle()).unwrap();
            let again = reached(&killed).split_off(killed.first_trail);
            for refused in again.into_iter().take(TRIED) {
                let refused = Event { fault: Some(FaultKind::Refused), ..refused };
                let (_, findings) = play(&[death.clone(), refused.clone()], &subject, &handle()).unwrap();
                assert!(findings.is_empty(), "{name}: {death:?}, then {refused:?}: {findings:#?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried}");
}

#[test]
fn by_port_leaves_nothing() {
    goes_on_though_refused("blue-green");
}

#[test]
fn behind_a_route_leaves_nothing() {
    goes_on_though_refused("routed");
}
