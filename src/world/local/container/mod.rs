//! Effects on local containers, one file for each, and what is known of a container on disk.

pub(super) mod create;
pub(super) mod exec;
pub(super) mod inspect;
pub(super) mod launch;
pub(super) mod logs;
pub(super) mod path_rewriter;
pub(super) mod record;
pub(super) mod remove;
pub(super) mod start;
pub(super) mod stats;
pub(super) mod stop;
pub(super) mod wait;
