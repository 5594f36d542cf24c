-- Everybody who was here before is gone.
WITH gone AS (
    DELETE FROM instance
)
UPDATE lease SET holder = NULL, expires_at = to_timestamp(0)
