SELECT low_watermark FROM lease WHERE name = $1::text
