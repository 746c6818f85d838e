//! Debug information of which a little is a lot of work: each unit has the same line program.

/// Custom sections by name: `units` units, whose only line program has so many rows.
pub(super) fn sections(rows: usize, units: usize) -> [(&'static str, Vec<u8>); 3] {
    // One abbreviation: a unit that has a line program, and begins and ends somewhere.
    let abbreviations = b"\x01\x11\x00\x10\x17\x11\x01\x12\x06\x00\x00\x00".to_vec();

    let mut header = vec![1, 1, 1, 0, 1, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0];
    header.extend(b"a\0\0\0\0\0");
    let mut program = vec![0, 5, 2];
    program.extend(0x1000_0000_u32.to_le_bytes());
    program.extend(vec![0x0e; rows]);
    program.extend([0, 1, 1]);
    let mut lines = 4_u16.to_le_bytes().to_vec();
    lines.extend((header.len() as u32).to_le_bytes());
    lines.extend(header);
    lines.extend(program);

    let mut unit = 4_u16.to_le_bytes().to_vec();
    unit.extend(0_u32.to_le_bytes());
    unit.extend([4, 1]);
    for number in [0, 1, 0x7fff_fff0_u32] {
        unit.extend(number.to_le_bytes());
    }
    [
        (".debug_abbrev", abbreviations),
        (".debug_info", with_length(&unit).repeat(units)),
        (".debug_line", with_length(&lines)),
    ]
}

fn with_length(contents: &[u8]) -> Vec<u8> {
    [&(contents.len() as u32).to_le_bytes()[..], contents].concat()
}
