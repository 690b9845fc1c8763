//! Tests that need an engine on which no other test deploys: a run under way changes what `status` and `gc` report.
//! They are a program of their own, because cargo runs one test program at a time.

#[path = "../support/mod.rs"]
mod support;

mod status;
