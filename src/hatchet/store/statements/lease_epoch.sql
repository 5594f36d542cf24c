SELECT epoch, holder FROM lease WHERE name = $1::text
