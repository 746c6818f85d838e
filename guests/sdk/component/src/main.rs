//! `weir-component <core.wasm> -o <out.wasm>` makes a component of a core module; of a component it makes one whose debug
//! information is a table of lines.

use std::process::ExitCode;
use std::{env, fs};

use weir_component::{component_from_core, is_component, with_lines};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (core, out) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [core, "-o", out] | ["-o", out, core] => (core, out),
        _ => {
            eprintln!("usage: weir-component <core.wasm | component.wasm> -o <out.wasm>");
            return ExitCode::from(2);
        }
    };
    match write_component(core, out) {
        Ok(bytes) => {
            println!("{out}: {bytes} bytes");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weir-component: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers with the component's size.
fn write_component(core_path: &str, out_path: &str) -> Result<usize, String> {
    let core = fs::read(core_path).map_err(|error| format!("cannot read {core_path}: {error}"))?;
    let made = match is_component(&core) {
        true => with_lines(&core),
        false => component_from_core(&core),
    };
    let component = made.map_err(|error| format!("{core_path}: {error}"))?;
    if let Some(missing) = component.missing_lines {
        eprintln!("weir-component: {core_path}: {missing}");
    }
    fs::write(out_path, &component.bytes).map_err(|error| format!("cannot write {out_path}: {error}"))?;
    Ok(component.bytes.len())
}
