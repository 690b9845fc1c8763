//! False-alarm rate and detection speed of `canary_judge`. Seeded, so that every run gives the same result.

use rhai::{Engine, Map, Module};

use super::judge::{CanaryLimits, CanaryVerdict, judge};
use super::register;
use crate::effect::traffic::{TargetTotals, latency_step};

/// The random number generator xorshift64*. Gives the same numbers on every machine.
struct XorShift(u64);

impl XorShift {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed with mean 0, by the Box-Muller transform.
    fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-300), self.unit());
        (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
    }
}

/// Behaviour of a version: error rate, median latency, and standard deviation of the logarithm of latencies.
#[derive(Clone, Copy)]
struct Version {
    errors: f64,
    median_ms: f64,
    spread: f64,
}

const OLD: Version = Version { errors: 0.001, median_ms: 25.0, spread: 0.5 };

struct Counts([u64; 1024], TargetTotals);

impl Counts {
    fn new() -> Self {
        Self([0; 1024], TargetTotals::default())
    }

    fn record(&mut self, version: Version, random: &mut XorShift) {
        self.1.judged += 1;
        if random.unit() < version.errors {
            self.1.failed += 1;
        } else {
            let ms = version.median_ms * (version.spread * random.normal()).exp();
            self.0[usize::from(latency_step((ms * 1_000.0) as u64))] += 1;
        }
    }

    fn totals(&self) -> TargetTotals {
        let latencies = (0..).zip(self.0).filter(|(_, count)| *count > 0).collect();
        TargetTotals { latencies, ..self.1.clone() }
    }
}

/// Simulates one canary that gets one request of `share` and is judged `looks` times, after each `every` of its requests.
/// Returns the verdict and the number of its requests.
fn canary(
    new: Version,
    allowed: &CanaryLimits,
    (share, every, looks): (u64, u64, u64),
    seed: u64,
) -> (CanaryVerdict, u64) {
    let mut random = XorShift(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut a, mut b) = (Counts::new(), Counts::new());
    let mut verdict = CanaryVerdict::Inconclusive;
    for look in 1..=looks {
        for _ in 0..every {
            b.record(new, &mut random);
            (1..share).for_each(|_| a.record(OLD, &mut random));
        }
        verdict = judge(Some(&a.totals()), Some(&b.totals()), allowed).verdict;
        if verdict == CanaryVerdict::Fail {
            return (verdict, look * every);
        }
    }
    (verdict, looks * every)
}

/// The hardest case that is still healthy: the very same version, and nothing at all is allowed for.
#[test]
fn false_alarms_are_rare_however_often_the_canary_is_judged() {
    const CANARIES: u64 = 2_000;
    let nothing = CanaryLimits { max_error_rate_increase: 0.0, max_latency_ratio: 1.0, ..CanaryLimits::default() };
    let usual = CanaryLimits::default();
    let faulty = Version { errors: 0.08, ..OLD };
    let alarms = |allowed: &CanaryLimits, new: Version, canaries: u64, seed: u64| {
        (0..canaries).filter(|number| canary(new, allowed, (2, 50, 6), seed + number).0 == CanaryVerdict::Fail).count()
    };
    let strict = alarms(&nothing, OLD, CANARIES, 1);
    let lenient = alarms(&usual, OLD, 200, 10_000);
    println!("false alarms: {strict} of {CANARIES} with zero tolerance, {lenient} of 200 with the defaults");
    assert!(strict as f64 <= nothing.alpha * CANARIES as f64, "{strict}");
    assert!(lenient as f64 <= usual.alpha * 200.0, "{lenient}");
    // The same setting detects most faulty versions.
    assert!(alarms(&CanaryLimits { max_error_rate_increase: 0.0, ..usual }, faulty, 50, 20_000) > 25);
}

fn requests_until_detected(new: Version, what: &str) -> u64 {
    let mut needed: Vec<u64> = (0..20)
        .map(|number| {
            let (verdict, requests) = canary(new, &CanaryLimits::default(), (5, 50, 100), 500 + number);
            assert_eq!(verdict, CanaryVerdict::Fail, "{what} was not detected");
            requests
        })
        .collect();
    needed.sort_unstable();
    println!("{what}: detected after {} requests of the new version, {} at most", needed[10], needed[19]);
    needed[10]
}

