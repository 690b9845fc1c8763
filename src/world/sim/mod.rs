//! The simulated world: a host in memory with a virtual clock, in which every primitive can be performed.
//!
//! Deterministic: a scenario is plain data, its seed makes the ids, and nothing here reads the real clock, chance,
//! files, sockets or the environment. Each file is one noun and lists on its first lines the faults that it can
//! produce. Knows the effects; knows no script, no journal and none of the real worlds.

mod approval;
mod behaviour;
mod compose;
mod container;
mod containers;
mod exec;
mod faults;
mod figures;
mod git;
mod health;
mod host_copy;
mod http;
mod ids;
mod image_effects;
mod images;
mod lifecycle;
mod load;
mod locks;
mod machine;
mod networks;
mod notify;
mod objects;
mod routed;
mod scenario;
mod sim_clock;
mod sim_host;
mod sim_world;
mod snapshot;
mod sqlite;
mod sqlite_changes;
mod sqlite_rows;
mod traffic;
mod traffic_targets;
mod visitors;
mod volume_copies;
mod volumes;

pub use approval::Person;
pub use behaviour::{Behaviour, Page};
pub use compose::{Project, Service};
pub use exec::Program;
pub use git::{Commit, Repo};
pub use host_copy::copy_host;
pub use http::Answer;
pub use images::{Recipe, SimImage};
pub use locks::Held;
pub use machine::Machine;
pub use networks::SimNetwork;
pub use notify::Outbox;
pub use objects::{Objects, SimObject};
pub use scenario::{Heard, Placed, Scenario};
pub use sim_clock::SimClock;
pub use sim_world::SimWorld;
pub use snapshot::{Snapshot, Standing};
pub use sqlite_rows::{Database, Rows};
pub use traffic::SimRoute;
pub use visitors::{PublicAddress, Saw, Spell};
pub use volumes::SimVolume;
