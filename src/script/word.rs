//! The words of a script that are no effects, as checks, help and reference know them. Data alone.

/// One word, for checks and help: name, numbers of arguments, what it does, an example.
pub struct Word {
    pub name: &'static str,
    pub arities: &'static [usize],
    pub summary: &'static str,
    pub example: &'static str,
}

/// All of them.
pub const WORDS: &[Word] = &[
    Word {
        name: "params",
        arities: &[1],
        summary: "Declares the script's parameters and returns their values. The first statement of a script.",
        example: "let p = params(#{ service: required(\"string\", \"the service's name\") });",
    },
    Word {
        name: "required",
        arities: &[2],
        summary: "A parameter that must be given: type and meaning. Types: string, int, float, bool, duration, size, list, map.",
        example: "required(\"string\", \"the service's name\")",
    },
    Word {
        name: "optional",
        arities: &[3],
        summary: "A parameter with a default: type, default (() for none) and meaning.",
        example: "optional(\"duration\", \"30s\", \"how long to wait\")",
    },
    Word {
        name: "step",
        arities: &[],
        summary: "Names a part of the script for people: step \"title\" { ... }. Its value is the block's.",
        example: "step \"Check\" { port_free(8081) }",
    },
    Word {
        name: "log",
        arities: &[1],
        summary: "Says something in the run's output and journal.",
        example: "log(\"nothing to do\");",
    },
    Word {
        name: "warn",
        arities: &[1],
        summary: "Says something that people should look at.",
        example: "warn(\"no backup\");",
    },
    Word {
        name: "fail",
        arities: &[1, 2],
        summary: "Ends the script with an error, and what it did is taken back. The second text is a hint.",
        example: "fail(\"the disk is too small\", \"free 2 GB\");",
    },
    Word {
        name: "commit",
        arities: &[0],
        summary: "The point of no return: what was done so far is not taken back any more.",
        example: "commit();",
    },
    Word {
        name: "on_rollback",
        arities: &[1, 2],
        summary: "Registers a closure that is called when the run is taken back, in reverse order among all undos. With a command as the second argument it is a guard: when it fails, what was done before it stays, and a person gets this command alone.",
        example: "on_rollback(|| log(\"taken back\"));",
    },
    Word {
        name: "on_finish",
        arities: &[1],
        summary: "Registers a closure that is called last, however the run ends, with a map: status, error, committed.",
        example: "on_finish(|end| log(end.status));",
    },
    Word {
        name: "expect",
        arities: &[2],
        summary: "States what must hold from here on. `verify` calls the closure at every change of every simulated run; a real run does not.",
        example: "expect(\"web is never removed\", || docker_inspect(\"web\", #{missing_ok: true}) != ());",
    },
    Word {
        name: "gap",
        arities: &[1],
        summary: "States that visitors may be without an answer for so long while nothing goes wrong, and that `verify` holds the script to. A real run takes no notice.",
        example: "gap(\"5s\");",
    },
    Word {
        name: "millis",
        arities: &[1],
        summary: "The length of a duration in milliseconds.",
        example: "millis(\"1m30s\")",
    },
    Word {
        name: "parallel",
        arities: &[1],
        summary: "Runs closures at the same time and returns their values in order, when all have ended. Each has its own copy of outer variables.",
        example: "parallel([|| 1, || 2])",
    },
    Word {
        name: "retry",
        arities: &[2],
        summary: "Calls a closure until it succeeds: #{attempts, delay, backoff}. The last error is passed on.",
        example: "retry(#{attempts: 3, delay: \"1s\"}, || port_free(8081))",
    },
    Word {
        name: "canary_since",
        arities: &[2],
        summary: "What a target of `traffic_stats` did between two looks, the later one first: what `canary_judge` takes. `()` for the earlier look is the beginning.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet lately = canary_since(look, ());",
    },
    Word {
        name: "canary_judge",
        arities: &[3],
        summary: "Judges a new version against the old one over the same time, by a test that may be repeated at will: baseline, candidate, #{alpha (0.05), min_points (50), max_error_rate_increase (0.005), max_latency_ratio (1.1), max_error_rate, max_p99_ms}. Returns verdict (`pass`, `fail`, `error`, `inconclusive`), reasons, baseline and candidate (requests, failed, error_rate, p50_ms, p90_ms, p99_ms), evidence, needed.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet judged = canary_judge(look, look, #{ max_p99_ms: 500 });",
    },
];
