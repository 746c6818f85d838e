//! Subjects of NATS, and filters over them: names joined by dots, where `*` stands for one name and `>` at the end for
//! one or more.

/// Whether a message can be published to this subject: names without wildcards and spaces, joined by dots.
///
/// # Examples
/// ```
/// # use weir::model::subject::is_subject;
/// assert!(is_subject("shop.payments.card"));
/// assert!(!is_subject("shop.payments.*") && !is_subject("shop..card"));
/// ```
pub fn is_subject(text: &str) -> bool {
    is_filter(text) && names(text).all(|name| !is_wildcard(name))
}

/// Whether this is a filter: a subject, or one with wildcards in the place of whole names, `>` only at the end.
pub fn is_filter(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && (is_wildcard(name) || !name.contains(['*', '>']));
    names(text).all(is_name)
        && names(text).rev().skip(1).all(|name| name != ">")
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Whether messages on `subject` pass `filter`.
///
/// # Examples
/// ```
/// # use weir::model::subject::matches;
/// assert!(matches("shop.payments.*", "shop.payments.card"));
/// assert!(!matches("shop.payments.*", "shop.payments") && !matches("shop.payments.*", "shop.payments.card.eu"));
/// assert!(matches("shop.>", "shop.payments.card") && !matches("shop.>", "shop"));
/// ```
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut subject = names(subject);
    for wanted in names(filter) {
        match (wanted, subject.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(name)) if wanted == name => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether every subject that passes the filter `part` passes `whole` as well.
///
/// # Examples
/// ```
/// use weir::model::subject::covers;
/// assert!(covers("shop.>", "shop.payments.*") && covers("shop.*", "shop.*"));
/// assert!(!covers("shop.*", "shop.>") && !covers("shop.payments", "shop.*"));
/// ```
pub fn covers(whole: &str, part: &str) -> bool {
    let mut part = names(part);
    for wanted in names(whole) {
        match (wanted, part.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            (_, Some(">")) => return false,
            ("*", Some(_)) => {}
            (wanted, Some(name)) if wanted == name => {}
            _ => return false,
        }
    }
    part.next().is_none()
}

/// Whether some subject passes both filters.
///
/// # Examples
/// ```
/// # use weir::model::subject::overlap;
/// assert!(overlap("shop.*.card", "shop.payments.>"));
/// assert!(!overlap("shop.*", "shop.payments.>"));
/// ```
pub fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (names(a), names(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            // It takes whatever the other one wants from here on, which is at least one name.
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// Filters for people: `subject a`, or `subjects a, b`.
pub fn listed<S: AsRef<str>>(filters: &[S]) -> String {
    let names: Vec<&str> = filters.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [one] => format!("subject {one}"),
        all => format!("subjects {}", all.join(", ")),
    }
}

fn is_wildcard(name: &str) -> bool {
    name == "*" || name == ">"
}

fn names(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split('.')
}

#[cfg(test)]
mod tests {
    use super::{is_filter, is_subject, listed, matches, overlap};

    /// Every text of one to `count` of these names.
    fn all(names: &[&str], count: usize) -> Vec<String> {
        let mut texts: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut longest = texts.clone();
        for _ in 1..count {
            longest = longest
                .iter()
                .flat_map(|text| names.iter().map(move |name| format!("{text}.{name}")))
                .collect();
            texts.extend(longest.iter().cloned());
        }
        texts
    }

    /// As the documentation of NATS says it, name by name, without a loop in common with [`matches`].
    fn passes(filter: &[&str], subject: &[&str]) -> bool {
        match (filter, subject) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", filter @ ..], [_, subject @ ..]) => passes(filter, subject),
            ([wanted, filter @ ..], [name, subject @ ..]) => wanted == name && passes(filter, subject),
            _ => false,
        }
    }

    #[test]
    fn filters_pass_and_overlap_exactly_where_subjects_say_so() {
        let filters = all(&["a", "b", "*", ">"], 3);
        let filters: Vec<&String> = filters.iter().filter(|filter| is_filter(filter)).collect();
        assert_eq!(filters.len(), 3 + 1 + 3 * 4 + 9 * 4, "`>` stands at the end alone");
        // One name more than a filter has, and one that no filter names.
        let subjects = all(&["a", "b", "c"], 4);
        let passed: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| {
                let split: Vec<&str> = filter.split('.').collect();
                let expected = |subject: &String| passes(&split, &subject.split('.').collect::<Vec<_>>());
                let of_filter = subjects.iter().map(|subject| {
                    assert_eq!(matches(filter, subject), expected(subject), "{filter} and {subject}");
                    expected(subject)
                });
                of_filter.collect()
            })
            .collect();
        for (a, passed_a) in filters.iter().zip(&passed) {
            for (b, passed_b) in filters.iter().zip(&passed) {
                let shared = passed_a.iter().zip(passed_b).any(|(a, b)| *a && *b);
                assert_eq!(overlap(a, b), shared, "{a} and {b}");
            }
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for wrong in [
            "", ".", "a.", ".a", "a..b", "a*", "a.>.b", ">.a", "a b", "a\t", "a.\u{7}",
        ] {
            assert!(!is_filter(wrong), "{wrong:?}");
        }
        for filter in ["*", ">", "a.*", "a.>", "*.>"] {
            assert!(is_filter(filter) && !is_subject(filter), "{filter:?}");
        }
        assert!(is_subject("a") && is_subject("保单.$x-1"));
    }

    #[test]
    fn one_is_a_subject_and_more_are_subjects() {
        assert_eq!(listed(&["a"]), "subject a");
        assert_eq!(listed(&["a", "b.*"]), "subjects a, b.*");
    }
}
