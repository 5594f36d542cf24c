-- What its owner remembers of a key comes before its row: this is for the next one.
UPDATE rate_limit AS one SET units_left = greatest(least(one.units_left, one.limit_value), 0)
FROM unnest($1::uuid[], $2::text[]) AS row (tenant_id, key)
WHERE one.tenant_id = row.tenant_id AND one.key = row.key
