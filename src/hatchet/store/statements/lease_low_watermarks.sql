SELECT low_watermark FROM lease WHERE name LIKE 'scheduler:%'
