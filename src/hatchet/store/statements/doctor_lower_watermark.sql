-- The next take-over begins at these ids at the latest. What the present owner remembers stays.
UPDATE lease SET low_watermark = row.low_watermark
FROM unnest($1::text[], $2::uuid[]) AS row (name, low_watermark)
WHERE lease.name = row.name AND lease.low_watermark > row.low_watermark
