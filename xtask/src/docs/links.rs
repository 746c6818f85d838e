//! Links in Markdown: to files of this repository, and to headings in them. Links to other places are nobody's to check
//! without a network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Pages beside those under `docs/`.
const PAGES: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// A link in a page.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

/// Checks each link of each page, and that the book has each page under `docs/`. Gives the number of links.
///
/// # Errors
/// Names all that are dead.
pub(super) fn check(root: &Path) -> Result<usize> {
    let mut pages: Vec<PathBuf> = PAGES.iter().map(|page| root.join(page)).collect();
    let docs = pages_below(&root.join("docs"));
    pages.extend(docs.iter().cloned());
    let (mut count, mut problems) = (0, Vec::new());
    for page in &pages {
        let text = read(page)?;
        for link in links(&text) {
            count += 1;
            if let Some(problem) = problem(page, &link) {
                let shown = page.strip_prefix(root).unwrap_or(page).display();
                problems.push(format!("{shown}:{}: `{}` {problem}", link.line, link.target));
            }
        }
    }
    let summary = root.join("docs/SUMMARY.md");
    let listed: BTreeSet<PathBuf> = links(&read(&summary)?)
        .into_iter()
        .map(|link| root.join("docs").join(link.target))
        .collect();
    for page in docs.iter().filter(|page| **page != summary && !listed.contains(*page)) {
        problems.push(format!("docs/SUMMARY.md: {} is not in the book", page.display()));
    }
    if problems.is_empty() {
        Ok(count)
    } else {
        Err(Error::new(format!("dead links\n{}", problems.join("\n"))))
    }
}

/// Takes the files that pages link to and that lie outside of `docs/` into the book, which is to be read by itself. Gives
/// their number.
///
/// # Errors
/// Where a file cannot be read or written.
pub(super) fn carry(root: &Path, book: &Path) -> Result<usize> {
    let docs = root.join("docs");
    let mut carried = BTreeSet::new();
    for page in pages_below(&docs) {
        let folder = page.parent().unwrap_or(&docs);
        let depth = folder
            .strip_prefix(&docs)
            .map_or(0, |folder| folder.components().count());
        let html = book
            .join(page.strip_prefix(&docs).unwrap_or(&page))
            .with_extension("html");
        // mdBook calls a folder's README its index.
        let html = match html.file_name() {
            Some(name) if name == "README.html" => html.with_file_name("index.html"),
            _ => html,
        };
        let outside = links(&read(&page)?).into_iter().filter_map(|link| {
            let path = link.target.split('#').next().unwrap_or_default().to_owned();
            let file = simplified(&folder.join(&path));
            (!is_elsewhere(&path) && !path.is_empty() && !file.starts_with(&docs)).then_some((path, file))
        });
        let mut text = None;
        for (path, file) in outside {
            let name = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
            let to = book.join("files").join(&name);
            copy(&file, &to)?;
            let text = text.get_or_insert(read(&html)?);
            // mdBook takes the link for one to a page where the file is Markdown.
            let written = path
                .strip_suffix(".md")
                .map_or(path.clone(), |stem| format!("{stem}.html"));
            let href = format!("href=\"{}files/{}", "../".repeat(depth), name.display());
            *text = text.replace(&format!("href=\"{written}"), &href);
            carried.insert(name);
        }
        if let Some(text) = text {
            write(&html, &text)?;
        }
    }
    Ok(carried.len())
}

/// What is wrong with a link of `page`.
fn problem(page: &Path, link: &Link) -> Option<String> {
    if is_elsewhere(&link.target) {
        return None;
    }
    let (path, heading) = link.target.split_once('#').unwrap_or((&link.target, ""));
    let file = match path {
        "" => page.to_path_buf(),
        path => page.parent().unwrap_or(page).join(path),
    };
    if !file.exists() {
        return Some("leads nowhere".to_owned());
    }
    if heading.is_empty() {
        return None;
    }
    match fs::read_to_string(&file) {
        Ok(text) if anchors(&text).contains(heading) => None,
        Ok(_) => Some("names no heading of that page".to_owned()),
        Err(error) => Some(format!("cannot be followed: {error}")),
    }
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// The links of a page, pictures included: `[text](target)`, outside of code.
fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, prose) in prose(text) {
        let mut rest = prose.as_str();
        while let Some(at) = rest.find("](") {
            rest = rest.get(at + 2..).unwrap_or_default();
            let Some((target, after)) = rest.split_once(')') else {
                break;
            };
            links.push(Link {
                line,
                target: target.to_owned(),
            });
            rest = after;
        }
    }
    links
}

/// The lines of a page that are no code, numbered, and without the code within them.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // Every other part between backticks is code; a link's text may be code and its target never is.
            let prose = line
                .split('`')
                .enumerate()
                .filter(|(nth, _)| nth % 2 == 0)
                .map(|(_, part)| part);
            lines.push((number + 1, prose.collect()));
        }
    }
    lines
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Those that a page sets itself, where a heading went elsewhere.
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("<a id=\"") {
            let (id, after) = after.split_once('"').unwrap_or((after, ""));
            anchors.insert(id.to_owned());
            rest = after;
        }
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor = anchor(title.trim());
        let mut unique = anchor.clone();
        let mut nth = 0;
        while !anchors.insert(unique.clone()) {
            nth += 1;
            unique = format!("{anchor}-{nth}");
        }
    }
    anchors
}

fn anchor(title: &str) -> String {
    let kept = title.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// A path without `..` in it. No folder of the repository is a link.
fn simplified(path: &Path) -> PathBuf {
    let mut simple = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                simple.pop();
            }
            part => simple.push(part),
        }
    }
    simple
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::new(format!("{}: {error}", folder.display())))?;
    }
    // A folder is no file that could be taken along.
    fs::copy(from, to).map(|_| ()).map_err(|error| {
        Error::new(format!(
            "{} cannot be taken into the book: {error}; link to a file",
            from.display()
        ))
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn no_link_is_dead() {
        if let Err(error) = check(&workspace::root()) {
            panic!("{error}");
        }
    }

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "See [a](a.md), [`b`](b.md#c) and ![](c.svg).\n```\n[d](d.md)\n```\n`[e](e.md)` [f](#f)\n";
        let found: Vec<_> = links(text).into_iter().map(|link| (link.line, link.target)).collect();
        let expected = [(1, "a.md"), (1, "b.md#c"), (1, "c.svg"), (5, "#f")];
        assert_eq!(found, expected.map(|(line, target)| (line, target.to_owned())));
    }

    #[test]
    fn headings_have_the_anchors_of_github() {
        let text = "# `lookup` in versions\n- <a id=\"old\"></a>moved\n## What's *new*?\n```\n# no heading\n```\n## Late, null\n## Late, null\n#no\n";
        let expected = ["late-null", "late-null-1", "lookup-in-versions", "old", "whats-new"];
        assert_eq!(anchors(text), expected.map(str::to_owned).into());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let page = workspace::root().join("README.md");
        let link = |target: &str| Link {
            line: 1,
            target: target.to_owned(),
        };
        assert_eq!(problem(&page, &link("docs/README.md")), None);
        assert_eq!(problem(&page, &link("https://example.com/none")), None);
        assert!(problem(&page, &link("docs/NONE.md")).is_some());
        assert!(problem(&page, &link("#no-such-heading")).is_some());
    }
}
