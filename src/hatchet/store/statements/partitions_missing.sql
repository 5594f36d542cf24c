SELECT wanted FROM unnest($1::text[]) AS wanted WHERE to_regclass(wanted) IS NULL;
