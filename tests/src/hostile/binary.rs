//! Modules too large to be written as text.

use crate::made::{leb, section};

/// The header of a core module.
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// A signed number as WebAssembly writes it.
fn signed(mut number: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = number as u8 & 0x7f;
        number >>= 7;
        if number == 0 && byte & 0x40 == 0 || number == -1 && byte & 0x40 != 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A module whose functions, of these bodies, take an `i32` and give one.
pub(super) fn module(bodies: &[Vec<u8>]) -> Vec<u8> {
    let count = leb(bodies.len());
    let functions = [&count[..], &vec![0; bodies.len()]].concat();
    let mut code = count;
    for body in bodies {
        code.extend(leb(body.len()));
        code.extend(body);
    }
    [
        &MODULE[..],
        &section(1, b"\x01\x60\x01\x7f\x01\x7f"),
        &section(3, &functions),
        &section(10, &code),
    ]
    .concat()
}

/// A module that has nothing but so many types, each another.
pub(super) fn types(count: usize) -> Vec<u8> {
    let mut contents = leb(count);
    for number in 0..count {
        // As many parameters as the number has digits in base two, of the types that the digits say.
        let digits = usize::BITS - number.leading_zeros();
        contents.push(0x60);
        contents.extend(leb(digits as usize));
        contents.extend((0..digits).map(|at| if number >> at & 1 == 0 { 0x7f } else { 0x7e }));
        contents.push(0);
    }
    [&MODULE[..], &section(1, &contents)].concat()
}

/// A body of some thirty instructions.
pub(super) fn small_function() -> Vec<u8> {
    let mut body = vec![0, 0x20, 0];
    for number in 3..9 {
        body.extend([0x20, 0, 0x41]);
        body.extend(signed(number));
        body.extend([0x6c, 0x20, 0, 0x73, 0x6a]);
    }
    body.push(0x0b);
    body
}

/// A body of loops within each other, each of which changes one of so many variables.
pub(super) fn nested_loops(loops: usize, locals: usize) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(leb(locals));
    body.push(0x7f);
    for local in 1..=locals {
        body.extend([0x20, 0, 0x21]);
        body.extend(leb(local));
    }
    body.extend([0x03, 0x40].repeat(loops));
    for number in 0..loops {
        let local = leb(1 + number * 7919 % locals);
        body.push(0x20);
        body.extend(&local);
        body.push(0x41);
        body.extend(signed(number as i32));
        body.extend([0x6a, 0x22]);
        body.extend(&local);
        body.extend([0x0d, 0, 0x0b]);
    }
    body.extend([0x41, 0]);
    for local in 1..=locals {
        body.push(0x20);
        body.extend(leb(local));
        body.push(0x6a);
    }
    body.push(0x0b);
    body
}

/// A body with one jump to so many targets, in two blocks.
pub(super) fn jump_table(targets: usize) -> Vec<u8> {
    let mut body = vec![0, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e];
    body.extend(leb(targets));
    body.extend((0..=targets).map(|target| (target % 2) as u8));
    body.extend([0x0b, 0x0b, 0x41, 0, 0x0b]);
    body
}
