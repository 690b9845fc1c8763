//! # deployer: the architecture
//!
//! A script says how a service is deployed. This program executes it, records every step before it happens, and rolls
//! everything back when a step fails. This page describes the main ideas, the path of one call, the layers, the life of a
//! run, which module may import which, and where to add something new. The terms are those of the glossary in the book.
//!
//! ## Main ideas
//!
//! 1. **A script can only request.** Every primitive that a script calls becomes plain data, an [`effect::Effect`]. Only a
//!    [`world::World`] performs effects. Nothing else here touches Docker, processes, files, sockets, the clock or the
//!    environment. (The command line reads the files that it is given and writes to the terminal; the journal writes its
//!    own file.)
//! 2. **There is one path.** [`gateway::Gateway`] is the single path from a script to a world. What must hold for every
//!    primitive is a [`gateway::Layer`] on that path, written once. No primitive knows the layers.
//! 3. **The journal comes first.** An effect and its undo are on disk before the effect starts; its outcome is on disk
//!    before the script continues. Without a journal entry no effect is performed. If an effect has an `intended` entry but no
//!    outcome, it is unknown whether it happened: it is looked up, repeated or undone, never assumed.
//! 4. **Undo is an effect too.** Each effect that changes something names the effect that undoes it. Undos are kept on a
//!    stack. An error, Ctrl-C or a deadline rolls the run back: the undos are performed, the newest first, through the same
//!    gateway. `commit()` is the point of no return. A run whose undo fails is *stuck*: it prints the exact commands to
//!    type.
//! 5. **Worlds are interchangeable.** Docker, local processes and the simulation perform the same effects and pass the
//!    same conformance suite, so that a script means the same on each.
//! 6. **Reporters read events.** Terminal, plain log, JSON lines and history show the entries of the journal, live or read
//!    back, with the same code.
//!
//! ## The path of one call
//!
//! ```text
//! docker_stop("web", #{grace: "30s"})
//!   script/engine.rs      one Rhai function for each number of arguments
//!   script/primitive.rs   arguments -> JSON -> StopContainer; unknown options fail here, with a did-you-mean
//!   script/host.rs        the position in the run (`Seq`) and the script line (`Site`); blocks this thread on...
//!   gateway/gate.rs       refuses when the run is cancelled; creates the Call: run, position, cancel, progress
//!   gateway/stack.rs      trace > replay > record > (consent >) redact > retry > fence > guard > deadline > (fault >)
//!   world/real_world.rs   containers, images, volumes, networks, locks: the engine; the rest: services
//!   world/docker/container/stop.rs  the Engine API  (local/container/stop.rs: signals; sim/container/stop.rs: a virtual clock)
//! and back:
//!   gateway/record.rs     `completed` or `failed` in the journal; journal/run_state.rs folds it; report/ shows it
//!   script/value.rs       the outcome as a plain map, or the error as a map for `catch`
//! ```
//!
//! ## The layers, outermost first
//!
//! | layer | what it does |
//! |---|---|
//! | [`gateway::trace`] | opens a span around everything, retries included |
//! | [`gateway::replay`] | answers what an interrupted run already did from its journal |
//! | [`gateway::record`] | reads the state before, writes the intent with its undo, then the outcome |
//! | [`gateway::consent`] | in a session: asks for confirmation before something live is stopped or removed |
//! | [`gateway::redact`] | scrubs known secrets from what comes back |
//! | [`gateway::retry`] | repeats an effect after a transient fault, where that is safe |
//! | [`gateway::fence`] | refuses every change once the run has lost its lock |
//! | [`gateway::guard`] | refuses to take down a container that a route still refers to |
//! | [`gateway::deadline`] | ends each attempt in time, and soon after the run is cancelled |
//! | [`gateway::fault`] | injects the faults of tests and of `verify`, as close to the world as possible |
//!
//! [`gateway::stack`] is the one place that orders them.
//!
//! ## The life of a run
//!
//! [`run::runner`] executes a run, [`journal::entry`] has its entries, and [`journal::run_state`] is the fold that refuses
//! an entry that cannot follow. In order:
//!
//! | entry | when |
//! |---|---|
//! | `run_started` | the header: script and its digest, parameters, engine, process. Texts are stored by digest |
//! | `source_loaded` | a module was imported |
//! | `step_opened`, `step_closed`, `parallel_opened`, `parallel_closed` | the steps and branches around effects |
//! | `intended`, then `completed` or `failed` | one effect; on disk before it and after it |
//! | `logged` | a message |
//! | `rollback_registered` | the script added its own undo to the stack |
//! | `committed` | the undo stack was cleared |
//! | `rollback_started`, `rollback_called`, `rollback_failed` | the run is rolling back; undos are effects with `undoes` |
//! | `run_reopened` | another process finishes an interrupted run, or rolls it back |
//! | `run_ended` | status, exit code, what remains. A run without it is under way or was interrupted |
//! | `run_resolved` | an operator has cleaned up after a stuck run |
//!
//! Effects are numbered by position, not by time: `12.2.3` is the third entry on the second branch of the `parallel` at
//! 12. Branches number their own entries, so the order in which they finish does not matter. Run and position are also
//! the label `deployer.effect` on everything that is created ([`base::labels`]): after a crash the engine can say whether
//! an effect happened.
//!
//! ## How an interrupted run continues
//!
//! [`run::reopen`] acquires the locks of the run for the new process, finds out what became of the effects that were under
//! way, and executes the pinned script again from its first line. [`gateway::replay`] answers from
//! [`journal::replay_cursor`]. There is no second code path: a resume is the same script through the same gateway.
//!
//! - An effect without an outcome: a read is performed again; what is safe to repeat (`Recovery::Repeat`) is repeated;
//!   what can be observed (`Recovery::Observe`) is looked up; for the rest (`Recovery::Ask`) the operator decides
//!   (`--redo-step`, `--skip-step`). A partly applied effect is undone first.
//! - Everything up to the last change is fixed: the script must request the same effects again, or the resume stops and
//!   shows the difference. Reads after the last change are performed again.
//! - Safety checks must pass again before the run continues.
//! - An abort, or a run that was rolling back, is replayed as far as the run had come, to restore the closures of
//!   `on_rollback`: each branch of a `parallel` on its own, to where it was. Then it rolls back.
//! - A closure that was interrupted is called again and answered from the journal, as the script is.
//!
//! ## How a run is rolled back
//!
//! - The undo is determined before the effect, from the state before it: a container that did not run is not started
//!   again. An undo must succeed when there is nothing to undo.
//! - An effect that failed with `applied: no` leaves the undo stack. One that failed otherwise stays on it, because it may
//!   be partly applied.
//! - Reads have no undo. An effect that cannot be undone does not stop the rollback, but the run ends stuck, unless the
//!   effect was `disposable` or concerned something that this run created.
//! - Undos are performed newest first ([`run::rollback`]). A failed undo or closure is retried. If it keeps failing, the undos below
//!   it are left to the operator, because they may depend on it.
//! - The first Ctrl-C, SIGTERM or `--timeout` stops the script and rolls the run back. The second stops everything and
//!   leaves an unfinished run, for `deployer resume` or `deployer abort`.
//! - What is done during a rollback is not itself undone. Locks are released last.
//!
//! ## One script, three commands
//!
//! `run` executes it. [`plan`] executes the same script through the same gateway in [`plan::plan_world`]: reads are real as
//! long as no assumed change affects them; changes are made in a simulated copy of the host. [`verify`] executes it only
//! in that copy, once for every fault ([`effect::fault`]) at every effect and for every crash, and checks the properties
//! after each run. What was verified is what runs.
//!
//! ## Adding a primitive
//!
//! 1. `effect/`: the request (serde, defaults), its reply, its access, recovery, evidence, deadline and undo. From here the
//!    compiler leads: a world that does not perform it does not compile.
//! 2. `world/docker/`, `world/local/` and `world/sim/`; or `world/services/` for what all engines share, and its simulated
//!    counterpart in `world/sim/`.
//! 3. `script/`: summary, options, what it returns, how it is undone, and a working example. A test compares this list
//!    with the effects.
//! 4. The conformance scenarios: what must hold on every world.
//! 5. `UPDATE_DOCS=1 cargo test --test reference` writes the reference.
//!
//! ## Which module may import which
//!
//! | module | may import | remarks |
//! |---|---|---|
//! | `base` | | |
//! | `effect` | base | no rhai, no tokio, no client crate |
//! | `journal` | base, effect | |
//! | `proxy` | base, effect | could become a crate; has its own sockets, files and clock |
//! | `world` | base, effect, proxy | |
//! | `gateway` | base, effect, journal, world | of world only the traits |
//! | `script` | base, effect, journal, gateway | no file, no process |
//! | `run` | base, effect, journal, gateway, script, world | of world only the clock |
//! | `verify` | base, effect, journal, gateway, script, run, world | of world only the simulated one |
//! | `plan` | base, effect, journal, gateway, script, run, verify, world | |
//! | `report` | base, effect, journal, gateway, run | events in, text out |
//! | `repl` | base, effect, journal, gateway, script, run, verify, plan, report | a terminal, and what `cli` passes in |
//! | `cli` | base, effect, journal, proxy, world, gateway, script, run, verify, plan, report, repl, app | |
//! | `app` | everything | the only one that names concrete worlds and stores together |
//!
//! `tests/tidy` reads this table, and the table of layers above. It also checks that files do not import each other in a
//! circle, and who may use the clock, files, processes and the environment.
//!
//! ## Where the tests are
//!
//! Unit tests are in `#[cfg(test)]` modules below the types. Integration tests are in `tests/`: conformance of the worlds,
//! the core on the simulated host, the proxy with real sockets, the traffic drivers under load, `verify`, and the whole
//! program. `tests/run` runs everything, as CI does.

// In reading order: base types, effects, the journal, the proxy, the worlds, the gateway, the language, one execution,
// verification, plans, reporters, the command line, and what puts it all together.
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
