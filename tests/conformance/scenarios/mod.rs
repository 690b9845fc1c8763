//! The scenarios, by what they are about.

mod containers;
mod copies;
mod databases;
mod ends;
mod health;
mod images;
mod locks;
mod places;
mod taking_back;
mod traffic;

use crate::suite::Scenario;

/// Gives each async function of a module to the suite under its own name.
macro_rules! scenarios {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        vec![$($(Scenario {
            name: stringify!($name),
            play: |stage| Box::pin($module::$name(stage)),
        }),+),+]
    };
}

/// Every scenario there is.
pub fn all() -> Vec<Scenario> {
    scenarios! {
        containers: run_shows_everything, list_selects, missing_container, taken_name, taken_port, missing_image,
            create_then_start, rename, remove, logs_tell_the_last_lines, exec;
        ends: stop_is_obeyed, stop_kills_the_stubborn, kill, wait_and_exit_code, wait_gives_up;
        images: tag_moves_a_name, images_are_found, image_remove;
        places: volumes, networks, ports;
        copies: clone, clone_beside_a_writer, snapshots, restore, swap;
        health: healthy_at_once, never_healthy, dies_while_waited_for, state_alone, questions_that_are_none, http, load;
        databases: seeded_once, backed_up_and_restored, writers_are_found, schemas, migration_is_tried, objects,
            archives;
        locks: lock_is_exclusive, lock_of_the_dead_is_taken_over, lock_is_taken_away, later_locks_have_greater_numbers;
        taking_back: run, create, start, stop, kill, kill_at_once, rename_back, tag, tag_of_another, build, image_name,
            volume, network, only_own_is_removed;
        traffic: routes, holds, an_unwell_target_is_no_success;
    }
}
