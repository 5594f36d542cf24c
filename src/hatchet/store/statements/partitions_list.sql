SELECT child.relname AS name, parent.relname AS parent
FROM pg_inherits
JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
JOIN pg_class AS parent ON parent.oid = pg_inherits.inhparent
WHERE pg_inherits.inhparent IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
