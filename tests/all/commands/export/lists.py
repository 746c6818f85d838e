"""Reads lists of a Parquet file that `weir export` wrote, and prints what Arrow and DuckDB found: for each a line of JSON with the
types that it sees, and the rows with each value as Python shows it."""

import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet


def shown(value):
    if isinstance(value, list):
        return [shown(element) for element in value]
    return value if value is None else value.hex() if isinstance(value, bytes) else str(value)


def report(types, names, rows):
    print(json.dumps([types, [[shown(row[name]) for name in names] for row in rows]]))


table = pa.parquet.read_table(sys.argv[1])
report([str(field.type.value_type) for field in table.schema], table.column_names, table.to_pylist())
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
relation = connection.sql(f"SELECT * FROM read_parquet('{sys.argv[1]}')")
rows = [dict(zip(relation.columns, row)) for row in relation.fetchall()]
report([str(of) for of in relation.types], relation.columns, rows)
