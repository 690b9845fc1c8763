//! Chooses the target of a request: by canary rule, sticky cookie or weight, with standby targets as fallback. Pure.

use std::sync::Arc;

use http::HeaderMap;
use http::header::COOKIE;
use sha2::{Digest, Sha256};

use super::hold::Hold;
use super::state::ServiceState;
use super::upstream::Upstream;
use crate::effect::traffic::{CanaryMark, CanaryRule};

/// The length of a sticky cookie's value.
const COOKIE_LENGTH: usize = 16;
/// 2^64 divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

/// The targets of one service in one step, and the rules that choose among them.
#[derive(Debug)]
pub struct Balancer {
    pub candidates: Vec<Candidate>,
    total_weight: u64,
    sticky: bool,
    cookie_name: String,
    canary: Option<CanaryRule>,
    /// The target that receives copies, and of how many per cent of the requests.
    pub mirror: Option<(Arc<Upstream>, u32)>,
    pub hold: Option<Arc<Hold>>,
}

/// A target that may be chosen.
#[derive(Debug)]
pub struct Candidate {
    pub upstream: Arc<Upstream>,
    pub weight: u64,
    pub draining: bool,
    /// The sticky cookie's value: identifies this target in this step without revealing its name.
    cookie: String,
}

/// The target of a request.
pub struct Choice<'a> {
    pub candidate: &'a Candidate,
    /// A `set-cookie` for the client.
    pub cookie: Option<String>,
    /// Whether no target with a weight is healthy, so that this one is a fallback.
    pub fallback: bool,
}

impl Balancer {
    /// Builds the balancer of a state. `upstreams` are those of the state's targets, in the same order.
    pub fn new(
        seed: &str,
        state: &ServiceState,
        upstreams: Vec<Arc<Upstream>>,
        mirror: Option<Arc<Upstream>>,
        hold: Option<Arc<Hold>>,
    ) -> Self {
        let candidates: Vec<Candidate> = state
            .targets
            .iter()
            .zip(upstreams)
            .map(|(target, upstream)| Candidate {
                upstream,
                weight: u64::from(target.weight),
                draining: state.draining.contains(&target.name),
                cookie: cookie_value(seed, state, &target.name),
            })
            .collect();
        let total_weight = candidates.iter().map(|candidate| candidate.weight).sum();
        Self {
            total_weight,
            sticky: state.sticky,
            cookie_name: format!("deployer-{}", state.route.service),
            canary: state.canary.clone(),
            mirror: mirror.zip(state.mirror.as_ref().map(|mirror| mirror.percent)),
            candidates,
            hold,
        }
    }

    /// Returns a balancer without targets.
    pub fn empty() -> Self {
        Self {
            candidates: Vec::new(),
            total_weight: 0,
            sticky: false,
            cookie_name: String::new(),
            canary: None,
            mirror: None,
            hold: None,
        }
    }

    /// Chooses the target of request number `turn`, without those in `failed`.
    pub fn choose(&self, turn: u64, headers: &HeaderMap, failed: &[Arc<Upstream>]) -> Option<Choice<'_>> {
        let has_failed = |candidate: &Candidate| failed.iter().any(|failed| Arc::ptr_eq(failed, &candidate.upstream));
        let available =
            |candidate: &Candidate| !candidate.draining && candidate.upstream.healthy() && !has_failed(candidate);
        let fixed = |candidate| Some(Choice { candidate, cookie: None, fallback: false });
        if let Some(rule) = &self.canary
            && matches_rule(rule, headers)
            && let Some(candidate) =
                self.candidates.iter().find(|candidate| candidate.upstream.name == rule.target && available(candidate))
        {
            return fixed(candidate);
        }
        let given = headers.get(COOKIE).is_some().then(|| cookie(headers, &self.cookie_name)).flatten();
        if let (true, Some(given)) = (self.sticky, given)
            && let Some(candidate) = self
                .candidates
                .iter()
                .find(|candidate| candidate.cookie == given && candidate.weight > 0 && available(candidate))
        {
            return fixed(candidate);
        }
        let (candidate, fallback) = self.by_weight(turn, available, has_failed)?;
        let cookie = match (self.sticky, given) {
            (true, _) => Some(format!("{}={}; Path=/; HttpOnly; SameSite=Lax", self.cookie_name, candidate.cookie)),
            // The cookie belongs to an earlier step: delete it.
            (false, Some(_)) => Some(format!("{}=; Path=/; Max-Age=0", self.cookie_name)),
            (false, None) => None,
        };
        Some(Choice { candidate, cookie, fallback })
    }

    /// Returns a candidate, and whether it is a fallback.
    fn by_weight(
        &self,
        turn: u64,
        available: impl Fn(&Candidate) -> bool,
        has_failed: impl Fn(&Candidate) -> bool,
    ) -> Option<(&Candidate, bool)> {
        if let Some(candidate) = at(self.candidates.iter(), share(turn, self.total_weight))
            && available(candidate)
        {
            return Some((candidate, false));
        }
        // The chosen target is not available. Choose by weight among the available ones, then take a standby target, then
        // an unhealthy one that has a weight.
        let weighted = || self.candidates.iter().filter(|candidate| candidate.weight > 0 && available(candidate));
        if let Some(candidate) = at(weighted(), share(turn, weighted().map(|candidate| candidate.weight).sum())) {
            return Some((candidate, false));
        }
        let standby = self.candidates.iter().find(|candidate| candidate.weight == 0 && available(candidate));
        let last = || self.candidates.iter().find(|candidate| candidate.weight > 0 && !has_failed(candidate));
        standby.or_else(last).map(|candidate| (candidate, true))
    }
}

