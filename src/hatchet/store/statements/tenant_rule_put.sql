INSERT INTO tenant_rule AS rule (tenant_id, name, expression, strategy, max_runs, max_runs_expression, updated_at)
SELECT $1::uuid, new.name, new.expression, new.strategy, new.max_runs, new.max_runs_expression, to_timestamp($7::float8)
FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::text[])
    AS new (name, expression, strategy, max_runs, max_runs_expression)
ON CONFLICT (tenant_id, name) DO UPDATE
SET expression = excluded.expression,
    strategy = excluded.strategy,
    max_runs = excluded.max_runs,
    max_runs_expression = excluded.max_runs_expression,
    updated_at = excluded.updated_at
WHERE (rule.expression, rule.strategy, rule.max_runs, rule.max_runs_expression)
    IS DISTINCT FROM (excluded.expression, excluded.strategy, excluded.max_runs, excluded.max_runs_expression)
