//! The scenarios, by topic.

mod container_exits;
mod containers;
mod databases;
mod health;
mod images;
mod locks;
mod resources;
mod traffic;
mod undo;
mod volume_copies;

use crate::conformance::suite::Scenario;

/// Lists async functions of modules as scenarios under their own names.
macro_rules! scenarios {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        vec![$($(Scenario {
            name: stringify!($name),
            run: |context| Box::pin($module::$name(context)),
        }),+),+]
    };
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    scenarios! {
        containers: run_shows_everything, list_selects, missing_container, taken_name, taken_port, missing_image,
            create_then_start, rename, remove, logs_return_the_last_lines, exec;
        container_exits: stop_exits_cleanly, stop_kills_after_the_grace_period, kill, wait_and_exit_code, wait_times_out;
        images: tag_moves_a_name, image_list_matches, image_remove;
        resources: volumes, networks, ports;
        volume_copies: clone, clone_with_a_writer, snapshots, restore, swap;
        health: healthy_at_once, never_healthy, container_dies_during_the_wait, running_is_healthy_without_a_check, invalid_health_checks, http, load;
        databases: only_an_empty_database_is_seeded, backed_up_and_restored, database_users_are_found, schemas, migration_dry_run, objects,
            archives;
        locks: lock_is_exclusive, lock_of_a_dead_run_is_taken_over, lock_is_broken, later_locks_have_higher_epochs;
        undo: run, create, start, stop, kill, kill_at_once, rename_back, tag, tag_of_another, build, image_name,
            volume, network, only_own_is_removed;
        traffic: routes, holds, unhealthy_target_is_refused;
    }
}
