//! Debug information, with little effort: many units that share one line program, and say that they have all of the code.
//! Whoever looks for an address that none of them has in truth reads that program once for each, and keeps what it says.

/// The function that every unit says it is.
pub const FUNCTION: &str = "told_by_debug_information";

/// The sections: `units` units, whose lines are those of `rows` bytes of code from `start` on.
pub fn sections(start: u32, rows: usize, units: usize) -> [(&'static str, Vec<u8>); 3] {
    // DW_TAG_compile_unit, with children: DW_AT_stmt_list (sec_offset), DW_AT_low_pc (addr), DW_AT_high_pc (data4).
    let mut abbreviations = vec![1, 0x11, 1, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0];
    // DW_TAG_subprogram, without: DW_AT_name (string), DW_AT_low_pc, DW_AT_high_pc.
    abbreviations.extend([2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, 0]);

    let numbers = |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|number| number.to_le_bytes()).collect() };
    // Version 4, abbreviations at 0, addresses of 4 bytes.
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4];
    unit.push(1);
    unit.extend(numbers(&[0, 0, 0x7fff_fff0]));
    unit.push(2);
    unit.extend(FUNCTION.as_bytes());
    unit.push(0);
    unit.extend(numbers(&[start, rows as u32]));
    unit.push(0);
    let unit = [numbers(&[unit.len() as u32]), unit].concat();

    // Instructions and lines count by 1, special opcodes begin at 13; the standard opcodes have these operands; one file.
    let header = [
        &[1, 1, 1, 0, 1, 13][..],
        &[0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1],
        &[0],
        b"a.rs\0\0\0\0",
        &[0],
    ]
    .concat();
    let begin = [&[0, 5, 2][..], &numbers(&[start])].concat();
    // Each row one byte on; then the end of the sequence.
    let program = [&begin[..], &vec![14; rows], &[0, 1, 1]].concat();
    let body = [&[4, 0][..], &numbers(&[header.len() as u32]), &header, &program].concat();
    let lines = [numbers(&[body.len() as u32]), body].concat();

    [
        (".debug_abbrev", abbreviations),
        (".debug_info", unit.repeat(units)),
        (".debug_line", lines),
    ]
}
