//! `earmark man`: prints manual pages, or writes all of them to a folder.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::ManArgs;
use crate::types::nearest::nearest;
use crate::version::VERSION;

pub(super) fn run(mut command: Command, args: &ManArgs) -> Result<(), CliFailure> {
    // Names pages as `man` looks for them: earmark-serve.
    command.build();
    if let Some(folder) = &args.folder {
        return write_all(&command, folder).map_err(|error| {
            CliFailure::new(format!(
                "--folder {}: {error}; name a folder that this user may write to",
                folder.display()
            ))
        });
    }
    let page = match &args.page {
        None => &command,
        Some(name) => command.find_subcommand(name).ok_or_else(|| {
            let known = command.get_subcommands().map(Command::get_name);
            let advice = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`earmark --help` lists those that there are".into(),
            };
            CliFailure::setting(format!("no command `{}`: {advice}", name.escape_debug()))
        })?,
    };
    let text = page_of(page).map_err(CliFailure::new)?;
    print(&String::from_utf8_lossy(&text));
    Ok(())
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let commands = command.get_subcommands();
    let shown = commands.filter(|it| !it.is_hide_set() && it.get_name() != "help");
    for page in [command].into_iter().chain(shown) {
        let file = folder.join(Man::new(page.clone()).get_filename());
        fs::write(&file, page_of(page)?)?;
        print(&format!("{}\n", file.display()));
    }
    Ok(())
}

fn page_of(command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone())
        .source(format!("earmark {VERSION}"))
        .manual("Earmark")
        .render(&mut text)?;
    Ok(text)
}
