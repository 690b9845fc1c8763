//! `deployer help`, `deployer reference`, `deployer definitions`: documentation that the program prints.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miette::miette;

use super::command_error::CommandError;
use super::terminal;
use crate::base::suggest::did_you_mean;
use crate::script::definitions::{FILE, definitions};
use crate::script::function_doc::{function_doc, function_docs};
use crate::script::reference;

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, or a function or keyword of scripts, such as docker_run
    topic: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = ReferenceFormat::Markdown)]
    format: ReferenceFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReferenceFormat {
    /// The reference as a Markdown document
    Markdown,
    /// One JSON object
    Json,
}

#[derive(Debug, Args)]
pub struct DefinitionsArgs {
    /// Folder for the file; created if it is missing
    folder: PathBuf,
}

pub fn help(args: &HelpArgs) -> Result<u8, CommandError> {
    let mut command = super::definition();
    command.build();
    let Some(topic) = args.topic.as_deref() else {
        terminal::print(&format!("{}\n", command.render_long_help()))?;
        return Ok(0);
    };
    if let Some(subcommand) = command.find_subcommand_mut(topic) {
        terminal::print(&format!("{}\n", subcommand.render_long_help()))?;
        return Ok(0);
    }
    match function_doc(topic) {
        Ok(page) => terminal::print(&reference::help(&page, terminal::width()))?,
        Err(hint) => {
            let commands =
                command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
            let hint = did_you_mean(topic, commands).unwrap_or(hint);
            return Err(CommandError::usage(miette!(
                help = hint,
                "there is no command, function or keyword `{topic}`"
            )));
        }
    }
    Ok(0)
}

pub fn reference(args: &ReferenceArgs) -> Result<u8, CommandError> {
    let text = match args.format {
        ReferenceFormat::Markdown => reference::reference(),
        ReferenceFormat::Json => format!("{:#}\n", reference::reference_json()),
    };
    terminal::print(&text)?;
    Ok(0)
}

/// Writes the definitions for the Rhai language server.
pub fn write_definitions(args: &DefinitionsArgs) -> Result<u8, CommandError> {
    let path = args.folder.join(FILE);
    let write = || std::fs::create_dir_all(&args.folder).and_then(|()| std::fs::write(&path, definitions()));
    write().map_err(|error| CommandError::usage(miette!("`{}` cannot be written: {error}", path.display())))?;
    terminal::say(format!(
        "{}: {} names; put it next to your scripts, where editors look for it",
        path.display(),
        function_docs().len()
    ));
    Ok(0)
}
