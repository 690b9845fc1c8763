//! Who gets the next request of a service: weights, warm ones in reserve, canaries, visitors that stay. Pure choice.

use std::sync::Arc;

use http::HeaderMap;
use http::header::COOKIE;
use sha2::{Digest, Sha256};

use super::hold::Hold;
use super::state::ServiceState;
use super::upstream::Upstream;
use crate::effect::traffic::{CanaryMark, CanaryRule};

/// Letters of a visitor's mark.
const MARK: usize = 16;
/// The golden section of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// One step of a service, with its targets at work.
#[derive(Debug)]
pub struct Plan {
    pub entries: Vec<Entry>,
    total: u64,
    sticky: bool,
    cookie: String,
    canary: Option<CanaryRule>,
    /// Who gets copies, and of how many of a hundred requests.
    pub mirror: Option<(Arc<Upstream>, u32)>,
    pub hold: Option<Arc<Hold>>,
}

#[derive(Debug)]
pub struct Entry {
    pub upstream: Arc<Upstream>,
    pub weight: u64,
    pub draining: bool,
    /// Says "this target, in this step" without saying which one.
    mark: String,
}

/// The target of a request.
pub struct Choice<'a> {
    pub entry: &'a Entry,
    /// A `set-cookie` for the visitor.
    pub cookie: Option<String>,
    /// Nobody of those that should get requests is well: this one stands in.
    pub fallback: bool,
}

impl Plan {
    /// `upstreams` are those of the state's targets, in their order.
    pub fn new(
        seed: &str,
        state: &ServiceState,
        upstreams: Vec<Arc<Upstream>>,
        mirror: Option<Arc<Upstream>>,
        hold: Option<Arc<Hold>>,
    ) -> Self {
        let entries: Vec<Entry> = state
            .targets
            .iter()
            .zip(upstreams)
            .map(|(target, upstream)| Entry {
                upstream,
                weight: u64::from(target.weight),
                draining: state.draining.contains(&target.name),
                mark: mark(seed, state, &target.name),
            })
            .collect();
        let total = entries.iter().map(|entry| entry.weight).sum();
        Self {
            total,
            sticky: state.sticky,
            cookie: format!("deployer-{}", state.route.service),
            canary: state.canary.clone(),
            mirror: mirror.zip(state.mirror.as_ref().map(|mirror| mirror.percent)),
            entries,
            hold,
        }
    }

    /// A plan of nobody.
    pub fn empty() -> Self {
        Self {
            entries: Vec::new(),
            total: 0,
            sticky: false,
            cookie: String::new(),
            canary: None,
            mirror: None,
            hold: None,
        }
    }

    /// The target of the request number `turn`, but not `except`, which was tried already.
    pub fn choose(&self, turn: u64, headers: &HeaderMap, except: &[Arc<Upstream>]) -> Option<Choice<'_>> {
        let tried = |entry: &Entry| except.iter().any(|one| Arc::ptr_eq(one, &entry.upstream));
        let fit = |entry: &Entry| !entry.draining && entry.upstream.healthy() && !tried(entry);
        let fixed = |entry| Some(Choice { entry, cookie: None, fallback: false });
        if let Some(rule) = &self.canary
            && asks_for(rule, headers)
            && let Some(entry) = self.entries.iter().find(|entry| entry.upstream.name == rule.target && fit(entry))
        {
            return fixed(entry);
        }
        let mark = headers.get(COOKIE).is_some().then(|| cookie(headers, &self.cookie)).flatten();
        if let (true, Some(mark)) = (self.sticky, mark)
            && let Some(entry) = self.entries.iter().find(|entry| entry.mark == mark && entry.weight > 0 && fit(entry))
        {
            return fixed(entry);
        }
        let (entry, fallback) = self.by_weight(turn, fit, tried)?;
        let cookie = match (self.sticky, mark) {
            (true, _) => Some(format!("{}={}; Path=/; HttpOnly; SameSite=Lax", self.cookie, entry.mark)),
            // A mark of a step that is over.
            (false, Some(_)) => Some(format!("{}=; Path=/; Max-Age=0", self.cookie)),
            (false, None) => None,
        };
        Some(Choice { entry, cookie, fallback })
    }

    fn by_weight(
        &self,
        turn: u64,
        fit: impl Fn(&Entry) -> bool,
        tried: impl Fn(&Entry) -> bool,
    ) -> Option<(&Entry, bool)> {
        if let Some(entry) = at(self.entries.iter(), share(turn, self.total))
            && fit(entry)
        {
            return Some((entry, false));
        }
        // Somebody is not well: among the others by their weights, then the warm ones, then whoever should be live.
        let well = || self.entries.iter().filter(|entry| entry.weight > 0 && fit(entry));
        if let Some(entry) = at(well(), share(turn, well().map(|entry| entry.weight).sum())) {
            return Some((entry, false));
        }
        let warm = self.entries.iter().find(|entry| entry.weight == 0 && fit(entry));
        let last = || self.entries.iter().find(|entry| entry.weight > 0 && !tried(entry));
        warm.or_else(last).map(|entry| (entry, true))
    }
}

/// Whose share it is.
fn at<'a>(entries: impl Iterator<Item = &'a Entry>, mut share: u64) -> Option<&'a Entry> {
    for entry in entries {
        if share < entry.weight {
            return Some(entry);
        }
        share -= entry.weight;
    }
    None
}

