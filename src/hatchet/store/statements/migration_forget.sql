DELETE FROM schema_migration WHERE name = $1;
