//! Names of functions as a component has them, bounded before anything is done with them.

use crate::{
    error::{Error, Result},
    limits::{GUEST_DEMANGLED_NAME_BYTES_MAX, GUEST_FUNCTION_NAME_BYTES_MAX, GUEST_NESTING_MAX, REASON_BYTES_MAX},
};
use std::fmt::{self, Write};
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload};

/// Checks that no function of a component, whose parts were counted, has too long a name: wasmtime copies that of each frame
/// at each trap.
///
/// # Errors
/// When one has, or when the component is nested too deep to be looked through.
pub(super) fn check(component: &[u8]) -> Result<()> {
    let unreadable = |cause| Error::definition(format!("it cannot be looked through: {cause}"));
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(unreadable)? {
            Payload::Version { .. } if depth == GUEST_NESTING_MAX => {
                return Err(Error::definition(format!(
                    "its components and modules stand within one another, more than {GUEST_NESTING_MAX} deep"
                )));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    check_names(names)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What cannot be read of the names wasmtime does not have either.
fn check_names(names: NameSectionReader<'_>) -> Result<()> {
    for names in names {
        match names {
            Ok(Name::Function(functions)) => {
                for function in functions {
                    let Ok(function) = function else { return Ok(()) };
                    let bytes = function.name.len();
                    if bytes > GUEST_FUNCTION_NAME_BYTES_MAX {
                        return Err(Error::definition(format!(
                            "function {} of a module of it has a name of {bytes} bytes; accepted are up to \
                             {GUEST_FUNCTION_NAME_BYTES_MAX}: strip the names, or give it a shorter one",
                            function.index
                        )));
                    }
                }
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// A function's name for a person: without what the compiler put around it, and no more of it than a reason keeps.
pub(super) fn shown(name: &str) -> String {
    let mut shown = Bounded(String::new());
    // A writer that takes no more ends it: a short name can mean a very long one.
    let _ = match name.len() > GUEST_DEMANGLED_NAME_BYTES_MAX {
        true => shown.write_str(name),
        false => write!(shown, "{:#}", rustc_demangle::demangle(name)),
    };
    shown.0
}

/// A text that takes no more than [`REASON_BYTES_MAX`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = REASON_BYTES_MAX - self.0.len();
        let taken = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.0.push_str(taken);
        match taken.len() == text.len() {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check, shown};
    use crate::limits::{GUEST_FUNCTION_NAME_BYTES_MAX, GUEST_NESTING_MAX, REASON_BYTES_MAX};

    #[test]
    fn a_name_is_shown_without_what_the_compiler_put_around_it() {
        assert_eq!(shown("_ZN5rules5digit17h0123456789abcdefE"), "rules::digit");
        assert_eq!(shown("保单"), "保单");
    }

    #[test]
    fn a_name_that_means_a_very_long_one_is_cut() {
        // A tuple of two tuples of two tuples, each written down once: 2^200 of the innermost.
        let mut name = "_RINvC1a1bTuu".to_owned();
        let mut before = 9;
        for _ in 0..200 {
            let reference = base62(before);
            before = name.len() - 2;
            name += &format!("TB{reference}B{reference}E");
        }
        name += "EE";
        let found = shown(&name);
        assert!(found.len() <= REASON_BYTES_MAX && found.starts_with("a::b"), "{found}");
    }

    /// A number as a v0 name refers to a place in itself.
    fn base62(number: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let Some(mut number) = number.checked_sub(1) else {
            return "_".to_owned();
        };
        let mut digits = vec![b'_'];
        loop {
            digits.insert(0, DIGITS[number % 62]);
            number /= 62;
            if number == 0 {
                return String::from_utf8(digits).unwrap();
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let found = shown(&"é".repeat(GUEST_FUNCTION_NAME_BYTES_MAX / 2));
        assert_eq!(found, "é".repeat(REASON_BYTES_MAX / 2));
        let found = shown(&format!("a{}", "é".repeat(10_000)));
        assert_eq!(found.len(), REASON_BYTES_MAX - 1);
    }

    fn named(name: &str) -> Vec<u8> {
        wat::parse_str(format!("(component (core module (func ${name})))")).unwrap()
    }

    #[test]
    fn a_function_with_a_name_that_is_too_long_is_refused() {
        check(&named(&"n".repeat(GUEST_FUNCTION_NAME_BYTES_MAX))).unwrap();
        let error = check(&named(&"n".repeat(GUEST_FUNCTION_NAME_BYTES_MAX + 1))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "function 0 of a module of it has a name of 100001 bytes; accepted are up to 100000: strip the names, or give it a \
             shorter one"
        );
    }

    #[test]
    fn a_component_that_is_nested_too_deep_is_refused() {
        // Text may not be nested so deep.
        let nested = |depth: usize| {
            (0..depth).fold(Vec::new(), |inner, at| {
                let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
                if at > 0 {
                    let length = inner.len();
                    outer.extend([4, length as u8 | 0x80, (length >> 7) as u8]);
                    outer.extend(inner);
                }
                outer
            })
        };
        check(&nested(GUEST_NESTING_MAX)).unwrap();
        let error = check(&nested(GUEST_NESTING_MAX + 1)).unwrap_err().to_string();
        assert!(
            error.ends_with("stand within one another, more than 100 deep"),
            "{error}"
        );
    }
}
