//! Did you mean …?

/// The name that is nearest to one that is not known, where one is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let near = known.map(|known| (distance(&lower, &known.to_lowercase()), known));
    let (distance, nearest) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().div_ceil(3).min(1 + name.len() / 4) && distance < name.len()).then_some(nearest)
}

/// `: did you mean "…"?`, or nothing.
pub(super) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(": did you mean {near:?}?"))
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, b) in b.iter().enumerate() {
            let (above, left) = (row[j + 1], row[j]);
            row[j + 1] = (above + 1).min(left + 1).min(diagonal + usize::from(a != *b));
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}