#[test]
fn faulty_canaries_are_detected_soon() {
    assert!(requests_until_detected(Version { errors: 0.02, ..OLD }, "2 % errors") <= 2_000);
    assert!(requests_until_detected(Version { errors: 0.2, ..OLD }, "20 % errors") <= 100);
    assert!(requests_until_detected(Version { median_ms: 32.5, ..OLD }, "30 % slower") <= 1_000);
    assert!(requests_until_detected(Version { median_ms: 50.0, ..OLD }, "twice as slow") <= 150);
    let tight = Version { median_ms: 32.5, spread: 0.05, ..OLD };
    assert!(requests_until_detected(tight, "30 % slower, with little variance") <= 200);
}

#[test]
fn a_healthy_canary_passes_and_missing_data_never_does() {
    let passed =
        (0..50).filter(|seed| canary(OLD, &CanaryLimits::default(), (2, 500, 1), 900 + seed).0 == CanaryVerdict::Pass);
    assert!(passed.count() >= 45);
    let verdict = |old: Option<&TargetTotals>, new: Option<&TargetTotals>| judge(old, new, &CanaryLimits::default());
    let (empty, mut some) = (TargetTotals::default(), Counts::new());
    (0..1_000).for_each(|_| some.record(OLD, &mut XorShift(7)));
    let some = some.totals();
    assert_eq!(verdict(None, Some(&some)).verdict, CanaryVerdict::Error);
    assert_eq!(verdict(Some(&some), None).verdict, CanaryVerdict::Error);
    let none = verdict(Some(&some), Some(&empty));
    assert_eq!(none.verdict, CanaryVerdict::Inconclusive);
    assert_eq!(none.reasons, ["the new version had 0 requests, 50 are needed"]);
    assert_eq!(verdict(Some(&empty), Some(&some)).verdict, CanaryVerdict::Inconclusive);
    assert_eq!(verdict(Some(&empty), Some(&empty)).verdict, CanaryVerdict::Inconclusive);
    let broken = TargetTotals { judged: 100, failed: 90, latencies: Vec::new() };
    assert_eq!(verdict(Some(&broken), Some(&broken)).verdict, CanaryVerdict::Error);
}

#[test]
fn budgets_are_enforced() {
    let allowed = CanaryLimits { max_p99_ms: Some(50.0), max_error_rate: Some(0.01), ..CanaryLimits::default() };
    let slow = Version { median_ms: 60.0, ..OLD };
    let (mut a, mut b) = (Counts::new(), Counts::new());
    let mut random = XorShift(3);
    for _ in 0..200 {
        a.record(slow, &mut random);
        b.record(slow, &mut random);
    }
    let judgement = judge(Some(&a.totals()), Some(&b.totals()), &allowed);
    assert_eq!(judgement.verdict, CanaryVerdict::Fail);
    assert!(judgement.reasons[0].starts_with("p99: "), "{:?}", judgement.reasons);
}

#[test]
fn scripts_can_call_it() {
    let mut engine = Engine::new();
    let mut module = Module::new();
    register(&mut module);
    engine.register_global_module(module.into());
    let script = r#"
        let before = #{ requests: 9, total: #{ judged: 100, failed: 1, latencies: [[300, 90], [301, 9]] } };
        let after = #{ requests: 9, total: #{ judged: 300, failed: 1, latencies: [[300, 190], [301, 109]] } };
        let since = canary_since(after, before);
        let restarted = canary_since(before, after);
        let judged = canary_judge(since, since, #{ alpha: 0.01, max_p99_ms: () });
        #{ since: since.total, restarted: restarted.total.judged, verdict: judged.verdict, needed: judged.needed,
            nothing: canary_judge((), since, #{}).verdict }
    "#;
    let found = engine.eval::<Map>(script).unwrap();
    assert_eq!(
        format!("{:?} {:?}", found["since"], found["restarted"]),
        r#"#{"failed": 0, "judged": 200, "latencies": [[300, 100], [301, 100]]} 100"#
    );
    assert_eq!(format!("{:?} {:?}", found["verdict"], found["nothing"]), r#""pass" "error""#);
    for wrong in ["#{ alpah: 1 }", "#{ alpha: 0 }", "#{ min_points: 10 }", "#{ max_latency_ratio: 0.5 }"] {
        let error = engine.eval::<Map>(&format!("canary_judge((), (), {wrong})")).unwrap_err();
        assert!(error.to_string().contains("canary_judge"), "{error}");
    }
}
