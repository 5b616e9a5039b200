"""Show: results become tables, charts and reports. Nothing here measures or judges."""
