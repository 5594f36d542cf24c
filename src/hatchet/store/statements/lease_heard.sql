SELECT extract(epoch FROM events_until)::float8 AS events_until FROM lease WHERE name = $1::text
