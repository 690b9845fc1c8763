//! Basic types that every layer shares: durations, sizes, ports, mounts, ids of runs, positions of effects.
//! Plain values; they know nothing of scripts, worlds or the journal.

pub mod byte_size;
pub mod container_ref;
pub mod duration_text;
pub mod labels;
pub mod log_url;
pub mod mount;
pub mod object_url;
pub mod port_mapping;
pub mod run_id;
pub mod scrubber;
pub mod seq;
pub mod shell_word;
pub mod site;
pub mod suggest;
pub mod text;
pub mod vault;
pub mod without_times;
