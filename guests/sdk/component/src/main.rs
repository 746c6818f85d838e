//! `weir-component <core.wasm> -o <out.wasm>`

use std::process::ExitCode;
use std::{env, fs};

use weir_component::component_from_core;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (core, out) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [core, "-o", out] | ["-o", out, core] => (core, out),
        _ => {
            eprintln!("usage: weir-component <core.wasm> -o <out.wasm>");
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
    let component = component_from_core(&core).map_err(|error| format!("{core_path}: {error}"))?;
    fs::write(out_path, &component).map_err(|error| format!("cannot write {out_path}: {error}"))?;
    Ok(component.len())
}
