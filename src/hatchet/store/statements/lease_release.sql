UPDATE lease SET holder = NULL, expires_at = to_timestamp(0) WHERE holder = $1::uuid
