"""Reads files that `weir export` wrote with programs that Weir does not know, and prints what each found.

Each argument is a file. For each reader of its kind there is a line of JSON: the reader, the types that it sees, and the rows in one
form for all: integers as they are, doubles by their bits, timestamps as microseconds, dates as days, decimals as text, bytes in
hexadecimal, JSON as a value.
"""

import base64
import datetime
import decimal
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

COLUMNS = {
    "id": "int",
    "whole": "int",
    "ratio": "double",
    "flag": "boolean",
    "name": "text",
    "price": "decimal(12, 2)",
    "middle": "decimal(18, 4)",
    "huge": "decimal(38, 10)",
    "at": "timestamp",
    "day": "date",
    "receipt": "bytes",
    "doc": "json",
    "tags": "list",
}

ARROW = {
    "int": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "decimal(12, 2)": pa.decimal128(12, 2),
    "decimal(18, 4)": pa.decimal128(18, 4),
    "decimal(38, 10)": pa.decimal128(38, 10),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    # What has no such type in a text is read as one.
    "bytes": pa.string(),
    "json": pa.string(),
    "list": pa.string(),
}

DUCKDB = {
    "int": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "text": "VARCHAR",
    "decimal(12, 2)": "DECIMAL(12, 2)",
    "decimal(18, 4)": "DECIMAL(18, 4)",
    "decimal(38, 10)": "DECIMAL(38, 10)",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
    "bytes": "VARCHAR",
    "json": "JSON",
    "list": "JSON",
}


def unscaled_text(value):
    """A decimal with all its places, and never with an exponent."""
    return format(value, "f")


def canonical(kind, value):
    """A value as all readers should see it."""
    if value is None:
        return None
    if kind == "double":
        return float(value).hex()
    if kind.startswith("decimal"):
        return unscaled_text(value) if isinstance(value, decimal.Decimal) else value
    if kind == "bytes":
        value = base64.b64decode(value, validate=True) if isinstance(value, str) else value
        return bytes(value).hex()
    if kind in ("json", "list") and isinstance(value, (str, bytes)):
        return json.loads(value)
    if kind == "list":
        return [None if element is None else float(element) for element in value]
    return value


def report(reader, types, rows):
    names = list(COLUMNS)
    rows = [
        {name: canonical(COLUMNS[name], row.get(name)) for name in names if name in row} for row in rows
    ]
    print(json.dumps({"reader": reader, "types": types, "rows": rows}))


def of_arrow(reader, table):
    """Times as numbers: Python has no year 0."""
    types = {field.name: str(field.type) for field in table.schema}
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.int64()))
        elif pa.types.is_date32(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.int32()))
    report(reader, types, table.to_pylist())


def of_duckdb(reader, source):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    relation = connection.sql(f"SELECT * FROM {source}")
    types = dict(zip(relation.columns, map(str, relation.types)))

    def shown(name):
        kind = COLUMNS[name]
        if kind == "timestamp":
            return f'epoch_us("{name}")'
        if kind == "date":
            return f"\"{name}\" - DATE '1970-01-01'"
        if kind.startswith("decimal"):
            return f'"{name}"::VARCHAR'
        return f'"{name}"'

    query = ", ".join(f'{shown(name)} AS "{name}"' for name in relation.columns)
    found = connection.execute(f"SELECT {query} FROM {source}")
    report(reader, types, [dict(zip(relation.columns, row)) for row in found.fetchall()])


def read(file):
    if file.endswith(".parquet"):
        of_arrow("arrow parquet", pa.parquet.read_table(file))
        of_duckdb("duckdb parquet", f"read_parquet('{file}')")
    elif file.endswith(".csv"):
        table = pa.csv.read_csv(
            file,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: ARROW[kind] for name, kind in COLUMNS.items()},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        of_arrow("arrow csv", table)
        columns = ", ".join(f"'{name}': '{DUCKDB[kind]}'" for name, kind in COLUMNS.items())
        options = "header = true, nullstr = '', allow_quoted_nulls = false, auto_detect = false, escape = '\"', quote = '\"', delim = ','"
        of_duckdb("duckdb csv", f"read_csv('{file}', {options}, columns = {{{columns}}})")
    else:
        with open(file, encoding="utf-8") as lines:
            rows = [json.loads(line, parse_float=decimal.Decimal) for line in lines]
        for row in rows:
            for name, kind in COLUMNS.items():
                value = row[name]
                if value is None:
                    continue
                if kind == "timestamp":
                    row[name] = (seconds(value[:19]) * 1_000_000) + int(value[20:26])
                elif kind == "date":
                    row[name] = seconds(value + "T00:00:00") // 86_400
                elif kind in ("json", "list"):
                    # As any reader of JSON has it.
                    row[name] = json.dumps(value, default=float)
        report("python json", {}, rows)
        # Arrow reads numbers with a point as doubles alone, and a column of one kind of value.
        known = {name: ARROW[kind] for name, kind in COLUMNS.items() if kind in ("int", "double", "boolean", "text")}
        options = pa.json.ParseOptions(explicit_schema=pa.schema(known), unexpected_field_behavior="ignore")
        of_arrow("arrow jsonl", pa.json.read_json(file, parse_options=options))
        columns = ", ".join(f"'{name}': '{DUCKDB[kind]}'" for name, kind in COLUMNS.items())
        of_duckdb("duckdb jsonl", f"read_json('{file}', format = 'newline_delimited', columns = {{{columns}}})")


def seconds(text):
    """The seconds since 1970 of a time in UTC, also in the year 0, which Python does not have: 400 years have one length."""
    year, rest = int(text[:4]), text[4:]
    moved = datetime.datetime.fromisoformat(f"{year + 400:04d}{rest}" if year < 400 else text)
    epoch = datetime.datetime(1970, 1, 1)
    return int((moved - epoch).total_seconds()) - (146_097 * 86_400 if year < 400 else 0)


for file in sys.argv[1:]:
    read(file)
