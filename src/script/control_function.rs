//! Functions that control a run without performing an effect: their documentation, for checks, help and reference.
//! Data only.

/// The documentation of one control function.
pub struct ControlFunction {
    /// Its name in scripts.
    pub name: &'static str,
    /// Numbers of arguments that a call can have. Empty for syntax.
    pub arities: &'static [usize],
    /// What it does.
    pub summary: &'static str,
    /// A call that works. Its first line is the signature.
    pub example: &'static str,
}

/// All control functions, in the order of the reference.
pub const CONTROL_FUNCTIONS: &[ControlFunction] = &[
    ControlFunction {
        name: "params",
        arities: &[1],
        summary: "Declares the parameters of the script and returns their values: a map of `required(...)`, `optional(...)` and groups of these. Must be the first statement.",
        example: "let p = params(#{ service: required(\"string\", \"name of the service\"), path: optional(\"string\", \"/\", \"path to check\") });",
    },
    ControlFunction {
        name: "required",
        arities: &[2],
        summary: "Declares a parameter that must be given: type and description. Types: string, int, float, bool, duration, size, list, map; with the type of the items: list of int, map of string and so on.",
        example: "required(\"string\", \"name of the service\")",
    },
    ControlFunction {
        name: "optional",
        arities: &[3],
        summary: "Declares a parameter with a default: type, default (() for none) and description. Types as of `required`.",
        example: "optional(\"duration\", \"30s\", \"how long to wait\")",
    },
    ControlFunction {
        name: "step",
        arities: &[],
        summary: "Names a part of the script in the output: step \"title\" { ... }. Returns the value of the block.",
        example: "step \"Check\" { port_free(8081) }",
    },
    ControlFunction {
        name: "log",
        arities: &[1],
        summary: "Writes a message to the output and the journal of the run.",
        example: "log(\"nothing to do\");",
    },
    ControlFunction {
        name: "warn",
        arities: &[1],
        summary: "Writes a warning to the output and the journal of the run.",
        example: "warn(\"no backup\");",
    },
    ControlFunction {
        name: "fail",
        arities: &[1, 2],
        summary: "Ends the script with an error, which rolls the run back. The second argument is a hint.",
        example: "fail(\"the disk is too small\", \"free 2 GB\");",
    },
    ControlFunction {
        name: "commit",
        arities: &[0],
        summary: "Sets the point of no return: changes made so far are no longer rolled back.",
        example: "commit();",
    },
    ControlFunction {
        name: "on_rollback",
        arities: &[1, 2],
        summary: "Registers a closure that is called on rollback, in reverse order among all undos. With a command as second argument, the closure is a guard: if it fails, earlier changes stay, and the run is stuck with this command for the operator.",
        example: "on_rollback(|| log(\"rolled back\"));",
    },
    ControlFunction {
        name: "on_finish",
        arities: &[1],
        summary: "Registers a closure that is called last, however the run ends, with a map: status, error, committed.",
        example: "on_finish(|end| log(end.status));",
    },
    ControlFunction {
        name: "expect",
        arities: &[2],
        summary: "States a property that must hold from here on. `deployer verify` calls the closure after every change of every simulated run. A real run ignores it.",
        example: "expect(\"web is never removed\", || docker_inspect(\"web\", #{missing_ok: true}) != ());",
    },
    ControlFunction {
        name: "gap",
        arities: &[1],
        summary: "States how long the service may be unreachable when no fault occurs. `deployer verify` checks it. A real run ignores it.",
        example: "gap(\"5s\");",
    },
    ControlFunction {
        name: "millis",
        arities: &[1],
        summary: "Converts a duration to milliseconds.",
        example: "millis(\"1m30s\")",
    },
    ControlFunction {
        name: "parallel",
        arities: &[1],
        summary: "Runs closures concurrently, waits for all of them and returns their values in order. Each closure has its own copy of outer variables.",
        example: "parallel([|| 1, || 2])",
    },
    ControlFunction {
        name: "retry",
        arities: &[2],
        summary: "Calls a closure until it succeeds: #{attempts (3), delay (\"1s\"), backoff (1.0)}. Throws the last error.",
        example: "retry(#{attempts: 3, delay: \"1s\"}, || port_free(8081))",
    },
    ControlFunction {
        name: "canary_since",
        arities: &[2],
        summary: "Returns what a target did between two results of `traffic_stats`, the later one first. The result is the input of `canary_judge`. `()` as the earlier result means the start.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet lately = canary_since(look, ());",
    },
    ControlFunction {
        name: "canary_judge",
        arities: &[3],
        summary: "Compares a new version with the old one over the same time. The test stays valid when it is repeated. Arguments: baseline, candidate, #{alpha (0.05), min_points (50), max_error_rate_increase (0.005), max_latency_ratio (1.1), max_error_rate, max_p99_ms}. Returns verdict (`pass`, `fail`, `error`, `inconclusive`), reasons, baseline and candidate (requests, failed, error_rate, p50_ms, p90_ms, p99_ms), evidence, needed.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet judged = canary_judge(look, look, #{ max_p99_ms: 500 });",
    },
];
