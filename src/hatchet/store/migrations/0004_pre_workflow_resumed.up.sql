-- When the last pause of the workflow ended: what had waited for that may wait for a worker anew (behaviour-core C-6.34).
ALTER TABLE workflow ADD COLUMN resumed_at timestamptz;