/// A share of `total`, by the fractions of the multiples of the golden section: any stretch of turns has every share as
/// often as it should, to a request or two, and no two turns in a row the same small one.
fn share(turn: u64, total: u64) -> u64 {
    let fraction = turn.wrapping_mul(GOLDEN);
    ((u128::from(fraction) * u128::from(total)) >> 64) as u64
}

fn mark(seed: &str, state: &ServiceState, target: &str) -> String {
    let text = format!("{seed}/{}/{}/{target}", state.route.service, state.step);
    Sha256::digest(text).iter().take(MARK / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn asks_for(rule: &CanaryRule, headers: &HeaderMap) -> bool {
    let wanted = |value: &str| rule.value.as_deref().is_none_or(|wanted| wanted == value);
    match rule.by {
        CanaryMark::Header => headers.get_all(&rule.name).iter().any(|value| value.to_str().is_ok_and(wanted)),
        CanaryMark::Cookie => cookie(headers, &rule.name).is_some_and(wanted),
    }
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(own, _)| *own == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::effect::traffic::{Route, Target, TargetCheck};

    fn state(weights: &[(&str, u32)], sticky: bool) -> ServiceState {
        let target = |(name, weight): &(&str, u32)| Target {
            name: (*name).to_owned(),
            address: "127.0.0.1:1".to_owned(),
            weight: *weight,
        };
        ServiceState {
            epoch: 1,
            route: Route {
                service: "web".to_owned(),
                address: "0.0.0.0:80".to_owned(),
                also: Vec::new(),
                host: None,
                path_prefix: None,
                check: TargetCheck::default(),
            },
            step: 1,
            targets: weights.iter().map(target).collect(),
            sticky,
            canary: None,
            mirror: None,
            hold: None,
            draining: BTreeSet::new(),
        }
    }

    fn plan(state: &ServiceState) -> Plan {
        let upstream =
            |target: &Target| Arc::new(Upstream::new(&target.name, &target.address, TargetCheck::default(), 1));
        Plan::new("seed", state, state.targets.iter().map(upstream).collect(), None, None)
    }

    fn counts(plan: &Plan, turns: u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for turn in 0..turns {
            let choice = plan.choose(turn, &HeaderMap::new(), &[]).unwrap();
            *counts.entry(choice.entry.upstream.name.clone()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn weights_are_kept_nearly_to_the_request_in_every_stretch() {
        for (old, new) in [(990, 10), (1, 1), (95, 5), (999_999, 1), (2, 1)] {
            let plan = plan(&state(&[("old", old), ("new", new)], false));
            for turns in [100, 200, 1_000, 10_000] {
                let expected = turns as f64 * f64::from(new) / f64::from(old + new);
                let got = counts(&plan, turns).get("new").copied().unwrap_or_default() as f64;
                assert!((got - expected).abs() <= 2.0, "{new} of {}: {got} of {turns}", old + new);
            }
        }
    }

    #[test]
    fn a_dead_target_falls_back_to_a_warm_one() {
        let plan = plan(&state(&[("new", 1), ("old", 0)], false));
        assert_eq!(counts(&plan, 10).get("old"), None);
        for _ in 0..3 {
            plan.entries[0].upstream.checked(false);
        }
        let choice = plan.choose(0, &HeaderMap::new(), &[]).unwrap();
        assert!(choice.fallback && choice.entry.upstream.name == "old");
        for _ in 0..3 {
            plan.entries[1].upstream.checked(false);
        }
        let choice = plan.choose(0, &HeaderMap::new(), &[]).unwrap();
        assert!(choice.fallback && choice.entry.upstream.name == "new", "the live one, sick as it is");
    }

    #[test]
    fn a_visitor_stays_within_a_step() {
        let mut state = state(&[("old", 1), ("new", 1)], true);
        let first = plan(&state);
        let cookie = first.choose(0, &HeaderMap::new(), &[]).unwrap().cookie.unwrap();
        let name = first.choose(0, &HeaderMap::new(), &[]).unwrap().entry.upstream.name.clone();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("a=b; {}", cookie.split(';').next().unwrap()).parse().unwrap());
        for turn in 0..10 {
            let choice = first.choose(turn, &headers, &[]).unwrap();
            assert_eq!((choice.entry.upstream.name.as_str(), choice.cookie), (name.as_str(), None));
        }
        state.step = 2;
        assert!(plan(&state).choose(0, &headers, &[]).unwrap().cookie.is_some(), "a new mark in a new step");
        state.sticky = false;
        assert!(plan(&state).choose(0, &headers, &[]).unwrap().cookie.unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_canary_is_asked_for() {
        let mut state = state(&[("old", 1), ("new", 0)], false);
        state.canary = Some(CanaryRule {
            target: "new".to_owned(),
            by: CanaryMark::Header,
            name: "x-canary".to_owned(),
            value: Some("yes".to_owned()),
        });
        let plan = plan(&state);
        let mut headers = HeaderMap::new();
        assert_eq!(plan.choose(0, &headers, &[]).unwrap().entry.upstream.name, "old");
        headers.insert("x-canary", "yes".parse().unwrap());
        assert_eq!(plan.choose(0, &headers, &[]).unwrap().entry.upstream.name, "new");
    }
}
