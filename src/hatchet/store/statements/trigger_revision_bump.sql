-- Those who change triggers or filters of a tenant go one after the other from here on.
INSERT INTO trigger_revision AS known (tenant_id, revision)
VALUES ($1::uuid, 1)
ON CONFLICT (tenant_id) DO UPDATE SET revision = known.revision + 1
