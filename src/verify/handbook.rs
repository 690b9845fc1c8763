//! `docs/verify.md`: what goes wrong and what must hold, from the lists that the program itself uses.

use std::fmt::Write;

use super::property::Property;
use crate::effect::fault::FaultKind;

const BEGINNING: &str = "# What `deployer verify` tries, and what must hold

Written by `UPDATE_DOCS=1 cargo test --test reference` from the program's own lists.

`deployer verify SCRIPT` copies the host by reads alone (or takes `--scenario FILE.toml`), and runs the script there, in
virtual time, again and again: under every fault at every effect, and killed at every entry of its journal, then
resumed, and aborted. `--depth 2` tries all pairs, so that faults strike while the run is being taken back;
`--seeds N` makes up further runs by chance. Where `--seconds N` ends the search, it says what was not tried.

What cannot be seen by looking is assumed: apps boot in 0.3 s, listen where they are asked, and containers come back
when the engine restarts. A scenario file says otherwise.

A violation is shrunk to the fewest mishaps, told in ten lines at the most, and written to a file: after the script is
mended, `deployer verify --replay FILE` runs it again. Exit codes: 0 everything holds, 1 something does not, 2 the script
or the host cannot be simulated.

## Faults

| fault | the effect ... | strikes |
|---|---|---|
";

const CASES: &str = "
## Cases

`deployer test DIR` runs the TOML files of a folder, each a case:

| key | meaning |
|---|---|
| `script` | a file beside the case, or the name of a shipped script |
| `given` | the parameters |
| `host` | the simulated host; what is left out is that of the examples: images `web:v1` and `web:v2`, a volume `data` |
| `when` | what goes wrong, in order: `effect`, `subject`, `nth`, and a `fault`; or `killed = \"before\"` or `\"after\"` it, `then = \"resume\"` or `\"abort\"` |
| `expect` | `status`, `exit_code`, `serves` (an image), `containers`, `error`, `warns`, `gap_max_ms`; `holds = false` where a property is expected not to |

`examples/cases/` has those of the shipped scripts.

## Whether to believe it

- One suite asks the simulated world, Docker and processes for the same effects, and wants the same outcomes and errors:
  `cargo test --test conformance`.
- Seeded mistakes and the literal guides, under the faults that show them, are run for real on Docker as well; status,
  exit code, who answers, the containers at the end and the time without an answer must be those that `verify` told:
  `cargo test --test verify docker`. What differs is mended in the model.
- Mistakes that people make are put into the shipped scripts one at a time, and must be found:
  `DEPLOYER_SWEEP=all cargo test --release --test verify mutations`.
- The shipped scripts hold under every pair of mishaps, with every driver:
  `DEPLOYER_SWEEP=pairs cargo test --release --test verify hold -- --test-threads 1`.
";

fn strikes(fault: FaultKind) -> &'static str {
    match fault {
        FaultKind::Refused | FaultKind::Transient | FaultKind::TimeoutNotApplied | FaultKind::Slow => {
            "every effect but the clock's, `env` and `secret`"
        }
        FaultKind::TimeoutApplied => "every change",
        FaultKind::Partial => "`docker_run`, `docker_remove`, `compose_up`, `compose_stop`",
        FaultKind::Stale => "reads of the engine",
        FaultKind::Dies | FaultKind::FallsIll => "`docker_run`, `docker_start`, `compose_up`, unless they take back",
        FaultKind::DiskFull => "whatever stores: images, containers, volumes, databases, objects",
        FaultKind::DaemonRestarts => "changes of the engine, and `health_wait`",
    }
}

/// The whole page.
pub fn handbook() -> String {
    let mut page = BEGINNING.to_owned();
    for fault in FaultKind::ALL {
        let _ = writeln!(page, "| `{fault}` | {} | {} |", fault.words(), strikes(fault));
    }
    page.push_str("\n## Properties\n\n| property | what holds | how it is checked |\n|---|---|---|\n");
    for property in Property::ALL {
        let _ = writeln!(page, "| `{property}` | {} | {} |", property.sentence(), property.meaning());
    }
    page.push_str(CASES);
    page
}
