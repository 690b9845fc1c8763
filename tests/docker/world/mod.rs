//! The docker world on a real engine: every request, and its errors.

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
