//! `deployer completions` and `deployer man`, and the answers to a shell that completes a line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::env::{CompleteEnv, Shells};
use miette::miette;

use super::command_error::CommandError;
use super::terminal;

/// The environment variable that asks this program for completions.
const COMPLETE_VARIABLE: &str = "COMPLETE";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages; created if it is missing
    folder: PathBuf,
}

/// Answers a shell that asks for completions, and ends the process then.
pub fn answer_shell() {
    CompleteEnv::with_factory(super::definition).var(COMPLETE_VARIABLE).complete();
}

/// Prints the registration that a shell must source.
pub fn completions(args: &CompletionsArgs) -> Result<u8, CommandError> {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut text = Vec::new();
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(name) else {
        return Err(CommandError::usage(miette!("no completions for `{name}`")));
    };
    shell
        .write_registration(COMPLETE_VARIABLE, "deployer", "deployer", "deployer", &mut text)
        .map_err(|error| CommandError::usage(miette!("the completions cannot be generated: {error}")))?;
    terminal::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

/// Writes `deployer.1` and a page for each command.
pub fn man(args: &ManArgs) -> Result<u8, CommandError> {
    let unwritable = |error: std::io::Error| {
        CommandError::usage(miette!("the manual pages cannot be written to `{}`: {error}", args.folder.display()))
    };
    std::fs::create_dir_all(&args.folder).map_err(unwritable)?;
    let mut command = super::definition();
    command.build();
    let page = |command: clap::Command, name: &str| -> std::io::Result<()> {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text)?;
        std::fs::File::create(args.folder.join(format!("{name}.1")))?.write_all(&text)
    };
    page(command.clone(), "deployer").map_err(unwritable)?;
    let mut pages = 1;
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("deployer-{}", subcommand.get_name());
        page(subcommand.clone().name(name.clone()), &name).map_err(unwritable)?;
        pages += 1;
    }
    terminal::say(format!(
        "{}: {pages} pages; read the first with `man {}/deployer.1`",
        args.folder.display(),
        args.folder.display()
    ));
    Ok(0)
}
