-- Only when the password is still the one that was checked: $3 NULL for none.
UPDATE app_user
SET password_hash = $2::text
WHERE id = $1::uuid AND password_hash IS NOT DISTINCT FROM $3::text
