//! `docs/src/verify.md`: what goes wrong and what must hold, from the lists that the program itself uses.

use std::fmt::Write;

use super::property::Property;
use crate::effect::fault::FaultKind;

const BEGINNING: &str = "# What `deployer verify` tries and checks

Written by `UPDATE_DOCS=1 cargo test --test reference` from the program's own lists.

`deployer verify SCRIPT` makes a simulated copy of the host, using only reads (or uses `--scenario FILE.toml`). It executes
the script there in virtual time, many times: with every fault at every effect, and killed at every entry of its journal,
then resumed, and aborted. A `parallel` is killed in both orders of its branches. `--depth 2` tries all pairs, so that
faults also strike during a rollback. `--seeds N` adds random runs. If `--seconds N` ends the search, it lists what was not
tried.

What reads do not show is assumed: apps boot in 0.3 s, listen on the expected port, and containers start again when the
engine restarts. A scenario file can change these assumptions.

A violation is shrunk to the smallest set of faults, printed as a timeline of at most ten lines, and written to a file.
When you have fixed the script, run it again with `deployer verify --replay FILE`. Exit codes: 0 no violations, 1
violations, 2 the script or the host cannot be simulated.

## Faults

| fault | the effect ... | strikes |
|---|---|---|
";

const CASES: &str = "
## Cases

`deployer test DIR` runs the TOML files of a folder, each a case:

| key | meaning |
|---|---|
| `script` | a file next to the case, or the name of a shipped script |
| `given` | the parameters |
| `host` | the simulated host; the default is that of the examples: images `web:v1` and `web:v2`, a volume `data` |
| `when` | the faults, in order: `effect`, `subject`, `nth`, and a `fault`; or `killed = \"before\"` or `\"after\"` it, `then = \"resume\"` or `\"abort\"` |
| `expect` | `status`, `exit_code`, `serves` (an image), `containers`, `error`, `warns`, `gap_max_ms`; `holds = false` if a violation is expected |

`examples/cases/` has the cases of the shipped scripts.

## Why to trust it

- One suite performs the same effects in the simulated world, on Docker and as processes, and expects the same outcomes
  and errors: the conformance tests.
- Seeded mistakes and the literal guides also run on real Docker, with the faults that reveal them. Status, exit code, the
  version that answers, the containers at the end and the time without an answer must match the result of `verify`:
  `cargo test --test verify docker`. Differences are fixed in the simulation.
- Typical mistakes are put into the shipped scripts one at a time, and must be found:
  `DEPLOYER_SWEEP=all cargo test --release --test verify mutations`.
- The shipped scripts have no violation with any pair of faults, with every driver:
  `DEPLOYER_SWEEP=pairs cargo test --release --test verify no_violations -- --test-threads 1`.
";

fn strikes(fault: FaultKind) -> &'static str {
    match fault {
        FaultKind::Refused | FaultKind::Transient | FaultKind::TimeoutNotApplied | FaultKind::Slow => {
            "every effect but the clock's, `env` and `secret`"
        }
        FaultKind::TimeoutApplied => "every change",
        FaultKind::ConnectionLost => "every change that is attempted again after a fault",
        FaultKind::Partial => "`docker_run`, `docker_remove`, `compose_up`, `compose_stop`",
        FaultKind::Stale => "reads of the engine",
        FaultKind::Dies | FaultKind::BecomesUnhealthy => {
            "`docker_run`, `docker_start`, `compose_up`, unless they undo something"
        }
        FaultKind::DiskFull => "everything that stores: images, containers, volumes, databases, objects",
        FaultKind::DaemonRestarts => "changes of the engine, and `health_wait`",
    }
}

/// Returns the whole page.
pub fn property_docs() -> String {
    let mut page = BEGINNING.to_owned();
    for fault in FaultKind::ALL {
        let _ = writeln!(page, "| `{fault}` | {} | {} |", fault.description(), strikes(fault));
    }
    page.push_str("\n## Properties\n\n| property | what must hold | how it is checked |\n|---|---|---|\n");
    for property in Property::ALL {
        let _ = writeln!(page, "| `{property}` | {} | {} |", property.sentence(), property.meaning());
    }
    page.push_str(CASES);
    page
}
