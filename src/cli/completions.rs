//! `deployer completions` and `deployer man`; and the answer to a shell that completes a line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::env::{CompleteEnv, Shells};
use miette::miette;

use super::fault::Fault;
use super::terminal;

/// The variable by which a shell asks this program to complete a line.
const ASKED_BY: &str = "COMPLETE";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
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
    /// Folder for the pages; made when it is not there
    folder: PathBuf,
}

/// Answers a shell and ends the process, when it is one that asks.
pub fn answer_shell() {
    CompleteEnv::with_factory(super::Cli::command).var(ASKED_BY).complete();
}

/// Prints the lines that a shell must read once: `source <(deployer completions bash)`.
pub fn completions(args: &CompletionsArgs) -> Result<u8, Fault> {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut text = Vec::new();
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(name) else { return Err(Fault::usage(miette!("no completions for `{name}`"))) };
    shell
        .write_registration(ASKED_BY, "deployer", "deployer", "deployer", &mut text)
        .map_err(|error| Fault::usage(miette!("the completions cannot be made: {error}")))?;
    terminal::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

/// Writes `deployer.1` and a page for each verb.
pub fn man(args: &ManArgs) -> Result<u8, Fault> {
    let unwritable = |error: std::io::Error| {
        Fault::usage(miette!("the manual pages cannot be written to `{}`: {error}", args.folder.display()))
    };
    std::fs::create_dir_all(&args.folder).map_err(unwritable)?;
    let mut command = super::Cli::command();
    command.build();
    let page = |command: clap::Command, name: &str| -> std::io::Result<()> {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text)?;
        std::fs::File::create(args.folder.join(format!("{name}.1")))?.write_all(&text)
    };
    page(command.clone(), "deployer").map_err(unwritable)?;
    let mut pages = 1;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("deployer-{}", verb.get_name());
        page(verb.clone().name(name.clone()), &name).map_err(unwritable)?;
        pages += 1;
    }
    terminal::say(format!(
        "{}: {pages} pages; `man {}/deployer.1` shows the first",
        args.folder.display(),
        args.folder.display()
    ));
    Ok(0)
}
