"""Results: the record's schema, the append-only store, and the queries over it."""
