//! Tests of the code style: imports between modules, restricted calls, file sizes, and plain words.

mod cycles;
mod effects;
mod files;
mod imports;
mod layers;
mod sources;
mod words;
