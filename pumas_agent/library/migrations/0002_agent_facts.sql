-- What only the agent knows. Nothing is lost with these tables but time.

-- The stamp of each metadata.json as it was when its row was made: a scan reads only the files whose stamp differs, and
-- a row that a crash or a power cut left behind its file is found by the same comparison.
CREATE TABLE agent_signatures (
    model_id  TEXT PRIMARY KEY,
    signature TEXT NOT NULL
) WITHOUT ROWID;

-- Since when an alert stands, so that a restart does not make an old trouble look new. model_id '' is the library itself.
CREATE TABLE agent_alerts (
    code     TEXT NOT NULL,
    model_id TEXT NOT NULL,
    since    TEXT NOT NULL,
    PRIMARY KEY (code, model_id)
) WITHOUT ROWID;
