//! The core on the simulated world: small script in; effects, entries, text and end out.

mod bad_journals;
mod canary;
mod check;
mod control;
mod crash;
mod deploys;
mod errors;
mod examples;
mod fold;
mod journal_full;
mod layers;
mod limits;
mod locks;
mod migrations;
mod odd_texts;
mod options;
mod params;
mod play;
mod replay;
mod reports;
mod resume;
mod retire;
mod sample;
mod secrets;
mod stores;
mod values;
