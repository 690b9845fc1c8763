//! How often healthy canaries are taken for ill ones, and how soon ill ones are found. Seeded: the same each time.

use rhai::{Engine, Map, Module};

use super::judge::{Allowed, Verdict, judge};
use super::register;
use crate::effect::traffic::{Totals, latency_step};

/// xorshift64*: the same numbers on every machine.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around 0, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-300), self.unit());
        (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
    }
}

/// A version: its rate of errors, its median latency, and how far the latencies are spread (of the logarithm).
#[derive(Clone, Copy)]
struct Version {
    errors: f64,
    median_ms: f64,
    spread: f64,
}

const OLD: Version = Version { errors: 0.001, median_ms: 25.0, spread: 0.5 };

struct Counts([u64; 1024], Totals);

impl Counts {
    fn new() -> Self {
        Self([0; 1024], Totals::default())
    }

    fn visit(&mut self, version: Version, chance: &mut Chance) {
        self.1.judged += 1;
        if chance.unit() < version.errors {
            self.1.failed += 1;
        } else {
            let ms = version.median_ms * (version.spread * chance.normal()).exp();
            self.0[usize::from(latency_step((ms * 1_000.0) as u64))] += 1;
        }
    }

    fn totals(&self) -> Totals {
        let latencies = (0..).zip(self.0).filter(|(_, count)| *count > 0).collect();
        Totals { latencies, ..self.1.clone() }
    }
}

/// One canary that gets one request of `share`, looked at after each `every` of its requests, `looks` times.
fn canary(new: Version, allowed: &Allowed, (share, every, looks): (u64, u64, u64), seed: u64) -> (Verdict, u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut a, mut b) = (Counts::new(), Counts::new());
    let mut verdict = Verdict::Inconclusive;
    for look in 1..=looks {
        for _ in 0..every {
            b.visit(new, &mut chance);
            (1..share).for_each(|_| a.visit(OLD, &mut chance));
        }
        verdict = judge(Some(&a.totals()), Some(&b.totals()), allowed).verdict;
        if verdict == Verdict::Fail {
            return (verdict, look * every);
        }
    }
    (verdict, looks * every)
}

/// The hardest case that is still healthy: the very same version, and nothing at all is allowed for.
#[test]
fn healthy_canaries_are_rarely_taken_for_ill_however_often_one_looks() {
    const CANARIES: u64 = 2_000;
    let nothing = Allowed { max_error_rate_increase: 0.0, max_latency_ratio: 1.0, ..Allowed::default() };
    let usual = Allowed::default();
    let ill = Version { errors: 0.08, ..OLD };
    let alarms = |allowed: &Allowed, new: Version, canaries: u64, seed: u64| {
        (0..canaries).filter(|number| canary(new, allowed, (2, 50, 6), seed + number).0 == Verdict::Fail).count()
    };
    let strict = alarms(&nothing, OLD, CANARIES, 1);
    let lenient = alarms(&usual, OLD, 200, 10_000);
    println!("false alarms: {strict} of {CANARIES} with nothing allowed for, {lenient} of 200 with the defaults");
    assert!(strict as f64 <= nothing.alpha * CANARIES as f64, "{strict}");
    assert!(lenient as f64 <= usual.alpha * 200.0, "{lenient}");
    // Of a version that is ill this test would have found most.
    assert!(alarms(&Allowed { max_error_rate_increase: 0.0, ..usual }, ill, 50, 20_000) > 25);
}

fn requests_until_found(new: Version, what: &str) -> u64 {
    let mut needed: Vec<u64> = (0..20)
        .map(|number| {
            let (verdict, requests) = canary(new, &Allowed::default(), (5, 50, 100), 500 + number);
            assert_eq!(verdict, Verdict::Fail, "{what} was not found");
            requests
        })
        .collect();
    needed.sort_unstable();
    println!("{what}: found after {} requests of the new version, {} at the most", needed[10], needed[19]);
    needed[10]
}

#[test]
fn ill_canaries_are_found_soon() {
    assert!(requests_until_found(Version { errors: 0.02, ..OLD }, "2 % errors") <= 2_000);
    assert!(requests_until_found(Version { errors: 0.2, ..OLD }, "20 % errors") <= 100);
    assert!(requests_until_found(Version { median_ms: 32.5, ..OLD }, "30 % slower") <= 1_000);
    assert!(requests_until_found(Version { median_ms: 50.0, ..OLD }, "twice as slow") <= 150);
    let tight = Version { median_ms: 32.5, spread: 0.05, ..OLD };
    assert!(requests_until_found(tight, "30 % slower, and hardly spread") <= 200);
}

#[test]
fn a_healthy_canary_passes_and_no_data_never_does() {
    let passed = (0..50).filter(|seed| canary(OLD, &Allowed::default(), (2, 500, 1), 900 + seed).0 == Verdict::Pass);
    assert!(passed.count() >= 45);
    let verdict = |old: Option<&Totals>, new: Option<&Totals>| judge(old, new, &Allowed::default());
    let (empty, mut some) = (Totals::default(), Counts::new());
    (0..1_000).for_each(|_| some.visit(OLD, &mut Chance(7)));
    let some = some.totals();
    assert_eq!(verdict(None, Some(&some)).verdict, Verdict::Error);
    assert_eq!(verdict(Some(&some), None).verdict, Verdict::Error);
    let none = verdict(Some(&some), Some(&empty));
    assert_eq!(none.verdict, Verdict::Inconclusive);
    assert_eq!(none.reasons, ["the new version had 0 requests, 50 are needed"]);
    assert_eq!(verdict(Some(&empty), Some(&some)).verdict, Verdict::Inconclusive);
    assert_eq!(verdict(Some(&empty), Some(&empty)).verdict, Verdict::Inconclusive);
    let broken = Totals { judged: 100, failed: 90, latencies: Vec::new() };
    assert_eq!(verdict(Some(&broken), Some(&broken)).verdict, Verdict::Error);
}

#[test]
fn budgets_are_kept() {
    let allowed = Allowed { max_p99_ms: Some(50.0), max_error_rate: Some(0.01), ..Allowed::default() };
    let slow = Version { median_ms: 60.0, ..OLD };
    let (mut a, mut b) = (Counts::new(), Counts::new());
    let mut chance = Chance(3);
    for _ in 0..200 {
        a.visit(slow, &mut chance);
        b.visit(slow, &mut chance);
    }
    let judgement = judge(Some(&a.totals()), Some(&b.totals()), &allowed);
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(judgement.reasons[0].starts_with("p99: "), "{:?}", judgement.reasons);
}

#[test]
fn scripts_call_it() {
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
