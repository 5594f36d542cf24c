SELECT name, expression, strategy, max_runs, max_runs_expression FROM tenant_rule WHERE tenant_id = $1::uuid
