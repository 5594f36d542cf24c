DELETE FROM user_session WHERE id = $1::bytea
