SELECT
    EXISTS (SELECT 1 FROM tenant WHERE id = $1::uuid) AS tenant_exists,
    (SELECT id FROM tenant WHERE slug = $2::text) AS slug_owner,
    EXISTS (SELECT 1 FROM app_user WHERE email = $3::text) AS user_exists
