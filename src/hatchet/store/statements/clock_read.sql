-- The one place besides the lease tick where SQL reads a clock: everybody else is told the time.
SELECT extract(epoch FROM clock_timestamp())::float8 AS now
