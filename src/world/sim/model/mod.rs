//! What is on a simulated host, as plain data. Knows nothing of effects and of how the host changes.

pub(super) mod approver;
pub(super) mod behaviour;
pub(super) mod compose;
pub(super) mod container;
pub(super) mod containers;
pub(super) mod database;
pub(super) mod git;
pub(super) mod ids;
pub(super) mod image;
pub(super) mod lock;
pub(super) mod machine;
pub(super) mod network;
pub(super) mod outbox;
pub(super) mod program;
pub(super) mod route;
pub(super) mod scenario;
pub(super) mod storage;
pub(super) mod traffic_counts;
pub(super) mod traffic_probe;
pub(super) mod volume;
