//! # deployer: the architecture
//!
//! A script says how a service is deployed; this program does it, writes down every step before it is taken, and takes
//! everything back when one fails. This page is the map: what decides the rest, the way of one call, the layers, the
//! life of a run, who may know whom, and where to put something new. The words are those of the glossary in
//! `README.md`, one meaning each.
//!
//! ## Six sentences that decide the rest
//!
//! 1. **A script can only ask.** Every primitive that a script calls becomes plain data, an [`effect::Effect`]. Only a
//!    [`world::World`] performs effects: nothing else here touches Docker, processes, files, sockets, the clock or the
//!    environment. (The command line reads the files it is given and writes to the terminal; the journal writes its own.)
//! 2. **One door.** [`gateway::Gateway`] is the only way from a script to a world. What must hold for every primitive is
//!    a layer on that door, written once. No primitive knows which layers there are.
//! 3. **The journal comes first.** What an effect is, and how it is taken back, is on disk before it begins; what came of
//!    it is on disk before the script goes on. No journal, no effect. An intent without an outcome is unknown: it is
//!    looked up or taken back, never assumed.
//! 4. **Undo is an effect too.** Each effect that changes something names the effect that takes it back. They pile up, and
//!    an error, Ctrl-C or a deadline unwinds them, the last first, through the same door. `commit()` is the point of no
//!    return. An undo that fails makes the run *stuck*: a person gets the exact commands.
//! 5. **Worlds are twins.** Docker, local processes and the simulation perform the same effects and pass the same
//!    conformance suite, so that a script means the same on each.
//! 6. **Every face reads events.** Terminal, plain log, JSON lines and history show the entries of the journal, live or
//!    read back, by the same code.
//!
//! ## The way of one call
//!
//! ```text
//! docker_stop("web", #{grace: "30s"})
//!   script/engine.rs      one Rhai function for each number of arguments
//!   script/primitive.rs   arguments -> JSON -> StopContainer; unknown options end here, with a did-you-mean
//!   script/host.rs        the place in the run (`Seq`), the line of the script (`Site`); blocks this thread on...
//!   gateway/gate.rs       refuses when the run is cancelled; makes the Call: run, place, cancel, progress
//!   gateway/stack.rs      trace > record > (ask >) redact > retry > fence > deadline > fault >
//!   world/real.rs         containers, images, volumes, networks, locks: the engine; the rest: services
//!   world/docker/stop.rs  the Engine API            (local/stop.rs: signals; sim/lifecycle.rs: a virtual clock)
//! and back:
//!   gateway/record.rs     `completed` or `failed` into the journal; journal/run_state.rs folds it; report/ shows it
//!   script/value.rs       the reply as a plain map, or the error as one that `catch` gets
//! ```
//!
//! ## The layers, outermost first
//!
//! | layer | what it does |
//! |---|---|
//! | [`gateway::trace`] | a span around everything, retries included |
//! | [`gateway::record`] | reads the state before (`Facts::prior`), writes the intent with its undo, then the outcome |
//! | [`gateway::consent`] | in a session: asks a person before what is live is stopped or removed |
//! | [`gateway::redact`] | scrubs known secrets from what comes back |
//! | [`gateway::retry`] | tries again after a passing fault, where `Recovery` says that twice does no harm |
//! | [`gateway::fence`] | refuses every change once the run has lost its lock |
//! | [`gateway::deadline`] | ends each try in time, and at once when the run is cancelled |
//! | [`gateway::fault`] | what tests let go wrong, as close to the world as can be |
//!
//! [`gateway::stack`] is the one place that orders them.
//!
//! ## The life of a run
//!
//! [`run::runner`] drives it, [`journal::entry`] are its entries, [`journal::run_state`] is the fold that refuses an entry
//! that cannot follow. In the order in which they come:
//!
//! | entry | when |
//! |---|---|
//! | `run_started` | the header: script and its digest, parameters, engine, process. The texts are kept by digest |
//! | `source_loaded` | a module was imported |
//! | `step_opened`, `step_closed`, `parallel_opened`, `parallel_closed` | the frame around what follows |
//! | `intended`, then `completed` or `failed` | one effect; on disk before it, on disk after it |
//! | `logged` | the script said something |
//! | `rollback_registered` | the script's own undo joins the pile |
//! | `committed` | the pile is empty from here |
//! | `unwind_started`, `rollback_called` | the run is being taken back; undos are effects with `undoes` |
//! | `run_reopened` | another process goes on with a killed run, or takes it back |
//! | `run_ended` | status, exit code, what remains. A run without it is under way, or was killed |
//! | `run_resolved` | a person has done what a stuck run left |
//!
//! Effects are numbered by place, not by time: `12.2.3` is the third entry on the second branch of the `parallel` at 12.
//! Branches number themselves, so the order in which they finish does not matter. Place and run are also the label
//! `deployer.effect` on everything that is created ([`base::labels`]): after a crash the engine can say whether it
//! happened.
//!
//! ## How a killed run goes on
//!
//! [`run::reopen`] takes the run's locks in its own name, finds out what became of the effects that were under way, and
//! runs the pinned script again from its first line; [`gateway::replay`] answers from [`journal::past`]. There is no
//! second code path: a resume is the same script through the same door.
//!
//! - An effect without an outcome: a read is read again; what is safe twice (`Recovery::Repeat`) is done again; what can
//!   be seen (`Recovery::Observe`) is looked up by `Facts::evidence` and `Facts::verdict`; the rest (`Recovery::Ask`) is
//!   for a person (`--redo-step`, `--skip-step`). What is half done is taken away first.
//! - What changed something, and all that came before it, is *firm*: the script must ask for the same again, or it stops
//!   with the difference. What was only read after the last change is read afresh.
//! - Whether all is well (`Facts::is_safety_check`) is asked again before the run goes on.
//! - An abort, and a run that was being taken back, replays as far as the run had come, for the closures of
//!   `on_rollback`; then it unwinds.
//!
//! ## How a run is taken back
//!
//! - The undo is made before the effect, by `Facts::undo`, from the state before: a container that did not run is not
//!   started again. It must not mind finding its work already done.
//! - An effect that failed with `applied: no` leaves the pile; one that failed otherwise stays on it, for half of it may
//!   be there.
//! - Reads, and what cannot matter, have no undo. What cannot be taken back (`Undo::Impossible`) does not stop the rest,
//!   and the run ends stuck unless it was `disposable` or this run made it.
//! - Undos come last first ([`run::unwind`]). One that fails is tried three times more; if it fails for good, what is
//!   below it stays, since it may rest on it.
//! - The first Ctrl-C, SIGTERM or `--timeout` stops what goes forward and takes back; the second stops everything and
//!   leaves an unfinished run, for `deployer resume` or `deployer abort`.
//! - Nothing done while taking back is itself taken back. Locks are let go of last.
//!
//! ## One script, three verbs
//!
//! `run` does it. [`plan`] runs the same script through the same door in [`plan::plan_world`]: reads are done for real as
//! long as nothing is assumed that they would see, changes are made in a simulated copy of the host. [`verify`] runs it in
//! that copy alone, once for every fault ([`effect::fault`]) at every effect and for every crash, and holds its
//! properties against each end (`verify/judge.rs`); `world/sim/visitors.rs` says what the public saw. What was verified
//! is what runs.
//!
//! ## Adding a primitive
//!
//! 1. `effect/FAMILY.rs`: the request (serde, defaults), its reply, `Facts` (access, recovery, evidence, patience, undo), a line
//!    in `family!`. From here the compiler leads: every world that does not perform it does not compile.
//! 2. `world/docker/`, `world/local/`, `world/sim/`, or `world/services/` for what all engines share; and the twin in
//!    `world/sim/`.
//! 3. `script/family/FAMILY.rs`: summary, options, what it returns, how it is taken back, an example that works. A test
//!    compares this list with the effects.
//! 4. `tests/conformance/scenarios/`: what must hold on every world.
//! 5. `UPDATE_DOCS=1 cargo test --test reference` writes `docs/reference.md`.
//!
//! A new family is also a line in `effect/mod.rs`, a match arm in `world/real.rs` and in [`script::reference`].
//!
//! ## Who may import whom
//!
//! | module | may use |
//! |---|---|
//! | `base` | nothing of these |
//! | `effect` | base; no rhai, no tokio, no client crate |
//! | `journal` | base, effect |
//! | `proxy` | base, effect: a module that could be lifted out; its own sockets, files and clock |
//! | `world` | base, effect |
//! | `gateway` | base, effect, journal, and of world the traits alone |
//! | `script` | base, effect, journal, gateway; no file, no process |
//! | `run` | base, effect, journal, gateway, script, and of world the clock |
//! | `verify` | base, effect, journal, gateway, script, run and world: the simulated one and the journal in memory by name |
//! | `plan` | the same, and verify |
//! | `repl` | base, effect, journal, gateway, script, run, report: a terminal, and what `cli` hands in |
//! | `report` | base, effect, journal, gateway: events in, text out |
//! | `cli` | all of these, and app |
//! | `app` | everything: the only file that names concrete worlds and stores together |
//!
//! `tests/tidy.rs` holds this table, and who may touch clock, files, processes and environment.
//!
//! ## Where the tests are
//!
//! | what | where |
//! |---|---|
//! | a type and its rules | `#[cfg(test)]` below it |
//! | one world like the other | `tests/conformance.rs` |
//! | a world's own | `tests/local_*.rs`, `tests/docker_world/`, `tests/services/` |
//! | the door, the journal and the language, on the simulated host | `tests/core/` |
//! | the proxy, with real sockets | `tests/proxy/` |
//! | the drivers of routes: nginx, HAProxy, Caddy and the proxy, under load | `tests/traffic/` |
//! | `verify`: guides, seeded mistakes, shipped scripts | `tests/verify/` |
//! | the whole program | `tests/e2e_*.rs`, `tests/bad_*.rs` |
//! | a person at the keyboard: sessions in a pipe and in tmux, help, first steps, packages, customised examples | `tests/keyboard/` |
//! | the guides' apps, by their own configuration | `tests/examples_docker.rs` |
//! | what a plan tells | `tests/plan_*.rs` |
//! | the words: README and reference | `tests/readme.rs`, `tests/reference.rs` |
//! | everything, as CI does | `tests/run` |

// In reading order: words, vocabulary, what happened, the interpreters, the door, the language, one execution, faces,
// the command line, and what puts it all together.
pub mod base;

pub mod effect;

pub mod journal;

pub mod proxy;

pub mod world;

pub mod gateway;

pub mod script;

pub mod run;

pub mod verify;

pub mod plan;

pub mod report;

pub mod repl;

pub mod cli;

pub mod app;
