-- Models on their way to another id. Written before the folder is renamed: after a crash the references of a model that
-- has arrived are moved after it, before its old row goes and takes them along.
CREATE TABLE agent_moves (
    old_id       TEXT PRIMARY KEY,
    new_id       TEXT NOT NULL,
    changes_json TEXT NOT NULL
) WITHOUT ROWID;
