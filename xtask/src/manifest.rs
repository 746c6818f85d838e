//! The few lines of a `Cargo.toml` that tell a guest from another crate.

/// What a `Cargo.toml` says about the crate, as far as building a guest needs it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The package's name.
    pub(crate) package: String,
    /// The library's own name, if it has one that is not made of the package's.
    library: Option<String>,
    /// Whether the library is a `cdylib`, that is, for wasm, a module with exports.
    pub(crate) is_cdylib: bool,
    /// Whether it is the root of a workspace of its own, and so no member of this one.
    pub(crate) is_workspace: bool,
}

impl Manifest {
    /// Reads the text of a `Cargo.toml`.
    ///
    /// This is no TOML parser, which would be a dependency: it knows `[section]` lines and `key = value` below them,
    /// the way in which every manifest of this workspace is written. Cargo is the judge of whether a manifest is right.
    pub(crate) fn parse(text: &str) -> Manifest {
        let mut manifest = Manifest::default();
        let mut section = "";
        let mut lines = text.lines().map(without_comment);
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').trim();
                manifest.is_workspace |= section == "workspace";
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            match (section, key.trim()) {
                ("package", "name") => manifest.package = unquoted(value),
                ("lib", "name") => manifest.library = Some(unquoted(value)),
                ("lib", "crate-type") => {
                    let mut list = value.to_owned();
                    while !list.contains(']') {
                        let Some(line) = lines.next() else { break };
                        list.push_str(line);
                    }
                    manifest.is_cdylib = list.contains("\"cdylib\"");
                }
                _ => {}
            }
        }
        manifest
    }

    /// The name of the file that the library is compiled to, without its ending.
    pub(crate) fn library_file(&self) -> String {
        self.library.clone().unwrap_or_else(|| self.package.replace('-', "_"))
    }
}

/// The line up to a `#`. Names and crate types hold none, and other values do not matter here.
fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn unquoted(value: &str) -> String {
    value.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, package: &str, library_file: &str, is_cdylib: bool) {
        let manifest = Manifest::parse(text);
        let seen = (&*manifest.package, &*manifest.library_file(), manifest.is_cdylib);
        assert_eq!(seen, (package, library_file, is_cdylib), "in:\n{text}");
    }

    #[test]
    fn a_cdylib_is_a_guest() {
        let text = "[package]\nname = \"last-page\"\nversion.workspace = true\n\n[lib]\ncrate-type = [\"cdylib\"]\n";
        check(text, "last-page", "last_page", true);
    }

    #[test]
    fn a_list_of_crate_types_may_span_lines_and_hold_comments() {
        let text = "[package]\nname='a'\n[lib] # the rule\ncrate-type = [\n  \"cdylib\", # for wasm\n  \"rlib\",\n]\n";
        check(text, "a", "a", true);
    }

    #[test]
    fn a_library_may_have_a_name_of_its_own() {
        check(
            "[lib]\nname = \"rule\"\n[package]\nname = \"a-b\"\n",
            "a-b",
            "rule",
            false,
        );
    }

    #[test]
    fn names_in_other_sections_are_not_the_packages() {
        check(
            "[package]\nname = \"a\"\n[[bin]]\nname = \"b\"\n[dependencies.c]\nname = \"d\"\n",
            "a",
            "a",
            false,
        );
    }
}
