//! An effect of a resumed or aborted run is refused. A sample of the pairs of faults: a crash that leaves a change in
//! doubt, then a refusal soon after the restart. `shipped_scripts` can try all pairs.

use deployer::effect::fault::FaultKind;
use deployer::journal::entry::{Entry, EntryAccess, Purpose};
use deployer::verify::case::{Event, Killed, play};
use deployer::verify::simulated_run::SimulatedRun;

use crate::deploy_cases::deploy_cases;
use crate::fixture::handle;

/// How many effects after the restart are refused, one at a time.
const REFUSED_EFFECTS: usize = 6;

fn event(effect: &str, nth: usize) -> Event {
    Event { effect: effect.into(), subject: String::new(), nth, fault: None, killed: None, then: None }
}

/// The effects that the run reached, as events: the kind, and its number among the effects of this kind.
fn reached(run: &SimulatedRun) -> Vec<Event> {
    let kinds: Vec<&str> = run.trail.iter().map(|reached| reached.position.kind.as_str()).collect();
    let nth = |at: usize| kinds[..=at].iter().filter(|kind| **kind == kinds[at]).count();
    (0..kinds.len()).map(|at| event(kinds[at], nth(at))).collect()
}

fn survives_refusals_after_restart(name: &str) {
    let target = deploy_cases().into_iter().find(|case| case.name == name).unwrap().target();
    let (whole, _) = play(&[], &target, &handle()).unwrap();
    let changes = whole.records.iter().filter_map(|record| match &record.entry {
        Entry::Intended { intent } if intent.access == EntryAccess::Write => Some(&intent.seq),
        _ => None,
    });
    let changes: Vec<_> = changes.collect();
    let mut tried = 0;
    for (at, crash) in reached(&whole).into_iter().enumerate() {
        let position = &whole.trail[at].position;
        // Skips reads by a layer of the gateway, which have the position of a change but are none.
        if !changes.contains(&&position.seq)
            || at + 1 < whole.trail.len() && whole.trail[at + 1].position.seq == position.seq
        {
            continue;
        }
        for then in [Purpose::Resume, Purpose::Abort] {
            let crash = Event { killed: Some(Killed::After), then: Some(then), ..crash.clone() };
            let (killed, _) = play(std::slice::from_ref(&crash), &target, &handle()).unwrap();
            let after_restart = reached(&killed).split_off(killed.first_trail);
            for refused in after_restart.into_iter().take(REFUSED_EFFECTS) {
                let refused = Event { fault: Some(FaultKind::Refused), ..refused };
                let (_, findings) = play(&[crash.clone(), refused.clone()], &target, &handle()).unwrap();
                assert!(findings.is_empty(), "{name}: {crash:?}, then {refused:?}: {findings:#?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried}");
}

#[test]
fn by_port_has_no_violation_after_a_restart() {
    survives_refusals_after_restart("blue-green");
}

#[test]
fn behind_a_route_has_no_violation_after_a_restart() {
    survives_refusals_after_restart("routed");
}
