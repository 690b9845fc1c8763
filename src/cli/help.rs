//! `deployer help`, `deployer reference`, `deployer definitions`: what the program says of itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use miette::miette;

use super::fault::Fault;
use super::terminal;
use crate::script::definitions::{FILE, definitions};
use crate::script::page::{page, pages};
use crate::script::reference;

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A verb of the command line, or a word or primitive of scripts, such as docker_run
    topic: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReferenceArgs {
    #[arg(long, value_enum, default_value_t = ReferenceFormat::Markdown)]
    format: ReferenceFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReferenceFormat {
    /// docs/reference.md
    Markdown,
    /// One object, for programs
    Json,
}

#[derive(Debug, Args)]
pub struct DefinitionsArgs {
    /// Folder for the file; made when it is not there
    folder: PathBuf,
}

pub fn help(args: &HelpArgs) -> Result<u8, Fault> {
    let mut command = super::Cli::command();
    command.build();
    let Some(topic) = args.topic.as_deref() else {
        terminal::print(&format!("{}\n", command.render_long_help()))?;
        return Ok(0);
    };
    if let Some(verb) = command.find_subcommand_mut(topic) {
        terminal::print(&format!("{}\n", verb.render_long_help()))?;
        return Ok(0);
    }
    match page(topic) {
        Ok(page) => terminal::print(&reference::help(&page, terminal::width()))?,
        Err(hint) => {
            let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name);
            let hint = crate::base::suggest::did_you_mean(topic, verbs).unwrap_or(hint);
            return Err(Fault::usage(miette!(help = hint, "there is no verb and no primitive `{topic}`")));
        }
    }
    Ok(0)
}

pub fn reference(args: &ReferenceArgs) -> Result<u8, Fault> {
    let text = match args.format {
        ReferenceFormat::Markdown => reference::reference(),
        ReferenceFormat::Json => format!("{:#}\n", reference::reference_json()),
    };
    terminal::print(&text)?;
    Ok(0)
}

/// Writes the definitions for the Rhai language server.
pub fn write_definitions(args: &DefinitionsArgs) -> Result<u8, Fault> {
    let path = args.folder.join(FILE);
    let write = || std::fs::create_dir_all(&args.folder).and_then(|()| std::fs::write(&path, definitions()));
    write().map_err(|error| Fault::usage(miette!("`{}` cannot be written: {error}", path.display())))?;
    terminal::say(format!("{}: {} names; editors find it beside the scripts", path.display(), pages().len()));
    Ok(0)
}
