UPDATE lease SET low_watermark = $3::uuid
WHERE name = $1::text AND epoch = $2::bigint AND (low_watermark IS NULL OR low_watermark < $3::uuid)
