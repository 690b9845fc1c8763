//! The door handle: everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    deployer::cli::main()
}
