DELETE FROM user_session WHERE user_id = $1::uuid AND id <> $2::bytea
