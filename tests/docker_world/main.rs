//! The docker world against a real engine: every request, and what goes wrong.

mod bench;
mod connecting;
mod containers;
mod failures;
mod images;
mod locks;
mod networks;
mod programs;
mod registry;
mod volume_copies;
mod volumes;