/// Returns the candidate whose share of the weights contains `share`.
fn at<'a>(candidates: impl Iterator<Item = &'a Candidate>, mut share: u64) -> Option<&'a Candidate> {
    for candidate in candidates {
        if share < candidate.weight {
            return Some(candidate);
        }
        share -= candidate.weight;
    }
    None
}

/// Returns a number below `total`. Multiples of the golden ratio spread evenly: any range of consecutive turns meets each
/// share as often as its weight requires, within one or two requests, and a small share never twice in a row.
fn share(turn: u64, total: u64) -> u64 {
    let fraction = turn.wrapping_mul(GOLDEN_RATIO);
    ((u128::from(fraction) * u128::from(total)) >> 64) as u64
}

fn cookie_value(seed: &str, state: &ServiceState, target: &str) -> String {
    let text = format!("{seed}/{}/{}/{target}", state.route.service, state.step);
    Sha256::digest(text).iter().take(COOKIE_LENGTH / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn matches_rule(rule: &CanaryRule, headers: &HeaderMap) -> bool {
    let matches = |value: &str| rule.value.as_deref().is_none_or(|expected| expected == value);
    match rule.by {
        CanaryMark::Header => headers.get_all(&rule.name).iter().any(|value| value.to_str().is_ok_and(matches)),
        CanaryMark::Cookie => cookie(headers, &rule.name).is_some_and(matches),
    }
}

/// Returns the value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
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

    fn balancer(state: &ServiceState) -> Balancer {
        let upstream =
            |target: &Target| Arc::new(Upstream::new(&target.name, &target.address, TargetCheck::default(), 1));
        Balancer::new("seed", state, state.targets.iter().map(upstream).collect(), None, None)
    }

    fn counts(balancer: &Balancer, turns: u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for turn in 0..turns {
            let choice = balancer.choose(turn, &HeaderMap::new(), &[]).unwrap();
            *counts.entry(choice.candidate.upstream.name.clone()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn any_range_of_turns_matches_the_weights_within_two_requests() {
        for (old, new) in [(990, 10), (1, 1), (95, 5), (999_999, 1), (2, 1)] {
            let balancer = balancer(&state(&[("old", old), ("new", new)], false));
            for turns in [100, 200, 1_000, 10_000] {
                let expected = turns as f64 * f64::from(new) / f64::from(old + new);
                let got = counts(&balancer, turns).get("new").copied().unwrap_or_default() as f64;
                assert!((got - expected).abs() <= 2.0, "{new} of {}: {got} of {turns}", old + new);
            }
        }
    }

    #[test]
    fn an_unhealthy_target_falls_back_to_a_standby_target() {
        let balancer = balancer(&state(&[("new", 1), ("old", 0)], false));
        assert_eq!(counts(&balancer, 10).get("old"), None);
        for _ in 0..3 {
            balancer.candidates[0].upstream.record_check(false);
        }
        let choice = balancer.choose(0, &HeaderMap::new(), &[]).unwrap();
        assert!(choice.fallback && choice.candidate.upstream.name == "old");
        for _ in 0..3 {
            balancer.candidates[1].upstream.record_check(false);
        }
        let choice = balancer.choose(0, &HeaderMap::new(), &[]).unwrap();
        assert!(choice.fallback && choice.candidate.upstream.name == "new", "the live one, although it is unhealthy");
    }

    #[test]
    fn a_sticky_client_keeps_its_target_within_a_step() {
        let mut state = state(&[("old", 1), ("new", 1)], true);
        let first = balancer(&state);
        let cookie = first.choose(0, &HeaderMap::new(), &[]).unwrap().cookie.unwrap();
        let name = first.choose(0, &HeaderMap::new(), &[]).unwrap().candidate.upstream.name.clone();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("a=b; {}", cookie.split(';').next().unwrap()).parse().unwrap());
        for turn in 0..10 {
            let choice = first.choose(turn, &headers, &[]).unwrap();
            assert_eq!((choice.candidate.upstream.name.as_str(), choice.cookie), (name.as_str(), None));
        }
        state.step = 2;
        assert!(balancer(&state).choose(0, &headers, &[]).unwrap().cookie.is_some(), "a new cookie in a new step");
        state.sticky = false;
        assert!(balancer(&state).choose(0, &headers, &[]).unwrap().cookie.unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_canary_header_selects_its_target() {
        let mut state = state(&[("old", 1), ("new", 0)], false);
        state.canary = Some(CanaryRule {
            target: "new".to_owned(),
            by: CanaryMark::Header,
            name: "x-canary".to_owned(),
            value: Some("yes".to_owned()),
        });
        let balancer = balancer(&state);
        let mut headers = HeaderMap::new();
        assert_eq!(balancer.choose(0, &headers, &[]).unwrap().candidate.upstream.name, "old");
        headers.insert("x-canary", "yes".parse().unwrap());
        assert_eq!(balancer.choose(0, &headers, &[]).unwrap().candidate.upstream.name, "new");
    }
}
