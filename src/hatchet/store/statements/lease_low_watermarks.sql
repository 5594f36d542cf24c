-- The oldest ids that may be open: from here on, or named as opened again.
SELECT low_watermark FROM lease WHERE name LIKE 'scheduler:%'
UNION ALL
(SELECT id FROM reopened ORDER BY id LIMIT 1)
