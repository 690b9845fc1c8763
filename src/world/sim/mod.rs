//! The simulated world: a host in memory with a virtual clock that can perform every effect.
//!
//! It is deterministic: a scenario is plain data, its seed generates the ids, and nothing here reads the real clock,
//! randomness, files, sockets or the environment. `model` holds the state of the host; the other modules perform
//! effects on it, one module per category. Each lists on its first lines the faults it can produce. Knows effects;
//! knows no script, no journal and no real world.

mod approval;
mod compose;
mod container;
mod exec;
mod faults;
mod git;
mod health;
mod host;
mod host_copy;
mod http;
mod image;
mod load;
mod lock;
mod model;
mod network;
mod notify;
mod object_storage;
mod sim_clock;
mod sim_host;
mod sim_world;
mod snapshot;
mod sqlite;
mod traffic;
mod volume;

pub use host_copy::copy_host;
pub use http::ServedResponse;
pub use model::approver::SimApprover;
pub use model::behaviour::{Behaviour, SimResponse};
pub use model::compose::{SimProject, SimService};
pub use model::database::{DatabaseRows, Row, SimDatabase};
pub use model::git::{SimCommit, SimRepo};
pub use model::image::{SimBuild, SimImage};
pub use model::lock::SimLock;
pub use model::machine::SimMachine;
pub use model::network::SimNetwork;
pub use model::outbox::Outbox;
pub use model::program::SimProgram;
pub use model::route::SimRoute;
pub use model::scenario::{InitialContainer, RecordedRead, Scenario};
pub use model::storage::{SimObject, SimStorage};
pub use model::traffic_probe::{ClientResult, PublicAddress, TrafficInterval};
pub use model::volume::SimVolume;
pub use sim_clock::SimClock;
pub use sim_world::SimWorld;
pub use snapshot::{ContainerSnapshot, HostSnapshot};
