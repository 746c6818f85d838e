//! The table of functions that are called by name: one row for each way to call one.

use super::{Arg as A, Function as F, Gives};
use crate::types::Type as T;

/// One way to call a function.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The name that an author writes, in lower case.
    #[cfg(feature = "compile")]
    pub name: &'static str,
    /// What it is.
    pub function: F,
    /// What it takes.
    pub arguments: &'static [A],
    /// What it takes as well, if it is given.
    pub optional: &'static [A],
    /// Whether the last of the arguments may be repeated.
    pub repeats: bool,
    /// What it gives.
    pub gives: Gives,
    /// Of which group of functions it is.
    #[cfg(feature = "compile")]
    pub group: &'static str,
    /// What it does, in a sentence; empty where another row of the name says so.
    #[cfg(feature = "compile")]
    pub sentence: &'static str,
    /// An expression with it.
    #[cfg(feature = "compile")]
    pub example: &'static str,
    /// What that comes to, as text.
    #[cfg(feature = "compile")]
    pub result: &'static str,
}

const fn is(of: T) -> Gives {
    Gives::Is(of)
}

macro_rules! rows {
    ($( $group:literal { $(
        $name:literal $function:ident ( $($argument:ident),* $(; $($optional:ident),*)? $(| $repeats:ident)? ) -> $gives:expr,
        $sentence:literal, $example:literal, $result:literal;
    )* } )*) => {
        &[ $( $( Signature {
            #[cfg(feature = "compile")]
            name: $name,
            function: F::$function,
            arguments: &[$(A::$argument),*],
            optional: &[$($(A::$optional),*)?],
            repeats: rows!(@ $($repeats)?),
            gives: $gives,
            #[cfg(feature = "compile")]
            group: $group,
            #[cfg(feature = "compile")]
            sentence: $sentence,
            #[cfg(feature = "compile")]
            example: $example,
            #[cfg(feature = "compile")]
            result: $result,
        } ,)* )* ]
    };
    (@) => { false };
    (@ more) => { true };
}

