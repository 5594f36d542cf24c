-- Until the end of this transaction nobody changes triggers or filters of these tenants.
INSERT INTO trigger_revision AS known (tenant_id, revision)
SELECT tenant_id, 0
FROM unnest($1::uuid[]) AS row (tenant_id)
ON CONFLICT (tenant_id) DO UPDATE SET revision = known.revision
