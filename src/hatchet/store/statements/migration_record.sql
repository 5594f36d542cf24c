INSERT INTO schema_migration (name, applied_at) VALUES ($1, to_timestamp($2::double precision));