/// Every function that is called by name.
pub static FUNCTIONS: &[Signature] = rows! {
    "Text" {
        "length" Length(Text) -> is(T::Int), "How many characters a text has.", "length('Zürich')", "6";
        "octet_length" OctetLength(Text) -> is(T::Int), "How many bytes a text has in UTF-8, or how many there are.", "octet_length('Zürich')", "7";
        "octet_length" OctetLength(Bytes) -> is(T::Int), "", "octet_length(x'00ff')", "2";
        "upper" Upper(Text) -> is(T::Text), "In capitals.", "upper('Zürich')", "ZÜRICH";
        "lower" Lower(Text) -> is(T::Text), "In small letters.", "lower('Zürich')", "zürich";
        "trim" Trim(Text; Text) -> is(T::Text), "Without spaces at both ends, or without any of the characters of the second text. Also `trim(both 'x' from text)`.", "trim('  a b ')", "a b";
        "ltrim" TrimStart(Text; Text) -> is(T::Text), "The same at the start.", "ltrim('xxyz', 'xy')", "z";
        "rtrim" TrimEnd(Text; Text) -> is(T::Text), "The same at the end.", "rtrim('a..', '.')", "a";
        "substring" Substring(Text, Int; Int) -> is(T::Text), "From a character, counted from 1, to the end or so many. Also `substring(text from 2 for 3)`.", "substring('Zürich', 2, 3)", "üri";
        "left" Left(Text, Int) -> is(T::Text), "The first characters; a negative number leaves out the last.", "left('Zürich', 2)", "Zü";
        "right" Right(Text, Int) -> is(T::Text), "The last characters; a negative number leaves out the first.", "right('Zürich', 2)", "ch";
        "lpad" PadStart(Text, Int; Text) -> is(T::Text), "Filled at the start to so many characters, with spaces or another text; what is longer is cut.", "lpad('7', 3, '0')", "007";
        "rpad" PadEnd(Text, Int; Text) -> is(T::Text), "The same at the end.", "rpad('ab', 4, '.')", "ab..";
        "replace" Replace(Text, Text, Text) -> is(T::Text), "Every occurrence of the second text as the third.", "replace('1,234,567', ',', '')", "1234567";
        "split_part" SplitPart(Text, Text, Int) -> is(T::Text), "The part between two separators, counted from 1, from the end where it is negative; null where there are fewer.", "split_part('eu.ch.zh', '.', 2)", "ch";
        "strpos" Position(Text, Text) -> is(T::Int), "At which character the second text begins in the first, from 1; 0 where it is not in it. Also `position('b' in 'abc')`.", "strpos('Zürich', 'ri')", "3";
        "starts_with" StartsWith(Text, Text) -> is(T::Boolean), "Whether the first text starts with the second.", "starts_with('CH-8001', 'CH-')", "true";
        "ends_with" EndsWith(Text, Text) -> is(T::Boolean), "Whether the first text ends with the second.", "ends_with('a.csv', '.csv')", "true";
        "contains" Contains(Text, Text) -> is(T::Boolean), "Whether the second text is in the first.", "contains('Zürich', 'ric')", "true";
        "concat" ConcatAll(Any | more) -> is(T::Text), "The texts of the values, one after the other; nulls are left out.", "concat('n', 7, null, '-', true)", "n7-true";
        "concat_ws" ConcatWith(Text, Any | more) -> is(T::Text), "The same with a separator, which is the first text.", "concat_ws(', ', 'Bern', null, 'CH')", "Bern, CH";
        "reverse" Reverse(Text) -> is(T::Text), "The characters from the last to the first.", "reverse('abc')", "cba";
        "repeat" Repeat(Text, Int) -> is(T::Text), "The text so many times.", "repeat('ab', 3)", "ababab";
        "initcap" InitCap(Text) -> is(T::Text), "Every word with a capital and small letters.", "initcap('new YORK')", "New York";
        "translate" Translate(Text, Text, Text) -> is(T::Text), "Each character of the second text as that of the third at its place, or left out where there is none.", "translate('1.234,50', ',.', '.')", "1234.50";
        "regexp_like" RegexpLike(Text, Pattern) -> is(T::Boolean), "Whether a regular expression matches somewhere in the text.", "regexp_like('CH-8001', '^[A-Z]{2}-\\d+$')", "true";
        "regexp_extract" RegexpExtract(Text, Pattern; Int) -> is(T::Text), "What a regular expression matches first, or the group of that number; null where it does not match.", "regexp_extract('order 4711/2', '(\\d+)/(\\d+)', 1)", "4711";
        "regexp_replace" RegexpReplace(Text, Pattern, Text) -> is(T::Text), "Every match of a regular expression as another text, in which `${1}` is a group.", "regexp_replace('a1b22', '\\d+', '#')", "a#b#";
    }
    "Numbers" {
        "abs" Abs(Int) -> Gives::First, "The magnitude.", "abs(-7)", "7";
        "abs" Abs(Decimal) -> Gives::First, "", "abs(-1.50)", "1.50";
        "abs" Abs(Double) -> Gives::First, "", "abs(-2e0)", "2.0";
        "sign" Sign(Int) -> is(T::Int), "-1, 0 or 1.", "sign(-7)", "-1";
        "sign" Sign(Decimal) -> is(T::Int), "", "sign(0.5)", "1";
        "sign" Sign(Double) -> is(T::Int), "", "sign(-2e0)", "-1";
        "ceil" Ceil(Int) -> Gives::First, "The next whole number that is not smaller. Also `ceiling`.", "ceil(7)", "7";
        "ceil" Ceil(Decimal) -> Gives::First, "", "ceil(-1.5)", "-1";
        "ceil" Ceil(Double) -> Gives::First, "", "ceil(1.2e0)", "2.0";
        "floor" Floor(Int) -> Gives::First, "The next whole number that is not greater.", "floor(7)", "7";
        "floor" Floor(Decimal) -> Gives::First, "", "floor(-1.5)", "-2";
        "floor" Floor(Double) -> Gives::First, "", "floor(1.8e0)", "1.0";
        "round" Round(Int; Int) -> Gives::First, "Rounded half away from zero to so many places behind the point, 0 if nothing is said; before the point where it is negative. A decimal has as many places as a literal says.", "round(1250, -2)", "1300";
        "round" Round(Decimal; Int) -> Gives::First, "", "round(2.345, 2)", "2.35";
        "round" Round(Double; Int) -> Gives::First, "", "round(2.675e0, 2)", "2.68";
        "trunc" Truncate(Int; Int) -> Gives::First, "The same, cut toward zero.", "trunc(1299, -2)", "1200";
        "trunc" Truncate(Decimal; Int) -> Gives::First, "", "trunc(-2.349, 2)", "-2.34";
        "trunc" Truncate(Double; Int) -> Gives::First, "", "trunc(2.7e0)", "2.0";
        "power" Power(Double, Double) -> is(T::Double), "The first to the power of the second. Also `pow`.", "power(2, 10)", "1024.0";
        "sqrt" Sqrt(Double) -> is(T::Double), "The square root.", "sqrt(2)", "1.4142135623730951";
        "exp" Exp(Double) -> is(T::Double), "e to this power.", "exp(0)", "1.0";
        "ln" Ln(Double) -> is(T::Double), "The natural logarithm.", "ln(10)", "2.302585092994046";
        "log10" Log10(Double) -> is(T::Double), "The logarithm to base 10.", "log10(1000)", "3.0";
        "log2" Log2(Double) -> is(T::Double), "The logarithm to base 2.", "log2(8)", "3.0";
        "sin" Sin(Double) -> is(T::Double), "The sine of an angle in radians.", "sin(0)", "0.0";
        "cos" Cos(Double) -> is(T::Double), "The cosine.", "cos(0)", "1.0";
        "tan" Tan(Double) -> is(T::Double), "The tangent.", "tan(0)", "0.0";
        "atan" Atan(Double) -> is(T::Double), "The angle of this tangent.", "atan(1)", "0.7853981633974483";
        "atan2" Atan2(Double, Double) -> is(T::Double), "The angle of the point y, x.", "atan2(1, 1)", "0.7853981633974483";
        "least" Least(Any, Same | more) -> Gives::First, "The smallest of the values that are not null.", "least(3, null, 1.5)", "1.5";
        "greatest" Greatest(Any, Same | more) -> Gives::First, "The greatest of the values that are not null.", "greatest(3, null, 1.5)", "3.0";
    }
    "Time" {
        "date_trunc" DateTrunc(Unit, Timestamp; Zone) -> is(T::Timestamp), "The beginning of the year, quarter, month, week (Monday), day, hour, minute, second, millisecond, in UTC or a zone.", "date_trunc('day', timestamp '2026-03-15T23:30:00Z', 'Europe/Berlin')", "2026-03-15T23:00:00.000000Z";
        "date_trunc" DateTrunc(Unit, Date) -> is(T::Date), "", "date_trunc('month', date '2026-03-15')", "2026-03-01";
        "date_part" DatePart(Unit, Timestamp; Zone) -> is(T::Int), "A part of a time, in UTC or a zone: the units of date_trunc, and dow (Sunday is 0), isodow (Monday is 1), doy, isoyear, microsecond, epoch (seconds). Seconds are whole. Also `extract(hour from t)`, and `extract(hour from t at time zone 'Europe/Berlin')`.", "date_part('hour', timestamp '2026-03-15T23:30:00Z', 'Europe/Berlin')", "0";
        "date_part" DatePart(Unit, Date) -> is(T::Int), "", "date_part('week', date '2026-03-15')", "11";
        "date_add" DateAdd(Unit, Int, Timestamp; Zone) -> is(T::Timestamp), "So many units later. Years, quarters and months by the calendar, where the last day of a month stands for one that is not there; with a zone, days and weeks too. Also `t + interval '1 day'`, in UTC.", "date_add('month', 1, timestamp '2026-01-31T12:00:00Z')", "2026-02-28T12:00:00.000000Z";
        "date_add" DateAdd(Unit, Int, Date) -> is(T::Date), "", "date_add('day', 20, date '2026-03-15')", "2026-04-04";
        "date_diff" DateDiff(Unit, Timestamp, Timestamp; Zone) -> is(T::Int), "How many whole units lie between two times, negative where the second is earlier; with a zone, by its calendar.", "date_diff('hour', timestamp '2026-03-15T12:00:00Z', timestamp '2026-03-16T13:59:00Z')", "25";
        "date_diff" DateDiff(Unit, Date, Date) -> is(T::Int), "", "date_diff('day', date '2026-03-15', date '2026-04-04')", "20";
        "to_timestamp" ToTimestamp(Text, Format; Zone) -> is(T::Timestamp), "Reads a time that is written in a format, with `%z` in it or in a zone.", "to_timestamp('15.03.2026 05:00', '%d.%m.%Y %H:%M', 'Europe/Berlin')", "2026-03-15T04:00:00.000000Z";
        "to_date" ToDate(Text, Format) -> is(T::Date), "Reads a date that is written in a format.", "to_date('15/03/26', '%d/%m/%y')", "2026-03-15";
        "from_epoch" FromEpoch(Unit, Int) -> is(T::Timestamp), "The time that is so many seconds, milliseconds or microseconds after 1970-01-01T00:00:00Z.", "from_epoch('second', 1773547200)", "2026-03-15T04:00:00.000000Z";
        "to_epoch" ToEpoch(Unit, Timestamp) -> is(T::Int), "How many whole seconds, milliseconds or microseconds a time is after 1970-01-01T00:00:00Z.", "to_epoch('millisecond', timestamp '2026-03-15T04:00:00.5Z')", "1773547200500";
        "strftime" FormatTime(Timestamp, Format; Zone) -> is(T::Text), "A time in a format, in UTC or a zone.", "strftime(timestamp '2026-03-15T04:00:00Z', '%d.%m.%Y %H:%M', 'Europe/Berlin')", "15.03.2026 05:00";
        "strftime" FormatTime(Date, Format) -> is(T::Text), "", "strftime(date '2026-03-15', '%a %d %b')", "Sun 15 Mar";
        "at_date" AtDate(Timestamp, Zone) -> is(T::Date), "The date that a clock in a zone shows.", "at_date(timestamp '2026-03-15T23:30:00Z', 'Europe/Berlin')", "2026-03-16";
        "start_of_day" StartOfDay(Date, Zone) -> is(T::Timestamp), "When a date begins in a zone.", "start_of_day(date '2026-03-15', 'Europe/Berlin')", "2026-03-14T23:00:00.000000Z";
        "make_date" MakeDate(Int, Int, Int) -> is(T::Date), "The date of a year, month and day.", "make_date(2026, 3, 15)", "2026-03-15";
    }
    "JSON" {
        "json_get" JsonGet(Json, Text) -> is(T::Json), "The value of a name in an object, or of an index in an array, counted from 0 and from the end where it is negative; null where there is none, or it is null. Also `j -> 'a'`.", "json_get('{\"a\": [1, 2]}', 'a')", "[1, 2]";
        "json_get" JsonGet(Json, Int) -> is(T::Json), "", "json_get('[1, 2]', -1)", "2";
        "json_get_text" JsonText(Json, Text) -> is(T::Text), "The same as text: a string without its quotes, null for JSON's null. Also `j ->> 'a'`.", "json_get_text('{\"a\": \"x\"}', 'a')", "x";
        "json_get_text" JsonText(Json, Int) -> is(T::Text), "", "json_get_text('[1.50]', 0)", "1.50";
        "json_type" JsonType(Json) -> is(T::Text), "`object`, `array`, `string`, `number`, `boolean` or `null`.", "json_type('[1]')", "array";
        "json_array_length" JsonArrayLength(Json) -> is(T::Int), "How many elements an array has; null where it is none.", "json_array_length('[1, 2]')", "2";
        "to_json" ToJson(Any) -> is(T::Json), "A value as JSON; null stays null.", "to_json('say \"a\"')", "\"say \\\"a\\\"\"";
    }
    "Lists" {
        "cardinality" Cardinality(List) -> is(T::Int), "How many elements a list has.", "cardinality(array['a', null])", "2";
        "element_at" ElementAt(List, Int) -> Gives::Element, "An element of a list, counted from 1, from the end where it is negative; null where there is none. Also `tags[1]`.", "element_at(array['a', 'b'], -1)", "b";
        "list_contains" ListContains(List, Element) -> is(T::Boolean), "Whether a value is in a list; null where it is not and nulls are. Also `'a' = any(tags)`.", "list_contains(array[1, 2], 2)", "true";
        "array_join" ArrayJoin(List, Text) -> is(T::Text), "The elements as text with a separator between; nulls are left out.", "array_join(array[1, null, 3], '-')", "1-3";
    }
    "Hashes and encodings" {
        "sha256" Sha256(Text) -> is(T::Text), "The SHA-256 of a text in UTF-8, or of bytes, in hexadecimal.", "sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        "sha256" Sha256(Bytes) -> is(T::Text), "", "left(sha256(x'00'), 8)", "6e340b9c";
        "md5" Md5(Text) -> is(T::Text), "The MD5, in hexadecimal: to match what others made, not to protect anything.", "md5('abc')", "900150983cd24fb0d6963f7d28e17f72";
        "md5" Md5(Bytes) -> is(T::Text), "", "left(md5(x'00'), 8)", "93b885ad";
        "hmac_sha256" HmacSha256(Text, Text) -> is(T::Text), "The HMAC-SHA-256 of the second text under the first as key, in hexadecimal.", "left(hmac_sha256('key', 'text'), 8)", "6afa9046";
        "to_hex" ToHex(Bytes) -> is(T::Text), "Bytes in hexadecimal, in small letters.", "to_hex(x'00FF')", "00ff";
        "from_hex" FromHex(Text) -> is(T::Bytes), "The bytes of a text in hexadecimal.", "to_base64(from_hex('00ff'))", "AP8=";
        "to_base64" ToBase64(Bytes) -> is(T::Text), "Bytes in base64, with padding.", "to_base64(cast('abc' as bytes))", "YWJj";
        "from_base64" FromBase64(Text) -> is(T::Bytes), "The bytes of a text in base64.", "cast(from_base64('YWJj') as text)", "abc";
    }
};
